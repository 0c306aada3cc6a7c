"""The login batch in PostgreSQL's words: read, evaluate, write on condition, commit; several of them at once.

Theory of operation
-------------------
*What can happen at once.* Each process has CONNECTIONS of them, each carrying a batch; so has every other process of
every node. The event loop goes on while a batch waits for the server.

*What is read.* One SELECT, one snapshot: the login records of all customers, with the version (``xmin``) of each
customer's row and of each token's. PostgreSQL gives a row another ``xmin`` whenever it is changed. Challenges are
read beside it: they never change, and are used up by a DELETE.

*What is written, on which condition.* All of it in one round trip (a pipeline): each statement counts its rows, and
divides by zero if they are not as many as they should be; then nothing of the transaction is left, and the batch is
evaluated anew (Conflict).

- a challenge is deleted only where it still is;
- a code is spent only on the version of the token that was read; a retransmission touches that version;
- a wrong code is counted on the version of the customer that was read;
- an acceptance that spends no code touches the active token that it was accepted for, or else the customer.

So every acceptance rests on a write to one row, by its version. A condition on a joined row would not be enough: at
READ COMMITTED, PostgreSQL looks again at the row that it changes, and not at the others. Therefore whatever changes a
customer (lock, loss, suspension, another contract ID) touches the tokens of the customer in the same transaction: a
trigger of the database does it (schema.py), whichever statement it was.

*Order of locks.* Customers before tokens, each in the order of their keys. A lock's trigger touches the customer's
tokens: where a batch accepts a code of a customer whom it locks, the customers' rows are held, the tokens are written
on the versions that were read, and the customers after them. Two batches that stand in each other's way all the same
wait for LOCK_SECONDS, not for PostgreSQL's second until it looks for deadlocks.

*When it is durable.* ``COMMIT`` returns when the synchronous standbys have it (connection.py). If its answer is lost,
the batch is evaluated anew at whichever server is the primary by then, and the fingerprint of the login decides: it is
the token's last one, and then the same acceptance is written once more, or the code is free. Never by a look alone.

*Audit rows* lie above what is closed for the seals: horizon.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from time import monotonic
from typing import Any

import psycopg

from otp_core.audit import Event, NodeName
from otp_core.login.requests import Decision, Facts, StepUpdate
from otp_core.model import (
    AuditRow,
    Conflict,
    LoginRecord,
    OpenChallenge,
    OtpUse,
    StoreBusy,
    StoreProblem,
    StoreUnavailable,
)
from otp_core.store import outbox
from otp_core.store.login_record import AUDIT_COLUMNS, CHALLENGE_COLUMNS, COLUMNS, JOIN_TOKENS, records_of
from otp_core.store.postgresql.connection import Notices, can_be_held
from otp_core.store.postgresql.errors import is_lost, unavailable
from otp_core.store.postgresql.horizon import CLOSED_UNTIL, LOOK
from otp_core.store.postgresql.primary import Primary
from otp_core.store.postgresql.round_trip import RoundTrips, Rows, Statement
from otp_core.tally import SECONDS, Histogram

CONNECTIONS = 2
"""Batches under way in one process: one is decided while the other waits for the disk. More of them are smaller ones,
and a small batch costs nearly as much as a large one (docs/performance.md)."""

LOCK_SECONDS = 0.3
"""How long a batch waits for a row that somebody else has."""

RECORDS = f"""
SELECT {COLUMNS}, c.xmin::text, t.xmin::text
  FROM unnest(%s::text[]) AS asked(name) JOIN customer AS c ON c.contract_id = asked.name
{JOIN_TOKENS}
"""  # noqa: S608  constants
TOKEN_KEY = COLUMNS.split(", ").index("t.key")
"""Where the token's key stands in a row of them."""

CHALLENGES = f"SELECT {CHALLENGE_COLUMNS} FROM challenge WHERE state = ANY (%s)"  # noqa: S608  constants


def _counted(statement: str) -> str:
    """The statement, which fails unless it changes as many rows as its last parameter says."""
    return f"WITH done AS ({statement} RETURNING 1) SELECT 1 / (count(*) = %s)::int FROM done"  # noqa: S608  constants


_CONSUME = _counted("DELETE FROM challenge WHERE state = ANY (%s)")
_COUNT = _counted("""
UPDATE customer AS c SET failures = v.failures, failed_at = v.at, failed_fingerprint = v.fingerprint, locked_at = v.lock
  FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
    AS v(failures, at, fingerprint, lock, key, version)
 WHERE c.key = v.key AND c.xmin = v.version::xid""")
_TOUCH_CUSTOMER = _counted("""
UPDATE customer AS c SET failed_at = failed_at FROM unnest(%s::bigint[], %s::text[]) AS v(key, version)
 WHERE c.key = v.key AND c.xmin = v.version::xid""")
_HOLD = "SELECT 1 FROM customer WHERE key = ANY (%s) ORDER BY key FOR NO KEY UPDATE"
_SPEND = _counted("""
UPDATE token AS t SET last_step = v.step, drift = v.drift, last_fingerprint = v.fingerprint, last_at = v.at
  FROM unnest(%s::bigint[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
    AS v(step, drift, fingerprint, at, key, before, version)
 WHERE t.key = v.key AND t.xmin = v.version::xid AND t.state = 'bound' AND t.last_step = v.before
   AND t.last_step < v.step""")
_TOUCH_TOKEN = _counted("""
UPDATE token AS t SET last_at = last_at FROM unnest(%s::bigint[], %s::text[]) AS v(key, version)
 WHERE t.key = v.key AND t.xmin = v.version::xid AND t.state = 'bound'""")
_CREATE = f"""
INSERT INTO challenge ({CHALLENGE_COLUMNS}) SELECT * FROM unnest(%s::bytea[], %s::bigint[], %s::text[], %s::bigint[],
  %s::smallint[], %s::bigint[], %s::bytea[], %s::text[])
"""  # noqa: S608  constants
_CROWD_OUT = """
DELETE FROM challenge WHERE state IN (SELECT state FROM (SELECT state,
  row_number() OVER (PARTITION BY customer_key ORDER BY expires_at DESC, state) AS place
  FROM challenge WHERE customer_key = ANY (%s)) AS ranked WHERE place > 5)
"""
# One customer's open challenges: the newest five, so that one customer cannot take the places of all others.
_AUDIT = f"""
INSERT INTO audit (node, {AUDIT_COLUMNS})
SELECT %s::text, rows.* FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
  %s::text[]) AS rows
"""  # noqa: S608  constants
_NOTICE = re.sub(r":(id|event|token|customer)\b", "%s", outbox.PUT)

_ACCEPTED = frozenset({Event.LOGIN_ACCEPTED.value, Event.LOGIN_REPEATED.value})

_NO_VERSION = "0"
"""Of a row that was not read: none has it."""

_BEGIN, _COMMIT, _ROLLBACK = Statement("BEGIN"), Statement("COMMIT"), Statement("ROLLBACK")


class PostgresqlLoginBatch:
    """The login batches of one process (``store.engine.LoginBatch``). ``note``: told the audit rows of the locks of a
    batch that is durable, before anybody is told."""

    def __init__(
        self,
        primary: Primary,
        *,
        notices: bool = False,
        note: Callable[[Sequence[AuditRow]], None] = lambda rows: None,
        node: NodeName | None = None,
    ) -> None:
        self._primary, self._notices, self._note, self._node = primary, notices, note, node or NodeName()
        self._idle: list[_Link] = []
        self._closed, self._overtaken = 0, False
        """Audit rows at or below this id are refused; read behind each batch that was overtaken, because only then it
        may lie above this node's clock."""
        self._is_closed = False
        self.flush_seconds = Histogram(SECONDS)
        """How long writing and COMMIT took, waiting for standbys included."""

    @property
    def concurrency(self) -> int:
        """How many batches may be under way at once."""
        return CONNECTIONS

    async def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        """See ``store.engine.LoginBatch.run``."""
        link = self._idle.pop() if self._idle else _Link(self._primary)
        trouble: BaseException | None = None
        try:
            decision = await self._run(link, customers, states, evaluate)
        except BaseException as error:
            trouble = error
        if trouble is not None:
            self._overtaken = True
            await link.failed(trouble)
            self._give_back(link)
            raise _as_unavailable(trouble) from trouble
        self._give_back(link)
        if decision.locked:
            self._note(decision.locked)
        return decision

    def close(self) -> None:
        """Let go of the connections."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def _give_back(self, link: _Link) -> None:
        if self._is_closed:
            link.close()
        else:
            self._idle.append(link)

    async def _run(
        self, link: _Link, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        server = await link.opened()
        if self._overtaken:
            self._overtaken = False
            self._closed = await _closed(server)
        rows, challenges = await _read(server, customers, states)
        records, versions = _known(rows)
        decision = evaluate(Facts(records, challenges, self._closed))
        statements = list(_statements(decision, records, versions, self._node.value))
        if decision.locked and self._notices:
            statements += [Statement(_NOTICE, (row.id, row.event, row.token, row.customer)) for row in decision.locked]
        if decision.audit:
            statements.append(Statement(LOOK, (decision.audit[0].id.to_bytes(8, "big"),)))
        if statements:
            begun = monotonic()
            await link.write(server, statements)
            self.flush_seconds.observe(monotonic() - begun)
        return decision


class _Link:
    """One connection, on the loop that uses it."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._notices = Notices()
        self._server: RoundTrips | None = None

    async def opened(self) -> RoundTrips:
        if self._server is not None:
            connection = self._server.connection
            if connection.closed or not self._primary.is_current(connection):
                self.close()
        if self._server is None:
            connection = await self._primary.connect_on_loop(lock_timeout=LOCK_SECONDS, notices=self._notices)
            self._server = RoundTrips(connection)
        return self._server

    async def write(self, server: RoundTrips, statements: Sequence[Statement]) -> None:
        """One transaction, in one round trip. Raises psycopg.Error, and StoreUnavailable if it may be on this server
        alone."""
        self._notices.unreplicated = ""
        outcomes = await server.run([_BEGIN, *statements, _COMMIT])
        if self._notices.unreplicated:
            raise StoreUnavailable(f"store: {self._notices.unreplicated}")
        if outcomes[-1].tag != "COMMIT":
            raise Conflict("store: a batch was rolled back")

    async def failed(self, error: BaseException) -> None:
        """Nothing of the transaction is left."""
        if self._server is None:
            return
        connection = self._server.connection
        if connection.closed or is_lost(error) or not isinstance(error, psycopg.Error | StoreUnavailable):
            self.close()
            return
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            try:
                await self._server.run([_ROLLBACK])
            except psycopg.Error:
                self.close()

    def close(self) -> None:
        if self._server is not None:
            self._server.connection.pgconn.finish()
            self._server = None


async def _closed(server: RoundTrips) -> int:
    (outcome,) = await server.run([Statement(CLOSED_UNTIL)])
    closed, sealed = outcome.rows[0]
    return max(int.from_bytes(closed or b"", "big"), int(sealed))


async def _read(
    server: RoundTrips, customers: Collection[str], states: Collection[bytes]
) -> tuple[Rows, dict[bytes, OpenChallenge]]:
    asked = [name for name in set(customers) if can_be_held(name)]
    statements = [Statement(RECORDS, (asked,))]
    if states:
        statements.append(Statement(CHALLENGES, ([*states],)))
    records, *challenges = await server.run(statements)
    return records.rows, {row[0]: OpenChallenge(*row) for found in challenges for row in found.rows}


def _known(rows: Rows) -> tuple[dict[str, LoginRecord], dict[int, str]]:
    """The login records, and the versions of the rows they came from, by key (no customer has a token's)."""
    versions: dict[int, str] = {}
    for row in rows:
        versions[row[1]] = row[-2]
        if row[-1] is not None:
            versions[row[TOKEN_KEY]] = row[-1]
    return records_of(row[:-2] for row in rows), versions


def _statements(
    decision: Decision, records: dict[str, LoginRecord], versions: dict[int, str], node: str | None
) -> Iterable[Statement]:
    spent = _folded(decision.step_updates)
    repeated = {one.token_key for one in decision.retransmissions} - spent.keys()
    tokens, customers = _rest_of_acceptances(decision, records, spent.keys() | repeated)
    if decision.challenges_consumed:
        yield Statement(_CONSUME, ([*decision.challenges_consumed], len(decision.challenges_consumed)))
    of_customers = _of_customers(decision, customers, versions)
    of_tokens = _of_tokens(spent, repeated | tokens, versions)
    if decision.locked and of_tokens:
        yield Statement(_HOLD, ([*decision.failure_updates, *customers],))
        yield from of_tokens
        yield from of_customers
    else:
        yield from of_customers
        yield from of_tokens
    if decision.challenges_created:
        yield Statement(_CREATE, [[*column] for column in zip(*decision.challenges_created, strict=True)])
        yield Statement(_CROWD_OUT, ([*{one.customer_key for one in decision.challenges_created}],))
    if decision.audit:
        yield Statement(_AUDIT, (node, *map(list, zip(*decision.audit, strict=True))))


def _of_customers(decision: Decision, touched: Collection[int], versions: dict[int, str]) -> list[Statement]:
    statements = []
    if decision.failure_updates:
        counted = sorted(decision.failure_updates.values(), key=lambda one: one.customer_key)
        columns = zip(*(one[:5] for one in counted), strict=True)
        found = [versions.get(one.customer_key, _NO_VERSION) for one in counted]
        statements.append(Statement(_COUNT, (*map(list, columns), found, len(counted))))
    if touched:
        statements.append(Statement(_TOUCH_CUSTOMER, _versions(touched, versions)))
    return statements


def _of_tokens(spent: dict[int, StepUpdate], touched: Collection[int], versions: dict[int, str]) -> list[Statement]:
    statements = []
    if spent:
        updates = [spent[key] for key in sorted(spent)]
        columns = zip(*updates, strict=True)
        found = [versions.get(one.token_key, _NO_VERSION) for one in updates]
        statements.append(Statement(_SPEND, (*map(list, columns), found, len(updates))))
    if touched:
        statements.append(Statement(_TOUCH_TOKEN, _versions(touched, versions)))
    return statements


def _versions(keys: Collection[int], versions: dict[int, str]) -> Sequence[Any]:
    ordered = sorted(keys)
    return (ordered, [versions.get(key, _NO_VERSION) for key in ordered], len(ordered))


def _folded(updates: Sequence[StepUpdate]) -> dict[int, StepUpdate]:
    """One update a token: several codes of one batch come one behind another, and the row is as the first one found
    it."""
    folded: dict[int, StepUpdate] = {}
    for one in updates:
        earlier = folded.get(one.token_key)
        if earlier is not None and one.before != earlier.step:
            raise Conflict("a decision that does not hold for the facts it was made by")
        folded[one.token_key] = one if earlier is None else one._replace(before=earlier.before)
    return folded


def _rest_of_acceptances(
    decision: Decision, records: dict[str, LoginRecord], written: Collection[int]
) -> tuple[set[int], set[int]]:
    """Keys of the tokens and of the customers that acceptances rest on, and that nothing else of the batch writes."""
    tokens, customers = set[int](), set[int]()
    for row in decision.audit:
        if row.event not in _ACCEPTED or row.customer is None:
            continue
        record = records.get(row.customer)
        if record is None:
            continue
        active = record.tokens if record.otp_use == OtpUse.ACTIVE else []  # another's may be lost or retired
        key = next((one.key for one in active if one.token_id == row.token), None)
        if key is not None:
            if key not in written:
                tokens.add(key)
        elif record.customer_key not in decision.failure_updates:
            customers.add(record.customer_key)
    return tokens, customers


def _as_unavailable(error: BaseException) -> BaseException:
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return Conflict("store: another login or act has a row of this batch")
    if isinstance(error, psycopg.errors.UniqueViolation):  # an id that another process has drawn too: with others again
        return Conflict(str(unavailable(error)))
    if isinstance(error, psycopg.Error):
        found = unavailable(error)
        return StoreUnavailable(str(found)) if isinstance(found, StoreBusy) else found
    if isinstance(error, OSError | StoreProblem):
        return StoreUnavailable(f"store: {error}")
    return error
