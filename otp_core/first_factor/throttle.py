"""Wrong passwords are slowed down: delays for each customer and calling station, and for each station over all
customers, that grow, and end by themselves. Never a lock.

The counts are shared by all processes of a store (failures.py) and bounded. A boot forgets them: a guesser gains a few
tries.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable

from otp_core.first_factor.failures import NONE, Failures, FailureTable
from otp_core.login.policy import Delays

FORGET_SECONDS = 3600.0
"""Failures older than this no longer delay anything."""

FAR_SECONDS = 3 * 3600.0
"""No delay ends so late: the longest that can be set is an hour, and one more may be under way."""

STATION_FIRST_DELAY, STATION_LONGEST_DELAY = 1.0, 60.0
"""Seconds of the delays of a station."""

FADE_SECONDS = 60.0
"""Of a station's failures one is forgotten each time it has been quiet for so long: many share an address."""

MAX_WAITING = 256
"""Attempts that may wait for one customer and calling station. Further ones are refused without a check."""

LOOK_AGAIN_SECONDS = 0.5
"""How often the first in line looks whether somebody has passed at another process."""

_NOTHING = 1e-6
"""A delay of fewer seconds is over."""

Fingerprint = Callable[..., int]
"""The store's keyed fingerprint over several byte strings."""


class _WaitingLine:
    """The attempts of one customer and calling station: those that wait, and those ``inside``: let through,
    without a verdict yet. ``key``: what is counted for them is counted by it."""

    __slots__ = ("_head", "_moved", "inside", "key", "waiting")

    def __init__(self, key: int) -> None:
        self.key, self.waiting, self.inside = key, 0, 0
        self._head: asyncio.Lock | None = None
        self._moved: asyncio.Event | None = None

    def head(self) -> asyncio.Lock:
        """Held by the first of those that wait. (Made for it: most lines never have one.)"""
        if self._head is None:
            self._head = asyncio.Lock()
        return self._head

    def moved(self) -> asyncio.Event:
        """Set when somebody has left."""
        if self._moved is None:
            self._moved = asyncio.Event()
        return self._moved

    def move(self) -> None:
        """Tell those that wait."""
        if self._moved is not None:
            self._moved.set()


class PasswordThrottle:
    """Delays the check of a password after failures. An attempt counts as failed until ``passed``, and the next delay
    begins where its own ends, so that many wrong attempts at once gain nothing. Many right ones at once are let
    through as fast as the ones before them pass. Belongs to one event loop; ``table`` may be shared by many.

    ``delays``: seconds by failures in a row. ``clock``: seconds, the same clock in all processes. ``customer`` in its
    methods: a contract ID. ``calling_station``: see station.station_of. Passing clears what is counted for that
    customer at that station, and for nobody else."""

    def __init__(
        self, delays: Delays, clock: Callable[[], float], table: FailureTable, fingerprint: Fingerprint
    ) -> None:
        self._delays, self._clock, self._table, self._fingerprint = delays, clock, table, fingerprint
        self._lines: dict[tuple[str, str], _WaitingLine] = {}

    async def enter(self, customer: str, calling_station: str, max_wait: float = math.inf) -> bool:
        """Wait until this password may be checked. Call ``leave`` when its verdict is known.

        False: refuse it without a check, because MAX_WAITING wait already, or because the delay is longer than
        ``max_wait`` (seconds) and no attempt inside can end it. Such a refusal makes no other wait longer. Raises
        TimeoutError if ``max_wait`` ends while attempts inside may still end the delay."""
        name = self._name(customer, calling_station)
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _WaitingLine(self._key(customer, calling_station))
        if line.waiting >= MAX_WAITING:
            return False
        if not line.waiting and self._claim(line.key) <= 0:
            line.inside += 1  # the usual case: nobody before them, and nothing to wait for
            return True
        line.waiting += 1
        # A Task of its own: time-outs need one, and this may be awaited where there is none.
        waiting = asyncio.get_running_loop().create_task(self._wait_in_line(line, max_wait))
        entered = False
        try:
            entered = await waiting
            return entered
        finally:
            line.waiting -= 1
            if not entered and _was_entered(waiting):
                line.inside -= 1  # let through, and cancelled before it heard of it
            self._forget(line, name)

    async def _wait_in_line(self, line: _WaitingLine, max_wait: float) -> bool:
        end = self._clock() + max_wait
        async with asyncio.timeout(None if math.isinf(max_wait) else max(0.0, max_wait)), line.head():
            if not await self._wait_for_turn(line, end):
                return False
            line.inside += 1
            return True

    async def _wait_for_turn(self, line: _WaitingLine, end: float) -> bool:
        """For the first in line: until the delay is over, or somebody before them has passed. Counts a failure."""
        moved = line.moved()
        while (wait := self._claim(line.key)) > 0:
            if not line.inside and wait > min(self._delays.longest, end - self._clock()):
                return False
            moved.clear()
            with contextlib.suppress(TimeoutError):  # wait_for may lose a cancellation (Python 3.11)
                async with asyncio.timeout(min(wait, LOOK_AGAIN_SECONDS)):
                    await moved.wait()
        return True

    def _claim(self, key: int) -> float:
        """Count a failure if the delay is over, before any other process does. The seconds still to wait, otherwise."""
        now, wait = self._clock(), 0.0

        def claim(found: Failures) -> Failures:
            nonlocal wait
            before = self._as_of(now, found)
            wait = before.free_at - now
            if wait > _NOTHING:
                return found
            wait = 0.0
            return self._after_one_more(now, before)

        self._table.change(key, claim)
        return wait

    def leave(self, customer: str, calling_station: str) -> None:
        """The verdict is known, or there will be none. Say ``passed`` before, if they did."""
        name = self._name(customer, calling_station)
        line = self._lines[name]
        line.inside -= 1
        line.move()
        self._forget(line, name)

    def _forget(self, line: _WaitingLine, name: tuple[str, str]) -> None:
        if not line.waiting and not line.inside:
            del self._lines[name]

    def failed(self, customer: str, calling_station: str) -> None:
        """Count one more failure: ``enter`` does so for each one that it lets through."""
        now = self._clock()
        self._table.change(
            self._key(customer, calling_station), lambda found: self._after_one_more(now, self._as_of(now, found))
        )

    def _after_one_more(self, now: float, before: Failures) -> Failures:
        number = before.number + 1
        return Failures(number, max(before.free_at, now) + self._delays.after(int(number)))

    def failures(self, customer: str, calling_station: str) -> int:
        """How often in a row, lately."""
        return int(self._as_of(self._clock(), self._table.recent(self._key(customer, calling_station))).number)

    def seconds_to_wait(self, customer: str, calling_station: str) -> float:
        """What is left of the delay after the last failure."""
        now = self._clock()
        found = self._as_of(now, self._table.recent(self._key(customer, calling_station)))
        return max(0.0, found.free_at - now)

    def passed(self, customer: str, calling_station: str) -> None:
        """Let in, or on to the next question."""
        self._table.change(self._key_of(customer, calling_station), _forgotten)

    def take_back(self, customer: str, calling_station: str) -> None:
        """Nobody could look at this password, so it was no failure: what ``enter`` counted for it goes."""
        now = self._clock()

        def without_this(found: Failures) -> Failures:
            before = self._as_of(now, found)
            if before.number < 1:
                return before
            return Failures(before.number - 1, before.free_at - self._delays.after(int(before.number)))

        self._table.change(self._key_of(customer, calling_station), without_this)

    def _name(self, customer: str, calling_station: str) -> tuple[str, str]:
        """By what lines are told apart."""
        return customer, calling_station

    def _key_of(self, customer: str, calling_station: str) -> int:
        """The same as ``_key``; that of somebody inside is known."""
        line = self._lines.get(self._name(customer, calling_station))
        return self._key(customer, calling_station) if line is None else line.key

    def _key(self, customer: str, calling_station: str) -> int:
        return self._fingerprint(b"password failures", customer.encode(), calling_station.encode())

    def _as_of(self, now: float, found: Failures) -> Failures:
        """What is left of it now. A delay that ends in a far future was written by a clock that is not ours."""
        return found if -FORGET_SECONDS < found.free_at - now < FAR_SECONDS else NONE


def _forgotten(_: Failures) -> Failures:
    return NONE


def _was_entered(waiting: asyncio.Task[bool]) -> bool:
    return waiting.done() and not waiting.cancelled() and waiting.exception() is None and waiting.result()


class StationThrottle(PasswordThrottle):
    """The same for a station, over all customers; ``customer`` is not looked at. Whoever passes takes back their own
    attempt alone: a right password to one's own account buys no guesses at others'. Instead failures fade away, one in
    FADE_SECONDS of quiet."""

    def passed(self, customer: str, calling_station: str) -> None:
        """Let in: this attempt was no failure. Nor was one that was refused elsewhere without a look."""
        self.take_back(customer, calling_station)

    def _name(self, customer: str, calling_station: str) -> tuple[str, str]:
        return "", calling_station

    def _key(self, customer: str, calling_station: str) -> int:
        return self._fingerprint(b"station failures", calling_station.encode())

    def _as_of(self, now: float, found: Failures) -> Failures:
        quiet = max(0.0, now - found.free_at)
        left = found.number - quiet / FADE_SECONDS
        return NONE if left <= 0 or found.free_at - now >= FAR_SECONDS else Failures(left, max(found.free_at, now))
