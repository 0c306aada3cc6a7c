"""One connection in the driver's own words, for the statements of a login. It is opened when it is first used, and
again after trouble; every error of the database comes out as StoreUnavailable, with no transaction left open.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from otp_core.model import StoreUnavailable
from otp_core.store.engine import unavailable


class DriverConnection:
    """A sqlite3 connection that begins and ends its transactions itself. One thread at a time may use it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file = engine.url.database or ""
        self._inode: int | None = None
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def guarded(self) -> Iterator[sqlite3.Connection]:
        """The connection. Whatever is raised inside, an open transaction is rolled back. Raises StoreUnavailable."""
        try:
            yield self._opened()
        except sqlite3.Error as error:
            self._roll_back()
            if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF != sqlite3.SQLITE_BUSY:
                self.close()  # anything worse than a lock: begin afresh
            raise unavailable(error) from error
        except BaseException:
            self._roll_back()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        there = _inode(self._file)
        if self._inode is not None and there not in (None, self._inode):
            # SQLite would play the old file's write-ahead log over the new one.
            self.close()
            raise StoreUnavailable(
                f"store: {self._file} was replaced while the server runs; stop the server, remove {self._file}-wal and "
                f"{self._file}-shm if they are the old one's, and start it again"
            )
        if there is None:
            self.close()  # what is written into a deleted file would be lost
        if self._connection is None:
            connection = self._engine.raw_connection()
            driver = connection.driver_connection
            connection.detach()
            assert isinstance(driver, sqlite3.Connection)
            driver.isolation_level = None
            self._connection = driver
            self._inode = there
        return self._connection

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()


def _inode(file: str) -> int | None:
    try:
        return os.stat(file).st_ino
    except OSError:
        return None
