"""Which token an app's request got, so that the same request gets the same one. Statements only.

What an app sent never gets here, only its keyed digest.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from otp_core.audit import id_at
from otp_core.model import Conflict
from otp_core.store.schema import issuance_key, token


class IssuanceKeyRow(NamedTuple):
    """A request that got a token. ``token_key`` tells when; ``repeats``: how often the token was sent again."""

    token_key: int
    token_id: str
    repeats: int


class IssuanceKeyStatements:
    """Part of an open transaction (``Work``)."""

    _connection: Connection

    def issuance_key(self, digest: bytes) -> IssuanceKeyRow | None:
        """The request with this digest; None: it got no token yet."""
        query = select(issuance_key.c.token_key, token.c.token_id, issuance_key.c.repeats).join(token)
        row = self._connection.execute(query.where(issuance_key.c.digest == digest)).one_or_none()
        return IssuanceKeyRow(*row) if row else None

    def add_issuance_key(self, digest: bytes, token_id: str) -> None:
        """Note which token a request got. Raises Conflict if the same request has got one meanwhile."""
        key = select(token.c.key).where(token.c.token_id == token_id).scalar_subquery()
        try:
            self._connection.execute(insert(issuance_key).values(digest=digest, token_key=key))
        except IntegrityError:
            raise Conflict("the same request got a token just now") from None

    def count_repeat(self, digest: bytes, before: int) -> bool:
        """Count one more time that a token was sent again. False if it is not ``before`` any more."""
        change = (
            update(issuance_key)
            .where(issuance_key.c.digest == digest, issuance_key.c.repeats == before)
            .values(repeats=before + 1)
        )
        return self._connection.execute(change).rowcount == 1

    def drop_issuance_keys(self, before: int, limit: int) -> int:
        """Delete some of the requests that got their token before a moment (ms); how many."""
        due = select(issuance_key.c.digest).where(issuance_key.c.token_key < id_at(before)).limit(limit)
        digests = self._connection.execute(due).scalars().all()
        return self._connection.execute(delete(issuance_key).where(issuance_key.c.digest.in_(digests))).rowcount
