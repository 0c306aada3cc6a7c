"""The mark: a small file beside the store that says how far the store had come while it was served. A store that does
not know the mark's row was put back: from a copy, without its log, or from a snapshot.

It lies outside the database, so that a copy of the database does not carry it along. One line of fixed length, written
over in place about every second. It is not flushed: it may be late, and must never be early. Whoever serves holds a
shared lock on it, a restore an exclusive one. It decides nothing: see put_back.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

from otp_core.model import StoreProblem

_HEAD = "sekisho-mark 1"
_OCTETS = 80


class Mark(NamedTuple):
    """``identity``: the store's own random name, in hexadecimal. ``newest_id``: a row of its audit trail that is on
    disk, usually the newest one of a second or two ago; 0: there was none."""

    identity: str
    newest_id: int


class MarkFile:
    """The open file of one store. Made if it is not there; ``fresh`` says so. Raises StoreProblem."""

    def __init__(self, store_file: Path) -> None:
        self.path = mark_path(store_file)
        self.fresh = not self.path.exists()
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if os.geteuid() == 0:  # a command of root's must not lock the server's user out
                owner = (store_file if store_file.exists() else store_file.parent).stat()
                os.fchown(self._descriptor, owner.st_uid, owner.st_gid)
        except OSError as error:
            raise StoreProblem(f"{self.path} cannot be opened for writing: {error.strerror}") from None

    def read(self) -> Mark | None:
        """What it says; None: nothing yet, or it is damaged."""
        return _parsed(os.pread(self._descriptor, _OCTETS + 1, 0))

    def write(self, mark: Mark, *, flush: bool = False) -> None:
        """Say something else. Raises OSError."""
        os.pwrite(self._descriptor, _line(mark), 0)
        if flush:
            os.fsync(self._descriptor)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def hold(self) -> None:
        """For who serves: until ``close``, nobody restores. Raises StoreProblem while a restore is under way."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreProblem("a restore of this store is under way: wait until it has ended") from None

    def hold_alone(self) -> bool:
        """For a restore: until ``close``, nobody serves. False if somebody does now."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self, *, remove: bool = False) -> None:
        """Let go of it. ``remove``: take it away again, because it was made for nothing."""
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)


def beside(store_file: Path | None, name: str, state_dir: Path) -> Path:
    """What the mark and the journal of acts are named after: the store's file; or, for a store that is no file of this
    machine, its name in this folder."""
    if store_file is not None:
        return store_file
    return state_dir.absolute() / re.sub(r"[^\w.-]", "_", f"{name}.postgresql")


def mark_path(store_file: Path) -> Path:
    """Where the mark of a store is."""
    return store_file.with_name(store_file.name + ".mark")


def read_mark(store_file: Path) -> Mark | None:
    """What the mark says, without opening it for writing; None: there is none, or it is damaged. Raises OSError."""
    try:
        with mark_path(store_file).open("rb") as file:
            return _parsed(file.read(_OCTETS + 1))
    except FileNotFoundError:
        return None


def users_of(path: Path) -> list[int]:
    """The processes that hold a lock on a file, as the kernel lists them (/proc/locks); our own is left out."""
    found = set()
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.replace("-> ", "").split()
            if fields[5].rpartition(":")[2] == inode and int(fields[4]) not in (-1, 0, os.getpid()):
                found.add(int(fields[4]))
    return sorted(found)


def _line(mark: Mark) -> bytes:
    text = f"{_HEAD} {mark.identity} {mark.newest_id:019d}"
    return f"{text} {zlib.crc32(text.encode()):08x}".ljust(_OCTETS - 1).encode() + b"\n"


def _parsed(octets: bytes) -> Mark | None:
    text, _, check = octets.decode("ascii", "replace").strip().rpartition(" ")
    if len(octets) != _OCTETS or not text.startswith(_HEAD) or check != f"{zlib.crc32(text.encode()):08x}":
        return None
    identity, newest = text.removeprefix(_HEAD).split()
    return Mark(identity, int(newest))
