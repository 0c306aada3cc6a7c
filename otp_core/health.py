"""Whether logins can be answered now: the store takes a write, and the clock is right. Doors ask, and tell front ends.

While logins fail, a write probe does what one of them would do: a gateway that stays away because of our silence would
otherwise never find out that the store works again. It also deletes expired challenges, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from otp_core.clock import ClockWrong, GuardedClock
from otp_core.model import StoreBusy, StoreUnavailable
from otp_core.store.engine import Maintenance

_log = structlog.get_logger("health")
PROBE_SECONDS = 1.0
SWEEP_SECONDS = 1.0
STALE_SECONDS = 5.0
"""How old the answer of a look may be that was made in a thread: a store that does not answer is not healthy."""
BUSY_FOR = 3.0
"""Seconds for which another process may hold the write lock before that counts as trouble."""


class Failing(Protocol):
    """The login queue, as health sees it."""

    @property
    def failing(self) -> Collection[str]:
        """Customers of the batch that failed last; empty while logins are answered."""


class Health:
    """One for a process. Belongs to its event loop."""

    def __init__(self, maintenance: Maintenance, clock: GuardedClock, queue: Failing, *, waits: bool = False) -> None:
        """``waits``: see ``Database.waits``. Then the store is asked in a thread, and ``healthy`` gives the answer of
        the last look, as long as that is not old."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="health") if waits else None
        self._looking: asyncio.Future[bool] | None = None
        self._maintenance, self._clock, self._queue = maintenance, clock, queue
        self._asked_at = float("-inf")
        self._answer = False
        self._well_at = float("-inf")
        self.open_challenges = 0
        self.cause = ""
        """Why the last probe failed; empty while logins can be answered."""

    def healthy(self) -> bool:
        """Whether a login could be answered. Probed at most once a second, remembered in between."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._asked_at + PROBE_SECONDS:
            self._asked_at = now
            if self._thread is None:
                self._answer = self._probe(now)
            elif self._looking is None or self._looking.done():
                self._looking = loop.run_in_executor(self._thread, self._probe, now)
                self._looking.add_done_callback(self._looked)
        return self._answer and (self._thread is None or now < self._well_at + STALE_SECONDS)

    async def look(self) -> None:
        """Before anybody asks: then ``healthy`` has an answer from the first moment."""
        self.healthy()
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=STALE_SECONDS)

    async def sweep(self) -> None:
        """Every second, without end: delete expired challenges, count the open ones."""
        while True:
            if self._thread is None:
                self._sweep()
            else:
                self.healthy()
                await asyncio.get_running_loop().run_in_executor(self._thread, self._sweep)
            await asyncio.sleep(SWEEP_SECONDS)

    def close(self) -> None:
        """Let go of the store."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._maintenance.close()

    def _sweep(self) -> None:
        try:
            self._maintenance.expire_challenges(self._clock.now())
            self.open_challenges = self._maintenance.count_challenges()
        except (StoreUnavailable, ClockWrong):
            pass  # the login queue reports it as soon as a login is concerned

    def _looked(self, look: asyncio.Future[bool]) -> None:
        if not look.cancelled():
            self._answer = look.result()

    def _probe(self, now: float) -> bool:
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
        if self.cause:
            _log.warning("healthy again", after=self.cause)
        self._well_at, self.cause = now, ""
        return True
