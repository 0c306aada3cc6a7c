"""The newest seals outside the store: a file with one line of JSON for each seal, so that a tail that was cut off is
missed. It is appended to, and can be made append-only (`chattr +a`), shipped or rotated like a log.

Bounded: two files of about four megabytes each; the older one is given up when the newer is full. Without the marks,
and without anything secret.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from otp_core.seals.seal import MOST_OCTETS as MOST_OF_A_BODY
from otp_core.seals.seal import read_seal
from otp_core.store.trail import SealRow

MOST_OCTETS = 4_000_000
"""Of one of the two files."""

_MOST_OF_A_LINE = 2 * MOST_OF_A_BODY
_BEGINNING = b'{"number":'
"""Of each line, and of the file: even of a line that a killed writer has begun."""


class CopiedSeal(NamedTuple):
    """A seal as the copy has it."""

    number: int
    body: str
    signature: bytes


def line_of(seal: CopiedSeal) -> str:
    """The line of a seal, ASCII without the line end: in the file, and wherever else seals are kept."""
    shape = {"number": seal.number, "body": seal.body, "signature": base64.b64encode(seal.signature).decode()}
    return json.dumps(shape, separators=(",", ":"))


class SealCopy:
    """The copy at one path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._older = path.with_name(f"{path.name}.1")

    def add(self, seal: SealRow) -> None:
        """Append a seal, and flush. Raises OSError."""
        descriptor = self._opened()
        try:
            if os.fstat(descriptor).st_size > MOST_OCTETS:
                try:
                    self.path.replace(self._older)
                except OSError:
                    pass  # append-only: whoever made it so looks after its length
                else:
                    os.close(descriptor)
                    descriptor = self._opened()
            octets = line_of(CopiedSeal(seal.number, seal.body, seal.signature)).encode() + b"\n"
            if os.write(descriptor, octets) != len(octets):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """Open it for appending as ``add`` does, and leave it as it is; one that is not there yet is looked for in its
        folder. Raises OSError, also for a file that holds something else: a key, the store."""
        if not os.path.lexists(self.path):
            if not os.access(self.path.parent, os.W_OK | os.X_OK):
                code = errno.EACCES if self.path.parent.is_dir() else errno.ENOENT
                raise OSError(code, os.strerror(code), str(self.path))
            return
        os.close(self._opened(create=False))

    def seals(self) -> Iterator[CopiedSeal]:
        """All seals that are in it, the oldest first. A line that is none is left out: the writer may have been killed
        in it. Raises OSError; a file that is not there has none."""
        for path in (self._older, self.path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                continue
            with os.fdopen(descriptor, "rb") as file:
                _check_regular(descriptor, path)
                while line := file.readline(_MOST_OF_A_LINE):
                    if (found := _read(line)) is not None:
                        yield found

    def newest(self) -> CopiedSeal | None:
        """The last seal that is in it. Raises OSError."""
        return next(iter(deque(self.seals(), maxlen=1)), None)

    def _opened(self, *, create: bool = True) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self.path, flags | (os.O_CREAT if create else 0), 0o640)
        try:
            _check_regular(descriptor, self.path)
            if not _BEGINNING.startswith(os.pread(descriptor, len(_BEGINNING), 0)):
                raise OSError(
                    errno.EINVAL, "it holds something else than seals: name a file of its own", str(self.path)
                )
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def _check_regular(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def _read(line: bytes) -> CopiedSeal | None:
    try:
        shape = json.loads(line)
        found = CopiedSeal(shape["number"], shape["body"], base64.b64decode(shape["signature"], validate=True))
        return found if read_seal(found.body).number == found.number else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
