"""Wrong passwords are slowed down: growing delays for each customer and station, that end by themselves. Never a lock.

Kept in memory and bounded: a restart forgets it, which gives a guesser a few tries more and nobody a harder time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from otp_core.policy import Delays

FORGET_SECONDS = 3600.0
"""A failure this long ago slows nobody down any more."""


class _Turn(NamedTuple):
    failures: int
    free_at: float


_NEVER_FAILED = _Turn(0, 0.0)


class Turnstile:
    """Who failed before waits before the next password is looked at. Whoever is let through counts as failed until
    they have ``passed``, and the next one's wait begins where theirs ends, so that many at once gain nothing."""

    def __init__(self, delays: Delays, clock: Callable[[], float], max_tracked: int) -> None:
        self._delays, self._clock, self._max_tracked = delays, clock, max_tracked
        self._turns: OrderedDict[tuple[str, str], _Turn] = OrderedDict()

    def wait(self, customer: str, station: str, patience: float = math.inf) -> float | None:
        """Seconds to wait before this password may be checked; None: too many wait already, or it
        would be longer than ``patience``: refuse it unseen. That makes nobody's wait longer."""
        now = self._clock()
        turn = self._recent(customer, station, now)
        wait = max(0.0, turn.free_at - now)
        if wait > min(self._delays.longest, max(0.0, patience)):
            return None
        self._count(customer, station, turn.failures + 1, now + wait)
        return wait

    def failed(self, customer: str, station: str) -> None:
        """One more failure, of somebody who was not asked to wait."""
        now = self._clock()
        turn = self._recent(customer, station, now)
        self._count(customer, station, turn.failures + 1, max(turn.free_at, now))

    def _count(self, customer: str, station: str, failures: int, since: float) -> None:
        self._turns[customer, station] = _Turn(failures, since + self._delays.after(failures))
        self._turns.move_to_end((customer, station))
        if len(self._turns) > self._max_tracked:
            self._turns.popitem(last=False)

    def failures(self, customer: str, station: str) -> int:
        """How often in a row, lately."""
        return self._recent(customer, station, self._clock()).failures

    def passed(self, customer: str, station: str) -> None:
        """Let in, or on to the next question."""
        self._turns.pop((customer, station), None)

    def _recent(self, customer: str, station: str, now: float) -> _Turn:
        turn = self._turns.get((customer, station), _NEVER_FAILED)
        return turn if turn.free_at > now - FORGET_SECONDS else _NEVER_FAILED
