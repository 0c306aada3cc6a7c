"""The customer's use of one-time passwords: enrol, suspend, resume, change device, lost, reissue, resynchronise."""

from __future__ import annotations

import secrets

from otp_core.accounts.codes import Codes
from otp_core.accounts.lifecycle import Move, TokenMove, customer_after
from otp_core.accounts.results import Principal, Receipt, Refusal, Refused, ReissuePermit
from otp_core.audit import Event
from otp_core.model import Kind, LoginRecord, OtpUse, StoreUnavailable, TokenState
from otp_core.otp import is_code, normalise_code, normalise_token_id, resynchronise, step_at
from otp_core.store.unit_of_work import TokenRecord, Work

_PERMIT_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


class Journeys(Codes):
    """The acts of domain.md's journeys, and what staff does when they fail."""

    def enrol(self, contract_id: str, token_id: str, code: str, principal: Principal) -> Receipt:
        """Journey 2: bind an available token by its code. A suspended customer may also come back with the token
        they had."""
        token_id = normalise_token_id(token_id)
        with self._act(principal, customer=contract_id, token=token_id) as work:
            record = self._login_record(work, contract_id)
            self._may(record, Move.ENROL)
            token, step, now = self._new_token(work, record, token_id, code)
            self._bind(work, record, Move.ENROL, token, step, now)
            was = record.token_id if record.token_id != token_id else None
            return self._audit(work, Event.ENROLLED, principal, record.contract_id, token_id, was=was)

    def suspend(self, contract_id: str, code: str | None, principal: Principal) -> Receipt:
        """Journey 3: password only from now on. ``code`` None: staff does it, without the customer's token."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            after = self._may(record, Move.SUSPEND)
            if code is not None:
                self._spend_code(work, record, code)
            self._set_use(work, record, after, record.token_key)
            return self._audit(work, Event.SUSPENDED, principal, record.contract_id, record.token_id)

    def resume(self, contract_id: str, principal: Principal) -> Receipt:
        """Staff: end a suspension; the token that the customer had works again."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            self._set_use(work, record, self._may(record, Move.RESUME), record.token_key)
            return self._audit(work, Event.RESUMED, principal, record.contract_id, record.token_id)

    def change_device(self, contract_id: str, old_code: str, token_id: str, code: str, principal: Principal) -> Receipt:
        """Journey 4: the old token's code lets the new token in. The old one dies in the moment in which the new one
        lives, and goes on working if anything is wrong."""
        token_id = normalise_token_id(token_id)
        with self._act(principal, customer=contract_id, token=token_id) as work:
            record = self._login_record(work, contract_id)
            self._may(record, Move.CHANGE_DEVICE)
            old_step, now = self._check_code(work, record, old_code)
            token, step, now = self._new_token(work, record, token_id, code)
            self._spend_step(work, record, old_step, now)
            self._retire_old(work, record)
            self._bind(work, record, Move.CHANGE_DEVICE, token, step, now)
            self._end_sessions(work, record, principal)
            return self._audit(work, Event.DEVICE_CHANGED, principal, record.contract_id, token_id, was=record.token_id)

    def change_by_permit(
        self,
        contract_id: str,
        permit: str,
        token_id: str,
        code: str,
        principal: Principal,
        *,
        session: int | None = None,
    ) -> Receipt:
        """Journey 5: a reissue permit in place of the old token's code. It is used up only by success. ``session``: the
        key of the one in which it is used, if in one; the customer's others end."""
        token_id = normalise_token_id(token_id)
        with self._act(principal, customer=contract_id, token=token_id) as work:
            record = self._login_record(work, contract_id)
            self._may(record, Move.CHANGE_BY_PERMIT)
            token, step, now = self._new_token(work, record, token_id, code)
            if not work.take_permit(record.customer_key, self._permit_digest(record, permit), now):
                self._count(work, record)
                raise Refused(Refusal.WRONG_PERMIT)
            self._bind(work, record, Move.CHANGE_BY_PERMIT, token, step, now)
            self._end_sessions(work, record, principal, but=session)
            return self._audit(work, Event.DEVICE_CHANGED, principal, record.contract_id, token_id, was=record.token_id)

    def report_lost(self, contract_id: str, principal: Principal) -> Receipt:
        """Journey 5: refused everywhere from this moment. A permit that was handed out dies too, and the customer's
        sessions end."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            after = self._may(record, Move.REPORT_LOST)
            token = work.token(record.token_id) if record.token_id else None
            if token is not None and token.state != TokenState.LOST:
                self._move_token(work, token, TokenMove.LOSE)
            work.drop_permit(record.customer_key)
            self._end_sessions(work, record, principal)
            self._set_use(work, record, after, record.token_key)
            return self._audit(work, Event.REPORTED_LOST, principal, record.contract_id, record.token_id)

    def permit_reissue(self, contract_id: str, principal: Principal) -> ReissuePermit:
        """Journey 5: a one-time, expiring permit, to be handed over out of band. A second one replaces the first."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            after = self._may(record, Move.PERMIT_REISSUE)
            text = "-".join("".join(secrets.choice(_PERMIT_ALPHABET) for _ in range(4)) for _ in range(3))
            expires_at = self._now() + self._rules.permit_hours * 3_600_000
            work.put_permit(record.customer_key, self._permit_digest(record, text), expires_at)
            self._set_use(work, record, after, record.token_key)
            self._audit(work, Event.REISSUE_PERMITTED, principal, record.contract_id, record.token_id)
            return ReissuePermit(text, expires_at)

    def resynchronise(self, contract_id: str, first: str, second: str, principal: Principal) -> Receipt:
        """Two consecutive codes repair a token whose clock or counter has run away."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            if record.otp_use != OtpUse.ACTIVE or record.token_id is None:
                raise Refused(Refusal.NOT_NOW, f"the customer's use of one-time passwords is {record.otp_use}")
            self._not_locked(record)
            token = work.token(record.token_id)
            assert token is not None
            now, codes = self._now(), (normalise_code(first), normalise_code(second))
            if not all(is_code(code, token.digits) for code in codes):
                raise Refused(Refusal.NOT_A_CODE)
            step = resynchronise(
                self._unseal(token),
                token.spec,
                *codes,
                at_ms=now,
                last_step=token.last_step,
                window=self._rules.resync_window,
                look_ahead=self._rules.resync_look_ahead,
            )
            if step is None:
                self._count(work, record)
                raise Refused(Refusal.WRONG_CODE, "the two codes do not follow one another near the present")
            drift = step - step_at(now, token.period) if token.kind == Kind.TOTP else 0
            self._spend(work, record, token.key, step, drift, now)
            return self._audit(work, Event.TOKEN_RESYNCHRONISED, principal, record.contract_id, token.token_id)

    # What these acts share

    @staticmethod
    def _may(record: LoginRecord, move: Move) -> OtpUse:
        return customer_after(OtpUse(record.otp_use), move)

    def _bind(self, work: Work, record: LoginRecord, move: Move, token: TokenRecord, step: int, now: int) -> None:
        if move is Move.ENROL and record.token_key not in (None, token.key):
            self._retire_old(work, record)
        if token.state == TokenState.AVAILABLE:
            self._move_token(work, token, TokenMove.BIND)
            work.drop_reservation(token.key)
        drift = self._drift(token.kind, token.period, token.drift, step, now)
        self._spend(work, record, token.key, step, drift, now)
        self._set_use(work, record, self._may(record, move), token.key)

    def _retire_old(self, work: Work, record: LoginRecord) -> None:
        """The customer's token of until now is never accepted again, unless somebody else holds it too."""
        assert record.token_id is not None
        old = work.token(record.token_id)
        if old is not None and old.state == TokenState.BOUND and work.holders(old.key) == 1:
            self._move_token(work, old, TokenMove.RETIRE)
            work.audit(Event.TOKEN_RETIRED, actor="desk", customer=record.contract_id, token=old.token_id)

    @staticmethod
    def _set_use(work: Work, record: LoginRecord, after: OtpUse, token_key: int | None) -> None:
        if not work.set_otp_use(record.customer_key, OtpUse(record.otp_use), after, token_key):
            raise StoreUnavailable(f"{record.contract_id} was changed by somebody else just now: try again")

    def _permit_digest(self, record: LoginRecord, permit: str) -> int:
        text = normalise_token_id(permit)
        return self._store.sealer.fingerprint(b"permit", str(record.customer_key).encode(), text.encode())
