"""Failures by keyed digest, shared by all processes that serve one store: a table of fixed size in a file beside it.

Not a table of the store, because every password would then cost two flushes of the disk, and every login batch would be
decided again. Read and written by pread and pwrite, not mapped: a file that is cut short, or a disk that is full, is an
error that is caught here, and no signal. It knows no names: its keys are digests, and it tells no secret.
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

_log = structlog.get_logger("throttle")
_SLOT = struct.Struct("=qdd")
_FREE = _SLOT.pack(0, 0.0, 0.0)
_HEADER = 64
_MAGIC = b"sekisho failures 1\n"
_WAYS = 8
_LOCK = fcntl.LOCK_EX | fcntl.LOCK_NB
_LOCK_TRIES, _LOCK_PAUSE = 100, 0.0005


class Failures(NamedTuple):
    """``number``: in a row (parts of one fade away). ``free_at``: when the delay after the last one ends, in seconds of
    time.monotonic(), which all processes of a machine have in common."""

    number: float
    free_at: float


NONE = Failures(0.0, 0.0)


class FailureTable:
    """At most ``most`` digests (64 bits, not 0); a new one takes the place of one whose delay ended longest ago.

    ``path``: the file, made with mode 0600 and begun anew after each boot; None, or one that cannot be used: memory
    that is shared with processes that are forked later."""

    def __init__(self, most: int, path: Path | None = None) -> None:
        self._ways = min(_WAYS, most)
        self._buckets = -(-most // self._ways)
        self._bucket = struct.Struct("=" + self._ways * _SLOT.format.removeprefix("="))
        self._octets = self._bucket.size
        self._memory = os.memfd_create("sekisho failures")
        self._descriptor = self._memory
        if path is not None:
            try:
                self._descriptor = self._open(path)
            except OSError as error:
                self._do_without_file(error, path)
        self._path = path

    def recent(self, digest: int) -> Failures:
        """What is counted for a digest; NONE for nothing."""
        try:
            return self._find(self._read(digest), digest)[1]
        except OSError as error:
            return self._again(error, lambda: self.recent(digest))

    def change(self, digest: int, change: Callable[[Failures], Failures]) -> Failures:
        """Replace what is counted for a digest, before any other process does; NONE takes it out. What it is now."""
        at = self._at(digest)
        try:
            locked = self._lock(at)
            try:
                place, found = self._find(self._read(digest), digest)
                new = change(found)
                if new is not found and new != found:
                    octets = _FREE if new == NONE else _SLOT.pack(digest, new.number, new.free_at)
                    os.pwrite(self._descriptor, octets, at + place * _SLOT.size)
                return new
            finally:
                self._unlock(at, locked)
        except OSError as error:
            return self._again(error, lambda: self.change(digest, change))

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor != self._memory:
            os.close(self._descriptor)
        os.close(self._memory)

    def copy(self, path: Path) -> None:
        """Take over what a table of the same size has in its file ``path``, which is only read. Nothing, if there is
        no such file, or it is of another boot. For a table in memory."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        with os.fdopen(descriptor, "rb") as file:
            octets = file.read(_HEADER + self._buckets * self._octets)
        if octets[:_HEADER] == self._header():
            os.pwrite(self._descriptor, octets, 0)

    def _at(self, digest: int) -> int:
        return _HEADER + digest % self._buckets * self._octets

    def _read(self, digest: int) -> bytes:
        octets = os.pread(self._descriptor, self._octets, self._at(digest))
        return octets if len(octets) == self._octets else octets.ljust(self._octets, b"\0")

    def _find(self, bucket: bytes, digest: int) -> tuple[int, Failures]:
        """The place of a digest and what is counted for it; or the place that it may take, and NONE."""
        told = self._bucket.unpack(bucket)
        oldest, oldest_at = 0, math.inf
        for place in range(self._ways):
            key: int = told[3 * place]
            if key == digest:
                return place, Failures(told[3 * place + 1], told[3 * place + 2])
            ended: float = told[3 * place + 2] if key else -math.inf
            if ended < oldest_at:
                oldest, oldest_at = place, ended
        return oldest, NONE

    def _lock(self, at: int) -> bool:
        """One process at a time changes a bucket. One that is stopped while it does holds nobody up: after 50 ms the
        others go on, and a failure more or less is counted. Then False."""
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.lockf(self._descriptor, _LOCK, self._octets, at)
            except (BlockingIOError, PermissionError):
                time.sleep(_LOCK_PAUSE)
            else:
                return True
        return False

    def _unlock(self, at: int, locked: bool) -> None:
        if locked:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, self._octets, at)

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            header = self._header()
            if os.pread(descriptor, _HEADER, 0) != header:
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, _HEADER + self._buckets * self._octets)
                os.pwrite(descriptor, header, 0)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _header(self) -> bytes:
        return boot_header(_MAGIC + struct.pack("=II", self._buckets, self._ways), _HEADER)

    def _again(self, error: OSError, act: Callable[[], Failures]) -> Failures:
        if self._descriptor == self._memory:
            raise error
        os.close(self._descriptor)
        self._do_without_file(error, self._path)
        return act()

    def _do_without_file(self, error: OSError, path: Path | None) -> None:
        self._descriptor = self._memory
        _log.error(
            "wrong passwords are not counted together with other units: the file cannot be used",
            file=str(path),
            cause=error.strerror,
        )


def boot_header(begins: bytes, size: int) -> bytes:
    """The first octets of a file whose times mean nothing after a boot: ``begins``, then the boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()
    except OSError:
        boot = b""
    return (begins + boot)[:size].ljust(size, b"\0")
