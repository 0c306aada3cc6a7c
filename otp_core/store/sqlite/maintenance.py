"""Tidying between the batches, and whether a login could be written now (``store.engine.Maintenance``)."""

from __future__ import annotations

from collections.abc import Iterable

from otp_core.model import OpenChallenge
from otp_core.store.sqlite.connection import SharedCommits
from otp_core.store.sqlite.login_batch import CREATE_CHALLENGE, INSERT_AUDIT, load

_PROBE = "INSERT INTO meta (name, value) VALUES ('probe', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_TOUCH_TOKEN = "UPDATE token SET last_at = last_at WHERE key = ?"
_TOUCH_CUSTOMER = "UPDATE customer SET failed_at = failed_at WHERE key = ?"
_LAST_ID = 2**63 - 1
"""Never given to an audit row that stays."""
_EXPIRED = "SELECT 1 FROM challenge WHERE expires_at < ? LIMIT 1"
_EXPIRE = "DELETE FROM challenge WHERE state IN (SELECT state FROM challenge WHERE expires_at < ? LIMIT 1000)"
_WRITE_PROBE = b"write probe"


class SqliteMaintenance:
    """On a connection of its own. One thread at a time may use it."""

    def __init__(self, connection: SharedCommits) -> None:
        self._connection = connection

    def expire_challenges(self, now: int) -> int:
        """See ``store.engine.Maintenance``. At most 1,000 at once."""
        with self._connection.guarded() as connection:
            # Looked for before the write lock is taken: usually there is nothing to delete.
            if connection.execute(_EXPIRED, (now,)).fetchone() is None:
                return 0
            with self._connection.turn():
                connection.execute("BEGIN IMMEDIATE")
                expired = connection.execute(_EXPIRE, (now,)).rowcount
                connection.execute("COMMIT")  # what a crash takes back expires again
                self._connection.committed(0)
                return expired

    def count_challenges(self) -> int:
        """See ``store.engine.Maintenance``."""
        with self._connection.guarded() as connection:
            count: int = connection.execute("SELECT count(*) FROM challenge").fetchone()[0]
            return count

    def probe(self, now: int) -> None:
        """See ``store.engine.Maintenance``."""
        with self._connection.guarded() as connection:
            with self._connection.turn():
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_PROBE, (now.to_bytes(8, "big"),))
                connection.execute("COMMIT")
                self._connection.committed(0)
            self._connection.flush()

    def write_probe(self, customers: Iterable[str]) -> None:
        """See ``store.engine.Maintenance``."""
        self._connection.close()  # pages that this connection has cached would hide what became of the file
        with self._connection.guarded() as connection, self._connection.turn():
            # For want of room in memory, changed pages go to the log before there is a commit: a full disk is noticed,
            # and nothing of a store that may be damaged is committed.
            connection.execute("PRAGMA cache_size=1")
            connection.execute("BEGIN IMMEDIATE")
            known = load(connection, customers, [_WRITE_PROBE]).records.values()
            connection.executemany(_TOUCH_TOKEN, [(token.key,) for one in known for token in one.tokens])
            connection.executemany(_TOUCH_CUSTOMER, [(one.customer_key,) for one in known])
            connection.execute(CREATE_CHALLENGE, OpenChallenge(_WRITE_PROBE, 0, "", 0, 0, None))
            connection.execute(INSERT_AUDIT, (_LAST_ID, "write probe", "", None, None, "", ""))
            connection.execute("ROLLBACK")
        self._connection.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
