"""Wrong passwords are slowed down: growing delays for each customer and station, that end by themselves. Never a lock.

Kept in memory and bounded: a restart forgets it, which gives a guesser a few tries more and nobody a harder time.
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
"""A failure this long ago slows nobody down any more."""

MAX_WAITING = 256
"""For one customer and station. Who comes later is refused unseen."""


class _Failures(NamedTuple):
    failures: int
    free_at: float


_NO_FAILURES = _Failures(0, 0.0)


@dataclass(slots=True)
class _WaitingLine:
    """Those of one customer and station who wait, and those who are ``inside``: let through, no verdict yet."""

    head: asyncio.Lock = field(default_factory=asyncio.Lock)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    inside: int = 0


class PasswordThrottle:
    """Who failed before waits before the next password is looked at. Whoever is let through counts as failed until
    they have ``passed``, and the next one's wait begins where theirs ends, so that many wrong ones at once gain
    nothing. Many right ones at once go in as fast as those before them pass. Belongs to one event loop."""

    def __init__(self, delays: Delays, clock: Callable[[], float], max_tracked: int) -> None:
        self._delays, self._clock, self._max_tracked = delays, clock, max_tracked
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._lines: dict[tuple[str, str], _WaitingLine] = {}

    async def enter(self, customer: str, station: str, max_wait: float = math.inf) -> bool:
        """Stand in line until this password may be checked; ``leave`` when its verdict is known. False: the line is too
        long, or the delay longer than ``max_wait`` (seconds) and nobody inside might end it: refuse it unseen. That
        makes nobody's wait longer. Raises TimeoutError when patience ends in a line that still moves."""
        line = self._lines.setdefault((customer, station), _WaitingLine())
        if line.waiting >= MAX_WAITING:
            return False
        end = self._clock() + max_wait
        line.waiting += 1
        try:
            async with asyncio.timeout(None if math.isinf(max_wait) else max(0.0, max_wait)), line.head:
                if not await self._wait_for_turn(line, customer, station, end):
                    return False
                self.failed(customer, station)
                line.inside += 1
                return True
        finally:
            line.waiting -= 1
            self._forget(line, customer, station)

    async def _wait_for_turn(self, line: _WaitingLine, customer: str, station: str, end: float) -> bool:
        """For the first in line: until the delay is over, or somebody before them has passed."""
        while (wait := self._recent(customer, station, now := self._clock()).free_at - now) > 0:
            if not line.inside and wait > min(self._delays.longest, end - now):
                return False
            line.moved.clear()
            try:
                await asyncio.wait_for(line.moved.wait(), wait)
            except TimeoutError:
                return True
        return True

    def leave(self, customer: str, station: str) -> None:
        """The verdict is known, or there will be none. Say ``passed`` before, if they did."""
        line = self._lines[customer, station]
        line.inside -= 1
        line.moved.set()
        self._forget(line, customer, station)

    def _forget(self, line: _WaitingLine, customer: str, station: str) -> None:
        if not line.waiting and not line.inside:
            del self._lines[customer, station]

    def failed(self, customer: str, station: str) -> None:
        """Count one more failure: ``enter`` does so for each one that it lets through."""
        now = self._clock()
        turn = self._recent(customer, station, now)
        self._count(customer, station, turn.failures + 1, max(turn.free_at, now))

    def _count(self, customer: str, station: str, failures: int, since: float) -> None:
        self._failures[customer, station] = _Failures(failures, since + self._delays.after(failures))
        self._failures.move_to_end((customer, station))
        if len(self._failures) > self._max_tracked:
            self._failures.popitem(last=False)

    def failures(self, customer: str, station: str) -> int:
        """How often in a row, lately."""
        return self._recent(customer, station, self._clock()).failures

    def passed(self, customer: str, station: str) -> None:
        """Let in, or on to the next question."""
        self._failures.pop((customer, station), None)

    def _recent(self, customer: str, station: str, now: float) -> _Failures:
        turn = self._failures.get((customer, station), _NO_FAILURES)
        return turn if turn.free_at > now - FORGET_SECONDS else _NO_FAILURES
