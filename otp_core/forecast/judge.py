"""One login of the past before the evaluator of every login, under rules and a policy that were not in force. Pure: the
code itself is not known any more, so its token is one whose codes are found right or wrong elsewhere.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple, NoReturn

from otp_core.audit import Ids
from otp_core.login.evaluate import Evaluator
from otp_core.login.next_step import FINDING_OF_TEXT
from otp_core.login.policy import Rules
from otp_core.login.requests import GATEWAY_CHECKED, CodeFinding, Facts, FirstFinding, LoginRequest, VerifierNeeded
from otp_core.login.table import ELSEWHERE, Finding, Stage
from otp_core.model import (
    NEVER,
    Accept,
    Attempt,
    Challenge,
    Kind,
    LoginRecord,
    LoginToken,
    Mode,
    OtpUse,
    Policy,
    Verdict,
)
from otp_core.otp import Fit

_ANY_CODE = "000000"
_REPLAYED = "forecast"
"""The verifier of a token whose codes are not known any more."""
_FIT = {
    Finding.FITS: Fit.FITS,
    Finding.REUSED: Fit.REUSED,
    Finding.WRONG: Fit.WRONG,
    Finding.RESYNC_NEEDED: Fit.RESYNC_NEEDED,
}


class Judged(NamedTuple):
    """``locks``: whether the login locked the customer. ``finding``: why, None where the row tells another reason."""

    verdict: Verdict
    finding: Finding | None
    locks: bool

    @property
    def lets_in(self) -> bool:
        """Whether the gateway would hear an Access-Accept."""
        return isinstance(self.verdict, Accept)


def _no_seed(_sealed: bytes, token_id: str) -> NoReturn:
    raise AssertionError(f"a forecast asks for the seed of {token_id}")


class Judge:
    """``rules``: those that are tried."""

    def __init__(self, rules: Rules) -> None:
        states = itertools.count(1)
        self.rules = rules
        self._evaluator = Evaluator(rules, _no_seed, lambda: next(states).to_bytes(16, "big"), lambda name: name)
        self._ids = Ids(lambda: 0.0, 0)

    def code(self, record: LoginRecord, token: LoginToken, found: Finding, step: int, now: int) -> Judged:
        """A code alone. Changes ``record``, as a login does. ``step``: the code's; ``now``: ms."""
        request = self._with_code(CODE_ALONE, Stage.CODE, GATEWAY_CHECKED, token, found, step)
        # It was not the code of any other: of the device before, or of one whose ID somebody has mistyped.
        request.code_findings += tuple(
            CodeFinding(one.token_id, Fit.WRONG) for one in record.tokens if one is not token
        )
        return self._evaluate(request, record, now)

    def login(
        self, policy: Policy, first: FirstFinding, stages: tuple[Stage, ...], record: LoginRecord, code: Finding | None
    ) -> Judged:
        """A login of one round or two. ``code``: what its code was found to be, None for a code that is not known."""
        token = record.tokens[0] if record.tokens else replayed_token("")
        request = LoginRequest(_attempt(policy), stages[0], first)
        if stages[0] in (Stage.BOTH, Stage.CODE):
            request = self._with_code(policy, stages[0], first, token, code, 1)
        facts = Facts({_WHO: record}, {})
        judged = self._evaluate_with(request, facts, 0)
        if not isinstance(judged.verdict, Challenge) or len(stages) == 1:
            return judged
        answer = self._with_code(policy, stages[1], GATEWAY_CHECKED, token, code, 1, judged.verdict.state)
        return self._evaluate_with(answer, facts, 0)

    def _with_code(
        self,
        policy: Policy,
        stage: Stage,
        first: FirstFinding,
        token: LoginToken,
        found: Finding | None,
        step: int,
        state: bytes | None = None,
    ) -> LoginRequest:
        code = None if found is None else "" if found is Finding.NOT_A_CODE else _ANY_CODE
        request = LoginRequest(_attempt(policy, state), stage, first, code)
        if found in ELSEWHERE:
            request.code_findings = (CodeFinding(token.token_id, Fit.WRONG, trouble=found),)
        elif found in _FIT:
            request.code_findings = (CodeFinding(token.token_id, _FIT[found], step),)
        return request

    def _evaluate(self, request: LoginRequest, record: LoginRecord, now: int) -> Judged:
        return self._evaluate_with(request, Facts({_WHO: record}, {}), now)

    def _evaluate_with(self, request: LoginRequest, facts: Facts, now: int) -> Judged:
        decision = self._evaluator.evaluate([request], facts, now, self._ids)
        (verdict,) = decision.verdicts
        assert not isinstance(verdict, VerifierNeeded)
        reason = decision.audit[-1].reason if decision.audit else ""
        return Judged(verdict, FINDING_OF_TEXT.get(reason), bool(decision.locked))


_WHO = "customer"
CODE_ALONE = Policy(Mode.CODE)


def _attempt(policy: Policy, state: bytes | None = None) -> Attempt:
    return Attempt(_WHO, "", policy, "forecast", challenge=state)


def replayed_token(token_id: str, period: int = 30) -> LoginToken:
    """A token without a seed, that no code was accepted for yet."""
    return LoginToken(1, token_id, None, _REPLAYED, Kind.TOTP, "sha1", len(_ANY_CODE), period, NEVER, 0, 0, 0)


def record_of(use: OtpUse, tokens: list[LoginToken]) -> LoginRecord:
    """A customer without wrong codes."""
    return LoginRecord(_WHO, 1, use, None, 0, 0, 0, None, None, tokens)
