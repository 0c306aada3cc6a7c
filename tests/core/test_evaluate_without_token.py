"""Without an active token: a policy says who needs the password only; who is active always needs a code."""

from __future__ import annotations

import pytest

from otp_core.login.requests import LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import Accept, Challenge, Mode, OtpUse, Policy
from tests.core.evaluator_harness import Harness, attempt, both, code, code_of, first, make_harness

USES_WITHOUT = [use for use in OtpUse if use is not OtpUse.ACTIVE]


@pytest.mark.parametrize("use", USES_WITHOUT)
@pytest.mark.parametrize("stage", [Stage.CODE, Stage.BOTH, Stage.FIRST_ROUND, Stage.PASSWORD])
def test_a_policy_answers_every_use_as_it_says(use: OtpUse, stage: Stage) -> None:
    for enough in ([], [use], list(OtpUse), [other for other in OtpUse if other is not use]):
        harness = Harness()
        harness.customer(token=None if use is OtpUse.NONE else 1)
        harness.change(otp_use=use)
        policy = Policy(Mode.CODE, password_only=frozenset(enough))
        request = LoginRequest(attempt("taro", policy), stage, code="123456")
        if use in enough:
            assert harness.verdict(request) == Accept()
        else:
            lost = use in (OtpUse.LOST, OtpUse.REISSUE_PERMITTED)
            assert harness.reason(request) == (Finding.LOST if lost else Finding.TOKEN_NEEDED)


def test_by_default_never_enrolled_and_suspended_need_the_password_only_and_lost_is_refused() -> None:
    harness = Harness()
    for use in OtpUse:
        harness.customer(use, token=None if use is OtpUse.NONE else 1)
        harness.change(use, otp_use=use)
    verdicts = {use: harness.verdict(first(use)) for use in OtpUse}
    assert [use for use, verdict in verdicts.items() if verdict == Accept()] == [OtpUse.NONE, OtpUse.SUSPENDED]
    assert [use for use, verdict in verdicts.items() if isinstance(verdict, Challenge)] == [OtpUse.ACTIVE]


@pytest.mark.parametrize("use", list(OtpUse))
def test_who_is_active_is_never_let_in_without_a_code_whatever_the_policy(use: OtpUse) -> None:
    harness = make_harness()
    policy = Policy(Mode.CHALLENGE, password_only=frozenset(OtpUse))
    assert isinstance(harness.verdict(first(policy=policy)), Challenge)


@pytest.mark.parametrize("use", USES_WITHOUT)
def test_no_code_of_a_token_that_is_not_active_is_spent(use: OtpUse) -> None:
    harness = make_harness()
    harness.change(otp_use=use)
    harness.run_batch(code(code_of()), both(code_of()))
    assert harness.spent == []


def test_an_active_customer_whose_token_is_not_bound_any_more_is_refused() -> None:
    """Somebody else's report of a shared token: the login batch no longer hands out a token that is lost."""
    harness = make_harness()
    harness.change(tokens=[])
    for request in (code(code_of()), both(code_of()), first()):
        assert harness.reason(request) == Finding.LOST
