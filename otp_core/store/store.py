"""The store as its users see it: open it, work in it, read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from otp_core.audit import Ids
from otp_core.model import AuditRow, StoreProblem
from otp_core.sealing import KeyProblem, Sealer, create_master_key, read_master_key
from otp_core.store import search_terms
from otp_core.store.acts import ActsJournal, complain
from otp_core.store.engine import KeyReader, LoginBatch, LoginReader, Maintenance, SealStore
from otp_core.store.mark import mark_path
from otp_core.store.queries import read_meta
from otp_core.store.sqlite import database, driver
from otp_core.store.sqlite.backup import KEY_CHECK
from otp_core.store.sqlite.connection import DriverConnection, SharedCommits
from otp_core.store.sqlite.files import check_names, files_of
from otp_core.store.sqlite.key_reader import SqliteKeyReader
from otp_core.store.sqlite.login_batch import CHANGED, SqliteLoginBatch
from otp_core.store.sqlite.maintenance import SqliteMaintenance
from otp_core.store.sqlite.reader import SqliteLoginReader
from otp_core.store.sqlite.seals import SqliteSealStore, Trail
from otp_core.store.sqlite.state import StoreState
from otp_core.store.unit_of_work import Work

_log = structlog.get_logger("store")


class Store:
    """An opened store with the key that unseals it. ``notices``: changes are told to customers by e-mail.
    ``relieved``: another process makes the checkpoints.

    Raises StoreProblem or KeyProblem where it cannot be had."""

    def __init__(
        self,
        url: str,
        master_key_file: Path,
        *,
        ids: Ids,
        busy_seconds: float,
        notices: bool = False,
        relieved: bool = False,
    ) -> None:
        self.sealer = Sealer(read_master_key(master_key_file))
        self.ids = ids
        self._notices = notices
        checkpoint_at = database.RELIEVED if relieved else database.AUTOMATIC
        self.engine = database.open_engine(url, busy_seconds=busy_seconds, checkpoint_at=checkpoint_at)
        self.file = file = database.file_of(url)
        self.acts: ActsJournal | None = ActsJournal(file)
        if not file.is_file():
            raise StoreProblem(f"there is no store {file}: run `sekisho init` first")
        check_names(file)
        self._files = files_of(self.engine)
        with self.read() as connection:
            database.check_revision(connection)
            key_check = read_meta(connection, KEY_CHECK)
            database.use_write_ahead_log(connection)
        if key_check is None or not self.sealer.opens(key_check):
            raise KeyProblem(
                f"{master_key_file} is not the master key of the store {file}: restore the key that belongs to it"
            )

    @contextmanager
    def work(self) -> Iterator[Work]:
        """One transaction. It is committed at the end, rolled back on any exception; then its acts are noted in the
        journal beside the store. Raises StoreUnavailable, at the end too: then it may not be told as done."""
        with self._transaction(decides=True) as work:
            yield work

    @contextmanager
    def work_aside(self) -> Iterator[Work]:
        """The same, for what no login is decided by: no batch that is under way has to be decided anew."""
        with self._transaction(decides=False) as work:
            yield work

    @contextmanager
    def _transaction(self, *, decides: bool) -> Iterator[Work]:
        with self._connect() as (connection, state):
            work = Work(connection, self.ids, notices=self._notices)
            with database.transaction(connection, self._committing(state, work)):
                before = database.changes(connection)
                yield work
                if decides and database.changes(connection) != before:
                    work.put_meta(CHANGED, self.ids.next().to_bytes(8, "big"))
        self._note(work.recorded)

    @contextmanager
    def derive(self) -> Iterator[Connection]:
        """One transaction for what is derived from everything else, as look-up tables: no login has to look again
        because of it, and no act is noted. Any thread may use it. Raises as ``work``."""
        with self._connect() as (connection, state):
            committing = database.alone if state is None else partial(self._files.committing, visited=state)
            with database.transaction(connection, committing):
                yield connection

    def _note(self, rows: Sequence[AuditRow]) -> None:
        if self.acts is None:
            return
        try:
            self.acts.add(rows)
        except OSError as error:  # what was done is done, and on disk: only a restore would miss it
            complain("an act is missing in the journal beside the store", self.acts.path, error)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for the questions of queries.py and sessions.py. Raises StoreUnavailable."""
        with self._connect() as (connection, _):
            try:
                yield connection
            except DBAPIError as error:
                raise database.unavailable(error.orig) from error

    def login_batch(self) -> LoginBatch:
        """For the login batches of this process."""
        return SqliteLoginBatch(SharedCommits(self.engine), notices=self._notices, note=self._note)

    def login_reader(self) -> LoginReader:
        """For what is asked between them."""
        return SqliteLoginReader(DriverConnection(self.engine))

    def key_reader(self) -> KeyReader:
        """For who asks with an API key."""
        return SqliteKeyReader(DriverConnection(self.engine))

    def maintenance(self) -> Maintenance:
        """For tidying, and for the health of the store."""
        return SqliteMaintenance(DriverConnection(self.engine))

    def seals(self) -> SealStore:
        """For the task that seals the audit trail."""
        return SqliteSealStore(SharedCommits(self.engine))

    def trail(self) -> Trail:
        """The whole audit trail with its seals, for who verifies or exports it."""
        return Trail(self.read)

    def hold(self) -> None:
        """For who answers logins: the store's files have to stay the same ones until ``release``. Raises StoreProblem
        and StoreUnavailable."""
        try:
            self._files.hold()
        except driver.Error as error:
            raise database.unavailable(error) from error

    def release(self) -> None:
        """The counterpart of ``hold``."""
        self._files.release()

    def flushed_id(self) -> int:
        """The ID of an audit row that is on disk, as all that came before it: the newest one that is known to be; 0 for
        none. It is known outside the database, so a store without that row is an older one, or has lost its log."""
        return self._files.flushed_id()

    def has_to_stop(self) -> bool:
        """Whether this process has to end, because what is written may be lost: then nobody is told anything any more.
        For who answers logins, several times a second."""
        return self._files.has_to_stop()

    def rescue(self) -> None:
        """Before it ends: copy what only this process can still read, if there is such a thing. May be slow; for a
        thread of its own."""
        self._files.rescue()

    @contextmanager
    def _connect(self) -> Iterator[tuple[Connection, StoreState | None]]:
        with self._files.visit() as state:
            try:
                connection = self.engine.connect()
            except DBAPIError as error:
                raise database.unavailable(error.orig) from error
            with connection:
                yield connection, state

    def _committing(self, state: StoreState | None, work: Work) -> database.Committing:
        """What the COMMIT of a transaction is done in."""

        def committing(connection: driver.Connection) -> AbstractContextManager[None]:
            if state is None:
                return nullcontext()
            return self._files.committing(connection, state, lambda: work.recorded[-1].id if work.recorded else 0)

        return committing


Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far long work has got: given its name and how much there is to do, it yields what is called with how much
is done."""


@contextmanager
def unseen(_what: str, _total: int) -> Iterator[Callable[[int], None]]:
    """A progress that nobody sees."""
    yield lambda _done: None


def initialise(
    url: str, master_key_file: Path, *, ids: Ids, say: Callable[[str], None], progress: Progress = unseen
) -> None:
    """Create or upgrade store and key; safe to repeat, also after an interruption. Raises StoreProblem or
    KeyProblem."""
    file = database.file_of(url)
    engine = database.open_engine(url, busy_seconds=5.0)
    if file.exists() and not master_key_file.exists() and _has_key_check(engine):
        raise KeyProblem(
            f"the store {file} exists, but its master key file {master_key_file} does not: restore the key from "
            "your backup (a new one could not open the seeds)"
        )
    if create_master_key(master_key_file):
        say(f"created the master key file {master_key_file} (mode 0600): back it up, apart from the store")
    sealer = Sealer(read_master_key(master_key_file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        existed = file.exists()
        if not existed:
            # What lies here belonged to another store: this one was not put back in its place.
            mark_path(file).unlink(missing_ok=True)
            ActsJournal(file).give_up()
            file.touch(mode=0o600)
        _upgrade(engine, sealer, ids)
    except OSError as error:
        raise StoreProblem(f"cannot create the store {file}: {error.strerror}") from None
    except DBAPIError as error:
        raise StoreProblem(str(database.unavailable(error.orig))) from None
    say(f"{'checked' if existed else 'created'} the store {file}")
    fill_search_terms(Store(url, master_key_file, ids=ids, busy_seconds=5.0), progress)


def fill_search_terms(store: Store, progress: Progress = unseen) -> None:
    """Write what customers of an older schema are found by: in steps, so that a server waits for moments only."""
    with store.read() as connection:
        waiting = search_terms.count_unfilled(connection)
    if waiting is None:
        return
    with progress("making customers findable", waiting) as advance:
        done = 0
        while True:
            with store.work() as work:
                step = search_terms.fill(work.connection)
            if step is None:
                return
            done += step
            advance(done)


def _upgrade(engine: Engine, sealer: Sealer, ids: Ids) -> None:
    """A server may be at work meanwhile: if this COMMIT cannot be flushed, it has to stop too."""
    files = files_of(engine)
    with files.visit() as state:
        committing = database.alone if state is None else partial(files.committing, visited=state)
        database.upgrade(engine, committing)
        with engine.connect() as connection, database.transaction(connection, committing):
            if read_meta(connection, KEY_CHECK) is None:
                Work(connection, ids).put_meta(KEY_CHECK, sealer.key_check())


def _has_key_check(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            return read_meta(connection, KEY_CHECK) is not None
    except DBAPIError:
        return False
