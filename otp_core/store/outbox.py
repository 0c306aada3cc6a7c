"""Notices that wait to be sent: written with what they tell of, claimed by one sender at a time, taken away when sent.

All SQL about the outbox but the login batch's own line (login batch.py). It knows no mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Select, delete, func, insert, literal, select, update

from otp_core.audit import AuditRow
from otp_core.store.schema import customer, outbox, profile

PENDING, FAILED = "pending", "failed"


class Waiting(NamedTuple):
    """One notice. ``key`` is the audit row it tells of, and tells the time (audit.ms_of)."""

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
).select_from(outbox.join(customer, customer.c.key == outbox.c.customer_key))


def put(connection: Connection, row: AuditRow) -> None:
    """A notice of what this audit row records, to the customer it is about; none if they have no address.

    Address and language are those of the moment: who changes the address later must not get the news in place of the
    one it concerns."""
    taken: Select[tuple[object, ...]] = (
        select(
            literal(row.id),
            customer.c.key,
            literal(row.event),
            literal(row.token),
            profile.c.email,
            customer.c.language,
        )
        .select_from(customer.join(profile, profile.c.customer_key == customer.c.key))
        .where(customer.c.contract_id == row.customer, profile.c.email.is_not(None))
    )
    columns = ("key", "customer_key", "event", "token_id", "email", "language")
    connection.execute(insert(outbox).from_select(columns, taken))


def claim(connection: Connection, now: int, until: int, most: int) -> list[Waiting]:
    """Some notices that are due, the oldest first, which nobody else will be given before ``until`` (ms)."""
    due = (
        select(outbox.c.key)
        .where(outbox.c.state == PENDING, outbox.c.next_at <= now, outbox.c.claimed_until <= now)
        .order_by(outbox.c.key)
        .limit(most)
    )
    keys = list(connection.execute(due).scalars())
    if not keys:
        return []
    connection.execute(update(outbox).where(outbox.c.key.in_(keys)).values(claimed_until=until))
    rows = connection.execute(_WAITING.where(outbox.c.key.in_(keys)).order_by(outbox.c.key))
    return [Waiting._make(row) for row in rows]


def is_due(connection: Connection, now: int) -> bool:
    """Whether ``claim`` would give anything: asked without the write lock."""
    due = select(outbox.c.key).where(outbox.c.state == PENDING, outbox.c.next_at <= now, outbox.c.claimed_until <= now)
    return connection.execute(due.limit(1)).first() is not None


def remove(connection: Connection, key: int) -> bool:
    """It was sent. False if somebody else has said so."""
    return connection.execute(delete(outbox).where(outbox.c.key == key)).rowcount == 1


def postpone(connection: Connection, key: int, next_at: int, error: str) -> None:
    change = update(outbox).where(outbox.c.key == key, outbox.c.state == PENDING)
    connection.execute(change.values(attempts=outbox.c.attempts + 1, next_at=next_at, claimed_until=0, error=error))


def give_up(connection: Connection, key: int, error: str) -> bool:
    change = update(outbox).where(outbox.c.key == key, outbox.c.state == PENDING)
    values = change.values(state=FAILED, attempts=outbox.c.attempts + 1, claimed_until=0, error=error)
    return connection.execute(values).rowcount == 1


def retry(connection: Connection, keys: Sequence[int] | None, now: int) -> int:
    """Failed notices (all of them: None) are due again; how many."""
    change = update(outbox).where(outbox.c.state == FAILED)
    if keys is not None:
        change = change.where(outbox.c.key.in_(keys))
    return connection.execute(change.values(state=PENDING, attempts=0, next_at=now, claimed_until=0)).rowcount


def lines(connection: Connection, *, after: int = 0, limit: int = 100, state: str | None = None) -> list[Waiting]:
    """A page in the order of time, beginning behind ``after``."""
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
