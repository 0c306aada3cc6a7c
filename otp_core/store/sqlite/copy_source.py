"""The store in a file that is copied into another engine: held alone, read table by table, marked as moved. It knows
no other engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, create_engine
from sqlalchemy.pool import StaticPool

from otp_core.model import StoreProblem
from otp_core.store.mark import Mark, MarkFile
from otp_core.store.moved import MOVED, CopyNote, decode
from otp_core.store.restore import alone, in_use
from otp_core.store.schema import NEEDED, REVISION
from otp_core.store.sqlite import backup as files
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.outside import why_stopped
from otp_core.store.sqlite.state import StoreState

Row = tuple[Any, ...]

_NO_TEXT, _INSTEAD = "\0", "\ufffd"
"""PostgreSQL's text holds no U+0000."""

_PUT = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Digest(NamedTuple):
    """What a table holds, whatever order it is read in: the number of its rows, and the sum of their digests."""

    rows: int
    total: int


def digest_of(rows: Iterator[Row]) -> Digest:
    """BLAKE2b of each row as Python writes it, added up modulo 2^256."""
    number = total = 0
    for row in rows:
        number += 1
        total += int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=32).digest(), "big")
    return Digest(number, total % 2**256)


class CopySource:
    """``held``'s. Raises StoreProblem for a row that cannot be read."""

    def __init__(self, connection: driver.Connection, contents: files.Contents, known: Mark | None, file: Path) -> None:
        self.contents, self.known, self.file = contents, known, file
        self._connection = connection

    def flushed_id(self) -> int:
        """See ``store.engine.Database``."""
        path = _state(self.file)
        if not path.exists():
            return 0
        with closing(StoreState(path, self.file)) as state:
            return state.flushed_id

    @contextmanager
    def as_connection(self) -> Iterator[Connection]:
        """The same connection for SQLAlchemy's questions."""
        engine = create_engine(
            "sqlite://",
            creator=lambda: self._connection,
            module=driver.MODULE,
            poolclass=StaticPool,
            pool_reset_on_return=None,
            isolation_level="AUTOCOMMIT",
        )
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            if not self._connection.in_transaction:  # SQLAlchemy has ended it; nobody came in between
                self._connection.execute("BEGIN EXCLUSIVE")

    def note(self) -> CopyNote | None:
        """What is noted of an earlier copy."""
        return decode(self.meta().get(MOVED))

    def meta(self) -> dict[str, bytes]:
        """All named values."""
        return dict(self._connection.execute("SELECT name, value FROM meta").fetchall())

    def put_note(self, note: CopyNote) -> None:
        """Write the note, and have it on the disk. The store stays held."""
        self._connection.execute(_PUT, (MOVED, note.encode()))
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN EXCLUSIVE")

    def count(self, table: Table) -> int:
        """The number of its rows."""
        (number,) = self._connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608  constants
        return int(number)

    def rows(self, table: Table, skip: int = 0) -> Iterator[Row]:
        """All rows in the order of their keys, but for the first ``skip``."""
        columns = ", ".join(column.name for column in table.columns)
        keys = ", ".join(column.name for column in table.primary_key)
        statement = f"SELECT {columns} FROM {table.name} ORDER BY {keys} LIMIT -1 OFFSET ?"  # noqa: S608  constants
        try:
            for row in self._connection.execute(statement, (skip,)):
                if any(_NO_TEXT in value for value in row if type(value) is str):
                    yield tuple(value.replace(_NO_TEXT, _INSTEAD) if type(value) is str else value for value in row)
                else:
                    yield row
        except driver.Error as error:
            raise StoreProblem(f"{self.file}: the table {table.name} cannot be read: {error}") from None


@contextmanager
def held(file: Path) -> Iterator[CopySource]:
    """The store in ``file``, which nobody else can open meanwhile, examined. Raises StoreProblem, with what to do."""
    if not file.is_file():
        raise StoreProblem(f"there is no store {file}: name the one that is to be copied, sqlite:////path/of/it.db")
    mark = MarkFile(file)
    try:
        if not mark.hold_alone():
            raise StoreProblem(f"{in_use(mark.path)}: stop the server first")
        if _state(file).exists() and why_stopped(file) is not None:
            raise StoreProblem(f"{file} had to stop: start the server with it once, which puts it right, and stop it")
        contents = files.examine(file)
        if not NEEDED <= contents.revision <= REVISION:
            raise StoreProblem(
                f"{file} has the schema {contents.revision}, this version copies {NEEDED} to {REVISION}: run `sekisho "
                "init` with the settings that name it, first"
            )
        with alone(file) as connection:
            if connection is None:
                raise StoreProblem(f"{file} cannot be opened alone: it is damaged; restore the newest backup")
            connection.execute("ROLLBACK")  # it stays alone
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN EXCLUSIVE")
            yield CopySource(connection, contents, mark.read(), file)
            files.fold_log(connection)
    finally:
        mark.close(remove=mark.fresh and mark.read() is None)


def _state(file: Path) -> Path:
    return file.with_name(f"{file.name}.state")
