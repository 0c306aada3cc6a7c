"""Acts that two people do: asked for by one, approved by another, carried out by the first. Each step is recorded.

What was seen when it was asked has to hold when it is carried out: the customer's use of OTP and token. Times are ms
since the epoch.
"""

from __future__ import annotations

import json

from otp_core.accounts.lifecycle import Move
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.accounts.results import Refusal, Refused
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import LoginRecord
from otp_core.store import approvals as statements
from otp_core.store.approvals import Approval, ApprovalState
from otp_core.store.staff import staff_record
from otp_core.store.unit_of_work import Work

APPROVAL_HOURS = 24
"""How long a request waits for a second person, and an approved one for being carried out."""


class ApprovalService:
    """The steps of a request. Every one may raise Refused."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @rerun_on_conflict
    def ask(self, act: str, contract_id: str, principal: Principal) -> int:
        """Ask for ``act`` on a customer, for the principal's reason; the request's number."""
        with self._transactions.act(Act.ASK_APPROVAL, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            if self._open_for(work, act, record, principal):
                raise Refused(Refusal.NOT_NOW, "it was asked for already, and waits")
            return self._add(work, act, record, principal)

    @rerun_on_conflict
    def ask_or_use(self, act: str, contract_id: str, principal: Principal, move: Move) -> Approval:
        """For a program, which asks again until it may: its own request for this act on this customer, made if there is
        none, and used up if it was approved. Carry the act out if its state is APPROVED, in the same transaction
        (``Desk.together``). ``move``: what the customer's state has to allow. Refused also where somebody else's
        request waits."""
        with self._transactions.act(Act.ASK_APPROVAL, principal, customer=contract_id) as work:
            record = self._transactions.allowed(work, contract_id, move)
            found = self._open_for(work, act, record, principal)
            if found is None:
                found = statements.approval_of(work.connection, self._add(work, act, record, principal))
                assert found is not None
            if found.asked_by != principal.name:
                raise Refused(Refusal.NOT_NOW, "somebody else has asked for it already, and waits")
            if found.state == ApprovalState.APPROVED:
                self._use(work, found, record)
            return found

    def _open_for(self, work: Work, act: str, record: LoginRecord, principal: Principal) -> Approval | None:
        """The request for this act on this customer that is not over. One that can never be carried out, because the
        customer has changed since, is withdrawn: for a day nobody else could ask, and a program cannot take it back."""
        key = statements.open_for(work.connection, act, record.customer_key, self._transactions.now())
        found = None if key is None else statements.approval_of(work.connection, key)
        if found is None or found.seen == _seen(record):
            return found
        self._move(work, found, ApprovalState.WITHDRAWN, None)
        why = {**principal.audit_fields, "reason": f"{act} for {found.asked_by}: the customer has changed since"}
        work.audit(Event.APPROVAL_WITHDRAWN, **why, customer=record.contract_id)
        return None

    def _add(self, work: Work, act: str, record: LoginRecord, principal: Principal) -> int:
        key = self._transactions.store.ids.next()
        is_program = principal.kind is PrincipalKind.API_KEY
        statements.add_approval(
            work.connection,
            key,
            act,
            record.customer_key,
            asked_by=None if is_program else self._key_of(work, principal),
            program=principal.name if is_program else None,
            reason=principal.reason,
            seen=_seen(record),
            expires_at=self._transactions.now() + APPROVAL_HOURS * 3_600_000,
        )
        work.audit(Event.APPROVAL_ASKED, **_fields(principal, act), customer=record.contract_id)
        return key

    @rerun_on_conflict
    def decide(self, key: int, principal: Principal, *, approve: bool) -> Approval:
        """Approve or refuse what somebody else has asked for; the principal's reason says why. What was approved, by
        mistake perhaps, can be refused until it is carried out: a program may take its time."""
        states = (ApprovalState.ASKED,) if approve else (ApprovalState.ASKED, ApprovalState.APPROVED)
        with self._transactions.act(Act.APPROVE, principal) as work:
            found = self._waiting(work, key, *states)
            if found.asked_by == principal.name:
                raise Refused(Refusal.NOT_PERMITTED, "whoever asks cannot approve: somebody else has to")
            state = ApprovalState.APPROVED if approve else ApprovalState.REFUSED
            self._move(work, found, state, self._key_of(work, principal))
            event = Event.APPROVAL_GIVEN if approve else Event.APPROVAL_REFUSED
            work.audit(event, **_fields(principal, f"{found.act} for {found.asked_by}"), customer=found.customer)
            return found

    @rerun_on_conflict
    def withdraw(self, key: int, principal: Principal) -> Approval:
        """Take back what one has asked for oneself, approved or not."""
        with self._transactions.act(Act.ASK_APPROVAL, principal) as work:
            found = self._waiting(work, key, ApprovalState.ASKED, ApprovalState.APPROVED)
            self._check_own(found, principal)
            self._move(work, found, ApprovalState.WITHDRAWN, None)
            work.audit(Event.APPROVAL_WITHDRAWN, **_fields(principal, found.act), customer=found.customer)
            return found

    @rerun_on_conflict
    def use(self, key: int, principal: Principal) -> Approval:
        """Use an approved request up, before its act is carried out. Refused if it is not one's own, if it has expired,
        or if the customer is not as they were when it was asked."""
        with self._transactions.act(Act.ASK_APPROVAL, principal) as work:
            found = self._waiting(work, key, ApprovalState.APPROVED)
            self._check_own(found, principal)
            self._use(work, found, self._transactions.login_record(work, found.customer))
            return found

    def _use(self, work: Work, found: Approval, record: LoginRecord) -> None:
        if _seen(record) != found.seen:
            raise Refused(Refusal.NOT_NOW, "the customer's state has changed since it was asked: ask again")
        self._move(work, found, ApprovalState.DONE, None)

    def _waiting(self, work: Work, key: int, *states: ApprovalState) -> Approval:
        found = statements.approval_of(work.connection, key)
        if found is None or found.state not in states or found.expires_at <= self._transactions.now():
            raise Refused(Refusal.NOT_NOW, "there is no such request any more: decided, withdrawn, used or expired")
        return found

    @staticmethod
    def _check_own(found: Approval, principal: Principal) -> None:
        if found.asked_by != principal.name:
            raise Refused(Refusal.NOT_PERMITTED, "only whoever asked may do this")

    @staticmethod
    def _move(work: Work, found: Approval, state: ApprovalState, decided_by: int | None) -> None:
        if not statements.move_approval(work.connection, found.key, found.state, state, decided_by):
            raise Refused(Refusal.NOT_NOW, "somebody else was faster")

    @staticmethod
    def _key_of(work: Work, principal: Principal) -> int:
        record = staff_record(work.connection, principal.name)
        if record is None or record.disabled_at is not None:
            raise Refused(Refusal.NOT_PERMITTED, f"{principal.name} is no member of staff")
        return record.key


def _seen(record: LoginRecord) -> str:
    return json.dumps({"use": record.otp_use, "tokens": sorted(own.token_id for own in record.tokens)})


def _fields(principal: Principal, subject: str) -> dict[str, str]:
    words = f"{subject}: {principal.reason}" if principal.reason else subject
    return {**principal.audit_fields, "reason": words}
