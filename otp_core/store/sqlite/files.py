"""Which files a store is made of: found once, and seen to be the same ones before anybody is told anything.

Theory of operation
-------------------
*Why.* SQLite opens the log (``-wal``) and its index (``-shm``) by name and keeps them open. If a name is removed or
given to another file, this process goes on writing where nobody will look after the next start, and a process that
comes later works on other files: neither sees what the other commits (https://sqlite.org/howtocorrupt.html, 2.4).

*One name.* The path of the store is resolved once, links of every kind included, because SQLite puts the log beside the
file itself and not beside a link to it. A store with several hard links is refused: each name would have a log of its
own.

*Who holds the files.* Whoever answers logins keeps one idle connection besides those it works with (``hold``), so
SQLite never takes the log away in between; the first such process records device and inode in the shared state, and
whoever opens the store while one of them is there compares before and after.

*When it is looked at.* After each flush of a login batch, and after each commit of another transaction, before anybody
is told; and before each use of a connection that is not one for login batches (connection.py).

*After a failed flush*, whoever's it was, nobody is told anything any more (state.py).

*What happens.* The store's file is missing: it was deleted or moved, and may come back: StoreUnavailable, as long as it
lasts. It is another file: StoreUnavailable until a restart. The log, its index or the shared state is missing or
another, or the state was overwritten: StoreUnavailable, and if that lasts (``has_to_stop``, which is asked several
times a second), everybody has to stop. The process that noticed it copies what it still sees (``rescue``); the next
start puts the copy in place.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import Engine

from otp_core.model import StoreBusy, StoreProblem, StoreUnavailable
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.database import CONFIGURED
from otp_core.store.sqlite.log_flush import Log, Numbered, committing, settle, stop
from otp_core.store.sqlite.repair import rescue
from otp_core.store.sqlite.state import OPEN, SERVING, Identities, Identity, Stop, StoreState

LOST_SECONDS = 0.25
"""How long a part of the store may be missing before it counts as lost: a folder is moved file by file."""

PATIENCE_SECONDS = 60.0
"""How long an act that is committed waits for the disk, before nobody knows whether it is done."""

_log = structlog.get_logger("store")
_NONE: Identity = (0, 0)
_NO_FILES: Identities = (_NONE, _NONE, _NONE)


class StoreFiles:
    """The files of one store, for one engine. ``path``: resolved, as ``database.file_of`` gives it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.path = Path(engine.url.database or "")
        self._names = [str(self.path), f"{self.path}-wal", f"{self.path}-shm"]
        configured = str(engine.get_execution_options().get(CONFIGURED, self.path))
        self._link = configured if configured != str(self.path) else None
        self._state_path = self.path.with_name(f"{self.path.name}.state")
        self._holders = 0
        self._state: StoreState | None = None
        self._anchor: driver.Connection | None = None
        self._log: Log | None = None
        self._is_empty = False
        self._lost_since: float | None = None
        self._noticed = False
        self._rescuing = threading.Lock()
        self._files: Identities = _NO_FILES

    # For as long as logins are answered

    def hold(self) -> None:
        """From now on the files must stay the same ones. To be ended by ``release``, as often as it was called. Raises
        StoreUnavailable, and StoreProblem for a file system without locks."""
        if self._holders == 0:
            state = StoreState(self._state_path, self.path)
            try:
                with state.exclusive():
                    self._begin(state)
            except BaseException:
                self._let_go()
                state.close()
                raise
            self._state = state
        self._holders += 1

    def release(self) -> None:
        """The counterpart of ``hold``."""
        self._holders -= 1
        if self._holders == 0 and self._state is not None:
            with self._rescuing, self._state.exclusive():
                was_last = not self._state.others(SERVING)
                self._state.leave(SERVING)  # first: with its last connection SQLite takes the log away
                self._let_go()
                if was_last:
                    self._part_from_old_log(self._state)
                    self._state.record_files(_NO_FILES)
            self._state.close()
            self._state = None

    def check(self) -> None:
        """Raises StoreUnavailable unless the files are those that were opened, and StoreStopped if nobody may be told
        anything. Inside ``hold``."""
        if self._state is not None:
            self._state.raise_if_stopped()
        self._compare(self._files)
        if self._link is not None and _identity(self._link) != self._files[0]:
            raise StoreUnavailable(
                f"store: the link {self._link} leads elsewhere since the server was started: restart the server"
            )

    # Flushes

    @property
    def log(self) -> Log | None:
        """The open log; None: the store has none, or the files are not held."""
        return self._log

    def commits(self) -> int:
        """See ``StoreState.commits``. Inside ``hold``."""
        assert self._state is not None
        return self._state.commits

    def committed(self, audit_id: int) -> int:
        """See ``StoreState.committed``. Inside ``hold``."""
        assert self._state is not None
        return self._state.committed(audit_id)

    def flush(self, number: int) -> None:
        """See ``Log.flush``. Inside ``hold``, of a store that has a log."""
        assert self._state is not None and self._log is not None
        self._log.flush(self._state, number)

    def numbered(self, visited: StoreState | None, audit_id: Callable[[], int] = lambda: 0) -> Numbered | None:
        """For a transaction of this process that is flushed behind its turn, as login batches are; None, where it has
        to flush within: the files are not held, or there is no log. ``visited``: what ``visit`` gave."""
        if visited is None or visited is not self._state or self._log is None:
            return None
        return Numbered(visited, audit_id)

    def flush_patiently(self, number: int) -> None:
        """``flush``, for what was committed and cannot be asked again as a login can: it waits longer for a disk that
        takes its time. Inside ``hold``. Raises StoreStopped and StoreUnavailable."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.flush(number)
            except StoreBusy:
                if time.monotonic() > end:
                    raise StoreUnavailable(
                        "store: the disk does not answer, and what was asked for may be done: look before you ask again"
                    ) from None

    def committing(
        self, connection: driver.Connection, visited: StoreState, audit_id: Callable[[], int]
    ) -> AbstractContextManager[None]:
        """See ``log_flush.committing``. ``visited``: what ``visit`` gave."""
        return committing(visited, self._names[1], connection, audit_id)

    def stop(self, error: driver.Error) -> None:
        """SQLite could not flush a file: everybody has to stop. Inside ``hold``. Raises StoreStopped."""
        assert self._state is not None
        stop(self._state, error)

    def flushed_id(self) -> int:
        """See ``StoreState.flushed_id``; 0 for a store that was never served."""
        if self._state is not None:
            return self._state.flushed_id
        with closing(StoreState(self._state_path, self.path)) as state:
            return state.flushed_id

    # For who serves, several times a second

    def has_to_stop(self) -> bool:
        """Whether this process has to end: somebody's flush failed, or a part of the store is lost for good. Inside
        ``hold``."""
        state = self._state
        if state is None:
            return False
        with suppress(StoreBusy):
            if state.left_behind is not None:
                with state.exclusive():
                    settle(state, self._log)
            self._look_for_losses(state)
        return state.stopped is not None

    def _look_for_losses(self, state: StoreState) -> None:
        lost = self._lost(state)
        if lost is None or self._lost_since is None:
            self._lost_since = None if lost is None else time.monotonic()
        elif time.monotonic() > self._lost_since + LOST_SECONDS:
            with state.exclusive():
                self._noticed = self._noticed or state.stopped is None
                state.stop(Stop.FILES_LOST, lost)

    def rescue(self) -> None:
        """Copy what is seen here and nowhere else any more, if it was this process that noticed the loss; may be slow.
        Inside ``hold``; another thread may call it."""
        with self._rescuing:
            if not self._noticed or self._anchor is None:
                return
            try:
                rescue(self._anchor, self.path)
            except (driver.Error, OSError, StoreProblem) as error:
                _log.error("what was in the lost log could not be copied", cause=str(error))
            else:
                _log.warning("what was in the lost log is copied: the next start puts it in place")

    def _lost(self, state: StoreState) -> str | None:
        """What part of the store is lost, though the store itself is there; None: nothing is."""
        found = self._found()
        if found[0] != self._files[0]:
            return None  # it may come back, or was replaced: those who ask are told
        if found != self._files:
            changed = self._names[1] if found[1] != self._files[1] else self._names[2]
            return f"{changed} was deleted or replaced while the server ran"
        if _identity(str(self._state_path)) != state.identity:
            return f"{self._state_path} was deleted or replaced while the server ran"
        return f"{self._state_path} was overwritten while the server ran" if state.files != self._files else None

    # Opening and closing

    def _begin(self, state: StoreState) -> None:
        state.raise_if_stopped()
        others = state.others(SERVING)
        if not others:
            self._part_from_old_log(state)
        if others:
            self._compare(state.files)
        elif self._found()[0] != _NONE and self._is_empty:
            raise self._empty()
        if not state.locks_work():
            raise StoreProblem(
                f"store: locks do not work on the file system of {self.path}, and without them two processes spoil the "
                "store: put it on a local disk"
            )
        self._anchor = self._connect()
        self._files = self._found()
        if self._anchor.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            self._log = Log(self._names[1])
            if self._log.identity != self._files[1]:
                raise StoreUnavailable(f"store: {self._names[1]} was replaced just now: try again")
        if others:
            self._compare(state.files)
        else:
            state.record_files(self._files)
        if not (state.join(OPEN) and state.join(SERVING)):
            raise _being_repaired(self.path)

    def _connect(self) -> driver.Connection:
        connection = self._engine.raw_connection()
        opened = connection.driver_connection
        connection.detach()
        assert isinstance(opened, driver.Connection)
        try:
            opened.execute("SELECT count(*) FROM sqlite_master").fetchone()  # reads, and so opens the log
        except BaseException:
            opened.close()
            raise
        return opened

    def _let_go(self) -> None:
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None
        if self._log is not None:
            self._log.close()
            self._log = None

    # For one transaction

    @contextmanager
    def visit(self) -> Iterator[StoreState | None]:
        """For one transaction or one question of a process that need not hold the files. Raises StoreUnavailable, at
        the end too: then nobody may be told that it was done."""
        if self._state is not None:
            if _identity(str(self._state_path)) != self._state.identity:
                raise StoreUnavailable(f"store: {self._state_path} was deleted or replaced: restart the server")
            self.check()
            yield self._state
            self.check()
            return
        if _identity(self._names[0]) == _NONE:
            yield None  # SQLite says best what is wrong
            return
        state = StoreState(self._state_path, self.path)
        try:
            if not state.join(OPEN):
                raise _being_repaired(self.path)
            self._compare_if_served(state)
            yield state
            self._compare_if_served(state)
        finally:
            state.close()

    def _compare_if_served(self, state: StoreState) -> None:
        while state.others(SERVING):
            wanted = state.files
            try:
                if wanted == _NO_FILES:
                    raise StoreUnavailable(
                        f"store: {self._state_path} was overwritten while the server runs: it is part of the store; "
                        "restart the server"
                    )
                self._compare(wanted)
            except StoreUnavailable:
                if state.files == wanted and state.others(SERVING):
                    raise
                # The last server has ended just now, and the log with it, or another one has begun: look again.
            else:
                return
        if state.files != _NO_FILES:
            with state.exclusive():
                self._part_from_old_log(state)

    def _part_from_old_log(self, state: StoreState) -> None:
        """The store was replaced while it was served, and nobody serves it now: the log that lies there is the old
        one's, and SQLite would play it into the new one. Inside ``StoreState.exclusive``."""
        store, log, _ = state.files
        found = self._found()
        if store == _NONE or found[0] in (_NONE, store) or found[1] != log or log == _NONE:
            return
        kept = f"{self.path}.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-wal"
        with suppress(OSError):
            os.unlink(self._names[2])
        with suppress(OSError):
            os.rename(self._names[1], kept)
            _log.warning("the store was replaced while it was served: the old one's log is kept apart", file=kept)

    # What is there

    def _found(self) -> Identities:
        try:
            found = os.stat(self._names[0])
            store, self._is_empty = (found.st_dev, found.st_ino), found.st_size == 0
        except OSError:
            store = _NONE
        return store, _identity(self._names[1]), _identity(self._names[2])

    def _empty(self) -> StoreUnavailable:
        """Copied over, it is empty for a moment; SQLite would delete the log of an empty file when it opens it."""
        return StoreUnavailable(
            f"store: {self.path} is empty; the file is no complete store: is a restore under way? Otherwise restore "
            "the newest backup"
        )

    def _compare(self, wanted: Identities) -> None:
        found = self._found()
        if found == wanted:
            if self._is_empty:
                raise self._empty()
            return
        if found[0] == _NONE:
            raise StoreUnavailable(
                f"store: {self.path} is gone; the file cannot be opened: check the path, its folder, their rights and "
                "mount options"
            )
        if found[0] != wanted[0]:
            # SQLite would play the old file's write-ahead log over the new one.
            raise StoreUnavailable(
                f"store: {self.path} was replaced while the server runs; stop the server, remove {self.path}-wal and "
                f"{self.path}-shm if they are the old one's, and start it again"
            )
        changed = self._names[1] if found[1] != wanted[1] else self._names[2]
        raise StoreUnavailable(
            f"store: {changed} was deleted or replaced while the server runs: it is part of the store; restart the "
            "server"
        )


_OF: WeakKeyDictionary[Engine, StoreFiles] = WeakKeyDictionary()


def files_of(engine: Engine) -> StoreFiles:
    """The files that an engine works with: always the same object for one engine."""
    found = _OF.get(engine)
    if found is None:
        found = _OF[engine] = StoreFiles(engine)
    return found


def check_names(path: Path) -> None:
    """Raises StoreProblem for a store that another program could open under another name, or whose journal SQLite
    would play into it."""
    found = path.stat()
    if found.st_nlink > 1:
        raise StoreProblem(
            f"the store {path} has {found.st_nlink} names (hard links), and each would get a log of its own: remove "
            f"the others (find them with: find FOLDER -xdev -inum {found.st_ino})"
        )
    journal = Path(f"{path}-journal")
    if journal.exists() and journal.stat().st_size and _is_write_ahead(path):
        raise StoreProblem(
            f"{journal} lies beside the store, and SQLite would play it into the store, which never writes one itself: "
            "stop what else opens the store; if nothing does, move that file away"
        )


def _is_write_ahead(path: Path) -> bool:
    """By the file's header: https://sqlite.org/fileformat2.html, section 1.3.3."""
    with path.open("rb") as file:
        return file.read(20)[18:] == b"\2\2"


def _being_repaired(path: Path) -> StoreUnavailable:
    return StoreUnavailable(f"store: {path} is being repaired or put back; try again when that is done")


def _identity(name: str) -> Identity:
    try:
        found = os.stat(name)
    except OSError:
        return _NONE
    return found.st_dev, found.st_ino
