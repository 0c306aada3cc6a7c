"""Takes away what nobody decides by (``store.engine.ShortWrites``): each statement commits by itself, and waits for no
turn of the desk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import psycopg
from sqlalchemy import Connection, text

from otp_core.store.postgresql import partitions
from otp_core.store.postgresql.errors import unavailable


class PostgresqlShortWrites:
    """``read``: opens a connection, which commits each statement."""

    most = 2000

    def __init__(self, read: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._read = read

    def run(self, statement: str, values: Mapping[str, object]) -> int:
        """See ``store.engine.ShortWrites``."""
        with self._read() as connection:
            return connection.execute(text(statement), values).rowcount

    def drop_partitions(self, until: int) -> int:
        """See ``store.engine.ShortWrites``. 0 too where the tables are another role's: rows are deleted then."""
        try:
            with self._read() as connection:
                raw: Any = connection.connection.driver_connection
                return partitions.drop_until(raw, until)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
            return 0
        except psycopg.Error as error:
            raise unavailable(error) from error

    def flush(self) -> None:
        """See ``store.engine.ShortWrites``. Each commit was."""

    def close(self) -> None:
        """See ``store.engine.ShortWrites``."""
