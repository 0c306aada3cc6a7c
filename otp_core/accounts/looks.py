"""Who looked at whom: staff on the console, programs by the API. One row a minute for each of them and each customer;
a list leaves a row whenever it shows somebody whom no list of the last minute has named.

A look must not disturb logins: looks are kept in memory for a second at most, written in one transaction, and no login
batch is decided anew because of them. What cannot be recorded is not shown: with too many looks that wait, the next one
is refused.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from otp_core.accounts.principal import Principal
from otp_core.audit import Event
from otp_core.model import StoreBusy, StoreUnavailable
from otp_core.store.retry import aside
from otp_core.store.store import Store

_log = structlog.get_logger("looks")

SAMPLE_SECONDS = 60.0
"""One row in so many seconds for each pair of who looked and at whom."""

WRITE_SECONDS = 1.0

MOST_WAITING = 10_000
"""Looks that wait to be written; with more, nobody is shown anything."""

_MOST_REMEMBERED = 50_000
_AT_ONCE = 500
_NAMED = 20
"""Customers of a list that its row names one by one."""


class _Look(NamedTuple):
    event: Event
    principal: Principal
    customer: str | None
    reason: str


class Looks:
    """The looks of one process. ``clock``: seconds that only grow."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._seen: OrderedDict[tuple[Event, str, str], float] = OrderedDict()
        self._waiting: list[_Look] = []
        self._writing = threading.Lock()
        self._said_at = float("-inf")

    def at(self, principal: Principal, contract_id: str, what: str = "") -> None:
        """Somebody is shown a customer. ``what``: the kind of page, for the reason. Raises StoreUnavailable if looks
        cannot be recorded."""
        if self._is_new(Event.LOOKED_AT, principal, contract_id):
            self._keep(_Look(Event.LOOKED_AT, principal, contract_id, what))
            self._remember(Event.LOOKED_AT, principal, contract_id)

    def at_all(self, principal: Principal, contract_ids: Iterable[str], what: str) -> None:
        """Somebody is shown what belongs to these few, as ``at`` says."""
        for contract_id in contract_ids:
            self.at(principal, contract_id, what)

    def through(self, principal: Principal, contract_ids: Sequence[str], what: str) -> None:
        """Somebody is shown a list of customers; nothing, if it is empty. A row for those whom no list of the last
        minute has named: a harmless search first must not hide the next one. Raises StoreUnavailable."""
        number, shown = len(contract_ids), contract_ids
        if number > _NAMED:
            shown = [f"{contract_ids[0]} to {contract_ids[-1]}"]  # of these nobody counts as named
        new = [one for one in shown if self._is_new(Event.LOOKED_THROUGH, principal, one)]
        if not new:
            return
        number = number if number > _NAMED else len(new)
        text = f"{what}: {number} customers: {', '.join(new)}"
        self._keep(_Look(Event.LOOKED_THROUGH, principal, None, text))
        for one in new:
            self._remember(Event.LOOKED_THROUGH, principal, one)

    def exported(self, principal: Principal, what: str) -> None:
        """Somebody takes a file away; always a row. Raises StoreUnavailable."""
        self._keep(_Look(Event.LOOKED_THROUGH, principal, None, what))

    def write(self) -> None:
        """Write what waits. Raises StoreUnavailable; then it waits on. Any thread may call it: the last one at the end
        of the process, while that of ``run`` may still wait for the store."""
        with self._writing:
            while self._waiting:
                self._write(self._waiting[:_AT_ONCE])

    def _write(self, batch: list[_Look]) -> None:
        with self._store.work_aside() as work:
            rows = [
                work.audit_row(
                    one.event,
                    actor=one.principal.name,
                    source=one.principal.source,
                    reason=one.reason,
                    customer=one.customer,
                )
                for one in batch
            ]
            work.audit_all(rows)
        del self._waiting[: len(batch)]

    async def run(self) -> None:
        """Write every second, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await aside(self.write)
            except StoreBusy:
                continue
            except StoreUnavailable as cause:
                if self._clock() >= self._said_at + SAMPLE_SECONDS:
                    self._said_at = self._clock()
                    _log.error("looks at customers wait to be recorded", waiting=len(self._waiting), cause=str(cause))

    def _is_new(self, event: Event, principal: Principal, shown: str) -> bool:
        before = self._seen.get((event, principal.name, shown))
        return before is None or self._clock() >= before + SAMPLE_SECONDS

    def _remember(self, event: Event, principal: Principal, shown: str) -> None:
        key = (event, principal.name, shown)
        self._seen[key] = self._clock()
        self._seen.move_to_end(key)
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)

    def _keep(self, look: _Look) -> None:
        if len(self._waiting) >= MOST_WAITING:
            raise StoreUnavailable("store: looks at customers cannot be recorded, so nobody is shown any")
        self._waiting.append(look)
