"""The seals of the audit trail in PostgreSQL's words (``store.engine.SealStore``), and the look at the whole trail that
verifies them. Up to which id rows can be sealed: horizon.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, text

from otp_core.audit import id_at
from otp_core.store.postgresql import horizon
from otp_core.store.postgresql.schema import TRIGGERS
from otp_core.store.trail import LOWEST, Lines, Piece, RawRow, SealRow, lines_of

SETTLED_MS = 150
"""Rows younger than this are left for the next seal, so that hardly any row comes late."""

_WAIT_TRIES, _WAIT_SECONDS = 40, 0.005
"""For batches that had begun to write: a COMMIT takes milliseconds."""

_HIGHEST = 2**63 - 1
_AT_ONCE = 50_000
_SEALS_AT_ONCE = 200
_MOST_OF_A_SEAL = 100_000

_ROWS = text(
    "SELECT id, event, actor, customer, token, source, reason, node FROM audit WHERE id >= :first AND id <= :until "
    "ORDER BY id LIMIT :limit"
)
_SEALS = text(
    "SELECT number, until_id, body, signature, marks FROM seal WHERE number > :after AND number <= :until "
    "ORDER BY number LIMIT :limit"
)
_NEWEST = text("SELECT coalesce(max(number), 0) FROM seal")
_DROP = text(
    "SELECT number, until_id, body, signature, marks FROM seal WHERE number = (SELECT max(seal) FROM audit_drop)"
)
_COUNT = text("SELECT count(*) FROM audit WHERE id > :after AND id <= :until")
_ADD = text(
    "INSERT INTO seal (number, until_id, body, signature, marks) VALUES (:number, :until, :body, :signature, :marks)"
)
_STRANGE = """
SELECT kind, name FROM (
  SELECT 'trigger' AS kind, tgname::text AS name FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
   WHERE NOT tgisinternal AND c.relnamespace = current_schema()::regnamespace AND tgname <> ALL (:ours)
  UNION ALL SELECT 'view', relname::text FROM pg_class WHERE relkind IN ('v', 'm')
   AND relnamespace = current_schema()::regnamespace
  UNION ALL SELECT 'partition', c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
   WHERE i.inhparent = to_regclass('audit')
     AND (c.relkind <> 'r' OR c.relnamespace <> current_schema()::regnamespace)
  UNION ALL SELECT 'rule', rulename::text FROM pg_rules WHERE schemaname = current_schema()
) AS strange ORDER BY name LIMIT 20
"""

Read = Callable[[], AbstractContextManager[Connection]]


class PostgresqlSealStore:
    """``read`` and ``write``: those of the database."""

    def __init__(self, read: Read, write: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._read, self._write = read, write

    def newest(self) -> SealRow | None:
        """See ``store.engine.SealStore``."""
        with self._read() as connection:
            number = int(connection.execute(_NEWEST).scalar_one())
            return _seal(connection, number)

    def seal(self, number: int) -> SealRow | None:
        """See ``store.engine.SealStore``."""
        with self._read() as connection:
            return _seal(connection, number)

    def newest_drop(self) -> SealRow | None:
        """See ``store.engine.SealStore``."""
        with self._read() as connection:
            row = connection.execute(_DROP).first()
            return None if row is None else _as_seal(row)

    def sealable(self, after: int, now_ms: int, limit: int) -> Lines:
        """See ``store.engine.SealStore``. None, as long as a transaction that could add a row has not ended."""
        until = id_at(now_ms - SETTLED_MS)
        with self._write() as connection:
            horizon.close(connection, until)
        with self._read() as connection:
            number = horizon.next_number(connection)
            for _ in range(_WAIT_TRIES):
                if horizon.is_past(connection, number):
                    return lines_of(_rows(connection, after, until, limit))
                time.sleep(_WAIT_SECONDS)
        return lines_of([])

    def append(self, seal: SealRow, before: int, after: int, rows: int) -> bool:
        """See ``store.engine.SealStore``."""
        with self._write() as connection:
            number = connection.execute(_NEWEST).scalar_one()
            there = connection.execute(_COUNT, {"after": after, "until": seal.until}).scalar_one()
            # The horizon again: a server that took over without the row that closed it lets rows come there once more.
            if number != before or there != rows or horizon.sealed_until(connection) < seal.until:
                return False
            connection.execute(_ADD, seal._asdict())
        return True

    def close(self) -> None:
        """See ``store.engine.SealStore``."""


class PostgresqlTrail:
    """``store.engine.Trail``. ``read``: opens a connection."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def newest(self) -> int:
        """See ``store.engine.Trail``."""
        with self._read() as connection:
            return int(connection.execute(_NEWEST).scalar_one())

    def strange(self) -> list[str]:
        """See ``store.engine.Trail``."""
        with self._read() as connection:
            found = connection.execute(text(_STRANGE), {"ours": sorted(TRIGGERS)}).all()
        return [f"{kind} {str(name)[:40]!a}" for kind, name in found]

    def size(self) -> int:
        """See ``store.engine.Trail``."""
        with self._read() as connection:
            return int(connection.execute(text("SELECT count(*) FROM audit")).scalar_one())

    def pieces(self, newest: int) -> Iterator[Piece]:
        """See ``store.engine.Trail``. PostgreSQL keeps to its columns' types: no row is foreign."""
        number, reached = LOWEST, LOWEST - 1
        while True:
            with self._read() as connection:
                pieces = _pieces(connection, number, newest, reached)
            yield from pieces
            if not pieces:
                break
            for seal in (piece.seal for piece in pieces):
                if seal is not None:
                    number, reached = seal.number, max(reached, seal.until)
        while True:
            with self._read() as connection:
                rows = _rows(connection, reached, _HIGHEST, _AT_ONCE)
            if not rows:
                return
            yield Piece(None, rows)
            reached = rows[-1][0]


def _pieces(connection: Connection, number: int, newest: int, reached: int) -> list[Piece]:
    """The next seals, at most those that fit in one look, with their rows."""
    pieces: list[Piece] = []
    seen = 0
    found = connection.execute(_SEALS, {"after": number, "until": newest, "limit": _SEALS_AT_ONCE})
    for seal in (_as_seal(row) for row in found.all()):
        after = _begin_of(seal.body, reached)
        if after > reached and (loose := _rows(connection, reached, after, _MOST_OF_A_SEAL)):
            pieces.append(Piece(None, loose))
        rows = _rows(connection, after, seal.until, _MOST_OF_A_SEAL)
        pieces.append(Piece(seal, rows))
        seen += len(rows)
        reached = max(reached, seal.until)
        if seen >= _AT_ONCE:
            break
    return pieces


def _begin_of(body: str, otherwise: int) -> int:
    try:
        after = json.loads(body)["after"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return otherwise
    return after if type(after) is int and LOWEST <= after <= _HIGHEST else otherwise


def _rows(connection: Connection, after: int, until: int, limit: int) -> list[RawRow]:
    if after >= until:
        return []
    found = connection.execute(_ROWS, {"first": after + 1, "until": until, "limit": limit}).all()
    return [(row[0], *(None if value is None else value.encode() for value in row[1:])) for row in found]


def _seal(connection: Connection, number: int) -> SealRow | None:
    row = connection.execute(_SEALS, {"after": number - 1, "until": number, "limit": 1}).first()
    return None if row is None else _as_seal(row)


def _as_seal(row: Sequence[Any]) -> SealRow:
    return SealRow(*row)
