"""A store in PostgreSQL that was recovered to an earlier moment, or that lost what came last: how it is noticed, and
what `sekisho store recovered` does, so that no code of the lost time is good again.

Theory of operation
-------------------
*How it is noticed.* Each node keeps a mark (mark.py) in a folder of its own: a row of the audit trail that was
committed some seconds ago. A store that does not have that row, and does not know that such rows were lost, is an older
one. A node does not begin to serve it; one that serves it already says so until somebody has seen to it.

*What is done.* Whatever may have been used until now counts as used (lost_time.py), in one transaction. It notes up to
which id entries may be missing: that explains the marks of all nodes, also of those that come back later.

Nothing is voided by itself: that ends every session, and counter tokens have to be resynchronised. A server that has
lost the last moment only, because no standby was synchronous, is no reason to do that without anybody knowing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, func, select

from otp_core.audit import Event, id_at, ms_of
from otp_core.clock import TOLERANCE, ClockSetBack
from otp_core.model import BackendSilent, StoreProblem
from otp_core.store.acts import KnownAct
from otp_core.store.lost_time import COUNTER_RESERVE, Voided, void_codes_of_lost_time
from otp_core.store.mark import Mark, MarkFile, read_mark
from otp_core.store.put_back import IDENTITY, LOST_TIME, LostTime, entry_time, lost_acts, lost_time, new_identity
from otp_core.store.queries import newest_audit_id, read_meta
from otp_core.store.schema import audit
from otp_core.store.store import Store

SECONDS = 2.0
"""Between two looks of a process that serves; a mark is as old."""

_SAY_AGAIN = 60.0

_log = structlog.get_logger("store")


class RecoveryWatch:
    """For one process that serves a store in PostgreSQL. Raises StoreProblem."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._file = _mark_of(store.beside)
        self._last: Mark | None = None
        self._said = 0.0
        self._mutex = threading.Lock()
        """The file is closed by the loop, and written by a thread."""

    def begin(self) -> None:
        """Before anything is served. Raises StoreProblem for a store that was recovered to an earlier moment, and
        StoreUnavailable."""
        if self._file is None:
            return
        try:
            if missing := self._compare(self._file.read()):
                raise StoreProblem(_lacks(self._store.database.place, missing))
        except BaseException:
            self.close()
            raise

    async def run(self) -> None:
        """Every other second, without end: look again, and move the mark on."""
        while True:
            await asyncio.sleep(SECONDS)
            try:
                missing = await asyncio.to_thread(self.look)
            except (BackendSilent, OSError) as cause:
                _log.debug("the mark stays where it is", cause=str(cause))
                continue
            now = asyncio.get_running_loop().time()
            if missing and now >= self._said:
                self._said = now + _SAY_AGAIN
                _log.error(_lacks(self._store.database.place, missing))

    def look(self) -> int:
        """The id of an entry that was lost, 0 for none; then what was there at the last look becomes the mark. Raises
        StoreUnavailable and OSError."""
        with self._mutex:
            known = self._last or (self._file.read() if self._file is not None else None)
        return self._compare(known)

    def close(self) -> None:
        """Let go of the mark."""
        with self._mutex:
            if self._file is not None:
                self._file.close()
            self._file = None

    def _compare(self, known: Mark | None) -> int:
        with self._store.read() as connection:
            missing = missing_entry(connection, known)
            identity, newest = read_meta(connection, IDENTITY), newest_audit_id(connection)
        if missing:
            return missing
        with self._mutex:
            if self._file is not None and self._last is not None:
                self._file.write(self._last)
        identity = identity or self._name()
        self._last = None if identity is None else Mark(identity.decode(), newest)
        return 0

    def _name(self) -> bytes | None:
        """The first start: give the store its name, unless another node does; None: it cannot be written now."""
        try:
            with self._store.work_aside() as work:
                if work.meta(IDENTITY) is None:
                    work.put_meta(IDENTITY, new_identity())
                return work.meta(IDENTITY)
        except BackendSilent as cause:
            _log.debug("the store has no name yet", cause=str(cause))
            return None


def _mark_of(beside: Path) -> MarkFile | None:
    try:
        return MarkFile(beside)
    except StoreProblem as problem:
        _log.warning("whether the store is recovered to an earlier moment is not noticed here", cause=str(problem))
        return None


def missing_entry(connection: Connection, known: Mark | None) -> int:
    """The id of the entry of the audit trail that this node knew, that is lost, and of whose loss the store does not
    know; 0: there is none. ``known``: the node's mark."""
    if known is None or not known.newest_id or read_meta(connection, IDENTITY) != known.identity.encode():
        return 0  # of another store
    if connection.execute(select(audit.c.id).where(audit.c.id == known.newest_id)).first() is not None:
        return 0
    lost, oldest = lost_time(connection), connection.execute(select(func.min(audit.c.id))).scalar()
    if lost is not None and known.newest_id <= lost.until:
        return 0
    if oldest is not None and known.newest_id < oldest:
        return 0  # it was exported and dropped since
    return known.newest_id


def _lacks(place: str, missing: int) -> str:
    return (
        f"the store {place} lacks an entry of the audit trail of {entry_time(missing)} that this node knew: it was "
        "recovered to an earlier moment, or its server lost what came last, and codes that were used since would be "
        "good again. Stop all nodes, run `sekisho store recovered`, and start them"
    )


def check_mark(store: Store) -> str | None:
    """What `doctor` has to say of this node's mark; None: nothing is known to be lost. Raises StoreUnavailable and
    OSError."""
    known = read_mark(store.beside)
    with store.read() as connection:
        missing = missing_entry(connection, known)
    return _lacks(store.database.place, missing) if missing else None


@dataclass(frozen=True, slots=True)
class Order:
    """``now_ms``: ms since the epoch. ``window``: steps, as for a login; ``counter_reserve``: see lost_time.py.
    ``trust_clock``: it is right, though it is behind what is known. ``again``: also where nothing was done since."""

    now_ms: int
    window: int
    actor: str
    source: str
    reason: str = ""
    counter_reserve: int = COUNTER_RESERVE
    trust_clock: bool = False
    again: bool = False


class Recovered(NamedTuple):
    """What was done. ``as_of_id``: the newest entry that the store had. ``voided``: None if it was done before, and
    nothing has happened since. ``acts``: those of the lost time that this node knows."""

    as_of_id: int
    voided: Voided | None
    acts: list[KnownAct]


def refuse_wrong_clock(store: Store, now_ms: int) -> None:
    """What was used is void up to this machine's time: one whose clock is behind would leave good what was used last,
    and need not know any entry by which that is noticed. ``now_ms``: ms since the epoch. Raises ClockSetBack where the
    database's clock says something else, and StoreUnavailable."""
    with store.read() as connection:
        ahead = now_ms - store.database.time_ms(connection)
    if abs(ahead) > TOLERANCE * 1000:
        raise ClockSetBack(
            f"this machine's clock stands {abs(ahead) / 1000:.0f} s {'ahead of' if ahead > 0 else 'behind'} the "
            "database's: up to which moment codes are void goes by it. Check the time service of both; if this one is "
            "right, add --trust-clock"
        )


def recover(store: Store, order: Order, *, advance: Callable[[int], None] = lambda done: None) -> Recovered:
    """Void what may have been used in the time that the store has lost, and record it. Safe to repeat. No node may
    serve. Raises ClockSetBack, and what ``Store.work`` raises: then nothing was done."""
    known = read_mark(store.beside)
    with store.work() as work:
        connection = work.connection
        as_of, missing = work.newest_id(), missing_entry(connection, known)
        latest = max(as_of, missing)
        if ms_of(latest) > order.now_ms + TOLERANCE * 1000 and not order.trust_clock:
            raise ClockSetBack(
                f"the clock stands {(ms_of(latest) - order.now_ms) / 1000:.0f} s before the newest entry that is "
                "known: codes that were used would fit again. Check the time service; if the clock is right now, add "
                "--trust-clock"
            )
        before = lost_time(connection)
        if before is not None and not missing and not order.again and _is_done(connection, as_of):
            return Recovered(as_of, None, lost_acts(connection, before, store.acts))
        lost = LostTime(as_of, max(latest, id_at(order.now_ms)))
        store.ids.pass_(lost.until)
        voided = void_codes_of_lost_time(
            work,
            order.now_ms,
            window=order.window,
            counter_reserve=order.counter_reserve,
            actor=order.actor,
            reason="recovered",
            advance=advance,
        )
        work.put_meta(LOST_TIME, f"{lost.after} {lost.until}".encode())
        reason = f"{order.reason}; " if order.reason else ""
        work.audit(
            Event.STORE_RECOVERED,
            actor=order.actor,
            source=order.source,
            reason=f"{reason}{store.database.place}, as of {entry_time(as_of)}",
        )
        acts = lost_acts(connection, lost, store.acts)
    return Recovered(as_of, voided, acts)


def _is_done(connection: Connection, newest: int) -> bool:
    """Whether the newest entry of all is that of this command: then nothing was used since."""
    event = connection.execute(select(audit.c.event).where(audit.c.id == newest)).scalar()
    return bool(event == Event.STORE_RECOVERED)
