"""PostgreSQL as ``store.engine.Database``: transactions of the desk, and what they have to do with login batches.

Theory of operation
-------------------
*Who writes.* Login batches of all nodes, many at once (login_batch.py), and the transactions of the desk: pages,
commands, sweeps, imports. Those take turns: each begins with a lock on a table that nobody else uses
(``alembic_version``: so a migration has its turn too), which ends with the transaction. So the desk's acts come out as
if each had been alone, as they do on SQLite; a batch waits for none of them.

*An act and a batch at once.* The act sees one snapshot (REPEATABLE READ), taken when it has its turn. If a batch has
changed a row meanwhile that the act changes too, PostgreSQL refuses it (40001): Conflict, and the act is run again. In
the other direction the batch notices: it names the version of each row that an acceptance rests on, and whatever
changes a customer renews the versions of their tokens, too (triggers, schema.py).

*A COMMIT whose answer is lost.* The connection broke, or the server says that the wait for a standby was cancelled. It
is settled in the next turn, at whichever server is the primary by then: the first one's transaction has ended, because
it had the turn; if its last audit row is there, and a write behind it was committed, the act is done; otherwise it
never was (Conflict: it is run again). A transaction without an audit row cannot be settled: StoreUnavailable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from otp_core.audit import NodeName
from otp_core.checks import CheckResult
from otp_core.model import AuditRow, Conflict, StoreBusy, StoreProblem, StoreUnavailable
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
from otp_core.store.loop_guard import before_a_wait
from otp_core.store.postgresql import connection as connections
from otp_core.store.postgresql import partitions
from otp_core.store.postgresql.address import lacks_ca, parse
from otp_core.store.postgresql.connection import Notices
from otp_core.store.postgresql.errors import is_lost, unavailable
from otp_core.store.postgresql.facts import facts, hidden_store, lacking_rights
from otp_core.store.postgresql.horizon import sealed_until
from otp_core.store.postgresql.login_batch import PostgresqlLoginBatch
from otp_core.store.postgresql.maintenance import PostgresqlMaintenance
from otp_core.store.postgresql.primary import Primary
from otp_core.store.postgresql.reader import PostgresqlKeyReader, PostgresqlLoginReader
from otp_core.store.postgresql.schema import create
from otp_core.store.postgresql.seals import PostgresqlSealStore, PostgresqlTrail
from otp_core.store.postgresql.sessions import older_sessions
from otp_core.store.postgresql.short_writes import PostgresqlShortWrites
from otp_core.store.postgresql.task_lock import SessionLock
from otp_core.store.postgresql.thread_connection import ThreadConnection
from otp_core.store.revisions import OLDEST_TABLE, Revisions, older_nodes, read_revisions, refuse_unfit

if TYPE_CHECKING:
    from otp_core.store.migrating import Migrated

_log = structlog.get_logger("store")

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ"
_TURN = "LOCK TABLE alembic_version IN SHARE ROW EXCLUSIVE MODE"
"""Against itself and migrations; readers, and vacuum's ACCESS SHARE of a dump, go on. Taken before the snapshot."""

_BEGIN_ASIDE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_UNHURRIED = "SET LOCAL synchronous_commit = off"
_TIME = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")

_ROW_WAIT = "SET LOCAL lock_timeout = '2s'"
"""For a row that a batch has: it holds it for one COMMIT."""

_PROOF = "INSERT INTO meta (name, value) VALUES ('settled', '') ON CONFLICT (name) DO UPDATE SET value = excluded.value"

_SERVER_ANSWER_SECONDS = 15.0
"""How long a statement of a server process may take; a command's may take as long as it needs."""

_MIGRATING = 0x53656B69
"""An advisory lock: one process migrates at a time, before there is a table to lock."""

_MIGRATION_WAIT, _MIGRATION_TRIES, _MIGRATION_PAUSE = "1s", 10, 1.0
"""How long a migration waits for the lock of a table, how often it tries, and the seconds between two tries."""

_NOTHING = ""
"""An empty statement, which shows that the server is there."""


class PostgresqlDatabase:
    """A store at one PostgreSQL server, or several of which one is the primary. Raises StoreProblem for a URL that it
    cannot serve."""

    file: Path | None = None
    waits = True
    beat_seconds = 5

    def __init__(self, url: str, *, busy_seconds: float) -> None:
        try:
            self._address = parse(url)
        except ValueError as error:
            raise StoreProblem(f"store.url {error}") from None
        if lacks_ca(self._address):
            raise StoreProblem(
                "store.ca_file is missing: it names the certificates by which the database server is known; or write "
                "sslmode into store.url"
            )
        self.place, self.name = self._address.place, self._address.database
        self._primary = Primary(self._address)
        self._busy_seconds = busy_seconds
        self.engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,  # an error's text must not hold a name or a hash
            pool_size=4,
            max_overflow=16,
            pool_timeout=max(busy_seconds, 1.0),
            pool_use_lifo=True,
            max_identifier_length=63,
        )

    def exists(self) -> bool:
        """See ``store.engine.Database``."""
        try:
            with self.read() as connection:
                if connection.exec_driver_sql(f"SELECT to_regclass('{OLDEST_TABLE}')").scalar() is not None:
                    return True
                hidden = hidden_store(connection)
        except StoreUnavailable as error:
            raise StoreProblem(str(error)) from None
        if hidden is not None:
            raise StoreProblem(f"store: {self.place}: {hidden}")
        return False

    def check(self) -> None:
        """See ``store.engine.Database``."""
        refuse_unfit(self.revisions(), self.place)

    def revisions(self) -> Revisions:
        """See ``store.engine.Database``."""
        try:
            with self.read() as connection:
                return read_revisions(connection)
        except StoreUnavailable as error:
            if getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) == "42P01":
                self.exists()  # raises if there is one that this user does not see
                raise StoreProblem(f"there is no store in {self.place}: run `sekisho init` first") from None
            raise

    def refuse_read_only(self) -> None:
        """See ``store.engine.Database``."""
        with self.read() as connection:
            lacking = lacking_rights(connection)
        if lacking is not None:
            raise StoreUnavailable(f"store: {self.place}: {lacking}")

    def upgrade(self, *, contract: bool = False) -> Migrated:
        """See ``store.engine.Database``. A table's lock is waited for briefly, because every login waits behind who
        waits for it; then again. And the audit trail has its parts for the next months, which take the same rights."""
        for _ in range(_MIGRATION_TRIES - 1):
            with suppress(StoreBusy):
                done = self._migrated(contract=contract)
                break
            time.sleep(_MIGRATION_PAUSE)
        else:
            done = self._migrated(contract=contract)
        try:
            with self.read() as connection:
                partitions.make_ahead_patiently(_raw(connection))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
            pass  # the owner of the tables has to do it, or it is done later: `sekisho doctor` says so in time
        except psycopg.Error as error:
            raise unavailable(error) from error
        return done

    def _migrated(self, *, contract: bool) -> Migrated:
        from otp_core.store.migrating import migrate

        with self._opened() as connection, self._errors(connection):
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_MIGRATION_WAIT}'")
            if connection.exec_driver_sql(f"SELECT to_regclass('{OLDEST_TABLE}')").scalar() is not None:
                connection.exec_driver_sql(_TURN)
            done = migrate(
                connection,
                place=self.place,
                contract=contract,
                older_users=lambda revision: [
                    *older_nodes(connection, revision, self.time_ms(connection)),
                    *older_sessions(connection, revision),
                ],
                create=create,
            )
            self._commit(connection, ())
        return done

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """See ``store.engine.Database``."""
        with self._opened() as connection, self._errors(connection):
            yield connection

    @contextmanager
    def write(
        self, recorded: Sequence[AuditRow] = (), *, stamp: Callable[[], int] | None = None
    ) -> Iterator[Connection]:
        """See ``store.engine.Database``. ``stamp`` is not asked: what changes a customer or a token renews its
        version."""
        with self._begun() as connection, self._errors(connection):
            yield connection
            self._commit(connection, recorded)

    @contextmanager
    def aside(self) -> Iterator[Connection]:
        """See ``store.engine.Database``. Without a turn, and without a wait for disk or standby."""
        with self._first_statement(_BEGIN_ASIDE) as connection, self._errors(connection):
            connection.exec_driver_sql(_UNHURRIED)
            yield connection
            self._commit(connection, ())

    def time_ms(self, connection: Connection) -> int:
        """See ``store.engine.Database``. The server's clock."""
        return int(connection.execute(_TIME).scalar_one())

    def sealed_until(self, connection: Connection) -> int:
        """See ``store.engine.Database``."""
        return sealed_until(connection)

    def login_batch(self, *, notices: bool, note: Callable[[Sequence[AuditRow]], None], node: NodeName) -> LoginBatch:
        """See ``store.engine.Database``."""
        return PostgresqlLoginBatch(self._primary, notices=notices, note=note, node=node)

    def login_reader(self) -> LoginReader:
        """See ``store.engine.Database``."""
        return PostgresqlLoginReader(self._primary)

    def key_reader(self) -> KeyReader:
        """See ``store.engine.Database``."""
        return PostgresqlKeyReader(ThreadConnection(self._primary))

    def maintenance(self) -> Maintenance:
        """See ``store.engine.Database``."""
        return PostgresqlMaintenance(ThreadConnection(self._primary))

    def seals(self) -> SealStore:
        """See ``store.engine.Database``."""
        return PostgresqlSealStore(self.read, self.write)

    def trail(self) -> Trail:
        """See ``store.engine.Database``."""
        return PostgresqlTrail(self.read)

    def short_writes(self) -> ShortWrites:
        """See ``store.engine.Database``."""
        return PostgresqlShortWrites(self.read)

    def task_lock(self, task: Task) -> TaskLock:
        """See ``store.engine.Database``."""
        return SessionLock(ThreadConnection(self._primary), task)

    def facts(self) -> Sequence[CheckResult]:
        """See ``store.engine.Database``."""
        with self.read() as connection:
            return list(facts(connection, self._address))

    def damage(self, connection: Connection) -> list[str]:
        """See ``store.engine.Database``. Left to PostgreSQL's own tools (pg_amcheck)."""
        return []

    def hold(self) -> None:
        """See ``store.engine.Database``."""

    def release(self) -> None:
        """See ``store.engine.Database``."""
        self.engine.dispose()

    def flushed_id(self) -> int:
        """See ``store.engine.Database``."""
        return 0

    def has_to_stop(self) -> bool:
        """See ``store.engine.Database``. A server that lost something is not asked any more: the primary is."""
        return False

    def rescue(self) -> None:
        """See ``store.engine.Database``."""

    def checkpoint(self) -> None:
        """See ``store.engine.Database``."""

    def _connect(self) -> connections.Connection:
        notices = Notices()
        try:
            connection = self._primary.connect(
                lock_timeout=self._busy_seconds,
                notices=notices,
                answer_seconds=_SERVER_ANSWER_SECONDS if self._busy_seconds < 1 else None,
            )
        except (OSError, ValueError) as error:
            raise psycopg.OperationalError(f"store.password_file: {error}") from error
        connection.sekisho_notices = notices  # type: ignore[attr-defined]
        return connection

    @contextmanager
    def _opened(self) -> Iterator[Connection]:
        with self._first_statement(_NOTHING) as connection:
            yield connection

    @contextmanager
    def _errors(self, connection: Connection) -> Iterator[None]:
        """Whatever is raised inside, nothing of an open transaction is left."""
        try:
            yield
        except BaseException as error:
            cause = getattr(error, "orig", error)
            if connection.invalidated:
                pass  # its COMMIT was settled over another one
            elif is_lost(cause) or _raw(connection).closed:
                connection.invalidate()
            else:
                _roll_back(connection)
            if _is_drawn_twice(cause):
                raise Conflict("store: another process has drawn the same id") from error
            if isinstance(error, DBAPIError) and not _is_mistake(error.orig):
                raise unavailable(error.orig) from error
            raise

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        """A connection with an open transaction, in its turn."""
        connection = self._first_statement(_BEGIN)
        with connection:
            with self._errors(connection):
                connection.exec_driver_sql(_TURN)
                connection.exec_driver_sql(_ROW_WAIT)
            yield connection

    def _first_statement(self, statement: str) -> Connection:
        """A connection that takes this statement. One that lay idle in the pool may be of no use any more: then nothing
        was done over it, and none of the others is believed."""
        before_a_wait()
        while True:
            try:
                connection = self.engine.connect()
            except (DBAPIError, psycopg.Error) as error:
                raise unavailable(getattr(error, "orig", error)) from error
            if not self._primary.is_current(_raw(connection)):
                connection.invalidate()
                connection.close()
                continue
            is_new = _raw(connection).sekisho_notices.is_new
            _raw(connection).sekisho_notices.is_new = False
            try:
                connection.exec_driver_sql(statement)
            except DBAPIError as error:
                connection.invalidate()
                connection.close()
                self.engine.dispose()
                if is_new or not is_lost(error.orig):
                    raise unavailable(error.orig) from error
            else:
                return connection

    def _commit(self, connection: Connection, recorded: Sequence[AuditRow]) -> None:
        raw = _raw(connection)
        notices: Notices = raw.sekisho_notices
        notices.unreplicated = ""
        try:
            result = raw.execute("COMMIT")
        except psycopg.Error as error:
            if not is_lost(error):
                raise unavailable(error) from error
            connection.invalidate()
            self._settle(recorded, str(error))
            return
        if result.statusmessage != "COMMIT":
            raise StoreUnavailable("store: a statement of the transaction failed, and nothing was written")
        if notices.unreplicated:
            self._settle(recorded, notices.unreplicated)

    def _settle(self, recorded: Sequence[AuditRow], cause: str) -> None:
        """Returns if the transaction is done. Raises Conflict if it never was, StoreUnavailable if nobody knows: never
        StoreBusy, which would have it done again."""
        unknown = StoreUnavailable(f"store: whether this was done is not known: {cause.splitlines()[0]}; look first")
        if not recorded:
            raise unknown
        _log.warning("the answer to a COMMIT was lost: looking whether it was done", cause=cause)
        try:
            there = self._look_for(recorded[-1].id)
        except (StoreUnavailable, psycopg.Error) as error:
            raise unknown from error
        if there is None:
            raise unknown
        if not there:
            raise Conflict("store: the connection broke before the act was done")

    def _look_for(self, audit_id: int) -> bool | None:
        """Whether this audit row is there, behind a write that was committed; None: that write may be on this server
        alone. Raises StoreUnavailable and psycopg.Error."""
        with self._begun() as connection, self._errors(connection):
            row = connection.execute(text("SELECT 1 FROM audit WHERE id = :id"), {"id": audit_id}).scalar()
            connection.exec_driver_sql(_PROOF)
            raw = _raw(connection)
            raw.sekisho_notices.unreplicated = ""
            raw.execute("COMMIT")
            return None if raw.sekisho_notices.unreplicated else row is not None


def _raw(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _roll_back(connection: Connection) -> None:
    raw = _raw(connection)
    if raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        with suppress(psycopg.Error):
            raw.execute("ROLLBACK")


def _is_drawn_twice(error: object) -> bool:
    """Whether two processes have given one id to two audit rows (``audit.Ids``): rare, and other ids are drawn."""
    if not isinstance(error, psycopg.errors.UniqueViolation):
        return False
    table, constraint = error.diag.table_name or "", error.diag.constraint_name or ""
    return table.startswith("audit") and (constraint == "pk_audit" or constraint.endswith("_pkey"))


def _is_mistake(error: BaseException | None) -> bool:
    """An error that the caller knows, or of the program itself: it is raised as it is."""
    return isinstance(error, psycopg.IntegrityError | psycopg.DataError | psycopg.ProgrammingError) and (
        getattr(error, "sqlstate", None) not in ("22012", "3F000", "42501", "42P01", "42P07")
    )
