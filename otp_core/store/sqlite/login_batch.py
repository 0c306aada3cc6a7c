"""The login batch in the driver's own words: load, apply, commit; the only statements not written in SQLAlchemy.

Three or four statements serve a whole batch. It decides nothing: judge.py does, between ``load`` and ``apply``, and
before the write lock is taken. So every statement that applies a decision holds for the rows that it was evaluated by.
For each customer, batches of two processes come out as if one had been first, but for one thing: a wrong code that is
counted while a right one is on its way may stay counted until the next right one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable

from otp_core.login.requests import Decision, Facts
from otp_core.model import LoginRecord, OpenChallenge
from otp_core.store.sqlite.connection import DriverConnection, SharedCommits

_LOGIN_RECORDS = """
SELECT c.contract_id, c.key, c.otp_use, c.locked_at, c.failures, c.failed_at, c.failed_fingerprint,
       c.language, c.attributes,
       t.key, t.token_id, t.seed, t.kind, t.algorithm, t.digits, t.period,
       ifnull(t.last_step, -1), ifnull(t.drift, 0), ifnull(t.last_fingerprint, 0), ifnull(t.last_at, 0)
  FROM json_each(?) AS asked
  JOIN customer AS c ON c.contract_id = asked.value
  LEFT JOIN token AS t ON t.key = c.token_key AND (t.state = 'bound' OR c.otp_use <> 'active')
"""
_CHALLENGE = """
SELECT state, customer_key, client, expires_at, tries_left, password_fingerprint FROM challenge WHERE state = ?
"""
_PASSWORD = "SELECT password_hash FROM profile WHERE customer_key = ?"
_CHANGED = "SELECT value FROM meta WHERE name = ?"
_SPEND = """
UPDATE token SET last_step = ?1, drift = ?2, last_fingerprint = ?3, last_at = ?4
 WHERE key = ?5 AND state = 'bound' AND last_step = ?6 AND last_step < ?1
"""
_REPEAT = "UPDATE token SET last_at = last_at WHERE key = ? AND last_fingerprint = ?"
_COUNT = """
UPDATE customer SET failures = ?, failed_at = ?, failed_fingerprint = ?, locked_at = ?
 WHERE key = ? AND failures = ? AND failed_at = ?
"""
_OPEN = "INSERT INTO challenge VALUES (?, ?, ?, ?, ?, ?)"
_CROWD_OUT = """
DELETE FROM challenge WHERE customer_key = ? AND state NOT IN
  (SELECT state FROM challenge WHERE customer_key = ? ORDER BY expires_at DESC LIMIT 5)
"""
# One customer's open challenges: the newest five, so that nobody fills everybody's places.
_TAKE = "DELETE FROM challenge WHERE state = ?"
_AUDIT = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)"
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
"""The name in ``meta`` of what is new after every change by anybody but a login batch (``Store.work``)."""


class Conflict(Exception):
    """What was ruled does not hold for what the store says, though nobody else could write meanwhile."""


class SqliteLoginBatch:
    """The login batches of one process, on a connection of their own."""

    def __init__(self, connection: SharedCommits, *, notices: bool = False) -> None:
        self._connection, self._notices = connection, notices

    def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        """Load what is known, let ``judge`` rule, make it durable in one transaction; only then may anybody hear.
        ``judge`` is asked a second time, holding the write lock, if what it ruled by was changed meanwhile.
        Raises StoreUnavailable or LedgerConflict, and then nothing was written."""
        with self._connection.guarded() as connection:
            connection.execute("BEGIN")
            changed, facts = _changed(connection), _load(connection, customers, states)
            connection.execute("COMMIT")
            decision = evaluate(facts)
            with self._connection.turn():
                connection.execute("BEGIN IMMEDIATE")
                if _changed(connection) != changed or not _apply(connection, decision):
                    connection.execute("ROLLBACK")
                    connection.execute("BEGIN IMMEDIATE")
                    decision = evaluate(_load(connection, customers, states))
                    if not _apply(connection, decision):
                        raise Conflict("a ruling that does not hold for what it was judged by")
                if decision.locked and self._notices:
                    connection.executemany(
                        _NOTICE, [(row.id, row.event, row.token, row.customer) for row in decision.locked]
                    )
                connection.execute("COMMIT")
            self._connection.flush()
            return decision

    def close(self) -> None:
        self._connection.close()


class LoginReader:
    """What is asked and tidied between the batches, on another connection."""

    def __init__(self, connection: DriverConnection) -> None:
        self._connection = connection

    def credentials(self, contract_id: str) -> tuple[LoginRecord, str | None] | None:
        """One customer as of now with their password hash, without a lock: what must be known before a first factor
        that may be slow. None for an unknown customer."""
        with self._connection.guarded() as connection:
            row = connection.execute(_LOGIN_RECORDS, (json.dumps([contract_id]),)).fetchone()
            if row is None or row[0] != contract_id:  # SQLite's JSON ends a name at a NUL
                return None
            record = LoginRecord(*row)
            hash_ = connection.execute(_PASSWORD, (record.customer_key,)).fetchone()
            return record, hash_[0] if hash_ else None

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

    def write_probe(self, customers: Iterable[str]) -> None:
        """What a batch of these customers reads and writes, and then all of it taken back. Raises StoreUnavailable."""
        self._connection.close()  # pages that this connection has read before would hide what became of the file
        with self._connection.guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            known = _load(connection, customers, [b"rehearsal"]).records.values()
            connection.executemany(_TOUCH_TOKEN, [(one.token_key,) for one in known])
            connection.executemany(_TOUCH_CUSTOMER, [(one.customer_key,) for one in known])
            connection.execute(_OPEN, (b"rehearsal", 0, "", 0, 0, None))
            connection.execute(_AUDIT, (_LAST_ID, "rehearsal", "", None, None, "", ""))
            connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


def _changed(connection: sqlite3.Connection) -> object:
    """Another value after every change by the desk."""
    return connection.execute(_CHANGED, (CHANGED,)).fetchone()


def _load(connection: sqlite3.Connection, customers: Iterable[str], states: Iterable[bytes]) -> Facts:
    rows = connection.execute(_LOGIN_RECORDS, (json.dumps(list(customers)),))
    challenges = {}
    for state in states:
        row = connection.execute(_CHALLENGE, (state,)).fetchone()
        if row:
            challenges[state] = OpenChallenge(*row)
    return Facts({row[0]: LoginRecord(*row) for row in rows}, challenges)


def _apply(connection: sqlite3.Connection, decision: Decision) -> bool:
    """False, with some of it written, if a row is not as it was read any more: another batch was faster."""
    conditional = (
        (_TAKE, [(state,) for state in decision.challenges_consumed]),
        (_REPEAT, decision.retransmissions),
        (_SPEND, decision.step_updates),
        (_COUNT, list(decision.failure_updates.values())),
    )
    for statement, rows in conditional:
        if rows and connection.executemany(statement, rows).rowcount != len(rows):
            return False
    if decision.challenges_created:
        connection.executemany(_OPEN, decision.challenges_created)
        connection.executemany(
            _CROWD_OUT, [(one.customer_key, one.customer_key) for one in decision.challenges_created]
        )
    connection.executemany(_AUDIT, decision.audit)
    return True
