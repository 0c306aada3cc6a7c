"""An explanation says what the login is then answered, and changes nothing by itself: whatever came before it, in every
mode, with right, late, used and wrong codes.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.accounts import Refused
from otp_core.authentication.dry_run import Asked
from otp_core.authentication.explanation import Explanation
from otp_core.login.policy import Delays
from otp_core.model import Kind, Mode, OtpUse, Policy, TokenSpec
from tests.core.bank import STAFF, Bank, rules
from tests.core.entrance import PW
from tests.core.explaining import HASH, NEITHER, answered, everything, explained, told
from tests.examples import examples

STATES = st.sampled_from(["none", "active", "suspended", "lost", "reissue permitted", "two tokens", "no password"])
CODES = st.sampled_from([None, 0, 0, 0, 1, -1, 2, -3, 15, "again", "wrong", "12345", PW, "１２３ ４５６"])
POLICIES = st.builds(
    Policy,
    st.sampled_from(list(Mode)),
    password_only=st.sampled_from([NEITHER, frozenset({OtpUse.NONE, OtpUse.SUSPENDED}), frozenset(OtpUse)]),
    repeated_login_seconds=st.sampled_from([0, 0, 5]),
    code_is_enough=st.booleans(),
    separator=st.sampled_from(["", "", ","]),
    code_first=st.booleans(),
    fold_case=st.booleans(),
)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("login"), POLICIES, CODES, st.sampled_from([PW, PW, PW, "wrong"])),
        st.tuples(st.just("pass time"), st.sampled_from([0.5, 7, 30, 45, 4000])),
        st.tuples(st.just("act"), st.sampled_from(["lock", "unlock", "suspend", "resume", "lose"])),
    ),
    min_size=1,
    max_size=8,
)


@dataclass
class Day:
    """One customer, and what is typed in the course of a day."""

    bank: Bank
    state: str
    used: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        hash_ = None if self.state == "no password" else HASH
        if self.state == "none":
            self.taro = self.bank.customer("taro", None, password_hash=hash_)
        else:
            self.taro = self.bank.customer("taro", password_hash=hash_)
        if self.state == "two tokens":
            self.bank.another_token("VSMT00000009", spec=TokenSpec(Kind.HOTP, digits=8))
        self.act({"suspended": "suspend", "lost": "lose", "reissue permitted": "lose"}.get(self.state, ""))
        if self.state == "reissue permitted":
            self.bank.desk.enrolment.permit_reissue("taro", STAFF)

    def act(self, name: str) -> None:
        desk = self.bank.desk
        try:
            match name:
                case "lock":
                    desk.customers.lock("taro", STAFF)
                case "unlock":
                    desk.customers.unlock("taro", STAFF)
                case "suspend":
                    desk.enrolment.suspend("taro", None, STAFF)
                case "resume":
                    desk.enrolment.resume("taro", STAFF)
                case "lose":
                    desk.enrolment.report_lost("taro", STAFF)
        except Refused:
            pass

    def code(self, typed: int | str | None) -> str | None:
        if typed is None or self.state == "none":
            return None if typed is None else "123456"
        if isinstance(typed, int):
            return self.taro.code(typed)
        if typed == "wrong":
            near = {self.taro.code(away) for away in range(-40, 41)}
            return next(code for code in map(str, range(100_000, 999_999)) if code not in near)
        return (self.used[-1] if self.used else self.taro.code()) if typed == "again" else typed

    def login(self, policy: Policy, typed: int | str | None, password: str) -> None:
        code = self.code(typed)
        asked = Asked("TARO" if policy.fold_case else "taro", policy, "gateway", password, code)
        before = everything(self.bank)
        found = self.explain(asked)
        guessed = self.explain(asked._replace(password=None)) if password == PW else None
        assert everything(self.bank) == before, "an explanation changed something"
        real = answered(self.bank, asked)
        assert told(found.rounds) == told(real)
        if guessed is not None:
            assert told(guessed.rounds) == told(real), "a password that is not given is taken to be right"
        if code is not None:
            self.used.append(code)

    def explain(self, asked: Asked) -> Explanation:
        return explained(self.bank, asked.customer, asked.policy, password=asked.password, code=asked.code)


@settings(max_examples=examples(120), deadline=None)
@given(STATES, EVENTS)
def test_what_is_explained_is_what_is_answered_and_nothing_is_changed_by_it(state: str, events: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bank = Bank(Path(folder), rules(lock_after=3, code_delays=Delays(free=1, first=5.0)))
        day = Day(bank, state)
        for what, *rest in events:
            if what == "login":
                day.login(*rest)
            elif what == "pass time":
                bank.clock.now += rest[0]
            else:
                day.act(rest[0])
        bank.store.engine.dispose()
