"""A bounded number of child processes, each asked about one login at a time. One that takes too long, ends or says
nonsense is killed, and another takes its place; whoever waits for a free one waits in line.

It knows nothing of PAM's codes. No process is forked without an exec, and none of them outlives the one that serves.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from otp_core.model import BackendSilent, Overloaded

MOST_LOGINS = 1000
"""Of one child, which then ends: what a module leaks goes with it."""

_PROGRAM = Path(__file__).with_name("child.py")
_LONGEST_LINE = 4096


class ChildGone(BackendSilent):
    """A child ended, or did not answer in time."""


class Children:
    """``most``: children at once, each started when it is needed. ``max_waiting``: questions that may wait for one.
    Belongs to the running event loop."""

    def __init__(self, most: int, max_waiting: int) -> None:
        self._free, self._max_waiting = asyncio.Semaphore(most), max_waiting
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self.waiting = 0

    @property
    def number(self) -> int:
        """Children that run."""
        return len(self._all)

    async def ask(self, question: Mapping[str, str], end: float) -> dict[str, Any]:
        """The answer of one child. ``end``: loop time. Raises ChildGone, and Overloaded if too many wait."""
        if self.waiting >= self._max_waiting:
            raise Overloaded(f"{self.waiting} logins wait for a process already")
        self.waiting += 1
        try:
            async with asyncio.timeout_at(end):
                await self._free.acquire()
        except TimeoutError:
            raise ChildGone("all processes were busy for the whole time") from None
        finally:
            self.waiting -= 1
        try:
            return await self._ask_one(question, end)
        finally:
            self._free.release()

    async def _ask_one(self, question: Mapping[str, str], end: float) -> dict[str, Any]:
        child: _Child | None = None
        try:
            async with asyncio.timeout_at(end):
                child = self._idle_one() or await self._start()
                found = await child.ask(question)
        except TimeoutError:
            raise ChildGone("no answer in time; the process was killed") from None
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise ChildGone(f"its process ended or said nothing of use ({type(error).__name__})") from None
        else:
            kept, child = child, None
            if kept.logins < MOST_LOGINS:
                self._idle.append(kept)
            else:
                self._end(kept)
            return found
        finally:
            if child is not None:
                self._end(child)

    def _idle_one(self) -> _Child | None:
        """One that waits; those that have ended meanwhile (the machine had no memory left) are taken away."""
        while self._idle:
            child = self._idle.pop()
            if child.runs:
                return child
            self._end(child)
        return None

    async def _start(self) -> _Child:
        command = (sys.executable, "-I", str(_PROGRAM), str(os.getpid()))
        made = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=_LONGEST_LINE
        )
        child = _Child(made)
        self._all.add(child)
        return child

    def _end(self, child: _Child) -> None:
        self._all.discard(child)
        child.kill()
        ended = asyncio.get_running_loop().create_task(child.ended())
        self._ending.add(ended)
        ended.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Kill all of them, and wait until they are gone. Nobody may wait for an answer any more."""
        for child in list(self._all):
            self._end(child)
        self._idle.clear()
        await asyncio.gather(*self._ending)


class _Child:
    """A process. ``logins``: that it was asked about."""

    def __init__(self, process: Process) -> None:
        self._process, self.logins = process, 0
        assert process.stdin is not None and process.stdout is not None
        self._questions, self._answers = process.stdin, process.stdout

    @property
    def runs(self) -> bool:
        """False once it is known that it has ended."""
        return self._process.returncode is None

    async def ask(self, question: Mapping[str, str]) -> dict[str, Any]:
        """Raises OSError if it has ended, ValueError for what is no answer."""
        self.logins += 1
        self._questions.write(json.dumps(question).encode() + b"\n")
        await self._questions.drain()
        found = json.loads(await self._answers.readuntil(b"\n"))
        if isinstance(found, dict) and type(found.get("code")) is int:  # a bool is none
            return found
        raise ValueError("no answer")

    def kill(self) -> None:
        """At once; whatever it is doing."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._questions.close()

    async def ended(self) -> None:
        """Wait until it has been taken away."""
        await self._process.wait()
