"""Opening the store: connections, pragmas, the write lock at the beginning, and what a failing disk is called.

The room that knows which database this is. It holds no statement about customers or tokens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from otp_core.model import StoreBusy, StoreProblem, StoreUnavailable
from otp_core.store.revisions import Revisions, older_nodes, read_revisions
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.turn import Turn

if TYPE_CHECKING:
    from otp_core.store.migrating import Migrated

_PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-24000",
    "temp_store=MEMORY",
)

AUTOMATIC, RELIEVED = 24_000, 250_000
"""Pages of the log after which a COMMIT copies them back, while everybody waits: 96 MB; and 1 GB beside a checkpointer
(checkpoints.py), which begins the log anew long before that."""

BUSY_SECONDS = "busy_seconds"
"""An engine's option: how long its writers wait for other processes."""

CONFIGURED = "configured"
"""An engine's option: the path as the URL has it, absolute; the engine's own URL has the path without links."""

# Kept in the file itself. Never set by opening alone: on a file that is empty for the moment of a restore, it writes.
_JOURNAL_MODE = "PRAGMA journal_mode=WAL"


def open_engine(url: str, *, busy_seconds: float, checkpoint_at: int = AUTOMATIC) -> Engine:
    """An engine whose transactions begin with the write lock. ``busy_seconds``: how long a writer may wait for
    another process's. ``checkpoint_at``: the log's pages. Raises StoreProblem for a URL it cannot serve."""
    file = file_of(url)
    # A file that was there and is gone is an error; an empty store in its place would hide that.
    uri = f"{file.as_uri()}?mode={'rw' if file.exists() else 'rwc'}"
    engine = create_engine(
        _parsed(url).set(database=str(file)),
        creator=lambda: driver.connect(uri, timeout=busy_seconds, check_same_thread=False, uri=True),
        module=driver.MODULE,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # an error's text must not hold a name or a hash
        execution_options={BUSY_SECONDS: busy_seconds, CONFIGURED: os.path.abspath(_parsed(url).database or "")},
    )
    event.listen(engine, "connect", partial(_prepare, checkpoint_at))
    return engine


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreProblem("store.url is no URL: write sqlite:////absolute/path/file.db") from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise StoreProblem(f"store.url {parsed.render_as_string()!r}: write sqlite:////absolute/path/file.db")
    return parsed


def _prepare(checkpoint_at: int, connection: driver.Connection, _record: object) -> None:
    cursor = connection.cursor()
    try:
        for pragma in (*_PRAGMAS, f"wal_autocheckpoint={checkpoint_at}"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


Committing = Callable[[driver.Connection], AbstractContextManager[None]]
"""What the COMMIT of a connection has to be done in."""


def alone(_connection: driver.Connection) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def transaction(connection: Connection, committing: Committing = alone) -> Iterator[Connection]:
    """One writing transaction, from the lock to the commit, in the writers' turn. Raises StoreUnavailable if the store
    cannot do it now."""
    turn = Turn(connection.engine.url.database or "", seconds=connection.get_execution_options().get(BUSY_SECONDS, 0.0))
    try:
        with turn:
            yield from _locked(connection, committing)
    finally:
        turn.close()


def _locked(connection: Connection, committing: Committing) -> Iterator[Connection]:
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except DBAPIError as error:
        raise unavailable(error.orig) from error
    try:
        yield connection
        opened: Any = connection.connection.driver_connection
        with committing(opened):
            connection.exec_driver_sql("COMMIT")
    except BaseException as error:
        _roll_back(connection)
        if isinstance(error, OperationalError) or (
            isinstance(error, DBAPIError) and isinstance(error.orig, driver.DatabaseError) and _is_damage(error.orig)
        ):
            raise unavailable(error.orig) from error
        raise


def leave_flush_to_caller(connection: Connection) -> None:
    """A COMMIT on this connection writes the log, and does not flush it."""
    connection.exec_driver_sql("PRAGMA synchronous=NORMAL")


def changes(connection: Connection) -> int:
    """How many rows were changed over this connection since it was opened."""
    opened: Any = connection.connection.driver_connection
    return int(opened.total_changes)


def _is_damage(error: BaseException) -> bool:
    return type(error) is driver.DatabaseError


def _roll_back(connection: Connection) -> None:
    opened: Any = connection.connection.driver_connection
    if opened.in_transaction:
        try:
            opened.execute("ROLLBACK")
        except driver.Error:
            connection.invalidate()


def use_write_ahead_log(connection: Connection) -> None:
    """For a store that is known to be one: some ways of copying a database lose the mode."""
    connection.exec_driver_sql(_JOURNAL_MODE)


NOT_WRITABLE = "check owner, rights and mount options"

_ADVICE = {
    driver.SQLITE_ERROR: "the file is no complete store: is a restore under way? Otherwise restore the newest backup",
    driver.SQLITE_BUSY: "another process holds its write lock: is a backup, an import or a second server running?",
    driver.SQLITE_LOCKED: "another process holds its write lock: is a backup, an import or a second server running?",
    driver.SQLITE_FULL: "the disk is full: make room; work goes on by itself",
    driver.SQLITE_READONLY: f"the file or its folder cannot be written: {NOT_WRITABLE}",
    driver.SQLITE_IOERR: "the disk reports errors: check the kernel log and free space",
    driver.SQLITE_CORRUPT: "the file is damaged: stop the server and restore the newest backup",
    driver.SQLITE_NOTADB: "the file is no SQLite database: restore the newest backup",
    driver.SQLITE_CANTOPEN: "the file cannot be opened: check the path, its folder, their rights and mount options",
}


def unavailable(error: BaseException | None) -> StoreUnavailable:
    """What an operator should read about a failing store."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    advice = _ADVICE.get(code & 0xFF, "see the text before")
    kind = StoreBusy if code & 0xFF == driver.SQLITE_BUSY else StoreUnavailable
    return kind(f"store: {error}; {advice}")


def file_of(url: str) -> Path:
    """The database file of a URL, absolute and without links: SQLite keeps the log beside that one. Raises
    StoreProblem."""
    return Path(os.path.realpath(_parsed(url).database or ""))


def upgrade(engine: Engine, committing: Committing = alone, *, contract: bool = False) -> Migrated:
    """Bring the store to a newer schema, or leave it as it is; an empty file becomes a store. Safe to repeat.
    ``committing``: what the COMMIT is done in. Raises StoreProblem for a store of a newer version, and for a row that
    refers to nothing."""
    from otp_core.store.migrating import migrate

    file = engine.url.database or ""
    with engine.connect() as connection:
        use_write_ahead_log(connection)
        # A table that others refer to may be made anew (https://sqlite.org/lang_altertable.html, section 7).
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        # One transaction for all of it: alembic begins none inside another.
        with transaction(connection, committing):
            done = migrate(
                connection,
                place=file,
                contract=contract,
                older_users=lambda revision: older_nodes(connection, revision, int(time.time() * 1000)),
            )
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            if broken is not None:
                raise StoreProblem(f"table {broken[0]} has a row that refers to nothing: restore the newest backup")
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    return done


def revisions(connection: Connection) -> Revisions:
    """How far the store's schema is. Raises StoreProblem if there is none."""
    try:
        return read_revisions(connection)
    except DBAPIError as error:
        if "no such table" in str(error.orig):
            raise StoreProblem("the store is empty: run `sekisho init` first") from None
        raise StoreProblem(str(unavailable(error.orig))) from None


def damage(connection: Connection) -> list[str]:
    """The damage that SQLite finds in its file, which it reads whole; empty for a sound store."""
    found = connection.execute(text("PRAGMA quick_check")).scalars().all()
    return [] if found == ["ok"] else [str(one) for one in found]
