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
from otp_core.login.evaluate import Evaluator
from otp_core.login.policy import Delays, Rules
from otp_core.login.requests import GATEWAY_CHECKED, LOCAL_VERIFIER, Decision, Facts, FirstFinding, LoginRequest
from otp_core.login.table import FINDING_TEXT, Finding, Stage
from otp_core.model import (
    NEVER,
    Accept,
    Algorithm,
    Attempt,
    Challenge,
    Kind,
    Language,
    LoginRecord,
    Mode,
    OpenChallenge,
    OtpUse,
    Policy,
    Reject,
    TokenSpec,
    Verdict,
    attributes_text,
)
from otp_core.otp import code_at, step_at
from otp_core.sealing import Sealer
from tests.core.batches import verdicts_of
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
class Harness:
    """An evaluator with a store of plain values, which keeps what a decision says just as the real one does."""

    rules: Rules = field(default_factory=lambda: Rules(code_delays=NO_DELAYS))
    now: int = NOON
    customers: dict[str, LoginRecord] = field(default_factory=dict)
    challenges: dict[bytes, OpenChallenge] = field(default_factory=dict)
    audit: list[AuditRow] = field(default_factory=list)
    spent: list[tuple[int, int]] = field(default_factory=list)
    counts: int = 0

    def __post_init__(self) -> None:
        self._states = itertools.count(1)
        self.evaluator = Evaluator(self.rules, SEALER.unseal, lambda: next(self._states).to_bytes(16, "big"))
        self._ids = Ids(HandClock(NOON / 1000), 0)

    def customer(self, contract_id: str = "taro", token: int | None = 1, spec: TokenSpec = TOTP) -> LoginRecord:
        """Somebody who logs in; with a token they are active."""
        token_id = None if token is None else f"VSMT{token:08d}"
        self.customers[contract_id] = LoginRecord(
            contract_id=contract_id,
            customer_key=100 + len(self.customers),
            otp_use=OtpUse.NONE if token is None else OtpUse.ACTIVE,
            locked_at=None,
            failures=0,
            failed_at=0,
            failed_fingerprint=0,
            language=None,
            attributes=None,
            token_key=token,
            token_id=token_id,
            seed=None if token_id is None else SEALER.seal(seed_of(token_id), token_id),
            verifier=None if token is None else LOCAL_VERIFIER,
            kind=None if token is None else spec.kind,
            algorithm=None if token is None else spec.algorithm,
            digits=None if token is None else spec.digits,
            period=None if token is None else spec.period,
            last_step=NEVER,
            drift=0,
            last_fingerprint=0,
            last_at=0,
        )
        return self.customers[contract_id]

    def change(self, contract_id: str = "taro", **values: Any) -> None:
        self.customers[contract_id] = replace(self.customers[contract_id], **values)

    def run_batch(self, *requests: LoginRequest) -> list[Verdict]:
        """One batch: load, judge, apply."""
        customers = {request.attempt.customer for request in requests} & set(self.customers)
        states = {request.attempt.challenge or b"" for request in requests} & set(self.challenges)
        facts = Facts(
            {one: replace(self.customers[one]) for one in customers}, {one: self.challenges[one] for one in states}
        )
        decision = self.evaluator.evaluate(requests, facts, self.now, self._ids)
        self._apply(decision)
        assert len(decision.verdicts) == len(requests)
        return verdicts_of(decision)

    def verdict(self, request: LoginRequest) -> Verdict:
        (verdict,) = self.run_batch(request)
        return verdict

    def reason(self, request: LoginRequest) -> str:
        """Why this case is rejected."""
        verdict = self.verdict(request)
        assert isinstance(verdict, Reject), verdict
        return verdict.reason

    def ask(self, contract_id: str = "taro", **more: Any) -> bytes:
        """A first round; the State it leads to."""
        verdict = self.verdict(first(contract_id, **more))
        assert isinstance(verdict, Challenge), verdict
        return verdict.state

    def events(self) -> list[str]:
        return [row.event for row in self.audit]

    def _apply(self, decision: Decision) -> None:
        for state in decision.challenges_consumed:
            del self.challenges[state]
        for step, drift, fingerprint, at, token_key, before in decision.step_updates:
            holders = [one for one in self.customers.values() if one.token_key == token_key]
            assert holders and all(one.last_step == before < step for one in holders), "the store would refuse this"
            self.spent.append((token_key, step))
            for one in holders:
                self.change(one.contract_id, last_step=step, drift=drift, last_fingerprint=fingerprint, last_at=at)
        self.counts += len(decision.failure_updates)
        for failures, at, fingerprint, locked_at, key, *read in decision.failure_updates.values():
            (who,) = [one.contract_id for one in self.customers.values() if one.customer_key == key]
            assert [self.customers[who].failures, self.customers[who].failed_at] == read
            self.change(who, failures=failures, failed_at=at, failed_fingerprint=fingerprint, locked_at=locked_at)
        for challenge in decision.challenges_created:
            assert challenge.state not in self.challenges
            self.challenges[challenge.state] = challenge
        self.audit += decision.audit


def attempt(customer: str, policy: Policy, **more: Any) -> Attempt:
    values = {"user_password": "(read by the authenticator)", "client": "gateway", "source": "192.0.2.1", **more}
    return Attempt(customer=customer, policy=policy, **values)


def code(user_password: str, customer: str = "taro", policy: Policy = CODE, **more: Any) -> LoginRequest:
    return LoginRequest(attempt(customer, policy, **more), Stage.CODE, code=user_password)


def both(
    user_password: str, customer: str = "taro", first: FirstFinding = GATEWAY_CHECKED, **more: Any
) -> LoginRequest:
    return LoginRequest(attempt(customer, APPEND, **more), Stage.BOTH, first, user_password)


def first(
    customer: str = "taro",
    first: FirstFinding = GATEWAY_CHECKED,
    policy: Policy = CHALLENGE,
    text_fingerprint: int | None = None,
    **more: Any,
) -> LoginRequest:
    return LoginRequest(attempt(customer, policy, **more), Stage.FIRST_ROUND, first, text_fingerprint=text_fingerprint)


def second(
    state: bytes, user_password: str, customer: str = "taro", text_fingerprint: int | None = None, **more: Any
) -> LoginRequest:
    return LoginRequest(
        attempt(customer, CHALLENGE, challenge=state, **more),
        Stage.SECOND_ROUND,
        code=user_password,
        text_fingerprint=text_fingerprint,
    )


def password(customer: str = "taro", first: FirstFinding = GATEWAY_CHECKED, **more: Any) -> LoginRequest:
    return LoginRequest(attempt(customer, Policy(Mode.PASSWORD), **more), Stage.PASSWORD, first)


def make_harness(**rules: Any) -> Harness:
    """A court with one active customer, taro."""
    made = Harness(Rules(**{"code_delays": NO_DELAYS, **rules}))
    made.customer()
    return made


# Letting in.


def test_a_right_code_is_accepted_and_spent() -> None:
    harness = make_harness()
    assert harness.verdict(code(code_of(), fingerprint=77)) == Accept()
    taro = harness.customers["taro"]
    assert (taro.last_step, taro.last_fingerprint, taro.last_at, taro.drift) == (STEP, 77, NOON, 0)
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
    assert (taro.last_step, taro.drift) == (5, 0)
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
    assert harness.customers["taro"].drift == 1
    harness.now += 60_000
    assert harness.verdict(code(code_of(away=2, now=harness.now))) == Accept(), "one further than the window was before"
    assert harness.customers["taro"].drift == 2


def test_drift_is_not_learnt_from_a_refused_code() -> None:
    harness = make_harness()
    harness.verdict(code(code_of(away=2)))
    assert harness.customers["taro"].drift == 0


def test_drift_ends_at_its_bound() -> None:
    harness = make_harness(max_drift=1)
    harness.change(drift=1)
    assert harness.verdict(code(code_of(away=2))) == Accept()
    assert harness.customers["taro"].drift == 1


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


# The same request once more.


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
    assert harness.customers["taro"].last_fingerprint == 70
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
    assert harness.customers["taro"] == replace(make_harness().customers["taro"], seed=harness.customers["taro"].seed)


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


# The challenge.


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


# Before the code.


@pytest.mark.parametrize(
    "asked", [code("123456", "nobody"), both("123456", "nobody"), first("nobody"), password("nobody")]
)
def test_an_unknown_customer_is_refused(asked: LoginRequest) -> None:
    assert make_harness().reason(asked) == Finding.UNKNOWN_CUSTOMER


def test_an_unknown_customer_with_somebodys_state_is_refused_and_the_state_stays_good() -> None:
    harness = make_harness()
    state = harness.ask()
    assert harness.reason(second(state, code_of(), "nobody")) == Finding.UNKNOWN_CUSTOMER
    assert harness.verdict(second(state, code_of())) == Accept()


@pytest.mark.parametrize("reason", [Finding.WRONG_PASSWORD, Finding.UNKNOWN_CUSTOMER, Finding.TOO_SOON])
def test_what_the_first_factor_found_decides_before_the_code(reason: Finding) -> None:
    harness = make_harness()
    found = FirstFinding(right=False, reason=reason)
    assert harness.reason(both(code_of(), first=found)) == reason
    assert harness.reason(first(first=found)) == reason
    assert harness.reason(password(first=found)) == reason
    assert harness.spent == [] and harness.challenges == {}


def test_a_missing_code_is_refused_where_it_should_stand_behind_the_password() -> None:
    """Somebody enrolled while their password was being checked."""
    harness = make_harness()
    request = both("")
    request.code = None
    assert harness.reason(request) == Finding.CODE_DUE


@pytest.mark.parametrize("use", list(OtpUse))
def test_nothing_checked_is_nothing_proved(use: OtpUse) -> None:
    """No password is held here, where one is asked for: a right code alone is no login either."""
    harness = make_harness()
    harness.change(otp_use=use)
    for request in (password(first=NOT_HELD), first(first=NOT_HELD), both(code_of(), first=NOT_HELD)):
        assert harness.reason(request) == Finding.NOTHING_CHECKED
    assert harness.spent == [] and harness.challenges == {}
    assert harness.counts == 0


def test_the_code_is_enough_where_no_password_is_held_and_the_policy_says_so() -> None:
    enough = Policy(Mode.APPEND, code_is_enough=True)
    harness = make_harness()
    state = harness.ask(first=NOT_HELD, policy=enough)
    assert harness.verdict(second(state, code_of(away=-1))) == Accept()
    request = LoginRequest(attempt("taro", enough), Stage.BOTH, NOT_HELD, WRONG)
    assert harness.reason(request) == Finding.WRONG
    assert harness.customers["taro"].failures == 1
    assert harness.verdict(LoginRequest(attempt("taro", enough), Stage.BOTH, NOT_HELD, code_of())) == Accept()


@pytest.mark.parametrize("use", [use for use in OtpUse if use is not OtpUse.ACTIVE])
def test_the_code_is_never_enough_where_none_is_asked_for(use: OtpUse) -> None:
    enough = Policy(Mode.APPEND, password_only=frozenset(OtpUse), code_is_enough=True)
    harness = make_harness()
    assert harness.reason(LoginRequest(attempt("taro", enough), Stage.PASSWORD, NOT_HELD)) == Finding.NOTHING_CHECKED
    harness.change(otp_use=use)
    for stage in (Stage.PASSWORD, Stage.FIRST_ROUND, Stage.BOTH):
        request = LoginRequest(attempt("taro", enough), stage, NOT_HELD, code_of())
        assert harness.reason(request) == Finding.NOTHING_CHECKED


def test_a_wrong_password_stays_wrong_where_the_code_is_enough() -> None:
    harness, enough = make_harness(), Policy(Mode.APPEND, code_is_enough=True)
    request = LoginRequest(attempt("taro", enough), Stage.BOTH, WRONG_PASSWORD, code_of())
    assert harness.reason(request) == Finding.WRONG_PASSWORD


# Without an active token.

USES_WITHOUT = [use for use in OtpUse if use is not OtpUse.ACTIVE]


@pytest.mark.parametrize("use", USES_WITHOUT)
@pytest.mark.parametrize("stage", [Stage.CODE, Stage.BOTH, Stage.FIRST_ROUND, Stage.PASSWORD])
def test_a_policy_answers_every_use_as_it_says(use: OtpUse, stage: Stage) -> None:
    for enough in ([], [use], list(OtpUse), [other for other in OtpUse if other is not use]):
        harness = Harness()
        harness.customer(token=None if use is OtpUse.NONE else 1)
        harness.change(otp_use=use)
        policy = Policy(Mode.CODE, password_only=frozenset(enough))
        request = LoginRequest(attempt("taro", policy), stage, code="123456")
        if use in enough:
            assert harness.verdict(request) == Accept()
        else:
            lost = use in (OtpUse.LOST, OtpUse.REISSUE_PERMITTED)
            assert harness.reason(request) == (Finding.LOST if lost else Finding.TOKEN_NEEDED)


def test_by_default_never_enrolled_and_suspended_need_the_password_only_and_lost_is_refused() -> None:
    harness = Harness()
    for use in OtpUse:
        harness.customer(use, token=None if use is OtpUse.NONE else 1)
        harness.change(use, otp_use=use)
    verdicts = {use: harness.verdict(first(use)) for use in OtpUse}
    assert [use for use, verdict in verdicts.items() if verdict == Accept()] == [OtpUse.NONE, OtpUse.SUSPENDED]
    assert [use for use, verdict in verdicts.items() if isinstance(verdict, Challenge)] == [OtpUse.ACTIVE]


@pytest.mark.parametrize("use", list(OtpUse))
def test_who_is_active_is_never_let_in_without_a_code_whatever_the_policy(use: OtpUse) -> None:
    harness = make_harness()
    policy = Policy(Mode.CHALLENGE, password_only=frozenset(OtpUse))
    assert isinstance(harness.verdict(first(policy=policy)), Challenge)


@pytest.mark.parametrize("use", USES_WITHOUT)
def test_no_code_of_a_token_that_is_not_active_is_spent(use: OtpUse) -> None:
    harness = make_harness()
    harness.change(otp_use=use)
    harness.run_batch(code(code_of()), both(code_of()))
    assert harness.spent == []


def test_an_active_customer_whose_token_is_not_bound_any_more_is_refused() -> None:
    """Somebody else's report of a shared token: the login batch no longer hands out a token that is lost."""
    harness = make_harness()
    harness.change(token_key=None, token_id=None, seed=None, kind=None, algorithm=None, digits=None, period=None)
    for request in (code(code_of()), both(code_of()), first()):
        assert harness.reason(request) == Finding.LOST


# What is said, and what is written down.


def test_a_customer_is_asked_in_their_language_before_the_clients() -> None:
    harness = make_harness()
    verdict = harness.verdict(first())
    assert isinstance(verdict, Challenge) and verdict.language is Language.JA
    harness.change(language="en")
    verdict = harness.verdict(first())
    assert isinstance(verdict, Challenge) and verdict.language is Language.EN


def test_a_refusal_is_in_the_clients_language_so_that_it_does_not_tell_who_is_a_customer() -> None:
    harness = make_harness()
    harness.change(language="ja")
    english = Policy(Mode.CODE, language=Language.EN)
    refusals = [harness.verdict(code(WRONG, who, english)) for who in ("taro", "nobody")]
    assert refusals == [Reject(Finding.WRONG, Language.EN), Reject(Finding.UNKNOWN_CUSTOMER, Language.EN)]


def test_an_unknown_customer_is_spoken_to_in_the_clients_language() -> None:
    english = Policy(Mode.CODE, language=Language.EN)
    assert make_harness().verdict(code(WRONG, "nobody", english)) == Reject(Finding.UNKNOWN_CUSTOMER, Language.EN)


def test_every_verdict_leaves_a_row_that_says_who_what_where_and_why() -> None:
    harness = make_harness()
    harness.run_batch(
        code(code_of(), client="vpn", source="192.0.2.7"), code("123456", "nobody", calling_station_id="198.51.100.9")
    )
    accepted, rejected = harness.audit
    assert accepted[1:] == ("login.accepted", "vpn", "taro", "VSMT00000001", "192.0.2.7", "right code")
    assert rejected[1:] == ("login.rejected", "gateway", "nobody", None, "198.51.100.9", "unknown customer")
    assert accepted.id < rejected.id


def test_nothing_secret_is_written_down_or_shown() -> None:
    harness = make_harness()
    secret = attempt("taro", CODE, user_password="hunter2", challenge=b"the state")
    request = LoginRequest(secret, Stage.CODE, code=code_of())
    verdicts = harness.run_batch(request, first())
    shown = repr([request, verdicts, harness.audit, secret])
    for word in ("hunter2", "the state", code_of(), repr(next(iter(harness.challenges)))):
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
        self.harness = make_harness(lock_after=4, challenge_tries=2, one_customer_per_token=False)
        self.harness.customer("jiro", 2)
        self.harness.customer("saburo", 2)
        self.states: list[bytes] = [b"never given out"]

    def request(self, kind: str, who: str, which: int | str, fingerprint: int, client: str) -> LoginRequest:
        token_id = "VSMT00000001" if who == "taro" else "VSMT00000002"
        user_password = (
            {"wrong": WRONG, "nothing": ""}[which]
            if isinstance(which, str)
            else code_of(token_id, which, now=self.harness.now)
        )
        # Like a door's: the same request has the same text, so its fingerprint is made of it.
        text = f"{fingerprint} {who} {kind} {user_password} {client}"
        more: dict[str, Any] = {
            "client": client,
            "fingerprint": SEALER.fingerprint(text.encode()) if fingerprint else 0,
        }
        match kind:
            case "code":
                return code(user_password, who, **more)
            case "both":
                return both(user_password, who, **more)
            case "both, wrong password":
                return both(user_password, who, first=WRONG_PASSWORD, **more)
            case "first":
                return first(who, **more)
            case "second":
                return second(self.states[-1], user_password, who, **more)
            case _:
                return second(self.states[len(self.states) // 2], user_password, who, **more)

    def run_batch(self, *requests: LoginRequest) -> list[Verdict]:
        verdicts = self.harness.run_batch(*requests)
        self.states += [verdict.state for verdict in verdicts if isinstance(verdict, Challenge)]
        return verdicts


@settings(max_examples=300, deadline=None)
@given(moves)
def test_whatever_is_tried_the_rules_hold(moves: list[Move]) -> None:
    play = Play()
    harness = play.harness
    accepted_by_code: Counter[tuple[int, int]] = Counter()
    spent_by: dict[int, tuple[str, int]] = {}
    for kind, who, which, fingerprint, client, later in moves:
        harness.now += later
        request = play.request(kind, who, which, fingerprint, client)
        before, rows, spent = dict(harness.customers), len(harness.audit), len(harness.spent)
        (verdict,) = play.run_batch(request)
        fingerprint = request.attempt.fingerprint

        new_rows = harness.audit[rows:]
        assert [row.event for row in new_rows if row.event.startswith("login.")] == [
            {Accept: "login.accepted", Challenge: "login.challenged", Reject: "login.rejected"}[type(verdict)]
            if not (isinstance(verdict, Accept) and len(harness.spent) == spent)
            else "login.repeated"
        ]
        assert all(row.customer == who for row in new_rows)

        if isinstance(verdict, Accept):
            assert kind in ("code", "both", "second", "old second")
            assert before[who].locked_at is None
            if len(harness.spent) > spent:
                accepted_by_code[harness.spent[-1]] += 1
                spent_by[fingerprint] = (who, harness.now)
            else:
                assert fingerprint != 0
                by, at = spent_by[fingerprint]
                assert by == who and at > harness.now - 60_000

        for contract_id, record in harness.customers.items():
            was = before[contract_id]
            assert record.last_step >= was.last_step
            if contract_id != who:
                assert record.failures == was.failures
            elif len(harness.spent) > spent:
                assert record.failures == 0
            else:
                wrong = [row for row in new_rows if row.reason == FINDING_TEXT[Finding.WRONG]]
                assert record.failures == was.failures + len(wrong)
            assert (record.locked_at is not None) == (record.failures >= 4)

    assert all(count == 1 for count in accepted_by_code.values())
    assert [row.id for row in harness.audit] == sorted({row.id for row in harness.audit})


@settings(max_examples=300, deadline=None)
@given(moves)
def test_a_batch_is_decided_like_its_requests_one_after_the_other(moves: list[Move]) -> None:
    alone, together = Play(), Play()
    for batch in batches(moves):
        alone.harness.now += batch[0][5]
        together.harness.now += batch[0][5]
        requests = [together.request(*move[:5]) for move in batch]
        assert together.run_batch(*requests) == [
            verdict for request in requests for verdict in alone.run_batch(request)
        ]
        assert [row[1:] for row in together.harness.audit] == [row[1:] for row in alone.harness.audit]
        assert together.harness.challenges == alone.harness.challenges
        for who, record in together.harness.customers.items():
            other = alone.harness.customers[who]
            assert replace(record, seed=b"") == replace(other, seed=b"")


def batches(moves: list[Move]) -> list[list[Move]]:
    """A new batch begins whenever time has passed."""
    found: list[list[Move]] = []
    for move in moves:
        if move[5] or not found:
            found.append([])
        found[-1].append(move)
    return found
