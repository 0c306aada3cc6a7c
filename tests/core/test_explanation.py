"""An explanation says what the login is then answered, and changes nothing by itself: whatever came before it, in every
mode, with right, late, used and wrong codes.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.accounts import Refused
from otp_core.authentication.dry_run import Asked, Conversation, Round
from otp_core.authentication.explanation import Explainer, Explanation, Throttles
from otp_core.first_factor.failures import Failures, FailureTable
from otp_core.first_factor.hash_pool import HashPool
from otp_core.first_factor.hashes import Cost, hash_password
from otp_core.first_factor.local import LocalPassword
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.login.next_step import NextStep
from otp_core.login.policy import Delays
from otp_core.login.table import Finding
from otp_core.model import Accept, Challenge, Kind, Mode, OtpUse, Policy, Reject, Silence, TokenSpec
from otp_core.otp import Fit
from tests.core.bank import APPEND, AUTO, CHALLENGE, CODE, NO_DELAYS, PASSWORD, STAFF, Bank, Holder, rules
from tests.core.entrance import PW, entrance
from tests.examples import examples

CHEAP = Cost(256, 1, 1)
HASH = hash_password(PW.encode(), CHEAP)
NEITHER = frozenset[OtpUse]()
MOMENT = 1_000.0
"""Of the clock that delays of passwords go by, in seconds."""


@contextmanager
def explainer(bank: Bank, delays: Delays = NO_DELAYS, table: FailureTable | None = None) -> Iterator[Explainer]:
    """As a command has it, but with this bank's clock."""
    reader, pool, fingerprint = bank.store.login_reader(), HashPool(1, 10), bank.store.sealer.fingerprint
    failures = table or FailureTable(1000)
    throttles = Throttles(
        PasswordThrottle(delays, lambda: MOMENT, failures, fingerprint),
        StationThrottle(delays, lambda: MOMENT, failures, fingerprint),
    )
    local = LocalPassword(reader, pool, CHEAP, lambda *_: None)
    try:
        yield Explainer(reader, bank.evaluator, {"local": local}, throttles, fingerprint, int(bank.clock.now * 1000))
    finally:
        pool.close()
        reader.close()


def explained(bank: Bank, who: Holder | str, policy: Policy, **more: Any) -> Explanation:
    contract_id = who if isinstance(who, str) else who.contract_id

    async def scene() -> Explanation:
        with explainer(bank) as one:
            return await one.explain(Asked(contract_id, policy, "gateway", **more))

    return asyncio.run(scene())


def answered(bank: Bank, asked: Asked) -> tuple[Round, ...]:
    """The same login in earnest."""

    async def scene() -> tuple[Round, ...]:
        pool, reader = HashPool(1, 10), bank.store.login_reader()
        try:
            async with entrance(bank, LocalPassword(reader, pool, CHEAP, lambda *_: None)) as door:
                return await Conversation(asked, door.authenticator).hold()
        finally:
            pool.close()
            reader.close()

    return asyncio.run(scene())


def told(rounds: tuple[Round, ...]) -> list[tuple[str, Finding | None]]:
    """The verdict and the finding of each request."""
    return [(type(one.verdict).__name__, one.finding) for one in rounds]


def everything(bank: Bank) -> dict[str, object]:
    return {**bank.rows(), "audit": bank.audit()}


# What is said, is what happens


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


# In words


def test_a_late_code_is_told_with_its_steps_and_the_token_is_to_be_resynchronised(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=HASH)
    found = explained(bank, taro, APPEND, code=taro.code(-3))
    assert (type(found.last.verdict), found.last.finding) == (Reject, Finding.WRONG)
    assert found.last.why == "wrong code: correct code, 3 steps late"
    assert found.next_steps == (NextStep.RESYNC,)
    assert found.effects == ("count a wrong code: 1 of 10",)
    (token,) = found.tokens
    assert (token.token_id, token.fit, token.words) == (taro.token_id, Fit.WRONG, "correct code, 3 steps late")


@pytest.mark.parametrize(
    ("away", "words"), [(0, "right code"), (-1, "right code, 1 step late"), (1, "right code, 1 step early")]
)
def test_a_right_code_is_told_with_how_far_it_is_off(tmp_path: Path, away: int, words: str) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=HASH)
    found = explained(bank, taro, CODE, code=taro.code(away))
    assert isinstance(found.last.verdict, Accept)
    assert [(one.fit, one.away, one.words) for one in found.tokens] == [(Fit.FITS, away, words)]
    assert found.effects == (f"spend the code on {taro.token_id}",)
    assert found.next_steps == ()
    assert found.notes == ()


def test_a_counter_tokens_code_is_told_in_counters(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(spec=TokenSpec(Kind.HOTP))
    assert explained(bank, taro, CODE, code=taro.code(2)).tokens[0].words == "right code, 2 counters ahead"
    assert explained(bank, taro, CODE, code=taro.code(0)).tokens[0].words == "right code"
    far = explained(bank, taro, CODE, code=taro.code(15))
    assert far.last.why == "wrong code: correct code, 15 counters ahead"


def test_a_used_code_is_told_apart_from_one_that_is_only_older(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    answered(bank, Asked("taro", CODE, "gateway", None, taro.code()))
    last = explained(bank, taro, CODE, code=taro.code())
    assert (last.last.finding, last.tokens[0].fit) == (Finding.REUSED, Fit.REUSED)
    assert last.tokens[0].words == "used already: the code that was accepted last"
    older = explained(bank, taro, CODE, code=taro.code(-1))
    assert older.tokens[0].words == "used already, or shown before the code that was accepted last"
    assert last.next_steps == older.next_steps == (NextStep.NEXT_CODE,)
    assert last.effects == (), "a used code counts as no failure"


def test_of_several_tokens_each_is_told_of(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    other = bank.another_token("VSMT00000009")
    eight = bank.another_token("VSMT00000010", spec=TokenSpec(digits=8))
    found = explained(bank, taro, CODE, code=other.code(-4))
    assert {one.token_id: one.words for one in found.tokens} == {
        taro.token_id: "wrong code",
        other.token_id: "correct code, 4 steps late",
        eight.token_id: "not a code of this token: its codes have 8 digits",
    }
    assert found.last.why == "wrong code: correct code, 4 steps late, of token VSMT00000009"


def test_the_code_that_locks_is_told_to_lock(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=1))
    taro = bank.customer()
    found = explained(bank, taro, CODE, code=taro.code(-5))
    assert found.effects == ("count a wrong code: 1 of 1", "lock the customer")
    assert bank.login_record().locked_at is None


def test_a_right_code_is_told_to_end_the_count_of_wrong_ones(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    answered(bank, Asked("taro", CODE, "gateway", None, taro.code(-5)))
    found = explained(bank, taro, CODE, code=taro.code())
    assert found.effects == (f"spend the code on {taro.token_id}", "set the count of wrong codes to 0")


def test_a_delay_after_wrong_codes_is_told_in_seconds(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(code_delays=Delays(free=0, first=20.0)))
    taro = bank.customer()
    answered(bank, Asked("taro", CODE, "gateway", None, taro.code(-5)))
    bank.clock.now += 5
    found = explained(bank, taro, CODE, code=taro.code())
    assert (found.last.finding, found.wait_seconds) == (Finding.TOO_SOON, 15.0)
    assert found.next_steps == (NextStep.WAIT,)
    bank.clock.now += 15
    assert explained(bank, taro, CODE, code=taro.code()).wait_seconds == 0.0


# Without a code, without a password


@pytest.mark.parametrize(("policy", "missing"), [(CODE, True), (APPEND, True), (CHALLENGE, False), (AUTO, False)])
def test_without_a_code_it_is_told_what_would_be_asked_for(tmp_path: Path, policy: Policy, missing: bool) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=HASH)
    found = explained(bank, taro, policy)
    assert found.code_missing is missing
    assert isinstance(found.last.verdict, Reject if missing else Challenge)
    assert found.next_steps == (NextStep.GIVE_CODE,)
    assert found.tokens[0].words == ""


@pytest.mark.parametrize("policy", [CODE, APPEND, CHALLENGE, AUTO])
@pytest.mark.parametrize(
    ("use", "finding", "steps"),
    [
        (OtpUse.NONE, Finding.WITHOUT_TOKEN, ()),
        (OtpUse.SUSPENDED, Finding.WITHOUT_TOKEN, ()),
        (OtpUse.LOST, Finding.LOST, (NextStep.PERMIT_REISSUE,)),
        (OtpUse.REISSUE_PERMITTED, Finding.LOST, (NextStep.USE_PERMIT, NextStep.PERMIT_REISSUE)),
    ],
)
def test_whoever_has_no_active_token_is_told_of_without_any_code(
    tmp_path: Path, policy: Policy, use: OtpUse, finding: Finding, steps: tuple[NextStep, ...]
) -> None:
    bank = Bank(tmp_path)
    bank.in_state(use)
    with bank.store.work() as work:
        work.connection.exec_driver_sql("UPDATE profile SET password_hash = ?", (HASH,))
    found = explained(bank, "taro", policy)
    assert (found.last.finding, found.next_steps, found.code_missing) == (finding, steps, False)
    assert isinstance(found.last.verdict, Accept if finding is Finding.WITHOUT_TOKEN else Reject)


def test_a_lock_is_told_before_anything_is_given(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=HASH)
    bank.desk.customers.lock("taro", STAFF)
    for policy in (CODE, APPEND, CHALLENGE, AUTO, PASSWORD):
        found = explained(bank, taro, policy)
        assert (found.last.finding, found.next_steps) == (Finding.LOCKED, (NextStep.UNLOCK,))
        assert found.record is not None
        assert found.record.locked_at == int(bank.clock.now * 1000)


def test_a_code_behind_the_password_of_a_customer_without_a_token_is_told_to_spoil_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None, password_hash=HASH)
    for password in (None, PW):
        found = explained(bank, "taro", APPEND, password=password, code="123456")
        assert found.last.finding is Finding.WRONG_PASSWORD
        assert "taken as part of it" in found.notes[-1]


def test_what_was_not_looked_at_is_told(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=HASH)
    assert "never asks for a code" in explained(bank, taro, PASSWORD, password=PW, code=taro.code()).notes[0]
    assert "checks the password itself" in explained(bank, taro, CODE, password="wrong", code=taro.code()).notes[0]
    assert "taken to be right" in explained(bank, taro, CHALLENGE).notes[0]


def test_the_password_and_the_code_are_in_no_word_of_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=HASH)
    for policy in (CODE, APPEND, CHALLENGE, AUTO, PASSWORD):
        for code in (taro.code(), taro.code(-4), "98765"):
            found = explained(bank, taro, policy, password=PW, code=code)
            assert PW not in repr(found)
            assert code not in repr(found)


# Throttles and troubles


def test_a_delay_after_wrong_passwords_is_told_and_moved_by_nobody(tmp_path: Path) -> None:
    bank, delays, file = Bank(tmp_path), Delays(free=0, first=60.0, longest=60.0), tmp_path / "failures"
    bank.customer(password_hash=HASH)
    counted = FailureTable(1000, file)
    PasswordThrottle(delays, lambda: MOMENT, counted, bank.store.sealer.fingerprint).failed("taro", "gateway")
    before = file.read_bytes()

    async def scene(customer: str) -> Explanation:
        copy = FailureTable(1000)
        copy.copy(file)
        with explainer(bank, delays, copy) as one:
            return await one.explain(Asked(customer, CHALLENGE, "gateway", PW, seconds=0.2))

    found, other = asyncio.run(scene("taro")), asyncio.run(scene("jiro"))
    assert (found.last.finding, found.wrong_passwords, found.wait_seconds) == (Finding.TOO_SOON, 1, 60.0)
    assert other.last.finding is Finding.UNKNOWN_CUSTOMER
    assert file.read_bytes() == before
    counted.close()


def test_a_table_of_another_size_or_none_is_not_copied(tmp_path: Path) -> None:
    file = tmp_path / "failures"
    one = FailureTable(1000, file)
    one.change(7, lambda _: Failures(1.0, 1.0))
    for most, path, found in ((1000, file, 1.0), (2000, file, 0.0), (1000, tmp_path / "none", 0.0)):
        copy = FailureTable(most)
        copy.copy(path)
        assert copy.recent(7).number == found
        copy.close()
    one.close()
    assert not (tmp_path / "none").exists()


def test_a_seed_that_does_not_open_is_silence_where_it_is_looked_at(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=HASH)
    with bank.store.work() as work:
        work.connection.exec_driver_sql("UPDATE token SET seed = zeroblob(60)")
    found = explained(bank, taro, CODE, code="123456")
    assert isinstance(found.last.verdict, Silence)
    assert found.next_steps == (NextStep.DOCTOR,)
    bank.desk.customers.lock("taro", STAFF)
    assert explained(bank, taro, CODE, code="123456").last.finding is Finding.LOCKED


def test_no_other_server_is_asked_about_a_code(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with bank.store.work() as work:
        work.connection.exec_driver_sql("UPDATE token SET verifier = 'vip', seed = NULL")
    found = explained(bank, taro, CODE, code="123456")
    assert isinstance(found.last.verdict, Silence)
    assert (found.tokens[0].fit, found.tokens[0].words) == (None, "not looked at: vip verifies this token's codes")
