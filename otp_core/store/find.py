"""What the console looks for: customers by anything that identifies them, what was refused lately, who is locked.

Every question is answered through an index or over a bounded end of the audit trail, however large the store is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, func, select

from otp_core.audit import COMMAND_SOURCE, Event
from otp_core.model import OtpUse, TokenState
from otp_core.otp import normalise_contract_id
from otp_core.reference import ids_of
from otp_core.store.audit_lookup import look
from otp_core.store.outbox import FAILED
from otp_core.store.queries import (
    AuditFilter,
    AuditLine,
    former_contract_ids,
    newest_audit_id,
)
from otp_core.store.schema import DRIFTS, NOT_A_LOGIN, audit, customer, outbox, permit, profile, token
from otp_core.store.search_terms import by_ids_and_terms

Row = TypeVar("Row")

MOST_FOUND = 20
"""Customers that a search shows."""

LOOK_BACK = 20_000
"""Rows at the end of the audit trail that are looked through."""


class FoundCustomer(NamedTuple):
    """A customer as a list shows them. ``locked_at``: ms since the epoch."""

    key: int
    contract_id: str
    name: str | None
    otp_use: str
    locked_at: int | None
    reading: str | None = None


def _customers() -> Select[Any]:
    return select(
        customer.c.key,
        customer.c.contract_id,
        profile.c.name,
        customer.c.otp_use,
        customer.c.locked_at,
        profile.c.reading,
    ).select_from(customer.join(profile, profile.c.customer_key == customer.c.key))


def find_customers(connection: Connection, typed: str) -> list[FoundCustomer]:
    """Up to MOST_FOUND customers whose contract ID or token ID is what was typed; whom a reference number is about; or
    of whom an ID, the name, its reading or the e-mail address begins so (search_terms.py). The likeliest first."""
    text = typed.strip()
    exact = select(customer.c.key).where(customer.c.contract_id == normalise_contract_id(text))
    rated: Iterator[Select[Any]] = chain([exact], of_reference(connection, text), by_ids_and_terms(text))
    found: dict[int, None] = {}
    for query in rated:
        found |= dict.fromkeys(connection.execute(query.limit(MOST_FOUND)).scalars())
        if len(found) >= MOST_FOUND:
            break
    keys = list(found)[:MOST_FOUND]
    rows = {row[0]: FoundCustomer(*row) for row in connection.execute(_customers().where(customer.c.key.in_(keys)))}
    return [rows[key] for key in keys]


def of_reference(connection: Connection, typed: str) -> Iterator[Select[Any]]:
    """Whom the rows of a reference number are about."""
    try:
        first, last = ids_of(typed, newest_audit_id(connection))
    except ValueError:
        return
    query = select(audit.c.customer).where(audit.c.id.between(first, last), audit.c.customer.is_not(None))
    about = connection.execute(query.limit(MOST_FOUND)).scalars().all()
    yield select(customer.c.key).where(customer.c.contract_id.in_(about))


def contract_id_of(connection: Connection, key: int) -> str | None:
    """The contract ID of a customer's key; None if there is none."""
    return connection.execute(select(customer.c.contract_id).where(customer.c.key == key)).scalar()


def keys_of(connection: Connection, contract_ids: Collection[str]) -> dict[str, int]:
    """The keys of these customers, as far as there are such."""
    query = select(customer.c.contract_id, customer.c.key).where(customer.c.contract_id.in_(contract_ids))
    return {row[0]: row[1] for row in connection.execute(query)}


def token_id_of(connection: Connection, key: int) -> str | None:
    """The token ID of a token's key; None if there is none."""
    return connection.execute(select(token.c.token_id).where(token.c.key == key)).scalar()


def keys_of_tokens(connection: Connection, token_ids: Collection[str]) -> dict[str, int]:
    """The keys of these tokens, as far as there are such."""
    query = select(token.c.token_id, token.c.key).where(token.c.token_id.in_(token_ids))
    return {row[0]: row[1] for row in connection.execute(query)}


def customer_page(connection: Connection, *, after: str = "", limit: int = 50, use: str = "") -> list[FoundCustomer]:
    """A page in the order of contract IDs, of those after ``after``; ``use``: an OtpUse, or "locked"."""
    query = _customers().where(customer.c.contract_id > after).order_by(customer.c.contract_id).limit(limit)
    if use == LOCKED:
        query = query.where(customer.c.locked_at.is_not(None))
    elif use:
        query = query.where(customer.c.otp_use == use)
    return [FoundCustomer(*row) for row in connection.execute(query)]


def locked_customers(connection: Connection, since: int, limit: int = 10) -> list[FoundCustomer]:
    """Who was locked since a moment (ms) and still is, the latest first."""
    query = _customers().where(customer.c.locked_at >= since).order_by(customer.c.locked_at.desc())
    return [FoundCustomer(*row) for row in connection.execute(query.limit(limit))]


COUNTED = 10_000
"""More than so many are not counted."""


class Waiting(NamedTuple, Generic[Row]):
    """Some of those that wait, and how many they are: up to COUNTED, then one more."""

    rows: list[Row]
    number: int


class Undelivered(NamedTuple):
    """A notice that was given up. ``key``: the customer's; ``notice``: the audit row that it tells of."""

    key: int
    contract_id: str
    notice: int
    event: str
    error: str | None


class WaitingPermit(NamedTuple):
    """A customer who has a reissue permit. ``until``: ms since the epoch."""

    key: int
    contract_id: str
    name: str | None
    until: int


def undelivered(connection: Connection, limit: int = 5) -> Waiting[Undelivered]:
    """The notices that could not be delivered, the latest first."""
    joined = outbox.join(customer, customer.c.key == outbox.c.customer_key)
    columns = customer.c.key, customer.c.contract_id, outbox.c.key, outbox.c.event, outbox.c.error
    failed = outbox.c.state == FAILED
    query = select(*columns).select_from(joined).where(failed).order_by(outbox.c.next_at.desc(), outbox.c.key.desc())
    rows = [Undelivered(*row) for row in connection.execute(query.limit(limit))]
    return Waiting(rows, _number(connection, select(outbox.c.key).where(failed)))


def waiting_permits(connection: Connection, limit: int = 5) -> Waiting[WaitingPermit]:
    """Those whom a reissue was permitted and who have not enrolled yet, in the order of contract IDs."""
    waits = customer.c.otp_use == OtpUse.REISSUE_PERMITTED
    joined = customer.join(permit, permit.c.customer_key == customer.c.key)
    joined = joined.join(profile, profile.c.customer_key == customer.c.key)
    columns = customer.c.key, customer.c.contract_id, profile.c.name, permit.c.expires_at
    query = select(*columns).select_from(joined).where(waits).order_by(customer.c.contract_id)
    rows = [WaitingPermit(*row) for row in connection.execute(query.limit(limit))]
    return Waiting(rows, _number(connection, select(customer.c.key).where(waits)))


LOCKED = "locked"
"""The name of the list of customers who are locked, beside those of each OtpUse."""


def numbers_of_customers(connection: Connection) -> dict[str, int]:
    """How many customers are in each list, as far as they are counted."""
    keys = select(customer.c.key)
    found = {use.value: _number(connection, keys.where(customer.c.otp_use == use)) for use in OtpUse}
    return found | {LOCKED: _number(connection, keys.where(customer.c.locked_at.is_not(None)))}


DRIFTING = "drifting"
"""The name of the list of tokens whose clock is three steps off or more, beside those of each TokenState."""


def numbers_of_tokens(connection: Connection) -> dict[str, int]:
    """How many tokens are in each list, as far as they are counted."""
    keys = select(token.c.key)
    found = {state.value: _number(connection, keys.where(token.c.state == state)) for state in TokenState}
    return found | {DRIFTING: _number(connection, keys.where(DRIFTS))}


def _number(connection: Connection, query: Select[Any]) -> int:
    return connection.execute(select(func.count()).select_from(query.limit(COUNTED + 1).subquery())).scalar_one()


def permit_until(connection: Connection, contract_id: str) -> int | None:
    """Until when (ms) the customer's reissue permit is good, or was; None: there is none."""
    joined = permit.join(customer, customer.c.key == permit.c.customer_key)
    query = select(permit.c.expires_at).select_from(joined).where(customer.c.contract_id == contract_id)
    return connection.execute(query).scalar()


def last_rows(connection: Connection, events: Iterable[str], limit: int) -> list[AuditLine]:
    """Up to ``limit`` audit rows of these events among the last LOOK_BACK rows, the newest first."""
    return _tail(connection, audit.c.event.in_(tuple(events)), limit)


def acts_by_command(connection: Connection, events: Iterable[str], limit: int) -> list[AuditLine]:
    """The same of what was done by the command line."""
    return _tail(connection, audit.c.event.in_(tuple(events)) & audit.c.source.startswith(COMMAND_SOURCE), limit)


def rows_of_customer(connection: Connection, contract_id: str, limit: int) -> list[AuditLine]:
    """What happened to a customer last, the newest first: acts however long ago they were, logins as far as
    ``audit_page`` looks back. Not who has looked at them."""
    wanted = _with_former(connection, AuditFilter(customer=contract_id))
    acts = _lines(connection, _ROWS.where(audit.c.customer.in_((contract_id, *wanted.former)), NOT_A_LOGIN), limit)
    logins = replace(wanted, event="login.")
    latest = look(connection, logins, limit=limit, most=LOOK_BACK, newest_first=True).rows
    return sorted([*acts, *latest], key=lambda row: -row.id)[:limit]


def _with_former(connection: Connection, wanted: AuditFilter) -> AuditFilter:
    """A customer's rows of before a rename are theirs too."""
    if wanted.customer is None:
        return wanted
    return replace(wanted, former=former_contract_ids(connection, wanted.customer))


_ROWS = select(*(audit.c[name] for name in AuditLine._fields))


def _tail(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[AuditLine]:
    """Those of the last LOOK_BACK rows that a condition holds for."""
    newest = select(audit.c.id).order_by(audit.c.id.desc()).limit(1).offset(LOOK_BACK)
    since = connection.execute(newest).scalar() or 0
    return _lines(connection, _ROWS.where(audit.c.id > since, condition), limit)


def _lines(connection: Connection, query: Select[Any], limit: int) -> list[AuditLine]:
    return [AuditLine(*row) for row in connection.execute(query.order_by(audit.c.id.desc()).limit(limit))]


class AuditPage(NamedTuple):
    """A page of the audit trail, the newest row first. ``next_before``: where the next page begins, None for the end;
    ``looked_to``: the number down to which the trail was looked through, where the page is not full."""

    rows: list[AuditLine]
    next_before: int | None
    looked_to: int | None


def audit_page(connection: Connection, wanted: AuditFilter, *, limit: int) -> AuditPage:
    """Up to ``limit`` of the rows before ``wanted.before``; about LOOK_BACK rows are looked at."""
    found = look(connection, _with_former(connection, wanted), limit=limit, most=LOOK_BACK, newest_first=True)
    return AuditPage(found.rows, found.to, found.to if len(found.rows) < limit else None)


class AuditStretch(NamedTuple):
    """Rows in the order of time. ``next_after``: where to go on, None at the end of the trail."""

    rows: list[AuditLine]
    next_after: int | None


def audit_stretch(connection: Connection, wanted: AuditFilter, *, limit: int) -> AuditStretch:
    """Up to ``limit`` of the rows after ``wanted.after``, the oldest first; about LOOK_BACK rows are looked at."""
    found = look(connection, _with_former(connection, wanted), limit=limit + 1, most=LOOK_BACK, newest_first=False)
    if len(found.rows) > limit:
        return AuditStretch(found.rows[:limit], found.rows[limit - 1].id)
    return AuditStretch(found.rows, found.to)


REFUSED_LOGINS = (Event.LOGIN_REJECTED, Event.PAGES_REFUSED, Event.ACCOUNT_REFUSED)
"""What the first page shows of the last minutes."""
