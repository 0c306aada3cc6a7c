"""Flushes of the write-ahead log, one after another, and what they found. The rules are those of state.py.

*A flush that succeeded is not believed before the log was used again* (``_use``), because ext4 tells some that failed
that they succeeded. A flush waits for a commit of the file system's journal; when that commit has failed already, for
somebody else who waited, there is nothing left to wait for. (1) The disk is taken away, or the file system shut down:
6 of 100 trials of Linux 6.18. From then on nothing can be read. (2) The journal cannot be written, while other programs
flush files of the same file system: 11 of 100. The next change of any file finds the journal given up and makes the
file system read-only; so the one behind it fails. What is changed are the times of the state's file: a change of the
log's own makes its next flush half as long again (200 instead of 130 µs).

*What the log looks like* is compared behind each flush, too: a log that somebody has cut or written over keeps its name
and inode, SQLite goes on behind the hole, and the next start would read up to there only. As long as its header is the
same, it does not become shorter, and the frame that was its last one is still there. Another header means that SQLite
began the log anew. (https://sqlite.org/fileformat2.html, section 4.1)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from otp_core.model import StoreStopped
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.state import Identity, Stop, StoreState

_HEADER, _FRAME_HEADER = 32, 24
_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")


class Log:
    """The open log. Whoever makes one closes it."""

    def __init__(self, name: str) -> None:
        """Raises OSError."""
        self.name = name
        self.descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        self.opened_ns = time.monotonic_ns()
        found = os.fstat(self.descriptor)
        self.identity: Identity = (found.st_dev, found.st_ino)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    def flush(self, state: StoreState, number: int) -> None:
        """Have the commit with this number on the disk, and all before it. Raises StoreStopped."""
        with state.exclusive():
            if state.left_behind is not None:
                settle(state, self)
            state.raise_if_stopped()
            if not state.is_flushed(number):
                with state.flushing():
                    self.flush_now(state)
                    self.look(state)

    def flush_now(self, state: StoreState) -> None:
        """Inside ``StoreState.exclusive``. Raises StoreStopped."""
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            state.stop(Stop.FLUSH_FAILED, f"its log cannot be flushed: {error.strerror}; check the disk")
            state.raise_if_stopped()

    def look(self, state: StoreState) -> None:
        """Behind a flush, inside ``StoreState.exclusive``. Raises StoreStopped if a part of the log is lost, or if it
        cannot be used."""
        header = _use(self.descriptor, state)
        size = os.fstat(self.descriptor).st_size
        known, known_size = state.log_seen
        if size == 0:  # a checkpoint of another program has emptied it
            state.see_log(bytes(_HEADER), 0)
            return
        if header[:4] not in _MAGIC or (header == known and not self._is_whole(header, size, known_size)):
            state.stop(Stop.FILES_LOST, f"{self.name} was cut or written over while the server ran")
            state.raise_if_stopped()
        state.see_log(header, size)

    def _is_whole(self, header: bytes, size: int, known_size: int) -> bool:
        frame = _FRAME_HEADER + int.from_bytes(header[8:12], "big")
        last = _HEADER + ((known_size - _HEADER) // frame - 1) * frame
        if size < known_size or last < _HEADER:
            return size >= known_size
        return any(os.pread(self.descriptor, _FRAME_HEADER, last))


def use_again(name: str, state: StoreState) -> None:
    """For a process that has not opened the log itself: use it behind a flush. Inside ``StoreState.exclusive``. Raises
    StoreStopped."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # a store in another mode; a log that was deleted is noticed by files.py
    except OSError as error:
        raise _not_believed(state, error) from error
    try:
        _use(descriptor, state)
    finally:
        os.close(descriptor)


def _use(descriptor: int, state: StoreState) -> bytes:
    """The log's header, behind a flush and two changes of a file. Raises StoreStopped if that fails."""
    try:
        state.touch()
        state.touch()
        return os.pread(descriptor, _HEADER, 0)
    except OSError as error:
        raise _not_believed(state, error) from error


def _not_believed(state: StoreState, error: OSError) -> StoreStopped:
    state.stop(Stop.FLUSH_FAILED, f"its log cannot be used behind a flush: {error.strerror}; check the disk")
    return state.as_error()


def settle(state: StoreState, log: Log | None) -> None:
    """Find out what became of a flush whose process was killed. Linux tells each descriptor that was open before of a
    failure, once; this process's (``log``) may be younger, and then nobody can know. Inside ``StoreState.exclusive``.
    Raises StoreStopped."""
    left = state.left_behind
    if left is None:
        return
    process, since = left
    if log is not None and log.opened_ns < since:
        log.flush_now(state)
    else:
        text = f"process {process} ended while it flushed the log, and how that ended is not known"
        state.stop(Stop.FLUSH_FAILED, text)
    state.forget_flush()


@contextmanager
def committing(
    state: StoreState, log: str, connection: driver.Connection, audit_id: Callable[[], int]
) -> Iterator[None]:
    """Around a COMMIT that flushes by itself, of a process that has not opened the ``log`` (its name); nobody goes on
    if that flush fails. ``audit_id``: gives that of an audit row of the transaction, or 0. Raises StoreStopped."""
    with state.exclusive():
        settle(state, None)
        state.raise_if_stopped()
        with state.flushing():
            try:
                yield
            except Exception as error:
                _stop_if_not_flushed(state, error, connection)
                raise
            use_again(log, state)
            if number := audit_id():
                state.flushed_too(number)


class Numbered:
    """A COMMIT that does not flush, of a connection that no other transaction has used. ``number``: of the commit that
    has to be flushed before anybody is told what the transaction has done or seen; known behind it."""

    def __init__(self, state: StoreState, audit_id: Callable[[], int] = lambda: 0) -> None:
        """``audit_id``: as for ``committing``."""
        self._state, self._audit_id = state, audit_id
        self.number = 0

    @contextmanager
    def committing(self, connection: driver.Connection) -> Iterator[None]:
        """Around the COMMIT, in the writers' turn. Raises StoreStopped: the beginning of a new log, and what a
        checkpoint writes, are flushed within."""
        try:
            yield
        except Exception as error:
            _stop_if_not_flushed(self._state, error, connection)
            raise
        self.number = self._state.committed(self._audit_id()) if connection.total_changes else self._state.commits


def _stop_if_not_flushed(state: StoreState, error: Exception, connection: driver.Connection) -> None:
    cause = getattr(error, "orig", error)
    if isinstance(cause, driver.Error) and driver.is_failed_flush(connection, cause):
        stop(state, cause)


def stop(state: StoreState, error: driver.Error) -> None:
    """SQLite could not flush a file: everybody has to stop. Raises StoreStopped."""
    state.stop(Stop.FLUSH_FAILED, f"one of its files cannot be flushed ({error}); check the disk")
    state.raise_if_stopped()
