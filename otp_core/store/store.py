"""The store as its users see it: open it, work in it, read from it. Which engine it is: engines.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, Engine

from otp_core.audit import Ids, NodeName
from otp_core.model import AuditRow, StoreProblem, StoreStopped, StoreUnavailable
from otp_core.sealing import KeyProblem, Sealer, create_master_key, read_master_key
from otp_core.store import search_terms
from otp_core.store.acts import ActsJournal, complain
from otp_core.store.engine import (
    Database,
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
from otp_core.store.engines import open_database
from otp_core.store.mark import beside, mark_path
from otp_core.store.moved import refuse_moved
from otp_core.store.queries import read_meta
from otp_core.store.retry import wait_while_busy
from otp_core.store.schema import KEY_CHECK
from otp_core.store.time_records import ClockOfNode, OneClock, TimeRecord
from otp_core.store.unit_of_work import Work

if TYPE_CHECKING:
    from otp_core.store.migrating import Migrated

_log = structlog.get_logger("store")

_BUSY_SECONDS = 5.0
"""How long one try of `sekisho init` waits for its turn."""


class Store:
    """An opened store with the key that unseals it. ``notices``: changes are told to customers by e-mail.
    ``relieved``: another process makes the checkpoints. ``place``: this machine and the node's name in its settings, by
    which its clock is told from those of other nodes; None: there is one clock.

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
        place: tuple[str, str] | None = None,
        state_dir: Path | None = None,
    ) -> None:
        self.sealer = Sealer(read_master_key(master_key_file))
        self.ids = ids
        self._notices = notices
        self.node = NodeName()
        """For the audit rows that are written from now on."""
        self.database: Database = open_database(url, busy_seconds=busy_seconds, relieved=relieved)
        self.engine: Engine = self.database.engine
        self.time: TimeRecord = OneClock()
        if place is not None and self.database.file is None:
            self.time = ClockOfNode(*place, self.database.time_ms)
        self.beside = beside(self.database.file, self.database.name, state_dir or master_key_file.parent)
        self.acts: ActsJournal | None = None
        if self.database.file is not None or os.access(self.beside.parent, os.W_OK):
            self.acts = ActsJournal(self.beside)
        try:
            self._check(master_key_file)
        except BaseException:
            self.engine.dispose()
            raise

    def _check(self, master_key_file: Path) -> None:
        self.database.check()
        with self.read() as connection:
            refuse_moved(connection, self.database.place)
            key_check = read_meta(connection, KEY_CHECK)
        if key_check is None or not self.sealer.opens(key_check):
            raise KeyProblem(
                f"{master_key_file} is not the master key of the store {self.database.place}: restore the key that "
                "belongs to it"
            )

    @property
    def file(self) -> Path:
        """The store's file. For what there is of a store in a file alone; elsewhere see ``Database.file``."""
        assert self.database.file is not None
        return self.database.file

    @contextmanager
    def work(self) -> Iterator[Work]:
        """One transaction. It is committed at the end, rolled back on any exception; then its acts are noted in the
        journal beside the store. Raises StoreUnavailable, at the end too: then it may not be told as done."""
        with self._transaction(self.ids.next) as work:
            yield work

    @contextmanager
    def work_aside(self) -> Iterator[Work]:
        """The same, for what no login is decided by: no batch that is under way has to be decided anew."""
        with self._transaction(None) as work:
            yield work

    @contextmanager
    def _transaction(self, stamp: Callable[[], int] | None) -> Iterator[Work]:
        recorded: list[AuditRow] = []
        with self.database.write(recorded, stamp=stamp) as connection:
            yield Work(
                connection,
                self.ids,
                notices=self._notices,
                recorded=recorded,
                sealed_until=self.database.sealed_until,
                node=self.node,
            )
        self._note(recorded)

    def derive(self) -> AbstractContextManager[Connection]:
        """One transaction for what is derived from everything else, as look-up tables: no login has to look again
        because of it, and no act is noted. Any thread may use it. Raises as ``work``."""
        return self.database.write()

    def _note(self, rows: Sequence[AuditRow]) -> None:
        if self.acts is None:
            return
        try:
            self.acts.add(rows)
        except OSError as error:  # what was done is done, and on disk: only a restore would miss it
            complain("an act is missing in the journal beside the store", self.acts.path, error)

    def read(self) -> AbstractContextManager[Connection]:
        """A connection for the questions of queries.py and sessions.py. Raises StoreUnavailable."""
        return self.database.read()

    def login_batch(self) -> LoginBatch:
        """For the login batches of this process."""
        return self.database.login_batch(notices=self._notices, note=self._note, node=self.node)

    def login_reader(self) -> LoginReader:
        """For what is asked between them."""
        return self.database.login_reader()

    def key_reader(self) -> KeyReader:
        """For who asks with an API key."""
        return self.database.key_reader()

    def maintenance(self) -> Maintenance:
        """For tidying, and for the health of the store."""
        return self.database.maintenance()

    def seals(self) -> SealStore:
        """For the task that seals the audit trail."""
        return self.database.seals()

    def trail(self) -> Trail:
        """The whole audit trail with its seals, for who verifies or exports it."""
        return self.database.trail()

    def short_writes(self) -> ShortWrites:
        """For who takes away what is old."""
        return self.database.short_writes()

    def task_lock(self, task: Task) -> TaskLock:
        """For what one process does for all of this store. Raises OSError and StoreUnavailable."""
        return self.database.task_lock(task)

    def hold(self) -> None:
        """For who answers logins, until ``release``. Raises StoreProblem and StoreUnavailable."""
        self.database.hold()

    def release(self) -> None:
        """The counterpart of ``hold``."""
        self.database.release()

    def flushed_id(self) -> int:
        """The ID of an audit row that is on disk, as all that came before it: the newest one that is known to be; 0 for
        none. It is known outside the database, so a store without that row is an older one, or has lost its log."""
        return self.database.flushed_id()

    def has_to_stop(self) -> bool:
        """Whether this process has to end, because what is written may be lost: then nobody is told anything any more.
        For who answers logins, several times a second."""
        return self.database.has_to_stop()

    def rescue(self) -> None:
        """Before it ends: copy what only this process can still read, if there is such a thing. May be slow; for a
        thread of its own."""
        self.database.rescue()


Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far long work has got: given its name and how much there is to do, it yields what is called with how much
is done."""


@contextmanager
def unseen(_what: str, _total: int) -> Iterator[Callable[[int], None]]:
    """A progress that nobody sees."""
    yield lambda _done: None


def initialise(
    url: str,
    master_key_file: Path,
    *,
    ids: Ids,
    say: Callable[[str], None],
    progress: Progress = unseen,
    contract: bool = False,
) -> None:
    """Create or upgrade store and key; safe to repeat, also after an interruption. ``contract``: see migrating.py.
    Raises StoreProblem or KeyProblem."""
    database = open_database(url, busy_seconds=_BUSY_SECONDS)
    existed = database.exists()
    if existed and not master_key_file.exists() and _has_key_check(database):
        raise KeyProblem(
            f"the store {database.place} exists, but its master key file {master_key_file} does not: restore the key "
            "from your backup (a new one could not open the seeds)"
        )
    if create_master_key(master_key_file):
        say(f"created the master key file {master_key_file} (mode 0600): back it up, apart from the store")
    sealer = Sealer(read_master_key(master_key_file))
    try:
        if database.file is not None and not existed:
            _make_file(database.file)
        done = database.upgrade(contract=contract)
        wait_while_busy(lambda: _mark_with_key(database, sealer, ids))  # others may run it too, at once
    except OSError as error:
        raise StoreProblem(f"cannot create the store {database.place}: {error.strerror}") from None
    except StoreStopped:
        raise
    except StoreUnavailable as error:
        raise StoreProblem(str(error)) from None
    say(f"{'checked' if existed else 'created'} the store {database.place}")
    for line in _said_of(done):
        say(line)
    store = Store(url, master_key_file, ids=ids, busy_seconds=_BUSY_SECONDS)
    fill_search_terms(store, progress)
    store.engine.dispose()
    database.engine.dispose()


def _mark_with_key(database: Database, sealer: Sealer, ids: Ids) -> None:
    with database.write(stamp=ids.next) as connection:
        if read_meta(connection, KEY_CHECK) is None:
            Work(connection, ids).put_meta(KEY_CHECK, sealer.key_check())


def _said_of(done: Migrated) -> Iterator[str]:
    """What an upgrade has changed, and what is left to do."""
    if done.before not in (None, done.now.reached):
        yield f"upgraded its schema from {done.before} to {done.now.text}"
    if done.waiting is not None:
        yield f"what older versions use is left: `sekisho init --contract` when none runs any more ({done.waiting})"


def _make_file(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # What lies here belonged to another store: this one was not put back in its place.
    mark_path(file).unlink(missing_ok=True)
    ActsJournal(file).give_up()
    file.touch(mode=0o600)


def fill_search_terms(store: Store, progress: Progress = unseen) -> None:
    """Write what customers are found by who have been imported, or are of an older schema: in steps, so that a server
    waits for moments only. Raises StoreUnavailable."""
    with store.read() as connection:
        waiting = search_terms.count_unfilled(connection)
    if waiting is None:
        return
    with progress("making customers findable", waiting) as advance:
        done = 0
        while True:
            step = wait_while_busy(lambda: _fill_some(store))
            if step is None:
                return
            done += step
            advance(done)


def _fill_some(store: Store) -> int | None:
    with store.derive() as connection:
        return search_terms.fill(connection)


def _has_key_check(database: Database) -> bool:
    try:
        with database.read() as connection:
            return read_meta(connection, KEY_CHECK) is not None
    except StoreUnavailable:
        return False
