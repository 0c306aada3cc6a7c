"""Looks up the key of each request of the API, without a lock, on a connection that stays open: to open one takes
longer than a login.
"""

from __future__ import annotations

from otp_core.store.api_keys import ApiKeyRecord
from otp_core.store.sqlite.connection import DriverConnection

_KEY = "SELECT key, name, scopes, networks FROM api_key WHERE digest = ?"


class SqliteKeyReader:
    """On a connection of its own. One thread at a time may use it."""

    def __init__(self, connection: DriverConnection) -> None:
        self._connection = connection

    def api_key_of(self, digest: bytes) -> ApiKeyRecord | None:
        """The key with this digest as of now; None: there is none, or none any more. Raises StoreUnavailable."""
        with self._connection.guarded() as connection:
            row = connection.execute(_KEY, (digest,)).fetchone()
        return None if row is None else ApiKeyRecord.of_row(*row)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
