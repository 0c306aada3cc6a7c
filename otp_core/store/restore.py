"""Puts a backup in the place of the store. Everything is done and checked in a new file beside it before anything of
the old one is touched; the old one is kept under a dated name.

No code of the lost time is good afterwards (lost_time.py). What staff did since the backup is read from the old store's
audit trail, or from the journal beside it. It is listed, and not done again: some of it needs the customer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError

from otp_core.audit import Event, Ids, ms_of
from otp_core.clock import TOLERANCE, ClockSetBack
from otp_core.model import AuditRow, StoreProblem
from otp_core.sealing import KeyProblem, Sealer, read_master_key
from otp_core.store.acts import JOURNALED, ActsJournal, KnownAct, enter_again, of_rows
from otp_core.store.lost_time import COUNTER_RESERVE
from otp_core.store.mark import Mark, MarkFile, users_of
from otp_core.store.put_back import IDENTITY, LostTime, void_lost_time
from otp_core.store.schema import REVISION
from otp_core.store.sqlite import backup as files
from otp_core.store.sqlite import database, driver
from otp_core.store.sqlite.backup import Contents
from otp_core.store.sqlite.repair import is_new_now
from otp_core.store.store import Store, fill_search_terms
from otp_core.store.unit_of_work import Work

_FARTHEST = 10_000
"""Steps behind now beyond which an old store's last step came from a wrong clock: about three days."""

_TOKENS_AT_ONCE = 5_000

_ENDINGS = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be restored, and how. ``now_ms``: ms since the epoch. ``window``: steps, as for a login;
    ``counter_reserve``: see lost_time.py. ``trust_clock``: it is right, though it is behind what the files know."""

    backup: Path
    store_file: Path
    key_file: Path
    now_ms: int
    window: int
    actor: str
    source: str
    reason: str = ""
    counter_reserve: int = COUNTER_RESERVE
    replace: bool = False
    trust_clock: bool = False


class Restored(NamedTuple):
    """What was done. ``contents``: the backup's. ``kept``: the store that was there, None for none. ``read``: its audit
    trail could be read. ``acts``: what was done since the backup, as far as it is known."""

    contents: Contents
    kept: Path | None
    read: bool
    acts: list[KnownAct]


class _Old(NamedTuple):
    """What is known of the store that is replaced. ``connection``: to read its tokens by, None if it cannot be read."""

    readable: bool = False
    newest_id: int = 0
    acts: tuple[KnownAct, ...] = ()
    connection: driver.Connection | None = None


def restore(order: Order, *, ids: Ids, advance: Callable[[str, int, int], None]) -> Restored:
    """Put a backup in place. ``advance``: told what is done, how much of it, and of how much.

    Raises StoreProblem (with what to do), KeyProblem, ClockSetBack and OSError; then the store is as it was."""
    sealer = Sealer(read_master_key(order.key_file))
    _check_files(order)
    contents = files.examine(order.backup)
    if contents.key_check is None or not sealer.opens(contents.key_check):
        raise KeyProblem(
            f"{order.key_file} is not the master key of the backup {order.backup}: put the right one there, which no "
            "backup holds"
        )
    _check_clock(order, contents.newest_id, "the backup's newest entry")
    mark = MarkFile(order.store_file)
    try:
        if not mark.hold_alone():
            raise StoreProblem(f"{in_use(mark.path)}: stop the server first")
        return _restore(order, contents, mark, ids, advance)
    finally:
        mark.close(remove=mark.fresh and mark.read() is None)


def _restore(
    order: Order, contents: Contents, mark: MarkFile, ids: Ids, advance: Callable[[str, int, int], None]
) -> Restored:
    file = order.store_file
    there = os.path.lexists(file)
    owner = (file if there else file.parent).stat()
    journal = ActsJournal(file)
    with files.new_file(file, "restoring", (owner.st_uid, owner.st_gid)) as new, alone(file) as old_store:
        size = files.size_of(order.backup)
        _copy(order, new, lambda octets: advance("copying", octets, size))
        old = _read_old(old_store, contents.newest_id)
        latest = max(contents.newest_id, old.newest_id, _marked(mark), _noted(journal))
        _check_clock(order, latest, "the newest entry of the store that is replaced")
        acts = _acts(old, journal, contents.newest_id)
        reached = _void(order, new, old, latest, ids, lambda done: advance("voiding codes", done, contents.tokens))
        _check(new)
        with contextlib.suppress(OSError):
            noted = {one.id for one in journal.known(contents.newest_id)}
            journal.add_known(one for one in acts if one.id not in noted)
        kept = _put_in_place(new, file, old_store, order.now_ms)
        mark.write(reached, flush=True)
        is_new_now(file)
    return Restored(contents, kept, old.readable, [one for one in acts if enter_again(one)])


def _check_files(order: Order) -> None:
    backup, file = order.backup, order.store_file
    if not os.path.lexists(backup):
        raise StoreProblem(f"there is no file {backup}")
    if not backup.is_file():
        raise StoreProblem(f"{backup} is no file: name the file that `sekisho backup` wrote")
    if not file.parent.is_dir():
        raise StoreProblem(f"there is no folder {file.parent}: make it first, as the user that the server runs as")
    if any(_is_same(backup, file.with_name(file.name + end)) for end in _ENDINGS):
        raise StoreProblem(f"{backup} is the store itself, or a part of it: name a backup")
    if os.path.lexists(file):
        if not file.is_file():
            raise StoreProblem(f"store.url: {file} is no file")
        if not order.replace:
            raise StoreProblem(f"there is a store {file}: with --replace it is kept beside, under a dated name")


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _check_clock(order: Order, newest_id: int, what: str) -> None:
    behind = ms_of(newest_id) - order.now_ms
    if behind > TOLERANCE * 1000 and not order.trust_clock:
        raise ClockSetBack(
            f"the clock stands {behind / 1000:.0f} s before {what}: codes that were used would fit again. Check the "
            "time service; if the clock is right now, add --trust-clock"
        )


def in_use(*paths: Path) -> str:
    """Who holds a lock on one of these files, as the beginning of a sentence."""
    users = sorted({pid for path in paths for pid in users_of(path)})
    return f"the store is in use by {' and '.join(f'process {pid} ({_command(pid)})' for pid in users) or 'a process'}"


def _command(pid: int) -> str:
    try:
        return " ".join(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")).strip()[-80:]
    except OSError:
        return "another user's"


def _marked(mark: MarkFile) -> int:
    known = mark.read()
    return known.newest_id if known else 0


def _noted(journal: ActsJournal) -> int:
    with contextlib.suppress(OSError):
        return max(journal.latest(), default=0)
    return 0


@contextmanager
def alone(file: Path) -> Iterator[driver.Connection | None]:
    """A connection to the old store, while nobody else can have it open; None if there is none that can be read. Raises
    StoreProblem if somebody has."""
    connection = None
    with contextlib.suppress(driver.Error):  # damaged: it is kept as it is
        if file.is_file() and files.is_database(file):
            connection = files.open_alone(file)
            if connection is None:
                raise StoreProblem(f"{in_use(file, file.with_name(file.name + '-shm'))}: end it first")
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _read_old(connection: driver.Connection | None, after: int) -> _Old:
    if connection is None:
        return _Old()
    events = ", ".join(f"'{event.value}'" for event in JOURNALED)
    try:
        rows = connection.execute(
            "SELECT id, event, actor, customer, token, source, reason FROM audit "  # noqa: S608  constants
            f"WHERE id > ? AND event IN ({events}) ORDER BY id",
            (after,),
        ).fetchall()
        (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM audit").fetchone()
    except driver.Error:
        return _Old()
    return _Old(True, newest, tuple(of_rows(AuditRow(*row) for row in rows)), connection)


def _acts(old: _Old, journal: ActsJournal, after: int) -> list[KnownAct]:
    """What was done since the backup: by the old store's audit trail, and what only the journal knows."""
    try:
        noted = journal.known(after)
    except OSError:
        noted = []
    if old.readable:
        noted = [one for one in noted if one.id > old.newest_id]
    return sorted([*old.acts, *noted])


def _copy(order: Order, new: Path, advance: Callable[[int], None]) -> None:
    try:
        files.copy_database(order.backup, new, live=False, advance=advance)
        if files.examine(new).revision < REVISION:
            database.upgrade(database.open_engine(_url(new), busy_seconds=5.0))
    except (driver.Error, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StoreProblem(f"the backup cannot be copied beside the store: {cause}") from None


def _void(order: Order, new: Path, old: _Old, latest: int, ids: Ids, advance: Callable[[int], None]) -> Mark:
    """Void the codes of the lost time in the new file, and record it; its mark."""
    store = Store(_url(new), order.key_file, ids=ids, busy_seconds=5.0)
    store.acts = None
    fill_search_terms(store)
    with store.work() as work:
        contents_id = work.newest_id()
        as_of = _local(ms_of(contents_id))
        void_lost_time(
            work,
            order.now_ms,
            LostTime(contents_id, latest),
            window=order.window,
            counter_reserve=order.counter_reserve,
            actor=order.actor,
            reason="restored",
            advance=advance,
        )
        _take_steps(work, old.connection)
        reason = f"{order.reason}; " if order.reason else ""
        work.audit(
            Event.STORE_RESTORED,
            actor=order.actor,
            source=order.source,
            reason=f"{reason}{order.backup}, as of {as_of}",
        )
        mark = Mark((work.meta(IDENTITY) or b"").decode(), work.newest_id())
    store.engine.dispose()
    return mark


def _take_steps(work: Work, old: driver.Connection | None) -> None:
    """Where the old store can be read, its last steps are known: also those of a drift that was learnt since, of
    counters beyond the reserve, and of codes that were accepted while the clock stood in the future."""
    if old is None:
        return
    ahead = text(
        "UPDATE token SET last_step = :step WHERE key = :key AND token_id = :token_id AND last_step < :step "
        "AND (kind = 'hotp' OR :step < last_step + :farthest)"
    )
    spans = text("UPDATE token SET spent_ahead = :spans WHERE key = :key AND token_id = :token_id")
    try:
        try:
            rows = old.execute("SELECT key, token_id, last_step, spent_ahead FROM token")
        except driver.OperationalError:  # an older schema
            rows = old.execute("SELECT key, token_id, last_step, NULL FROM token")
        while some := rows.fetchmany(_TOKENS_AT_ONCE):
            named = [
                {"key": key, "token_id": id_, "step": step, "spans": kept, "farthest": _FARTHEST}
                for key, id_, step, kept in some
            ]
            for statement, ones in (
                (ahead, [one for one in named if one["step"] >= 0]),
                (spans, [one for one in named if one["spans"] is not None]),
            ):
                if ones:
                    work.connection.execute(statement, ones)
    except driver.Error:
        return  # a damaged one: the reserve has to do


def _check(new: Path) -> None:
    connection = files.open_alone(new)
    if connection is None:
        raise StoreProblem(f"another process has opened {new}: end it, and restore again")
    with closing(connection):
        files.fold_log(connection)
    files.examine(new)
    files.flush(new)


def _put_in_place(new: Path, file: Path, old: driver.Connection | None, now_ms: int) -> Path | None:
    """Keep what was there under a dated name, and give its name to the new file. ``old``: closed when the old store has
    lost its name, so that nobody writes into it any more."""
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    kept = file.with_name(f"{file.name}.replaced-{stamp}")
    number = 1
    while os.path.lexists(kept):
        number += 1
        kept = file.with_name(f"{file.name}.replaced-{stamp}-{number}")
    had, moved = os.path.lexists(file), []
    if old is not None:
        with contextlib.suppress(driver.Error):  # the log is kept beside it then
            files.fold_log(old)
    try:
        for end in ("-wal", "-journal", "-shm", ""):  # never a new file beside an old log
            part = file.with_name(file.name + end)
            if os.path.lexists(part):
                os.rename(part, kept.with_name(kept.name + end))
                moved.append((part, kept.with_name(kept.name + end)))
        if old is not None:
            old.close()
        os.rename(new, file)
    except BaseException:
        for part, away in reversed(moved):
            os.rename(away, part)
        raise
    files.flush(file.parent)
    for end in ("-wal", "-shm"):
        beside = kept.with_name(kept.name + end)
        if end == "-shm" or (beside.exists() and beside.stat().st_size == 0):
            beside.unlink(missing_ok=True)
    return kept if had else None


def _url(file: Path) -> str:
    return URL.create("sqlite", database=str(file)).render_as_string()


def _local(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().isoformat(timespec="seconds")
