"""Leaving a verifier: who still uses its tokens, who is to be asked to change, and who has changed to others since a
moment. It only reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Select, exists, func, select

from otp_core.audit import Event, id_at, ms_of
from otp_core.model import OtpUse, TokenState
from otp_core.store.schema import NOT_A_LOGIN, audit, binding, customer, profile, token

_AT_ONCE = 500
_GIVEN_UP = re.compile(r"\bwas ([^;]*)$")


class Changed(NamedTuple):
    """A customer who has changed from a token of the verifier. ``at``: ms."""

    contract_id: str
    at: int


def still_there(connection: Connection, verifier: str) -> Iterator[str]:
    """The contract IDs of active customers who hold a token of this verifier and none of another, in their order."""
    for row in connection.execute(_held(verifier)):
        yield row.contract_id


class ToBeAsked(NamedTuple):
    """A customer who is asked to give up a token."""

    contract_id: str
    token_id: str


def to_be_asked(connection: Connection, verifier: str, since: int, *, after: str, limit: int) -> list[ToBeAsked]:
    """Of those who are still there: who has an e-mail address and was not asked since a moment (ms), behind a contract
    ID, in their order."""
    asked = exists().where(
        NOT_A_LOGIN,
        audit.c.customer == customer.c.contract_id,
        audit.c.event == Event.CHANGE_ASKED,
        audit.c.id >= id_at(since),
    )
    unasked = _held(verifier).where(customer.c.contract_id > after, ~asked).limit(limit)
    return [ToBeAsked(row.contract_id, row.token_id) for row in connection.execute(_addressed(unasked))]


def without_address(connection: Connection, verifier: str) -> int:
    """How many of those who are still there no mail can reach."""
    everybody, reached = _held(verifier), _addressed(_held(verifier))
    numbers = [connection.execute(select(func.count()).select_from(one.subquery())) for one in (everybody, reached)]
    return int(numbers[0].scalar_one()) - int(numbers[1].scalar_one())


def _addressed(query: Select[tuple[str, str]]) -> Select[tuple[str, str]]:
    return query.where(
        exists().where(profile.c.customer_key == customer.c.key, profile.c.email.is_not(None)),
    )


def _held(verifier: str) -> Select[tuple[str, str]]:
    """Active customers with a token of this verifier and none of another, in the order of their contract IDs."""
    others = (
        select(func.count())
        .select_from(binding.join(token, token.c.key == binding.c.token_key))
        .where(binding.c.customer_key == customer.c.key, token.c.verifier != verifier)
        .scalar_subquery()
    )
    return (
        select(customer.c.contract_id, func.min(token.c.token_id).label("token_id"))
        .join(binding, binding.c.customer_key == customer.c.key)
        .join(token, token.c.key == binding.c.token_key)
        .where(token.c.verifier == verifier, token.c.state == TokenState.BOUND)
        .where(customer.c.otp_use == OtpUse.ACTIVE, others == 0)
        .group_by(customer.c.key, customer.c.contract_id)
        .order_by(customer.c.contract_id)
    )


def changed_since(connection: Connection, verifier: str, since: int) -> Iterator[Changed]:
    """Those who have changed from a token of this verifier to one of another, since a moment (ms). Reads the acts on
    customers, and no logins."""
    acts = (
        select(audit.c.id, audit.c.customer, audit.c.token, audit.c.reason)
        .where(NOT_A_LOGIN, audit.c.customer.is_not(None))
        .where(audit.c.event == Event.DEVICE_CHANGED, audit.c.id >= id_at(since))
    )
    rows = connection.execute(acts).all()
    for start in range(0, len(rows), _AT_ONCE):
        batch = [(row, _given_up(row.reason)) for row in rows[start : start + _AT_ONCE]]
        wanted = {one for row, gone in batch for one in (row.token, *gone)}
        known = select(token.c.token_id).where(token.c.token_id.in_(wanted), token.c.verifier == verifier)
        theirs = {row.token_id for row in connection.execute(known)}
        for row, gone in batch:
            if row.token not in theirs and any(one in theirs for one in gone):
                yield Changed(row.customer, ms_of(row.id))


def _given_up(reason: str) -> list[str]:
    """The tokens that were given up, as the desk records them (``accounts/transactions.py``)."""
    found = _GIVEN_UP.search(reason)
    return found[1].split(", ") if found else []


class Branch(NamedTuple):
    """``name``: of the branch, empty for customers of whom none is known."""

    name: str
    still_there: int
    changed: int


def by_branch(there: Iterable[str], changed: Iterable[Changed], branch_of: Callable[[str], str]) -> list[Branch]:
    """How many are still there, and how many have changed, by the branch of each contract ID."""
    still, gone = Counter(map(branch_of, there)), Counter(branch_of(one.contract_id) for one in changed)
    return [Branch(name, still[name], gone[name]) for name in sorted({*still, *gone})]
