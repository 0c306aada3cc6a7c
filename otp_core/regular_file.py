"""Reads a file that somebody named: a regular one, and no more of it than it may hold. Others are endless (devices), or
keep whoever opens them waiting (pipes)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """The open file, for reading. Raises OSError, whose ``strerror`` says it for pipes and devices, too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # so a pipe without a writer is opened
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        if stat.S_ISDIR(kind):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most: int) -> bytes:
    """All of it, ``most`` octets or fewer. Raises OSError, whose ``strerror`` says it for pipes, devices and files that
    are too long, too."""
    with open_regular(path) as file:
        octets = file.read(most + 1)
    if len(octets) > most:
        raise OSError(errno.EFBIG, f"it is longer than {most:,} octets", str(path))
    return octets
