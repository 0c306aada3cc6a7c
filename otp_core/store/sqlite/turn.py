"""The writers' turn: one writer at a time among all processes of a store, woken up by the kernel.

Theory of operation
-------------------
*Why.* SQLite asks for its write lock in a loop with pauses, so a writer that asks now and then starves beside one that
always asks. Every writer of ours (login batches, pages, commands, imports, checkpoints that reset the log) therefore
takes an exclusive flock on ``<store>-turn`` first, and nobody of ours waits for SQLite's lock.

*Who has it.* The file's first octets, mapped into the memory of all processes, say whose turn it is (process ID, time
of its start, number of the turn). The file is allocated when it is made, so a full disk cannot take it away later.

*Nobody waits for ever.* A timer interrupts the wait. A holder that is found stopped (SIGSTOP, a debugger: state T) for
``OVERDUE`` seconds of one turn is killed, because nothing else gives its turn back; what it had not committed is gone,
and nobody was told of it. It is killed by the one that waits: that process knows that somebody waits, and for how long.
A holder that waits for the disk (state D), or is at work, is left alone: the waiter gives up with StoreBusy, which says
so, its loop goes on, and it tries again.

*What it is not.* It keeps nothing consistent: SQLite's own lock does. Without the file (a folder that cannot be
written, a full disk at the very first start) writers contend for that lock alone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import struct
import threading
import time
from types import TracebackType
from typing import NamedTuple

import structlog

from otp_core.model import StoreBusy

_log = structlog.get_logger("store")

OVERDUE = 1.0
"""Seconds after which a turn is overdue for somebody who waits for it."""

_FIRST_LOOK, _TICK = 0.25, 0.05
"""Seconds after which somebody who waits looks at the holder, and then again."""

_SIZE = mmap.PAGESIZE
_RECORD = struct.Struct("=QQQ")
"""Process ID (0: nobody's), start of the process in clock ticks after boot, number of the turn."""
_NOBODY, _NUMBER, _NUMBER_AT = struct.Struct("=QQ"), struct.Struct("=Q"), 16
_ENDED_AT, _ENDED, _MOST_ENDED = 64, struct.Struct("=QQ"), 16
"""The processes that were killed for their turn: process ID and start, the newest first."""

_flock = ctypes.CDLL(None, use_errno=True).flock


class Holder(NamedTuple):
    """Whose turn it is: a process by its ID and its start (clock ticks after boot). ``number``: of the turn."""

    process: int
    start: int
    number: int

    def state(self) -> str:
        """R, S, D (waits for the disk), T or t (stopped), Z: see proc(5). Empty if the process is gone."""
        fields = _stat(self.process)
        return fields[0] if fields and int(fields[19]) == self.start else ""

    def is_stopped(self) -> bool:
        """By SIGSTOP, by a terminal or by a debugger."""
        return self.state() in ("T", "t")


class Turn:
    """One writer's access to the turn of a store. ``with turn:`` has it. One thread at a time may use it, and not
    within itself; objects of one process exclude one another too."""

    def __init__(self, store: str, *, seconds: float = OVERDUE) -> None:
        """``store``: path of the store's file. ``seconds``: how long to wait before StoreBusy, at least OVERDUE."""
        self._store, self._seconds = store, max(seconds, OVERDUE)
        self._descriptor = -1
        self._memory: mmap.mmap | None = None
        self._at = self._process = self._start = self._timed_thread = 0

    def __enter__(self) -> None:
        """See ``take``."""
        self.take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See ``give_back``."""
        self.give_back()

    def take(self) -> None:
        """Wait for the turn. Raises StoreBusy when the time is over."""
        if self.take_at_once():
            return
        try:
            self._wait()
            self._sign()
        except BaseException:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            raise

    def take_at_once(self) -> bool:
        """Take the turn if nobody has it; whether that was so."""
        if self._process != os.getpid():  # also in a child: a lock belongs to whoever opened the file
            self._open()
        if self._descriptor >= 0:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            self._sign()
        return True

    def _sign(self) -> None:
        if self._memory is not None:
            number: int = _NUMBER.unpack_from(self._memory, self._at + _NUMBER_AT)[0]
            _RECORD.pack_into(self._memory, self._at, self._process, self._start, (number + 1) & 0xFFFFFFFF)

    def give_back(self) -> None:
        """Give the turn to the next one."""
        if self._descriptor >= 0:
            if self._memory is not None:
                _NOBODY.pack_into(self._memory, self._at, 0, 0)
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._process = 0

    def _open(self) -> None:
        self.close()
        self._process = os.getpid()
        self._start = _started_at(self._process)
        try:
            self._descriptor = open_shared(self._store)
            self._memory = mmap.mmap(self._descriptor, _SIZE)
        except (OSError, ValueError):
            pass  # SQLite says best what is wrong with the folder

    def _wait(self) -> None:
        """Wait, and look at the holder from time to time. Raises StoreBusy."""
        watch = _Watch(self, self._seconds)
        if not self._has_timer():
            while _flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                time.sleep(_TICK / 10)
                watch.look()
            return
        signal.setitimer(signal.ITIMER_REAL, _FIRST_LOOK, _TICK)
        try:
            while _flock(self._descriptor, fcntl.LOCK_EX):
                if (number := ctypes.get_errno()) != errno.EINTR:
                    raise StoreBusy(f"store: {self._store}-turn: {os.strerror(number)}")
                watch.look()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def holder(self) -> Holder | None:
        """Whose turn it is; None for nobody's, or nobody's any more."""
        if self._memory is None:
            return None
        found = Holder(*_RECORD.unpack_from(self._memory, self._at))
        return found if found.process > 1 and _started_at(found.process) == found.start else None

    def end(self, holder: Holder) -> bool:
        """Kill a process that is stopped in its turn; False if that is not allowed, or not necessary any more."""
        try:
            handle = os.pidfd_open(holder.process)
        except OSError:
            return False
        try:
            # Behind the handle nobody else can come by this process ID; so all of it is asked again.
            if self.holder() != holder or not holder.is_stopped() or holder.process == self._process:
                return False
            self._note(holder.process, holder.start)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError as error:
            _log.error(
                "a stopped process has the turn to write and cannot be ended", pid=holder.process, error=str(error)
            )
            return False
        finally:
            os.close(handle)
        _log.error("a process was stopped in its turn to write: it is ended, so that others go on", pid=holder.process)
        return True

    def _note(self, process: int, start: int) -> None:
        if self._memory is not None:
            begin = self._at + _ENDED_AT
            end = begin + _ENDED.size * (_MOST_ENDED - 1)
            self._memory[begin + _ENDED.size : end + _ENDED.size] = self._memory[begin:end]
            _ENDED.pack_into(self._memory, begin, process, start)

    def _has_timer(self) -> bool:
        if self._timed_thread != threading.get_ident():  # asking takes longer than most waits
            if not _has_timer():
                return False
            self._timed_thread = threading.get_ident()
        return True


class StateTurn(Turn):
    """The turn to flush: that of a state's file (state.py), on its open file, whose record begins at ``at``. Not across
    fork()."""

    def __init__(self, name: str, descriptor: int, memory: mmap.mmap, at: int) -> None:
        super().__init__(name)
        self._descriptor, self._memory, self._at = descriptor, memory, at
        self._open()

    def close(self) -> None:
        """The file is closed by whoever opened it."""

    def _open(self) -> None:
        self._process = os.getpid()
        self._start = _started_at(self._process)


def ended_in(name: str, at: int = 0) -> list[int]:
    """The IDs of the processes that were killed for their turn, the newest first; at most 16. ``name``: of the file,
    in which the turn's record begins at ``at``."""
    try:
        with open(name, "rb") as file:
            file.seek(at + _ENDED_AT)
            found = file.read(_ENDED.size * _MOST_ENDED)
    except OSError:
        return []
    return [process for process, _ in _ENDED.iter_unpack(found[: len(found) // _ENDED.size * _ENDED.size]) if process]


class _Watch:
    """What somebody who waits sees of the holder."""

    def __init__(self, turn: Turn, seconds: float) -> None:
        self._turn, self._seconds = turn, seconds
        self._until = time.monotonic() + seconds
        self._holder: Holder | None = None
        self._stopped_since = 0.0

    def look(self) -> None:
        """End a holder that was stopped, in one and the same turn, at every look for about a second. Raises StoreBusy
        if the time is over."""
        now, holder = time.monotonic(), self._turn.holder()
        if holder is None or holder != self._holder or not holder.is_stopped():
            self._holder, self._stopped_since = holder, now
        elif now >= self._stopped_since + OVERDUE - _FIRST_LOOK:
            self._holder = None
            if self._turn.end(holder):
                self._until = now + self._seconds
        elif now >= self._until + OVERDUE:
            raise self._busy(holder)
        if now >= self._until and (holder is None or not holder.is_stopped()):
            raise self._busy(holder)

    def _busy(self, holder: Holder | None) -> StoreBusy:
        if holder is None:
            who = "which one is not known"
        else:
            does = _DOES.get(holder.state(), "is still at work")
            who = f"process {holder.process} {does}"
        return StoreBusy(
            f"store: another process holds its write lock: {who}; is a backup, an import or a second server running?"
        )


_DOES = {"D": "waits for the disk", "T": "is stopped", "t": "is stopped"}


def open_shared(store: str) -> int:
    """The descriptor of the file that the processes of a store share, one allocated page beside it. Raises OSError."""
    like = os.stat(store)
    descriptor = os.open(f"{store}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, like.st_mode & 0o666)
    try:
        found = os.fstat(descriptor)
        if found.st_size < _SIZE:
            os.posix_fallocate(descriptor, 0, _SIZE)
        if os.geteuid() == 0 and found.st_uid != like.st_uid:  # as SQLite does with the files it makes
            os.fchown(descriptor, like.st_uid, like.st_gid)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _has_timer() -> bool:
    """Whether SIGALRM can interrupt this wait: it reaches the main thread alone, and only a handler interrupts. The
    handler stays: without one a late signal would end the process."""
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGALRM)
    if handler is signal.SIG_DFL:
        signal.signal(signal.SIGALRM, _interrupt)
        return True
    return handler is _interrupt  # somebody else's alarms are left alone


def _interrupt(_number: int, _frame: object) -> None:
    pass


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty if there is no such process."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(") ")[2].split()
    except OSError:
        return []


def _started_at(process: int) -> int:
    fields = _stat(process)
    return int(fields[19]) if fields else 0
