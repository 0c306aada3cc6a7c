"""A right code lets in, once only."""

from __future__ import annotations

import pytest

from otp_core.audit import Event
from otp_core.login.table import Finding
from otp_core.model import Accept, Algorithm, Kind, Language, Reject, TokenSpec, attributes_text
from tests.core.evaluator_harness import NOON, STEP, Harness, both, code, code_of, make_harness, password, second

# Letting in.


def test_a_right_code_is_accepted_and_spent() -> None:
    harness = make_harness()
    assert harness.verdict(code(code_of(), fingerprint=77)) == Accept()
    taro = harness.customers["taro"]
    assert (
        taro.tokens[0].last_step,
        taro.tokens[0].last_fingerprint,
        taro.tokens[0].last_at,
        taro.tokens[0].drift,
    ) == (STEP, 77, NOON, 0)
    assert harness.events() == [Event.LOGIN_ACCEPTED]
    assert harness.counts == 0, "nothing to forgive, so nothing of the customer is written"


def test_a_right_code_behind_the_right_password_is_accepted_and_spent() -> None:
    harness = make_harness()
    assert harness.verdict(both(code_of())) == Accept()
    assert harness.spent == [(1, STEP)]


def test_a_challenge_answered_with_a_right_code_is_accepted_and_gone() -> None:
    harness = make_harness()
    state = harness.ask()
    assert harness.verdict(second(state, code_of())) == Accept()
    assert harness.spent == [(1, STEP)]
    assert harness.challenges == {}
    assert harness.events() == [Event.LOGIN_CHALLENGED, Event.LOGIN_ACCEPTED]


def test_the_password_alone_is_enough_where_only_a_password_is_asked_for() -> None:
    harness = make_harness()
    assert harness.verdict(password()) == Accept()
    assert harness.spent == []


def test_a_code_may_be_typed_in_groups_and_full_width() -> None:
    harness = make_harness()
    right = code_of()
    wide = "".join(chr(ord(digit) - ord("0") + ord("０")) for digit in right)
    assert harness.verdict(code(f"{wide[:3]} － {wide[3:]}")) == Accept()


@pytest.mark.parametrize("digits", [6, 7, 8])
@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_every_kind_of_clock_token_is_verified(algorithm: Algorithm, digits: int) -> None:
    harness, spec = Harness(), TokenSpec(Kind.TOTP, algorithm, digits, 60)
    harness.customer(spec=spec)
    assert harness.reason(code(code_of(spec=spec, away=3))) == Finding.WRONG
    assert harness.verdict(code(code_of(spec=spec))) == Accept()


def test_a_counter_token_moves_by_its_counter() -> None:
    harness, spec = Harness(), TokenSpec(Kind.HOTP)
    harness.customer(spec=spec)
    assert harness.verdict(code(code_of(spec=spec, away=0))) == Accept()
    assert harness.verdict(code(code_of(spec=spec, away=5))) == Accept()
    taro = harness.customers["taro"]
    assert (taro.tokens[0].last_step, taro.tokens[0].drift) == (5, 0)
    assert harness.reason(code(code_of(spec=spec, away=4))) == Finding.REUSED
    assert harness.reason(code(code_of(spec=spec, away=17))) == Finding.WRONG, "further than look_ahead"
    assert harness.verdict(code(code_of(spec=spec, away=16))) == Accept()


def test_an_accept_carries_the_customers_attributes() -> None:
    harness = make_harness()
    attributes = {"Filter-Id": ["gold", "お客さま"], "Session-Timeout": 3600}
    harness.change(attributes=attributes_text(attributes))
    assert harness.verdict(code(code_of(), fingerprint=5)) == Accept(attributes)
    assert harness.verdict(code(code_of(), fingerprint=5)) == Accept(attributes), "and the repeated one the same"
    assert harness.verdict(password()) == Accept(attributes)


def test_no_attributes_are_kept_as_none() -> None:
    assert attributes_text(None) is None
    assert attributes_text({}) is None
    assert attributes_text({"b": 1, "a": "窓口"}) == '{"a": "窓口", "b": 1}'


def test_drift_is_learnt_from_an_accepted_code() -> None:
    harness = make_harness()
    assert harness.verdict(code(code_of(away=1))) == Accept()
    assert harness.customers["taro"].tokens[0].drift == 1
    harness.now += 60_000
    assert harness.verdict(code(code_of(away=2, now=harness.now))) == Accept(), "one further than the window was before"
    assert harness.customers["taro"].tokens[0].drift == 2


def test_drift_is_not_learnt_from_a_refused_code() -> None:
    harness = make_harness()
    harness.verdict(code(code_of(away=2)))
    assert harness.customers["taro"].tokens[0].drift == 0


def test_drift_ends_at_its_bound() -> None:
    harness = make_harness(max_drift=1)
    harness.change(drift=1)
    assert harness.verdict(code(code_of(away=2))) == Accept()
    assert harness.customers["taro"].tokens[0].drift == 1


# Once, ever.


def test_one_code_one_login() -> None:
    harness = make_harness()
    assert harness.verdict(code(code_of())) == Accept()
    assert harness.reason(code(code_of())) == Finding.REUSED
    assert harness.reason(both(code_of())) == Finding.REUSED
    assert harness.verdict(second(harness.ask(), code_of())) != Accept()
    assert harness.spent == [(1, STEP)]


def test_one_code_one_login_within_one_batch() -> None:
    harness = make_harness()
    verdicts = harness.run_batch(code(code_of(), fingerprint=1), code(code_of(), fingerprint=2), both(code_of()))
    assert verdicts == [Accept(), Reject(Finding.REUSED, Language.JA), Reject(Finding.REUSED, Language.JA)]


def test_an_older_code_is_reused_although_it_was_never_sent() -> None:
    harness = make_harness()
    assert harness.verdict(code(code_of(away=1))) == Accept()
    assert harness.reason(code(code_of(away=0))) == Finding.REUSED
    assert harness.reason(code(code_of(away=-1))) == Finding.WRONG, "drift has moved the window away from it"


def test_a_reused_code_does_not_count() -> None:
    harness = make_harness()
    harness.verdict(code(code_of()))
    for _ in range(20):
        harness.verdict(code(code_of()))
    assert (harness.customers["taro"].failures, harness.customers["taro"].locked_at) == (0, None)


def test_the_next_code_logs_in_in_the_same_batch() -> None:
    harness = make_harness()
    assert harness.run_batch(code(code_of()), code(code_of(away=1))) == [Accept(), Accept()]
    assert harness.spent == [(1, STEP), (1, STEP + 1)]


def test_of_two_answers_to_one_state_in_one_batch_one_is_accepted() -> None:
    harness = make_harness()
    state = harness.ask()
    verdicts = harness.run_batch(
        second(state, code_of(), fingerprint=1),
        second(state, code_of(away=1), fingerprint=2),
    )
    assert verdicts == [Accept(), Reject(Finding.CHALLENGE_GONE, Language.JA)]
    assert harness.spent == [(1, STEP)]


def test_two_customers_with_one_token_cannot_log_in_with_one_code_in_one_batch() -> None:
    harness = make_harness(one_customer_per_token=False)
    harness.customer("jiro", 1)
    verdicts = harness.run_batch(code(code_of()), code(code_of(), "jiro"), code(code_of(away=1), "jiro"))
    assert verdicts == [Accept(), Reject(Finding.REUSED, Language.JA), Accept()]
