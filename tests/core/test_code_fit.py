"""How a wrong code misses, in words for the log: near what was expected, and told by no other time than any other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.login.code_fit import near_miss
from otp_core.model import Challenge, Kind, Reject, TokenSpec
from otp_core.otp import Fit
from tests.core.evaluator_harness import NOON, WRONG, Harness, code, code_of, first, make_harness, second, seed_of

COUNTER = TokenSpec(Kind.HOTP)


def said(away: int, drift: int = 0, window: int = 1) -> str:
    """What is said of a time token's code, ``away`` steps from now."""
    harness = Harness()
    harness.customer()
    harness.change(drift=drift)
    (token,) = harness.customers["taro"].tokens
    return near_miss(token, seed_of("VSMT00000001"), code_of(away=away), NOON, window, 10)


@pytest.mark.parametrize(
    ("away", "words"),
    [(-3, "correct code, 3 steps late"), (-2, "correct code, 2 steps late"), (5, "correct code, 5 steps early")],
)
def test_a_code_of_another_time_is_told_by_its_distance(away: int, words: str) -> None:
    assert said(away) == words


def test_the_distance_is_from_where_the_code_is_expected() -> None:
    assert said(-3, drift=-5) == "correct code, 2 steps early"
    assert said(-6, drift=-5, window=0) == "correct code, 1 step late"
    assert said(-4, drift=-5, window=0) == "correct code, 1 step early"


@given(st.integers(-60, 60))
def test_only_what_is_near_is_said(away: int) -> None:
    assert bool(said(away)) is (1 < abs(away) <= 20)


@pytest.mark.parametrize(
    ("away", "words"),
    [
        (-21, ""),
        (-20, "correct code, 20 steps late"),
        (20, "correct code, 20 steps early"),
        (21, ""),
    ],
)
def test_near_is_up_to_twenty_steps_on_each_side(away: int, words: str) -> None:
    assert said(away) == words


def test_of_two_steps_with_one_code_the_nearer_one_is_told() -> None:
    """Steps 49685 and 49703 of this seed have one code."""
    harness = Harness()
    (token,) = harness.customer().tokens
    now = 49697 * 30_000
    text = code_of(away=-12, now=now)
    assert text == code_of(away=6, now=now)
    assert near_miss(token, seed_of("VSMT00000001"), text, now, 1, 10) == "correct code, 6 steps early"


@pytest.mark.parametrize("text", ["", "12345", "1234567", "abcdef", "１２３４５６"])
def test_what_is_no_code_misses_nothing(text: str) -> None:
    (token,) = make_harness().customers["taro"].tokens
    assert near_miss(token, seed_of("VSMT00000001"), text, NOON, 1, 10) == ""


@pytest.mark.parametrize(
    ("counter", "words"),
    [
        (100 + 1 + 11, "correct code, 11 counters ahead"),
        (100 + 1 + 30, "correct code, 30 counters ahead"),
        (100 + 1 + 31, ""),
        (100 + 1 - 4, "correct code, 4 counters behind"),
        (100 + 1 - 20, "correct code, 20 counters behind"),
        (100 + 1 - 21, ""),
    ],
)
def test_a_counter_token_is_told_by_counters(counter: int, words: str) -> None:
    harness = Harness()
    (token,) = harness.customer(spec=COUNTER).tokens
    token.last_step = 100
    text = code_of(away=counter, spec=COUNTER)
    assert harness.evaluator.fit(token, text, NOON)[0] is not Fit.FITS
    assert near_miss(token, seed_of("VSMT00000001"), text, NOON, 1, 10) == words


@pytest.mark.parametrize("counter", [98, 100, 101, 110, 111])
def test_a_counter_that_is_expected_or_was_just_accepted_is_no_near_miss(counter: int) -> None:
    (token,) = Harness().customer(spec=COUNTER).tokens
    token.last_step = 100
    assert near_miss(token, seed_of("VSMT00000001"), code_of(away=counter, spec=COUNTER), NOON, 1, 10) == ""


@pytest.mark.parametrize(
    ("last_step", "counter", "words"),
    [(-1, 11, "correct code, 11 counters ahead"), (4, 0, "correct code, 5 counters behind")],
)
def test_a_counter_token_begins_at_nought(last_step: int, counter: int, words: str) -> None:
    (token,) = Harness().customer(spec=COUNTER).tokens
    token.last_step = last_step
    assert near_miss(token, seed_of("VSMT00000001"), code_of(away=counter, spec=COUNTER), NOON, 1, 10) == words


def test_a_rejection_and_a_second_question_know_how_the_code_misses_and_others_do_not() -> None:
    harness = make_harness()
    rejected = harness.verdict(code(code_of(away=-4)))
    asked = harness.verdict(second(harness.ask(), code_of(away=7)))
    assert isinstance(rejected, Reject) and rejected.near_miss and rejected.near_miss() == "correct code, 4 steps late"
    assert isinstance(asked, Challenge) and asked.near_miss and asked.near_miss() == "correct code, 7 steps early"
    guessed = harness.verdict(code(WRONG))
    assert isinstance(guessed, Reject) and guessed.near_miss and guessed.near_miss() == ""
    for request in (code(""), code(code_of(), "nobody"), first("nobody")):
        other = harness.verdict(request)
        assert isinstance(other, Reject) and other.near_miss is None
