"""The customer's use of one-time passwords: enrol, suspend, resume, change the device, lost, reissue, resynchronise.

A device change on the pages has two steps: the first spends the old token's code and leaves a proof in the session, the
last brings the new token and uses the proof up. Until then the old token stays the customer's token.
"""

from __future__ import annotations

import secrets

from otp_core.accounts.codes import Codes
from otp_core.accounts.lifecycle import Move, TokenMove, customer_after
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import IssuedToken, Receipt, Refusal, Refused, ReissuePermit
from otp_core.accounts.sessions import Session
from otp_core.accounts.tokens import TokenService
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.accounts.verification import Code
from otp_core.audit import Event
from otp_core.model import Conflict, LoginRecord, OtpUse, TokenSpec, TokenState
from otp_core.otp import normalise_token_id
from otp_core.store.unit_of_work import TokenRecord, Work

_PERMIT_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without 0, 1, I, L, O, U, which are mistaken for one another or make words."""


class EnrolmentService:
    """The acts of the customers' journeys, and what staff does when these fail.

    Every act may raise Refused (a wrong code or permit is counted then), and with a code of a token that is verified
    elsewhere VerificationNeeded (see verification.py). ``permit_hours``: how long a reissue permit is good."""

    def __init__(self, transactions: Transactions, codes: Codes, tokens: TokenService, *, permit_hours: int) -> None:
        self._transactions, self._codes, self._tokens = transactions, codes, tokens
        self._permit_ms = permit_hours * 3_600_000

    # Enrol, suspend, resume

    @rerun_on_conflict
    def enrol(self, contract_id: str, token_id: str, code: Code, principal: Principal) -> Receipt:
        """Bind an available token by its code. A suspended customer may also come back with the token they had."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.ENROL, principal, customer=contract_id, token=token_id) as work:
            record = self._allowed(work, contract_id, Move.ENROL)
            token, step, now = self._codes.check_new_token(work, record, token_id, code)
            if record.token_key not in (None, token.key):
                self._retire_old(work, record, principal)
            self._bind(work, record, Move.ENROL, token, step, now)
            was = record.token_id if record.token_id != token_id else None
            return self._transactions.record(work, Event.ENROLLED, principal, record.contract_id, token_id, was=was)

    @rerun_on_conflict
    def suspend(self, contract_id: str, code: Code | None, principal: Principal) -> Receipt:
        """Password only from now on. ``code`` None: without the customer's token, for staff."""
        act = Act.SUSPEND_WITHOUT_CODE if code is None else Act.SUSPEND
        with self._transactions.act(act, principal, customer=contract_id) as work:
            record = self._allowed(work, contract_id, Move.SUSPEND)
            if code is not None:
                self._codes.spend(work, record, code)
            return self._move(work, record, Move.SUSPEND, Event.SUSPENDED, principal)

    @rerun_on_conflict
    def resume(self, contract_id: str, principal: Principal) -> Receipt:
        """End a suspension: the token that the customer had works again."""
        with self._transactions.act(Act.RESUME, principal, customer=contract_id) as work:
            record = self._allowed(work, contract_id, Move.RESUME)
            return self._move(work, record, Move.RESUME, Event.RESUMED, principal)

    # Change the device

    @rerun_on_conflict
    def change_device(
        self, contract_id: str, old_code: Code, token_id: str, code: Code, principal: Principal
    ) -> Receipt:
        """The old token's code lets the new token in, by its own code. In one transaction the old token is retired and
        the new one bound; if anything is wrong, the old one goes on working."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.CHANGE_DEVICE, principal, customer=contract_id, token=token_id) as work:
            record = self._allowed(work, contract_id, Move.CHANGE_DEVICE)
            old_step, now = self._codes.check(work, record, old_code)
            token, step, now = self._codes.check_new_token(work, record, token_id, code)
            self._codes.spend_step(work, record, old_step, now)
            self._retire_old(work, record, principal)
            return self._changed(work, record, Move.CHANGE_DEVICE, token, step, now, principal)

    @rerun_on_conflict
    def give_old_code(
        self, contract_id: str, code: Code, session: Session, seconds: int, principal: Principal
    ) -> Receipt:
        """The first step on the pages: spend the old token's code, and let this session bring a new token for so many
        seconds. Nothing else changes."""
        with self._transactions.act(Act.GIVE_OLD_CODE, principal, customer=contract_id) as work:
            record = self._allowed(work, contract_id, Move.CHANGE_DEVICE)
            self._codes.spend(work, record, code)
            assert record.token_key is not None
            until = self._transactions.now() + seconds * 1000
            if not work.put_proof(session.key, record.customer_key, record.token_key, until):
                raise Refused(Refusal.NOT_NOW, "the session has ended")
            return self._transactions.record(work, Event.OLD_CODE_GIVEN, principal, record.contract_id, record.token_id)

    @rerun_on_conflict
    def change_by_proof(
        self, contract_id: str, session: Session, token_id: str, code: Code, principal: Principal
    ) -> Receipt:
        """The last step on the pages: as ``change_device``, with the proof that ``give_old_code`` left. It is used up
        only by success."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.CHANGE_BY_PROOF, principal, customer=contract_id, token=token_id) as work:
            record = self._allowed(work, contract_id, Move.CHANGE_DEVICE)
            if record.token_key is None:
                raise Refused(Refusal.NOT_NOW, "the token is not bound any more")
            token, step, now = self._codes.check_new_token(work, record, token_id, code)
            if not work.take_proof(session.key, record.customer_key, record.token_key, now):
                raise Refused(Refusal.NOT_NOW, "the old token's code was given too long ago, or not here")
            self._retire_old(work, record, principal)
            return self._changed(work, record, Move.CHANGE_DEVICE, token, step, now, principal, session=session.key)

    @rerun_on_conflict
    def issue_for(self, contract_id: str, session: Session, issuer: str, principal: Principal) -> IssuedToken:
        """Make a new token that only this customer can enrol, until this session ends. An earlier one of the same
        session is retired. ``issuer``: the name that the app shows."""
        with self._transactions.act(Act.ISSUE_FOR_CUSTOMER, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            self._transactions.retire_reserved(work, [session.key], 0)
            issued = self._tokens.issue_in(work, principal, TokenSpec(), issuer)
            work.reserve(issued.token_id, record.customer_key, session.key, session.expires_at)
            return issued

    # Lost, and the reissue permit

    @rerun_on_conflict
    def report_lost(self, contract_id: str, principal: Principal) -> Receipt:
        """The customer's token is refused everywhere from this moment. A reissue permit is void, and the
        customer's sessions end."""
        with self._transactions.act(Act.REPORT_LOST, principal, customer=contract_id) as work:
            record = self._allowed(work, contract_id, Move.REPORT_LOST)
            token = work.token(record.token_id) if record.token_id else None
            if token is not None and token.state != TokenState.LOST:
                self._transactions.move_token(work, token, TokenMove.LOSE)
            work.drop_permit(record.customer_key)
            self._transactions.end_sessions(work, record, principal)
            return self._move(work, record, Move.REPORT_LOST, Event.REPORTED_LOST, principal)

    @rerun_on_conflict
    def permit_reissue(self, contract_id: str, principal: Principal) -> ReissuePermit:
        """Make a one-time, expiring permit, to be handed over out of band. A second one replaces the first."""
        with self._transactions.act(Act.PERMIT_REISSUE, principal, customer=contract_id) as work:
            record = self._allowed(work, contract_id, Move.PERMIT_REISSUE)
            before = work.permit_digest(record.customer_key)
            text = "-".join("".join(secrets.choice(_PERMIT_ALPHABET) for _ in range(4)) for _ in range(3))
            expires_at = self._transactions.now() + self._permit_ms
            if not work.put_permit(record.customer_key, before, self._permit_digest(record, text), expires_at):
                raise Conflict(f"a permit of {record.contract_id} was changed by somebody else just now: try again")
            self._move(work, record, Move.PERMIT_REISSUE, Event.REISSUE_PERMITTED, principal)
            return ReissuePermit(text, expires_at)

    @rerun_on_conflict
    def check_permit(self, contract_id: str, permit: str, principal: Principal) -> None:
        """The first step with a permit: whether it is the customer's. It stays good; a wrong one counts like a wrong
        code."""
        with self._transactions.act(Act.CHECK_PERMIT, principal, customer=contract_id) as work:
            record = self._allowed(work, contract_id, Move.CHANGE_BY_PERMIT)
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
        session: int | None = None,
    ) -> Receipt:
        """A reissue permit in the place of the old token's code. It is used up only by success. ``session``: the key of
        the session in which this is done, if any; the customer's others end."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.CHANGE_BY_PERMIT, principal, customer=contract_id, token=token_id) as work:
            record = self._allowed(work, contract_id, Move.CHANGE_BY_PERMIT)
            token, step, now = self._codes.check_new_token(work, record, token_id, code)
            if not work.take_permit(record.customer_key, self._permit_digest(record, permit), now):
                self._codes.count(work, record)
                raise Refused(Refusal.WRONG_PERMIT)
            return self._changed(work, record, Move.CHANGE_BY_PERMIT, token, step, now, principal, session=session)

    # A token whose clock or counter ran away

    @rerun_on_conflict
    def resynchronise(self, contract_id: str, first: str, second: str, principal: Principal) -> Receipt:
        """Two consecutive codes repair a token whose clock or counter has run away (RFC 4226 section 7.4, RFC 6238
        section 6)."""
        with self._transactions.act(Act.RESYNCHRONISE, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            self._codes.resynchronise(work, record, first, second, principal)
            return self._transactions.record(
                work, Event.TOKEN_RESYNCHRONISED, principal, record.contract_id, record.token_id
            )

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

    def _allowed(self, work: Work, contract_id: str, move: Move) -> LoginRecord:
        """A customer for whom the lifecycle allows this move. Raises Refused or NotAllowed."""
        record = self._transactions.login_record(work, contract_id)
        customer_after(OtpUse(record.otp_use), move)
        return record

    def _move(self, work: Work, record: LoginRecord, move: Move, event: Event, principal: Principal) -> Receipt:
        """Move the customer, who keeps the token they have, and record it. Raises Conflict."""
        after = customer_after(OtpUse(record.otp_use), move)
        self._transactions.set_use(work, record, after, record.token_key)
        return self._transactions.record(work, event, principal, record.contract_id, record.token_id)

    def _changed(
        self,
        work: Work,
        record: LoginRecord,
        move: Move,
        token: TokenRecord,
        step: int,
        now: int,
        principal: Principal,
        *,
        session: int | None = None,
    ) -> Receipt:
        """Bind the new token in the place of the old one, end the customer's sessions but this one, and record it."""
        self._bind(work, record, move, token, step, now)
        self._transactions.end_sessions(work, record, principal, but=session)
        return self._transactions.record(
            work, Event.DEVICE_CHANGED, principal, record.contract_id, token.token_id, was=record.token_id
        )

    def _bind(self, work: Work, record: LoginRecord, move: Move, token: TokenRecord, step: int, now: int) -> None:
        """Make the token the customer's, with the step of its first code spent. Raises Conflict."""
        if token.state == TokenState.AVAILABLE:
            self._transactions.move_token(work, token, TokenMove.BIND)
            work.drop_reservation(token.key)
        self._codes.spend_first_step(work, record, token, step, now)
        self._transactions.set_use(work, record, customer_after(OtpUse(record.otp_use), move), token.key)

    def _retire_old(self, work: Work, record: LoginRecord, principal: Principal) -> None:
        """Retire the token that the customer had, unless another customer has it too. Raises Conflict."""
        assert record.token_id is not None
        old = work.token(record.token_id)
        if old is not None and old.state == TokenState.BOUND and work.holders(old.key) == 1:
            self._transactions.move_token(work, old, TokenMove.RETIRE)
            self._transactions.record(work, Event.TOKEN_RETIRED, principal, record.contract_id, old.token_id)

    def _permit_digest(self, record: LoginRecord, permit: str) -> int:
        text = normalise_token_id(permit)
        return self._transactions.store.sealer.fingerprint(b"permit", str(record.customer_key).encode(), text.encode())
