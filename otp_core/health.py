"""Whether logins can be answered now: the store takes a write, and the clock is sane. Doors ask, and tell front ends.

While logins fail, it rehearses one of theirs: a gateway that stays away because of our silence could not find out that
all is well again.

It also keeps house: challenges that nobody answered are forgotten here, a few at a time.
"""

from __future__ import annotations

import asyncio

import structlog

from otp_core.authentication.queue import LoginQueue
from otp_core.clock import ClockSetBack, GuardedClock
from otp_core.model import StoreBusy, StoreUnavailable
from otp_core.store.sqlite.login_batch import LoginReader

_log = structlog.get_logger("health")
PROBE_SECONDS = 1.0
SWEEP_SECONDS = 1.0
BUSY_FOR = 3.0
"""Seconds for which somebody else's write lock does not count as trouble."""


class Health:
    """One for a process."""

    def __init__(self, login_reader: LoginReader, clock: GuardedClock, queue: LoginQueue) -> None:
        self._login_reader, self._clock, self._queue = login_reader, clock, queue
        self._asked_at = float("-inf")
        self._answer = False
        self._well_at = float("-inf")
        self.open_challenges = 0

    def healthy(self) -> bool:
        """Asked at most once a second, remembered in between."""
        now = asyncio.get_running_loop().time()
        if now >= self._asked_at + PROBE_SECONDS:
            self._asked_at = now
            self._answer = self._probe()
        return self._answer

    async def sweep(self) -> None:
        """Every second, for ever: forget expired challenges, count the open ones."""
        while True:
            try:
                self._login_reader.expire(self._clock.now())
                self.open_challenges = self._login_reader.open_challenges()
            except (StoreUnavailable, ClockSetBack):
                pass  # the login queue says so as soon as somebody is concerned
            await asyncio.sleep(SWEEP_SECONDS)

    def _probe(self) -> bool:
        now = asyncio.get_running_loop().time()
        try:
            self._login_reader.probe(self._clock.now())
            if self._queue.failing:
                self._login_reader.write_probe(self._queue.failing)
        except (StoreUnavailable, ClockSetBack) as cause:
            if isinstance(cause, StoreBusy) and now < self._well_at + BUSY_FOR:
                return True  # an import takes the lock for moments; logins wait for it, and so may this
            _log.error("not healthy", cause=str(cause))
            return False
        self._well_at = now
        return True
