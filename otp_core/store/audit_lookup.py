"""Look-up tables of the audit trail: which rows are about a customer or a token, and where an event or an actor occurs.

The login batch writes no index for it, because that would be one more random page a login. So a task beside
(lookup_task.py) takes closed stretches of the trail in, one after another, and whoever asks looks through the rows
behind the last stretch as they are. Inside a stretch the entries are sorted, so a stretch is written at one place.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, text

from otp_core.audit import id_at
from otp_core.store.queries import AuditFilter, AuditLine, audit_rows_where, conditions
from otp_core.store.schema import audit, audit_name, audit_stretch, audit_subject

ROWS_OF_A_STRETCH = 8192
"""A stretch is closed when it has so many rows: few enough that logins do not wait for it."""

SETTLED_MS = 60_000
"""A stretch is closed when its last row is so old: a row may be written later than it was numbered."""

IDS_AT_ONCE, MOST_AT_ONCE = 200, 1600
"""Rows of a customer or token that are looked up at once: at first, and at most."""

_ROW_APART = 10
"""What a row costs that is looked up by itself, beside one that is read in passing."""

# The subjects of the rows, told apart by their first letter. The same on SQLite and PostgreSQL.
_SUBJECTS = text(
    "INSERT INTO audit_subject (stretch, subject, id)"
    " SELECT :first, 'c' || customer, id FROM audit WHERE id BETWEEN :first AND :last AND customer IS NOT NULL"
    " UNION ALL SELECT :first, 't' || token, id FROM audit WHERE id BETWEEN :first AND :last AND token IS NOT NULL"
    " ORDER BY 2, 3"
)
_NAMES = text(
    "INSERT INTO audit_name (name, stretch, number)"
    " SELECT 'e' || event, :first, count(*) FROM audit WHERE id BETWEEN :first AND :last GROUP BY event"
    " UNION ALL SELECT 'a' || actor, :first, count(*) FROM audit WHERE id BETWEEN :first AND :last GROUP BY actor"
)


class Stretch(NamedTuple):
    """A stretch of the trail, by the ids of its first and last row."""

    first: int
    last: int


def closed_to(connection: Connection) -> int:
    """The id of the last row that is in the tables, 0 for none."""
    return connection.execute(select(func.max(audit_stretch.c.last))).scalar() or 0


def next_stretch(connection: Connection, now: int) -> Stretch | None:
    """The stretch behind those that are in the tables; None: it is not closed yet. ``now``: ms since the epoch."""
    behind = select(audit.c.id).where(audit.c.id > closed_to(connection)).order_by(audit.c.id)
    first = connection.execute(behind.limit(1)).scalar()
    last = connection.execute(behind.limit(1).offset(ROWS_OF_A_STRETCH - 1)).scalar()
    return None if first is None or last is None or last >= id_at(now - SETTLED_MS) else Stretch(first, last)


def take_in(connection: Connection, stretch: Stretch) -> bool:
    """Write a stretch into the tables; False if somebody else did so since it was asked for."""
    if closed_to(connection) >= stretch.first:
        return False
    connection.execute(insert(audit_stretch).values(first=stretch.first, last=stretch.last))
    connection.execute(_SUBJECTS, stretch._asdict())
    connection.execute(_NAMES, stretch._asdict())
    return True


def is_ahead(connection: Connection, now: int) -> bool:
    """Whether the tables reach into the future: they were written while the clock was wrong."""
    return closed_to(connection) >= id_at(now)


def give_up_future(connection: Connection, now: int) -> None:
    """Forget the stretches that end in the future: rows will be numbered there that they do not have."""
    ahead = select(audit_stretch.c.first).where(audit_stretch.c.last >= id_at(now))
    for table in (audit_subject, audit_name):
        connection.execute(delete(table).where(table.c.stretch.in_(ahead)))
    connection.execute(delete(audit_stretch).where(audit_stretch.c.last >= id_at(now)))


# Asking


class Looked(NamedTuple):
    """Rows that were found. ``to``: the id up to which the trail was looked through, in the direction that was asked
    for; None: to its end."""

    rows: list[AuditLine]
    to: int | None


class _Piece(NamedTuple):
    """A part of the trail to look through: all rows from ``low`` to ``high``, or those of ``ids`` alone. ``cost``: rows
    that are looked at."""

    low: int
    high: int
    cost: int
    ids: list[int] | None = None


def look(
    connection: Connection, wanted: AuditFilter, *, limit: int, most: int | None = None, newest_first: bool
) -> Looked:
    """Up to ``limit`` rows of those that are wanted, in the order of time or the other way round; about ``most`` rows
    are looked at, however long the trail is, or (None) as many as it takes."""
    rows: list[AuditLine] = []
    left = most
    only = conditions(wanted)
    for piece in _pieces(connection, wanted, left, newest_first):
        where = [*only, audit.c.id.between(piece.low, piece.high)]
        if piece.ids is not None:
            where.append(audit.c.id.in_(piece.ids))
        rows += audit_rows_where(connection, where, limit=limit - len(rows), newest_first=newest_first)
        if len(rows) == limit:
            return Looked(rows, rows[-1].id)
        if left is None:
            continue
        left -= piece.cost
        if left <= 0:
            return Looked(rows, piece.low if newest_first else piece.high)
    return Looked(rows, None)


def _pieces(connection: Connection, wanted: AuditFilter, most: int | None, newest_first: bool) -> Iterator[_Piece]:
    """What has to be looked through, in order; nothing that cannot have a row which is wanted."""
    low, high = wanted.after + 1, _LAST_ID if wanted.before is None else wanted.before - 1
    if low > high:  # behind the largest ID there is none, and no engine takes a larger number
        return
    closed = closed_to(connection)
    parts = [_closed(connection, wanted, low, min(high, closed), newest_first)] if low <= closed else []
    if high > closed:
        parts.append(_open(connection, max(low, closed + 1), high, most, newest_first))
    for part in reversed(parts) if newest_first else parts:
        yield from part


_LAST_ID = 2**63 - 1


def _open(connection: Connection, low: int, high: int, most: int | None, newest_first: bool) -> Iterator[_Piece]:
    """The rows that no table knows: so many of them, or (None) all."""
    if most is None:
        yield _Piece(low, high, 0)
        return
    query = select(audit.c.id).where(audit.c.id.between(low, high))
    query = query.order_by(audit.c.id.desc() if newest_first else audit.c.id).limit(1).offset(most - 1)
    end: int | None = connection.execute(query).scalar()
    if end is None:
        yield _Piece(low, high, 0)
    else:
        yield _Piece(end, high, most) if newest_first else _Piece(low, end, most)


def _closed(connection: Connection, wanted: AuditFilter, low: int, high: int, newest_first: bool) -> Iterator[_Piece]:
    """The rows that the tables know."""
    if subjects := _subjects(wanted):
        return _of_subjects(connection, subjects, low, high, newest_first)
    if wanted.event is not None or wanted.actor is not None:
        return _with_names(connection, wanted, low, high, newest_first)
    return iter([_Piece(low, high, 0)])


def _subjects(wanted: AuditFilter) -> list[str]:
    """Under which names the tables have the rows: the customer's, or else the token's."""
    if wanted.customer is not None:
        names = (wanted.customer, *wanted.former, wanted.customer_fingerprint)
        return [f"c{name}" for name in dict.fromkeys(names) if name is not None]
    names = (wanted.token, wanted.token_fingerprint)
    return [f"t{name}" for name in dict.fromkeys(names) if name is not None]


def _of_subjects(
    connection: Connection, subjects: list[str], low: int, high: int, newest_first: bool
) -> Iterator[_Piece]:
    """The rows of customers or tokens, more at a time the longer nothing is found."""
    number = IDS_AT_ONCE
    while True:
        found = [_ids_of(connection, subject, low, high, number, newest_first) for subject in subjects]
        ids = list(islice(merge(*found, reverse=newest_first), number))
        if not ids:
            return
        yield _Piece(min(ids), max(ids), _ROW_APART * len(ids), ids)
        number = min(2 * number, MOST_AT_ONCE)
        if newest_first:
            high = ids[-1] - 1
        else:
            low = ids[-1] + 1


def _ids_of(connection: Connection, subject: str, low: int, high: int, number: int, newest_first: bool) -> list[int]:
    """The first ids of one subject: a look into each stretch, until there are enough of them."""
    ordered: tuple[ColumnElement[Any], ...] = (audit_stretch.c.first, audit_subject.c.id)
    if newest_first:
        ordered = tuple(column.desc() for column in ordered)
    joined = audit_stretch.join(audit_subject, audit_subject.c.stretch == audit_stretch.c.first)
    query = (
        select(audit_subject.c.id)
        .select_from(joined)
        .where(
            audit_stretch.c.first <= high,
            audit_stretch.c.last >= low,
            audit_subject.c.subject == subject,
            audit_subject.c.id.between(low, high),
        )
    )
    return list(connection.execute(query.order_by(*ordered).limit(number)).scalars())


def _with_names(
    connection: Connection, wanted: AuditFilter, low: int, high: int, newest_first: bool
) -> Iterator[_Piece]:
    """The stretches in which both the event and the actor occur, as far as they are asked for."""
    query = select(audit_stretch).where(audit_stretch.c.first <= high, audit_stretch.c.last >= low)
    if wanted.event is not None:
        name = f"e{wanted.event.lower()}"  # SQLite's LIKE, which the rows are compared by, knows no case
        begins = (audit_name.c.name >= name) & (audit_name.c.name <= f"{name}\U0010ffff")  # BETWEEN takes no COLLATE
        query = query.where(audit_stretch.c.first.in_(_occurs(begins)))
    if wanted.actor is not None:
        query = query.where(audit_stretch.c.first.in_(_occurs(audit_name.c.name == f"a{wanted.actor}")))
    order = audit_stretch.c.first.desc() if newest_first else audit_stretch.c.first
    for first, last in connection.execute(query.order_by(order)).all():
        yield _Piece(max(first, low), min(last, high), ROWS_OF_A_STRETCH)


def _occurs(condition: ColumnElement[bool]) -> Select[Any]:
    return select(audit_name.c.stretch).where(condition)
