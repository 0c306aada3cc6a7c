"""The functional core of a login on plain values: every finding, every step, and what no attempts whatever may do."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.audit import AuditRow, Event, Ids
from otp_core.judge import GATEWAY_CHECKED, Case, Facts, FirstFinding, Judge, Ruling, attributes_text
from otp_core.login import Finding, Stage
from otp_core.model import (
    NEVER,
    Accept,
    Algorithm,
    Attempt,
    Challenge,
    Kind,
    Language,
    Mode,
    OpenChallenge,
    OtpUse,
    Policy,
    Reject,
    Standing,
    TokenSpec,
    Verdict,
)
from otp_core.otp import code_at, step_at
from otp_core.policy import Delays, Rules
from otp_core.sealing import Sealer
from tests.fakes import HandClock

SEALER = Sealer(bytes(range(32)))
NOON = 1_800_000_015_000
"""Milliseconds; the middle of a step."""
STEP = step_at(NOON, 30)
NO_DELAYS = Delays(free=1000)
TOTP = TokenSpec()
CODE, CHALLENGE, APPEND = Policy(Mode.CODE), Policy(Mode.CHALLENGE), Policy(Mode.APPEND)
WRONG_PASSWORD = FirstFinding(right=False)
NOT_HELD = FirstFinding(right=True, held=False)


def seed_of(token_id: str) -> bytes:
    return f"the seed of {token_id}".encode()


def code_of(token_id: str = "VSMT00000001", away: int = 0, spec: TokenSpec = TOTP, now: int = NOON) -> str:
    """What a token shows now, or ``away`` steps from now; for a counter, at the counter ``away``."""
    centre = step_at(now, spec.period) if spec.kind == Kind.TOTP else 0
    return code_at(seed_of(token_id), centre + away, spec)


WRONG = next(
    text
    for text in map("{:06d}".format, range(10**6))
    if all(code_of(f"VSMT0000000{token}", away) != text for token in (1, 2, 3) for away in range(-9, 400))
)
"""A code that fits no token of these tests at any time."""


@dataclass
class Court:
    """A judge with a store of plain values, which keeps what a ruling says just as the real one does."""

    rules: Rules = field(default_factory=lambda: Rules(code_delays=NO_DELAYS))
    now: int = NOON
    customers: dict[str, Standing] = field(default_factory=dict)
    challenges: dict[bytes, OpenChallenge] = field(default_factory=dict)
    audit: list[AuditRow] = field(default_factory=list)
    spent: list[tuple[int, int]] = field(default_factory=list)
    counts: int = 0

    def __post_init__(self) -> None:
        self._states = itertools.count(1)
        self.judge = Judge(self.rules, SEALER.unseal, lambda: next(self._states).to_bytes(16, "big"))
        self._ids = Ids(HandClock(NOON / 1000), 0)

    def customer(self, contract_id: str = "taro", token: int | None = 1, spec: TokenSpec = TOTP) -> Standing:
        """Somebody who logs in; with a token they are active."""
        token_id = None if token is None else f"VSMT{token:08d}"
        self.customers[contract_id] = Standing(
            contract_id=contract_id,
            customer_key=100 + len(self.customers),
            otp_use=OtpUse.NONE if token is None else OtpUse.ACTIVE,
            locked_at=None,
            failures=0,
            failed_at=0,
            failed_mark=0,
            language=None,
            attributes=None,
            token_key=token,
            token_id=token_id,
            seed=None if token_id is None else SEALER.seal(seed_of(token_id), token_id),
            kind=None if token is None else spec.kind,
            algorithm=None if token is None else spec.algorithm,
            digits=None if token is None else spec.digits,
            period=None if token is None else spec.period,
            last_step=NEVER,
            drift=0,
            last_mark=0,
            last_at=0,
        )
        return self.customers[contract_id]

    def change(self, contract_id: str = "taro", **values: Any) -> None:
        self.customers[contract_id] = replace(self.customers[contract_id], **values)

    def hear(self, *cases: Case) -> list[Verdict]:
        """One batch: load, judge, apply."""
        customers = {case.attempt.customer for case in cases} & set(self.customers)
        states = {case.attempt.challenge or b"" for case in cases} & set(self.challenges)
        facts = Facts(
            {one: replace(self.customers[one]) for one in customers}, {one: self.challenges[one] for one in states}
        )
        ruling = self.judge.judge(cases, facts, self.now, self._ids)
        self._apply(ruling)
        assert len(ruling.verdicts) == len(cases)
        return ruling.verdicts

    def verdict(self, case: Case) -> Verdict:
        (verdict,) = self.hear(case)
        return verdict

    def reason(self, case: Case) -> str:
        """Why this case is rejected."""
        verdict = self.verdict(case)
        assert isinstance(verdict, Reject), verdict
        return verdict.reason

    def ask(self, contract_id: str = "taro", **more: Any) -> bytes:
        """A first round; the State it leads to."""
        verdict = self.verdict(first(contract_id, **more))
        assert isinstance(verdict, Challenge), verdict
        return verdict.state

    def events(self) -> list[str]:
        return [row.event for row in self.audit]

    def _apply(self, ruling: Ruling) -> None:
        for state in ruling.taken:
            del self.challenges[state]
        for step, drift, mark, at, token_key, before in ruling.spent:
            holders = [one for one in self.customers.values() if one.token_key == token_key]
            assert holders and all(one.last_step == before < step for one in holders), "the store would refuse this"
            self.spent.append((token_key, step))
            for one in holders:
                self.change(one.contract_id, last_step=step, drift=drift, last_mark=mark, last_at=at)
        self.counts += len(ruling.counted)
        for failures, at, mark, locked_at, key, *read in ruling.counted.values():
            (who,) = [one.contract_id for one in self.customers.values() if one.customer_key == key]
            assert [self.customers[who].failures, self.customers[who].failed_at] == read
            self.change(who, failures=failures, failed_at=at, failed_mark=mark, locked_at=locked_at)
        for challenge in ruling.opened:
            assert challenge.state not in self.challenges
            self.challenges[challenge.state] = challenge
        self.audit += ruling.audit


def attempt(customer: str, policy: Policy, **more: Any) -> Attempt:
    values = {"typed": "(read by the authenticator)", "client": "gateway", "source": "192.0.2.1", **more}
    return Attempt(customer=customer, policy=policy, **values)


def code(typed: str, customer: str = "taro", policy: Policy = CODE, **more: Any) -> Case:
    return Case(attempt(customer, policy, **more), Stage.CODE, code=typed)


def both(typed: str, customer: str = "taro", first: FirstFinding = GATEWAY_CHECKED, **more: Any) -> Case:
    return Case(attempt(customer, APPEND, **more), Stage.BOTH, first, typed)


def first(
    customer: str = "taro",
    first: FirstFinding = GATEWAY_CHECKED,
    policy: Policy = CHALLENGE,
    mark: int | None = None,
    **more: Any,
) -> Case:
    return Case(attempt(customer, policy, **more), Stage.FIRST_ROUND, first, password_mark=mark)


def second(state: bytes, typed: str, customer: str = "taro", mark: int | None = None, **more: Any) -> Case:
    return Case(
        attempt(customer, CHALLENGE, challenge=state, **more), Stage.SECOND_ROUND, code=typed, password_mark=mark
    )


def password(customer: str = "taro", first: FirstFinding = GATEWAY_CHECKED, **more: Any) -> Case:
    return Case(attempt(customer, Policy(Mode.PASSWORD), **more), Stage.PASSWORD, first)


def court(**rules: Any) -> Court:
    """A court with one active customer, taro."""
    made = Court(Rules(**{"code_delays": NO_DELAYS, **rules}))
    made.customer()
    return made


# Letting in.


def test_a_right_code_is_accepted_and_spent() -> None:
    house = court()
    assert house.verdict(code(code_of(), fingerprint=77)) == Accept()
    taro = house.customers["taro"]
    assert (taro.last_step, taro.last_mark, taro.last_at, taro.drift) == (STEP, 77, NOON, 0)
    assert house.events() == [Event.LOGIN_ACCEPTED]
    assert house.counts == 0, "nothing to forgive, so nothing of the customer is written"


def test_a_right_code_behind_the_right_password_is_accepted_and_spent() -> None:
    house = court()
    assert house.verdict(both(code_of())) == Accept()
    assert house.spent == [(1, STEP)]


def test_a_challenge_answered_with_a_right_code_is_accepted_and_gone() -> None:
    house = court()
    state = house.ask()
    assert house.verdict(second(state, code_of())) == Accept()
    assert house.spent == [(1, STEP)]
    assert house.challenges == {}
    assert house.events() == [Event.LOGIN_CHALLENGED, Event.LOGIN_ACCEPTED]


def test_the_password_alone_is_enough_where_only_a_password_is_asked_for() -> None:
    house = court()
    assert house.verdict(password()) == Accept()
    assert house.spent == []


def test_a_code_may_be_typed_in_groups_and_full_width() -> None:
    house = court()
    right = code_of()
    wide = "".join(chr(ord(digit) - ord("0") + ord("０")) for digit in right)
    assert house.verdict(code(f"{wide[:3]} － {wide[3:]}")) == Accept()


@pytest.mark.parametrize("digits", [6, 7, 8])
@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_every_kind_of_clock_token_is_verified(algorithm: Algorithm, digits: int) -> None:
    house, spec = Court(), TokenSpec(Kind.TOTP, algorithm, digits, 60)
    house.customer(spec=spec)
    assert house.reason(code(code_of(spec=spec, away=3))) == Finding.WRONG
    assert house.verdict(code(code_of(spec=spec))) == Accept()


def test_a_counter_token_moves_by_its_counter() -> None:
    house, spec = Court(), TokenSpec(Kind.HOTP)
    house.customer(spec=spec)
    assert house.verdict(code(code_of(spec=spec, away=0))) == Accept()
    assert house.verdict(code(code_of(spec=spec, away=5))) == Accept()
    taro = house.customers["taro"]
    assert (taro.last_step, taro.drift) == (5, 0)
    assert house.reason(code(code_of(spec=spec, away=4))) == Finding.REUSED
    assert house.reason(code(code_of(spec=spec, away=17))) == Finding.WRONG, "further than look_ahead"
    assert house.verdict(code(code_of(spec=spec, away=16))) == Accept()


def test_an_accept_carries_the_customers_attributes() -> None:
    house = court()
    attributes = {"Filter-Id": ["gold", "お客さま"], "Session-Timeout": 3600}
    house.change(attributes=attributes_text(attributes))
    assert house.verdict(code(code_of(), fingerprint=5)) == Accept(attributes)
    assert house.verdict(code(code_of(), fingerprint=5)) == Accept(attributes), "and the repeated one the same"
    assert house.verdict(password()) == Accept(attributes)


def test_no_attributes_are_kept_as_none() -> None:
    assert attributes_text(None) is None
    assert attributes_text({}) is None
    assert attributes_text({"b": 1, "a": "窓口"}) == '{"a": "窓口", "b": 1}'


def test_drift_is_learnt_from_an_accepted_code() -> None:
    house = court()
    assert house.verdict(code(code_of(away=1))) == Accept()
    assert house.customers["taro"].drift == 1
    house.now += 60_000
    assert house.verdict(code(code_of(away=2, now=house.now))) == Accept(), "one further than the window was before"
    assert house.customers["taro"].drift == 2


def test_drift_is_not_learnt_from_a_refused_code() -> None:
    house = court()
    house.verdict(code(code_of(away=2)))
    assert house.customers["taro"].drift == 0


def test_drift_ends_at_its_bound() -> None:
    house = court(max_drift=1)
    house.change(drift=1)
    assert house.verdict(code(code_of(away=2))) == Accept()
    assert house.customers["taro"].drift == 1


# Once, ever.


def test_one_code_one_login() -> None:
    house = court()
    assert house.verdict(code(code_of())) == Accept()
    assert house.reason(code(code_of())) == Finding.REUSED
    assert house.reason(both(code_of())) == Finding.REUSED
    assert house.verdict(second(house.ask(), code_of())) != Accept()
    assert house.spent == [(1, STEP)]


def test_one_code_one_login_within_one_batch() -> None:
    house = court()
    verdicts = house.hear(code(code_of(), fingerprint=1), code(code_of(), fingerprint=2), both(code_of()))
    assert verdicts == [Accept(), Reject(Finding.REUSED, Language.JA), Reject(Finding.REUSED, Language.JA)]


def test_an_older_code_is_reused_although_it_was_never_sent() -> None:
    house = court()
    assert house.verdict(code(code_of(away=1))) == Accept()
    assert house.reason(code(code_of(away=0))) == Finding.REUSED
    assert house.reason(code(code_of(away=-1))) == Finding.WRONG, "drift has moved the window away from it"


def test_a_reused_code_does_not_count() -> None:
    house = court()
    house.verdict(code(code_of()))
    for _ in range(20):
        house.verdict(code(code_of()))
    assert (house.customers["taro"].failures, house.customers["taro"].locked_at) == (0, None)


def test_the_next_code_logs_in_in_the_same_batch() -> None:
    house = court()
    assert house.hear(code(code_of()), code(code_of(away=1))) == [Accept(), Accept()]
    assert house.spent == [(1, STEP), (1, STEP + 1)]


def test_of_two_answers_to_one_state_in_one_batch_one_is_accepted() -> None:
    house = court()
    state = house.ask()
    verdicts = house.hear(
        second(state, code_of(), fingerprint=1),
        second(state, code_of(away=1), fingerprint=2),
    )
    assert verdicts == [Accept(), Reject(Finding.CHALLENGE_GONE, Language.JA)]
    assert house.spent == [(1, STEP)]


def test_two_customers_with_one_token_cannot_log_in_with_one_code_in_one_batch() -> None:
    house = court(one_customer_per_token=False)
    house.customer("jiro", 1)
    verdicts = house.hear(code(code_of()), code(code_of(), "jiro"), code(code_of(away=1), "jiro"))
    assert verdicts == [Accept(), Reject(Finding.REUSED, Language.JA), Accept()]


# The same request once more.


def test_a_repeated_request_is_accepted_again_and_spends_nothing() -> None:
    house = court()
    assert house.verdict(code(code_of(), fingerprint=7)) == Accept()
    before = house.customers["taro"]
    house.now += 59_999
    assert house.verdict(code(code_of(), fingerprint=7)) == Accept()
    assert house.customers["taro"] == before
    assert house.spent == [(1, STEP)]
    assert house.events() == [Event.LOGIN_ACCEPTED, Event.LOGIN_REPEATED]


def test_a_repeated_request_within_one_batch_is_accepted_again() -> None:
    house = court()
    assert house.hear(code(code_of(), fingerprint=7), code(code_of(), fingerprint=7)) == [Accept(), Accept()]
    assert house.spent == [(1, STEP)]


def test_a_repeated_answer_to_a_challenge_is_accepted_again_although_the_challenge_is_gone() -> None:
    house = court()
    state = house.ask()
    assert house.verdict(second(state, code_of(), fingerprint=7)) == Accept()
    assert house.verdict(second(state, code_of(), fingerprint=7)) == Accept()


def test_a_repeated_request_with_password_and_code_is_accepted_again() -> None:
    house = court()
    assert house.verdict(both(code_of(), fingerprint=7)) == Accept()
    assert house.verdict(both(code_of(), fingerprint=7)) == Accept()
    assert house.reason(both(code_of(), first=WRONG_PASSWORD, fingerprint=7)) == Finding.WRONG_PASSWORD


def test_after_remember_seconds_it_is_a_reused_code() -> None:
    house = court(remember_seconds=20)
    house.verdict(code(code_of(), fingerprint=7))
    house.now += 19_999
    assert house.verdict(code(code_of(), fingerprint=7)) == Accept()
    house.now += 1
    assert house.reason(code(code_of(), fingerprint=7)) == Finding.REUSED


def test_a_request_without_a_fingerprint_is_never_taken_for_a_repetition() -> None:
    house = court()
    house.verdict(code(code_of(), fingerprint=0))
    assert house.reason(code(code_of(), fingerprint=0)) == Finding.REUSED


def test_only_the_last_accepted_request_is_remembered() -> None:
    house = court()
    house.hear(code(code_of(), fingerprint=7), code(code_of(away=1), fingerprint=8))
    assert house.reason(code(code_of(), fingerprint=7)) == Finding.REUSED


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
    house = court()
    house.verdict(code(code_of(), fingerprint=7))
    house.change(**change)
    assert house.reason(code(code_of(), fingerprint=7)) == finding


def test_a_gateway_that_sends_one_login_twice_joins_the_first_verdict_for_join_seconds() -> None:
    joining = Policy(Mode.CODE, join_seconds=5)
    house = court()
    assert house.verdict(code(code_of(), policy=joining, fingerprint=7)) == Accept()
    house.now += 4_999
    assert house.verdict(code(code_of(), policy=joining, fingerprint=7)) == Accept()
    house.now += 1
    assert house.reason(code(code_of(), policy=joining, fingerprint=7)) == Finding.REUSED
    assert house.spent == [(1, STEP)]


def test_a_login_is_known_by_its_mark_and_not_by_its_fingerprint_where_it_has_one() -> None:
    house, joining = court(), Policy(Mode.CODE, join_seconds=5)
    sent = [code(code_of(), policy=joining, fingerprint=number) for number in (7, 8, 7)]
    for case, mark in zip(sent, (70, 70, 71), strict=True):
        case.mark = mark
    assert house.hear(*sent) == [Accept(), Accept(), Reject(Finding.REUSED, Language.JA)]
    assert house.customers["taro"].last_mark == 70
    assert house.events() == [Event.LOGIN_ACCEPTED, Event.LOGIN_REPEATED, Event.LOGIN_REJECTED]


@pytest.mark.parametrize(("policy", "seconds"), [(CODE, 60), (Policy(Mode.CODE, join_seconds=5), 5)])
def test_a_repetition_of_a_wrong_code_is_known_for_as_long_as_that_of_a_right_one(policy: Policy, seconds: int) -> None:
    house = court()
    assert house.reason(code(WRONG, policy=policy, fingerprint=7)) == Finding.WRONG
    house.now += seconds * 1000 - 1
    assert house.reason(code(WRONG, policy=policy, fingerprint=7)) == Finding.REPEATED_FAILURE
    house.now += 1
    assert house.reason(code(WRONG, policy=policy, fingerprint=7)) == Finding.WRONG
    assert house.customers["taro"].failures == 2


def test_a_repetition_of_a_wrong_code_is_refused_and_not_counted_again() -> None:
    house = court()
    assert house.reason(code(WRONG, fingerprint=7)) == Finding.WRONG
    assert house.reason(code(WRONG, fingerprint=7)) == Finding.REPEATED_FAILURE
    assert house.reason(code(WRONG, fingerprint=8)) == Finding.WRONG
    assert house.customers["taro"].failures == 2


def test_wrong_codes_without_a_fingerprint_all_count() -> None:
    house = court()
    for _ in range(3):
        assert house.reason(code(WRONG, fingerprint=0)) == Finding.WRONG
    assert house.customers["taro"].failures == 3


# Wrong codes: counted, slowed down, locked.


def test_a_wrong_code_counts_and_is_refused() -> None:
    house = court()
    assert house.verdict(code(WRONG, fingerprint=9)) == Reject(Finding.WRONG, Language.JA)
    taro = house.customers["taro"]
    assert (taro.failures, taro.failed_at, taro.failed_mark, taro.locked_at) == (1, NOON, 9, None)
    assert house.spent == []


def test_wrong_codes_in_one_batch_all_count() -> None:
    house = court()
    house.hear(code(WRONG), both(WRONG), second(house.ask(), WRONG))
    assert house.customers["taro"].failures == 3


def test_a_right_code_forgives_the_wrong_ones() -> None:
    house = court()
    house.hear(code(WRONG), code(WRONG))
    assert house.verdict(code(code_of())) == Accept()
    taro = house.customers["taro"]
    assert (taro.failures, taro.failed_at, taro.failed_mark) == (0, 0, 0)


def test_wrong_codes_before_and_after_a_right_one_in_one_batch() -> None:
    house = court()
    house.hear(code(WRONG), code(code_of()), code(WRONG), code(WRONG))
    assert house.customers["taro"].failures == 2
    house.hear(code(WRONG), code(code_of(away=1)))
    assert house.customers["taro"].failures == 0


@pytest.mark.parametrize("lock_after", [1, 3, 10])
def test_so_many_wrong_codes_lock_and_not_one_fewer(lock_after: int) -> None:
    house = court(lock_after=lock_after)
    for _ in range(lock_after - 1):
        house.verdict(code(WRONG))
    assert house.customers["taro"].locked_at is None
    assert house.reason(code(WRONG)) == Finding.WRONG
    assert house.customers["taro"].locked_at == NOON
    assert house.reason(code(code_of())) == Finding.LOCKED
    assert house.spent == []
    (row,) = [row for row in house.audit if row.event == Event.CUSTOMER_LOCKED]
    assert (row.customer, row.reason) == ("taro", f"{lock_after} wrong codes in a row")


def test_wrong_codes_are_counted_across_clients_and_modes() -> None:
    house = court(lock_after=3)
    house.verdict(code(WRONG, client="one"))
    house.verdict(both(WRONG, client="other"))
    house.verdict(second(house.ask(), WRONG))
    assert house.customers["taro"].locked_at == NOON


def test_nobody_locks_a_customer_without_the_password() -> None:
    house = court(lock_after=1)
    for _ in range(20):
        assert house.reason(both(WRONG, first=WRONG_PASSWORD)) == Finding.WRONG_PASSWORD
        assert house.reason(first(first=WRONG_PASSWORD)) == Finding.WRONG_PASSWORD
        assert house.reason(second(b"made up", WRONG)) == Finding.CHALLENGE_GONE
    assert house.customers["taro"] == replace(court().customers["taro"], seed=house.customers["taro"].seed)


def test_a_lock_refuses_everything_at_every_stage() -> None:
    house = court()
    state = house.ask()
    house.change(locked_at=NOON - 1)
    for case in (code(code_of()), both(code_of()), first(), second(state, code_of()), password()):
        assert house.reason(case) == Finding.LOCKED
    assert house.spent == []


def test_a_lock_also_refuses_who_has_no_token() -> None:
    house = Court()
    house.customer(token=None)
    house.change(locked_at=NOON)
    assert house.reason(first()) == Finding.LOCKED


def test_after_wrong_codes_the_next_one_must_wait_and_waiting_does_not_count() -> None:
    house = court(code_delays=Delays(free=2, first=4.0, longest=8.0))
    house.hear(code(WRONG), code(WRONG), code(WRONG))
    house.now += 3_999
    assert house.reason(code(code_of())) == Finding.TOO_SOON
    assert house.reason(code(WRONG)) == Finding.TOO_SOON
    assert house.customers["taro"].failures == 3
    house.now += 1
    assert house.verdict(code(code_of())) == Accept(), "a wait refused meanwhile does not prolong it"


def test_wrong_codes_of_one_batch_slow_down_the_rest_of_it() -> None:
    house = court(code_delays=Delays(free=1, first=4.0, longest=8.0))
    verdicts = house.hear(code(WRONG), code(WRONG), code(code_of()))
    assert verdicts[2] == Reject(Finding.TOO_SOON, Language.JA)


# What is not an attempt.


@pytest.mark.parametrize("typed", ["", "   ", "12345", "1234567", "12345a", "himitsu", "٣٣٣٣٣٣"])
def test_what_is_no_code_is_refused_and_not_counted(typed: str) -> None:
    house = court()
    assert house.reason(code(typed)) == Finding.NOT_A_CODE
    assert house.reason(both(typed)) == Finding.NOT_A_CODE
    verdict = house.verdict(second(house.ask(), typed))
    assert isinstance(verdict, Challenge) and verdict.again
    assert house.customers["taro"].failures == 0


def test_the_password_again_is_no_attempt_even_if_it_looks_like_a_code() -> None:
    """Some PAM clients repeat one answer."""
    house = court()
    state = house.ask(mark=1234)
    verdict = house.verdict(second(state, WRONG, mark=1234))
    assert isinstance(verdict, Challenge) and verdict.again
    assert house.customers["taro"].failures == 0
    assert house.verdict(second(verdict.state, code_of(), mark=99)) == Accept()


def test_the_password_is_known_again_in_every_round_of_the_challenge() -> None:
    house = court()
    state = house.ask(mark=1234)
    for _ in range(2):
        verdict = house.verdict(second(state, WRONG, mark=1234))
        assert isinstance(verdict, Challenge)
        state = verdict.state
    assert house.reason(second(state, WRONG, mark=1234)) == Finding.NOT_A_CODE
    assert house.customers["taro"].failures == 0


def test_a_password_that_does_not_look_like_a_code_is_not_compared() -> None:
    house = court()
    state = house.ask(mark=None)
    house.verdict(second(state, WRONG, mark=1234))
    assert house.customers["taro"].failures == 1


def test_a_wrong_code_that_is_given_again_is_not_taken_for_the_password() -> None:
    house = court()
    verdict = house.verdict(second(house.ask(mark=None), WRONG, mark=1234))
    assert isinstance(verdict, Challenge)
    assert isinstance(house.verdict(second(verdict.state, WRONG, mark=1234)), Challenge)
    assert house.customers["taro"].failures == 2


# The challenge.


def test_the_right_password_leads_to_a_challenge_for_whom_it_is() -> None:
    house = court()
    verdict = house.verdict(first(mark=1234))
    assert verdict == Challenge((1).to_bytes(16, "big"), Language.JA, again=False)
    assert list(house.challenges.values()) == [
        OpenChallenge(
            state=(1).to_bytes(16, "big"),
            customer_key=house.customers["taro"].customer_key,
            client="gateway",
            expires_at=NOON + 120_000,
            tries_left=3,
            password_mark=1234,
        )
    ]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_challenge_has_so_many_tries(tries: int) -> None:
    house = court(challenge_tries=tries)
    state = house.ask()
    for _ in range(tries - 1):
        verdict = house.verdict(second(state, WRONG))
        assert isinstance(verdict, Challenge) and verdict.again and verdict.state != state
        state = verdict.state
    assert house.reason(second(state, WRONG)) == Finding.WRONG
    assert house.challenges == {}
    assert house.customers["taro"].failures == tries


def test_the_last_try_may_be_the_right_one() -> None:
    house = court(challenge_tries=2)
    verdict = house.verdict(second(house.ask(), WRONG))
    assert isinstance(verdict, Challenge)
    assert house.verdict(second(verdict.state, code_of())) == Accept()


def test_the_wrong_code_that_locks_ends_the_challenge() -> None:
    house = court(lock_after=2, challenge_tries=3)
    verdict = house.verdict(second(house.ask(), WRONG))
    assert isinstance(verdict, Challenge)
    assert house.reason(second(verdict.state, WRONG)) == Finding.WRONG
    assert house.challenges == {}
    assert house.events()[-2:] == [Event.CUSTOMER_LOCKED, Event.LOGIN_REJECTED]


@pytest.mark.parametrize("answer", [code_of(), code_of(away=1), WRONG, "", "no code"])
def test_a_state_is_good_for_one_answer_whatever_it_is(answer: str) -> None:
    house = court()
    state = house.ask()
    house.verdict(second(state, answer))
    assert house.reason(second(state, code_of(away=1))) == Finding.CHALLENGE_GONE


def test_a_reused_code_is_asked_for_again_and_not_counted() -> None:
    house = court()
    house.verdict(code(code_of()))
    verdict = house.verdict(second(house.ask(), code_of()))
    assert isinstance(verdict, Challenge) and verdict.again
    assert house.verdict(second(verdict.state, code_of(away=1))) == Accept()
    assert house.customers["taro"].failures == 0


def test_an_answer_too_soon_is_asked_for_again_and_not_counted() -> None:
    house = court(code_delays=Delays(free=0, first=4.0))
    verdict = house.verdict(second(house.ask(), WRONG))
    assert isinstance(verdict, Challenge)
    verdict = house.verdict(second(verdict.state, code_of()))
    assert isinstance(verdict, Challenge) and verdict.again
    assert house.customers["taro"].failures == 1


@pytest.mark.parametrize("state", [b"", b"\0" * 16, b"forged", b"x" * 300])
def test_a_forged_state_is_refused(state: bytes) -> None:
    house = court()
    house.ask()
    assert house.reason(second(state, code_of())) == Finding.CHALLENGE_GONE
    assert house.spent == []


def test_a_truncated_state_is_refused() -> None:
    house = court()
    assert house.reason(second(house.ask()[:-1], code_of())) == Finding.CHALLENGE_GONE


def test_an_expired_state_is_refused_and_forgotten() -> None:
    house = court(challenge_seconds=120)
    one, other = house.ask(), house.ask()
    house.now += 119_999
    assert house.verdict(second(one, code_of(now=house.now))) == Accept()
    house.now += 1
    assert house.reason(second(other, code_of(away=1, now=house.now))) == Finding.CHALLENGE_GONE
    assert house.challenges == {}


def test_somebody_elses_state_is_refused_and_stays_theirs() -> None:
    house = court()
    house.customer("jiro", 2)
    state = house.ask("taro")
    assert house.reason(second(state, code_of("VSMT00000002"), "jiro")) == Finding.CHALLENGE_GONE
    assert house.verdict(second(state, code_of(), "taro")) == Accept()


def test_a_state_given_to_another_client_is_refused_and_stays_the_firsts() -> None:
    house = court()
    state = house.ask()
    assert house.reason(second(state, code_of(), client="another")) == Finding.CHALLENGE_GONE
    assert house.verdict(second(state, code_of(), client="gateway")) == Accept()


def test_two_challenges_of_one_customer_may_be_open_at_once() -> None:
    house = court()
    one, other = house.ask(), house.ask()
    assert house.verdict(second(other, code_of())) == Accept()
    assert house.verdict(second(one, code_of(away=1))) == Accept()


def test_who_was_suspended_between_the_rounds_begins_anew() -> None:
    house = court()
    state = house.ask()
    house.change(otp_use=OtpUse.SUSPENDED)
    assert house.reason(second(state, code_of())) == Finding.WITHOUT_TOKEN
    assert house.verdict(first()) == Accept()


# Before the code.


@pytest.mark.parametrize(
    "case", [code("123456", "nobody"), both("123456", "nobody"), first("nobody"), password("nobody")]
)
def test_an_unknown_customer_is_refused(case: Case) -> None:
    assert court().reason(case) == Finding.UNKNOWN_CUSTOMER


def test_an_unknown_customer_with_somebodys_state_is_refused_and_the_state_stays_good() -> None:
    house = court()
    state = house.ask()
    assert house.reason(second(state, code_of(), "nobody")) == Finding.UNKNOWN_CUSTOMER
    assert house.verdict(second(state, code_of())) == Accept()


@pytest.mark.parametrize("reason", [Finding.WRONG_PASSWORD, Finding.UNKNOWN_CUSTOMER, Finding.TOO_SOON])
def test_what_the_first_factor_found_decides_before_the_code(reason: Finding) -> None:
    house = court()
    found = FirstFinding(right=False, reason=reason)
    assert house.reason(both(code_of(), first=found)) == reason
    assert house.reason(first(first=found)) == reason
    assert house.reason(password(first=found)) == reason
    assert house.spent == [] and house.challenges == {}


def test_a_missing_code_is_refused_where_it_should_stand_behind_the_password() -> None:
    """Somebody enrolled while their password was being checked."""
    house = court()
    case = both("")
    case.code = None
    assert house.reason(case) == Finding.CODE_DUE


@pytest.mark.parametrize("use", list(OtpUse))
def test_nothing_checked_is_nothing_proved(use: OtpUse) -> None:
    """No password is held here, where one is asked for: a right code alone is no login either."""
    house = court()
    house.change(otp_use=use)
    for case in (password(first=NOT_HELD), first(first=NOT_HELD), both(code_of(), first=NOT_HELD)):
        assert house.reason(case) == Finding.NOTHING_CHECKED
    assert house.spent == [] and house.challenges == {}
    assert house.counts == 0


def test_the_code_is_enough_where_no_password_is_held_and_the_policy_says_so() -> None:
    enough = Policy(Mode.APPEND, code_is_enough=True)
    house = court()
    state = house.ask(first=NOT_HELD, policy=enough)
    assert house.verdict(second(state, code_of(away=-1))) == Accept()
    case = Case(attempt("taro", enough), Stage.BOTH, NOT_HELD, WRONG)
    assert house.reason(case) == Finding.WRONG
    assert house.customers["taro"].failures == 1
    assert house.verdict(Case(attempt("taro", enough), Stage.BOTH, NOT_HELD, code_of())) == Accept()


@pytest.mark.parametrize("use", [use for use in OtpUse if use is not OtpUse.ACTIVE])
def test_the_code_is_never_enough_where_none_is_asked_for(use: OtpUse) -> None:
    enough = Policy(Mode.APPEND, password_only=frozenset(OtpUse), code_is_enough=True)
    house = court()
    assert house.reason(Case(attempt("taro", enough), Stage.PASSWORD, NOT_HELD)) == Finding.NOTHING_CHECKED
    house.change(otp_use=use)
    for stage in (Stage.PASSWORD, Stage.FIRST_ROUND, Stage.BOTH):
        case = Case(attempt("taro", enough), stage, NOT_HELD, code_of())
        assert house.reason(case) == Finding.NOTHING_CHECKED


def test_a_wrong_password_stays_wrong_where_the_code_is_enough() -> None:
    house, enough = court(), Policy(Mode.APPEND, code_is_enough=True)
    case = Case(attempt("taro", enough), Stage.BOTH, WRONG_PASSWORD, code_of())
    assert house.reason(case) == Finding.WRONG_PASSWORD


# Without an active token.

USES_WITHOUT = [use for use in OtpUse if use is not OtpUse.ACTIVE]


@pytest.mark.parametrize("use", USES_WITHOUT)
@pytest.mark.parametrize("stage", [Stage.CODE, Stage.BOTH, Stage.FIRST_ROUND, Stage.PASSWORD])
def test_a_policy_answers_every_use_as_it_says(use: OtpUse, stage: Stage) -> None:
    for enough in ([], [use], list(OtpUse), [other for other in OtpUse if other is not use]):
        house = Court()
        house.customer(token=None if use is OtpUse.NONE else 1)
        house.change(otp_use=use)
        policy = Policy(Mode.CODE, password_only=frozenset(enough))
        case = Case(attempt("taro", policy), stage, code="123456")
        if use in enough:
            assert house.verdict(case) == Accept()
        else:
            lost = use in (OtpUse.LOST, OtpUse.REISSUE_PERMITTED)
            assert house.reason(case) == (Finding.LOST if lost else Finding.TOKEN_NEEDED)


def test_by_default_never_enrolled_and_suspended_need_the_password_only_and_lost_is_refused() -> None:
    house = Court()
    for use in OtpUse:
        house.customer(use, token=None if use is OtpUse.NONE else 1)
        house.change(use, otp_use=use)
    verdicts = {use: house.verdict(first(use)) for use in OtpUse}
    assert [use for use, verdict in verdicts.items() if verdict == Accept()] == [OtpUse.NONE, OtpUse.SUSPENDED]
    assert [use for use, verdict in verdicts.items() if isinstance(verdict, Challenge)] == [OtpUse.ACTIVE]


@pytest.mark.parametrize("use", list(OtpUse))
def test_who_is_active_is_never_let_in_without_a_code_whatever_the_policy(use: OtpUse) -> None:
    house = court()
    policy = Policy(Mode.CHALLENGE, password_only=frozenset(OtpUse))
    assert isinstance(house.verdict(first(policy=policy)), Challenge)


@pytest.mark.parametrize("use", USES_WITHOUT)
def test_no_code_of_a_token_that_is_not_active_is_spent(use: OtpUse) -> None:
    house = court()
    house.change(otp_use=use)
    house.hear(code(code_of()), both(code_of()))
    assert house.spent == []


def test_an_active_customer_whose_token_is_not_bound_any_more_is_refused() -> None:
    """Somebody else's report of a shared token: the ledger no longer hands out a token that is lost."""
    house = court()
    house.change(token_key=None, token_id=None, seed=None, kind=None, algorithm=None, digits=None, period=None)
    for case in (code(code_of()), both(code_of()), first()):
        assert house.reason(case) == Finding.LOST


# What is said, and what is written down.


def test_a_customer_is_asked_in_their_language_before_the_clients() -> None:
    house = court()
    verdict = house.verdict(first())
    assert isinstance(verdict, Challenge) and verdict.language is Language.JA
    house.change(language="en")
    verdict = house.verdict(first())
    assert isinstance(verdict, Challenge) and verdict.language is Language.EN


def test_a_refusal_is_in_the_clients_language_so_that_it_does_not_tell_who_is_a_customer() -> None:
    house = court()
    house.change(language="ja")
    english = Policy(Mode.CODE, language=Language.EN)
    refusals = [house.verdict(code(WRONG, who, english)) for who in ("taro", "nobody")]
    assert refusals == [Reject(Finding.WRONG, Language.EN), Reject(Finding.UNKNOWN_CUSTOMER, Language.EN)]


def test_an_unknown_customer_is_spoken_to_in_the_clients_language() -> None:
    english = Policy(Mode.CODE, language=Language.EN)
    assert court().verdict(code(WRONG, "nobody", english)) == Reject(Finding.UNKNOWN_CUSTOMER, Language.EN)


def test_every_verdict_leaves_a_row_that_says_who_what_where_and_why() -> None:
    house = court()
    house.hear(code(code_of(), client="vpn", source="192.0.2.7"), code("123456", "nobody", station="198.51.100.9"))
    accepted, rejected = house.audit
    assert accepted[1:] == ("login.accepted", "vpn", "taro", "VSMT00000001", "192.0.2.7", "right code")
    assert rejected[1:] == ("login.rejected", "gateway", "nobody", None, "198.51.100.9", "unknown customer")
    assert accepted.id < rejected.id


def test_nothing_secret_is_written_down_or_shown() -> None:
    house = court()
    secret = attempt("taro", CODE, typed="hunter2", challenge=b"the state")
    case = Case(secret, Stage.CODE, code=code_of())
    verdicts = house.hear(case, first())
    shown = repr([case, verdicts, house.audit, secret])
    for word in ("hunter2", "the state", code_of(), repr(next(iter(house.challenges)))):
        assert word not in shown


# What no sequence of attempts may do.

Move = tuple[str, str, int | str, int, str, int]
moves: st.SearchStrategy[list[Move]] = st.lists(
    st.tuples(
        st.sampled_from(["code", "code", "both", "both, wrong password", "first", "second", "second", "old second"]),
        st.sampled_from(["taro", "jiro", "saburo", "jiro", "saburo", "nobody"]),
        st.sampled_from([0, 0, 0, 1, 1, -1, 2, -3, "wrong", "wrong", "nothing"]),  # which code
        st.integers(0, 3),  # the fingerprint
        st.sampled_from(["gateway", "gateway", "gateway", "another"]),
        st.sampled_from([0, 0, 0, 0, 0, 1_000, 30_000, 61_000]),  # milliseconds later
    ),
    min_size=2,
    max_size=30,
)


class Play:
    """A court in which taro has a token, and jiro and saburo share one."""

    def __init__(self) -> None:
        self.house = court(lock_after=4, challenge_tries=2, one_customer_per_token=False)
        self.house.customer("jiro", 2)
        self.house.customer("saburo", 2)
        self.states: list[bytes] = [b"never given out"]

    def case(self, kind: str, who: str, which: int | str, fingerprint: int, client: str) -> Case:
        token_id = "VSMT00000001" if who == "taro" else "VSMT00000002"
        typed = (
            {"wrong": WRONG, "nothing": ""}[which]
            if isinstance(which, str)
            else code_of(token_id, which, now=self.house.now)
        )
        # Like a door's: the same request has the same text, so its fingerprint is made of it.
        text = f"{fingerprint} {who} {kind} {typed} {client}"
        more: dict[str, Any] = {"client": client, "fingerprint": SEALER.mark(text.encode()) if fingerprint else 0}
        match kind:
            case "code":
                return code(typed, who, **more)
            case "both":
                return both(typed, who, **more)
            case "both, wrong password":
                return both(typed, who, first=WRONG_PASSWORD, **more)
            case "first":
                return first(who, **more)
            case "second":
                return second(self.states[-1], typed, who, **more)
            case _:
                return second(self.states[len(self.states) // 2], typed, who, **more)

    def hear(self, *cases: Case) -> list[Verdict]:
        verdicts = self.house.hear(*cases)
        self.states += [verdict.state for verdict in verdicts if isinstance(verdict, Challenge)]
        return verdicts


@settings(max_examples=300, deadline=None)
@given(moves)
def test_whatever_is_tried_the_rules_hold(moves: list[Move]) -> None:
    play = Play()
    house = play.house
    accepted_by_code: Counter[tuple[int, int]] = Counter()
    spent_by: dict[int, tuple[str, int]] = {}
    for kind, who, which, fingerprint, client, later in moves:
        house.now += later
        case = play.case(kind, who, which, fingerprint, client)
        before, rows, spent = dict(house.customers), len(house.audit), len(house.spent)
        (verdict,) = play.hear(case)
        mark = case.attempt.fingerprint

        new_rows = house.audit[rows:]
        assert [row.event for row in new_rows if row.event.startswith("login.")] == [
            {Accept: "login.accepted", Challenge: "login.challenged", Reject: "login.rejected"}[type(verdict)]
            if not (isinstance(verdict, Accept) and len(house.spent) == spent)
            else "login.repeated"
        ]
        assert all(row.customer == who for row in new_rows)

        if isinstance(verdict, Accept):
            assert kind in ("code", "both", "second", "old second")
            assert before[who].locked_at is None
            if len(house.spent) > spent:
                accepted_by_code[house.spent[-1]] += 1
                spent_by[mark] = (who, house.now)
            else:
                assert mark != 0
                by, at = spent_by[mark]
                assert by == who and at > house.now - 60_000

        for contract_id, standing in house.customers.items():
            was = before[contract_id]
            assert standing.last_step >= was.last_step
            if contract_id != who:
                assert standing.failures == was.failures
            elif len(house.spent) > spent:
                assert standing.failures == 0
            else:
                wrong = [row for row in new_rows if row.reason == Finding.WRONG]
                assert standing.failures == was.failures + len(wrong)
            assert (standing.locked_at is not None) == (standing.failures >= 4)

    assert all(count == 1 for count in accepted_by_code.values())
    assert [row.id for row in house.audit] == sorted({row.id for row in house.audit})


@settings(max_examples=300, deadline=None)
@given(moves)
def test_a_batch_is_ruled_like_its_cases_one_after_the_other(moves: list[Move]) -> None:
    alone, together = Play(), Play()
    for batch in batches(moves):
        alone.house.now += batch[0][5]
        together.house.now += batch[0][5]
        cases = [together.case(*move[:5]) for move in batch]
        assert together.hear(*cases) == [verdict for case in cases for verdict in alone.hear(case)]
        assert [row[1:] for row in together.house.audit] == [row[1:] for row in alone.house.audit]
        assert together.house.challenges == alone.house.challenges
        for who, standing in together.house.customers.items():
            other = alone.house.customers[who]
            assert replace(standing, seed=b"") == replace(other, seed=b"")


def batches(moves: list[Move]) -> list[list[Move]]:
    """A new batch begins whenever time has passed."""
    found: list[list[Move]] = []
    for move in moves:
        if move[5] or not found:
            found.append([])
        found[-1].append(move)
    return found
