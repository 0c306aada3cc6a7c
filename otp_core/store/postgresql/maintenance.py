"""Tidying between the batches, and whether a login could be written now (``store.engine.Maintenance``)."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psycopg

from otp_core.audit import id_at
from otp_core.store.login_record import AUDIT_COLUMNS, CHALLENGE_COLUMNS, COLUMNS
from otp_core.store.postgresql import partitions
from otp_core.store.postgresql.connection import Connection
from otp_core.store.postgresql.login_batch import RECORDS, TOKEN_KEY
from otp_core.store.postgresql.thread_connection import ThreadConnection

_LOOK_AHEAD_MS, _AGAIN_MS = 6 * 3_600_000, 60_000
_EXPIRE = """
DELETE FROM challenge WHERE state IN
  (SELECT state FROM challenge WHERE expires_at < %s LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""
_EXPIRED = "SELECT 1 FROM challenge WHERE expires_at < %s LIMIT 1"
_PROBE = "INSERT INTO meta (name, value) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_TOUCH_TOKENS = "UPDATE token SET last_at = last_at WHERE key = ANY (%s)"
_TOUCH_CUSTOMERS = "UPDATE customer SET failed_at = failed_at WHERE key = ANY (%s)"
_CHALLENGE = f"INSERT INTO challenge ({CHALLENGE_COLUMNS}) VALUES ('write probe', 0, '', 0, 0, NULL, NULL, NULL)"  # noqa: S608
_AUDIT = f"INSERT INTO audit (node, {AUDIT_COLUMNS}) VALUES ('', %s, 'write probe', '', NULL, NULL, '', '')"  # noqa: S608
_CUSTOMER_KEY = COLUMNS.split(", ").index("c.key")


class PostgresqlMaintenance:
    """On a connection of its own. One thread at a time may use it."""

    def __init__(self, connection: ThreadConnection) -> None:
        self._connection = connection
        self._ahead_at = 0

    def expire_challenges(self, now: int) -> int:
        """See ``store.engine.Maintenance``. At most 1,000 at once; those that another node deletes are left to it."""
        with self._connection.guarded() as connection:
            self._make_ahead(connection, now)
            if connection.execute(_EXPIRED, (now,)).fetchone() is None:
                return 0
            return connection.execute(_EXPIRE, (now,)).rowcount

    def _make_ahead(self, connection: Connection, now: int) -> None:
        """The parts of the trail for the next months: whichever node comes first makes them."""
        if now < self._ahead_at:
            return
        self._ahead_at = now + _LOOK_AHEAD_MS
        try:
            partitions.make_ahead(connection)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.DuplicateTable):
            pass  # `sekisho doctor` says what is missing; or another node has just made them
        except psycopg.errors.LockNotAvailable:
            self._ahead_at = now + _AGAIN_MS

    def count_challenges(self) -> int:
        """See ``store.engine.Maintenance``."""
        with self._connection.guarded() as connection:
            row = connection.execute("SELECT count(*) FROM challenge").fetchone()
        return int(row[0]) if row else 0

    def probe(self, now: int) -> None:
        """See ``store.engine.Maintenance``. And look whether another host has become the primary."""
        self._connection.look()
        with self._connection.committed() as connection:
            connection.execute(_PROBE, ("probe", now.to_bytes(8, "big")))

    def write_probe(self, customers: Iterable[str]) -> None:
        """See ``store.engine.Maintenance``."""
        self._connection.close()
        with self._connection.guarded() as connection:
            names = [name for name in customers if "\0" not in name]
            connection.execute("BEGIN")
            rows = connection.execute(RECORDS, (names,)).fetchall()
            connection.execute(_TOUCH_CUSTOMERS, ([row[_CUSTOMER_KEY] for row in rows],))
            connection.execute(_TOUCH_TOKENS, ([row[TOKEN_KEY] for row in rows if row[-1] is not None],))
            connection.execute(_CHALLENGE)
            connection.execute(_AUDIT, (id_at(int(time.time() * 1000)),))
            connection.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
