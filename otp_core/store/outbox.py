"""The outbox: notices are written in the transaction that they tell of, claimed by one sender at a time, deleted when
sent.

All SQL about notices; nothing about mail. Times are ms since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, select, text, update

from otp_core.audit import id_at
from otp_core.model import AuditRow, Conflict
from otp_core.store.schema import customer, outbox, token

PENDING, FAILED = "pending", "failed"

KEPT_MS = 90 * 24 * 3_600_000
"""How long a notice that was given up waits to be tried again: later it tells nobody anything new, and it holds an
address."""


class Waiting(NamedTuple):
    """One notice. ``key``: the number of the audit row that it tells of, which also tells the time (audit.ms_of).
    ``next_at``: when it is due; ``error``: why the last attempt failed; ``verifier``: of the token, if there is one."""

    key: int
    contract_id: str
    event: str
    token_id: str | None
    email: str
    language: str | None
    state: str
    attempts: int
    next_at: int
    error: str | None
    verifier: str | None = None


_WAITING = select(
    outbox.c.key,
    customer.c.contract_id,
    outbox.c.event,
    outbox.c.token_id,
    outbox.c.email,
    outbox.c.language,
    outbox.c.state,
    outbox.c.attempts,
    outbox.c.next_at,
    outbox.c.error,
    token.c.verifier,
).select_from(
    outbox.join(customer, customer.c.key == outbox.c.customer_key).outerjoin(
        token, token.c.token_id == outbox.c.token_id
    )
)


PUT = """
INSERT INTO outbox (key, customer_key, event, token_id, email, language)
SELECT CAST(:id AS BIGINT), c.key, :event, :token, p.email, c.language
  FROM customer AS c JOIN profile AS p ON p.customer_key = c.key
 WHERE c.contract_id = :customer AND p.email IS NOT NULL
"""
"""A notice of what an audit row (its fields are the parameters) records, to its customer; none without an address.

Address and language are those of the moment: if the address is changed later, the notice still goes to the old one. The
login batch hands this text to the driver as it is."""


def put(connection: Connection, row: AuditRow) -> None:
    """Write the notice of what this audit row records (see ``PUT``)."""
    connection.execute(text(PUT), row._asdict())


def claim(connection: Connection, now: int, until: int, most: int) -> list[Waiting]:
    """Some notices that are due, the oldest first, which no other sender is given before ``until``. Raises Conflict if
    another sender claimed one of them just now."""
    oldest = select(outbox.c.key).where(*_due(now)).order_by(outbox.c.key).limit(most)
    keys = list(connection.execute(oldest).scalars())
    if not keys:
        return []
    claimed = connection.execute(update(outbox).where(outbox.c.key.in_(keys), *_due(now)).values(claimed_until=until))
    if claimed.rowcount != len(keys):
        raise Conflict("another sender claimed some of these notices just now")
    rows = connection.execute(_WAITING.where(outbox.c.key.in_(keys)).order_by(outbox.c.key))
    return [Waiting._make(row) for row in rows]


def is_due(connection: Connection, now: int) -> bool:
    """Whether ``claim`` would give anything. Needs no write lock."""
    return connection.execute(select(outbox.c.key).where(*_due(now)).limit(1)).first() is not None


def _due(now: int) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.state == PENDING, outbox.c.next_at <= now, outbox.c.claimed_until <= now


def remove(connection: Connection, key: int) -> bool:
    """Delete a notice that was sent. False if another sender has deleted it."""
    return connection.execute(delete(outbox).where(outbox.c.key == key)).rowcount == 1


def postpone(connection: Connection, key: int, next_at: int, error: str) -> None:
    """Try a pending notice again at ``next_at``."""
    change = update(outbox).where(outbox.c.key == key, outbox.c.state == PENDING)
    connection.execute(change.values(attempts=outbox.c.attempts + 1, next_at=next_at, claimed_until=0, error=error))


def give_up(connection: Connection, key: int, error: str) -> bool:
    """Try a notice no more. False if it is not pending any more."""
    change = update(outbox).where(outbox.c.key == key, outbox.c.state == PENDING)
    values = change.values(state=FAILED, attempts=outbox.c.attempts + 1, claimed_until=0, error=error)
    return connection.execute(values).rowcount == 1


def forget_failed(connection: Connection, now: int, limit: int) -> int:
    """Delete some notices that were given up and are older than KEPT_MS; how many there were. That each was given up is
    in the audit trail."""
    late = select(outbox.c.key).where(*_late(now)).order_by(outbox.c.key).limit(limit)
    keys = list(connection.execute(late).scalars())
    return connection.execute(delete(outbox).where(outbox.c.key.in_(keys))).rowcount if keys else 0


def has_late_failed(connection: Connection, now: int) -> bool:
    """Whether ``forget_failed`` would find any. Needs no write lock."""
    return connection.execute(select(outbox.c.key).where(*_late(now)).limit(1)).first() is not None


def _late(now: int) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.state == FAILED, outbox.c.key < id_at(now - KEPT_MS)


def retry(connection: Connection, keys: Sequence[int] | None, now: int) -> int:
    """Make failed notices due again, those with these keys or (None) all; how many."""
    change = update(outbox).where(outbox.c.state == FAILED)
    if keys is not None:
        change = change.where(outbox.c.key.in_(keys))
    return connection.execute(change.values(state=PENDING, attempts=0, next_at=now, claimed_until=0)).rowcount


def lines(connection: Connection, *, after: int = 0, limit: int = 100, state: str | None = None) -> list[Waiting]:
    """Up to ``limit`` notices in the order of time, those after the key ``after``; of one state or of all."""
    query = _WAITING.where(outbox.c.key > after)
    if state:
        query = query.where(outbox.c.state == state)
    return [Waiting._make(row) for row in connection.execute(query.order_by(outbox.c.key).limit(limit))]


def numbers(connection: Connection) -> tuple[int, int, int]:
    """How many are pending, how many failed, and the key of the oldest pending one (0: none)."""
    rows = connection.execute(
        select(outbox.c.state, func.count(), func.min(outbox.c.key)).group_by(outbox.c.state)
    ).all()
    found = {state: (number, oldest) for state, number, oldest in rows}
    pending, oldest = found.get(PENDING, (0, 0))
    return pending, found.get(FAILED, (0, 0))[0], oldest
