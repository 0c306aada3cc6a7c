"""Follows the audit trail by id and hands each row on, in its order: none is left out, whoever is restarted.

A row's id is drawn before it is committed, so a row may come behind one with a higher id. Below the newest seal none
does any more (store/sqlite/seals.py): so only sealed rows are sent, about a second after they were written. The
position moves when rows were delivered; those of which that is not known are sent again, and the id in each message
tells a receiver which it has already. It holds one piece in memory, and no login waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection

from otp_core.audit import id_at
from otp_core.outwards.position import Position
from otp_core.store.queries import AuditFilter, AuditLine, audit_rows, newest_audit_id, newest_seal_within, sealed_until

AT_ONCE = 500
"""Rows in one piece."""

_NOTED_SECONDS = 1.0
"""How long what has arrived may be known to this process alone: after a kill -9 so much comes again."""


class Receiver(Protocol):
    """Takes rows, in their order."""

    def send(self, rows: Sequence[AuditLine]) -> AsyncIterator[int]:
        """Deliver them; yields the id of a row as often as it is known that all up to it have arrived. Raises OSError,
        TimeoutError included: of the others nobody knows."""

    async def close(self) -> None:
        """Let go; the next ``send`` connects anew."""


TakeSeal = Callable[[int, int, str, bytes], Awaitable[None]]
"""Sends a seal behind the rows that it covers: number, id of the last row, body, signature. Raises OSError."""


class Follower:
    """``read``: opens a connection to the store. ``events``: the beginnings of those that are sent; none: all are.
    ``now_ms``: the best known time, in ms since the epoch. ``take_seal``: where seals go too, the newest whenever there
    is another one; after a start it goes once more."""

    def __init__(
        self,
        read: Callable[[], AbstractContextManager[Connection]],
        position: Position,
        receiver: Receiver,
        events: tuple[str, ...],
        now_ms: Callable[[], int],
        take_seal: TakeSeal | None = None,
    ) -> None:
        self._take_seal, self._seal = take_seal, 0
        self._read, self._position, self._receiver = read, position, receiver
        self._events, self._now_ms = events or ("",), now_ms
        self._after: int | None = None

    async def step(self) -> bool:
        """Send the next piece; whether there may be more. Raises StoreProblem for a position that cannot be
        understood; StoreUnavailable, and OSError where the receiver or the file of the position gives trouble: then
        what did not arrive comes again."""
        if self._after is None:  # only now: before, another process may have had the task
            self._after = self._position.read()
        with self._read() as connection:
            until = sealed_until(connection)
            if self._after is None:
                # What was before it was asked for is not sent, sealed or not; an id of a moment to come hides nothing.
                self._move(max(until, min(newest_audit_id(connection), id_at(self._now_ms()))))
                return False
            rows = audit_rows(connection, AuditFilter(after=self._after, before=until + 1), limit=AT_ONCE)
        if wanted := self._wanted(rows):
            await self._deliver(wanted)
        if rows:
            self._move(rows[-1].id)
        if len(rows) < AT_ONCE:
            await self._tell_seal()
        return len(rows) == AT_ONCE

    async def _tell_seal(self) -> None:
        if self._take_seal is None or self._after is None:
            return
        with self._read() as connection:
            found = newest_seal_within(connection, self._after)
        if found is not None and found[0] != self._seal:
            await self._take_seal(*found)
            self._seal = found[0]

    async def pass_over(self, before_ms: int) -> int:
        """Give up what was written before this moment (ms since the epoch) and waits still; the number of those that
        would have been sent. Raises StoreUnavailable and OSError."""
        passed = 0
        while self._after is not None:
            with self._read() as connection:
                before = min(sealed_until(connection) + 1, id_at(before_ms))
                rows = audit_rows(connection, AuditFilter(after=self._after, before=before), limit=AT_ONCE)
            if not rows:
                break
            self._move(rows[-1].id)
            passed += len(self._wanted(rows))
            await asyncio.sleep(0)
        return passed

    def _wanted(self, rows: Sequence[AuditLine]) -> list[AuditLine]:
        return [row for row in rows if row.event.startswith(self._events)]

    async def _deliver(self, wanted: Sequence[AuditLine]) -> None:
        loop = asyncio.get_running_loop()
        arrived, note_at = self._after, loop.time() + _NOTED_SECONDS
        try:
            async for arrived in self._receiver.send(wanted):
                if loop.time() >= note_at:
                    self._move(arrived)
                    note_at = loop.time() + _NOTED_SECONDS
        finally:
            if arrived is not None and arrived != self._after:
                self._move(arrived)

    def _move(self, id_: int) -> None:
        self._position.write(id_)
        self._after = id_
