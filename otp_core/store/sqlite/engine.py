"""SQLite as ``store.engine.Database``: one file, one writer at a time, and what each transaction has to do with the
files beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from otp_core.audit import NodeName
from otp_core.checks import CheckResult
from otp_core.model import AuditRow, StoreProblem, StoreUnavailable
from otp_core.store.engine import (
    KeyReader,
    LoginBatch,
    LoginReader,
    Maintenance,
    SealStore,
    ShortWrites,
    Task,
    TaskLock,
    Trail,
)
from otp_core.store.queries import sealed_until
from otp_core.store.revisions import Revisions, refuse_unfit
from otp_core.store.sqlite import checkpoints, database, driver
from otp_core.store.sqlite.connection import DriverConnection, SharedCommits
from otp_core.store.sqlite.files import check_names, files_of
from otp_core.store.sqlite.key_reader import SqliteKeyReader
from otp_core.store.sqlite.log_flush import Numbered
from otp_core.store.sqlite.login_batch import CHANGED, SqliteLoginBatch
from otp_core.store.sqlite.maintenance import SqliteMaintenance
from otp_core.store.sqlite.reader import SqliteLoginReader
from otp_core.store.sqlite.seals import SqliteSealStore, SqliteTrail
from otp_core.store.sqlite.short_writes import SqliteShortWrites
from otp_core.store.sqlite.state import StoreState

if TYPE_CHECKING:
    from otp_core.store.migrating import Migrated

_STAMP = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_OCTETS = {
    Task.SEALS: checkpoints.SEALS,
    Task.SYSLOG: checkpoints.SYSLOG,
    Task.WEBHOOKS: checkpoints.WEBHOOKS,
    Task.DROP: checkpoints.DROP,
}


class SqliteDatabase:
    """The store in one file. ``relieved``: another process makes the checkpoints. Raises StoreProblem for a URL that it
    cannot serve."""

    waits = False
    beat_seconds = 30
    """Each is a flush of the disk, and the nodes of a file are on one machine."""

    def __init__(self, url: str, *, busy_seconds: float, relieved: bool = False) -> None:
        checkpoint_at = database.RELIEVED if relieved else database.AUTOMATIC
        self.engine = database.open_engine(url, busy_seconds=busy_seconds, checkpoint_at=checkpoint_at)
        self._path = database.file_of(url)
        self.file: Path | None = self._path
        self.place, self.name = str(self._path), self._path.name
        self._files = files_of(self.engine)

    def exists(self) -> bool:
        """See ``store.engine.Database``."""
        return self._path.exists()

    def check(self) -> None:
        """See ``store.engine.Database``."""
        if not self._path.is_file():
            raise StoreProblem(f"there is no store {self._path}: run `sekisho init` first")
        check_names(self._path)
        with self.read() as connection:
            refuse_unfit(database.revisions(connection), self.place)
            database.use_write_ahead_log(connection)

    def revisions(self) -> Revisions:
        """See ``store.engine.Database``."""
        with self.read() as connection:
            return database.revisions(connection)

    def refuse_read_only(self) -> None:
        """See ``store.engine.Database``."""
        beside = (Path(f"{self._path}{end}") for end in ("-wal", "-shm"))
        for path in (self._path, self._path.parent, *(one for one in beside if one.exists())):
            if not os.access(path, os.W_OK, effective_ids=True):
                raise StoreUnavailable(f"store: {path} cannot be written by this user: {database.NOT_WRITABLE}")

    def upgrade(self, *, contract: bool = False) -> Migrated:
        """See ``store.engine.Database``. A server may be at work meanwhile: if this COMMIT cannot be flushed, it has to
        stop too."""
        with self._files.visit() as state:
            try:
                return database.upgrade(self.engine, self._committing(state), contract=contract)
            except DBAPIError as error:
                raise database.unavailable(error.orig) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """See ``store.engine.Database``."""
        with self._connect() as (connection, _):
            try:
                yield connection
            except DBAPIError as error:
                raise database.unavailable(error.orig) from error

    @contextmanager
    def write(
        self, recorded: Sequence[AuditRow] = (), *, stamp: Callable[[], int] | None = None
    ) -> Iterator[Connection]:
        """See ``store.engine.Database``. Who holds the files keeps no other writer waiting for the disk."""
        with self._connect() as (connection, state):
            numbered = self._files.numbered(state, _newest(recorded))
            with self._written(connection, numbered, state, recorded, stamp):
                yield connection
            if numbered is not None:
                self._files.flush_patiently(numbered.number)

    @contextmanager
    def aside(self) -> Iterator[Connection]:
        """See ``store.engine.Database``. It has its turn as all that is written; what comes next flushes it."""
        with self._connect() as (connection, state), self._written(connection, self._files.numbered(state), state):
            yield connection

    @contextmanager
    def _written(
        self,
        connection: Connection,
        numbered: Numbered | None,
        state: StoreState | None,
        recorded: Sequence[AuditRow] = (),
        stamp: Callable[[], int] | None = None,
    ) -> Iterator[None]:
        """One transaction; flushed within its turn unless it is ``numbered``."""
        if numbered is not None:
            database.leave_flush_to_caller(connection)
        committing = self._committing(state, recorded) if numbered is None else numbered.committing
        with database.transaction(connection, committing):
            before = database.changes(connection)
            yield
            if stamp is not None and database.changes(connection) != before:
                connection.exec_driver_sql(_STAMP, (CHANGED, stamp().to_bytes(8, "big")))

    def time_ms(self, connection: Connection) -> int:
        """See ``store.engine.Database``. The machine's clock."""
        return int(time.time() * 1000)

    def sealed_until(self, connection: Connection) -> int:
        """See ``store.engine.Database``."""
        return sealed_until(connection)

    def login_batch(self, *, notices: bool, note: Callable[[Sequence[AuditRow]], None], node: NodeName) -> LoginBatch:
        """See ``store.engine.Database``."""
        return SqliteLoginBatch(SharedCommits(self.engine), notices=notices, note=note, node=node)

    def login_reader(self) -> LoginReader:
        """See ``store.engine.Database``."""
        return SqliteLoginReader(DriverConnection(self.engine))

    def key_reader(self) -> KeyReader:
        """See ``store.engine.Database``."""
        return SqliteKeyReader(DriverConnection(self.engine))

    def maintenance(self) -> Maintenance:
        """See ``store.engine.Database``."""
        return SqliteMaintenance(SharedCommits(self.engine, trusting=False))

    def seals(self) -> SealStore:
        """See ``store.engine.Database``."""
        return SqliteSealStore(SharedCommits(self.engine))

    def trail(self) -> Trail:
        """See ``store.engine.Database``."""
        return SqliteTrail(self.read)

    def short_writes(self) -> ShortWrites:
        """See ``store.engine.Database``."""
        return SqliteShortWrites(SharedCommits(self.engine))

    def task_lock(self, task: Task) -> TaskLock:
        """See ``store.engine.Database``."""
        return checkpoints.TaskLock(str(self._path), _OCTETS[task])

    def facts(self) -> Sequence[CheckResult]:
        """See ``store.engine.Database``. There is no server; what doctor says of the files is sekisho/cli's."""
        return ()

    def damage(self, connection: Connection) -> list[str]:
        """See ``store.engine.Database``."""
        return database.damage(connection)

    def hold(self) -> None:
        """The store's files have to stay the same ones until ``release``. Raises StoreProblem and StoreUnavailable."""
        try:
            self._files.hold()
        except driver.Error as error:
            raise database.unavailable(error) from error

    def release(self) -> None:
        """The counterpart of ``hold``."""
        self._files.release()

    def flushed_id(self) -> int:
        """See ``store.engine.Database``."""
        return self._files.flushed_id()

    def has_to_stop(self) -> bool:
        """See ``store.engine.Database``."""
        return self._files.has_to_stop()

    def rescue(self) -> None:
        """See ``store.engine.Database``. May be slow; for a thread of its own."""
        self._files.rescue()

    def checkpoint(self) -> None:
        """See ``store.engine.Database``."""
        with self.read() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    @contextmanager
    def _connect(self) -> Iterator[tuple[Connection, StoreState | None]]:
        with self._files.visit() as state:
            try:
                connection = self.engine.connect()
            except DBAPIError as error:
                raise database.unavailable(error.orig) from error
            with connection:
                yield connection, state

    def _committing(self, state: StoreState | None, recorded: Sequence[AuditRow] = ()) -> database.Committing:
        """What the COMMIT of a transaction is done in."""
        return database.alone if state is None else partial(self._flushed, state, recorded)

    def _flushed(
        self, state: StoreState, recorded: Sequence[AuditRow], connection: driver.Connection
    ) -> AbstractContextManager[None]:
        return self._files.committing(connection, state, _newest(recorded))


def _newest(recorded: Sequence[AuditRow]) -> Callable[[], int]:
    """Asked at the COMMIT: the ID of the last of these rows, 0 for none."""
    return lambda: recorded[-1].id if recorded else 0
