"""What customers are found by: a table of folded terms, written with the customer, and the questions to it.

A term is found by its beginning, through an index, the same way on every engine. Contract IDs and token IDs are found
through their own indexes; a contract ID has a term where it is not stored in its folded form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Text, delete, func, literal, select, text

from otp_core.folding import LONGEST_TERM, folded, folded_words, name_terms
from otp_core.otp import normalise_contract_id, normalise_token_id
from otp_core.store.schema import binding, customer, meta, profile, search_term, token

_LAST = "\U0010ffff"
"""Sorts behind every character: what begins with a text lies between the text and the text with this behind it."""

MOST_OF_A_WORD = 100_000
"""Customers with one word of a search of several, and tokens; the console looks at no further ones, so that two common
beginnings together take no longer than this. Whole words, and a beginning behind them, are found without that."""

UNFILLED = "search_terms"
"""The name in ``meta`` of which customers still have no terms, after an import or from before schema 0012: the key of
the last one that has some, and of the last one that needs them, 8 octets each. It is gone when all have."""

FILLED_AT_ONCE = 10_000
"""Customers that one transaction gives their terms: each rewrites much of the index, so few are better than many."""

FILLED_BESIDE = 2_000
"""The same beside a server's logins, which wait for the write lock meanwhile (0.1 s)."""

# A customer may have been changed while an older one is waited for: on SQLite and PostgreSQL alike.
_ADD = text("INSERT INTO search_term (term, customer_key) VALUES (:term, :customer_key) ON CONFLICT DO NOTHING")


class Named(NamedTuple):
    """What the terms of a customer are made of."""

    contract_id: str
    name: str | None = None
    reading: str | None = None
    email: str | None = None

    def terms(self) -> set[str]:
        """All of them. May be empty."""
        return set(self._each())

    def has_terms(self, beginnings: Sequence[str]) -> bool:
        """Whether each of these folded texts begins a term."""
        terms = self._each() if len(beginnings) == 1 else self.terms()
        cut = [one[:LONGEST_TERM] for one in beginnings]
        return all(any(term.startswith(one) for term in terms) for one in cut)

    def _each(self) -> Iterator[str]:
        """Those that are folded quickly come first: one may be enough."""
        if email := folded(self.email or ""):
            yield email
        if (contract_id := folded(self.contract_id)) not in ("", self.contract_id):
            yield contract_id
        yield from name_terms(self.name or "")
        yield from name_terms(self.reading or "")


def begins(column: ColumnElement[Any], beginning: str) -> ColumnElement[bool]:
    """Whether a column begins so, through its index, which LIKE would not use. ``%`` and ``_`` are ordinary
    characters."""
    # As plain text: a collation behind the parameter is no syntax of PostgreSQL here.
    return column.between(literal(beginning, Text()), literal(beginning + _LAST, Text()))


def within(column: ColumnElement[Any], first: str, last: str) -> ColumnElement[bool]:
    """Whether a column is from ``first`` to ``last``, with all that begins so; an empty one is no bound."""
    return column.between(literal(first, Text()), literal(last + _LAST, Text()))


# Writing


def add_terms(connection: Connection, customers: Iterable[tuple[int, Named]]) -> None:
    """Write the terms of customers, by key."""
    # In the order of the index: neighbours are written into the same page.
    rows = sorted((term, key) for key, named in customers for term in named.terms())
    if not rows:
        return
    # Past SQLAlchemy's own loop over the parameters, which takes longer than the writing.
    compiled = _ADD.compile(dialect=connection.dialect)
    if compiled.positional:
        connection.exec_driver_sql(str(compiled), rows)
    else:
        connection.exec_driver_sql(str(compiled), [{"term": term, "customer_key": key} for term, key in rows])


def leave_unfilled(connection: Connection, first: int, last: int) -> None:
    """Leave the terms of new customers, with keys from ``first`` to ``last``, to ``fill``."""
    after, until = _unfilled(connection) or (first - 1, last)
    value = min(after, first - 1).to_bytes(8, "big") + max(until, last).to_bytes(8, "big")
    connection.execute(delete(meta).where(meta.c.name == UNFILLED))
    connection.execute(meta.insert().values(name=UNFILLED, value=value))


def named(connection: Connection, customer_key: int) -> Named:
    """What a customer's terms are made of now."""
    return Named(*connection.execute(_NAMED.where(customer.c.key == customer_key)).one())


def change_terms(connection: Connection, customer_key: int, before: Named, after: Named) -> None:
    """Take away the terms that a customer does not have any more, and write those that are new."""
    gone = before.terms() - after.terms()
    if gone:
        connection.execute(
            delete(search_term).where(search_term.c.customer_key == customer_key, search_term.c.term.in_(gone))
        )
    add_terms(connection, [(customer_key, after)])


_NAMED = select(customer.c.contract_id, profile.c.name, profile.c.reading, profile.c.email).select_from(
    customer.join(profile, profile.c.customer_key == customer.c.key)
)


def count_unfilled(connection: Connection) -> int | None:
    """How many customers wait for ``fill``; None: that is done."""
    span = _unfilled(connection)
    if span is None:
        return None
    query = select(func.count()).where(customer.c.key > span[0], customer.c.key <= span[1])
    return connection.execute(query).scalar_one()


def _unfilled(connection: Connection) -> tuple[int, int] | None:
    value: bytes | None = connection.execute(select(meta.c.value).where(meta.c.name == UNFILLED)).scalar()
    return None if value is None else (int.from_bytes(value[:8], "big"), int.from_bytes(value[8:], "big"))


def fill(connection: Connection, limit: int = FILLED_AT_ONCE) -> int | None:
    """Give up to ``limit`` customers who have no terms theirs; how many. None: nobody waits any more."""
    span = _unfilled(connection)
    if span is None:
        return None
    after, last = span
    query = _NAMED.add_columns(customer.c.key).where(customer.c.key > after, customer.c.key <= last)
    rows = connection.execute(query.order_by(customer.c.key).limit(limit)).all()
    if not rows:
        connection.execute(delete(meta).where(meta.c.name == UNFILLED))
        return None
    add_terms(connection, [(row[-1], Named(*row[:-1])) for row in rows])
    now = rows[-1].key.to_bytes(8, "big") + last.to_bytes(8, "big")
    connection.execute(meta.update().where(meta.c.name == UNFILLED).values(value=now))
    return len(rows)


# Asking


def by_ids_and_terms(typed: str) -> Iterator[Select[Any]]:
    """The questions that together say of whom a contract ID, the ID of a token, the name, its reading or the e-mail
    address begins with what was typed; each about ``customer.c.key`` values, the likeliest first. Of a name each word
    counts, in any order. All of them in order, a page at a time: customer_search.py."""
    for form in contract_id_forms(typed):
        yield select(customer.c.key).where(begins(customer.c.contract_id, form))
    token_id = normalise_token_id(typed)
    if token_id:
        yield holders(token_id, MOST_OF_A_WORD)
    words = folded_words(typed)
    if words:
        yield with_term("".join(words))
    if len(words) > 1:
        yield with_each(words, MOST_OF_A_WORD)


def contract_id_forms(typed: str) -> list[str]:
    """How a contract ID begins as it is stored: as it is typed, and folded. May be empty."""
    return [form for form in dict.fromkeys((normalise_contract_id(typed), folded(typed))) if form]


def with_token_id(beginning: str) -> Select[Any]:
    """The keys of the tokens whose ID begins so."""
    return select(token.c.key).where(begins(token.c.token_id, beginning))


def holders(token_id: str, most: int) -> Select[Any]:
    """Who has one of the first ``most`` tokens whose ID begins so: nobody may have any of a million."""
    tokens = with_token_id(token_id).limit(most).subquery()
    return select(binding.c.customer_key).join(tokens, tokens.c.key == binding.c.token_key)


def with_term(beginning: str) -> Select[Any]:
    """Who has a term that begins so."""
    return select(search_term.c.customer_key).where(begins(search_term.c.term, beginning[:LONGEST_TERM]))


def with_each(words: Iterable[str], most: int) -> Select[Any]:
    """Who has a term for each of these words, among the first ``most`` of each."""
    # Read through those of the shortest word, the most, until there are enough who have the others too.
    first, *others = (with_term(word).limit(most).subquery() for word in sorted(words, key=len))
    have = [first.c.customer_key.in_(select(other.c.customer_key)) for other in others]
    return select(first.c.customer_key).where(*have)
