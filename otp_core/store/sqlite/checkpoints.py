"""Checkpoints beside the logins: what is in the log is copied into the store's file by a process of its own.

Theory of operation
-------------------
*Why.* A checkpoint that SQLite makes by itself runs inside some login's COMMIT, in its turn: everybody waits while
pages are copied and two files are flushed. Here every half second a PASSIVE checkpoint copies what it can; nobody
waits.

*The log begins anew.* Under load there is always a page that no checkpoint has copied yet, so PASSIVE alone never ends
the log. Once it has ``LONG`` pages, a checkpoint in the writers' turn (turn.py), right behind a PASSIVE one, copies the
little that is left, and the next writer begins at the start of the file. A reader that is in the log for long (a
backup, an export) forbids that: it is tried again later, and said when the log has become ``VERY_LONG``.

*When it fails.* A full or failing disk under the store's file alone harms no login: they are in the log. It is said,
and tried again. A flush that failed is another matter: of what the disk was given since the last good one anything may
be missing, though the next flush succeeds. Then everybody has to stop (state.py).

*Who sees it.* The file that the processes share (turn.py) says when a checkpoint last succeeded and what is wrong;
``sekisho doctor`` reads it. One process makes checkpoints: a lock on that file says whose task it is.

*Never* with a SQLite that has the WAL-reset fault (driver.py): there SQLite's own checkpoints stay on.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from typing import NamedTuple

import structlog
from sqlalchemy import Engine

from otp_core.model import StoreBusy, StoreStopped, StoreUnavailable
from otp_core.store.sqlite.connection import DriverConnection
from otp_core.store.sqlite.turn import open_shared

_log = structlog.get_logger("store")

INTERVAL = 0.5
"""Seconds between two checkpoints."""

LONG, VERY_LONG = 24_000, 100_000
"""Pages of the log: it begins anew when it has so many (96 MB); it is said when it has so many (400 MB)."""

STALE = 10.0
"""Seconds after which a checkpointer that gave no sign of life stands still."""

_READERS_MS = 20
"""How long a checkpoint in the writers' turn waits for readers, while every writer waits for it."""

# A connection that has read nothing copies nothing.
_FIRST = ("PRAGMA wal_autocheckpoint=0", f"PRAGMA busy_timeout={_READERS_MS}", "PRAGMA user_version")

_MORE = 2
"""Checkpoints right before the one in the writers' turn."""

_AGAIN, _SAY_AGAIN = 5.0, 60.0
"""Seconds until the log is tried to begin anew once more; and between two lines about one trouble."""

_STATUS_AT, _STATUS = 1024, struct.Struct("=QQQQ512s")
_LOCK = struct.Struct("hhqqi4x")
CHECKPOINTS, SEALS, SYSLOG, WEBHOOKS, DROP = 2048, 2049, 2050, 2051, 2052
"""The octets of that file whose locks say that a process has the task: to make checkpoints, to seal the audit trail,
to send it to syslog, to webhooks."""


class CheckpointStatus(NamedTuple):
    """How the checkpoints are doing. Times in ms since the epoch, 0 for never. ``seen_at``: the last sign of life;
    ``succeeded_at``: the last checkpoint without an error; ``pages``: length of the log; ``copied``: so many of them
    are in the store's file; ``error``: what is wrong, empty for nothing."""

    seen_at: int
    succeeded_at: int
    pages: int
    copied: int
    error: str


class TaskLock:
    """The lock of a task that one process does for all of a store, in the file that they share. ``store``: path of the
    store's file. ``octet``: one of these."""

    def __init__(self, store: str, octet: int) -> None:
        """Raises OSError."""
        self._descriptor, self._octet = open_shared(store), octet

    def close(self) -> None:
        """Let go of it, and of the task."""
        os.close(self._descriptor)

    def take(self) -> bool:
        """Make the task one's own, until ``close``; False: it is another process's."""
        wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, self._octet, 1, 0)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, wanted)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def is_taken(self) -> bool:
        """Whether another process has the task."""
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, self._octet, 1, 0)
        return bool(_LOCK.unpack(fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)


class SharedStatus(TaskLock):
    """The checkpointer's part of the file that the processes of a store share. ``store``: path of the store's file."""

    def __init__(self, store: str) -> None:
        """Raises OSError."""
        super().__init__(store, CHECKPOINTS)
        self._memory = mmap.mmap(self._descriptor, mmap.PAGESIZE)

    def close(self) -> None:
        """Let go of it, and of the task."""
        self._memory.close()
        super().close()

    def read(self) -> CheckpointStatus:
        """What was written last."""
        seen_at, succeeded_at, pages, copied, error = _STATUS.unpack_from(self._memory, _STATUS_AT)
        text = error.rstrip(b"\0").decode(errors="replace")
        return CheckpointStatus(seen_at, succeeded_at, pages, copied, text)

    def write(self, status: CheckpointStatus) -> None:
        """For others to read."""
        _STATUS.pack_into(self._memory, _STATUS_AT, *status[:-1], status.error.encode()[:512])


class Checkpointer:
    """Makes the checkpoints of one store. ``long``: see LONG."""

    def __init__(self, engine: Engine, *, long: int = LONG) -> None:
        """Raises OSError."""
        self._long = long
        self._connection = DriverConnection(engine, first=_FIRST)
        self._shared = SharedStatus(engine.url.database or "")
        self._anew_at = self._say_at = 0.0
        self.made = self.failed = 0
        """Checkpoints so far, and those that failed."""
        self._status = self._shared.read()._replace(error="")

    def checkpoint(self) -> None:
        """One checkpoint, if they are this process's task. What goes wrong is said. Raises StoreStopped after a failed
        flush of anybody's."""
        if not self._shared.take():
            return
        try:
            self._went_well(*self._copy())
        except StoreBusy:
            self._write(self._status._replace(seen_at=_now()))  # somebody else copies just now
        except StoreStopped:
            raise
        except StoreUnavailable as problem:
            self._failed(problem)

    def close(self) -> None:
        """Let go of the store."""
        self._connection.close()
        self._shared.close()

    def _copy(self) -> tuple[int, int]:
        pages, copied = self._run("PASSIVE")
        if pages < self._long or time.monotonic() < self._anew_at:
            return pages, copied
        for _ in range(_MORE):  # what came meanwhile, so that little is left for the turn
            pages, copied = self._run("PASSIVE")
        try:
            with self._connection.turn():
                return self._run("RESTART")
        except StoreBusy:
            self._anew_at = time.monotonic() + _AGAIN
            return pages, copied

    def _run(self, mode: str) -> tuple[int, int]:
        """Pages of the log, and how many of them were copied. Raises StoreBusy if a reader or another checkpoint is in
        the way."""
        with self._connection.guarded() as connection:
            busy, pages, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        if busy:
            raise StoreBusy(f"store: the log is in use: no checkpoint ({mode})")
        return pages, copied

    def _went_well(self, pages: int, copied: int) -> None:
        self.made += 1
        if self._status.error:
            _log.info("checkpoints succeed again")
        now = time.monotonic()
        if pages >= VERY_LONG and now >= self._say_at:
            self._say_at = now + _SAY_AGAIN
            _log.warning("the store's log cannot begin anew: is a backup or an export reading it?", pages=pages)
        self._write(CheckpointStatus(_now(), _now(), pages, copied, ""))

    def _failed(self, problem: StoreUnavailable) -> None:
        self.failed += 1
        now = time.monotonic()
        if not self._status.error or now >= self._say_at:
            self._say_at = now + _SAY_AGAIN
            _log.error("a checkpoint failed: the store's log grows until one succeeds", cause=str(problem))
        self._write(self._status._replace(seen_at=_now(), error=str(problem)))

    def _write(self, status: CheckpointStatus) -> None:
        self._status = status
        self._shared.write(status)


def status_of(store: str) -> tuple[CheckpointStatus, bool]:
    """How the checkpoints of a store are doing, and whether a process makes any now. Raises OSError."""
    shared = SharedStatus(store)
    try:
        return shared.read(), shared.is_taken()
    finally:
        shared.close()


def _now() -> int:
    return int(time.time() * 1000)
