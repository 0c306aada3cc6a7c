"""Shadow mode: what this server would have answered to a request that the old one has answered.

The same code as for an explanation: it reads, and writes and counts nothing. It runs after the answer was given, one
request after another, and what has no room in its queue is left out and counted: no login ever waits for it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import structlog

from otp_core.authentication.explanation import Explainer, Wouldbe
from otp_core.login.obstacles import Obstacle, Old, Ours, Part, obstacle
from otp_core.model import Accept, Attempt, BackendSilent, Mode, OtpUse
from otp_core.store.shadow_logins import Compared

MOST_WAITING = 1024
"""Requests that wait to be compared."""

MOST_NOTED = 4096
"""Comparisons that wait to be written."""

_LOOK_SECONDS = 10.0
"""For one comparison; a password hash takes 0.02."""

_ASKING = (Mode.CHALLENGE, Mode.AUTO)
_log = structlog.get_logger("shadow")


class Naming(Protocol):
    """Knows customers by other names than their contract IDs: the authenticator."""

    async def with_contract_id(self, attempt: Attempt) -> Attempt:
        """The attempt by the contract ID. Raises BackendSilent."""


class Waiting(NamedTuple):
    """A request that was answered. ``attempt`` None: it holds no password to look at. ``at``: ms; ``customer``: as it
    was typed."""

    client: str
    customer: str
    attempt: Attempt | None
    old: Old
    at: int

    def __repr__(self) -> str:
        return f"Waiting(client={self.client!r}, customer={self.customer!r})"


class Comparison:
    """Of one process; belongs to its event loop. ``explainer``: for a moment in ms. ``noted``: what was found and is
    not written yet. ``left_out``: requests for which there was no room."""

    def __init__(self, explainer: Callable[[int], Explainer], naming: Naming) -> None:
        self._explainer, self._naming = explainer, naming
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue(MOST_WAITING)
        self.noted: deque[Compared] = deque()
        self.left_out = 0
        self._last_seen: dict[int, int] = {}
        """By token: the step of the last code that both have accepted."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def add(self, one: Waiting) -> None:
        """Compare it when there is time. Never raises."""
        try:
            self._queue.put_nowait(one)
        except asyncio.QueueFull:
            self.left_out += 1

    async def close(self) -> None:
        """Give up what waits."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def idle(self) -> None:
        """Until everything that was added has been compared."""
        await self._queue.join()

    async def _run(self) -> None:
        while True:
            one = await self._queue.get()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    found = await self._compared(one)
            except (BackendSilent, TimeoutError):
                self.left_out += 1
            except Exception:
                self.left_out += 1
                _log.exception("a login could not be compared", client=one.client)
            else:
                if found is not None:
                    self._note(found)
            finally:
                self._queue.task_done()

    def _note(self, found: Compared) -> None:
        if len(self.noted) < MOST_NOTED:
            self.noted.append(found)
        else:
            self.left_out += 1

    async def _compared(self, one: Waiting) -> Compared | None:
        """None for what says nothing of a customer. Raises BackendSilent."""
        if one.attempt is None:
            uncompared = None if one.old is Old.REJECTED else Obstacle.NOT_COMPARED
            # Nobody has looked whose name it is: as one of a stranger, it is kept once the old server has let them in.
            return Compared(one.client, one.customer, one.at, one.old, Part.WHOLE, uncompared, known=False)
        attempt = await self._naming.with_contract_id(one.attempt._replace(deadline=math.inf))
        mode, part = attempt.policy.mode, _part(attempt, one.old)
        if part is None:
            return None
        if part is Part.SECOND:  # the code alone; what the password was is not remembered
            attempt = attempt._replace(challenge=None, policy=replace(attempt.policy, mode=Mode.CODE))
        would_be = await self._explainer(one.at).answer_to(attempt, right_elsewhere=one.old is not Old.REJECTED)
        record = would_be.record
        ours = Ours(would_be.verdict, would_be.finding, None if record is None else OtpUse(record.otp_use))
        found = obstacle(one.old, ours, mode, part)
        if found is Obstacle.LET_IN and self._was_seen(would_be):
            found = None
        if one.old is Old.ACCEPTED and isinstance(would_be.verdict, Accept):
            self._see(would_be)
        customer = attempt.customer if record is None else record.contract_id
        return Compared(one.client, customer, one.at, one.old, part, found, known=record is not None)

    def _was_seen(self, would_be: Wouldbe) -> bool:
        """Whether the code is one that both have accepted before: the old server has spent it, and we have not."""
        return any(self._last_seen.get(key, -1) >= step for key, step in would_be.steps)

    def _see(self, would_be: Wouldbe) -> None:
        if len(self._last_seen) >= MOST_NOTED:
            self._last_seen.clear()
        self._last_seen.update(would_be.steps)


def _part(attempt: Attempt, old: Old) -> Part | None:
    """None for the answer to a question of the old server's own."""
    asking = attempt.policy.mode in _ASKING
    if attempt.challenge is not None:
        return Part.SECOND if asking and old is not Old.ASKED else None
    return Part.FIRST if old is Old.ASKED and asking else Part.WHOLE
