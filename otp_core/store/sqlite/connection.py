"""Connections of the driver itself, for the statements of a login. It holds no statement about customers.

Theory of operation
-------------------
*What can happen at once.* A process has one connection for its login batches, one for its readers and one for its
maintenance, each used by one thread. Other processes have their own. SQLite lets one of them write at a time, and all
of them read meanwhile.

*Opening.* A connection is opened when it is first used, and again after any trouble. From the first use to ``close``
the files of the store are held (files.py): a store, a log or an index that was removed or replaced under the process is
noticed before each use. For a login batch it is noticed behind its flush, before anybody is told, and before a new
connection is opened: once a batch, because looking takes as long as one of its statements.

*What happens on an error.* ``guarded`` rolls back whatever transaction is open, closes the connection unless the error
was only a lock, and raises StoreUnavailable with the cause and what to do. Nothing of the transaction is left.

*When a commit is durable.* ``SharedCommits`` commits with ``synchronous=NORMAL``: COMMIT writes the log and does not
flush it. ``flush`` calls fdatasync on the same log after the lock is free; no verdict may be told before it returned.
One fdatasync serves everybody whose commit came before it. If it fails, what was written may be lost although the next
one succeeds: StoreStopped, in every process, until the next start has put the store right (state.py, repair.py).

*Turns.* Whoever writes takes the writers' turn first (turn.py): the kernel wakes the next process up, where SQLite's
own lock is asked for in a loop with pauses.
"""

from __future__ import annotations

from types import TracebackType

from sqlalchemy import Engine

from otp_core.model import StoreUnavailable
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.database import unavailable
from otp_core.store.sqlite.files import files_of
from otp_core.store.sqlite.turn import Turn


class Guarded:
    """See ``DriverConnection.guarded``."""

    def __init__(self, owner: DriverConnection) -> None:
        self._owner = owner

    def __enter__(self) -> driver.Connection:
        try:
            return self._owner.opened()
        except BaseException as error:
            self._owner.failed(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._owner.failed(error)


class DriverConnection:
    """A driver's connection that begins and ends its transactions itself. One thread at a time may use it."""

    def __init__(self, engine: Engine, *, first: tuple[str, ...] = ()) -> None:
        """``first``: statements for each new connection, before anybody uses it."""
        self._engine, self._first = engine, first
        self._files = files_of(engine)
        self._held = False
        self._connection: driver.Connection | None = None
        self._turn = Turn(str(self._files.path))
        self._trusting = False
        """Whether the files are looked at only after what was written, and before a new connection is opened."""

    def guarded(self) -> Guarded:
        """``with connection.guarded() as driver_connection:`` whatever is raised inside, an open transaction is rolled
        back. Raises StoreUnavailable."""
        return Guarded(self)

    def opened(self) -> driver.Connection:
        """For ``Guarded``. Raises StoreUnavailable."""
        if not self._held:
            self._files.hold()
            self._held = True
        if self._connection is not None and self._trusting:
            return self._connection
        try:
            self._files.check()
        except StoreUnavailable:
            self._let_go()
            raise
        return self._connection or self._open()

    def failed(self, error: BaseException) -> None:
        """For ``Guarded``: nothing of the transaction is left. Raises StoreUnavailable for an error of the driver."""
        if not isinstance(error, driver.Error):
            self._roll_back()
            return
        if self._connection is not None and driver.is_failed_flush(self._connection, error):
            self._files.stop(error)
        self._roll_back()
        if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF != driver.SQLITE_BUSY:
            self._let_go()  # anything worse than a lock: begin afresh
        raise unavailable(error) from error

    def turn(self) -> Turn:
        """``with connection.turn():`` one writer at a time among all processes of the store. Inside ``guarded``, and
        around whatever writes. Raises StoreBusy."""
        return self._turn

    def close(self) -> None:
        """Let go of the connection and of the files; the next use opens another."""
        self._let_go()
        self._turn.close()
        if self._held:
            self._held = False
            self._files.release()

    def _let_go(self) -> None:
        """Let go of the connection alone."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> driver.Connection:
        connection = self._engine.raw_connection()
        opened = connection.driver_connection
        connection.detach()
        assert isinstance(opened, driver.Connection)
        opened.isolation_level = None
        self._connection = opened
        self._prepare(opened)
        return opened

    def _prepare(self, connection: driver.Connection) -> None:
        """What a new connection needs before it is used."""
        for statement in self._first:
            connection.execute(statement).fetchone()

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except driver.Error:
                self._let_go()


class SharedCommits(DriverConnection):
    """The connection of a process whose commits wait for the disk outside SQLite's write lock.

    With ``synchronous=FULL`` SQLite flushes its write-ahead log inside COMMIT, while every other worker waits. Here
    COMMIT only writes (NORMAL), and ``flush`` flushes the same file afterwards: no verdict may be told before
    that.
    """

    def __init__(self, engine: Engine, *, trusting: bool = True) -> None:
        """``trusting``: for login batches, whose files are looked at behind each flush; otherwise before each use."""
        super().__init__(engine)
        self._trusting = trusting
        self._number = 0
        """Of the commit that was made last."""

    def commits(self) -> int:
        """Another number after each batch of anybody's. Inside ``guarded``."""
        return self._files.commits()

    def committed(self, audit_id: int) -> None:
        """A batch was committed just now; within the turn. ``audit_id``: of one of its audit rows, 0 for none."""
        self._number = self._files.committed(audit_id)

    def flush(self) -> None:
        """What was committed is on disk when this returns, and where the next start will look. Raises
        StoreUnavailable, and StoreStopped after a failed flush of anybody's."""
        try:
            if self._files.log is not None:
                self._files.flush(self._number)
            self._files.check()
        except StoreUnavailable:
            self._let_go()  # what is wrong is looked for before anything else is written
            raise

    def _prepare(self, connection: driver.Connection) -> None:
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            return  # a copy in another mode was put in the store's place: it stays at FULL
        connection.execute("PRAGMA synchronous=NORMAL")
