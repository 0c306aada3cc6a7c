"""The login batch in the driver's own words: load, apply, commit; the only statements not written in SQLAlchemy.

Three or four statements serve a whole batch. It decides nothing: judge.py does, between ``load`` and ``apply``, and
before the write lock is taken. So every statement that applies a ruling holds for the rows that it was judged by.
For each customer, batches of two processes come out as if one had been first, but for one thing: a wrong code that is
counted while a right one is on its way may stay counted until the next right one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable

from otp_core.judge import Facts, Ruling
from otp_core.model import OpenChallenge, Standing
from otp_core.store.driver import DriverConnection, SharedCommits

_STANDINGS = """
SELECT c.contract_id, c.key, c.otp_use, c.locked_at, c.failures, c.failed_at, c.failed_mark, c.language, c.attributes,
       t.key, t.token_id, t.seed, t.kind, t.algorithm, t.digits, t.period,
       ifnull(t.last_step, -1), ifnull(t.drift, 0), ifnull(t.last_mark, 0), ifnull(t.last_at, 0)
  FROM json_each(?) AS asked
  JOIN customer AS c ON c.contract_id = asked.value
  LEFT JOIN token AS t ON t.key = c.token_key AND (t.state = 'bound' OR c.otp_use <> 'active')
"""
_CHALLENGE = """
SELECT state, customer_key, client, expires_at, tries_left, password_mark FROM challenge WHERE state = ?
"""
_PASSWORD = "SELECT password_hash FROM profile WHERE customer_key = ?"
_CHANGED = "SELECT value FROM meta WHERE name = ?"
_SPEND = """
UPDATE token SET last_step = ?1, drift = ?2, last_mark = ?3, last_at = ?4
 WHERE key = ?5 AND state = 'bound' AND last_step = ?6 AND last_step < ?1
"""
_REPEAT = "UPDATE token SET last_at = last_at WHERE key = ? AND last_mark = ?"
_COUNT = """
UPDATE customer SET failures = ?, failed_at = ?, failed_mark = ?, locked_at = ?
 WHERE key = ? AND failures = ? AND failed_at = ?
"""
_OPEN = "INSERT INTO challenge VALUES (?, ?, ?, ?, ?, ?)"
_CROWD_OUT = """
DELETE FROM challenge WHERE customer_key = ? AND state NOT IN
  (SELECT state FROM challenge WHERE customer_key = ? ORDER BY expires_at DESC LIMIT 5)
"""
# One customer's open challenges: the newest five, so that nobody fills everybody's places.
_TAKE = "DELETE FROM challenge WHERE state = ?"
_RECORD = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)"
_NOTICE = """
INSERT INTO outbox (key, customer_key, event, token_id, email, language)
SELECT ?, c.key, ?, ?, p.email, c.language FROM customer AS c JOIN profile AS p ON p.customer_key = c.key
 WHERE c.contract_id = ? AND p.email IS NOT NULL
"""
_PROBE = "INSERT INTO meta VALUES ('probe', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_TOUCH_TOKEN = "UPDATE token SET last_at = last_at WHERE key = ?"
_TOUCH_CUSTOMER = "UPDATE customer SET failed_at = failed_at WHERE key = ?"
_LAST_ID = 2**63 - 1
"""Never given to an audit row that stays."""
_EXPIRED = "SELECT 1 FROM challenge WHERE expires_at < ? LIMIT 1"
_EXPIRE = "DELETE FROM challenge WHERE state IN (SELECT state FROM challenge WHERE expires_at < ? LIMIT 1000)"


CHANGED = "changed"
"""The name in ``meta`` of what is new after every change by anybody but a ledger (``Store.work``)."""


class LedgerConflict(Exception):
    """What was ruled does not hold for what the store says, though nobody else could write meanwhile."""


class SqliteLedger:
    """The login batches of one process, on a connection of their own."""

    def __init__(self, connection: SharedCommits, *, notices: bool = False) -> None:
        self._connection, self._notices = connection, notices

    def rule(self, customers: Collection[str], states: Collection[bytes], judge: Callable[[Facts], Ruling]) -> Ruling:
        """Load what is known, let ``judge`` rule, make it durable in one transaction; only then may anybody hear.
        ``judge`` is asked a second time, holding the write lock, if what it ruled by was changed meanwhile.
        Raises StoreUnavailable or LedgerConflict, and then nothing was written."""
        with self._connection.guarded() as connection:
            connection.execute("BEGIN")
            changed, facts = _changed(connection), _load(connection, customers, states)
            connection.execute("COMMIT")
            ruling = judge(facts)
            with self._connection.turn():
                connection.execute("BEGIN IMMEDIATE")
                if _changed(connection) != changed or not _apply(connection, ruling):
                    connection.execute("ROLLBACK")
                    connection.execute("BEGIN IMMEDIATE")
                    ruling = judge(_load(connection, customers, states))
                    if not _apply(connection, ruling):
                        raise LedgerConflict("a ruling that does not hold for what it was judged by")
                if ruling.locked and self._notices:
                    connection.executemany(
                        _NOTICE, [(row.id, row.event, row.token, row.customer) for row in ruling.locked]
                    )
                connection.execute("COMMIT")
            self._connection.flush()
            return ruling

    def close(self) -> None:
        self._connection.close()


class Enquiries:
    """What is asked and tidied between the batches, on another connection."""

    def __init__(self, connection: DriverConnection) -> None:
        self._connection = connection

    def credentials(self, contract_id: str) -> tuple[Standing, str | None] | None:
        """One customer as of now with their password hash, without a lock: what must be known before a first factor
        that may be slow. None for an unknown customer."""
        with self._connection.guarded() as connection:
            row = connection.execute(_STANDINGS, (json.dumps([contract_id]),)).fetchone()
            if row is None or row[0] != contract_id:  # SQLite's JSON ends a name at a NUL
                return None
            standing = Standing(*row)
            hash_ = connection.execute(_PASSWORD, (standing.customer_key,)).fetchone()
            return standing, hash_[0] if hash_ else None

    def expire(self, now: int) -> int:
        """Forget some of the challenges that nobody answered in time; how many."""
        with self._connection.guarded() as connection:
            # Looked at before the write lock is taken: mostly there is nothing to do.
            if connection.execute(_EXPIRED, (now,)).fetchone() is None:
                return 0
            return connection.execute(_EXPIRE, (now,)).rowcount

    def open_challenges(self) -> int:
        """How many challenges are open, the expired ones not yet forgotten included."""
        with self._connection.guarded() as connection:
            count: int = connection.execute("SELECT count(*) FROM challenge").fetchone()[0]
            return count

    def probe(self, now: int) -> None:
        """Write something and wait for the disk."""
        with self._connection.guarded() as connection:
            connection.execute(_PROBE, (now.to_bytes(8, "big"),))

    def rehearse(self, customers: Iterable[str]) -> None:
        """What a batch of these customers reads and writes, and then all of it taken back. Raises StoreUnavailable."""
        self._connection.close()  # pages that this connection has read before would hide what became of the file
        with self._connection.guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            known = _load(connection, customers, [b"rehearsal"]).standings.values()
            connection.executemany(_TOUCH_TOKEN, [(one.token_key,) for one in known])
            connection.executemany(_TOUCH_CUSTOMER, [(one.customer_key,) for one in known])
            connection.execute(_OPEN, (b"rehearsal", 0, "", 0, 0, None))
            connection.execute(_RECORD, (_LAST_ID, "rehearsal", "", None, None, "", ""))
            connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


def _changed(connection: sqlite3.Connection) -> object:
    """Another value after every change by the desk."""
    return connection.execute(_CHANGED, (CHANGED,)).fetchone()


def _load(connection: sqlite3.Connection, customers: Iterable[str], states: Iterable[bytes]) -> Facts:
    rows = connection.execute(_STANDINGS, (json.dumps(list(customers)),))
    challenges = {}
    for state in states:
        row = connection.execute(_CHALLENGE, (state,)).fetchone()
        if row:
            challenges[state] = OpenChallenge(*row)
    return Facts({row[0]: Standing(*row) for row in rows}, challenges)


def _apply(connection: sqlite3.Connection, ruling: Ruling) -> bool:
    """False, with some of it written, if a row is no longer what it was judged by: another ledger was faster."""
    conditional = (
        (_TAKE, [(state,) for state in ruling.taken]),
        (_REPEAT, ruling.repeated),
        (_SPEND, ruling.spent),
        (_COUNT, list(ruling.counted.values())),
    )
    for statement, rows in conditional:
        if rows and connection.executemany(statement, rows).rowcount != len(rows):
            return False
    if ruling.opened:
        connection.executemany(_OPEN, ruling.opened)
        connection.executemany(_CROWD_OUT, [(one.customer_key, one.customer_key) for one in ruling.opened])
    connection.executemany(_RECORD, ruling.audit)
    return True
