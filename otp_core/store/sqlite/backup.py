"""Copies of a store's file: made in one read transaction while others write, examined, flushed. Files and SQLite only;
it knows no settings and puts nothing in place.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from otp_core.model import StoreProblem
from otp_core.store.revisions import OLDEST_TABLE, REACHED_TABLE, is_known
from otp_core.store.schema import KEY_CHECK, REVISION
from otp_core.store.sqlite import driver

Advance = Callable[[int], None]
"""Told how many octets are written by now."""

_HEADER = b"SQLite format 3\0"
_CALLS_BETWEEN = 2_000
"""Virtual machine instructions between two looks at the progress."""


class Contents(NamedTuple):
    """What a store's file holds. ``newest_id``: of the audit trail, 0 for none; it tells the time (audit.ms_of).
    ``octets``: the file's size. ``key_check``: see sealing.Sealer.opens."""

    revision: str
    customers: int
    tokens: int
    audit_rows: int
    newest_id: int
    octets: int
    key_check: bytes | None


def is_database(file: Path) -> bool:
    """Whether a file begins as SQLite's do. Raises OSError."""
    with file.open("rb") as opened:
        return opened.read(len(_HEADER)) == _HEADER


def size_of(file: Path) -> int:
    """About how many octets a copy will have. Raises OSError."""
    return file.stat().st_size


def copy_database(source: Path, target: Path, *, live: bool, advance: Advance = lambda octets: None) -> None:
    """Write everything committed in ``source`` into ``target``, an empty file, in one read transaction: writers go on
    meanwhile, and the copy is complete without a log beside it (https://sqlite.org/lang_vacuum.html, VACUUM INTO).

    ``live``: others may have ``source`` open; otherwise nothing is made beside it, not even for a moment. Not flushed
    yet: see ``flush``. Raises the driver's Error, KeyboardInterrupt if it was interrupted meanwhile."""
    stopped: list[BaseException] = []

    def look() -> int:
        try:
            advance(target.stat().st_size)
        except BaseException as error:  # sqlite3 would swallow it
            stopped.append(error)
            return 1
        return 0

    with closing(_opened(source, live=live)) as connection:
        connection.set_progress_handler(look, _CALLS_BETWEEN)
        try:
            connection.execute("VACUUM INTO ?", (str(target.absolute()),))
        except driver.Error:
            if stopped:
                raise stopped[0] from None
            raise


def examine(file: Path, *, live: bool = False) -> Contents:
    """Read a whole file, and say what it holds. Raises StoreProblem for one that is no store, damaged, or of a newer
    version."""
    try:
        if not is_database(file):
            raise StoreProblem(f"{file} is no backup of a store: it is no SQLite database")
        with closing(_opened(file, live=live)) as connection:
            _check_whole(connection, file)
            return _contents(connection, file)
    except driver.Error as error:
        raise StoreProblem(f"{file} is damaged, or no backup of a store: {error}") from None
    except OSError as error:
        raise StoreProblem(f"{file} cannot be read: {error.strerror}") from None


def _check_whole(connection: driver.Connection, file: Path) -> None:
    found = connection.execute("PRAGMA integrity_check(3)").fetchall()
    if found != [("ok",)]:
        raise StoreProblem(f"{file} is damaged: {'; '.join(str(one) for (one,) in found)}")
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise StoreProblem(f"{file} is damaged: table {broken[0]} has a row that refers to nothing")


def _contents(connection: driver.Connection, file: Path) -> Contents:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {OLDEST_TABLE, "meta", "customer", "token", "audit"} <= tables:
        raise StoreProblem(f"{file} is a database, but no backup of a store: it has not the tables of one")
    oldest = _revision(connection, OLDEST_TABLE)
    if not is_known(oldest):
        raise StoreProblem(
            f"{file} has the schema {oldest!r}, and this version knows up to {REVISION}: use the version of Sekisho "
            "that made it, or a newer one"
        )
    revision = _revision(connection, REACHED_TABLE) if REACHED_TABLE in tables else oldest
    customers, tokens, rows, newest = connection.execute(
        "SELECT (SELECT count(*) FROM customer), (SELECT count(*) FROM token), (SELECT count(*) FROM audit), "
        "(SELECT coalesce(max(id), 0) FROM audit)"
    ).fetchone()
    check = connection.execute("SELECT value FROM meta WHERE name = ?", (KEY_CHECK,)).fetchone()
    return Contents(revision, customers, tokens, rows, newest, file.stat().st_size, check[0] if check else None)


def _revision(connection: driver.Connection, table: str) -> str:
    row = connection.execute(f"SELECT version_num FROM {table}").fetchone()  # noqa: S608  constants
    return str(row[0]) if row else ""


def _opened(file: Path, *, live: bool) -> driver.Connection:
    """``live``: with SQLite's locks and log. Otherwise nobody writes to the file, and a log that lies beside it belongs
    to it."""
    mode = "mode=rw" if live else "mode=ro" if _has_log(file) else "immutable=1"
    return driver.connect(f"{file.absolute().as_uri()}?{mode}", uri=True, timeout=10.0, isolation_level=None)


def _has_log(file: Path) -> bool:
    return any(_octets(file.with_name(file.name + end)) for end in ("-wal", "-journal"))


def _octets(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def open_alone(file: Path) -> driver.Connection | None:
    """Open a store for oneself, in a transaction: nobody else has it open as long as this connection is; None if
    somebody has now. Its header is left as it is, so that nothing is to be rolled back if this process is killed.
    Raises the driver's Error for a damaged one."""
    connection = driver.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=1.0)
    try:
        connection.execute(
            "PRAGMA locking_mode=EXCLUSIVE"
        )  # also keeps away who only has it open (sqlite.org/wal.html)
        connection.execute("BEGIN EXCLUSIVE")
    except driver.Error as error:
        connection.close()
        if (error.sqlite_errorcode & 0xFF) in (driver.SQLITE_BUSY, driver.SQLITE_LOCKED):
            return None
        raise
    return connection


def fold_log(connection: driver.Connection) -> None:
    """Put what stands in the log into the file itself, for ``open_alone``'s connection, which stays alone. Raises the
    driver's Error."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def flush(path: Path) -> None:
    """Flush a file, or a folder's names, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(target: Path, ending: str, owner: tuple[int, int] | None = None) -> Iterator[Path]:
    """An empty file of mode 0600 beside ``target``, from the first octet; removed at the end unless it was moved.

    One left behind by a process that was killed is removed first. ``owner``: user and group, for root. Raises
    StoreProblem if another process is at it, and OSError."""
    path = target.with_name(f".{target.name}.{ending}")
    _remove_left_behind(path)
    _remove_beside(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if owner is not None and os.geteuid() == 0:
            os.fchown(descriptor, *owner)
        yield path
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor)):
                path.unlink()
        _remove_beside(path)
        os.close(descriptor)


def _remove_beside(path: Path) -> None:
    """Remove what was made beside a temporary file when it was opened: SQLite would play its log over the next one."""
    for beside in path.parent.glob(f"{glob.escape(path.name)}?*"):
        with contextlib.suppress(OSError):
            beside.unlink()


def _remove_left_behind(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        raise StoreProblem(f"{path} is being written by another process: wait until it has ended") from None
    finally:
        os.close(descriptor)
