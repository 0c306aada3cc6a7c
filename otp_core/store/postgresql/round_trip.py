"""Prepared statements, all of them in one round trip, over libpq itself: what the path of a login speaks.

Theory of operation
-------------------
*Why not cursors.* A cursor's ``execute`` in psycopg's pipeline costs some 0.3 ms of processor, a wait for the socket
each; a batch of logins has half a dozen statements. Here all of them are written, then one Sync, and what comes back is
read when it is there: two waits. A statement is prepared at its first use on a connection, in the same round trip.

*What can happen at once.* One round trip on one connection. It ends in order even where a statement fails: the server
leaves out those behind it, up to the Sync, and the first error is raised when all has been read. The transaction that
they had begun is then still open, and is the caller's to roll back: by a round trip too, since psycopg forgets all that
was prepared on a connection whose cursor has rolled back.

*Values* go as PostgreSQL's text, whose types the statements name: integers, text, octets, None, and lists of them,
which are arrays. Rows come back as psycopg reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg import pq, waiting
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

from otp_core.store.postgresql.connection import LoopConnection, without_nul

Rows = list[tuple[Any, ...]]

_READY, _DONE, _SYNC = pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.PIPELINE_SYNC


class Statement(NamedTuple):
    """``text``: with ``%s`` for each of ``values``."""

    text: str
    values: Sequence[object] = ()


class Outcome(NamedTuple):
    """``tag``: PostgreSQL's word for what was done ("COMMIT", "UPDATE 3")."""

    tag: str
    rows: Rows


class RoundTrips:
    """Those of one connection, and what was prepared on it."""

    def __init__(self, connection: LoopConnection) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._prepared: set[str] = set()
        self._rows = Transformer(connection)

    async def run(self, statements: Sequence[Statement]) -> list[Outcome]:
        """Raises psycopg.Error: of the first statement that failed, or of a connection that broke."""
        return await self.connection.wait(self._exchange(statements))

    def _exchange(self, statements: Sequence[Statement]) -> PQGen[list[Outcome]]:
        self._pgconn.enter_pipeline_mode()
        sent: list[str | None] = []
        """For each result to come, the text that was prepared, or None: of the statement itself."""
        for statement in statements:
            name, text = _named(statement.text)
            if statement.text not in self._prepared and statement.text not in sent:
                self._pgconn.send_prepare(name, text)
                sent.append(statement.text)
            self._pgconn.send_query_prepared(name, [_encoded(value) for value in statement.values])
            sent.append(None)
        self._pgconn.pipeline_sync()
        yield from self._flushed()
        results = yield from self._received()
        self._pgconn.exit_pipeline_mode()
        outcomes, trouble = [], None
        for prepared, result in zip(sent, results, strict=True):
            if result.status not in (_READY, _DONE):
                trouble = trouble or error_from_result(result)
            elif prepared is not None:
                self._prepared.add(prepared)
            else:
                outcomes.append(self._outcome(result))
        if trouble is not None:
            raise trouble
        return outcomes

    def _flushed(self) -> PQGen[None]:
        while self._pgconn.flush():
            if (yield waiting.WAIT_RW) & waiting.READY_R:
                self._pgconn.consume_input()

    def _received(self) -> PQGen[list[pq.abc.PGresult]]:
        results: list[pq.abc.PGresult] = []
        is_end = False  # of one statement's results
        while True:
            while self._pgconn.is_busy():
                yield waiting.WAIT_R
                self._pgconn.consume_input()
            result = self._pgconn.get_result()
            if (result is None and is_end) or self._pgconn.status != pq.ConnStatus.OK:
                raise psycopg.OperationalError(self._pgconn.get_error_message() or "the connection broke")
            is_end = result is None
            if result is None:
                continue
            if result.status == _SYNC:
                return results
            results.append(result)

    def _outcome(self, result: pq.abc.PGresult) -> Outcome:
        rows: Rows = []
        if result.ntuples:
            self._rows.set_pgresult(result)
            rows = self._rows.load_rows(0, result.ntuples, tuple)
        return Outcome((result.command_status or b"").decode(), rows)


@cache
def _named(text: str) -> tuple[bytes, bytes]:
    """The statement's name, and its text with ``$1`` for the first ``%s`` and so on. For constants: it is kept."""
    first, *others = text.split("%s")
    numbered = first + "".join(f"${number}{other}" for number, other in enumerate(others, 1))
    return f"sekisho_{hashlib.sha256(numbered.encode()).hexdigest()[:16]}".encode(), numbered.encode()


def _encoded(value: object) -> bytes | None:
    """PostgreSQL's text for a value."""
    if isinstance(value, list):
        return ("{" + ",".join(map(_element, value)) + "}").encode()
    if isinstance(value, str):
        return without_nul(value).encode()
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return None if value is None else str(value).encode()


def _element(value: object) -> str:
    """The same within an array."""
    if isinstance(value, int):
        return str(value)
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    text = without_nul(str(value)).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
