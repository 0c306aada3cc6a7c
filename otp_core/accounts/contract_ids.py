"""Contract IDs that are stored in another form than the one that is looked for, from before that form was what it is
now; and a customer's change to another contract ID. No customer is ever merged with another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import LoginRecord
from otp_core.otp import normalise_contract_id
from otp_core.store.queries import contract_ids, known_contracts
from otp_core.store.unit_of_work import Work

_ASKED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class FoldReport:
    """``renamed``: (stored before, now). ``colliding``: the stored IDs that are now read as one, for each such one;
    nothing was done about them."""

    renamed: Sequence[tuple[str, str]]
    colliding: Sequence[tuple[str, ...]]

    @property
    def spellings(self) -> dict[str, str]:
        """A stored ID for each form that is looked for, where that is another."""
        found = {normalise_contract_id(together[-1]): together[-1] for together in self.colliding}
        return found | {after: before for before, after in self.renamed}


class ContractIdService:
    """The acts on contract IDs themselves."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def stored_otherwise(self) -> FoldReport:
        """What ``fold`` would do. Reads every contract ID."""
        with self._transactions.store.read() as connection:
            return FoldReport(*_sorted(connection))

    @rerun_on_conflict
    def fold(self, principal: Principal) -> FoldReport:
        """Give each customer whose stored contract ID nobody can type any more (a dash of another kind, something
        invisible) the form that is looked for, unless that would make one customer of two."""
        seen = self.stored_otherwise()
        if not seen.renamed:
            return seen  # without the write lock, for which logins would wait while every contract ID is read
        with self._transactions.act(Act.RENAME_CUSTOMER, principal) as work:
            renamed, colliding = _sorted(work.connection)
            for before, after in renamed:
                if (record := work.login_record(before)) is not None:
                    self._rename(work, record, after, principal)
        return FoldReport(renamed, colliding)

    @rerun_on_conflict
    def rename(self, stored: str, new: str, principal: Principal) -> Receipt:
        """Give a customer another contract ID and end their sessions. ``stored``: exactly as it is stored, or in any
        form in which it would be found. Raises Refused (UNKNOWN_CUSTOMER, CUSTOMER_EXISTS)."""
        new = normalise_contract_id(new)
        with self._transactions.act(Act.RENAME_CUSTOMER, principal, customer=stored) as work:
            record = work.login_record(stored) or self._transactions.login_record(work, stored)
            if work.login_record(new) is not None:
                raise Refused(Refusal.CUSTOMER_EXISTS, new)
            self._transactions.end_sessions(work, record, principal)
            return self._rename(work, record, new, principal)

    def _rename(self, work: Work, record: LoginRecord, after: str, principal: Principal) -> Receipt:
        work.set_contract_id(record, after)
        return self._transactions.record(work, Event.CUSTOMER_RENAMED, principal, after, None, was=record.contract_id)


def _sorted(connection: Connection) -> tuple[list[tuple[str, str]], list[tuple[str, ...]]]:
    """What can be renamed, and what collides."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for stored in contract_ids(connection):
        canonical = normalise_contract_id(stored)
        if canonical != stored:
            spellings[canonical].append(stored)
    taken = _taken(connection, list(spellings))
    renamed, colliding = [], []
    for canonical, stored_ones in spellings.items():
        together = [*([canonical] if canonical in taken else []), *sorted(stored_ones)]
        if len(together) > 1:
            colliding.append(tuple(together))
        elif canonical:
            renamed.append((together[0], canonical))
    return renamed, colliding


def _taken(connection: Connection, canonical: Sequence[str]) -> set[str]:
    chunks: Iterable[Sequence[str]] = (
        canonical[at : at + _ASKED_AT_ONCE] for at in range(0, len(canonical), _ASKED_AT_ONCE)
    )
    return {found for chunk in chunks for found in known_contracts(connection, chunk)}
