"""A process that sends the audit trail outwards, beside those that answer: its whole life.

Each outlet has a task of its own, so one that takes nothing delays no other.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from otp_core.model import StoreUnavailable
from otp_core.outwards.condition import Condition
from otp_core.outwards.follower import Follower, Receiver, TakeSeal
from otp_core.store.engine import Task
from otp_core.store.store import Store
from sekisho.heartbeat import Heartbeat
from sekisho.outlets import Outlet
from sekisho.settings import Settings
from sekisho.supervisor import SIGNALS, take_no_more_signals
from sekisho.wiring import best_time, open_store

INTERVAL = 0.5
"""Seconds between two looks for new rows."""
_LONGEST_PAUSE, _SAY_AGAIN = 30.0, 300.0

_log = structlog.get_logger("outwards")


class Sending:
    """One outlet at work, while the task is this process's: one process has it, however many units serve.
    ``give_up_ms``: age of what is given up when the receiver does not take it; None: nothing ever is.
    ``take_seal``: where seals go too."""

    def __init__(
        self,
        outlet: Outlet,
        receiver: Receiver,
        store: Store,
        events: tuple[str, ...],
        *,
        give_up_ms: int | None = None,
        take_seal: TakeSeal | None = None,
    ) -> None:
        self._outlet, self._receiver, self._give_up_ms = outlet, receiver, give_up_ms
        self._now_ms = best_time(store)
        self._follower = Follower(store.read, outlet.position, receiver, events, self._now_ms, take_seal)
        self._pause, self._say_at = INTERVAL, 0.0
        self._condition: Condition | None = None

    async def run(self, mine: Callable[[], bool]) -> None:
        """Until cancelled. ``mine``: whether the task is this process's. Raises StoreProblem if the position cannot be
        read."""
        while True:
            if not (mine() and await self._step()):
                await asyncio.sleep(self._pause)

    async def close(self) -> None:
        """Let go of the receiver."""
        await self._receiver.close()

    async def _step(self) -> bool:
        try:
            if self._condition is None:
                self._condition = self._outlet.condition.read()
            more = await self._follower.step()
        except (OSError, StoreUnavailable) as trouble:
            await self._failed(self._condition or Condition(), str(trouble) or "it did not take the messages in time")
            return False
        if self._condition.failing_since:
            _log.warning("audit rows are taken again", outlet=self._outlet.label, receiver=self._outlet.receiver)
            self._note(replace(self._condition, failing_since=0))
        self._pause, self._say_at = INTERVAL, 0.0
        return more

    async def _failed(self, before: Condition, cause: str) -> None:
        if self._give_up_ms is None:
            await self._receiver.close()  # a stream that failed in the middle has to begin anew
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        now = self._now_ms()
        self._note(replace(before, failing_since=before.failing_since or now, cause=cause))
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + _SAY_AGAIN
            text = "audit rows wait" if self._give_up_ms is not None else "audit rows wait for syslog, and none is lost"
            _log.error(text, outlet=self._outlet.label, receiver=self._outlet.receiver, cause=cause)
        if self._give_up_ms is not None:
            with suppress(OSError, StoreUnavailable):  # the next try gives up the rest
                await self._give_up(now - self._give_up_ms)

    async def _give_up(self, before_ms: int) -> None:
        given_up = await self._follower.pass_over(before_ms)
        if given_up:
            before = self._condition or Condition()
            self._note(replace(before, given_up=before.given_up + given_up, given_up_at=self._now_ms()))
            _log.error("events are given up; the audit trail has them", outlet=self._outlet.label, events=given_up)

    def _note(self, condition: Condition) -> None:
        if condition != self._condition:
            self._condition = condition
            with suppress(OSError, StoreUnavailable):  # it tells others; the log has it too
                self._outlet.condition.write(condition)


def run_outwards(
    name: str, task: Task, make: Callable[[Settings, Store], Sequence[Sending]], settings: Settings, life: Heartbeat
) -> int:
    """Send until SIGTERM or SIGINT; returns the exit code. ``make``: the outlets, in the running loop. Raises
    StoreProblem, KeyProblem, StoreUnavailable and OSError if it cannot begin."""
    return asyncio.run(_serve(name, task, make, settings, life))


async def _serve(
    name: str, task: Task, make: Callable[[Settings, Store], Sequence[Sending]], settings: Settings, life: Heartbeat
) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, life.has_reloaded)  # its section waits for a restart
    store = open_store(settings, busy_seconds=1.0)
    lock, sendings = store.task_lock(task), make(settings, store)
    chores = [loop.create_task(life.keep()), *(loop.create_task(one.run(lock.take)) for one in sendings)]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    life.is_ready()
    _log.info("ready", role=name, pid=os.getpid())
    stopped = loop.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*chores, stopped], return_when=asyncio.FIRST_COMPLETED)
        for ended in done - {stopped}:
            ended.result()  # it never ends but by what it raises
    finally:
        for chore in (*chores, stopped):
            chore.cancel()
        await asyncio.gather(*chores, stopped, return_exceptions=True)
        for one in sendings:
            await one.close()
        lock.close()
        take_no_more_signals()
    return 0
