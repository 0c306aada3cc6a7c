"""The audit trail in parts: a month each (UTC), told apart by the ids, which have the time in them.

Theory of operation
-------------------
*Ahead.* Each node looks now and then whether the next months have their parts, and makes those that are missing; one
table is made by itself and then attached, which no login waits for. What has no part falls into the default one. Parts
need the rights of the tables' owner; where a node has not got them, `sekisho init` makes them, and `doctor` says so.

*Taking away.* A part with nothing but old rows is dropped as a whole. One that ends behind the last old row is replaced
by a table with the others, which is filled before, a little at a time: they do not change any more, and while a
transaction goes on nothing is sealed. Only the exchange locks the trail, for milliseconds; it waits for nobody longer
than LOCK_MS, so that no login waits longer for it, and is tried again. One session at a time does this, by a lock of
that very session: two would fill and exchange each other's tables, and rows would be lost.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from otp_core.audit import id_at, ms_of
from otp_core.model import StoreBusy

AHEAD = 3
"""Months that have their parts before they begin."""

LOCK_MS = 150
_TRIES, _PAUSE = 40, 0.25
_MOST_MADE = 36
"""Parts that are made at once: the database's clock may be wrong by decades."""

_TAKING_AWAY = (0x53656B69, 16)
"""The advisory lock of the session that takes parts away."""

_FILLED_AT_ONCE = 20_000
_MOST_MOVED = 50_000
"""Rows that are taken out of the default part for a month that was late."""

_LOWEST = -(2**63)
_DAY_MS = 86_400_000

STATEMENTS = (
    "CREATE TABLE audit_rest PARTITION OF audit DEFAULT",
    "CREATE TABLE audit_first PARTITION OF audit FOR VALUES FROM (MINVALUE) TO ({until})",
)
"""Of a new store, with the id up to which the first part goes."""

_PARTS = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), greatest(c.reltuples, 0)::bigint
  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass('audit')
"""
_HAS_REST = "SELECT to_regclass('audit_rest') IS NOT NULL"
_LEFT_OVER = r"""
SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
   AND relname LIKE 'audit\_%\_rest' AND NOT relispartition
"""
_BOUND = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'(-?[0-9]+)')\) TO \('(-?[0-9]+)'\)")
_NOW = "SELECT (extract(epoch FROM now()) * 1000)::bigint"

Connection = psycopg.Connection[Any]


class Part(NamedTuple):
    """The ids from ``low`` on and below ``high``; ``rows``: about so many."""

    name: str
    low: int
    high: int
    rows: int


def parts(connection: Connection) -> list[Part]:
    """All but the default one, in their order; none for a trail that is one table. Raises psycopg.Error."""
    found = []
    for name, bound, rows in connection.execute(_PARTS).fetchall():
        match = _BOUND.fullmatch(bound or "")
        if match is not None:
            found.append(Part(name, _LOWEST if match[1] is None else int(match[1]), int(match[2]), rows))
    return sorted(found, key=lambda one: one.low)


def month_behind(at_ms: int, months: int = 1) -> int:
    """When the month behind this moment begins, or so many months behind (ms since the epoch)."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    number = moment.year * 12 + moment.month - 1 + months
    return int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)


def make_ahead(connection: Connection, now_ms: int | None = None) -> None:
    """Make the parts of the next months that are not there, on a connection that commits by itself. ``now_ms``: None
    for the database's time, because a node's clock may be wrong. Raises psycopg.Error; InsufficientPrivilege where the
    tables are another one's, LockNotAvailable if it may be tried again, DuplicateTable if another one makes them."""
    if not _one(connection, _HAS_REST):
        return
    now_ms = int(_one(connection, _NOW)) if now_ms is None else now_ms
    there = parts(connection)
    high, goal = max((one.high for one in there), default=id_at(month_behind(now_ms, 0))), month_behind(now_ms, AHEAD)
    for _ in range(_MOST_MADE):
        if ms_of(high) >= goal:
            return
        end = id_at(month_behind(ms_of(high)))
        _make(connection, Part(f"audit_{datetime.fromtimestamp(ms_of(high) / 1000, UTC):%Y_%m_%d}", high, end, 0))
        high = end


def make_ahead_patiently(connection: Connection) -> None:
    """The same, tried again while others have the trail; of what another one makes, nothing is left to do. Raises
    psycopg.Error."""
    with suppress(psycopg.errors.DuplicateTable):
        _tried(lambda: make_ahead(connection))


def _one(connection: Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _make(connection: Connection, part: Part) -> None:
    name = sql.Identifier(part.name)
    with _brief(connection):
        connection.execute("LOCK TABLE audit_rest IN ACCESS EXCLUSIVE MODE")
        late = "SELECT count(*) FROM (SELECT 1 FROM audit_rest WHERE id >= %s AND id < %s LIMIT %s) AS late"
        row = connection.execute(late, (part.low, part.high, _MOST_MOVED + 1)).fetchone()
        if row is None or row[0] > _MOST_MOVED:
            return  # a month that was missed stays in the default part
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE audit INCLUDING ALL)").format(name))
        if row[0]:
            moved = (
                "WITH late AS (DELETE FROM audit_rest WHERE id >= {} AND id < {} RETURNING *) INSERT INTO {} TABLE late"
            )
            connection.execute(sql.SQL(moved).format(part.low, part.high, name))
        connection.execute(_attach(part.name, part.low, part.high))


def drop_until(connection: Connection, until: int) -> int:
    """Drop the parts up to an id; about how many rows that were. Parts that rows may still be added to are left, and
    those of which less than half is old. Raises StoreBusy while another session does it, and psycopg.Error; the rights
    of the owner are needed."""
    if not connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _TAKING_AWAY).fetchone() == (True,):
        raise StoreBusy("store: another session takes old parts of the audit trail away: wait until it has ended")
    try:
        for (name,) in connection.execute(_LEFT_OVER).fetchall():  # of a call that was killed
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        return _drop_until(connection, until)
    finally:
        with suppress(psycopg.Error):  # it ends with the session
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", _TAKING_AWAY)


def _drop_until(connection: Connection, until: int) -> int:
    now_ms, gone = int(_one(connection, _NOW)), 0
    for part in parts(connection):
        if part.low > until or part.high > id_at(now_ms - _DAY_MS):
            continue
        if part.high - 1 <= until:
            _tried(lambda part=part: _exchange(connection, part, None))  # type: ignore[misc]
        elif part.low == _LOWEST or until - part.low > part.high - until:
            _replace(connection, part, Part(f"{part.name}_rest", until + 1, part.high, 0))
        else:
            continue
        gone += part.rows
    return gone


def _replace(connection: Connection, part: Part, rest: Part) -> None:
    """Have a table with what is left of a part take its place."""
    try:
        _fill(connection, part, rest)
        _tried(lambda: _exchange(connection, part, rest))
    except psycopg.errors.LockNotAvailable:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(rest.name)))
        raise


def _fill(connection: Connection, part: Part, rest: Part) -> None:
    """A table with what is left of a part, and what PostgreSQL need not look for then."""
    name = sql.Identifier(rest.name)
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE audit INCLUDING ALL)").format(name))
    step = sql.SQL(
        "WITH filled AS (INSERT INTO {} SELECT * FROM {} WHERE id >= %s AND id < %s ORDER BY id LIMIT %s RETURNING id) "
        "SELECT max(id) FROM filled"
    ).format(name, sql.Identifier(part.name))
    low = rest.low
    while True:
        begun = time.monotonic()
        row = connection.execute(step, (low, rest.high, _FILLED_AT_ONCE)).fetchone()
        if row is None or row[0] is None:
            break
        low = row[0] + 1
        time.sleep(time.monotonic() - begun)  # the database is not this command's alone
    bounds = "ALTER TABLE {} ADD CONSTRAINT bounds CHECK (id IS NOT NULL AND id >= {} AND id < {})"
    connection.execute(sql.SQL(bounds).format(name, rest.low, rest.high))


def _exchange(connection: Connection, part: Part, rest: Part | None) -> None:
    name = sql.Identifier(part.name)
    with _brief(connection):
        connection.execute(sql.SQL("ALTER TABLE audit DETACH PARTITION {}").format(name))
        connection.execute(sql.SQL("DROP TABLE {}").format(name))
        if rest is not None:
            connection.execute(_attach(rest.name, rest.low, rest.high))
            connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT bounds").format(sql.Identifier(rest.name)))
            connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(rest.name), name))


def _attach(name: str, low: int, high: int) -> sql.Composed:
    statement = "ALTER TABLE audit ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})"
    return sql.SQL(statement).format(sql.Identifier(name), sql.Literal(low), sql.Literal(high))


class _brief:  # noqa: N801  used as a statement
    """One transaction that waits for nobody longer than LOCK_MS."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute(f"SET LOCAL lock_timeout = '{LOCK_MS}ms'")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def _tried(step: Callable[[], None]) -> None:
    """Do it, as often as somebody else has the trail for longer. Raises psycopg.errors.LockNotAvailable."""
    for _ in range(_TRIES):
        try:
            step()
        except psycopg.errors.LockNotAvailable:
            time.sleep(_PAUSE)
        else:
            return
    step()
