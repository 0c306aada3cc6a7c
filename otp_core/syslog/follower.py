"""Follows the audit trail by id and hands each row on, in its order: none is left out, whoever is restarted.

A row's id is drawn before it is committed, so a row may come behind one with a higher id. Below the newest seal none
does any more (store/sqlite/seals.py): so only sealed rows are sent, about a second after they were written. The
position moves when a piece was delivered; a piece of which that is not known is sent again, and the id in each message
tells a receiver which it has already. It holds one piece in memory, and no login waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from otp_core.audit import id_at
from otp_core.store.queries import AuditFilter, audit_rows, newest_audit_id, sealed_until
from otp_core.syslog.message import Sender, message
from otp_core.syslog.position import Position
from otp_core.syslog.receiver import Receiver

AT_ONCE = 500
"""Rows in one piece."""


class Follower:
    """``read``: opens a connection to the store. ``events``: the beginnings of those that are sent; none: all are.
    ``now_ms``: the best known time, in ms since the epoch."""

    def __init__(
        self,
        read: Callable[[], AbstractContextManager[Connection]],
        position: Position,
        receiver: Receiver,
        sender: Sender,
        events: tuple[str, ...],
        now_ms: Callable[[], int],
    ) -> None:
        self._read, self._position, self._receiver, self._sender = read, position, receiver, sender
        self._events, self._now_ms = events or ("",), now_ms
        self._after: int | None = None

    async def step(self) -> bool:
        """Send the next piece; whether there may be more. Raises StoreProblem for a position that cannot be
        understood; StoreUnavailable, and OSError where the receiver or the file of the position gives trouble: then the
        same piece comes again."""
        if self._after is None:  # only now: before, another process may have had the task
            self._after = self._position.read()
        with self._read() as connection:
            until = sealed_until(connection)
            if self._after is None:
                # What was before it was asked for is not sent, sealed or not; an id of a moment to come hides nothing.
                self._move(max(until, min(newest_audit_id(connection), id_at(self._now_ms()))))
                return False
            rows = audit_rows(connection, AuditFilter(after=self._after, before=until + 1), limit=AT_ONCE)
        wanted = [message(row, self._sender) for row in rows if row.event.startswith(self._events)]
        if wanted:
            await self._receiver.send(wanted)
        if rows:
            self._move(rows[-1].id)
        return len(rows) == AT_ONCE

    def _move(self, id_: int) -> None:
        self._position.write(id_)
        self._after = id_
