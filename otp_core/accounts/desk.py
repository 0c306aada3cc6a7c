"""The desk: its services, put together on one store."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from otp_core.accounts.api_keys import ApiKeyService
from otp_core.accounts.approval_kinds import KINDS, About
from otp_core.accounts.approvals import ApprovalService
from otp_core.accounts.bindings import Bindings
from otp_core.accounts.codes import Codes, KnownCode, Outside
from otp_core.accounts.contract_ids import ContractIdService
from otp_core.accounts.customers import CustomerService
from otp_core.accounts.devices import DeviceService
from otp_core.accounts.enrolment import EnrolmentService
from otp_core.accounts.file_imports import FileImportService
from otp_core.accounts.issuance import IssuanceService
from otp_core.accounts.kept_answers import KeptAnswerService
from otp_core.accounts.leaving import LeavingService
from otp_core.accounts.looks import Looks
from otp_core.accounts.permissions import TABLE, Table
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Refused
from otp_core.accounts.sessions import SessionService
from otp_core.accounts.sign_on import SignOnService
from otp_core.accounts.staff import StaffService
from otp_core.accounts.staff_sessions import StaffSessionService
from otp_core.accounts.token_search import TokenSearchService
from otp_core.accounts.tokens import TokenService
from otp_core.accounts.transactions import Transactions
from otp_core.login.evaluate import Evaluator
from otp_core.login.policy import Rules
from otp_core.model import Conflict, StoreBusy
from otp_core.store.approvals import Approval
from otp_core.store.store import Store
from otp_core.store.unit_of_work import Work
from otp_core.verifier import CodeFinding


class CarriedOut(NamedTuple):
    """What is done. ``request``: by which it was approved, None where nobody had to; ``made``: what the act has made,
    for the asker's eyes alone."""

    request: Approval | None
    about: About
    made: object


class Desk:
    """Every act on customers and tokens, and on those who act: for the pages, the console and the command line.

    ``now``: milliseconds since the epoch; may raise ClockWrong. ``draw``: a random number below n, for token IDs.
    ``permissions``: who may do what. ``settled``: whether the clock has stood steady for so long that what lasts may be
    done by it; until then nothing is retired or ended because of its age. ``outside``: the verifier of a token that is
    not in the inventory, by its ID; None: it has to be there.

    ``lock_after``: wrong codes in a row that lock a customer; ``tokens_per_customer``: how many they may have."""

    __slots__ = (
        "_draw",
        "_evaluator",
        "_known",
        "_outside",
        "_transactions",
        "api_keys",
        "approvals",
        "contract_ids",
        "customers",
        "devices",
        "enrolment",
        "file_imports",
        "issuance",
        "kept_answers",
        "leaving",
        "lock_after",
        "looks",
        "sessions",
        "sign_on",
        "staff",
        "staff_sessions",
        "token_search",
        "tokens",
        "tokens_per_customer",
    )

    def __init__(
        self,
        store: Store,
        evaluator: Evaluator,
        now: Callable[[], int],
        draw: Callable[[int], int] = secrets.randbelow,
        permissions: Table = TABLE,
        settled: Callable[[], bool] = lambda: True,
        outside: Outside = lambda _: None,
    ) -> None:
        self._evaluator, self._draw, self._outside = evaluator, draw, outside
        self._known: Mapping[KnownCode, CodeFinding] = {}
        self._make(Transactions(store, now, permissions, settled))
        self.looks = Looks(store)

    @property
    def rules(self) -> Rules:
        """Those that codes are checked and counted by, here and at every door."""
        return self._evaluator.rules

    def knowing(self, findings: Mapping[KnownCode, CodeFinding]) -> Desk:
        """A desk that knows what verifiers have said about codes, each for its token."""
        return self._copy(self._transactions, findings)

    @contextmanager
    def together(self, *, aside: bool = False) -> Iterator[tuple[Desk, Work]]:
        """Several acts in one transaction: a desk whose acts join it, and the transaction itself. What an act that was
        refused has counted and recorded stays, if its Refused is caught inside. Raises StoreBusy where somebody else
        was faster: then nothing was written, and all of it is to be run again (store/retry.py). ``aside``: no login is
        decided by it, as ``Store.work_aside`` says."""
        store = self._transactions.store
        try:
            with store.work_aside() if aside else store.work() as work:
                yield self._copy(self._transactions.joining(work), self._known), work
        except Conflict as overtaken:
            raise StoreBusy(str(overtaken)) from overtaken

    def carry_out(self, request: int, principal: Principal) -> CarriedOut:
        """What another person has approved, by whoever asked for it: the act and the end of the request, in one
        transaction. Of an act that is refused the refusal is recorded, and the request is as it was. Raises Refused;
        StoreBusy as ``together`` does."""
        refused: Refused | None = None
        with self.together() as (joined, work):
            try:
                found, about = joined.approvals.begin(request, principal)
                by = replace(principal, reason=f"{found.reason}; approved by {found.decided_by}")
                made = KINDS[found.act].carry_out(joined, about, by)
                joined.approvals.end(work, found)
            except Refused as error:
                refused = error
        if refused is not None:
            raise refused
        return CarriedOut(found, about, made)

    def _copy(self, transactions: Transactions, known: Mapping[KnownCode, CodeFinding]) -> Desk:
        copy = Desk.__new__(Desk)
        copy._evaluator, copy._draw, copy._outside, copy._known = self._evaluator, self._draw, self._outside, known
        copy._make(transactions)
        copy.looks = self.looks
        return copy

    def _make(self, transactions: Transactions) -> None:
        self._transactions = transactions
        rules, draw = self._evaluator.rules, self._draw
        codes = Codes(transactions, self._evaluator, self._outside, self._known)
        self.lock_after, self.tokens_per_customer = rules.lock_after, rules.tokens_per_customer
        self.customers = CustomerService(transactions, codes, one_customer_per_token=rules.one_customer_per_token)
        self.contract_ids = ContractIdService(transactions)
        self.tokens = TokenService(transactions, draw)
        self.token_search = TokenSearchService(transactions)
        bindings = Bindings(transactions, codes, rules.tokens_per_customer)
        self.enrolment = EnrolmentService(transactions, codes, bindings, self.tokens, permit_hours=rules.permit_hours)
        self.devices = DeviceService(transactions, codes, bindings)
        self.sessions = SessionService(transactions)
        self.issuance = IssuanceService(transactions, self.tokens)
        self.staff = StaffService(transactions)
        self.sign_on = SignOnService(transactions)
        self.staff_sessions = StaffSessionService(transactions)
        self.api_keys = ApiKeyService(transactions)
        self.kept_answers = KeptAnswerService(transactions)
        self.approvals = ApprovalService(transactions)
        self.leaving = LeavingService(transactions)
        self.file_imports = FileImportService(transactions)
