"""The store in PostgreSQL that another one is copied into: whether it is empty, whole chunks of rows, their digest.

A chunk is one transaction, and rows come in the order of their keys: so the rows that are there are the first ones of
the source, and their number says where to go on. COPY fires the triggers of inserts alone, of which there are none
(schema.py); the versions of the rows are PostgreSQL's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, LargeBinary, Table, Text, func, select

from otp_core.audit import Event, Ids
from otp_core.model import AuditRow, StoreProblem
from otp_core.store.engine import Database
from otp_core.store.moved import COPIED, CopyNote, decode
from otp_core.store.postgresql.errors import unavailable
from otp_core.store.postgresql.sessions import wait_until_unused
from otp_core.store.queries import read_meta
from otp_core.store.schema import OF_NODES, meta, metadata
from otp_core.store.unit_of_work import Work


class CopyTarget:
    """``database``: PostgreSQL's, of this version's schema. Its own methods raise StoreUnavailable and StoreProblem."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.place = database.place

    def check_unused(self) -> None:
        """Raises StoreProblem if another process of ours is connected, and stays."""
        wait_until_unused(self._database)

    def note(self) -> CopyNote | None:
        """What is noted of an earlier copy."""
        with self._database.read() as connection:
            return decode(read_meta(connection, COPIED))

    def filled(self) -> str | None:
        """A table that has rows, ``meta`` and what is about nodes aside; None: there is none."""
        with self._database.read() as connection:
            for table in metadata.sorted_tables:
                if (
                    table is not meta
                    and table not in OF_NODES
                    and connection.execute(select(1).select_from(table).limit(1)).first()
                ):
                    return table.name
        return None

    def begin(self, note: CopyNote) -> None:
        """Note that a copy is under way, in an empty store: rows of an earlier attempt are taken away."""
        tables = ", ".join(table.name for table in metadata.sorted_tables if table is not meta)
        with self._database.write() as connection:
            connection.exec_driver_sql(f"TRUNCATE {tables}")
            _work(connection).put_meta(COPIED, note.encode())

    def count(self, table: Table) -> int:
        """The number of its rows."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """One chunk, in one transaction."""
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), columns)
        with _explained(table), self._database.write() as connection:
            raw: Any = connection.connection.driver_connection
            with raw.cursor().copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)

    def rows(self, table: Table) -> Iterator[tuple[Any, ...]]:
        """All rows, in any order."""
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(columns, sql.Identifier(table.name))
        with _explained(table), self._database.read() as connection:
            raw: Any = connection.connection.driver_connection
            with raw.cursor().copy(statement) as copy:
                copy.set_types([_type(column.type) for column in table.columns])
                yield from copy.rows()

    def meta(self) -> dict[str, bytes]:
        """All named values."""
        with self._database.read() as connection:
            return {name: bytes(value) for name, value in connection.execute(select(meta.c.name, meta.c.value))}

    def put_meta(self, values: dict[str, bytes]) -> None:
        """Named values of the source."""
        with self._database.write() as connection:
            work = _work(connection)
            for name, value in values.items():
                work.put_meta(name, value)

    def finish(self, note: CopyNote, ids: Ids, **fields: str) -> None:
        """The copy is complete: note that, and record it behind everything that was copied. ``fields``: actor, source
        and reason."""
        with self._database.read() as connection:
            connection.exec_driver_sql("ANALYZE")
        recorded: list[AuditRow] = []
        with self._database.write(recorded) as connection:
            work = Work(connection, ids, recorded=recorded, sealed_until=self._database.sealed_until)
            ids.pass_(work.newest_id())
            work.audit(Event.STORE_COPIED, **fields)
            work.put_meta(COPIED, note.encode())

    def close(self) -> None:
        """Let go of the connections."""
        self._database.engine.dispose()


def _work(connection: Connection) -> Work:
    return Work(connection, Ids())


def _type(type_: object) -> str:
    return "bytea" if isinstance(type_, LargeBinary) else "text" if isinstance(type_, Text) else "int8"


@contextmanager
def _explained(table: Table) -> Iterator[None]:
    """Raises StoreProblem for rows that this table does not take, and StoreUnavailable for other errors of the
    driver."""
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        words = error.diag.message_primary or "a row is not of its columns' types"
        raise StoreProblem(
            f"the table {table.name} cannot be copied: {words}; see `sekisho doctor` of the source"
        ) from None
    except psycopg.Error as error:
        raise unavailable(error) from error
