"""Takes the audit trail into its look-up tables (audit_lookup.py), and writes what customers of an import are found by
(search_terms.py), beside the doors that ask them: in a thread, a step at a time, and seldom enough that logins do not
notice. Several may run on one store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from otp_core.clock import ClockWrong
from otp_core.model import StoreUnavailable
from otp_core.store import audit_lookup, search_terms
from otp_core.store.queries import read_meta
from otp_core.store.store import Store

LOOK_SECONDS = 10.0
"""Between two looks while no stretch is closed."""

SHARE = 0.05
"""Of one processor's time, at most, and of the write lock's, while there is more to do."""

_log = structlog.get_logger("store")


class LookupTask:
    """One for a process. ``now``: ms since the epoch; may raise ClockWrong."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store, self._now = store, now

    async def run(self) -> None:
        """Until it is cancelled; a stretch that is under way then is finished first."""
        while True:
            begun, more = time.monotonic(), False
            try:
                step = asyncio.get_running_loop().run_in_executor(None, self.step, self._now())
                try:
                    more = await asyncio.shield(step)
                except asyncio.CancelledError:
                    await asyncio.wait([step])
                    raise
            except (StoreUnavailable, ClockWrong):
                pass  # the login queue logs it
            except Exception:
                _log.exception("the look-up tables could not be written: tried again")
            took = time.monotonic() - begun
            await asyncio.sleep(took / SHARE if more else LOOK_SECONDS)

    def step(self, now: int) -> bool:
        """Take one stretch in, if one is closed, and some customers who cannot be found yet; whether there was any of
        it. Raises StoreUnavailable."""
        with self._store.read() as connection:
            waiting = read_meta(connection, search_terms.UNFILLED) is not None
            ahead = audit_lookup.is_ahead(connection, now)
            stretch = None if ahead else audit_lookup.next_stretch(connection, now)
        if waiting:
            with self._store.derive() as connection:
                search_terms.fill(connection, search_terms.FILLED_BESIDE)
        if not ahead and stretch is None:
            return waiting
        with self._store.derive() as connection:
            if stretch is None:
                audit_lookup.give_up_future(connection, now)
            else:
                audit_lookup.take_in(connection, stretch)
        return True
