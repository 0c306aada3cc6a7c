"""Wrong codes are counted, slowed down and locked; what is no code is not counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otp_core.audit import Event
from otp_core.login.policy import Delays
from otp_core.login.table import Finding
from otp_core.model import Accept, Challenge, Language, Reject
from tests.core.evaluator_harness import (
    NOON,
    WRONG,
    WRONG_PASSWORD,
    Harness,
    both,
    code,
    code_of,
    first,
    make_harness,
    password,
    second,
)

# Wrong codes: counted, slowed down, locked.


def test_a_wrong_code_counts_and_is_refused() -> None:
    harness = make_harness()
    assert harness.verdict(code(WRONG, fingerprint=9)) == Reject(Finding.WRONG, Language.JA)
    taro = harness.customers["taro"]
    assert (taro.failures, taro.failed_at, taro.failed_fingerprint, taro.locked_at) == (1, NOON, 9, None)
    assert harness.spent == []


def test_wrong_codes_in_one_batch_all_count() -> None:
    harness = make_harness()
    harness.run_batch(code(WRONG), both(WRONG), second(harness.ask(), WRONG))
    assert harness.customers["taro"].failures == 3


def test_a_right_code_forgives_the_wrong_ones() -> None:
    harness = make_harness()
    harness.run_batch(code(WRONG), code(WRONG))
    assert harness.verdict(code(code_of())) == Accept()
    taro = harness.customers["taro"]
    assert (taro.failures, taro.failed_at, taro.failed_fingerprint) == (0, 0, 0)


def test_wrong_codes_before_and_after_a_right_one_in_one_batch() -> None:
    harness = make_harness()
    harness.run_batch(code(WRONG), code(code_of()), code(WRONG), code(WRONG))
    assert harness.customers["taro"].failures == 2
    harness.run_batch(code(WRONG), code(code_of(away=1)))
    assert harness.customers["taro"].failures == 0


@pytest.mark.parametrize("lock_after", [1, 3, 10])
def test_so_many_wrong_codes_lock_and_not_one_fewer(lock_after: int) -> None:
    harness = make_harness(lock_after=lock_after)
    for _ in range(lock_after - 1):
        harness.verdict(code(WRONG))
    assert harness.customers["taro"].locked_at is None
    assert harness.reason(code(WRONG)) == Finding.WRONG
    assert harness.customers["taro"].locked_at == NOON
    assert harness.reason(code(code_of())) == Finding.LOCKED
    assert harness.spent == []
    assert harness.audit[-1].reason == "locked"
    (row,) = [row for row in harness.audit if row.event == Event.CUSTOMER_LOCKED]
    assert (row.customer, row.reason) == ("taro", f"{lock_after} wrong codes in a row")


def test_wrong_codes_are_counted_across_clients_and_modes() -> None:
    harness = make_harness(lock_after=3)
    harness.verdict(code(WRONG, client="one"))
    harness.verdict(both(WRONG, client="other"))
    harness.verdict(second(harness.ask(), WRONG))
    assert harness.customers["taro"].locked_at == NOON


def test_nobody_locks_a_customer_without_the_password() -> None:
    harness = make_harness(lock_after=1)
    for _ in range(20):
        assert harness.reason(both(WRONG, first=WRONG_PASSWORD)) == Finding.WRONG_PASSWORD
        assert harness.reason(first(first=WRONG_PASSWORD)) == Finding.WRONG_PASSWORD
        assert harness.reason(second(b"made up", WRONG)) == Finding.CHALLENGE_GONE
    record, untouched = harness.customers["taro"], make_harness().customers["taro"]
    assert record == replace(untouched, tokens=record.tokens), "but for the seed, which is sealed anew each time"
    assert record.tokens == [replace(untouched.tokens[0], seed=record.tokens[0].seed)]


def test_a_lock_refuses_everything_at_every_stage() -> None:
    harness = make_harness()
    state = harness.ask()
    harness.change(locked_at=NOON - 1)
    for request in (code(code_of()), both(code_of()), first(), second(state, code_of()), password()):
        assert harness.reason(request) == Finding.LOCKED
    assert harness.spent == []


def test_a_lock_also_refuses_who_has_no_token() -> None:
    harness = Harness()
    harness.customer(token=None)
    harness.change(locked_at=NOON)
    assert harness.reason(first()) == Finding.LOCKED


def test_after_wrong_codes_the_next_one_must_wait_and_waiting_does_not_count() -> None:
    harness = make_harness(code_delays=Delays(free=2, first=4.0, longest=8.0))
    harness.run_batch(code(WRONG), code(WRONG), code(WRONG))
    harness.now += 3_999
    assert harness.reason(code(code_of())) == Finding.TOO_SOON
    assert harness.reason(code(WRONG)) == Finding.TOO_SOON
    assert harness.customers["taro"].failures == 3
    harness.now += 1
    assert harness.verdict(code(code_of())) == Accept(), "a wait refused meanwhile does not prolong it"


def test_wrong_codes_of_one_batch_slow_down_the_rest_of_it() -> None:
    harness = make_harness(code_delays=Delays(free=1, first=4.0, longest=8.0))
    verdicts = harness.run_batch(code(WRONG), code(WRONG), code(code_of()))
    assert verdicts[2] == Reject(Finding.TOO_SOON, Language.JA)


# What is not an attempt.


@pytest.mark.parametrize("user_password", ["", "   ", "12345", "1234567", "12345a", "himitsu", "٣٣٣٣٣٣"])
def test_what_is_no_code_is_refused_and_not_counted(user_password: str) -> None:
    harness = make_harness()
    assert harness.reason(code(user_password)) == Finding.NOT_A_CODE
    assert harness.reason(both(user_password)) == Finding.NOT_A_CODE
    verdict = harness.verdict(second(harness.ask(), user_password))
    assert isinstance(verdict, Challenge) and verdict.again
    assert harness.customers["taro"].failures == 0


def test_the_password_again_is_no_attempt_even_if_it_looks_like_a_code() -> None:
    """Some PAM clients repeat one answer."""
    harness = make_harness()
    state = harness.ask(text_fingerprint=1234)
    verdict = harness.verdict(second(state, WRONG, text_fingerprint=1234))
    assert isinstance(verdict, Challenge) and verdict.again
    assert harness.customers["taro"].failures == 0
    assert harness.verdict(second(verdict.state, code_of(), text_fingerprint=99)) == Accept()


def test_the_password_is_known_again_in_every_round_of_the_challenge() -> None:
    harness = make_harness()
    state = harness.ask(text_fingerprint=1234)
    for _ in range(2):
        verdict = harness.verdict(second(state, WRONG, text_fingerprint=1234))
        assert isinstance(verdict, Challenge)
        state = verdict.state
    assert harness.reason(second(state, WRONG, text_fingerprint=1234)) == Finding.NOT_A_CODE
    assert harness.customers["taro"].failures == 0


def test_a_password_that_does_not_look_like_a_code_is_not_compared() -> None:
    harness = make_harness()
    state = harness.ask(text_fingerprint=None)
    harness.verdict(second(state, WRONG, text_fingerprint=1234))
    assert harness.customers["taro"].failures == 1


def test_a_wrong_code_that_is_given_again_is_not_taken_for_the_password() -> None:
    harness = make_harness()
    verdict = harness.verdict(second(harness.ask(text_fingerprint=None), WRONG, text_fingerprint=1234))
    assert isinstance(verdict, Challenge)
    assert isinstance(harness.verdict(second(verdict.state, WRONG, text_fingerprint=1234)), Challenge)
    assert harness.customers["taro"].failures == 2
