"""The customer's use of one-time passwords: enrol, suspend, resume, lost, reissue, resynchronise."""

from __future__ import annotations

import secrets
from typing import Protocol

from otp_core.accounts.bindings import Bindings, is_bound, own_token
from otp_core.accounts.codes import Codes
from otp_core.accounts.lifecycle import Move, TokenMove, customer_after
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import IssuedToken, Receipt, Refusal, Refused, ReissuePermit
from otp_core.accounts.token_names import token_name
from otp_core.accounts.tokens import TokenService
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.accounts.verification import Code
from otp_core.audit import Event
from otp_core.model import Conflict, LoginRecord, OtpUse, TokenSpec, TokenState
from otp_core.otp import normalise_token_id
from otp_core.store.unit_of_work import Work
from otp_core.store.verifier_tasks import Tell

_PERMIT_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without 0, 1, I, L, O, U, which are mistaken for one another or make words."""


class IssuingSession(Protocol):
    """The session in which a token is made for a customer."""

    @property
    def key(self) -> int:
        """What the store knows it by."""

    @property
    def expires_at(self) -> int:
        """When the token is nobody's any more, unless it is enrolled (ms)."""


class EnrolmentService:
    """The acts of the customers' journeys, and what staff does when these fail.

    Every act may raise Refused (a wrong code or permit is counted then), and with a code of a token that is verified
    elsewhere VerificationNeeded (see verification.py). ``permit_hours``: how long a reissue permit is good."""

    def __init__(
        self, transactions: Transactions, codes: Codes, bindings: Bindings, tokens: TokenService, *, permit_hours: int
    ) -> None:
        self._transactions, self._codes, self._bindings, self._tokens = transactions, codes, bindings, tokens
        self._permit_ms = permit_hours * 3_600_000

    # Enrol, suspend, resume

    @rerun_on_conflict
    def enrol(
        self, contract_id: str, token_id: str, code: Code, principal: Principal, *, name: str | None = None
    ) -> Receipt:
        """Bind an available token by its code. A suspended customer may also come back with a token they had, and has
        all of them again then; a new one takes the place of all. ``name``: what they call it, as it was typed."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.ENROL, principal, customer=contract_id, token=token_id) as work:
            kept, record = token_name(name), self._transactions.allowed(work, contract_id, Move.ENROL)
            brought = self._codes.check_new_token(work, record, token_id, code)
            own = [one.token_id for one in record.tokens]
            gone = [] if token_id in own else own
            if not gone:
                others = [one for one in record.tokens if one.token_id != token_id]
                self._bindings.tell(work, record, others, Tell.ADD)
            self._bindings.retire(work, record, gone, principal)
            self._bindings.bind(work, record, Move.ENROL, brought, principal, gone=gone, name=kept)
            was = ", ".join(gone)
            return self._transactions.record(work, Event.ENROLLED, principal, record.contract_id, token_id, was=was)

    @rerun_on_conflict
    def suspend(self, contract_id: str, code: Code | None, principal: Principal) -> Receipt:
        """Password only from now on. ``code`` None: without the customer's token, for staff."""
        act = Act.SUSPEND_WITHOUT_CODE if code is None else Act.SUSPEND
        with self._transactions.act(act, principal, customer=contract_id) as work:
            record = self._transactions.allowed(work, contract_id, Move.SUSPEND)
            by = self._bindings.spend(work, record, code, principal) if code is not None else record.token_id
            self._bindings.tell(work, record, record.tokens, Tell.REMOVE)
            return self._move(work, record, Move.SUSPEND, Event.SUSPENDED, principal, by)

    @rerun_on_conflict
    def resume(self, contract_id: str, principal: Principal) -> Receipt:
        """End a suspension: the tokens that the customer had work again."""
        with self._transactions.act(Act.RESUME, principal, customer=contract_id) as work:
            record = self._transactions.allowed(work, contract_id, Move.RESUME)
            self._bindings.tell(work, record, record.tokens, Tell.ADD)
            return self._move(work, record, Move.RESUME, Event.RESUMED, principal, record.token_id)

    @rerun_on_conflict
    def issue_for(self, contract_id: str, session: IssuingSession, issuer: str, principal: Principal) -> IssuedToken:
        """Make a new token that only this customer can enrol, until this session ends: their own, or that of staff. An
        earlier one of the same session is retired. ``issuer``: the name that the app shows."""
        with self._transactions.act(Act.ISSUE_FOR_CUSTOMER, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            self._transactions.retire_reserved(work, [session.key], 0)
            issued = self._tokens.issue_in(work, principal, TokenSpec(), issuer)
            work.reserve(issued.token_id, record.customer_key, session.key, session.expires_at)
            return issued

    # Lost, and the reissue permit

    @rerun_on_conflict
    def report_lost(self, contract_id: str, principal: Principal, *, token_id: str | None = None) -> Receipt:
        """A token of the customer's is refused everywhere from this moment. While another is bound, that goes on
        working; otherwise the customer is refused, and a reissue permit is void. Their sessions end. ``token_id``:
        which one, None: the only one."""
        with self._transactions.act(Act.REPORT_LOST, principal, customer=contract_id, token=token_id) as work:
            record = self._transactions.allowed(work, contract_id, Move.REPORT_LOST)
            lost = own_token(record, token_id).token_id if record.tokens or token_id else None
            others = [own.token_id for own in record.tokens if own.token_id != lost]
            token = work.token(lost) if lost else None
            if token is not None and token.state != TokenState.LOST:
                self._transactions.move_token(work, token, TokenMove.LOSE)
                self._bindings.tell(work, record, [token], Tell.REMOVE)
            work.drop_permit(record.customer_key)
            self._transactions.end_sessions(work, record, principal)
            if token is not None and any(is_bound(work, other) for other in others):
                self._bindings.unbind(work, record, [token.token_id])
                move, event = Move.REPORT_ONE_LOST, Event.ONE_REPORTED_LOST
            else:
                move, event = Move.REPORT_LOST, Event.REPORTED_LOST
            return self._move(work, record, move, event, principal, lost)

    @rerun_on_conflict
    def permit_reissue(self, contract_id: str, principal: Principal) -> ReissuePermit:
        """Make a one-time, expiring permit, to be handed over out of band. A second one replaces the first."""
        with self._transactions.act(Act.PERMIT_REISSUE, principal, customer=contract_id) as work:
            record = self._transactions.allowed(work, contract_id, Move.PERMIT_REISSUE)
            before = work.permit_digest(record.customer_key)
            text = "-".join("".join(secrets.choice(_PERMIT_ALPHABET) for _ in range(4)) for _ in range(3))
            expires_at = self._transactions.now() + self._permit_ms
            if not work.put_permit(record.customer_key, before, self._permit_digest(record, text), expires_at):
                raise Conflict(f"a permit of {record.contract_id} was changed by somebody else just now: try again")
            self._move(work, record, Move.PERMIT_REISSUE, Event.REISSUE_PERMITTED, principal, record.token_id)
            return ReissuePermit(text, expires_at)

    @rerun_on_conflict
    def check_permit(self, contract_id: str, permit: str, principal: Principal) -> None:
        """The first step with a permit: whether it is the customer's. It stays good; a wrong one counts like a wrong
        code."""
        with self._transactions.act(Act.CHECK_PERMIT, principal, customer=contract_id) as work:
            record = self._transactions.allowed(work, contract_id, Move.CHANGE_BY_PERMIT)
            self._codes.refuse_locked(record)
            digest = self._permit_digest(record, permit)
            if not work.has_permit(record.customer_key, digest, self._transactions.now()):
                self._codes.count(work, record)
                raise Refused(Refusal.WRONG_PERMIT)

    @rerun_on_conflict
    def change_by_permit(
        self,
        contract_id: str,
        permit: str,
        token_id: str,
        code: Code,
        principal: Principal,
        *,
        name: str | None = None,
        session: int | None = None,
    ) -> Receipt:
        """A reissue permit in the place of the old token's code. It is used up only by success. ``name``: what the
        customer calls the new token, as it was typed. ``session``: the key of
        the session in which this is done, if any; the customer's others end."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.CHANGE_BY_PERMIT, principal, customer=contract_id, token=token_id) as work:
            kept, record = token_name(name), self._transactions.allowed(work, contract_id, Move.CHANGE_BY_PERMIT)
            brought = self._codes.check_new_token(work, record, token_id, code)
            if not work.take_permit(record.customer_key, self._permit_digest(record, permit), brought.now):
                self._codes.count(work, record)
                raise Refused(Refusal.WRONG_PERMIT)
            gone = [own.token_id for own in record.tokens]
            return self._bindings.changed(
                work, record, Move.CHANGE_BY_PERMIT, brought, principal, gone=gone, name=kept, session=session
            )

    # A token whose clock or counter ran away

    @rerun_on_conflict
    def resynchronise(
        self, contract_id: str, first: str, second: str, principal: Principal, *, token_id: str | None = None
    ) -> Receipt:
        """Two consecutive codes repair a token whose clock or counter has run away (RFC 4226 section 7.4, RFC 6238
        section 6). ``token_id``: which one, None: the only one."""
        with self._transactions.act(Act.RESYNCHRONISE, principal, customer=contract_id, token=token_id) as work:
            record = self._transactions.login_record(work, contract_id)
            if record.otp_use != OtpUse.ACTIVE or not record.tokens:
                raise Refused(Refusal.NOT_NOW, f"the customer's use of one-time passwords is {record.otp_use}")
            token_id = own_token(record, token_id).token_id
            beside = self._codes.resynchronise(work, record, token_id, first, second, principal)
            self._bindings.audit_spent(work, record, beside, principal)
            return self._transactions.record(work, Event.TOKEN_RESYNCHRONISED, principal, record.contract_id, token_id)

    @rerun_on_conflict
    def resynchronise_free(self, token_id: str, first: str, second: str, principal: Principal) -> Receipt:
        """The same for a token that nobody holds: a counter token after a restore is enrolled by no single code before.
        For staff with the token in their hands."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.RESYNCHRONISE_TOKEN, principal, token=token_id) as work:
            token = work.token(token_id)
            if token is None:
                raise Refused(Refusal.UNKNOWN_TOKEN, token_id)
            self._codes.resynchronise_free(work, token, first, second)
            return self._transactions.record(work, Event.TOKEN_RESYNCHRONISED, principal, None, token_id)

    # What these acts share

    def _move(
        self, work: Work, record: LoginRecord, move: Move, event: Event, principal: Principal, token_id: str | None
    ) -> Receipt:
        """Move the customer, who keeps their tokens, and record it with this one. Raises Conflict."""
        self._transactions.set_use(work, record, customer_after(OtpUse(record.otp_use), move))
        return self._transactions.record(work, event, principal, record.contract_id, token_id)

    def _permit_digest(self, record: LoginRecord, permit: str) -> int:
        text = normalise_token_id(permit)
        return self._transactions.store.sealer.fingerprint(b"permit", str(record.customer_key).encode(), text.encode())
