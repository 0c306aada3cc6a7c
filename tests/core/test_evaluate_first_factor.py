"""What the first factor found decides before the code is looked at."""

from __future__ import annotations

import pytest

from otp_core.login.requests import FirstFinding, LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import Accept, Mode, OtpUse, Policy
from tests.core.evaluator_harness import (
    NOT_HELD,
    WRONG,
    WRONG_PASSWORD,
    attempt,
    both,
    code,
    code_of,
    first,
    make_harness,
    password,
    second,
)


@pytest.mark.parametrize(
    "asked", [code("123456", "nobody"), both("123456", "nobody"), first("nobody"), password("nobody")]
)
def test_an_unknown_customer_is_refused(asked: LoginRequest) -> None:
    assert make_harness().reason(asked) == Finding.UNKNOWN_CUSTOMER


def test_an_unknown_customer_with_somebodys_state_is_refused_and_the_state_stays_good() -> None:
    harness = make_harness()
    state = harness.ask()
    assert harness.reason(second(state, code_of(), "nobody")) == Finding.UNKNOWN_CUSTOMER
    assert harness.verdict(second(state, code_of())) == Accept()


@pytest.mark.parametrize("reason", [Finding.WRONG_PASSWORD, Finding.UNKNOWN_CUSTOMER, Finding.TOO_SOON])
def test_what_the_first_factor_found_decides_before_the_code(reason: Finding) -> None:
    harness = make_harness()
    found = FirstFinding(right=False, reason=reason)
    assert harness.reason(both(code_of(), first=found)) == reason
    assert harness.reason(first(first=found)) == reason
    assert harness.reason(password(first=found)) == reason
    assert harness.spent == [] and harness.challenges == {}


def test_a_missing_code_is_refused_where_it_should_stand_behind_the_password() -> None:
    """Somebody enrolled while their password was being checked."""
    harness = make_harness()
    request = both("")
    request.code = None
    assert harness.reason(request) == Finding.CODE_DUE


@pytest.mark.parametrize("use", list(OtpUse))
def test_nothing_checked_is_nothing_proved(use: OtpUse) -> None:
    """No password is held here, where one is asked for: a right code alone is no login either."""
    harness = make_harness()
    harness.change(otp_use=use)
    for request in (password(first=NOT_HELD), first(first=NOT_HELD), both(code_of(), first=NOT_HELD)):
        assert harness.reason(request) == Finding.NOTHING_CHECKED
    assert harness.spent == [] and harness.challenges == {}
    assert harness.counts == 0


def test_the_code_is_enough_where_no_password_is_held_and_the_policy_says_so() -> None:
    enough = Policy(Mode.APPEND, code_is_enough=True)
    harness = make_harness()
    state = harness.ask(first=NOT_HELD, policy=enough)
    assert harness.verdict(second(state, code_of(away=-1))) == Accept()
    request = LoginRequest(attempt("taro", enough), Stage.BOTH, NOT_HELD, WRONG)
    assert harness.reason(request) == Finding.WRONG
    assert harness.customers["taro"].failures == 1
    assert harness.verdict(LoginRequest(attempt("taro", enough), Stage.BOTH, NOT_HELD, code_of())) == Accept()


@pytest.mark.parametrize("use", [use for use in OtpUse if use is not OtpUse.ACTIVE])
def test_the_code_is_never_enough_where_none_is_asked_for(use: OtpUse) -> None:
    enough = Policy(Mode.APPEND, password_only=frozenset(OtpUse), code_is_enough=True)
    harness = make_harness()
    assert harness.reason(LoginRequest(attempt("taro", enough), Stage.PASSWORD, NOT_HELD)) == Finding.NOTHING_CHECKED
    harness.change(otp_use=use)
    for stage in (Stage.PASSWORD, Stage.FIRST_ROUND, Stage.BOTH):
        request = LoginRequest(attempt("taro", enough), stage, NOT_HELD, code_of())
        assert harness.reason(request) == Finding.NOTHING_CHECKED


def test_a_wrong_password_stays_wrong_where_the_code_is_enough() -> None:
    harness, enough = make_harness(), Policy(Mode.APPEND, code_is_enough=True)
    request = LoginRequest(attempt("taro", enough), Stage.BOTH, WRONG_PASSWORD, code_of())
    assert harness.reason(request) == Finding.WRONG_PASSWORD
