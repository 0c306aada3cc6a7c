"""Several tokens of one customer: what a code of any of them does, held against each token's own evaluator."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.audit import Event
from otp_core.login.requests import CodeFinding, LoginRequest, VerifierNeeded
from otp_core.login.table import Finding
from otp_core.model import Accept, Challenge, Kind, Reject, TokenSpec
from otp_core.otp import Fit, code_at, step_at
from tests.core.evaluator_harness import (
    STEP,
    WRONG,
    Harness,
    code,
    code_of,
    login_token,
    make_harness,
    second,
    seed_of,
)
from tests.examples import examples

EIGHT = TokenSpec(digits=8)
COUNTER = TokenSpec(Kind.HOTP)
PHONE, PC = "VSMT00000001", "VSMT00000002"


def two(spec: TokenSpec = TokenSpec()) -> Harness:  # noqa: B008  a value
    """taro with two tokens, the second of this kind."""
    harness = make_harness(lock_after=100, tokens_per_customer=2)
    harness.add_token(2, spec)
    return harness


def last_steps(harness: Harness) -> list[int]:
    return [token.last_step for token in harness.customers["taro"].tokens]


def named(harness: Harness) -> list[tuple[str, str | None]]:
    return [(row.event, row.token) for row in harness.audit]


def test_a_code_of_either_token_lets_in_and_is_spent_on_that_one() -> None:
    harness = two()
    assert harness.verdict(code(code_of(PC))) == Accept()
    assert last_steps(harness) == [-1, STEP]
    assert harness.verdict(code(code_of(PHONE))) == Accept()
    assert last_steps(harness) == [STEP, STEP]
    assert named(harness) == [("login.accepted", PC), ("login.accepted", PHONE)]


def test_each_code_is_good_once() -> None:
    harness = two()
    for text in (code_of(PHONE), code_of(PC)):
        assert harness.verdict(code(text)) == Accept()
    for text, token in ((code_of(PHONE), PHONE), (code_of(PC), PC)):
        assert harness.reason(code(text)) == Finding.REUSED
        assert harness.audit[-1].token == token
    assert harness.customers["taro"].failures == 0


def twins() -> tuple[int, int, str]:
    """A number of a token whose code now is also one of the first token's window, and that code."""
    window = {code_of(PHONE, away): away for away in (-1, 0, 1)}
    for number in itertools.count(3):
        text = code_of(f"VSMT{number:08d}")
        if text in window:
            return number, window[text], text
    raise AssertionError


def test_digits_that_fit_two_tokens_are_spent_on_both() -> None:
    number, away, text = twins()
    harness = make_harness(tokens_per_customer=2)
    harness.add_token(number)
    assert harness.verdict(code(text)) == Accept()
    assert last_steps(harness) == [STEP + away, STEP]
    assert harness.reason(code(text)) == Finding.REUSED
    assert named(harness)[:2] == [("login.accepted", PHONE), (Event.CODE_SPENT, f"VSMT{number:08d}")]


def test_a_code_that_is_reused_on_one_token_and_fits_another_lets_in() -> None:
    number, away, text = twins()
    harness = make_harness(tokens_per_customer=2)
    harness.change(last_step=STEP + away)
    harness.add_token(number)
    assert harness.verdict(code(text)) == Accept()
    assert named(harness) == [("login.accepted", f"VSMT{number:08d}")]


def test_a_wrong_code_is_counted_once_for_the_customer_and_is_about_no_token() -> None:
    harness = two()
    assert harness.reason(code(WRONG)) == Finding.WRONG
    assert harness.customers["taro"].failures == 1
    assert named(harness) == [("login.rejected", None)]


def test_wrong_codes_lock_the_customer_with_all_tokens() -> None:
    harness = make_harness(lock_after=2, tokens_per_customer=2)
    harness.add_token(2)
    for _ in range(2):
        harness.verdict(code(WRONG))
    for token in (PHONE, PC):
        assert harness.reason(code(code_of(token))) == Finding.LOCKED


def test_a_success_with_one_token_forgives_what_was_counted() -> None:
    harness = two()
    harness.verdict(code(WRONG))
    assert harness.verdict(code(code_of(PC))) == Accept()
    assert harness.customers["taro"].failures == 0


def test_a_retransmission_is_known_whichever_token_it_was() -> None:
    harness = two()
    for fingerprint, token in ((7, PHONE), (8, PC)):
        assert harness.verdict(code(code_of(token), fingerprint=fingerprint)) == Accept()
    for fingerprint, token in ((7, PHONE), (8, PC)):
        assert harness.verdict(code(code_of(token), fingerprint=fingerprint)) == Accept()
        assert named(harness)[-1] == ("login.repeated", token)
    assert harness.spent == [(1, STEP), (2, STEP)]


def test_two_codes_in_one_batch_are_spent_each_on_its_token_and_a_third_is_refused() -> None:
    harness = two()
    requests = [code(code_of(PHONE)), code(code_of(PC)), code(code_of(PHONE))]
    assert [type(one) for one in harness.run_batch(*requests)] == [Accept, Accept, Reject]
    assert harness.spent == [(1, STEP), (2, STEP)]


@pytest.mark.parametrize("spec", [EIGHT, COUNTER, TokenSpec(digits=8, kind=Kind.HOTP)])
def test_lengths_and_kinds_stand_side_by_side(spec: TokenSpec) -> None:
    harness = two(spec)
    assert harness.verdict(code(code_of(PC, spec=spec))) == Accept()
    assert harness.verdict(code(code_of(PHONE))) == Accept()
    assert harness.customers["taro"].tokens[1].last_step == (0 if spec.kind is Kind.HOTP else STEP)


def test_a_text_of_no_tokens_length_is_no_code() -> None:
    harness = two(EIGHT)
    assert harness.reason(code("1234567")) == Finding.NOT_A_CODE
    assert harness.customers["taro"].failures == 0


def test_a_counter_that_must_be_resynchronised_lets_nobody_guess_at_the_other_token() -> None:
    harness = two(COUNTER)
    harness.customers["taro"].tokens[1].drift = 1
    assert harness.reason(code(WRONG)) == Finding.WRONG
    assert harness.customers["taro"].failures == 1
    assert harness.verdict(code(code_of(PHONE))) == Accept()


def test_only_a_counter_of_that_length_says_that_it_must_be_resynchronised() -> None:
    harness = two(replace_digits(COUNTER, 8))
    harness.customers["taro"].tokens[1].drift = 1
    assert harness.reason(code("12345678")) == Finding.RESYNC_NEEDED
    assert named(harness)[-1] == ("login.rejected", PC)
    assert harness.customers["taro"].failures == 0


def replace_digits(spec: TokenSpec, digits: int) -> TokenSpec:
    return spec._replace(digits=digits)


def test_the_answer_to_a_challenge_may_come_from_any_token() -> None:
    harness = two(EIGHT)
    state = harness.ask()
    again = harness.verdict(second(state, WRONG))
    assert isinstance(again, Challenge) and again.again
    assert harness.verdict(second(again.state, code_of(PC, spec=EIGHT))) == Accept()


def test_a_wrong_code_is_told_by_the_token_that_it_nearly_fits() -> None:
    harness = two()
    verdict = harness.verdict(code(code_of(PC, -4)))
    assert isinstance(verdict, Reject) and verdict.near_miss is not None
    assert verdict.near_miss() == f"correct code, 4 steps late, of token {PC}"


# Codes that somebody else verifies, beside those of a token here.


def elsewhere(*more: int) -> Harness:
    harness = two()
    for number in more:
        harness.add_token(number)
    for token in harness.customers["taro"].tokens[1:]:
        token.seed, token.verifier = None, "vip"
    return harness


def needed(harness: Harness, request: LoginRequest) -> str:
    """The token whose verifier has to be asked."""
    ((found,), changes) = harness.undecided(request)
    assert isinstance(found, VerifierNeeded) and not changes
    return found.token_id


def test_a_code_that_fits_here_is_shown_to_no_verifier() -> None:
    harness = elsewhere()
    assert harness.verdict(code(code_of(PHONE))) == Accept()


def test_a_code_that_fits_nothing_here_is_verified_elsewhere_one_after_the_other() -> None:
    harness = elsewhere(3)
    request = code("123456")
    assert needed(harness, request) == PC
    request.code_findings = (CodeFinding(PC, Fit.WRONG),)
    assert needed(harness, request) == "VSMT00000003"
    request.code_findings += (CodeFinding("VSMT00000003", Fit.FITS, 5),)
    assert harness.verdict(request) == Accept()
    assert harness.spent == [(3, 5)]
    assert named(harness) == [("login.accepted", "VSMT00000003")]


def test_a_code_that_is_wrong_everywhere_is_counted_once() -> None:
    harness = elsewhere(3)
    request = code("123456")
    request.code_findings = (CodeFinding(PC, Fit.WRONG), CodeFinding("VSMT00000003", Fit.WRONG))
    assert harness.reason(request) == Finding.WRONG
    assert harness.customers["taro"].failures == 1


@pytest.mark.parametrize(("step", "reason"), [(4, Finding.REUSED), (3, Finding.REUSED)])
def test_a_code_that_a_verifier_knows_and_that_was_spent_here_is_a_reused_one(step: int, reason: Finding) -> None:
    harness = elsewhere()
    harness.customers["taro"].tokens[1].last_step = 4
    request = code("123456")
    request.code_findings = (CodeFinding(PC, Fit.FITS, step),)
    assert harness.reason(request) == reason


def test_a_finding_about_a_token_that_is_gone_is_worth_nothing_and_nobody_guessed() -> None:
    harness = elsewhere()
    request = code("123456")
    request.code_findings = (CodeFinding("VSMT00000009", Fit.FITS, 5),)
    assert harness.reason(request) == Finding.REUSED
    assert harness.customers["taro"].failures == 0


# For any set of tokens and any order of codes: exactly what the tokens would have said one by one.

SPECS = [TokenSpec(), EIGHT, COUNTER, TokenSpec(Kind.HOTP, digits=8), TokenSpec(period=60)]
SETS = st.lists(st.sampled_from(SPECS), min_size=1, max_size=5)
CODES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(-3, 12), st.sampled_from([0, 0, 15_000, 30_000, 90_000])), max_size=25
)


def shown(spec: TokenSpec, number: int, away: int, now: int) -> str:
    centre = step_at(now, spec.period) if spec.kind == Kind.TOTP else 3
    return code_at(seed_of(f"VSMT{number:08d}"), centre + away, spec)


@settings(max_examples=examples(200), deadline=None)
@given(SETS, CODES)
def test_no_code_is_accepted_twice_and_none_is_refused_that_a_single_token_lets_in(
    specs: list[TokenSpec], codes: list[tuple[int, int, int]]
) -> None:
    harness = make_harness(lock_after=100, tokens_per_customer=5)
    harness.customers["taro"].tokens[:] = [login_token(number, spec) for number, spec in enumerate(specs, 1)]
    singles = [make_harness(lock_after=100) for _ in specs]
    for single, token in zip(singles, harness.customers["taro"].tokens, strict=True):
        single.customers["taro"].tokens[:] = [replace(token)]
    accepted_at: dict[tuple[str, int], int] = {}
    for which, away, later in codes:
        for one in (harness, *singles):
            one.now += later
        which %= len(specs)
        text = shown(specs[which], which + 1, away, harness.now)
        said = [single.verdict(code(text)) for single in singles]
        verdict = harness.verdict(code(text))
        assert isinstance(verdict, Accept) is any(isinstance(one, Accept) for one in said)
        if isinstance(verdict, Reject):
            assert verdict.reason in {one.reason for one in said if isinstance(one, Reject)}
        assert harness.customers["taro"].tokens == [single.customers["taro"].tokens[0] for single in singles]
        for single in (harness, *singles):
            single.change(failures=0, failed_at=0, locked_at=None)
        if isinstance(verdict, Accept):
            assert (text, harness.now) not in accepted_at, "the same digits at the same moment"
            accepted_at[text, harness.now] = which
    assert len(harness.spent) == len(set(harness.spent)), "no step of a token twice"
    for token in harness.customers["taro"].tokens:
        steps = [step for key, step in harness.spent if key == token.key]
        assert steps == sorted(steps)
