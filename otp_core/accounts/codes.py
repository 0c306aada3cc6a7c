"""Codes at the desk: checked, counted and spent by the same rules as at every door (RFC 4226, RFC 6238, lockout.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Refusal, Refused
from otp_core.accounts.transactions import SYSTEM, Transactions
from otp_core.accounts.verification import Code, VerificationNeeded
from otp_core.audit import Event
from otp_core.clock import ClockWrong
from otp_core.login.code_fit import is_code_of_any, token_spec
from otp_core.login.evaluate import Evaluator
from otp_core.login.lockout import failures_after, lock_reason, seconds_to_wait
from otp_core.login.matching import match
from otp_core.login.table import ELSEWHERE, FINDING_TEXT, Finding
from otp_core.model import Conflict, Kind, LoginRecord, LoginToken, OtpUse, TokenSpec, TokenState
from otp_core.otp import (
    LOOK_BACK,
    Fit,
    code_at,
    fit,
    is_code,
    learn_drift,
    normalise_code,
    resynchronise,
    step_at,
)
from otp_core.store.future_stamps import repair_token
from otp_core.store.unit_of_work import NewToken, TokenRecord, Work
from otp_core.verifier import LOCAL_VERIFIER, CodeFinding

_NOT_CONSECUTIVE = "the two codes do not follow one another near the present"
_REFUSAL = {
    Finding.REUSED: Refusal.REUSED_CODE,
    Finding.WRONG: Refusal.WRONG_CODE,
    Finding.RESYNC_NEEDED: Refusal.RESYNC_NEEDED,
}


KnownCode = tuple[str, str]
"""A token ID and a code of it, both normalised."""

Outside = Callable[[str], str | None]
"""The verifier of a token that is not in the inventory, by its normalised ID; None: it has to be there."""


class RightCode(NamedTuple):
    """A code that fits one or more of the customer's tokens, with its step on each. ``now``: ms."""

    fitting: Sequence[tuple[LoginToken, int]]
    now: int

    @property
    def token(self) -> LoginToken:
        """The one that the act's audit row names."""
        return self.fitting[0][0]

    @property
    def tokens(self) -> list[LoginToken]:
        """Those that lose a step."""
        return [token for token, _ in self.fitting]


class BroughtToken(NamedTuple):
    """A token that the customer brings, with the step of its right code. ``beside``: the customer's other tokens that
    this code fits, too, with its step on each. ``now``: ms."""

    token: TokenRecord
    step: int
    beside: Sequence[tuple[LoginToken, int]]
    now: int


class Codes:
    """What an act asks of a code. A wrong code is counted even though the act is refused; nothing is spent before every
    code of the act was checked. ``known``: what verifiers have said of codes, beside what an act is given."""

    def __init__(
        self,
        transactions: Transactions,
        evaluator: Evaluator,
        outside: Outside = lambda _: None,
        known: Mapping[KnownCode, CodeFinding] = MappingProxyType({}),
    ) -> None:
        self._transactions, self._evaluator, self._rules = transactions, evaluator, evaluator.rules
        self._outside, self._known = outside, known

    def refuse_locked(self, record: LoginRecord) -> None:
        """Raises Refused for a customer who is locked, or who has to wait after wrong codes."""
        if record.locked_at is not None:
            raise Refused(Refusal.LOCKED)
        if (seconds := self.seconds_to_wait(record)) > 0:
            raise Refused(Refusal.TOO_SOON, wait_seconds=seconds)

    def seconds_to_wait(self, record: LoginRecord) -> float:
        """What is left of the delay after this customer's wrong codes."""
        return seconds_to_wait(record, self._transactions.now(), self._rules)

    def check(self, work: Work, record: LoginRecord, given: Code) -> RightCode:
        """A right code of one of the customer's own tokens. Nothing is spent yet. Raises Refused (a wrong code is
        counted) or VerificationNeeded."""
        self.refuse_locked(record)
        if not record.tokens:
            raise Refused(Refusal.NOT_NOW, "the token is not bound any more")
        code, now = _text(given), self._transactions.now()
        if not is_code_of_any(code, record.tokens):
            raise Refused(Refusal.NOT_A_CODE)
        own = {token.token_id for token in record.tokens}
        verified = [one for one in self._findings(given, code) if one.token_id in own]
        finding, token, fitting = match(record.tokens, code, verified, now, self._evaluator.fit)
        if finding is Finding.VERIFIER_NEEDED:
            assert token is not None
            raise VerificationNeeded(token.token_id, token.verifier, code, given, record.contract_id)
        if finding is Finding.WRONG:
            self.count(work, record)
        if finding in ELSEWHERE:
            # Told as a wrong code, and counted as none: staff reads what it is.
            raise Refused(Refusal.WRONG_CODE, FINDING_TEXT[finding])
        if finding is not Finding.FITS:
            raise Refused(_REFUSAL[finding])
        return RightCode(fitting, now)

    def check_new_token(self, work: Work, record: LoginRecord, token_id: str, given: Code) -> BroughtToken:
        """The token that the customer brings. Nothing is spent yet. Raises VerificationNeeded, or Refused: an unknown
        token, somebody else's and a wrong code are one refusal, and its detail tells staff which."""
        self.refuse_locked(record)
        token, code, now = work.token(token_id), _text(given), self._transactions.now()
        if token is None:
            token = self._brought_from_outside(work, record, token_id, given, code)
        if token is None:
            self.count(work, record)
            raise Refused(Refusal.TOKEN_OR_CODE, f"token {token_id} is not in the inventory")
        if not self._is_free(work, record, token):
            self.count(work, record)
            raise Refused(Refusal.TOKEN_OR_CODE, f"token {token_id} is {token.state}")
        if self._has_seed_of(record, token):
            raise Refused(Refusal.TOKEN_OR_CODE, f"token {token_id} has the seed of one that the customer has")
        found, step = self._fit(record, token, given, code, now)
        if (trouble := self._trouble(given, code, token.token_id)) is not None:
            self._refuse_for(work, record, trouble)
        if found is not Fit.FITS:
            if is_code(code, token.digits) and found is Fit.WRONG:
                self.count(work, record)
            raise Refused(Refusal.TOKEN_OR_CODE, f"{found} code of token {token_id}")
        return BroughtToken(token, step, self._beside(work, record, token.key, code, now), now)

    def _brought_from_outside(
        self, work: Work, record: LoginRecord, token_id: str, given: Code, code: str
    ) -> TokenRecord | None:
        """A token that comes into the inventory now, because its verifier says that the code is right; None for one
        that has to be there already. Raises VerificationNeeded, or Refused as for any token that is brought."""
        verifier, spec = self._outside(token_id), TokenSpec()
        if verifier is None:
            return None
        if not is_code(code, spec.digits):
            raise Refused(Refusal.TOKEN_OR_CODE, f"no code of token {token_id}")
        found = self._found(given, code, token_id)
        if found is None:
            raise VerificationNeeded(token_id, verifier, code, given, record.contract_id, brought=True)
        if found.trouble is not None:
            self._refuse_for(work, record, found.trouble)
        if found.fit is not Fit.FITS:
            if found.fit is Fit.WRONG:
                self.count(work, record)
            raise Refused(Refusal.TOKEN_OR_CODE, f"{found.fit} code of token {token_id}")
        work.add_tokens([NewToken(token_id, None, spec, verifier)])
        bringer = replace(SYSTEM, reason=f"brought by {record.contract_id}, verified by {verifier}")
        self._transactions.record(work, Event.TOKEN_IMPORTED, bringer, None, token_id)
        return work.token(token_id)

    def _refuse_for(self, work: Work, record: LoginRecord, trouble: Finding) -> NoReturn:
        """A token that its verifier does not take. One that it does not know counts as one that is not here."""
        if trouble is Finding.TOKEN_UNKNOWN_THERE:
            self.count(work, record)
        raise Refused(Refusal.TOKEN_OR_CODE, FINDING_TEXT[trouble])

    def _beside(
        self, work: Work, record: LoginRecord, token_key: int, code: str, now: int
    ) -> list[tuple[LoginToken, int]]:
        """The customer's other tokens that a code fits whose codes are known here, with its step on each. A token that
        is lost, which a suspended customer may have, is good for nothing anyway."""
        found = []
        for own in record.tokens:
            if own.key == token_key or own.verifier != LOCAL_VERIFIER:
                continue
            fit_, step = self._evaluator.fit(own, code, now)
            held = work.token(own.token_id) if fit_ is Fit.FITS else None
            if held is not None and held.state == TokenState.BOUND:
                found.append((own, step))
        return found

    def spend(self, work: Work, record: LoginRecord, given: Code) -> RightCode:
        """Check and spend a code of one of the customer's own tokens. Raises Refused, VerificationNeeded or
        Conflict."""
        right = self.check(work, record, given)
        self.spend_checked(work, record, right)
        return right

    def spend_checked(self, work: Work, record: LoginRecord, right: RightCode) -> None:
        """Spend a code that ``check`` gave, on every token that it fits. Raises Conflict."""
        for token, step in right.fitting:
            self._spend_own(work, record, token, step, self._learnt_drift(token, step, right.now), right.now)

    def spend_first_code(
        self, work: Work, record: LoginRecord, brought: BroughtToken, gone: Sequence[str]
    ) -> list[LoginToken]:
        """Spend the code of a token that ``check_new_token`` gave and that is bound by now, on this one and on those of
        the customer's that it fits, too, but the ones that are gone: these are returned. Raises Conflict."""
        token, now = brought.token, brought.now
        step, drift = self._beyond_accepted(record, brought), self._learnt_drift(token, brought.step, now)
        self._spend(work, record, token.key, step, drift, now)
        beside = [(own, own_step) for own, own_step in brought.beside if own.token_id not in gone]
        for own, own_step in beside:
            self._spend_own(work, record, own, own_step, own.drift, now)
        return [own for own, _ in beside]

    def _beyond_accepted(self, record: LoginRecord, brought: BroughtToken) -> int:
        """The step that is spent on a new token: its code's, or a later one of its window whose digits were accepted
        lately by another token of the customer's, in this act or before: they are not good once more."""
        token, step, now = brought.token, brought.step, brought.now
        if token.verifier != LOCAL_VERIFIER:
            return step
        for own in record.tokens:
            if own.seed is None or own.key == token.key:
                continue
            seed, spec = self._transactions.store.sealer.unseal(own.seed, own.token_id), token_spec(own)
            for accepted in range(max(own.last_step - LOOK_BACK, 0), own.last_step + 1):
                found, other = self._fit_here(token, code_at(seed, accepted, spec), now)
                step = max(step, other) if found is Fit.FITS else step
        return step

    def forget_future(self, work: Work, record: LoginRecord, principal: Principal) -> bool:
        """Take back the last steps of the customer's tokens that lie in the future (future_stamps.py), in ``record``
        too. False: none does, or the clock is not believed. Raises Conflict."""
        try:
            now = self._transactions.now()
        except ClockWrong:
            return False
        repaired = False
        for own in record.tokens:
            token = work.token(own.token_id)
            if token is not None and repair_token(work, token, now, self._rules, principal.audit_fields):
                fresh = work.token(own.token_id)
                assert fresh is not None
                own.last_step, own.spent_ahead = fresh.last_step, fresh.spent_ahead
                repaired = True
        return repaired

    def resynchronise(
        self, work: Work, record: LoginRecord, token_id: str, first: str, second: str, principal: Principal
    ) -> list[LoginToken]:
        """Spend two consecutive codes of one of the customer's own tokens, and learn its drift or counter from them; a
        last step in the future is taken back first. They are spent on those of the customer's other tokens that they
        fit, too: these are returned. Raises Refused (wrong codes are counted) or Conflict."""
        self.refuse_locked(record)
        self.forget_future(work, record, principal)
        token = work.token(token_id)
        assert token is not None
        if token.verifier != LOCAL_VERIFIER:
            raise Refused(Refusal.NOT_NOW, f"{token.verifier} verifies this token's codes and keeps its clock")
        now = self._transactions.now()
        found = self._second_step(token, first, second, now)
        if found is None:
            self.count(work, record)
            raise Refused(Refusal.WRONG_CODE, _NOT_CONSECUTIVE)
        self._spend(work, record, token.key, *found, now)
        beside: dict[int, LoginToken] = {}
        for code in (normalise_code(first), normalise_code(second)):
            for own, step in self._beside(work, record, token.key, code, now):
                self._spend_own(work, record, own, step, own.drift, now)
                beside[own.key] = own
        return list(beside.values())

    def resynchronise_free(self, work: Work, token: TokenRecord, first: str, second: str) -> None:
        """The same for a token that nobody holds, in staff's hands: no wrong code is counted, because there is nobody
        to count it for. Raises Refused or Conflict."""
        if token.state != TokenState.AVAILABLE or token.verifier != LOCAL_VERIFIER:
            detail = f"token {token.token_id} is {token.state}; a customer's is resynchronised by `sekisho resync`"
            raise Refused(Refusal.NOT_NOW, detail)
        now = self._transactions.now()
        found = self._second_step(token, first, second, now)
        if found is None:
            raise Refused(Refusal.WRONG_CODE, _NOT_CONSECUTIVE)
        if not work.spend_step(token.key, *found, now, state=TokenState.AVAILABLE):
            raise Conflict(f"token {token.token_id} was changed by somebody else just now: try again")

    def _second_step(self, token: TokenRecord, first: str, second: str, now: int) -> tuple[int, int] | None:
        """The step of the second of two consecutive codes, and the drift that they show; None: they are none. Raises
        Refused (NOT_A_CODE)."""
        codes = (normalise_code(first), normalise_code(second))
        if not all(is_code(code, token.digits) for code in codes):
            raise Refused(Refusal.NOT_A_CODE)
        step = resynchronise(
            self._seed(token),
            token.spec,
            *codes,
            at_ms=now,
            last_step=token.last_step,
            window=self._rules.resync_window,
            look_ahead=self._rules.resync_look_ahead,
            spent_ahead=token.spent_ahead,
        )
        if step is None:
            return None
        return step, step - step_at(now, token.period) if token.kind == Kind.TOTP else 0

    def count(self, work: Work, record: LoginRecord) -> None:
        """Count a wrong code or permit; after too many, lock the customer. Raises Conflict."""
        now = self._transactions.now()
        failures, locked_at = failures_after(record, now, self._rules)
        self._transactions.set_failures(work, record, failures, now, locked_at)
        if locked_at is not None:
            locker = replace(SYSTEM, reason=lock_reason(failures))
            self._transactions.record(work, Event.CUSTOMER_LOCKED, locker, record.contract_id, record.token_id)

    def _is_free(self, work: Work, record: LoginRecord, token: TokenRecord) -> bool:
        if token.state == TokenState.AVAILABLE:
            return work.reserved_for(token.key) in (None, record.customer_key)
        if token.state != TokenState.BOUND:
            return False
        if any(own.key == token.key for own in record.tokens):
            return record.otp_use == OtpUse.SUSPENDED
        return not self._rules.one_customer_per_token

    def _has_seed_of(self, record: LoginRecord, token: TokenRecord) -> bool:
        """Whether one of the customer's other tokens has the same seed: a file was imported under other token IDs. Each
        code would be good once for each of them."""
        others = [own for own in record.tokens if own.key != token.key and own.seed is not None]
        if token.seed is None or not others:
            return False
        unseal, seed = self._transactions.store.sealer.unseal, self._seed(token)
        return any(own.seed is not None and unseal(own.seed, own.token_id) == seed for own in others)

    def _fit(self, record: LoginRecord, token: TokenRecord, given: Code, code: str, now: int) -> tuple[Fit, int]:
        if token.verifier != LOCAL_VERIFIER:
            if not is_code(code, token.digits):
                return Fit.WRONG, -1
            return self._verified(record, given, code, token)
        return self._fit_here(token, code, now)

    def _findings(self, given: Code, code: str) -> Sequence[CodeFinding]:
        """What verifiers have said about this code."""
        known = [one for (_, about), one in self._known.items() if about == code]
        return known if isinstance(given, str) else (*given.findings, *known)

    def _found(self, given: Code, code: str, token_id: str) -> CodeFinding | None:
        """What the verifier of this token has said."""
        return next((one for one in self._findings(given, code) if one.token_id == token_id), None)

    def _trouble(self, given: Code, code: str, token_id: str) -> Finding | None:
        found = self._found(given, code, token_id)
        return None if found is None else found.trouble

    def _verified(self, record: LoginRecord, given: Code, code: str, token: TokenRecord) -> tuple[Fit, int]:
        """What the token's verifier found. Where it does not tell the step, the one behind the last: that the code was
        not right before, it has made sure of. Raises VerificationNeeded."""
        found = self._found(given, code, token.token_id)
        if found is None:
            raise VerificationNeeded(token.token_id, token.verifier, code, given, record.contract_id, brought=True)
        step = token.last_step + 1 if found.step is None else found.step
        if found.fit is Fit.FITS and step <= token.last_step:
            return Fit.REUSED, step
        return found.fit, step

    def _fit_here(self, token: TokenRecord, code: str, now: int) -> tuple[Fit, int]:
        return fit(
            self._seed(token),
            token.spec,
            code,
            at_ms=now,
            last_step=token.last_step,
            drift=token.drift,
            window=self._rules.window,
            look_ahead=self._rules.look_ahead,
            spent_ahead=token.spent_ahead,
        )

    def _spend_own(self, work: Work, record: LoginRecord, token: LoginToken, step: int, drift: int, now: int) -> None:
        """Spend a step, in ``token`` too. Nothing where a later one was spent in the same act. ``drift``: the token's
        from now on; nothing is learnt from the code of another token that fits by chance. Raises Conflict."""
        if step > token.last_step:
            self._spend(work, record, token.key, step, drift, now)
            token.last_step, token.drift = step, drift

    def _spend(self, work: Work, record: LoginRecord, token_key: int, step: int, drift: int, now: int) -> None:
        if not work.spend_step(token_key, step, drift, now):
            raise Conflict(f"a code of {record.contract_id} was used by somebody else just now: try again")
        if record.failures:
            self._transactions.set_failures(work, record, 0, 0, None)

    def _learnt_drift(self, token: LoginToken | TokenRecord, step: int, now: int) -> int:
        if token.verifier != LOCAL_VERIFIER:
            return token.drift
        if token.kind != Kind.TOTP or not token.period:
            return 0
        return learn_drift(token.drift, step, step_at(now, token.period), self._rules.max_drift)

    def _seed(self, token: TokenRecord) -> bytes:
        """Raises KeyProblem."""
        assert token.seed is not None
        return self._transactions.store.sealer.unseal(token.seed, token.token_id)


def _text(given: Code) -> str:
    return normalise_code(given if isinstance(given, str) else given.text)
