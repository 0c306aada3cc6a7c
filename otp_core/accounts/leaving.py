"""Leaving a verifier: asks its customers by e-mail to change their tokens. It changes no customer and no token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.store.leaving import ToBeAsked, to_be_asked

ASKED_AT_ONCE = 200
"""Customers of one transaction."""


class LeavingService:
    """The act on those who hold tokens of a verifier that is to be left."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @rerun_on_conflict
    def ask(
        self, verifier: str, principal: Principal, *, again_after: timedelta, after: str = "", limit: int
    ) -> Sequence[ToBeAsked]:
        """Ask some customers, in the order of their contract IDs and behind one: those who have an address and were not
        asked within ``again_after``. Who was asked; none: there is nobody left. Raises ClockWrong."""
        since = self._transactions.now() - int(again_after.total_seconds() * 1000)
        with self._transactions.act(Act.ASK_CHANGE, principal) as work:
            found = to_be_asked(work.connection, verifier, since, after=after, limit=min(limit, ASKED_AT_ONCE))
            for one in found:
                self._transactions.record(work, Event.CHANGE_ASKED, principal, one.contract_id, one.token_id)
        return found
