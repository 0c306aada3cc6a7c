"""The same request once more gets the same answer, and neither spends nor counts."""

from __future__ import annotations

from typing import Any

import pytest

from otp_core.audit import Event
from otp_core.login.table import Finding
from otp_core.model import Accept, Language, Mode, OtpUse, Policy, Reject
from tests.core.bank import CODE
from tests.core.evaluator_harness import NOON, STEP, WRONG, WRONG_PASSWORD, both, code, code_of, make_harness, second


def test_a_repeated_request_is_accepted_again_and_spends_nothing() -> None:
    harness = make_harness()
    assert harness.verdict(code(code_of(), fingerprint=7)) == Accept()
    before = harness.customers["taro"]
    harness.now += 59_999
    assert harness.verdict(code(code_of(), fingerprint=7)) == Accept()
    assert harness.customers["taro"] == before
    assert harness.spent == [(1, STEP)]
    assert harness.events() == [Event.LOGIN_ACCEPTED, Event.LOGIN_REPEATED]


def test_a_repeated_request_within_one_batch_is_accepted_again() -> None:
    harness = make_harness()
    assert harness.run_batch(code(code_of(), fingerprint=7), code(code_of(), fingerprint=7)) == [Accept(), Accept()]
    assert harness.spent == [(1, STEP)]


def test_a_repeated_answer_to_a_challenge_is_accepted_again_although_the_challenge_is_gone() -> None:
    harness = make_harness()
    state = harness.ask()
    assert harness.verdict(second(state, code_of(), fingerprint=7)) == Accept()
    assert harness.verdict(second(state, code_of(), fingerprint=7)) == Accept()


def test_a_repeated_request_with_password_and_code_is_accepted_again() -> None:
    harness = make_harness()
    assert harness.verdict(both(code_of(), fingerprint=7)) == Accept()
    assert harness.verdict(both(code_of(), fingerprint=7)) == Accept()
    assert harness.reason(both(code_of(), first=WRONG_PASSWORD, fingerprint=7)) == Finding.WRONG_PASSWORD


def test_after_remember_seconds_it_is_a_reused_code() -> None:
    harness = make_harness(remember_seconds=20)
    harness.verdict(code(code_of(), fingerprint=7))
    harness.now += 19_999
    assert harness.verdict(code(code_of(), fingerprint=7)) == Accept()
    harness.now += 1
    assert harness.reason(code(code_of(), fingerprint=7)) == Finding.REUSED


def test_a_request_without_a_fingerprint_is_never_taken_for_a_repetition() -> None:
    harness = make_harness()
    harness.verdict(code(code_of(), fingerprint=0))
    assert harness.reason(code(code_of(), fingerprint=0)) == Finding.REUSED


def test_only_the_last_accepted_request_is_remembered() -> None:
    harness = make_harness()
    harness.run_batch(code(code_of(), fingerprint=7), code(code_of(away=1), fingerprint=8))
    assert harness.reason(code(code_of(), fingerprint=7)) == Finding.REUSED


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"otp_use": OtpUse.LOST}, Finding.LOST),
        ({"locked_at": NOON}, Finding.LOCKED),
    ],
)
def test_a_repeated_request_is_not_accepted_from_who_may_not_log_in_any_more(
    change: dict[str, Any], finding: Finding
) -> None:
    harness = make_harness()
    harness.verdict(code(code_of(), fingerprint=7))
    harness.change(**change)
    assert harness.reason(code(code_of(), fingerprint=7)) == finding


def test_a_gateway_that_sends_one_login_twice_joins_the_first_verdict_for_join_seconds() -> None:
    joining = Policy(Mode.CODE, repeated_login_seconds=5)
    harness = make_harness()
    assert harness.verdict(code(code_of(), policy=joining, fingerprint=7)) == Accept()
    harness.now += 4_999
    assert harness.verdict(code(code_of(), policy=joining, fingerprint=7)) == Accept()
    harness.now += 1
    assert harness.reason(code(code_of(), policy=joining, fingerprint=7)) == Finding.REUSED
    assert harness.spent == [(1, STEP)]


def test_a_login_is_known_by_its_fingerprint_and_not_by_its_fingerprint_where_it_has_one() -> None:
    harness, joining = make_harness(), Policy(Mode.CODE, repeated_login_seconds=5)
    sent = [code(code_of(), policy=joining, fingerprint=number) for number in (7, 8, 7)]
    for request, fingerprint in zip(sent, (70, 70, 71), strict=True):
        request.fingerprint = fingerprint
    assert harness.run_batch(*sent) == [Accept(), Accept(), Reject(Finding.REUSED, Language.JA)]
    assert harness.customers["taro"].tokens[0].last_fingerprint == 70
    assert harness.events() == [Event.LOGIN_ACCEPTED, Event.LOGIN_REPEATED, Event.LOGIN_REJECTED]


@pytest.mark.parametrize(("policy", "seconds"), [(CODE, 60), (Policy(Mode.CODE, repeated_login_seconds=5), 5)])
def test_a_repetition_of_a_wrong_code_is_known_for_as_long_as_that_of_a_right_one(policy: Policy, seconds: int) -> None:
    harness = make_harness()
    assert harness.reason(code(WRONG, policy=policy, fingerprint=7)) == Finding.WRONG
    harness.now += seconds * 1000 - 1
    assert harness.reason(code(WRONG, policy=policy, fingerprint=7)) == Finding.REPEATED_FAILURE
    harness.now += 1
    assert harness.reason(code(WRONG, policy=policy, fingerprint=7)) == Finding.WRONG
    assert harness.customers["taro"].failures == 2


def test_a_repetition_of_a_wrong_code_is_refused_and_not_counted_again() -> None:
    harness = make_harness()
    assert harness.reason(code(WRONG, fingerprint=7)) == Finding.WRONG
    assert harness.reason(code(WRONG, fingerprint=7)) == Finding.REPEATED_FAILURE
    assert harness.reason(code(WRONG, fingerprint=8)) == Finding.WRONG
    assert harness.customers["taro"].failures == 2


def test_wrong_codes_without_a_fingerprint_all_count() -> None:
    harness = make_harness()
    for _ in range(3):
        assert harness.reason(code(WRONG, fingerprint=0)) == Finding.WRONG
    assert harness.customers["taro"].failures == 3
