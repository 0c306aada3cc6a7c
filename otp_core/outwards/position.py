"""How far the messages of one outlet have come: the id of the last audit row that was delivered, in a file beside the
store, or in the store itself where that is no file: another node goes on from there.

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


class Position(Protocol):
    """The position of one outlet in one store's trail."""

    def read(self) -> int | None:
        """None: nothing was sent yet. Raises StoreProblem, StoreUnavailable and OSError."""

    def write(self, id_: int) -> None:
        """From now on rows above this id wait. Raises StoreUnavailable and OSError."""


def position_of(store: Store, outlet: str) -> Position:
    """Where the position of this store is kept. ``outlet``: who takes it, ``syslog`` or ``webhook-NAME``."""
    file = store.database.file
    return StoredPosition(store, outlet) if file is None else FilePosition(file, outlet)


class StoredPosition:
    """In ``meta``, under the outlet's name."""

    def __init__(self, store: Store, outlet: str) -> None:
        self._store, self._outlet = store, outlet

    def read(self) -> int | None:
        """See ``Position``."""
        with self._store.read() as connection:
            value = read_meta(connection, self._outlet)
        return None if value is None else int.from_bytes(value, "big", signed=True)

    def write(self, id_: int) -> None:
        """See ``Position``."""
        with self._store.work_aside() as work:
            work.put_meta(self._outlet, encode(id_))


class FilePosition:
    """In a file, whose name ends with the outlet's. ``store``: the path of the store's file."""

    def __init__(self, store: Path, outlet: str) -> None:
        self.path, self._outlet = store.with_name(f"{store.name}-{outlet}"), outlet

    def read(self) -> int | None:
        """None: nothing was sent yet. Raises StoreProblem for a file that says something else, and OSError."""
        try:
            found = read_regular(self.path, 200)
        except FileNotFoundError:
            return None
        match = re.fullmatch(rb"sekisho %b 1\n(-?[0-9]{1,19})\n" % re.escape(self._outlet.encode()), found)
        if match is None:
            raise StoreProblem(
                f"{self.path} does not say how far {self._outlet} has come: put it back, or remove it to begin with "
                "what comes now"
            )
        return int(match[1])

    def write(self, id_: int) -> None:
        """From now on rows above this id wait. Raises OSError."""
        new = self.path.with_name(f"{self.path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            os.write(descriptor, f"sekisho {self._outlet} 1\n{id_}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        new.replace(self.path)


def encode(id_: int) -> bytes:
    """A position as ``meta`` holds it."""
    return id_.to_bytes(8, "big", signed=True)
