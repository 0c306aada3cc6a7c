"""What an explanation tells in words: the rule, the tokens, the effects, what to do; and that it leaves no trace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from otp_core.authentication.dry_run import Asked
from otp_core.authentication.explanation import Explanation
from otp_core.first_factor.failures import Failures, FailureTable
from otp_core.first_factor.throttle import PasswordThrottle
from otp_core.login.next_step import NextStep
from otp_core.login.policy import Delays
from otp_core.login.table import Finding
from otp_core.model import Accept, Challenge, Kind, OtpUse, Policy, Reject, Silence, TokenSpec
from otp_core.otp import Fit
from otp_core.store.schema import profile, token
from tests.core.bank import APPEND, AUTO, CHALLENGE, CODE, PASSWORD, STAFF, Bank, rules
from tests.core.entrance import PW
from tests.core.explaining import HASH, MOMENT, answered, explained, explainer

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
        work.connection.execute(update(profile).values(password_hash=HASH))
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
        work.connection.execute(update(token).values(seed=bytes(60)))
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


@pytest.mark.parametrize("mode", [APPEND, AUTO, CHALLENGE])
def test_a_server_elsewhere_is_not_asked_and_its_answer_is_taken_to_be_yes(tmp_path: Path, mode: Policy) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    policy = replace(mode, first_factor="core")
    for password in (None, "himitsu"):
        found = explained(bank, taro, policy, password=password, code=taro.code())
        assert isinstance(found.last.verdict, Accept)
        said = "no password was given: it is taken to be right"
        if password is not None:
            said = "core was not asked about the password: it is taken to be right"
        assert said in found.notes
        assert explained(bank, taro, policy, password=password, code="000000").last.finding is Finding.WRONG
