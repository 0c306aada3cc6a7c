"""Wrong passwords are slowed down: delays for each customer and calling station that grow, and end by themselves.
Never a lock.

The counts are kept in memory and bounded. A restart forgets them: a guesser gains a few tries.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from otp_core.login.policy import Delays

FORGET_SECONDS = 3600.0
"""Failures older than this no longer delay anything."""

MAX_WAITING = 256
"""Attempts that may wait for one customer and calling station. Further ones are refused without a check."""


class _Failures(NamedTuple):
    failures: int
    free_at: float


_NO_FAILURES = _Failures(0, 0.0)


@dataclass(slots=True)
class _WaitingLine:
    """The attempts of one customer and calling station: those that wait, and those ``inside``: let through,
    without a verdict yet."""

    head: asyncio.Lock = field(default_factory=asyncio.Lock)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    inside: int = 0


class PasswordThrottle:
    """Delays the check of a password after failures. An attempt counts as failed until ``passed``, and the next delay
    begins where its own ends, so that many wrong attempts at once gain nothing. Many right ones at once are let
    through as fast as the ones before them pass. Belongs to one event loop.

    ``delays``: seconds by failures in a row. ``clock``: seconds. ``max_tracked``: pairs of customer and calling station
    that are remembered; the oldest are forgotten first."""

    def __init__(self, delays: Delays, clock: Callable[[], float], max_tracked: int) -> None:
        self._delays, self._clock, self._max_tracked = delays, clock, max_tracked
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._lines: dict[tuple[str, str], _WaitingLine] = {}

    async def enter(self, customer: str, calling_station: str, max_wait: float = math.inf) -> bool:
        """Wait until this password may be checked. Call ``leave`` when its verdict is known.

        False: refuse it without a check, because MAX_WAITING wait already, or because the delay is longer than
        ``max_wait`` (seconds) and no attempt inside can end it. Such a refusal makes no other wait longer. Raises
        TimeoutError if ``max_wait`` ends while attempts inside may still end the delay."""
        line = self._lines.setdefault((customer, calling_station), _WaitingLine())
        if line.waiting >= MAX_WAITING:
            return False
        end = self._clock() + max_wait
        line.waiting += 1
        try:
            async with asyncio.timeout(None if math.isinf(max_wait) else max(0.0, max_wait)), line.head:
                if not await self._wait_for_turn(line, customer, calling_station, end):
                    return False
                self.failed(customer, calling_station)
                line.inside += 1
                return True
        finally:
            line.waiting -= 1
            self._forget(line, customer, calling_station)

    async def _wait_for_turn(self, line: _WaitingLine, customer: str, calling_station: str, end: float) -> bool:
        """For the first in line: until the delay is over, or somebody before them has passed."""
        while (wait := self._recent(customer, calling_station, now := self._clock()).free_at - now) > 0:
            if not line.inside and wait > min(self._delays.longest, end - now):
                return False
            line.moved.clear()
            try:
                await asyncio.wait_for(line.moved.wait(), wait)
            except TimeoutError:
                return True
        return True

    def leave(self, customer: str, calling_station: str) -> None:
        """The verdict is known, or there will be none. Say ``passed`` before, if they did."""
        line = self._lines[customer, calling_station]
        line.inside -= 1
        line.moved.set()
        self._forget(line, customer, calling_station)

    def _forget(self, line: _WaitingLine, customer: str, calling_station: str) -> None:
        if not line.waiting and not line.inside:
            del self._lines[customer, calling_station]

    def failed(self, customer: str, calling_station: str) -> None:
        """Count one more failure: ``enter`` does so for each one that it lets through."""
        now = self._clock()
        turn = self._recent(customer, calling_station, now)
        self._count(customer, calling_station, turn.failures + 1, max(turn.free_at, now))

    def _count(self, customer: str, calling_station: str, failures: int, since: float) -> None:
        self._failures[customer, calling_station] = _Failures(failures, since + self._delays.after(failures))
        self._failures.move_to_end((customer, calling_station))
        if len(self._failures) > self._max_tracked:
            self._failures.popitem(last=False)

    def failures(self, customer: str, calling_station: str) -> int:
        """How often in a row, lately."""
        return self._recent(customer, calling_station, self._clock()).failures

    def passed(self, customer: str, calling_station: str) -> None:
        """Let in, or on to the next question."""
        self._failures.pop((customer, calling_station), None)

    def _recent(self, customer: str, calling_station: str, now: float) -> _Failures:
        turn = self._failures.get((customer, calling_station), _NO_FAILURES)
        return turn if turn.free_at > now - FORGET_SECONDS else _NO_FAILURES
