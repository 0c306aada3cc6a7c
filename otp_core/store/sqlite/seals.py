"""The seals of the audit trail in SQLite's words (``store.engine.SealStore``), and the look at the whole trail that
verifies them.

Theory of operation
-------------------
*Late ids.* A row's id is drawn before the write lock is taken, so a row can be committed behind one with a higher id.
Nobody may add a row at or below the newest seal's last id: every writer reads that id under the write lock, and draws
anew what does not lie above it (login_batch.py, unit_of_work.py). So whatever lies up to there when a seal is committed
is all that ever will.

*A seal* is made of rows that were read and digested without any lock. Under the lock there is only a look whether as
many rows lie there as were read, and whether the seal before is still the newest; if not, nothing is written, and the
next try reads again. The COMMIT is flushed behind the lock, as a login batch's is (connection.SharedCommits). A seal
does not rewrite ``meta.changed``: no login was decided by it.

*Ids of moments to come* (a clock that was wrong) are left for later: sealed now, they would push the ids of all rows
into the future.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection

from otp_core.audit import id_at
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.connection import SharedCommits
from otp_core.store.trail import LOWEST, Lines, Piece, RawRow, SealRow, are_plain, lines_of, split

SETTLED_MS = 150
"""Rows younger than this are left for the next seal, so that hardly any row comes late."""

_COLUMNS = "id, event, actor, customer, token, source, reason, node"
_ROWS = f"SELECT {_COLUMNS} FROM audit WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"  # noqa: S608  constants
_JOINED = """
SELECT group_concat(id), group_concat(event || char(31) || actor || char(31) || coalesce(customer, char(0)) || char(31)
  || coalesce(token, char(0)) || char(31) || source || char(31) || reason
  || coalesce(char(31) || node, ''), char(30)),
  count(*), sum((customer IS NULL) + (token IS NULL)), count(node) FROM audit WHERE id >= ? AND id <= ?
"""
_BEHIND = "SELECT id FROM audit WHERE id >= ? AND id <= ? ORDER BY id LIMIT 1 OFFSET ?"
_FOREIGN = """
SELECT id FROM audit WHERE id >= ? AND id <= ? AND NOT (typeof(event) = 'text' AND typeof(actor) = 'text'
  AND typeof(customer) IN ('text', 'null') AND typeof(token) IN ('text', 'null')
  AND typeof(source) = 'text' AND typeof(reason) = 'text' AND typeof(node) IN ('text', 'null')) ORDER BY id LIMIT ?
"""
_SEALS = """
SELECT number, until_id, body, signature, marks FROM seal WHERE number > ? AND number <= ? ORDER BY number LIMIT ?
"""
_NEWEST = "SELECT number, until_id, body, signature, marks FROM seal ORDER BY number DESC LIMIT 1"
_DROP = """
SELECT number, until_id, body, signature, marks FROM seal WHERE number = (SELECT max(seal) FROM audit_drop)
"""
_STRANGE = "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name LIMIT 20"
_ADD = "INSERT INTO seal (number, until_id, body, signature, marks) VALUES (?, ?, ?, ?, ?)"
_HIGHEST = 2**63 - 1
_AT_ONCE = 50_000
"""Rows that are read in one look at the trail, or those of one seal if that has more."""
_SEALS_AT_ONCE = 200
_MOST_FOREIGN = 20
_MOST_OF_A_SEAL = 100_000
"""Rows that are looked at where a seal says that it has fewer."""


class SqliteSealStore:
    """On a connection of its own. One thread at a time may use it."""

    def __init__(self, connection: SharedCommits) -> None:
        self._connection = connection

    def newest(self) -> SealRow | None:
        """See ``store.engine.SealStore``."""
        with self._connection.guarded() as connection:
            return _seal(connection, _NEWEST)

    def seal(self, number: int) -> SealRow | None:
        """See ``store.engine.SealStore``."""
        with self._connection.guarded() as connection:
            return _seal(connection, _SEALS, number - 1, number, 1)

    def newest_drop(self) -> SealRow | None:
        """See ``store.engine.SealStore``."""
        with self._connection.guarded() as connection:
            return _seal(connection, _DROP)

    def sealable(self, after: int, now_ms: int, limit: int) -> Lines:
        """See ``store.engine.SealStore``."""
        until = id_at(now_ms - SETTLED_MS)
        with self._connection.guarded() as connection:
            return _lines_joined(connection, after, until, limit) or lines_of(
                rows_between(connection, after, until, limit)
            )

    def append(self, seal: SealRow, before: int, after: int, rows: int) -> bool:
        """See ``store.engine.SealStore``."""
        with self._connection.guarded() as connection:
            with self._connection.turn():
                connection.execute("BEGIN IMMEDIATE")
                number = connection.execute("SELECT coalesce(max(number), 0) FROM seal").fetchone()[0]
                there = "SELECT count(*) FROM audit WHERE id > ? AND id <= ?"
                if number != before or connection.execute(there, (after, seal.until)).fetchone()[0] != rows:
                    connection.execute("ROLLBACK")
                    return False
                connection.execute(_ADD, seal)
                connection.execute("COMMIT")
                self._connection.committed(0)
            self._connection.flush()
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def _lines_joined(connection: driver.Connection, after: int, until: int, limit: int) -> Lines | None:
    """The lines of rows as SQLite joins them: two values to fetch in place of eight a row, less than half the time.
    None, if one of them is not a line as it stands."""
    connection.text_factory = bytes
    behind = connection.execute(_BEHIND, (after + 1, until, limit)).fetchone()
    last = until if behind is None else behind[0] - 1
    ids, joined, number, nothings, named = connection.execute(_JOINED, (after + 1, last)).fetchone()
    if not number:
        return lines_of([])
    lines = split(joined or b"")
    if len(lines) != number or not are_plain(joined, number, nothings, named):
        return None
    return Lines(array("q", map(int, ids.split(b","))), lines)


def rows_between(connection: driver.Connection, after: int, until: int, limit: int) -> list[RawRow]:
    """Rows with ids above ``after`` and up to ``until``, the first ``limit`` of them."""
    connection.text_factory = bytes
    return connection.execute(_ROWS, (after + 1, until, limit)).fetchall() if after < until else []


class SqliteTrail:
    """The audit trail as it lies in the store, whatever somebody has done to it: read piece by piece, each look in a
    transaction of its own, so that the store's log can begin anew meanwhile. ``read``: opens a connection."""

    def __init__(self, read: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._read = read

    def newest(self) -> int:
        """The highest number of a seal, 0 for none; how far ``pieces`` goes. Raises StoreUnavailable."""
        with self._read() as connection:
            return int(connection.exec_driver_sql("SELECT coalesce(max(number), 0) FROM seal").scalar_one())

    def strange(self) -> list[str]:
        """The triggers and views of the store, of which Sekisho makes none: at most 20, and each name cut to 40
        characters. Raises StoreUnavailable."""
        with self._read() as connection:
            found = connection.exec_driver_sql(_STRANGE).all()
        return [f"{kind} {str(name)[:40]!a}" for kind, name in found]

    def size(self) -> int:
        """About how many rows there are. Raises StoreUnavailable."""
        with self._read() as connection:
            return int(_raw(connection).execute("SELECT count(*) FROM audit").fetchone()[0])

    def pieces(self, newest: int) -> Iterator[Piece]:
        """All seals up to the number ``newest`` in their order, each with the rows that lie where it says; rows between
        them as a piece without one; at last the rows behind them. Raises StoreUnavailable."""
        number, reached = LOWEST, LOWEST - 1
        while True:
            with self._read() as connection:
                pieces = _pieces(_raw(connection), number, newest, reached)
            yield from pieces
            if not pieces:
                break
            for seal in (piece.seal for piece in pieces):
                if seal is not None:
                    number, reached = seal.number, max(reached, seal.until)
        while True:
            with self._read() as connection:
                found = _piece(_raw(connection), None, rows_between(_raw(connection), reached, _HIGHEST, _AT_ONCE))
            if not found.rows:
                return
            yield found
            reached = found.rows[-1][0]


def _pieces(connection: driver.Connection, number: int, newest: int, reached: int) -> list[Piece]:
    """The next seals, at most those that fit in one look, with their rows."""
    connection.text_factory = bytes
    pieces: list[Piece] = []
    seen = 0
    for row in connection.execute(_SEALS, (number, newest, _SEALS_AT_ONCE)):  # not all at once: their marks are long
        seal = _as_seal(row)
        after = begin_of(seal.body, reached)
        if after > reached and (loose := rows_between(connection, reached, after, _MOST_OF_A_SEAL)):
            pieces.append(_piece(connection, None, loose))
        rows = rows_between(connection, after, seal.until, _MOST_OF_A_SEAL)
        pieces.append(_piece(connection, seal, rows))
        seen += len(rows)
        reached = max(reached, seal.until)
        if seen >= _AT_ONCE:
            break
    return pieces


def _piece(connection: driver.Connection, seal: SealRow | None, rows: list[RawRow]) -> Piece:
    foreign = connection.execute(_FOREIGN, (rows[0][0], rows[-1][0], _MOST_FOREIGN)).fetchall() if rows else []
    return Piece(seal, rows, [id_ for (id_,) in foreign])


def begin_of(body: str, otherwise: int) -> int:
    """Above which id a seal's rows begin, as its text says; ``otherwise``: where it says nothing."""
    try:
        after = json.loads(body)["after"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return otherwise
    return after if type(after) is int and LOWEST <= after <= _HIGHEST else otherwise


def _raw(connection: Connection) -> driver.Connection:
    opened: Any = connection.connection.driver_connection
    assert isinstance(opened, driver.Connection)
    return opened


def _seal(connection: driver.Connection, statement: str, *values: int) -> SealRow | None:
    connection.text_factory = bytes
    row = connection.execute(statement, values).fetchone()
    return None if row is None else _as_seal(row)


def _as_seal(row: tuple[Any, ...]) -> SealRow:
    """A seal whose columns may hold anything by now."""
    number, until, body, signature, marks = row
    text = body.decode(errors="replace") if isinstance(body, bytes) else ""
    return SealRow(
        number,
        until if isinstance(until, int) else 0,
        text,
        signature if isinstance(signature, bytes) else b"",
        marks if isinstance(marks, bytes) else b"",
    )
