"""How far the messages have come: the id of the last audit row that was delivered, in a file beside the store, or in
the store itself where that is no file: another node goes on from there.

The file is replaced as a whole, and flushed before anybody relies on it: after a crash it is the old one or the new
one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from otp_core.model import StoreProblem
from otp_core.regular_file import read_regular
from otp_core.store.queries import read_meta
from otp_core.store.store import Store

_TEXT = re.compile(rb"sekisho syslog 1\n(-?[0-9]{1,19})\n")


class Position(Protocol):
    """The position of one store's trail."""

    def read(self) -> int | None:
        """None: nothing was sent yet. Raises StoreProblem, StoreUnavailable and OSError."""

    def write(self, id_: int) -> None:
        """From now on rows above this id wait. Raises StoreUnavailable and OSError."""


def position_of(store: Store) -> Position:
    """Where the position of this store is kept."""
    return StoredPosition(store) if store.database.file is None else FilePosition(store.database.file)


class StoredPosition:
    """In ``meta``."""

    _NAME = "syslog"

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> int | None:
        """See ``Position``."""
        with self._store.read() as connection:
            value = read_meta(connection, self._NAME)
        return None if value is None else int.from_bytes(value, "big", signed=True)

    def write(self, id_: int) -> None:
        """See ``Position``."""
        with self._store.work_aside() as work:
            work.put_meta(self._NAME, id_.to_bytes(8, "big", signed=True))


class FilePosition:
    """In a file. ``store``: the path of its file."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(f"{store.name}-syslog")

    def read(self) -> int | None:
        """None: nothing was sent yet. Raises StoreProblem for a file that says something else, and OSError."""
        try:
            match = _TEXT.fullmatch(read_regular(self.path, 100))
        except FileNotFoundError:
            return None
        if match is None:
            raise StoreProblem(
                f"{self.path} does not say how far syslog has come: put it back, or remove it to begin with what comes "
                "now"
            )
        return int(match[1])

    def write(self, id_: int) -> None:
        """From now on rows above this id wait. Raises OSError."""
        new = self.path.with_name(f"{self.path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            os.write(descriptor, b"sekisho syslog 1\n%d\n" % id_)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        new.replace(self.path)
