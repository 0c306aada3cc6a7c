"""Acts that two people do: asked for by one, approved by another, carried out by the first. Each step is recorded.

What was seen when it was asked has to hold when it is carried out (approval_kinds.py). Times are ms since the epoch.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from otp_core.accounts.approval_kinds import KINDS, MOST_PAYLOAD, About, ApprovalKind, Payload, Subject
from otp_core.accounts.lifecycle import Move
from otp_core.accounts.permissions import Act, least_role
from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.accounts.results import Refusal, Refused
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import LoginRecord, Role
from otp_core.sealing import KeyProblem
from otp_core.store import approvals as statements
from otp_core.store.api_keys import API_KEY_ACTOR, maker_of
from otp_core.store.approvals import Approval, ApprovalState, NewApproval
from otp_core.store.staff import StaffRecord, staff_of_account, staff_record
from otp_core.store.unit_of_work import Work

APPROVAL_HOURS = 24
"""How long a request waits for a second person, and an approved one for being carried out."""

MOST_OPEN = 50
"""Requests of one asker that wait."""


class _Asked(NamedTuple):
    """A request as it is made. ``subject``: empty where it is about a customer."""

    kind: ApprovalKind
    customer_key: int | None
    customer: str | None
    subject: str
    about: About
    seen: str


class ApprovalService:
    """The steps of a request. Every one may raise Refused."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @rerun_on_conflict
    def ask(self, act: str, subject: str, principal: Principal, payload: Payload | None = None) -> int:
        """Ask for an act of this kind on ``subject`` (a contract ID, or a name; empty where nothing has one), for the
        principal's reason; the request's number. ``payload``: what exactly is to be done."""
        kind = KINDS[act]
        customer = subject if kind.subject is Subject.CUSTOMER else None
        with self._transactions.act(Act.ASK_APPROVAL, principal, customer=customer) as work:
            self._transactions.check_may(work, principal, kind.act, customer)
            asked = self._asked(work, kind, About(subject, payload or {}, principal.name))
            if kind.is_alone and self._open_for(work, asked, principal):
                raise Refused(Refusal.NOT_NOW, "it was asked for already, and waits")
            return self._add(work, asked, principal)

    @rerun_on_conflict
    def ask_or_use(self, act: str, contract_id: str, principal: Principal, move: Move) -> Approval:
        """For a program, which asks again until it may: its own request for this act on this customer, made if there is
        none, and used up if it was approved. Carry the act out if its state is APPROVED, in the same transaction
        (``Desk.together``). ``move``: what the customer's state has to allow. Refused also where somebody else's
        request waits."""
        kind = KINDS[act]
        with self._transactions.act(Act.ASK_APPROVAL, principal, customer=contract_id) as work:
            self._transactions.check_may(work, principal, kind.act, contract_id)
            record = self._transactions.allowed(work, contract_id, move)
            asked = self._asked(work, kind, About(record.contract_id, {}, principal.name), record)
            found = self._open_for(work, asked, principal)
            if found is None:
                found = statements.approval_of(work.connection, self._add(work, asked, principal))
                assert found is not None
            if found.asked_by != principal.name:
                raise Refused(Refusal.NOT_NOW, "somebody else has asked for it already, and waits")
            if found.state == ApprovalState.APPROVED:
                self._check_decider(work, found)
                self._move(work, found, ApprovalState.DONE)
            return found

    @staticmethod
    def _asked(work: Work, kind: ApprovalKind, about: About, record: LoginRecord | None = None) -> _Asked:
        """``record``: of the customer, where it was read already."""
        if kind.subject is not Subject.CUSTOMER:
            return _Asked(kind, None, None, about.subject, about, kind.seen(work, about))
        record = record or Transactions.login_record(work, about.subject)
        return _Asked(kind, record.customer_key, record.contract_id, "", about, kind.seen(work, about))

    def _open_for(self, work: Work, asked: _Asked, principal: Principal) -> Approval | None:
        """The request for this act on this subject that is not over. One that can never be carried out, because the
        subject has changed since, is withdrawn: for a day nobody else could ask, and a program cannot take it back."""
        now = self._transactions.now()
        key = statements.open_for(work.connection, asked.kind.name, asked.customer_key, asked.subject, now)
        found = None if key is None else statements.approval_of(work.connection, key)
        if found is None or found.seen == asked.seen:
            return found
        self._move(work, found, ApprovalState.WITHDRAWN)
        what = f"{self._words(found)} for {found.asked_by}: the {asked.kind.subject} has changed since"
        work.audit(Event.APPROVAL_WITHDRAWN, **{**principal.audit_fields, "reason": what}, customer=asked.customer)
        return None

    def _add(self, work: Work, asked: _Asked, principal: Principal) -> int:
        key, now = self._transactions.store.ids.next(), self._transactions.now()
        is_program = principal.kind is PrincipalKind.API_KEY
        asked_by = None if is_program else self._staff(work, principal).key
        program = principal.name if is_program else None
        if statements.count_open_of(work.connection, asked_by, program, now) >= MOST_OPEN:
            raise Refused(Refusal.TOO_MANY, f"{MOST_OPEN} requests wait: withdraw those that are not needed")
        kind, payload = asked.kind.name, self._sealed(key, asked.kind.name, asked.about.payload)
        until, words = now + APPROVAL_HOURS * 3_600_000, asked.kind.words(asked.about)
        by, about = (asked_by, program), (asked.customer_key, asked.subject)
        new = NewApproval(key, kind, *about, *by, principal.reason, payload, asked.seen, until)
        statements.add_approval(work.connection, new)
        work.audit(Event.APPROVAL_ASKED, **_fields(principal, words), customer=asked.customer)
        return key

    @rerun_on_conflict
    def decide(self, key: int, principal: Principal, *, approve: bool) -> Approval:
        """Approve or refuse what somebody else has asked for; the principal's reason says why. What was approved, by
        mistake perhaps, can be refused until it is carried out: a program may take its time."""
        states = (ApprovalState.ASKED,) if approve else (ApprovalState.ASKED, ApprovalState.APPROVED)
        with self._transactions.act(Act.APPROVE, principal) as work:
            found = self._waiting(work, key, *states)
            self._check_other(work, found, principal.name)
            state = ApprovalState.APPROVED if approve else ApprovalState.REFUSED
            self._move(work, found, state, decided_by=self._staff(work, principal).key)
            event = Event.APPROVAL_GIVEN if approve else Event.APPROVAL_REFUSED
            words = f"{self._words(found)} for {found.asked_by}"
            work.audit(event, **_fields(principal, words), customer=found.customer)
            return found

    @rerun_on_conflict
    def withdraw(self, key: int, principal: Principal) -> Approval:
        """Take back what one has asked for oneself, approved or not."""
        with self._transactions.act(Act.ASK_APPROVAL, principal) as work:
            found = self._waiting(work, key, ApprovalState.ASKED, ApprovalState.APPROVED)
            self._check_own(found, principal)
            self._move(work, found, ApprovalState.WITHDRAWN)
            work.audit(Event.APPROVAL_WITHDRAWN, **_fields(principal, self._words(found)), customer=found.customer)
            return found

    def begin(self, key: int, principal: Principal) -> tuple[Approval, About]:
        """An approved request that its asker carries out now, and what it is about: everything was checked once more.
        Part of ``Desk.carry_out``."""
        with self._transactions.act(Act.ASK_APPROVAL, principal) as work:
            found = self._waiting(work, key, ApprovalState.APPROVED)
            self._check_own(found, principal)
            kind, about = KINDS[found.act], self.about(found)
            self._transactions.check_may(work, principal, kind.act, found.customer)
            self._staff(work, principal)
            self._check_account(work, found, principal)
            self._check_decider(work, found)
            if kind.seen(work, about) != found.seen:
                raise Refused(Refusal.NOT_NOW, f"the {kind.subject} has changed since it was asked: ask again")
            return found, about

    def end(self, work: Work, found: Approval) -> None:
        """Note that a request was carried out by the last act of this transaction. Part of ``Desk.carry_out``."""
        self._move(work, found, ApprovalState.DONE, outcome=work.recorded[-1].id if work.recorded else None)

    def sweep(self) -> bool:
        """Delete some requests that are long over; whether there were any. None before the clock has settled. Raises
        StoreUnavailable, ClockWrong."""
        return self._transactions.forget_late(statements.has_late_approvals, statements.forget_approvals)

    def waiting(self) -> int:
        """How many requests wait for a second person."""
        with self._transactions.store.read() as connection:
            return statements.count_waiting(connection, self._transactions.stamp())

    def about(self, found: Approval) -> About:
        """What a request is about, with the payload opened. Raises Refused where it was not sealed by this store for
        this request."""
        if found.payload is None:
            return About(found.about, {}, found.asked_by)
        sealer = self._transactions.store.sealer
        try:
            plain = sealer.unseal_data(found.payload, self._digest(found.key, found.act))
        except KeyProblem:
            raise Refused(Refusal.NOT_NOW, "what was asked for cannot be opened: ask again") from None
        return About(found.about, json.loads(plain), found.asked_by)

    def _sealed(self, key: int, kind: str, payload: Payload) -> bytes | None:
        if not payload:
            return None
        plain = json.dumps(payload, ensure_ascii=False).encode()
        if len(plain) > MOST_PAYLOAD:
            raise Refused(Refusal.TOO_MANY, f"{len(plain)} octets to be done, of at most {MOST_PAYLOAD}")
        return self._transactions.store.sealer.seal_data(plain, self._digest(key, kind))

    def _digest(self, key: int, kind: str) -> bytes:
        return self._transactions.store.sealer.session_digest(f"approval {key} {kind}".encode())

    def _words(self, found: Approval) -> str:
        """What exactly was asked for, for the audit trail."""
        try:
            return KINDS[found.act].words(self.about(found))
        except Refused:
            return found.act

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
    def _check_other(work: Work, found: Approval, name: str) -> None:
        """Two people are two, by whatever way the first one asks; and nobody decides about themselves."""
        if found.asked_by == name:
            raise Refused(Refusal.NOT_PERMITTED, "whoever asks cannot approve: somebody else has to")
        if found.asked_by.startswith(API_KEY_ACTOR):
            program = found.asked_by.removeprefix(API_KEY_ACTOR)
            if maker_of(work.connection, program) == name:
                raise Refused(Refusal.NOT_PERMITTED, f"{name} has made the key of {program}: somebody else has to")
        if KINDS[found.act].subject is Subject.STAFF and found.subject == name:
            raise Refused(Refusal.NOT_PERMITTED, "it is about whoever decides: somebody else has to")
        holder = staff_of_account(work.connection, found.customer) if found.customer else None
        if holder is not None and holder.name == name:
            raise Refused(Refusal.NOT_PERMITTED, "it is about the account of whoever decides: somebody else has to")

    @staticmethod
    def _check_account(work: Work, found: Approval, principal: Principal) -> None:
        """An account that staff has begun to sign in with since is acted on as any such account: by an administrator,
        and by nobody on their own."""
        holder = staff_of_account(work.connection, found.customer) if found.customer else None
        if holder is not None and (principal.role != Role.ADMINISTRATOR or holder.name == principal.name):
            raise Refused(Refusal.NOT_PERMITTED, f"{holder.name} of the staff signs in with this account")

    def _check_decider(self, work: Work, found: Approval) -> None:
        """Whoever has approved may approve today."""
        record = staff_record(work.connection, found.decided_by or "")
        if record is not None and record.disabled_at is None:
            decider = Principal(record.name, PrincipalKind.STAFF, role=record.role)
            self._transactions.check_may(work, decider, Act.APPROVE)
            return
        raise Refused(Refusal.NOT_PERMITTED, f"{found.decided_by}, who approved it, is no member of staff any more")

    @staticmethod
    def _move(
        work: Work,
        found: Approval,
        state: ApprovalState,
        *,
        decided_by: int | None = None,
        outcome: int | None = None,
    ) -> None:
        before = found.key, found.state
        if not statements.move_approval(work.connection, *before, state, decided_by=decided_by, outcome=outcome):
            raise Refused(Refusal.NOT_NOW, "somebody else was faster")

    @staticmethod
    def _staff(work: Work, principal: Principal) -> StaffRecord:
        """Whoever acts, as they are now. A session by single sign-on may have less than their role, never more."""
        record = staff_record(work.connection, principal.name)
        if record is None or record.disabled_at is not None:
            raise Refused(Refusal.NOT_PERMITTED, f"{principal.name} is no member of staff")
        if least_role(principal.role, record.role) != principal.role:
            raise Refused(Refusal.NOT_PERMITTED, f"{principal.name} has another role now")
        return record


def _fields(principal: Principal, subject: str) -> dict[str, str]:
    words = f"{subject}: {principal.reason}" if principal.reason else subject
    return {**principal.audit_fields, "reason": words}
