"""What a forecast reads of the past: rows of the audit trail by ranges of ids, and what lies beside it. Bounded: one
page at a time; nothing is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from otp_core.audit import Event, id_at
from otp_core.store.client_use import PERIOD_MS
from otp_core.store.schema import NOT_A_LOGIN, audit, client_period, customer, login_remark, profile, token

PAGE = 5000
"""Rows of the trail that are read at a time."""
_AT_ONCE = 500
"""Names in one question."""

USE_AFTER: dict[Event, str] = {
    Event.CUSTOMER_ADDED: "none",
    Event.ENROLLED: "active",
    Event.SUSPENDED: "suspended",
    Event.RESUMED: "active",
    Event.DEVICE_CHANGED: "active",
    Event.REPORTED_LOST: "lost",
    Event.REISSUE_PERMITTED: "reissue permitted",
    Event.PERMIT_VOIDED: "lost",
}
"""A customer's use of one-time passwords behind an act. What is not named leaves it as it is."""


class PastRow(NamedTuple):
    """One row of the trail; ``remark``: how its code missed, empty for nothing known."""

    id: int
    event: str
    actor: str
    customer: str | None
    token: str | None
    reason: str
    remark: str


class TokenRow(NamedTuple):
    """``period``: seconds."""

    kind: str
    period: int
    verifier: str


class CustomerRow(NamedTuple):
    """``use``: of one-time passwords, now; ``held``: whether a password is kept here."""

    use: str
    held: bool


def pages(connection: Connection, since: int, until: int, client: str | None = None) -> Iterator[list[PastRow]]:
    """The trail between two moments (ms), in order. ``client``: its logins alone."""
    columns = [audit.c[name] for name in PastRow._fields[:-1]]
    wanted = select(*columns).where(audit.c.id > bindparam("after"), audit.c.id < id_at(until))
    if client is not None:
        wanted = wanted.where(audit.c.actor == client, audit.c.event.startswith("login.", autoescape=True))
    wanted = wanted.order_by(audit.c.id).limit(PAGE)
    after = id_at(since) - 1
    while True:
        rows = connection.execute(wanted, {"after": after}).all()
        if rows:
            remarks = _remarks_between(connection, rows[0].id, rows[-1].id)
            yield [PastRow._make((*row, remarks.get(row.id, ""))) for row in rows]
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def _remarks_between(connection: Connection, first: int, last: int) -> dict[int, str]:
    wanted = select(login_remark.c.id, login_remark.c.remark).where(login_remark.c.id.between(first, last))
    return {row.id: row.remark for row in connection.execute(wanted)}


def steps_since(connection: Connection) -> int | None:
    """The first audit row of an accepted login whose steps were kept; None if there is none."""
    both = login_remark.join(audit, audit.c.id == login_remark.c.id)
    wanted = select(login_remark.c.id).select_from(both).where(audit.c.event == Event.LOGIN_ACCEPTED)
    found: int | None = connection.scalar(wanted.order_by(login_remark.c.id).limit(1))
    return found


def tokens_of(connection: Connection, token_ids: Collection[str]) -> dict[str, TokenRow]:
    """Those there are."""
    found: dict[str, TokenRow] = {}
    for part in _parts(token_ids):
        columns = (token.c.token_id, token.c.kind, token.c.period, token.c.verifier)
        for row in connection.execute(select(*columns).where(token.c.token_id.in_(part))):
            found[row.token_id] = TokenRow(row.kind, row.period, row.verifier)
    return found


def customers_of(connection: Connection, contract_ids: Collection[str]) -> dict[str, CustomerRow]:
    """Those there are."""
    found: dict[str, CustomerRow] = {}
    both = customer.outerjoin(profile, profile.c.customer_key == customer.c.key)
    for part in _parts(contract_ids):
        columns = (customer.c.contract_id, customer.c.otp_use, profile.c.password_hash.is_not(None).label("held"))
        wanted = select(*columns).select_from(both).where(customer.c.contract_id.in_(part))
        for row in connection.execute(wanted):
            found[row.contract_id] = CustomerRow(row.otp_use, bool(row.held))
    return found


def acts_since(connection: Connection, since: int) -> dict[str, list[tuple[int, str]]]:
    """Who was enrolled, suspended and so on since a moment (ms): the audit rows in order, with the use after each."""
    found: dict[str, list[tuple[int, str]]] = {}
    wanted = select(audit.c.id, audit.c.event, audit.c.customer).where(
        audit.c.id >= id_at(since), audit.c.event.in_([*USE_AFTER]), audit.c.customer.is_not(None)
    )
    for row in connection.execute(wanted.order_by(audit.c.id)):
        found.setdefault(row.customer, []).append((row.id, USE_AFTER[Event(row.event)]))
    return found


def use_before(connection: Connection, contract_id: str, row: int) -> str:
    """A customer's use of one-time passwords before an audit row, by the acts that the trail has of them."""
    wanted = select(audit.c.event).where(
        audit.c.customer == contract_id, NOT_A_LOGIN, audit.c.id < row, audit.c.event.in_([*USE_AFTER])
    )
    event = connection.scalar(wanted.order_by(audit.c.id.desc()).limit(1))
    return "none" if event is None else USE_AFTER[Event(event)]


def protection_of(connection: Connection, client: str, since: int) -> dict[int, tuple[int, int]]:
    """Requests of a client, and how many of them had no Message-Authenticator, by the beginning of five minutes
    (ms)."""
    period = client_period.c
    wanted = select(period.begins_at, period.requests, period.unprotected)
    rows = connection.execute(wanted.where(period.client == client, period.begins_at >= since - PERIOD_MS))
    return {row.begins_at: (row.requests, row.unprotected) for row in rows}


def _parts(names: Collection[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(set(names))
    for begin in range(0, len(ordered), _AT_ONCE):
        yield ordered[begin : begin + _AT_ONCE]
