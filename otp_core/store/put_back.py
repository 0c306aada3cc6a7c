"""Notices a store that was put back without `sekisho restore`, and voids the codes of the lost time before they count.

At the start and every second it compares the store with its mark (mark.py) and with the journal of acts (acts.py): both
lie outside the database and name rows of the audit trail that were on disk. A store without such a row is an older one.
One without the mark that it had was copied, perhaps without its log. What is lost cannot be put back: staff is told.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, func, select

from otp_core.audit import ms_of
from otp_core.clock import TOLERANCE
from otp_core.model import BackendSilent, StoreBusy, StoreProblem, StoreUnavailable
from otp_core.store.acts import JOURNALED, ActsJournal, KnownAct, complain, enter_again, is_entered
from otp_core.store.audit_drops import dropped_until
from otp_core.store.lost_time import COUNTER_RESERVE, void_codes_of_lost_time
from otp_core.store.mark import Mark, MarkFile
from otp_core.store.queries import newest_audit_id, read_meta
from otp_core.store.schema import audit
from otp_core.store.store import Store
from otp_core.store.unit_of_work import Work

IDENTITY = "identity"
"""Key in ``meta``: the store's own random name. Made when it is served for the first time, and anew after each time
that it was put back."""

LOST_TIME = "lost time"
"""Key in ``meta``: between which ids of the audit trail acts were lost, the last time that the store was put back."""

SECONDS = 1.0
_TRIES = 50
_MOST_LINES = 100
"""Lost acts that are logged one by one."""

_log = structlog.get_logger("store")


class PutBack(NamedTuple):
    """A store that was put back: why it is taken for one, and the oldest and the newest entry that it lacks, 0 where
    none is known."""

    cause: str
    oldest: int = 0
    newest: int = 0


class LostTime(NamedTuple):
    """Behind ``after`` and up to ``until``, entries of the audit trail that the store does not have were lost."""

    after: int
    until: int


class PutBackWatch:
    """For one process that serves a store. ``now_ms``: the time in ms since the epoch. ``window``: steps, as for a
    login. ``trust_clock``: the clock is right, though it is behind the mark."""

    def __init__(self, store: Store, *, window: int, now_ms: Callable[[], int], trust_clock: bool = False) -> None:
        self._store, self._window, self._now_ms, self._trust_clock = store, window, now_ms, trust_clock
        self._file = MarkFile(store.file)
        self._last: Mark | None = None

    def begin(self) -> None:
        """Before anything is served: hold the store, see whether it was put back, and treat it. Raises StoreProblem
        (a restore is under way, or the clock is behind) and StoreUnavailable."""
        try:
            self._file.hold()
            flushed = self._store.flushed_id()
            for _ in range(_TRIES):
                with suppress(StoreBusy):
                    return self._compare(self._file.read(), flushed)
                time.sleep(SECONDS / 10)
            self._compare(self._file.read(), flushed)
        except BaseException:
            self._file.close()
            raise

    async def run(self) -> None:
        """Every second, without end: compare again, and move the mark on."""
        while True:
            await asyncio.sleep(SECONDS)
            try:
                self._compare(self._last or self._file.read())
            except (BackendSilent, StoreProblem, OSError) as cause:
                _log.debug("the mark stays where it is", cause=str(cause))

    def close(self) -> None:
        """Move the mark to the end, and let go of it. Call it when nothing is written any more."""
        try:
            with suppress(BackendSilent, StoreProblem, OSError):
                self._compare(self._last or self._file.read())
                if self._last is not None:
                    self._file.write(self._last)
        finally:
            self._file.close()

    def void(self, cause: str) -> None:
        """Void the codes of the lost time though no missing entry tells of one. ``cause``: what happened. Raises as
        ``begin``, and does not take its place."""
        self._file.hold()
        try:
            self._treat(PutBack(cause), self._file.read(), certain=True)
        finally:
            self._file.close()

    def _compare(self, known: Mark | None, flushed: int = 0) -> None:
        """Compare the store with ``known``, and write that as the mark once the next comparison has found it.
        ``flushed``: as in ``put_back``."""
        with self._store.read() as connection:
            identity, newest = _identity(connection), newest_audit_id(connection)
            found = put_back(connection, known, self._store.acts, flushed)
        if found is not None:
            self._treat(found, known, flushed)
        elif identity is None:
            self._name()
        else:
            if known is not None and known == self._last:
                self._file.write(known)  # a second old: what it names is on disk by now
            self._last = Mark(identity, newest)

    def _name(self) -> None:
        """The first start: give the store its name. One that cannot be written gets it when it can."""
        try:
            with self._store.work() as work:
                first = work.meta(IDENTITY) is None
                if first:
                    work.put_meta(IDENTITY, new_identity())
                newest, identity = work.newest_id(), (work.meta(IDENTITY) or b"").decode()
        except StoreBusy:
            raise
        except StoreUnavailable as cause:
            _log.debug("the store has no name yet", cause=str(cause))
            return
        self._settle(Mark(identity, newest))
        if first:
            _log.info("first start of this store with a mark beside it", mark=str(self._file.path))

    def _settle(self, mark: Mark) -> None:
        self._last = mark
        self._file.write(mark, flush=True)
        # A copy of the file alone, without its log, has to know its name.
        self._store.database.checkpoint()

    def _treat(self, found: PutBack, known: Mark | None, flushed: int = 0, *, certain: bool = False) -> None:
        """Void the codes of the lost time, and say so. ``certain``: whatever another process found."""
        now, journal = self._now_ms(), self._store.acts
        with self._store.read() as connection:
            latest = max(found.newest, newest_audit_id(connection))
            before, since = lost_time(connection), _newest_before(connection, found.oldest)
        if now < ms_of(latest) - TOLERANCE * 1000 and not self._trust_clock:
            raise StoreProblem(
                f"the store was put back, and the clock stands {(ms_of(latest) - now) / 1000:.0f} s before its mark: "
                "codes that were used would fit again. Check the time service; if the clock is right now, start with "
                "`sekisho serve --trust-clock`"
            )
        with self._store.work() as work:
            needed = certain or put_back(work.connection, known, journal, flushed) is not None
            if not needed or self._file.read() not in (known, None):
                mark = self._file.read()  # another process was faster
            else:
                mark = None
                lost = LostTime(before.until if before else 0, latest)
                lost = void_lost_time(work, now, lost, window=self._window, actor="sekisho serve", reason=found.cause)
                acts = lost_acts(work.connection, lost, journal)
                self._file.write(Mark((work.meta(IDENTITY) or b"").decode(), 0))
        if mark is not None:
            self._last = mark
            return
        what = "may have lost what came last" if certain else "was put back without `sekisho restore`"
        _say(what, found.cause, since, acts)
        with self._store.read() as connection:
            self._settle(Mark(_identity(connection) or "", newest_audit_id(connection)))


def put_back(
    connection: Connection, known: Mark | None, journal: ActsJournal | None, flushed: int = 0
) -> PutBack | None:
    """Whether the store was put back; None: it was not. ``known``: its mark. ``flushed``: a further entry of the audit
    trail that it must have (``Store.flushed_id``), 0 for none."""
    identity, lost = _identity(connection), lost_time(connection)
    ids = {id_ for id_ in _latest(journal) if lost is None or id_ > lost.until}
    if known is not None and known.newest_id:
        ids.add(known.newest_id)
    if flushed:
        ids.add(flushed)
    ids = _not_dropped(connection, ids)
    missing = ids - set(connection.execute(select(audit.c.id).where(audit.c.id.in_(ids))).scalars())
    ends = (min(missing), max(missing)) if missing else (0, 0)
    if known is None:
        if identity is None:
            return None
        return PutBack("the store was served before, and the mark beside it is missing", *ends)
    if known.identity != identity:
        return PutBack("the mark beside the store is another one's", *ends)
    return PutBack(f"an entry of the audit trail of {entry_time(ends[1])} is missing", *ends) if missing else None


def void_lost_time(
    work: Work,
    now_ms: int,
    lost: LostTime,
    *,
    window: int,
    counter_reserve: int = COUNTER_RESERVE,
    actor: str,
    reason: str,
    advance: Callable[[int], None] = lambda done: None,
) -> LostTime:
    """Void the codes of the lost time, give the store a new name, and note which time was lost: ``lost``, or until now
    where that is later."""
    void_codes_of_lost_time(
        work, now_ms, window=window, counter_reserve=counter_reserve, actor=actor, reason=reason, advance=advance
    )
    lost = LostTime(lost.after, max(lost.until, work.newest_id()))
    work.put_meta(IDENTITY, new_identity())
    work.put_meta(LOST_TIME, f"{lost.after} {lost.until}".encode())
    return lost


def lost_time(connection: Connection) -> LostTime | None:
    """Which time was lost the last time that the store was put back; None: it never was."""
    value = read_meta(connection, LOST_TIME)
    return LostTime(*map(int, value.split())) if value else None


def lost_acts(connection: Connection, lost: LostTime, journal: ActsJournal | None) -> list[KnownAct]:
    """The acts of the lost time that the journal knows, that the store does not, and that staff can enter again."""
    if journal is None:
        return []
    try:
        known = [one for one in journal.known(lost.after) if one.id <= lost.until and enter_again(one)]
        dropped = dropped_until(connection)
        known = [one for one in known if one.id > dropped]
    except OSError as error:
        complain("the journal beside the store cannot be read", journal.path, error)
        return []
    there: set[int] = set()
    for at in range(0, len(known), 500):
        ids = [one.id for one in known[at : at + 500]]
        there |= set(connection.execute(select(audit.c.id).where(audit.c.id.in_(ids))).scalars())
    return [one for one in known if one.id not in there]


def open_acts(connection: Connection, lost: LostTime, journal: ActsJournal | None) -> list[KnownAct]:
    """Those of the lost acts that nobody has entered again yet."""
    since = select(audit.c.event, audit.c.customer, audit.c.token, audit.c.reason).where(
        audit.c.id > lost.until, audit.c.event.in_(JOURNALED)
    )
    done = [(event, customer, token, reason) for event, customer, token, reason in connection.execute(since)]
    return [one for one in lost_acts(connection, lost, journal) if not is_entered(one, done)]


def new_identity() -> bytes:
    """A random name for a store."""
    return secrets.token_hex(16).encode()


def _identity(connection: Connection) -> str | None:
    value = read_meta(connection, IDENTITY)
    return value.decode() if value else None


def _not_dropped(connection: Connection, ids: set[int]) -> set[int]:
    """Without the rows that may have been taken away (`sekisho audit drop`)."""
    dropped = dropped_until(connection)
    return {id_ for id_ in ids if id_ > dropped}


def _latest(journal: ActsJournal | None) -> Sequence[int]:
    with suppress(OSError):
        return journal.latest() if journal else ()
    return ()


def _newest_before(connection: Connection, id_: int) -> int:
    newest = select(func.max(audit.c.id))
    return connection.execute(newest.where(audit.c.id < id_) if id_ else newest).scalar() or 0


def _say(what: str, cause: str, since: int, acts: list[KnownAct]) -> None:
    _log.error(
        f"the store {what}: every code that may have been used since is void",
        cause=cause,
        lost_since=entry_time(since),
    )
    for one in acts[:_MOST_LINES]:
        _log.error("this act was lost: enter it again", act=one.event, at=entry_time(one.id), command=enter_again(one))
    if len(acts) > _MOST_LINES:
        _log.error("further acts were lost: `sekisho doctor` lists them", number=len(acts) - _MOST_LINES)


def entry_time(id_: int) -> str:
    """When an entry of the audit trail was made, for people."""
    return datetime.fromtimestamp(ms_of(id_) / 1000, UTC).isoformat(timespec="seconds")
