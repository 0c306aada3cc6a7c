"""A token whose codes were accepted while the clock stood in the future: its customer gets in, and each code once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.login.policy import Rules
from otp_core.login.spent_ahead import TokenSteps, Use, is_ahead, recent_ms, taken_back, with_step
from otp_core.model import TokenSpec
from otp_core.otp import Fit, code_at, fit, is_spent_ahead, learn_drift, resynchronise, spans_of, step_at

NOW = 1_800_000_015_000
HERE = step_at(NOW, 30)
HOUR = 3_600_000
GRACE_MS = 90_000
RULES = Rules()
SEED = b"a seed of twenty oct"


def token(last_step: int, drift: int = 0, spent: str | None = None) -> TokenSteps:
    return TokenSteps(30, last_step, drift, spent)


def test_a_last_step_is_ahead_when_no_right_clock_can_have_accepted_it() -> None:
    allowed = RULES.window + GRACE_MS // 30_000
    assert not is_ahead(token(HERE + allowed), NOW, RULES)
    assert is_ahead(token(HERE + allowed + 1), NOW, RULES)
    assert not is_ahead(token(HERE + allowed + 5, drift=5), NOW, RULES), "a token whose clock is fast"
    assert is_ahead(token(HERE + allowed - 4, drift=-5), NOW, RULES)
    assert not is_ahead(token(-1), NOW, RULES)


def test_a_stamp_of_90_seconds_ahead_is_left_alone_and_one_of_a_millisecond_more_is_not() -> None:
    last_step = HERE + 10
    accepted_at = (last_step - RULES.window) * 30_000
    assert not is_ahead(token(last_step), accepted_at - 90_000, RULES)
    assert is_ahead(token(last_step), accepted_at - 90_001, RULES)


def test_who_logged_in_nine_hours_ahead_gets_in_with_the_code_that_is_shown_now() -> None:
    there = HERE + 1080
    last, spent = taken_back(token(there), [Use(NOW + 9 * HOUR)], NOW, RULES)
    assert last == HERE - 2
    assert spans_of(spent) == [(there - 2, there)]


def test_what_was_accepted_a_moment_ago_stays_spent() -> None:
    for seconds, last in ((0, HERE + 2), (30, HERE + 1), (60, HERE), (90, HERE - 1), (120, HERE - 2), (999, HERE - 2)):
        uses = [Use(NOW - seconds * 1000), Use(NOW + 9 * HOUR)]
        assert taken_back(token(HERE + 1080), uses, NOW, RULES)[0] == last


def test_without_a_word_in_the_audit_trail_the_last_step_itself_stays_spent() -> None:
    assert taken_back(token(HERE + 500), [], NOW, RULES) == (HERE - 2, f"{HERE + 500}-{HERE + 500}")


def test_spans_of_an_earlier_time_stay_while_they_lie_ahead() -> None:
    earlier = f"{HERE - 50}-{HERE - 40} {HERE + 2000}-{HERE + 2002}"
    _, spent = taken_back(token(HERE + 500, spent=earlier), [], NOW, RULES)
    assert spans_of(spent) == [(HERE + 500, HERE + 500), (HERE + 2000, HERE + 2002)]


def test_a_span_is_as_wide_as_the_drift_could_move_since() -> None:
    """The drift that is stored is that of the end: one acceptance before, it was one step less at most."""
    uses = [Use(NOW + 9 * HOUR), Use(NOW + 10 * HOUR)]
    _, spent = taken_back(token(HERE + 1200), uses, NOW, RULES)
    assert spans_of(spent) == [(HERE + 1080 - 3, HERE + 1080 + 3), (HERE + 1200 - 2, HERE + 1200)]


def test_a_drift_moves_from_one_bound_to_the_other_at_most() -> None:
    uses = [Use(NOW), *(Use(NOW + HOUR * (number + 1)) for number in range(40))]
    last, spent = taken_back(token(HERE + 4800), uses, NOW, RULES)
    assert last == HERE + 1 + 20
    assert spans_of(spent)[0] == (HERE + 120 - 21, HERE + 120 + 21)


@pytest.mark.parametrize("drift", [-5, 0, 5])
def test_what_was_accepted_now_is_found_with_the_tokens_drift(drift: int) -> None:
    last, _ = taken_back(token(HERE + 1080, drift), [Use(NOW), Use(NOW + 9 * HOUR)], NOW, RULES)
    assert last == HERE + drift + RULES.window + 1


@pytest.mark.parametrize(("drift", "last"), [(0, HERE + 10 + 2), (15, HERE + 15 + 2)])
def test_after_a_resynchronisation_ahead_no_drift_that_may_be_is_open(drift: int, last: int) -> None:
    assert taken_back(token(HERE + 1080, drift), [Use(NOW + 9 * HOUR, True)], NOW, RULES)[0] == last


def test_the_span_of_a_resynchronisation_is_as_wide_as_it_searches() -> None:
    _, spent = taken_back(token(HERE + 1080), [Use(NOW + 9 * HOUR, True)], NOW, RULES)
    assert spans_of(spent) == [(HERE + 1080 - 2 - 200 - 10, HERE + 1080)]


def test_a_span_begins_behind_the_last_step() -> None:
    last, spent = taken_back(token(HERE + 30), [Use(NOW + 20 * 30_000, True)], NOW, RULES)
    assert (last, spans_of(spent)) == (HERE + 12, [(HERE + 13, HERE + 30)])


def test_before_the_first_step_there_is_none() -> None:
    assert taken_back(token(500), [], 0, RULES)[0] == -1


def test_uses_matter_for_twice_the_window_and_as_far_as_the_drift_may_have_moved() -> None:
    assert recent_ms(30, RULES, 0) == 4 * 30_000
    assert recent_ms(30, RULES, 3) == 7 * 30_000
    assert recent_ms(60, Rules(window=0), 1000) == (2 + 20) * 60_000


def test_one_more_step_joins_its_neighbours_and_what_is_past_goes() -> None:
    earlier = token(20, spent="3-4 8-9 12-13 14-14 16-17")
    assert with_step(earlier, 9) == "12-14 16-17 20-20"
    assert with_step(token(18, spent="16-17"), -1) == "16-18"


def test_there_are_no_more_spans_than_a_row_can_bear() -> None:
    uses = [Use(NOW + HOUR * (number + 1)) for number in range(1000)]
    last_step = HERE + 120 * 1000
    _, spent = taken_back(token(last_step), uses, NOW, RULES)
    spans = spans_of(spent)
    assert len(spans) == 64
    assert spans[-1][1] == last_step
    assert all(is_spent_ahead(spent, step_at(use.at, 30)) for use in uses)


def test_a_code_that_was_spent_ahead_is_a_reused_one_when_its_time_comes_also_for_a_resynchronisation() -> None:
    spec, there = TokenSpec(), HERE + 100
    spent = f"{there - 1}-{there}"

    def found(step: int, at: int) -> Fit:
        code = code_at(SEED, step, spec)
        return fit(SEED, spec, code, at_ms=at, last_step=HERE, drift=0, window=1, look_ahead=10, spent_ahead=spent)[0]

    def two(first: int) -> int | None:
        codes = code_at(SEED, first, spec), code_at(SEED, first + 1, spec)
        return resynchronise(
            SEED, spec, *codes, at_ms=NOW, last_step=HERE, window=200, look_ahead=10, spent_ahead=spent
        )

    then = NOW + 100 * 30_000
    results = [found(there + away, then) for away in (-2, -1, 0, 1, 2)]
    assert results == [Fit.WRONG, Fit.REUSED, Fit.REUSED, Fit.FITS, Fit.WRONG]
    assert [two(there + away) for away in (-3, -2, -1, 0, 1)] == [there - 2, None, None, None, there + 2]


def test_no_spans_are_none() -> None:
    assert spans_of(None) == spans_of("") == []
    assert not is_spent_ahead(None, 5)


class Model:
    """A token and the steps that were accepted, as the doors accept them."""

    def __init__(self, rules: Rules, drift: int) -> None:
        self.rules, self.drift, self.last = rules, drift, -1
        self.accepted: list[int] = []
        self.uses: list[Use] = []

    def login(self, at: int, away: int) -> None:
        step = step_at(at, 30) + self.drift + max(-self.rules.window, min(away, self.rules.window))
        if step > self.last:
            self.accepted.append(step)
            self.uses.append(Use(at))
            self.last = step
            self.drift = learn_drift(self.drift, step, step_at(at, 30), self.rules.max_drift)

    def resynchronise(self, at: int, away: int) -> None:
        step = step_at(at, 30) + away
        if step > self.last:
            self.accepted += [step, step + 1]
            self.uses.append(Use(at, resynchronised=True))
            self.last, self.drift = step + 1, step + 1 - step_at(at, 30)


moves = st.lists(st.tuples(st.integers(0, 200_000), st.integers(-3, 3)), max_size=12)


@given(
    drift=st.integers(-10, 10),
    window=st.integers(0, 3),
    before=moves,
    ahead=moves,
    jump=st.integers(GRACE_MS + 150_000, 20 * 24 * HOUR),
    again=st.sampled_from([None, -200, -30, 0, 30, 199]),
)
def test_whatever_was_accepted_before_and_ahead_is_never_accepted_again(
    drift: int,
    window: int,
    before: list[tuple[int, int]],
    ahead: list[tuple[int, int]],
    jump: int,
    again: int | None,
) -> None:
    rules = Rules(window=window)
    model, at = Model(rules, drift), NOW
    for wait, away in before:
        at += wait
        model.login(at, away)
    for wait, away in ahead:
        at += wait
        model.login(at + jump, away)
    if again is not None:
        model.resynchronise(at + jump, again)
    steps = token(model.last, model.drift)
    if not is_ahead(steps, at, rules):
        return
    last, spent = taken_back(steps, model.uses, at, rules)
    assert [step for step in model.accepted if step > last and not is_spent_ahead(spent, step)] == []
    assert last <= model.last
    # And its customer gets in soon: nothing that fits within the next minutes is closed for more than these.
    bound = step_at(at, 30) + max(model.drift, rules.max_drift) + window + len(model.uses)
    assert last <= bound


@pytest.mark.parametrize("drift", [-10, 0, 10])
def test_a_customer_who_did_nothing_at_the_right_time_gets_in_at_once(drift: int) -> None:
    last, spent = taken_back(token(HERE + 1080 + drift, drift), [Use(NOW + 9 * HOUR)], NOW, RULES)
    fitting = range(HERE + drift - RULES.window, HERE + drift + RULES.window + 1)
    assert all(step > last and not is_spent_ahead(spent, step) for step in fitting)
