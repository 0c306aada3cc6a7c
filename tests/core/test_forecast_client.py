"""A forecast for another policy of a client says what the evaluator then does with the same logins, typed as the other
mode asks for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.audit import id_at
from otp_core.forecast.asking import Asking, ClientChange, Person
from otp_core.forecast.outcome import Change, Forecast, Note
from otp_core.forecast.past import Happened
from otp_core.login.policy import Rules
from otp_core.login.requests import GATEWAY_CHECKED, FirstFinding, LoginRequest
from otp_core.login.table import Stage
from otp_core.model import Accept, Challenge, Mode, OtpUse, Policy, Verdict
from otp_core.store.client_use import PERIOD_MS
from tests.core.bank import NO_DELAYS
from tests.core.evaluator_harness import NOON, NOT_HELD, WRONG, WRONG_PASSWORD, Harness, attempt, code_of
from tests.examples import examples

RULES = Rules(lock_after=100, code_delays=NO_DELAYS)
WHO = {
    "active": OtpUse.ACTIVE,
    "none": OtpUse.NONE,
    "suspended": OtpUse.SUSPENDED,
    "lost": OtpUse.LOST,
    "locked": OtpUse.ACTIVE,
    "unheld": OtpUse.ACTIVE,
    "unheld, none": OtpUse.NONE,
}


class Attempted(NamedTuple):
    """``code``: "right", "wrong", or "" for nothing: the question is not answered."""

    who: str
    password: bool
    code: str


logins: st.SearchStrategy[list[Attempted]] = st.lists(
    st.builds(
        Attempted,
        st.sampled_from([*WHO, "active", "active", "nobody"]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from(["right", "right", "wrong"]),
    ),
    min_size=1,
    max_size=12,
)
uses = st.frozensets(st.sampled_from([one for one in OtpUse if one is not OtpUse.ACTIVE]))
policies = st.builds(Policy, st.sampled_from(list(Mode)), password_only=uses, code_is_enough=st.booleans())


class People:
    """Nobody changes."""

    def person(self, contract_id: str, row: int) -> Person | None:
        use = WHO.get(contract_id)
        return None if use is None else Person(use, not contract_id.startswith("unheld"))


class Bank:
    """The real evaluator, asked as the authenticator asks it."""

    def __init__(self) -> None:
        self.harness = Harness(RULES)
        for number, (who, use) in enumerate(WHO.items(), 1):
            self.harness.customer(who, number)
            if use is not OtpUse.ACTIVE:
                self.harness.change(who, otp_use=use)
            if use is OtpUse.NONE:
                self.harness.change(who, tokens=[])
            if who == "locked":
                self.harness.change(who, locked_at=NOON)
        self.rows: list[Happened] = []

    def login(self, one: Attempted, policy: Policy) -> bool:
        """Whether it is let in."""
        self.harness.now += 60_000
        token_id = f"VSMT{[*WHO].index(one.who) + 1 if one.who in WHO else 1:08d}"
        code = {"right": code_of(token_id, now=self.harness.now), "wrong": WRONG, "": ""}[one.code]
        first = NOT_HELD if one.who.startswith("unheld") else GATEWAY_CHECKED if one.password else WRONG_PASSWORD
        match policy.mode:
            case Mode.CODE:
                verdict = self.ask(LoginRequest(attempt(one.who, policy), Stage.CODE, code=code))
            case Mode.APPEND:
                verdict = self.ask(LoginRequest(attempt(one.who, policy), Stage.BOTH, first, code))
            case Mode.PASSWORD:
                verdict = self.ask(LoginRequest(attempt(one.who, policy), Stage.PASSWORD, first))
            case _:
                verdict = self.in_two_rounds(one, policy, first, code)
        return isinstance(verdict, Accept)

    def in_two_rounds(self, one: Attempted, policy: Policy, first: FirstFinding, code: str) -> Verdict:
        verdict = self.ask(LoginRequest(attempt(one.who, policy), Stage.FIRST_ROUND, first))
        if isinstance(verdict, Challenge) and code:
            again = attempt(one.who, policy, challenge=verdict.state)
            return self.ask(LoginRequest(again, Stage.SECOND_ROUND, code=code))
        return verdict

    def ask(self, request: LoginRequest) -> Verdict:
        before = len(self.harness.audit)
        verdict = self.harness.verdict(request)
        for row in self.harness.audit[before:]:
            id_ = id_at(self.harness.now) + len(self.rows)
            self.rows.append(Happened(id_, row.event, row.actor, row.customer, row.token, row.reason))
        return verdict


def forecast_of(
    change: ClientChange, rows: list[Happened], protection: dict[int, tuple[int, int]] | None = None
) -> Forecast:
    forecast = Forecast(NOON, NOON)
    asking = Asking(change, RULES, forecast, People(), protection or {})
    for row in rows:
        asking.take(row)
    asking.end()
    return forecast


def changed(was: Policy, would: Policy) -> ClientChange:
    return ClientChange("gateway", was, would, True, True)


def of_everybody(forecast: Forecast, change: Change) -> Counter[str]:
    return Counter({one.customer: one.number for one in forecast.changes[change].named()})


@settings(max_examples=examples(500), deadline=None)
@given(logins, policies, policies)
def test_another_policy_does_what_was_said(attempts: list[Attempted], was: Policy, would: Policy) -> None:
    before, after = Bank(), Bank()
    let_in = [before.login(one, was) for one in attempts]
    would_let_in = [after.login(one, would) for one in attempts]
    forecast = forecast_of(changed(was, would), before.rows)
    assert forecast.logins == len(attempts) and forecast.let_in == sum(let_in)
    untold = of_everybody(forecast, Change.UNTOLD)
    refused, more = of_everybody(forecast, Change.REFUSED), of_everybody(forecast, Change.LET_IN)
    taken_as_right = Note.PASSWORD_TAKEN_AS_RIGHT in forecast.notes
    for who in WHO:
        mine = [number for number, one in enumerate(attempts) if one.who == who]
        if untold[who] or (taken_as_right and not all(attempts[number].password for number in mine)):
            continue
        assert refused[who] == sum(let_in[one] and not would_let_in[one] for one in mine), who
        assert more[who] == sum(would_let_in[one] and not let_in[one] for one in mine), who
    assert untold.total() + refused.total() + more.total() <= len(attempts)
    assert not untold["nobody"] + refused["nobody"] + more["nobody"]


@settings(max_examples=examples(100), deadline=None)
@given(logins, policies)
def test_the_same_policy_changes_nothing(attempts: list[Attempted], policy: Policy) -> None:
    bank = Bank()
    for one in attempts:
        bank.login(one, policy)
    assert not forecast_of(changed(policy, policy), bank.rows).shown()


def test_what_is_certain_is_said_and_is_not_called_untold() -> None:
    """So the comparison above is not one of nothing with nothing."""
    bank, challenge = Bank(), Policy(Mode.CHALLENGE)
    for who in WHO:
        bank.login(Attempted(who, True, "right"), challenge)
    bank.login(Attempted("active", True, "wrong"), challenge)
    bank.login(Attempted("active", True, ""), challenge)
    bank.login(Attempted("active", False, ""), challenge)
    told: dict[Mode, tuple[dict[str, int], dict[str, int], dict[str, int]]] = {}
    for mode in Mode:
        forecast = forecast_of(changed(challenge, Policy(mode, frozenset())), bank.rows)
        assert forecast.logins == 10
        told[mode] = tuple(  # type: ignore[assignment]
            dict(of_everybody(forecast, one)) for one in (Change.REFUSED, Change.LET_IN, Change.UNTOLD)
        )
    strict = {"none": 1, "suspended": 1}
    assert told[Mode.CHALLENGE] == (strict, {}, {})
    assert told[Mode.APPEND] == (strict, {}, {})
    assert told[Mode.PASSWORD] == (strict, {"active": 2}, {})
    assert told[Mode.CODE] == (strict, {}, {"unheld": 1, "active": 1})


@pytest.mark.parametrize(
    ("was", "would"),
    [
        (Policy(Mode.CODE), Policy(Mode.APPEND)),
        (Policy(Mode.CHALLENGE, code_is_enough=True), Policy(Mode.CHALLENGE)),
    ],
)
def test_where_the_realm_says_who_has_a_password_it_cannot_be_told(was: Policy, would: Policy) -> None:
    bank = Bank()
    bank.login(Attempted("active", True, "right"), was)
    for realms in (False, True):
        forecast = forecast_of(replace(changed(was, would), realms=realms), bank.rows)
        assert [change for change, _ in forecast.shown()] == [Change.UNTOLD] * realms
        assert (Note.REALM_NOT_KEPT in forecast.notes) is realms
    # what asks for the code alone, or for the password as before, depends on no first factor
    assert not forecast_of(
        replace(changed(was, Policy(Mode.CODE, frozenset({OtpUse.NONE}))), realms=True), bank.rows
    ).shown()


@pytest.mark.parametrize(
    ("requests", "bare", "said"),
    [(10, 0, None), (10, 10, Change.REFUSED), (10, 3, Change.UNTOLD), (0, 0, Change.UNTOLD)],
)
def test_who_would_be_dropped_for_want_of_protection_is_told_by_five_minutes(
    requests: int, bare: int, said: Change | None
) -> None:
    bank, policy = Bank(), Policy(Mode.CODE)
    bank.login(Attempted("active", True, "right"), policy)
    at = bank.rows[0].at
    counted = {at - at % PERIOD_MS: (requests, bare)} if requests else {}
    forecast = forecast_of(ClientChange("gateway", policy, policy, False, True), bank.rows, counted)
    assert [change for change, _ in forecast.shown()] == ([said] if said else [])


def test_a_separator_cannot_be_told_for_whoever_types_a_code() -> None:
    bank, append = Bank(), Policy(Mode.APPEND)
    for who in ("active", "none"):
        bank.login(Attempted(who, True, "right"), append)
    forecast = forecast_of(changed(append, Policy(Mode.APPEND, separator=",")), bank.rows)
    assert of_everybody(forecast, Change.UNTOLD) == {"active": 1} and Note.SEPARATOR_NOT_KEPT in forecast.notes
    assert not of_everybody(forecast, Change.REFUSED)
