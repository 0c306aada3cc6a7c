"""Tokens that nobody holds, with their sealed seeds, in stretches: for finding whose two codes are. Reads only."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from otp_core.model import TokenSpec, TokenState
from otp_core.store.schema import token
from otp_core.store.search_terms import begins
from otp_core.verifier import LOCAL_VERIFIER


class AvailableToken(NamedTuple):
    """A token in the inventory that nobody holds. ``seed``: sealed; ``last_step`` and ``spent_ahead``: see
    ``otp.fit``."""

    token_id: str
    seed: bytes
    kind: str
    algorithm: str
    digits: int
    period: int
    last_step: int
    spent_ahead: str | None

    @property
    def spec(self) -> TokenSpec:
        """How the token makes its codes."""
        return TokenSpec(self.kind, self.algorithm, self.digits, self.period)  # type: ignore[arg-type]


def available_tokens(connection: Connection, *, after: str, limit: int, beginning: str = "") -> list[AvailableToken]:
    """A stretch in the order of token IDs, of those after ``after`` whose codes are known here. ``beginning``: how
    their IDs begin, normalised; empty: however."""
    query = select(
        token.c.token_id,
        token.c.seed,
        token.c.kind,
        token.c.algorithm,
        token.c.digits,
        token.c.period,
        token.c.last_step,
        token.c.spent_ahead,
    ).where(token.c.state == TokenState.AVAILABLE, token.c.token_id > after, token.c.verifier == LOCAL_VERIFIER)
    if beginning:
        query = query.where(begins(token.c.token_id, beginning))
    return [AvailableToken(*row) for row in connection.execute(query.order_by(token.c.token_id).limit(limit))]
