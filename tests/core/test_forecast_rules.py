"""A forecast for other rules says what the evaluator then does: the same attempts under the first rules leave rows, the
forecast is made of these alone, and the same attempts under the tried rules are what is compared with.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.audit import Event, id_at
from otp_core.forecast.counting import Counting
from otp_core.forecast.outcome import MOST_CUSTOMERS, Affected, Change, Forecast, Note
from otp_core.forecast.past import Happened, TokenKind
from otp_core.login.policy import Delays, Rules
from otp_core.model import Accept, AuditRow
from tests.core.bank import NO_DELAYS
from tests.core.evaluator_harness import NOON, WRONG, Harness, code, code_of
from tests.examples import examples

KINDS = {f"VSMT0000000{number}": TokenKind() for number in (1, 2)}
TOKEN_OF = {"taro": 1, "jiro": 2}


class Step(NamedTuple):
    """``away``: the code's step, from now on a right clock; None: a code that fits nowhere. ``later``: ms."""

    who: str
    away: int | None
    later: int


steps: st.SearchStrategy[list[Step]] = st.lists(
    st.builds(
        Step,
        st.sampled_from(["taro", "taro", "jiro"]),
        st.sampled_from([0, 0, 0, 1, -1, -1, -2, 2, -3, 4, None, None, None]),
        st.sampled_from([0, 1_000, 30_000, 30_000, 90_000, 3_600_000]),
    ),
    min_size=1,
    max_size=40,
)


class Played(NamedTuple):
    """Whether each attempt was let in, the rows with their remarks, and who was locked at the end."""

    let_in: list[bool]
    rows: list[Happened]
    locked: dict[str, bool]


def play(rules: Rules, moves: list[Step]) -> Played:
    """The real evaluator."""
    harness = Harness(rules)
    for who, number in TOKEN_OF.items():
        harness.customer(who, number)
    let_in: list[bool] = []
    rows: list[Happened] = []
    for move in moves:
        harness.now += move.later
        token_id = f"VSMT{TOKEN_OF[move.who]:08d}"
        text = WRONG if move.away is None else code_of(token_id, move.away, now=harness.now)
        before = len(harness.audit)
        verdict = harness.verdict(code(text, move.who))
        let_in.append(isinstance(verdict, Accept))
        missed = getattr(verdict, "near_miss", None)
        remark = missed() if missed else "".join(text for _, text in harness.remarks)
        rows += [happened(row, harness.now, number, remark) for number, row in enumerate(harness.audit[before:])]
    return Played(let_in, rows, {who: one.locked_at is not None for who, one in harness.customers.items()})


def happened(row: AuditRow, now: int, number: int, remark: str) -> Happened:
    """As the trail has it: the harness numbers rows by a clock of its own."""
    is_login = row.event.startswith("login.")
    return Happened(id_at(now) + number, row.event, row.actor, row.customer, row.token, row.reason, remark * is_login)


def forecast_of(was: Rules, would: Rules, rows: list[Happened], steps_since: int | None = 0) -> Forecast:
    forecast = Forecast(NOON, NOON)
    counting = Counting(was, would, forecast, steps_since)
    for row in rows:
        counting.take(row, KINDS)
    counting.end()
    return forecast


def numbers(affected: Affected) -> Counter[str]:
    return Counter({one.customer: one.number for one in affected.named()})


def check(was: Rules, would: Rules, moves: list[Step]) -> None:
    """What is said for certain is what happens, and whatever happens otherwise is either said or called untold."""
    before, after = play(was, moves), play(would, moves)
    forecast = forecast_of(was, would, before.rows)
    said = {change: numbers(forecast.changes[change]) for change in Change}
    refused = Counter(
        move.who for move, one, other in zip(moves, before.let_in, after.let_in, strict=True) if one and not other
    )
    let_in = Counter(
        move.who for move, one, other in zip(moves, before.let_in, after.let_in, strict=True) if other and not one
    )
    assert forecast.logins == len(moves) and forecast.let_in == sum(before.let_in)
    for who in TOKEN_OF:
        if not said[Change.UNTOLD][who]:
            assert said[Change.REFUSED][who] == refused[who], who
            assert said[Change.LET_IN][who] == let_in[who], who
            if not before.locked[who]:
                assert bool(said[Change.LOCKED][who]) == after.locked[who], who
            elif not after.locked[who]:
                assert said[Change.NOT_LOCKED][who] == 1, who


@settings(max_examples=examples(400), deadline=None)
@given(steps, st.integers(1, 6), st.integers(1, 6))
def test_another_number_of_wrong_codes_until_the_lock_does_what_was_said(
    moves: list[Step], was: int, would: int
) -> None:
    check(Rules(lock_after=was, code_delays=NO_DELAYS), Rules(lock_after=would, code_delays=NO_DELAYS), moves)


@settings(max_examples=examples(400), deadline=None)
@given(steps, st.integers(0, 4), st.integers(0, 4))
def test_another_window_does_what_was_said(moves: list[Step], was: int, would: int) -> None:
    check(Rules(window=was, code_delays=NO_DELAYS), Rules(window=would, code_delays=NO_DELAYS), moves)


@settings(max_examples=examples(400), deadline=None)
@given(steps, st.integers(0, 3), st.integers(2, 6), st.integers(0, 3), st.integers(2, 6))
def test_both_at_once_and_with_delays_do_what_was_said(
    moves: list[Step], window: int, lock_after: int, other_window: int, other_lock_after: int
) -> None:
    delays = Delays(free=1, first=10, longest=60)
    check(
        Rules(window=window, lock_after=lock_after, code_delays=delays),
        Rules(window=other_window, lock_after=other_lock_after, code_delays=delays),
        moves,
    )


def test_what_is_certain_is_said_and_is_not_called_untold() -> None:
    """So the comparisons above are not of nothing with nothing."""
    was = Rules(lock_after=10, code_delays=NO_DELAYS)
    moves = [
        *[Step("taro", None, 30_000)] * 3,  # would be locked by the third
        Step("taro", 0, 30_000),  # and this one refused
        Step("jiro", 3, 30_000),  # fits a window of 3
        Step("jiro", 0, 120_000),
    ]
    rows = play(was, moves).rows
    locks = forecast_of(was, Rules(lock_after=3, code_delays=NO_DELAYS), rows)
    assert {change: numbers(one) for change, one in locks.shown()} == {
        Change.REFUSED: {"taro": 1},
        Change.LOCKED: {"taro": 1},
    }
    assert Note.STAYS_LOCKED in locks.notes
    window = forecast_of(was, Rules(window=3, code_delays=NO_DELAYS), rows)
    assert {change: numbers(one) for change, one in window.shown()} == {Change.LET_IN: {"jiro": 1}}


def test_a_narrower_window_refuses_codes_that_were_late() -> None:
    was = Rules(code_delays=NO_DELAYS)
    rows = play(was, [Step("taro", -1, 0), Step("jiro", 0, 0)]).rows
    narrow = Rules(window=0, code_delays=NO_DELAYS)
    assert {one: numbers(who) for one, who in forecast_of(was, narrow, rows).shown()} == {Change.REFUSED: {"taro": 1}}
    unknown = forecast_of(was, narrow, [row._replace(remark="") for row in rows], None)
    assert {one: numbers(who) for one, who in unknown.shown()} == {Change.UNTOLD: {"taro": 1, "jiro": 1}}
    assert Note.STEPS_NOT_KEPT in unknown.notes


def row(number: int, event: Event, reason: str, customer: str = "taro") -> Happened:
    return Happened(id_at(NOON + number * 60_000), event, "gateway", customer, "VSMT00000001", reason)


def test_an_unlock_ends_both_counts_and_a_lock_tells_of_wrong_codes_from_before() -> None:
    was, would = Rules(lock_after=10), Rules(lock_after=5)
    wrong = "wrong code"
    rows = [
        row(0, Event.CUSTOMER_LOCKED, "10 wrong codes in a row"),  # nine were before the first day
        row(1, Event.LOGIN_REJECTED, wrong),
        row(2, Event.LOGIN_REJECTED, "locked"),
        row(3, Event.CUSTOMER_UNLOCKED, ""),
        row(4, Event.LOGIN_ACCEPTED, "right code"),
    ]
    assert not forecast_of(was, would, rows).shown()
    lenient = forecast_of(was, Rules(lock_after=20), rows)
    assert {one: numbers(who) for one, who in lenient.shown()} == {
        Change.NOT_LOCKED: {"taro": 1},
        Change.UNTOLD: {"taro": 1},
    }


def test_names_are_bounded_and_logins_are_counted_beyond() -> None:
    affected = Affected()
    for number in range(MOST_CUSTOMERS + 2):
        affected.add(f"c{number}", number)
    affected.add("c7", 9)
    assert (affected.customers, affected.more, affected.logins) == (MOST_CUSTOMERS, True, MOST_CUSTOMERS + 3)
    assert affected.named(1)[0][:2] == ("c7", 2)


def test_wrong_codes_of_a_customer_whose_token_changes_are_counted_on() -> None:
    """The device of before, the one of now, and a token ID that was mistyped: whichever, the customer's count."""
    named = ("VSMT00000001", "VSMT00000002", "name:17ef218c5c6d112e", None, "VSMT00000001")
    rows = [
        Happened(id_at(NOON + 60_000 * at), Event.LOGIN_REJECTED, "gateway", "taro", token, "wrong code")
        for at, token in enumerate(named)
    ]
    desk = Happened(
        id_at(NOON + 400_000), Event.REFUSED, "desk", "taro", "VSMT00000002", "enrol: the token ID or its c"
    )
    forecast = forecast_of(Rules(), Rules(lock_after=6), [*rows, desk])
    assert numbers(forecast.changes[Change.LOCKED]) == {"taro": 1}
    forecast = forecast_of(Rules(), Rules(lock_after=7), [*rows, desk])
    assert not numbers(forecast.changes[Change.LOCKED])
