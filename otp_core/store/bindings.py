"""Who has which token, since when, and what the customer calls it. Statements only."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from otp_core.model import Conflict
from otp_core.store.schema import binding, customer, token


class HeldToken(NamedTuple):
    """A token that a customer has. ``name``: what they call it. Times are ms since the epoch: ``bound_at`` 0: not
    known, from before it was noted; ``last_at`` 0: no code was accepted yet."""

    token_id: str
    state: str
    name: str | None
    bound_at: int
    last_at: int


class BindingStatements:
    """Part of an open transaction (``Work``)."""

    _connection: Connection

    def holder(self, token_key: int) -> str | None:
        """The contract ID of a customer that a token is bound to."""
        query = select(customer.c.contract_id).join(binding, binding.c.customer_key == customer.c.key)
        return self._connection.execute(query.where(binding.c.token_key == token_key).limit(1)).scalar()

    def holders(self, token_key: int) -> int:
        """How many customers a token is bound to."""
        query = select(func.count()).where(binding.c.token_key == token_key)
        return self._connection.execute(query).scalar_one()

    def token_keys_of(self, customer_key: int) -> list[int]:
        """The keys of the customer's tokens, whatever their state."""
        query = select(binding.c.token_key).where(binding.c.customer_key == customer_key).order_by(binding.c.token_key)
        return list(self._connection.execute(query).scalars())

    def bind(self, customer_key: int, token_key: int, at: int, name: str | None = None) -> None:
        """Note that the customer has this token from ``at`` (ms) on. Raises Conflict if they have it already."""
        row = {"customer_key": customer_key, "token_key": token_key, "bound_at": at, "name": name}
        try:
            self._connection.execute(insert(binding), row)
        except IntegrityError:
            raise Conflict("this token was bound by somebody else just now") from None

    def unbind(self, customer_key: int, token_keys: Collection[int]) -> bool:
        """The customer has these tokens no more. False if one of them was taken away meanwhile."""
        gone = delete(binding).where(binding.c.customer_key == customer_key, binding.c.token_key.in_(token_keys))
        return self._connection.execute(gone).rowcount == len(token_keys)

    def name_token(self, customer_key: int, token_key: int, name: str | None) -> bool:
        """What the customer calls the token from now on. False if they have it no more."""
        change = update(binding).where(binding.c.customer_key == customer_key, binding.c.token_key == token_key)
        return self._connection.execute(change.values(name=name)).rowcount == 1


def held_tokens(connection: Connection, contract_ids: Collection[str]) -> dict[str, list[HeldToken]]:
    """The tokens of these customers by contract ID, the one that was bound first before the others; no entry for a
    customer without one."""
    query = (
        select(
            customer.c.contract_id, token.c.token_id, token.c.state, binding.c.name, binding.c.bound_at, token.c.last_at
        )
        .join(binding, binding.c.customer_key == customer.c.key)
        .join(token, token.c.key == binding.c.token_key)
        .where(customer.c.contract_id.in_(contract_ids))
        .order_by(binding.c.bound_at, token.c.token_id)
    )
    found: dict[str, list[HeldToken]] = {}
    for contract_id, *columns in connection.execute(query):
        found.setdefault(contract_id, []).append(HeldToken(*columns))
    return found
