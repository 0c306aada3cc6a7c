"""A challenge is for one customer at one client, for one answer, for so many tries and seconds."""

from __future__ import annotations

import pytest

from otp_core.audit import Event
from otp_core.login.policy import Delays
from otp_core.login.table import Finding
from otp_core.model import Accept, Challenge, Language, OpenChallenge, OtpUse
from tests.core.evaluator_harness import NOON, WRONG, code, code_of, first, make_harness, second


def test_the_right_password_leads_to_a_challenge_for_whom_it_is() -> None:
    harness = make_harness()
    verdict = harness.verdict(first(text_fingerprint=1234))
    assert verdict == Challenge((1).to_bytes(16, "big"), Language.JA, again=False)
    assert list(harness.challenges.values()) == [
        OpenChallenge(
            state=(1).to_bytes(16, "big"),
            customer_key=harness.customers["taro"].customer_key,
            client="gateway",
            expires_at=NOON + 120_000,
            tries_left=3,
            password_fingerprint=1234,
        )
    ]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_challenge_has_so_many_tries(tries: int) -> None:
    harness = make_harness(challenge_tries=tries)
    state = harness.ask()
    for _ in range(tries - 1):
        verdict = harness.verdict(second(state, WRONG))
        assert isinstance(verdict, Challenge) and verdict.again and verdict.state != state
        state = verdict.state
    assert harness.reason(second(state, WRONG)) == Finding.WRONG
    assert harness.challenges == {}
    assert harness.customers["taro"].failures == tries


def test_the_last_try_may_be_the_right_one() -> None:
    harness = make_harness(challenge_tries=2)
    verdict = harness.verdict(second(harness.ask(), WRONG))
    assert isinstance(verdict, Challenge)
    assert harness.verdict(second(verdict.state, code_of())) == Accept()


def test_the_wrong_code_that_locks_ends_the_challenge() -> None:
    harness = make_harness(lock_after=2, challenge_tries=3)
    verdict = harness.verdict(second(harness.ask(), WRONG))
    assert isinstance(verdict, Challenge)
    assert harness.reason(second(verdict.state, WRONG)) == Finding.WRONG
    assert harness.challenges == {}
    assert harness.events()[-2:] == [Event.CUSTOMER_LOCKED, Event.LOGIN_REJECTED]


@pytest.mark.parametrize("answer", [code_of(), code_of(away=1), WRONG, "", "no code"])
def test_a_state_is_good_for_one_answer_whatever_it_is(answer: str) -> None:
    harness = make_harness()
    state = harness.ask()
    harness.verdict(second(state, answer))
    assert harness.reason(second(state, code_of(away=1))) == Finding.CHALLENGE_GONE


def test_a_reused_code_is_asked_for_again_and_not_counted() -> None:
    harness = make_harness()
    harness.verdict(code(code_of()))
    verdict = harness.verdict(second(harness.ask(), code_of()))
    assert isinstance(verdict, Challenge) and verdict.again
    assert harness.verdict(second(verdict.state, code_of(away=1))) == Accept()
    assert harness.customers["taro"].failures == 0


def test_an_answer_too_soon_is_asked_for_again_and_not_counted() -> None:
    harness = make_harness(code_delays=Delays(free=0, first=4.0))
    verdict = harness.verdict(second(harness.ask(), WRONG))
    assert isinstance(verdict, Challenge)
    verdict = harness.verdict(second(verdict.state, code_of()))
    assert isinstance(verdict, Challenge) and verdict.again
    assert harness.customers["taro"].failures == 1


@pytest.mark.parametrize("state", [b"", b"\0" * 16, b"forged", b"x" * 300])
def test_a_forged_state_is_refused(state: bytes) -> None:
    harness = make_harness()
    harness.ask()
    assert harness.reason(second(state, code_of())) == Finding.CHALLENGE_GONE
    assert harness.spent == []


def test_a_truncated_state_is_refused() -> None:
    harness = make_harness()
    assert harness.reason(second(harness.ask()[:-1], code_of())) == Finding.CHALLENGE_GONE


def test_an_expired_state_is_refused_and_forgotten() -> None:
    harness = make_harness(challenge_seconds=120)
    one, other = harness.ask(), harness.ask()
    harness.now += 119_999
    assert harness.verdict(second(one, code_of(now=harness.now))) == Accept()
    harness.now += 1
    assert harness.reason(second(other, code_of(away=1, now=harness.now))) == Finding.CHALLENGE_GONE
    assert harness.challenges == {}


def test_somebody_elses_state_is_refused_and_stays_theirs() -> None:
    harness = make_harness()
    harness.customer("jiro", 2)
    state = harness.ask("taro")
    assert harness.reason(second(state, code_of("VSMT00000002"), "jiro")) == Finding.CHALLENGE_GONE
    assert harness.verdict(second(state, code_of(), "taro")) == Accept()


def test_a_state_given_to_another_client_is_refused_and_stays_the_firsts() -> None:
    harness = make_harness()
    state = harness.ask()
    assert harness.reason(second(state, code_of(), client="another")) == Finding.CHALLENGE_GONE
    assert harness.verdict(second(state, code_of(), client="gateway")) == Accept()


def test_two_challenges_of_one_customer_may_be_open_at_once() -> None:
    harness = make_harness()
    one, other = harness.ask(), harness.ask()
    assert harness.verdict(second(other, code_of())) == Accept()
    assert harness.verdict(second(one, code_of(away=1))) == Accept()


def test_who_was_suspended_between_the_rounds_begins_anew() -> None:
    harness = make_harness()
    state = harness.ask()
    harness.change(otp_use=OtpUse.SUSPENDED)
    assert harness.reason(second(state, code_of())) == Finding.WITHOUT_TOKEN
    assert harness.verdict(first()) == Accept()
