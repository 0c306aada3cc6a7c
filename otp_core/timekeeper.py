"""Keeps the guarded clock and the store in agreement: the anchor, and what operator or kernel say of the clock.

One in each serving process looks every second; commands only read. The rules of time are in clock.py, the statements
about stamps of the future in store/future_stamps.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from otp_core.audit import Event
from otp_core.clock import LONG_AWAY, Anchor, ClockOff, ClockSetAhead, ClockWrong, GuardedClock, Kernel
from otp_core.login.policy import Rules
from otp_core.model import StoreUnavailable
from otp_core.store.future_stamps import Repaired, repair_all
from otp_core.store.retry import aside
from otp_core.store.store import Store

LOOK_SECONDS = 1.0
KEEP_MS = 60_000
"""How old the anchor in the store may be before it is written anew, in ms."""
REMIND_SECONDS = 600.0
"""How often the log says again that the clock is not believed."""
TOLD_CUSTOMERS = 20
"""How many customers are named in one line."""
_log = structlog.get_logger("clock")


def trust_present_time(
    store: Store, clock: GuardedClock, rules: Rules, *, actor: str, reason: str, source: str = ""
) -> list[Repaired]:
    """Believe the clock as it stands, and record that: for this process, its workers, every command and the next start.
    Audit rows with a later time count no more, and stamps of the future are taken back: returns whom they concerned.
    Raises StoreUnavailable, and then nothing is believed."""
    anchor = clock.anchor()
    store.ids.follow(lambda: clock.anchor().at / 1000)
    try:
        with store.work() as work:
            store.time.trust(work, anchor)
            work.audit(Event.CLOCK_TRUSTED, actor=actor, source=source, reason=reason)
            repaired = repair_all(work, anchor.at, rules, {"actor": actor, "source": source})
        clock.trust()
    finally:
        store.ids.follow(clock.best)
    return repaired


def log_repaired(repaired: Sequence[Repaired]) -> None:
    """Say whom the stamps of the future concerned; all of them are in the audit trail."""
    if repaired:
        customers = sorted({one.contract_id for one in repaired if one.contract_id is not None})
        _log.warning(
            "stamps of the future were taken back: `sekisho audit --event clock.repaired` lists them",
            customers=customers[:TOLD_CUSTOMERS],
            more=max(0, len(customers) - TOLD_CUSTOMERS),
        )


class Timekeeper:
    """Looks after one process's clock. Belongs to its event loop."""

    def __init__(self, store: Store, clock: GuardedClock, kernel: Kernel, rules: Rules) -> None:
        self._store, self._clock, self._kernel, self._rules = store, clock, kernel, rules
        self._cause, self._reminded, self._kept_at = "", float("-inf"), 0

    async def run(self) -> None:
        """Look every second, without end."""
        while True:
            await aside(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Compare once. Says what is wrong, believes what the operator or the kernel says, and keeps the anchor. Never
        raises: a store that is not there is the login queue's to report."""
        try:
            try:
                settled = self._clock.settled
            except ClockWrong as cause:
                self._doubt(cause)
                return
            self._believed()
            if settled or self._kernel.synchronised():
                self._keep()
        except StoreUnavailable:
            pass

    def warn_of_a_long_absence(self) -> None:
        """Say so if the clock stands far ahead of the latest moment that the store knows. Raises StoreUnavailable."""
        with self._store.read() as connection:
            known = self._store.time.known(connection)
        away = self._clock.anchor().at - known.latest_ms
        if known.latest_ms and away > LONG_AWAY * 1000:
            _log.warning(
                "the clock stands far ahead of the last entry of the store: is it right?",
                days=round(away / 86_400_000, 1),
            )

    def _doubt(self, cause: ClockWrong) -> None:
        uptime = self._kernel.uptime()
        if str(cause) != self._cause or uptime > self._reminded + REMIND_SECONDS:
            self._cause, self._reminded = str(cause), uptime
            _log.error("the clock is not believed: no login is answered, nothing expires", cause=str(cause))
        if isinstance(cause, ClockOff):
            return  # other nodes and the database say so: neither the kernel nor the operator outdoes them
        with self._store.read() as connection:
            latest_ms, kept = self._store.time.known(connection)
        if kept is not None and self._clock.follow(kept, latest_ms):
            self._store.ids.follow(self._clock.best)
            self._believed()
        elif self._kernel.synchronised() and self._may_believe_the_kernel(cause, kept):
            reason = f"the kernel says that the clock is synchronised; {cause.short}"
            log_repaired(trust_present_time(self._store, self._clock, self._rules, actor="sekisho", reason=reason))
            self._believed()

    def _may_believe_the_kernel(self, cause: ClockWrong, kept: Anchor | None) -> bool:
        """Ahead: always. Back: only where no time that was known to be right comes again. So a machine that starts with
        a wrong clock, which a time service then sets back, needs nobody."""
        if isinstance(cause, ClockSetAhead):
            return True
        return kept is not None and self._clock.anchor().at > kept.at + 2 * KEEP_MS

    def _believed(self) -> None:
        if self._cause:
            _log.warning("the clock is believed again", after=self._cause)
            self._cause, self._reminded = "", float("-inf")

    def _keep(self) -> None:
        """Write the anchor if it is old. A process that waits for it reads it too (``_doubt``)."""
        here = self._clock.anchor()
        if not here.boot_id or here.at - self._kept_at < KEEP_MS:
            return
        with self._store.work() as work:
            self._store.time.keep(work, here, KEEP_MS)
        self._kept_at = here.at
