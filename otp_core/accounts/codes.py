"""Codes at the desk: checked, counted and spent by the same rules as at every door."""

from __future__ import annotations

from otp_core.accounts.results import Principal, Refusal, Refused
from otp_core.accounts.transactions import Acts
from otp_core.audit import Event
from otp_core.login.lockout import failures_after, lock_reason, too_soon
from otp_core.model import Kind, LoginRecord, OtpUse, StoreUnavailable, TokenState
from otp_core.otp import Fit, fit, is_code, learn_drift, normalise_code, step_at
from otp_core.store.unit_of_work import TokenRecord, Work


class Codes(Acts):
    """What an act asks of a code. Counting is kept even if the act is refused; nothing is spent before it succeeds."""

    def _not_locked(self, record: LoginRecord) -> None:
        if record.locked_at is not None:
            raise Refused(Refusal.LOCKED)
        if too_soon(record, self._now(), self._rules):
            raise Refused(Refusal.TOO_SOON)

    def _check_code(self, work: Work, record: LoginRecord, text: str) -> tuple[int, int]:
        """The step of a right code of the customer's own token, and the moment. Nothing is spent yet."""
        self._not_locked(record)
        if record.token_key is None:
            raise Refused(Refusal.NOT_NOW, "the token is not bound any more")
        code, now = normalise_code(text), self._now()
        if not is_code(code, record.digits or 0):
            raise Refused(Refusal.NOT_A_CODE)
        found, step = self._evaluator.fit(record, code, now)
        if found is Fit.REUSED:
            raise Refused(Refusal.REUSED_CODE)
        if found is Fit.WRONG:
            self._count(work, record)
            raise Refused(Refusal.WRONG_CODE)
        return step, now

    def _spend_code(self, work: Work, record: LoginRecord, text: str) -> None:
        step, now = self._check_code(work, record, text)
        self._spend_step(work, record, step, now)

    def _spend_step(self, work: Work, record: LoginRecord, step: int, now: int) -> None:
        """The step of a code of the customer's own token."""
        assert record.token_key is not None
        drift = self._drift(record.kind, record.period, record.drift, step, now)
        self._spend(work, record, record.token_key, step, drift, now)

    def _new_token(self, work: Work, record: LoginRecord, token_id: str, text: str) -> tuple[TokenRecord, int, int]:
        """The token that the customer brings, with the step of its code. Unknown, somebody else's and a wrong code
        are one refusal; which of them it was, the detail tells staff."""
        self._not_locked(record)
        token, code, now = work.token(token_id), normalise_code(text), self._now()
        if token is None:
            self._count(work, record)
            raise Refused(Refusal.TOKEN_OR_CODE, f"token {token_id} is not in the inventory")
        if not self._is_free(work, record, token):
            self._count(work, record)
            raise Refused(Refusal.TOKEN_OR_CODE, f"token {token_id} is {token.state}")
        found, step = fit(
            self._unseal(token),
            token.spec,
            code,
            at_ms=now,
            last_step=token.last_step,
            drift=token.drift,
            window=self._rules.window,
            look_ahead=self._rules.look_ahead,
        )
        if found is not Fit.FITS:
            if is_code(code, token.digits) and found is Fit.WRONG:
                self._count(work, record)
            raise Refused(Refusal.TOKEN_OR_CODE, f"{found} code of token {token_id}")
        return token, step, now

    def _is_free(self, work: Work, record: LoginRecord, token: TokenRecord) -> bool:
        if token.state == TokenState.AVAILABLE:
            return work.reserved_for(token.key) in (None, record.customer_key)
        if token.state != TokenState.BOUND:
            return False
        if token.key == record.token_key:
            return record.otp_use == OtpUse.SUSPENDED
        return not self._rules.one_customer_per_token

    def _spend(self, work: Work, record: LoginRecord, token_key: int, step: int, drift: int, now: int) -> None:
        if not work.spend_step(token_key, step, drift, now):
            raise StoreUnavailable(f"a code of {record.contract_id} was used by somebody else just now: try again")
        if record.failures:
            work.set_failures(record.customer_key, 0, 0, None)

    def _count(self, work: Work, record: LoginRecord) -> None:
        now = self._now()
        failures, locked_at = failures_after(record, now, self._rules)
        work.set_failures(record.customer_key, failures, now, locked_at)
        if locked_at is not None:
            locker = Principal("desk", reason=lock_reason(failures))
            self._audit(work, Event.CUSTOMER_LOCKED, locker, record.contract_id, record.token_id)

    def _drift(self, kind: str | None, period: int | None, drift: int, step: int, now: int) -> int:
        if kind != Kind.TOTP or not period:
            return 0
        return learn_drift(drift, step, step_at(now, period), self._rules.max_drift)

    def _unseal(self, token: TokenRecord) -> bytes:
        return self._store.sealer.unseal(token.seed, token.token_id)
