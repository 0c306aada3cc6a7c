"""What a store keeps of the time: the latest moment that is known, and the last one at which a clock was known to be
right. For the rules of time see clock.py.

A store in a file belongs to one machine, whose clock is the only one. Where several machines share a store, each has a
row of its own, so that one whose clock is ahead does not keep the others from starting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, insert, select, update

from otp_core.audit import ms_of
from otp_core.clock import Anchor, read_anchor
from otp_core.store.queries import newest_audit_id, read_meta
from otp_core.store.schema import node_clock
from otp_core.store.unit_of_work import Work

_TRUSTED, _ANCHOR = "clock trusted", "clock anchor"


class KnownTime(NamedTuple):
    """``latest_ms``: the latest moment that is recorded and was not taken back, 0 for none; ``anchor``: the last one at
    which the clock was known to be right, if one was kept."""

    latest_ms: int
    anchor: Anchor | None


class TimeRecord(Protocol):
    """What is kept of one clock."""

    def known(self, connection: Connection) -> KnownTime:
        """What the store knows of the time. Raises StoreUnavailable."""

    def trust(self, work: Work, anchor: Anchor) -> None:
        """Somebody says that the clock is right at ``anchor``: what is recorded of later moments counts no more."""

    def keep(self, work: Work, anchor: Anchor, keep_ms: int) -> None:
        """Write the anchor, if that of the store is of another boot, or ``keep_ms`` older."""


class OneClock:
    """Of a store in a file. The newest audit row is the latest moment."""

    def known(self, connection: Connection) -> KnownTime:
        """See ``TimeRecord``. Audit rows that were there when the operator said that the clock is right count no
        more."""
        newest, trusted = newest_audit_id(connection), read_meta(connection, _TRUSTED)
        anchor = _read(read_meta(connection, _ANCHOR))
        latest = ms_of(newest)
        if trusted is not None:
            at_ms, then_newest = map(int, trusted.split())
            if newest <= then_newest:
                latest = at_ms
        return KnownTime(max(latest, anchor.at if anchor is not None else 0), anchor)

    def trust(self, work: Work, anchor: Anchor) -> None:
        """See ``TimeRecord``."""
        work.put_meta(_TRUSTED, f"{anchor.at} {work.newest_id()}".encode())
        work.put_meta(_ANCHOR, anchor.text.encode())

    def keep(self, work: Work, anchor: Anchor, keep_ms: int) -> None:
        """See ``TimeRecord``."""
        if _is_old(_read(work.meta(_ANCHOR)), anchor, keep_ms):
            work.put_meta(_ANCHOR, anchor.text.encode())


class ClockOfNode:
    """Of one node among several. Its row is made when the node is entered; the node's signs of life keep ``latest``.
    ``machine``: see nodes/holder.py; ``configured``: its name in the settings; ``time_ms``: the database's clock."""

    def __init__(self, machine: str, configured: str, time_ms: Callable[[Connection], int]) -> None:
        self._here = (node_clock.c.machine == machine, node_clock.c.configured == configured)
        self._names = {"machine": machine, "configured": configured}
        self._time_ms = time_ms

    def known(self, connection: Connection) -> KnownTime:
        """See ``TimeRecord``. A node that was never seen has the newest audit row, but no moment that is still to come
        by the database's clock: another node's may have been ahead."""
        row = connection.execute(select(node_clock.c.latest, node_clock.c.anchor).where(*self._here)).first()
        if row is None or not row.latest:
            return KnownTime(min(ms_of(newest_audit_id(connection)), self._time_ms(connection)), None)
        anchor = _read(row.anchor)
        return KnownTime(max(row.latest, anchor.at if anchor is not None else 0), anchor)

    def trust(self, work: Work, anchor: Anchor) -> None:
        """See ``TimeRecord``."""
        self._put(work.connection, latest=anchor.at, anchor=anchor.text)

    def keep(self, work: Work, anchor: Anchor, keep_ms: int) -> None:
        """See ``TimeRecord``."""
        kept = work.connection.execute(select(node_clock.c.anchor).where(*self._here)).scalar()
        if _is_old(_read(kept), anchor, keep_ms):
            self._put(work.connection, latest=anchor.at, anchor=anchor.text)

    def enter(self, connection: Connection) -> None:
        """The node starts: from now on it has a row. In a transaction that has its turn."""
        if connection.execute(select(1).select_from(node_clock).where(*self._here)).first() is None:
            self._put(connection, latest=0)

    def show_life(self, connection: Connection, latest: int | None) -> None:
        """``latest``: what the clock shows, in ms; None: it is not believed."""
        values = {} if latest is None else {"latest": latest}
        now = self._time_ms(connection)
        connection.execute(update(node_clock).where(*self._here).values(seen_at=now, **values))

    def _put(self, connection: Connection, **values: object) -> None:
        values["seen_at"] = self._time_ms(connection)
        if not connection.execute(update(node_clock).where(*self._here).values(**values)).rowcount:
            connection.execute(insert(node_clock).values(**self._names, **values))


def _read(text: str | bytes | None) -> Anchor | None:
    if text is None:
        return None
    return read_anchor(text.decode(errors="replace") if isinstance(text, bytes) else text)


def _is_old(kept: Anchor | None, here: Anchor, keep_ms: int) -> bool:
    return kept is None or kept.boot_id != here.boot_id or here.at - kept.at >= keep_ms
