"""What all processes share that have a store open: one block beside it, ``<store>.state``, mapped into memory.

Theory of operation
-------------------
*Why a file.* Its block is written and flushed when the store is opened, so that a full disk cannot refuse it later;
what one process writes there every other one sees at once, and the next start too. It is never replaced.

*What is in it.* Which three files the serving processes have open (device and inode of the store, its log ``-wal`` and
the log's index ``-shm``), and whether everybody has to stop, and why.

*Locks.* ``exclusive`` (flock) is held for moments: opening, closing, every flush of the log. Locks on the file's
octets, which the kernel drops when a process ends, say who is there: ``SERVING`` is held by every process that answers
logins, ``OPEN`` by everybody who has the store open.

It knows no customer, no statement, and nothing of SQLite.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otp_core.model import StoreUnavailable

SIZE = 4096
SERVING, OPEN = 0, 1
"""The octets of the file whose locks say who is there."""

_MAGIC = b"Sekisho1"
_IDENTITIES = struct.Struct("<6Q")
_IDENTITIES_AT = 64
_LOCK = struct.Struct("hhqqi4x")
"""``struct flock`` of Linux: type, whence, start, length, process ID."""

Identity = tuple[int, int]
"""Device and inode of a file; (0, 0): there is none."""

Identities = tuple[Identity, Identity, Identity]
"""Of the store, its log and the log's index."""


class StoreState:
    """The open and mapped file. Whoever makes one closes it."""

    def __init__(self, path: Path, beside: Path) -> None:
        """Open it, make it if there is none. ``beside``: the store, whose owner and mode it gets. Raises
        StoreUnavailable."""
        self.path = path
        try:
            self._descriptor = _open(path, beside)
        except OSError as error:
            raise StoreUnavailable(
                f"store: {path}: {error.strerror}; the file cannot be opened: check the path, its folder, their rights "
                "and mount options"
            ) from error
        self._memory = mmap.mmap(self._descriptor, SIZE)
        self._mutex = threading.Lock()
        found = os.fstat(self._descriptor)
        self.identity: Identity = (found.st_dev, found.st_ino)

    def close(self) -> None:
        """Let go of it, and of its locks."""
        self._memory.close()
        os.close(self._descriptor)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Alone among all processes and threads, for moments."""
        with self._mutex:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @property
    def files(self) -> Identities:
        """The files that the serving processes have open."""
        found: tuple[int, ...] = _IDENTITIES.unpack_from(self._memory, _IDENTITIES_AT)
        return (found[0], found[1]), (found[2], found[3]), (found[4], found[5])

    def record_files(self, files: Identities) -> None:
        """The first serving process says which files it opened. Inside ``exclusive``."""
        _IDENTITIES.pack_into(self._memory, _IDENTITIES_AT, *files[0], *files[1], *files[2])

    def join(self, octet: int) -> bool:
        """Be there, until ``close``. False: somebody wants to be alone with the store."""
        return self._lock(fcntl.F_OFD_SETLK, fcntl.F_RDLCK, octet) is not None

    def others(self, octet: int) -> bool:
        """Whether anybody else is there."""
        found = self._lock(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, octet)
        return found is None or _LOCK.unpack(found)[0] != fcntl.F_UNLCK

    def _lock(self, command: int, kind: int, octet: int) -> bytes | None:
        wanted = _LOCK.pack(kind, os.SEEK_SET, octet, 1, 0)
        try:
            return fcntl.fcntl(self._descriptor, command, wanted)
        except (BlockingIOError, PermissionError):
            return None


def _open(path: Path, beside: Path) -> int:
    """The descriptor of a file with one whole block, allocated and on the disk."""
    like = beside.stat()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, like.st_mode & 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_size < SIZE or os.pread(descriptor, len(_MAGIC), 0) != _MAGIC:
            _make(descriptor, path, like)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make(descriptor: int, path: Path, like: os.stat_result) -> None:
    if os.geteuid() == 0:  # `sekisho init` as root, beside a store of another user: as SQLite does with its own files
        os.fchown(descriptor, like.st_uid, like.st_gid)
    if os.pwrite(descriptor, _MAGIC.ljust(SIZE, b"\0"), 0) != SIZE:
        raise OSError(28, "No space left on device")
    os.fsync(descriptor)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
