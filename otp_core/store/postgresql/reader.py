"""Reads for the login path and for the API's keys, without a lock (``store.engine.LoginReader``, ``KeyReader``)."""

from __future__ import annotations

import psycopg

from otp_core.model import LoginRecord, OpenChallenge, StoreProblem, StoreUnavailable
from otp_core.store.api_keys import ApiKeyRecord
from otp_core.store.login_record import records_of
from otp_core.store.postgresql.connection import Notices, can_be_held
from otp_core.store.postgresql.errors import is_lost, unavailable
from otp_core.store.postgresql.login_batch import CHALLENGES, RECORDS
from otp_core.store.postgresql.primary import Primary
from otp_core.store.postgresql.round_trip import RoundTrips, Rows, Statement
from otp_core.store.postgresql.thread_connection import ThreadConnection

_PASSWORD_HASH = """
SELECT p.password_hash FROM customer AS c JOIN profile AS p ON p.customer_key = c.key WHERE c.contract_id = %s
"""
_KEY = "SELECT key, name, scopes, networks FROM api_key WHERE digest = %s"
_WAIT_SECONDS = 2.0
_MOST_IDLE = 4


class PostgresqlLoginReader:
    """On connections of its own: one for each question that is under way. Belongs to one event loop."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._idle: list[RoundTrips] = []

    async def login_record(self, contract_id: str) -> LoginRecord | None:
        """See ``store.engine.LoginReader``."""
        if not can_be_held(contract_id):
            return None
        return records_of(row[:-2] for row in await self._ask(RECORDS, [contract_id])).get(contract_id)

    async def password_hash(self, contract_id: str) -> tuple[bool, str | None]:
        """See ``store.engine.LoginReader``."""
        rows = await self._ask(_PASSWORD_HASH, contract_id) if can_be_held(contract_id) else []
        return bool(rows), rows[0][0] if rows else None

    async def open_challenge(self, state: bytes) -> OpenChallenge | None:
        """See ``store.engine.LoginReader``."""
        rows = await self._ask(CHALLENGES, [state])
        return OpenChallenge(*rows[0]) if rows else None

    def close(self) -> None:
        """Let go of the connections."""
        while self._idle:
            self._idle.pop().connection.pgconn.finish()

    async def _ask(self, statement: str, value: object) -> Rows:
        for again in (True, False):
            idle = bool(self._idle)
            trouble: Exception | None = None
            try:
                return await self._ask_once(statement, value)
            except (psycopg.Error, OSError, ValueError, StoreProblem) as error:
                trouble = error
            if not (again and idle and is_lost(trouble)):
                break
            self.close()  # it had been lost before, so the others are not believed, and a new one is opened
        if isinstance(trouble, psycopg.Error):
            raise unavailable(trouble) from trouble
        raise StoreUnavailable(f"store: {trouble}") from trouble

    async def _ask_once(self, statement: str, value: object) -> Rows:
        while self._idle and not self._primary.is_current(self._idle[-1].connection):
            self._idle.pop().connection.pgconn.finish()
        if self._idle:
            server = self._idle.pop()
        else:
            server = RoundTrips(await self._primary.connect_on_loop(lock_timeout=_WAIT_SECONDS, notices=Notices()))
        try:
            (outcome,) = await server.run([Statement(statement, (value,))])
        except BaseException:
            server.connection.pgconn.finish()
            raise
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(server)
        else:
            server.connection.pgconn.finish()
        return outcome.rows


class PostgresqlKeyReader:
    """On a connection of its own. One thread at a time may use it."""

    def __init__(self, connection: ThreadConnection) -> None:
        self._connection = connection

    def api_key_of(self, digest: bytes) -> ApiKeyRecord | None:
        """See ``store.engine.KeyReader``."""
        was_open = self._connection.is_open()
        try:
            return self._find(digest)
        except StoreUnavailable:
            if not was_open or self._connection.is_open():
                raise
        return self._find(digest)  # the connection had been lost before: a request is not told of it

    def _find(self, digest: bytes) -> ApiKeyRecord | None:
        with self._connection.guarded() as connection:
            row = connection.execute(_KEY, (digest,), prepare=True).fetchone()
        return None if row is None else ApiKeyRecord.of_row(*row)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
