"""Whether logins can be answered now: the store takes a write, and the clock is right. Doors ask, and tell front ends.

While logins fail, a write probe does what one of them would do: a gateway that stays away because of our silence would
otherwise never find out that the store works again. It also deletes expired challenges, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

import structlog

from otp_core.clock import ClockWrong, GuardedClock
from otp_core.model import StoreBusy, StoreUnavailable
from otp_core.store.engine import Maintenance

_log = structlog.get_logger("health")
PROBE_SECONDS = 1.0
SWEEP_SECONDS = 1.0
BUSY_FOR = 3.0
"""Seconds for which another process may hold the write lock before that counts as trouble."""


class Failing(Protocol):
    """The login queue, as health sees it."""

    @property
    def failing(self) -> Collection[str]:
        """Customers of the batch that failed last; empty while logins are answered."""


class Health:
    """One for a process. Belongs to its event loop."""

    def __init__(self, maintenance: Maintenance, clock: GuardedClock, queue: Failing) -> None:
        self._maintenance, self._clock, self._queue = maintenance, clock, queue
        self._asked_at = float("-inf")
        self._answer = False
        self._well_at = float("-inf")
        self.open_challenges = 0
        self.cause = ""
        """Why the last probe failed; empty while logins can be answered."""

    def healthy(self) -> bool:
        """Whether a login could be answered. Probed at most once a second, remembered in between."""
        now = asyncio.get_running_loop().time()
        if now >= self._asked_at + PROBE_SECONDS:
            self._asked_at = now
            self._answer = self._probe()
        return self._answer

    async def sweep(self) -> None:
        """Every second, without end: delete expired challenges, count the open ones."""
        while True:
            try:
                self._maintenance.expire_challenges(self._clock.now())
                self.open_challenges = self._maintenance.count_challenges()
            except (StoreUnavailable, ClockWrong):
                pass  # the login queue reports it as soon as a login is concerned
            await asyncio.sleep(SWEEP_SECONDS)

    def close(self) -> None:
        """Let go of the store."""
        self._maintenance.close()

    def _probe(self) -> bool:
        now = asyncio.get_running_loop().time()
        try:
            self._maintenance.probe(self._clock.now())
            if self._queue.failing:
                self._maintenance.write_probe(self._queue.failing)
        except (StoreUnavailable, ClockWrong) as cause:
            if isinstance(cause, StoreBusy) and now < self._well_at + BUSY_FOR:
                return True  # an import takes the lock for moments; logins wait for it, and so may this
            _log.error("not healthy", cause=str(cause))
            self.cause = str(cause)
            return False
        self._well_at, self.cause = now, ""
        return True
