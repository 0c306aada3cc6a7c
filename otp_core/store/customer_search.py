"""Which customers a search finds: a page in the order of contract IDs, for which a bounded number of rows is read,
however many are found and wherever they stand.

What few rows of an index answer is collected and sorted. Of what has more, the customers are looked through in order,
each by what their terms are made of, because the terms have no index by customer. So a page may be short, or empty,
before the last: it says where to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, func, select, union_all

from otp_core.folding import folded_words
from otp_core.otp import normalise_token_id
from otp_core.store.schema import binding, customer, profile, token
from otp_core.store.search_terms import (
    MOST_OF_A_WORD,
    Named,
    begins,
    contract_id_forms,
    holders,
    with_each,
    with_term,
    with_token_id,
)

MOST_COLLECTED = 20_000
"""Rows of an index that are collected and sorted for one page."""

MOST_LOOKED_THROUGH = 5_000
"""Customers that are looked through for one page. Of a million, among whom more than MOST_COLLECTED are found, so many
hold a hundred, if those stand anywhere."""


class Wanted(NamedTuple):
    """Which customers a list is about. ``use``: an OtpUse; ``locked``: only these."""

    use: str | None = None
    locked: bool = False

    def conditions(self, table: FromClause = customer) -> list[ColumnElement[bool]]:
        """What has to hold for a row."""
        # Few are locked: a query for both is not to go through the index of the use, whose rows may be very many.
        use = table.c.otp_use.concat("") if self.locked else table.c.otp_use
        found: list[ColumnElement[bool]] = [use == self.use] if self.use else []
        return found + ([table.c.locked_at.is_not(None)] if self.locked else [])


class Found(NamedTuple):
    """``next_after``: the contract ID behind which to go on; None: there are no more."""

    contract_ids: list[str]
    next_after: str | None


class _Question(NamedTuple):
    """One of the ways to be found. ``keys``: of all customers who can be, from MOST_COLLECTED rows at most; None: they
    may be more. ``exact``: they all are found. Otherwise customers have to be looked at: who has a term for each of
    ``beginnings`` is found, or a token whose ID begins with ``token_id``."""

    keys: Select[Any] | None
    exact: bool
    beginnings: tuple[str, ...] = ()
    token_id: str = ""


def search(connection: Connection, typed: str, wanted: Wanted, *, after: str, limit: int) -> Found:
    """Up to ``limit`` of those of whom a contract ID, the ID of a token, the name, its reading or the e-mail address
    begins with what was typed, after ``after``. Of a name each word counts, in any order."""
    questions = [*_by_token_id(connection, typed), *_by_terms(connection, typed)]
    ids = set(_by_contract_id(connection, typed, wanted, after, limit + 1))
    ids |= set(_collected(connection, [one for one in questions if one.exact], wanted, after, limit + 1))
    to = None
    if others := [one for one in questions if not one.exact]:
        looked = _looked_through(connection, others, wanted, after, limit + 1)
        ids |= set(looked.contract_ids)
        to = looked.next_after
    in_order = sorted(ids if to is None else (one for one in ids if one <= to))
    page = in_order[:limit]
    return Found(page, page[-1] if len(in_order) > limit else to)


# The questions


def _by_token_id(connection: Connection, typed: str) -> Iterator[_Question]:
    token_id = normalise_token_id(typed)
    if token_id:
        few = _few(connection, with_token_id(token_id), MOST_COLLECTED)
        yield _Question(holders(token_id, MOST_COLLECTED) if few else None, few, token_id=token_id)


def _by_terms(connection: Connection, typed: str) -> Iterator[_Question]:
    words = folded_words(typed)
    if words:
        whole = with_term("".join(words))
        few = _few(connection, whole, MOST_COLLECTED)
        yield _Question(whole if few else None, few, ("".join(words),))
    if len(words) > 1:
        yield _by_words(connection, words)


def _by_words(connection: Connection, words: list[str]) -> _Question:
    """Who has a term for each word: those who have one for each of the rarer words, if they are few."""
    rarer = [word for word in dict.fromkeys(words) if _few(connection, with_term(word), MOST_OF_A_WORD)]
    keys = with_each(rarer, MOST_OF_A_WORD) if rarer else None
    if keys is None or not _few(connection, keys, MOST_COLLECTED):
        return _Question(None, False, tuple(words))
    return _Question(keys, set(rarer) == set(words), tuple(words))


def _few(connection: Connection, query: Select[Any], most: int) -> bool:
    """Whether a question has no more than ``most`` rows; no further ones are read."""
    return connection.execute(select(func.count()).select_from(query.limit(most + 1).subquery())).scalar_one() <= most


# The answers: each the first of them in order


def _by_contract_id(connection: Connection, typed: str, wanted: Wanted, after: str, most: int) -> Iterator[str]:
    id_ = customer.c.contract_id
    for form in contract_id_forms(typed):
        query = select(id_).where(id_ > after, begins(id_, form), *wanted.conditions())
        yield from connection.execute(query.order_by(id_).limit(most)).scalars()


def _collected(
    connection: Connection, questions: Sequence[_Question], wanted: Wanted, after: str, most: int
) -> Sequence[str]:
    keys = [one.keys for one in questions if one.keys is not None]
    if not keys:
        return ()
    table = _of_keys(select(customer.c.contract_id, customer.c.otp_use, customer.c.locked_at), keys)
    query = select(table.c.contract_id).where(table.c.contract_id > after, *wanted.conditions(table))
    return connection.execute(query.order_by(table.c.contract_id).limit(most)).scalars().all()


_CUSTOMERS = select(
    customer.c.key,
    customer.c.contract_id,
    profile.c.name,
    profile.c.reading,
    profile.c.email,
    customer.c.otp_use,
    customer.c.locked_at,
).select_from(customer.join(profile, profile.c.customer_key == customer.c.key))


def _of_keys(customers: Select[Any], keys: Sequence[Select[Any]]) -> FromClause:
    """Those of ``customers`` who have these keys, read by them."""
    # The limit cuts nothing off. Without one, an engine might go through all customers in order and look for each
    # among the keys.
    fence = 10 * MOST_COLLECTED
    return customers.where(customer.c.key.in_(select(union_all(*keys).subquery()))).limit(fence).subquery()


def _looked_through(
    connection: Connection, questions: Sequence[_Question], wanted: Wanted, after: str, most: int
) -> Found:
    """Those whom one of the questions finds. ``next_after``: the last one that was looked at, where that was not the
    last of all, and they are not ``most``."""
    keys = [one.keys for one in questions if one.keys is not None]
    if len(keys) == len(questions):
        table, at_once = _of_keys(_CUSTOMERS, keys), MOST_LOOKED_THROUGH
        query, id_ = select(*table.c).where(*wanted.conditions(table)), table.c.contract_id
    else:
        # Where most are found, few have to be read.
        query, id_, at_once = _CUSTOMERS.where(*wanted.conditions()), customer.c.contract_id, most
    found: list[str] = []
    left = MOST_LOOKED_THROUGH
    while left > 0:
        at_once = min(at_once, left)
        rows = connection.execute(query.where(id_ > after).order_by(id_).limit(at_once)).all()
        found += _matching(connection, questions, rows)
        if len(found) >= most or len(rows) < at_once:
            return Found(found[:most], None)
        after = rows[-1].contract_id
        left -= at_once
        at_once *= 2
    return Found(found, after)


def _matching(connection: Connection, questions: Sequence[_Question], rows: Sequence[Row[Any]]) -> list[str]:
    texts = [one.beginnings for one in questions if one.beginnings]
    found = {row.key for row in rows if _is_found(row, texts)}
    for token_id in (one.token_id for one in questions if one.token_id):
        found |= _holding(connection, [row.key for row in rows if row.key not in found], token_id)
    return [row.contract_id for row in rows if row.key in found]


def _is_found(row: Row[Any], texts: Sequence[tuple[str, ...]]) -> bool:
    """Whether a customer has all the terms of one of these questions."""
    named = Named(row.contract_id, row.name, row.reading, row.email)
    return any(named.has_terms(beginnings) for beginnings in texts)


def _holding(connection: Connection, keys: list[int], token_id: str) -> set[int]:
    """Those of the customers with these keys who have a token whose ID begins so."""
    held = select(binding.c.customer_key, token.c.token_id).join(token, token.c.key == binding.c.token_key)
    rows = connection.execute(held.where(binding.c.customer_key.in_(keys)))
    return {key for key, id_ in rows if id_.startswith(token_id)}
