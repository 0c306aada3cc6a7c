"""What all processes share that have a store open: one block beside it, ``<store>.state``, mapped into memory.

Theory of operation
-------------------
*Why a file.* Its block is written and flushed when the store is opened, so that a full disk cannot refuse it later;
what one process writes there every other one sees at once, and the next start too. It is never replaced.

*What is in it.* Which three files the serving processes have open (device and inode of the store, its log ``-wal`` and
the log's index ``-shm``); how many commits there were that are flushed behind the writers' turn, and how many of them
are flushed; and whether everybody has to stop, and why.

*After one failed flush* nothing that is written into that log can be trusted: Linux counts the pages that it could not
write as clean, so the next flush succeeds over the hole (https://wiki.postgresql.org/wiki/Fsync_Errors). So ``stop``
raises a flag that only a start of the server takes away again (repair.py). The flag is raised under the lock under
which every flush is done, and read behind each flush, before anybody is told: whoever flushed at the same time cannot
tell over pages that another one's flush has lost. If the block itself cannot be flushed, the flag still stops all who
run. What was told before the flag was flushed without an error before.

*A flush is shared.* Commits are numbered in the order in which they are in the log; a flush covers all that were
numbered before it began, so whoever waited for the lock behind it need not flush again.

*A process that is killed while it flushes* leaves its mark (``under way``). Linux tells an error once to each open
descriptor, so a descriptor that was opened before the mark hears of it at its own flush; another one cannot know, and
raises the flag. At the start nobody is left, and the log is written anew (repair.py).

*Locks.* ``exclusive`` (a turn, turn.py, whose lock and record are in this file) is held for moments: opening, closing,
every flush of the log. Who has it waits for no other lock, so it comes last: turn, SQLite's write lock, this one. Locks
on the file's octets, dropped by the kernel when a process ends, say who is there: ``SERVING`` is held by every process
that answers logins, ``OPEN`` by everybody who has the store open.

It knows no customer, no statement, and nothing of SQLite.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import structlog

from otp_core.model import StoreStopped, StoreUnavailable
from otp_core.store.sqlite.turn import StateTurn

SIZE = 4096
SERVING, OPEN = 0, 1
"""The octets of the file whose locks say who is there."""

_log = structlog.get_logger("store")
_MAGIC = b"Sekisho1"
_STOP = struct.Struct("<IIQ16s")
"""Why (Stop), how long the text is, when (ms since the epoch), boot ID."""
_LENGTH = struct.Struct("<I")
_STOP_AT, _TEXT_AT, _LOST_AT, _TEXT = 16, 256, 2048, 1024
_COMMITS = struct.Struct("<QQ")
_LARGEST = (1 << 64) - 1
"""Number of a commit, ID of an audit row of it (0: of none yet)."""
_COMMITTED_AT, _FLUSHED_AT = 64, 80
_UNDER_WAY = struct.Struct("<QQ16s")
"""Process that flushes (0: none), since when (monotonic ns), boot ID."""
_UNDER_WAY_AT, _NO_PROCESS = 96, bytes(8)
_IDENTITIES = struct.Struct("<6Q")
_IDENTITIES_AT = 128
_LOG_SEEN = struct.Struct("<32sQ")
"""The log's header, its length in octets."""
_LOG_SEEN_AT = 192
TURN_AT = 3584
"""Where the record of ``exclusive`` begins (turn.py); it ends with the block."""
_LOCK = struct.Struct("hhqqi4x")
"""``struct flock`` of Linux: type, whence, start, length, process ID."""


def _read_boot_id() -> bytes:
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


_BOOT_ID = _read_boot_id()
"""16 octets that are others after each start of the machine."""

Identity = tuple[int, int]
"""Device and inode of a file; (0, 0): there is none."""

Identities = tuple[Identity, Identity, Identity]
"""Of the store, its log and the log's index."""


class Stop(IntEnum):
    """Why everybody has to stop."""

    NO = 0
    FLUSH_FAILED = 1
    FILES_LOST = 2


class Stopped(NamedTuple):
    """``text``: for the operator. ``at_ms``: since the epoch. ``rebooted``: the machine was started anew since."""

    why: Stop
    text: str
    at_ms: int
    rebooted: bool


class _Exclusive:
    """See ``StoreState.exclusive``. The mutex is for the threads, which share the file's lock."""

    def __init__(self, turn: StateTurn) -> None:
        self._mutex, self._turn = threading.Lock(), turn

    def __enter__(self) -> None:
        self._mutex.acquire()
        try:
            self._turn.take()
        except BaseException:
            self._mutex.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._turn.give_back()
        finally:
            self._mutex.release()


class _Flushing:
    """See ``StoreState.flushing``."""

    def __init__(self, memory: mmap.mmap, process: int) -> None:
        self._memory, self._process = memory, process
        self._number = self._audit_id = self._known = 0

    def __enter__(self) -> None:
        self._number, self._audit_id = _COMMITS.unpack_from(self._memory, _COMMITTED_AT)
        self._known = _COMMITS.unpack_from(self._memory, _FLUSHED_AT)[1]
        _UNDER_WAY.pack_into(self._memory, _UNDER_WAY_AT, self._process, time.monotonic_ns(), _BOOT_ID)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            flushed, newest = _COMMITS.unpack_from(self._memory, _FLUSHED_AT)
            if flushed < self._number:
                # A row of a commit that flushed by itself just now is newer than all numbered ones.
                audit_id = self._audit_id if newest == self._known else newest
                _COMMITS.pack_into(self._memory, _FLUSHED_AT, self._number, audit_id)
        self._memory[_UNDER_WAY_AT : _UNDER_WAY_AT + 8] = _NO_PROCESS


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
        self._alone = _Exclusive(StateTurn(str(path), self._descriptor, self._memory, TURN_AT))
        self._process = os.getpid()
        found = os.fstat(self._descriptor)
        self.identity: Identity = (found.st_dev, found.st_ino)

    def close(self) -> None:
        """Let go of it, and of its locks."""
        self._memory.close()
        os.close(self._descriptor)

    def exclusive(self) -> _Exclusive:
        """``with state.exclusive():`` alone among all processes and threads, for moments. One that is stopped meanwhile
        keeps nobody waiting (turn.py). Raises StoreBusy if another one is at it for longer."""
        return self._alone

    @property
    def files(self) -> Identities:
        """The files that the serving processes have open."""
        found: tuple[int, ...] = _IDENTITIES.unpack_from(self._memory, _IDENTITIES_AT)
        return (found[0], found[1]), (found[2], found[3]), (found[4], found[5])

    def record_files(self, files: Identities) -> None:
        """The first serving process says which files it opened. Inside ``exclusive``."""
        _IDENTITIES.pack_into(self._memory, _IDENTITIES_AT, *files[0], *files[1], *files[2])

    # Whether everybody has to stop

    def stop(self, why: Stop, text: str) -> None:
        """Nobody may be told anything from now on, by any process. The first reason stays. Inside ``exclusive`` where
        that can be had: a flush that was under way meanwhile must not be told."""
        if self._memory[_STOP_AT] != Stop.NO:
            return
        octets = text.encode()[:_TEXT]
        self._memory[_TEXT_AT : _TEXT_AT + len(octets)] = octets
        _STOP.pack_into(self._memory, _STOP_AT, why, len(octets), int(time.time() * 1000), _BOOT_ID)
        try:
            self.save()
        except OSError as error:
            _log.error("the mark of a stopped store cannot be flushed", file=str(self.path), cause=error.strerror)
        _log.critical("nothing is acknowledged any more", cause=text)

    @property
    def stopped(self) -> Stopped | None:
        """Why everybody has to stop; None: nobody has to."""
        if self._memory[_STOP_AT] == Stop.NO:
            return None
        why, length, at_ms, boot = _STOP.unpack_from(self._memory, _STOP_AT)
        if why not in (Stop.FLUSH_FAILED, Stop.FILES_LOST):
            return Stopped(Stop.FLUSH_FAILED, f"{self.path} was overwritten", 0, False)
        text = bytes(self._memory[_TEXT_AT : _TEXT_AT + min(length, _TEXT)]).decode(errors="replace")
        return Stopped(Stop(why), text, at_ms, boot != _BOOT_ID)

    def raise_if_stopped(self) -> None:
        """Raises StoreStopped if everybody has to stop."""
        if self._memory[_STOP_AT] != Stop.NO:
            raise self.as_error()

    def as_error(self) -> StoreStopped:
        """What to raise when everybody has to stop."""
        found = self.stopped
        return StoreStopped(f"store: {found.text if found else ''}; the next start of the server puts it right")

    def go_on(self, lost: str | None = None) -> None:
        """The store was put right: take the flag away, and all that was known of the old log. ``lost``: why something
        that was acknowledged may be missing in it. Raises OSError."""
        octets = (lost or "").encode()[:_TEXT]
        self._memory[_LOST_AT + 4 : _LOST_AT + 4 + len(octets)] = octets
        _LENGTH.pack_into(self._memory, _LOST_AT, len(octets))
        _COMMITS.pack_into(self._memory, _COMMITTED_AT, 0, 0)
        _COMMITS.pack_into(self._memory, _FLUSHED_AT, 0, 0)
        self.record_files(((0, 0), (0, 0), (0, 0)))
        self.see_log(b"", 0)
        _UNDER_WAY.pack_into(self._memory, _UNDER_WAY_AT, 0, 0, b"")
        _STOP.pack_into(self._memory, _STOP_AT, Stop.NO, 0, 0, b"")
        self.save()

    @property
    def lost(self) -> str | None:
        """Why the codes of a lost time have to be voided before anybody is served; None: they need not be."""
        length = _LENGTH.unpack_from(self._memory, _LOST_AT)[0]
        octets = bytes(self._memory[_LOST_AT + 4 : _LOST_AT + 4 + min(length, _TEXT)])
        return octets.decode(errors="replace") or None

    def forget_lost(self) -> None:
        """They were voided. Raises OSError."""
        _LENGTH.pack_into(self._memory, _LOST_AT, 0)
        self.save()

    def save(self) -> None:
        """Have the block on the disk. Raises OSError."""
        self._memory.flush()
        os.fsync(self._descriptor)

    # Commits and flushes

    def touch(self) -> None:
        """Set the file's times to now: a change of the file system that the log is in. Raises OSError."""
        os.utime(self._descriptor)

    def committed(self, audit_id: int) -> int:
        """Number a commit that did not flush, in the order of the log: in the writers' turn. ``audit_id``: of one of
        its rows, 0 for none."""
        number, before = _COMMITS.unpack_from(self._memory, _COMMITTED_AT)
        number = (int(number) + 1) & _LARGEST  # where somebody has overwritten the file
        _COMMITS.pack_into(self._memory, _COMMITTED_AT, number, audit_id or before)
        return number

    @property
    def commits(self) -> int:
        """How many commits were numbered so far."""
        return int(_COMMITS.unpack_from(self._memory, _COMMITTED_AT)[0])

    @property
    def flushed_id(self) -> int:
        """The ID of an audit row that is on disk with all that was committed before it: the newest one that is known to
        be; 0 for none."""
        return int(_COMMITS.unpack_from(self._memory, _FLUSHED_AT)[1])

    def flushed_too(self, audit_id: int) -> None:
        """A commit that flushed by itself had this audit row. Inside ``flushing``, behind the flush."""
        number = _COMMITS.unpack_from(self._memory, _FLUSHED_AT)[0]
        _COMMITS.pack_into(self._memory, _FLUSHED_AT, number, audit_id)

    def is_flushed(self, number: int) -> bool:
        """Whether the commit with this number is on the disk."""
        return int(_COMMITS.unpack_from(self._memory, _FLUSHED_AT)[0]) >= number

    def flushing(self) -> _Flushing:
        """``with state.flushing():`` around a flush of the log. Unless it raises, all that was committed before is on
        the disk. Inside ``exclusive``."""
        return _Flushing(self._memory, self._process)

    @property
    def log_seen(self) -> tuple[bytes, int]:
        """The log's header and its length (octets) behind the last flush of anybody's."""
        header, size = _LOG_SEEN.unpack_from(self._memory, _LOG_SEEN_AT)
        return bytes(header), int(size)

    def see_log(self, header: bytes, size: int) -> None:
        """Inside ``exclusive``."""
        _LOG_SEEN.pack_into(self._memory, _LOG_SEEN_AT, header, size)

    @property
    def left_behind(self) -> tuple[int, int] | None:
        """A flush that nobody knows the end of, since its process was killed: process ID, and since when (monotonic
        ns). Inside ``exclusive``."""
        if self._memory[_UNDER_WAY_AT : _UNDER_WAY_AT + 8] == _NO_PROCESS:
            return None
        process, since, boot = _UNDER_WAY.unpack_from(self._memory, _UNDER_WAY_AT)
        return (process, since) if process and boot == _BOOT_ID else None

    def forget_flush(self) -> None:
        """No flush is under way, or it is known what became of it."""
        self._memory[_UNDER_WAY_AT : _UNDER_WAY_AT + 8] = _NO_PROCESS

    # Who is there

    def join(self, octet: int) -> bool:
        """Be there, until ``close``. False: somebody wants to be alone with the store."""
        return self._lock(fcntl.F_OFD_SETLK, fcntl.F_RDLCK, octet) is not None

    def leave(self, octet: int) -> None:
        """The counterpart of ``join``, before ``close``."""
        self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, octet)

    def locks_work(self) -> bool:
        """Whether this file system keeps the promises of both kinds of locks, as a second descriptor of the same file
        finds. Inside ``exclusive``. Raises OSError."""
        other = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not self.join(OPEN):
                return True
            with suppress(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            with suppress(BlockingIOError, PermissionError):
                fcntl.fcntl(other, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, OPEN, 1, 0))
                return False
            return True
        finally:
            os.close(other)

    def others(self, octet: int) -> bool:
        """Whether anybody else is there."""
        found = self._lock(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, octet)
        return found is None or _LOCK.unpack(found)[0] != fcntl.F_UNLCK

    def alone(self) -> bool:
        """Keep everybody else away until ``close``; False if somebody is there."""
        return self._lock(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, SERVING, 2) is not None

    def _lock(self, command: int, kind: int, octet: int, length: int = 1) -> bytes | None:
        wanted = _LOCK.pack(kind, os.SEEK_SET, octet, length, 0)
        try:
            return fcntl.fcntl(self._descriptor, command, wanted)
        except (BlockingIOError, PermissionError):
            return None


def _open(path: Path, beside: Path) -> int:
    """The descriptor of a file with one whole block, allocated and on the disk."""
    like = beside.stat()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, like.st_mode & 0o666)
    try:
        if not _is_whole(descriptor):  # once made it stays so, and who has the lock may be stopped
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_whole(descriptor):
                _make(descriptor, path, like)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_whole(descriptor: int) -> bool:
    return os.fstat(descriptor).st_size >= SIZE and os.pread(descriptor, len(_MAGIC), 0) == _MAGIC


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
