"""A Unix socket with the right mode from its first moment, that belongs to one process at a time.

A lock beside it says whose it is, and dies with its process: so a socket whose lock is free is a stale one, and of
several workers one serves and another takes over when that one ends. It never removes a socket that somebody
answers at.
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
    """Somebody else serves there. The text says what to look for."""


class UnixListener:
    """A listening socket at a path. Raises Taken, or OSError with the path in it."""

    def __init__(self, path: Path, *, mode: int) -> None:
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
        """Bound under another name, and moved to its own when it is ready: nobody can connect in between."""
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
        """Leave no socket behind, unless it is somebody else's by now."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        os.close(self._lock)


def _lock(path: Path) -> int:
    """The lock's file stays when the process ends: it would be another one's if it were removed."""
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
        except BlockingIOError:  # a backlog that is full: somebody is there
            return True
    return True
