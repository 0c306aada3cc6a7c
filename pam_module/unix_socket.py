"""A listening Unix socket that has its mode before anybody can connect, and belongs to one process at a time.

A lock file beside it (flock) says whose it is; the kernel releases the lock when the process ends. So a socket whose
lock is free is stale and may be replaced, and of several workers one serves and another takes over when that one ends.
A socket at which a process answers is never removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from pathlib import Path

BACKLOG = 256


class SocketTaken(OSError):
    """Another process serves there. The text says what to look for."""


class UnixListener:
    """A listening socket at a path."""

    def __init__(self, path: Path, *, mode: int) -> None:
        """``mode``: the socket's permission bits. Raises SocketTaken, or another OSError with the path in it."""
        self.path = path
        self._lock = _lock(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._inode = self._bind(mode)
        except OSError:
            self.socket.close()
            os.close(self._lock)
            raise

    def _bind(self, mode: int) -> int:
        """Bind under another name and rename when the mode is set: nobody can connect before. Returns the inode."""
        if _answers(self.path):
            raise SocketTaken(
                errno.EADDRINUSE, "another program answers there: end it, or choose another socket", str(self.path)
            )
        making = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            making.unlink()
        try:
            self.socket.bind(str(making))
            os.chmod(making, mode)
            self.socket.listen(BACKLOG)
            self.socket.setblocking(False)
            inode = making.stat().st_ino
            making.rename(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                making.unlink()
            raise OSError(error.errno, f"cannot listen: {error.strerror or error}", str(self.path)) from None
        return inode

    def close(self) -> None:
        """Close and remove the socket, unless another one is in its place by now."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        os.close(self._lock)


def _lock(path: Path) -> int:
    """Take the lock, and return its file descriptor. The file is never removed: another process may have it open, and
    two processes could then hold locks on two files of one name."""
    try:
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot listen: {error.strerror}; is the folder there, and this user's?", str(path)
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SocketTaken(
            errno.EADDRINUSE, "another Sekisho serves there: end it, or choose another socket", str(path)
        ) from None
    return lock


def _answers(path: Path) -> bool:
    """Whether a process listens there. Raises OSError if something else than a socket is there."""
    if not path.is_socket():
        if path.exists() or path.is_symlink():
            raise OSError(errno.EEXIST, "is there, and is no socket: remove it, or choose another name", str(path))
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # the backlog is full: a process listens
            return True
    return True
