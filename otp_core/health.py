"""Whether logins can be answered now: the store takes a write, and the clock is sane. Doors ask, and tell front ends.

While logins fail, it rehearses one of theirs: a gateway that stays away because of our silence could not find out that
all is well again.

It also keeps house: challenges that nobody answered are forgotten here, a few at a time.
"""

from __future__ import annotations

import asyncio

import structlog

from otp_core.clock import ClockSetBack, GuardedClock
from otp_core.docket import Docket
from otp_core.model import StoreBusy, StoreUnavailable
from otp_core.store.ledger import Enquiries

_log = structlog.get_logger("health")
PROBE_SECONDS = 1.0
SWEEP_SECONDS = 1.0
BUSY_FOR = 3.0
"""Seconds for which somebody else's write lock does not count as trouble."""


class Health:
    """One for a process."""

    def __init__(self, enquiries: Enquiries, clock: GuardedClock, docket: Docket) -> None:
        self._enquiries, self._clock, self._docket = enquiries, clock, docket
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
                self._enquiries.expire(self._clock.now())
                self.open_challenges = self._enquiries.open_challenges()
            except (StoreUnavailable, ClockSetBack):
                pass  # the docket says so as soon as somebody is concerned
            await asyncio.sleep(SWEEP_SECONDS)

    def _probe(self) -> bool:
        now = asyncio.get_running_loop().time()
        try:
            self._enquiries.probe(self._clock.now())
            if self._docket.failing:
                self._enquiries.rehearse(self._docket.failing)
        except (StoreUnavailable, ClockSetBack) as trouble:
            if isinstance(trouble, StoreBusy) and now < self._well_at + BUSY_FOR:
                return True  # an import takes the lock for moments; logins wait for it, and so may this
            _log.error("not healthy", trouble=str(trouble))
            return False
        self._well_at = now
        return True
