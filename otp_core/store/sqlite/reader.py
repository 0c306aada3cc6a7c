"""Reads for the login path, without a lock and outside any batch (``store.engine.LoginReader``)."""

from __future__ import annotations

from otp_core.model import LoginRecord, OpenChallenge
from otp_core.store.login_record import records_of
from otp_core.store.sqlite.connection import DriverConnection
from otp_core.store.sqlite.login_batch import CHALLENGE, LOGIN_RECORD

_PASSWORD_HASH = """
SELECT p.password_hash FROM customer AS c JOIN profile AS p ON p.customer_key = c.key WHERE c.contract_id = ?
"""


class SqliteLoginReader:
    """On a connection of its own. One thread at a time may use it."""

    def __init__(self, connection: DriverConnection) -> None:
        self._connection = connection

    async def login_record(self, contract_id: str) -> LoginRecord | None:
        """See ``store.engine.LoginReader``."""
        try:
            with self._connection.guarded() as connection:
                return records_of(connection.execute(LOGIN_RECORD, (contract_id,))).get(contract_id)
        except UnicodeEncodeError:
            return None  # half of a character, which no stored name has

    async def password_hash(self, contract_id: str) -> tuple[bool, str | None]:
        """See ``store.engine.LoginReader``."""
        with self._connection.guarded() as connection:
            row = connection.execute(_PASSWORD_HASH, (contract_id,)).fetchone()
        return row is not None, row[0] if row else None

    async def open_challenge(self, state: bytes) -> OpenChallenge | None:
        """See ``store.engine.LoginReader``."""
        with self._connection.guarded() as connection:
            row = connection.execute(CHALLENGE, (state,)).fetchone()
        return OpenChallenge(*row) if row else None

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
