"""The login batch in SQLite's own words: read, evaluate, write on condition, commit, flush.

Theory of operation
-------------------
*What can happen at once.* Several worker processes run batches on one database file; commands, the web pages and
imports write to it through ``Store.work``. Within a process, one batch at a time.

*What is read.* Before the write lock is taken, in one transaction: the value of ``meta.changed``, the login record of
every customer of the batch with their tokens (one SELECT), and each State's challenge. The evaluator decides by that.

*What is written, on which condition.* Under the write lock each statement repeats what was read:

- a challenge is deleted only where it still is (``_CONSUME``);
- a retransmission is accepted only where the token still has its fingerprint (``_RETRANSMIT``);
- a code is spent only where the token is bound and its last step is the one that was read (``_SPEND``); one that fits
  several tokens, on each of them or on none;
- a wrong code is counted only on top of the count and the time that were read (``_COUNT``).

New challenges, audit rows and notices follow unconditionally, but no audit row at or below the last id that a seal
covers: a batch whose ids are no longer above it is evaluated once more, with newer ids.

*Whatever else may have changed.* Every transaction that is not a login batch rewrites ``meta.changed``
(``Store.work``). It is read again under the lock: if it differs, a lock, a loss or a suspension may have been committed
meanwhile.

*Alone.* If the turn is free and no other batch was numbered since, the transaction that has read goes on to write;
SQLite refuses that (SQLITE_BUSY) if anybody has written meanwhile. Otherwise it ends before the turn is waited for,
because a reader who waits keeps the log from beginning anew, and another one begins with the lock. Most batches of a
quiet hour are alone, and so take one transaction instead of two.

*What happens on conflict.* If ``meta.changed`` differs or a condition does not hold, everything is rolled back, the
facts are read again under the lock, and the evaluator decides once more; nobody can interfere then. A decision that
still does not hold raises Conflict. So for each customer, batches of two processes come out as one of the two orders
would, but for one thing: a wrong code that another worker counts while a right one is on its way may stay counted until
the next right one. tests/core/test_overtaken.py has every case.

*When it is durable.* COMMIT only writes; the log is flushed afterwards, outside the lock (connection.SharedCommits),
and ``run`` returns after the flush. Whoever writes takes turns (turn.py).

No statement here is written in SQLAlchemy: three or four serve a whole batch, and their cost is most of a login's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from time import monotonic
from typing import Any

from otp_core.audit import NodeName
from otp_core.login.requests import Decision, Facts
from otp_core.model import AuditRow, Conflict, OpenChallenge
from otp_core.store import outbox
from otp_core.store.login_record import AUDIT_COLUMNS, CHALLENGE_COLUMNS, COLUMNS, JOIN_TOKENS, records_of
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.connection import SharedCommits
from otp_core.tally import SECONDS, Histogram

LOGIN_RECORDS = f"""
SELECT {COLUMNS} FROM json_each(?) AS asked JOIN customer AS c ON c.contract_id = asked.value {JOIN_TOKENS}
"""  # noqa: S608  constants
LOGIN_RECORD = f"SELECT {COLUMNS} FROM customer AS c {JOIN_TOKENS} WHERE c.contract_id = ?"  # noqa: S608  constants
CHALLENGE = f"SELECT {CHALLENGE_COLUMNS} FROM challenge WHERE state = ?"  # noqa: S608  constants
CREATE_CHALLENGE = f"INSERT INTO challenge ({CHALLENGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
INSERT_AUDIT = f"INSERT INTO audit ({AUDIT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_INSERT_NAMED = f"INSERT INTO audit ({AUDIT_COLUMNS}, node) VALUES (?, ?, ?, ?, ?, ?, ?, '{{}}')"  # noqa: S608
"""The node is part of the statement: nothing has to be bound for each row."""
SEALED = "SELECT coalesce(max(until_id), 0) FROM seal"
"""The id up to which audit rows are sealed: none may be added there (seals.py)."""
_STAND = f"SELECT (SELECT value FROM meta WHERE name = ?), ({SEALED})"  # noqa: S608  constants
_SPEND = """
UPDATE token SET last_step = ?1, drift = ?2, last_fingerprint = ?3, last_at = ?4
 WHERE key = ?5 AND state = 'bound' AND last_step = ?6 AND last_step < ?1
"""
_SPEND_WITHOUT_DRIFT = _SPEND.replace(" drift = ?2,", "")
"""Where no drift of a batch changes: whenever the column is set, the index of drifted tokens is asked twice."""
_RETRANSMIT = "UPDATE token SET last_at = last_at WHERE key = ? AND last_fingerprint = ?"
_COUNT = """
UPDATE customer SET failures = ?, failed_at = ?, failed_fingerprint = ?, locked_at = ?
 WHERE key = ? AND failures = ? AND failed_at = ?
"""
_CROWD_OUT = """
DELETE FROM challenge WHERE customer_key = ? AND state NOT IN
  (SELECT state FROM challenge WHERE customer_key = ? ORDER BY expires_at DESC LIMIT 5)
"""
# One customer's open challenges: the newest five, so that one customer cannot take the places of all others.
_CONSUME = "DELETE FROM challenge WHERE state = ?"

CHANGED = "changed"
"""Key in ``meta`` that every transaction except the login batch rewrites; read again under the lock."""


class SqliteLoginBatch:
    """The login batches of one process, on a connection of their own (``store.engine.LoginBatch``)."""

    def __init__(
        self,
        connection: SharedCommits,
        *,
        notices: bool = False,
        note: Callable[[Sequence[AuditRow]], None] = lambda rows: None,
        node: NodeName | None = None,
    ) -> None:
        """``note``: told the audit rows of the locks of a batch that is on disk, before anybody is told."""
        self._connection, self._notices, self._note = connection, notices, note
        self._node = node or NodeName()
        self._named: str | None = None
        self._insert = INSERT_AUDIT
        self.flush_seconds = Histogram(SECONDS)

    @property
    def concurrency(self) -> int:
        """One: a batch runs to its end on the loop's own thread."""
        return 1

    async def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        """See ``store.engine.LoginBatch.run``. Awaits nothing: the loop stands still until it returns."""
        with self._connection.guarded() as connection:
            if self._node.value != self._named:
                self._name_node(self._node.value)
            commits = self._connection.commits()
            connection.execute("BEGIN")
            changed, sealed = _stand(connection)
            decision = evaluate(load(connection, customers, states, sealed))
            turn = self._connection.turn()
            if not turn.take_at_once():
                connection.execute("COMMIT")
                turn.take()
            try:
                is_alone = connection.in_transaction and self._connection.commits() == commits and decision.audit
                if not (is_alone and _applied_at_once(connection, decision, self._insert)):
                    decision = _apply_locked(connection, changed, decision, customers, states, evaluate, self._insert)
                if decision.locked and self._notices:
                    connection.executemany(outbox.PUT, [row._asdict() for row in decision.locked])
                connection.execute("COMMIT")
                self._connection.committed(decision.audit[-1].id if decision.audit else 0)
            finally:
                turn.give_back()
            begun = monotonic()
            self._connection.flush()
            self.flush_seconds.observe(monotonic() - begun)
            if decision.locked:
                self._note(decision.locked)
            return decision

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _name_node(self, name: str | None) -> None:
        self._named = name
        self._insert = INSERT_AUDIT if name is None else _INSERT_NAMED.format(name.replace("'", "''"))


def load(connection: driver.Connection, customers: Iterable[str], states: Iterable[bytes], sealed: int = 0) -> Facts:
    """What the store knows of these customers and States. ``sealed``: see ``SEALED``."""
    rows = _rows(connection, [*set(customers)])  # each once: no token twice
    challenges = {}
    for state in states:
        row = connection.execute(CHALLENGE, (state,)).fetchone()
        if row:
            challenges[state] = OpenChallenge(*row)
    return Facts(records_of(rows), challenges, sealed)


def _rows(connection: driver.Connection, customers: list[str]) -> Iterable[tuple[Any, ...]]:
    """The rows of these customers. One alone is asked for without a list, which costs as much again."""
    if len(customers) != 1:
        return connection.execute(LOGIN_RECORDS, (json.dumps(customers),))
    try:
        return connection.execute(LOGIN_RECORD, (customers[0],))
    except UnicodeEncodeError:
        return ()  # half of a character, which no stored name has


def _stand(connection: driver.Connection) -> tuple[bytes | None, int]:
    """Another value after every transaction that is neither a login batch nor a seal; the id up to which audit rows are
    sealed."""
    changed, sealed = connection.execute(_STAND, (CHANGED,)).fetchone()
    return changed, sealed


def _is_above(decision: Decision, sealed: int) -> bool:
    """Whether all audit rows come behind what is sealed."""
    return not decision.audit or decision.audit[0].id > sealed


def _apply_locked(
    connection: driver.Connection,
    changed: bytes | None,
    decision: Decision,
    customers: Collection[str],
    states: Collection[bytes],
    evaluate: Callable[[Facts], Decision],
    insert: str,
) -> Decision:
    """The decision that was written under the lock: this one, or another one if what it was made by does not hold any
    more. Raises Conflict."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    now, sealed = _stand(connection)
    if now == changed and _is_above(decision, sealed) and _apply(connection, decision, insert):
        return decision
    connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    decision = evaluate(load(connection, customers, states, _stand(connection)[1]))
    if not _apply(connection, decision, insert):
        raise Conflict("a decision that does not hold for the facts it was made by")
    return decision


def _applied_at_once(connection: driver.Connection, decision: Decision, insert: str) -> bool:
    """Write in the very transaction that has read. False, if somebody else has written since."""
    try:
        return _apply(connection, decision, insert)
    except driver.OperationalError as error:
        if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF != driver.SQLITE_BUSY:
            raise
    return False


def _apply(connection: driver.Connection, decision: Decision, insert: str) -> bool:
    """False, with some of it written, if a row is not as it was read any more: another batch was faster."""
    conditional = (
        (_CONSUME, [(state,) for state in decision.challenges_consumed]),
        (_RETRANSMIT, decision.retransmissions),
        (_SPEND if decision.drifts else _SPEND_WITHOUT_DRIFT, decision.step_updates),
        (_COUNT, list(decision.failure_updates.values())),
    )
    for statement, rows in conditional:
        if rows and connection.executemany(statement, rows).rowcount != len(rows):
            return False
    created = decision.challenges_created
    if created:
        connection.executemany(CREATE_CHALLENGE, created)
        connection.executemany(_CROWD_OUT, [(one.customer_key, one.customer_key) for one in created])
    connection.executemany(insert, decision.audit)
    return True
