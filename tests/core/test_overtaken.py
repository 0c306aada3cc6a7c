"""A batch is evaluated before the write lock is taken. If something is changed meanwhile, the batch is evaluated once
more, or its decision holds all the same.
"""

from __future__ import annotations

import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.login.requests import Decision, Facts, LoginRequest
from otp_core.login.table import Finding
from otp_core.model import Accept, Challenge, Reject, Verdict
from otp_core.store.engine import LoginBatch
from tests.core.bank import STAFF, Bank, Holder, rules
from tests.core.batches import code_request, completed, first_round, login_batch_of, run_batch, second_round
from tests.examples import examples


class Race:
    """Taro's case, and what another process does between its judgement and its commit."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.bank = Bank(folder, rules(**changes))
        self.taro, self.jiro = self.bank.customer(), self.bank.customer("jiro", "VSMT00000002")
        self.times = 0

    def run(self, requests: list[LoginRequest], meanwhile: Callable[[LoginBatch], object]) -> list[Verdict]:
        known: list[Facts] = []
        with login_batch_of(self.bank) as mine, login_batch_of(self.bank) as others:
            verdicts = run_batch(self.bank, mine, requests, known, lambda: meanwhile(others))
        self.times = len(known)
        return verdicts


@pytest.fixture
def race(tmp_path: Path) -> Race:
    return Race(tmp_path)


def reason(verdicts: list[Verdict]) -> str:
    (verdict,) = verdicts
    assert isinstance(verdict, Reject), verdict
    return verdict.reason


def test_a_batch_that_nobody_overtakes_is_evaluated_once(race: Race) -> None:
    assert race.run([code_request(race.taro, race.taro.code())], lambda _: None) == [Accept()]
    assert race.times == 1


def test_others_logins_are_no_reason_to_evaluate_again(race: Race) -> None:
    jiro = race.jiro
    done = race.run(
        [code_request(race.taro, race.taro.code())],
        lambda others: run_batch(race.bank, others, [code_request(jiro, jiro.code()), code_request(jiro, "000000")]),
    )
    assert (done, race.times) == ([Accept()], 1)


@pytest.mark.parametrize(
    ("act", "finding"),
    [
        (lambda desk: desk.customers.lock("taro", STAFF), Finding.LOCKED),
        (lambda desk: desk.enrolment.report_lost("taro", STAFF), Finding.LOST),
    ],
    ids=["lock", "report lost"],
)
def test_no_login_after_the_desk_has_ended_it(race: Race, act: Callable[[Any], object], finding: Finding) -> None:
    done = race.run([code_request(race.taro, race.taro.code())], lambda _: act(race.bank.desk))
    assert (reason(done), race.times) == (finding, 2)
    assert [row.event for row in race.bank.audit(actor="gateway")] == ["login.rejected"], (
        "and the first decision left none"
    )


def test_a_code_spent_at_the_desk_meanwhile_is_used(race: Race) -> None:
    code = race.taro.code()

    def suspend_and_resume(_: object) -> None:
        race.bank.desk.enrolment.suspend("taro", code, STAFF)
        race.bank.desk.enrolment.resume("taro", STAFF)

    assert reason(race.run([code_request(race.taro, code)], suspend_and_resume)) == Finding.REUSED


@pytest.mark.sqlite_files
def test_an_act_about_somebody_else_costs_a_second_look_and_nothing_else(race: Race) -> None:
    done = race.run([code_request(race.taro, race.taro.code())], lambda _: race.bank.desk.customers.lock("jiro", STAFF))
    assert (done, race.times) == ([Accept()], 2)
    assert len(race.bank.audit(event="login.accepted")) == 1


def test_a_code_that_another_login_batch_accepts_meanwhile_is_used(race: Race) -> None:
    request = code_request(race.taro, race.taro.code())
    assert reason(race.run([request], lambda others: run_batch(race.bank, others, [request]))) == Finding.REUSED
    assert race.times == 2


def test_a_request_that_another_login_batch_accepts_meanwhile_is_the_same_login(race: Race) -> None:
    request = code_request(race.taro, race.taro.code(), fingerprint=77)
    assert race.run([request], lambda others: run_batch(race.bank, others, [request])) == [Accept()]
    assert [row.event for row in race.bank.audit(actor="gateway")] == ["login.accepted", "login.repeated"]


def test_an_older_code_after_a_newer_one_is_refused(race: Race) -> None:
    newer = code_request(race.taro, race.taro.code(1))
    done = race.run([code_request(race.taro, race.taro.code())], lambda others: run_batch(race.bank, others, [newer]))
    assert reason(done) == Finding.REUSED


def test_wrong_codes_at_two_login_batches_are_two(race: Race) -> None:
    wrong = code_request(race.taro, "000000")
    assert reason(race.run([wrong], lambda others: run_batch(race.bank, others, [wrong]))) == Finding.WRONG
    assert (race.bank.login_record().failures, race.times) == (2, 2)


def test_the_wrong_code_that_locks_is_not_overlooked(tmp_path: Path) -> None:
    race = Race(tmp_path, lock_after=2)
    wrong = code_request(race.taro, "000000")
    with login_batch_of(race.bank) as login_batch:
        run_batch(race.bank, login_batch, [wrong])
    done = race.run([code_request(race.taro, race.taro.code())], lambda others: run_batch(race.bank, others, [wrong]))
    assert (reason(done), race.times) == (Finding.LOCKED, 2)


def test_a_retransmission_is_one_only_while_its_acceptance_is_the_tokens_last(race: Race) -> None:
    first = code_request(race.taro, race.taro.code(), fingerprint=77)
    newer = code_request(race.taro, race.taro.code(1), fingerprint=88)
    assert race.run([first], lambda _: None) == [Accept()]
    done = race.run([first], lambda others: run_batch(race.bank, others, [newer]))
    assert (reason(done), race.times) == (Finding.REUSED, 2)


def test_a_code_is_spent_on_top_of_the_step_that_was_read_and_of_no_other(race: Race) -> None:
    """A later code would fit on top of the other one too; but drift and failures were decided by what was read."""
    earlier = code_request(race.taro, race.taro.code())
    done = race.run(
        [code_request(race.taro, race.taro.code(1))], lambda others: run_batch(race.bank, others, [earlier])
    )
    assert (done, race.times) == ([Accept()], 2)


def test_a_wrong_code_is_counted_on_top_of_the_one_that_was_read_not_of_one_like_it(race: Race) -> None:
    wrong, right = code_request(race.taro, "000000"), code_request(race.taro, race.taro.code())
    race.run([wrong], lambda _: None)

    def forgiven_and_wrong_again(others: LoginBatch) -> None:
        run_batch(race.bank, others, [right])
        race.bank.clock.now += 1
        run_batch(race.bank, others, [wrong])

    assert reason(race.run([wrong], forgiven_and_wrong_again)) == Finding.WRONG
    assert (race.bank.login_record().failures, race.times) == (2, 2)


def test_a_state_is_answered_once(race: Race) -> None:
    with login_batch_of(race.bank) as login_batch:
        (asked,) = run_batch(race.bank, login_batch, [first_round(race.taro)])
    assert isinstance(asked, Challenge)
    mine, others = (second_round(race.taro, asked.state, race.taro.code(away), away + 1) for away in (1, 0))
    done = race.run([mine], lambda login_batch: run_batch(race.bank, login_batch, [others]))
    assert (reason(done), race.times) == (Finding.CHALLENGE_GONE, 2)


@pytest.mark.sqlite_files
def test_an_evaluator_that_fails_at_the_second_look_leaves_the_lock_free(race: Race) -> None:
    before = race.bank.rows()

    def fail_late(facts: Facts) -> Decision:
        race.times += 1
        if race.times == 2:
            raise RuntimeError("poison")
        race.bank.desk.tokens.issue(STAFF)
        return Decision()

    with login_batch_of(race.bank) as login_batch:
        with pytest.raises(RuntimeError, match="poison"):
            completed(login_batch.run(["taro"], [], fail_late))
        with race.bank.open_store(0.01).work():
            pass
    assert race.bank.rows().keys() == before.keys()
    assert race.bank.audit(actor="gateway") == []


WHO = ["taro", "jiro", "saburo"]
Batch = list[tuple[str, str, int, int]]
"""Who, what, how many steps away the code is, and which copy of the request."""
BATCHES = st.lists(
    st.tuples(
        st.sampled_from(WHO),
        st.sampled_from(["code", "code", "first", "second"]),
        st.sampled_from([0, 0, 1, -1, 9]),
        st.sampled_from([1, 2]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=examples(40), deadline=None)
@given(BATCHES, BATCHES, BATCHES)
def test_two_batches_at_once_come_out_for_each_as_if_one_had_been_first(
    before: Batch, one: Batch, other: Batch
) -> None:
    """But for one thing: a wrong code that is counted while a right one is on its way may stay counted."""
    at_once, *in_turn = (outcome(order, before, one, other) for order in ("at once", "one first", "other first"))
    for who in WHO:
        came_out, failures = at_once[who]
        assert any(came_out == turn[who][0] and failures >= turn[who][1] for turn in in_turn), who


def outcome(order: str, before: Batch, one: Batch, other: Batch) -> dict[str, tuple[object, int]]:
    """For each customer: the verdicts on two batches with what they left behind, and the failures that are counted."""
    with tempfile.TemporaryDirectory() as folder:
        bank = Bank(Path(folder), rules(lock_after=3, one_customer_per_token=False))
        holders = {who: bank.customer(who, "VSMT00000002" if who != "taro" else "VSMT00000001") for who in WHO}
        with login_batch_of(bank) as mine, login_batch_of(bank) as others:
            states = {who: asked(bank, mine, holders[who]) for who in WHO}
            run_batch(bank, mine, cases_of(before, holders, states))
            bank.clock.now += 20
            first, second = cases_of(one, holders, states), cases_of(other, holders, states)
            theirs: list[Verdict] = []

            def go() -> None:
                theirs.extend(run_batch(bank, others, second))

            if order == "other first":
                go()
            verdicts = run_batch(bank, mine, first, meanwhile=go if order == "at once" else lambda: None)
            if order == "one first":
                go()
        told = {who: [of_whom(who, one, verdicts), of_whom(who, other, theirs)] for who in WHO}
        return {who: ((told[who], left_behind(bank, who)), bank.login_record(who).failures) for who in WHO}


def asked(bank: Bank, login_batch: LoginBatch, holder: Holder) -> bytes:
    (verdict,) = run_batch(bank, login_batch, [first_round(holder)])
    assert isinstance(verdict, Challenge)
    return verdict.state


def cases_of(batch: Batch, holders: dict[str, Holder], states: dict[str, bytes]) -> list[LoginRequest]:
    """The same request has the same fingerprint wherever it comes."""
    made = []
    for who, kind, away, copy in batch:
        holder, fingerprint = holders[who], zlib.crc32(f"{who} {kind} {away} {copy}".encode())
        match kind:
            case "code":
                made.append(code_request(holder, holder.code(away), fingerprint))
            case "first":
                made.append(first_round(holder))
            case _:
                made.append(second_round(holder, states[who], holder.code(away), fingerprint))
    return made


def of_whom(who: str, batch: Batch, verdicts: list[Verdict]) -> list[tuple[str, str]]:
    """The verdicts on one customer, without what is drawn by lot."""
    own = [verdict for asked, verdict in zip(batch, verdicts, strict=True) if asked[0] == who]
    return [(type(verdict).__name__, getattr(verdict, "reason", "")) for verdict in own]


def left_behind(bank: Bank, who: str) -> tuple[object, ...]:
    """All else that a later login would be evaluated by, and the trail, in any order."""
    record = bank.login_record(who)
    challenges = Counter(row[2:] for row in bank.rows()["challenge"] if row[1] == record.customer_key)
    trail = Counter((row.event, row.reason) for row in bank.audit(actor="gateway", customer=who))
    facts = (record.otp_use, record.locked_at, [replace(one, key=0, seed=None) for one in record.tokens])
    return facts, challenges, trail
