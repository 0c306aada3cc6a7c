"""The one way in, for every door: five modes against a real store; the first factor knows passwords by heart."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from otp_core.first_factor import FirstFinding, Question
from otp_core.first_factor.hash_pool import HashPool
from otp_core.first_factor.hashes import Cost, hash_password, needs_rehash
from otp_core.first_factor.local import LocalPassword
from otp_core.login.policy import Delays
from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import (
    Accept,
    Attempt,
    Kind,
    Language,
    Mode,
    OtpUse,
    Policy,
    Reject,
    Silence,
    TokenSpec,
    Verdict,
)
from tests.core.bank import APPEND, AUTO, CHALLENGE, CODE, PASSWORD, STAFF, Bank, Holder, rules
from tests.core.entrance import SOON, Entrance, entrance, run
from tests.fakes import HandClock, KnownPasswords

PW = "himitsu-no-aikotoba"


def wrong(holder: Holder) -> str:
    """A code that the token does not show now."""
    shown = {holder.code(away) for away in range(-3, 4)}
    return next(text for text in map("{:06d}".format, range(100)) if text not in shown)


def knows(**passwords: str) -> KnownPasswords:
    return KnownPasswords(passwords or {"taro": PW})


# Mode code: the gateway has checked the password.


def test_mode_code_takes_a_code_alone_and_asks_no_first_factor(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.why(taro, PW, CODE) == Finding.NOT_A_CODE
            assert await door.says(taro, taro.code(), CODE) == Accept()
            assert await door.why(taro, taro.code(), CODE) == Finding.REUSED
            assert await door.why("nobody", "123456", CODE) == Finding.UNKNOWN_CUSTOMER

    run(scene)
    assert factor.asked == []


def test_mode_code_lets_in_who_never_enrolled_unless_the_policy_wants_a_token(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.says("taro", "whatever", CODE) == Accept()
            strict = Policy(Mode.CODE, password_only=frozenset())
            assert await door.why("taro", "whatever", strict) == Finding.TOKEN_NEEDED

    run(scene)


# Mode password: no code, ever.


def test_mode_password_asks_for_the_password_alone(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.says(taro, PW, PASSWORD) == Accept()
            assert await door.why(taro, "wrong", PASSWORD) == Finding.WRONG_PASSWORD
            assert await door.why(taro, PW + taro.code(), PASSWORD) == Finding.WRONG_PASSWORD

    run(scene)
    assert bank.login_record().last_step == -1


@pytest.mark.parametrize("policy", [PASSWORD, CHALLENGE, APPEND, AUTO])
def test_no_mode_that_asks_for_a_password_lets_in_where_none_is_held(tmp_path: Path, policy: Policy) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords()) as door:
            for user_password in ("anything", taro.code(), "anything" + taro.code()):
                assert await door.why(taro, user_password, policy) == Finding.NOTHING_CHECKED

    run(scene)
    assert bank.login_record().last_step == -1
    assert bank.rows()["challenge"] == []


# Mode challenge: the password, then the code.


def test_mode_challenge_asks_for_the_code_after_the_right_password(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            state = await door.asked(taro, PW)
            ((*_, password_fingerprint),) = bank.rows()["challenge"]
            assert password_fingerprint is None, "a password that does not look like a code leaves no trace"
            assert await door.says(taro, taro.code(), CHALLENGE, challenge=state) == Accept()
            assert await door.why(taro, taro.code(1), CHALLENGE, challenge=state) == Finding.CHALLENGE_GONE

    run(scene)
    assert factor.asked == [("taro", PW)], "the second round asks no first factor"


def test_mode_challenge_never_comes_to_the_code_after_a_wrong_password(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.why(taro, "wrong", CHALLENGE) == Finding.WRONG_PASSWORD
            assert await door.why(taro, PW + taro.code(), CHALLENGE) == Finding.WRONG_PASSWORD
            assert await door.why(taro, "", CHALLENGE) == Finding.WRONG_PASSWORD
            assert await door.why("nobody", PW, CHALLENGE) == Finding.UNKNOWN_CUSTOMER

    run(scene)
    assert bank.rows()["challenge"] == []
    assert bank.login_record().failures == 0


@pytest.mark.parametrize("use", [OtpUse.NONE, OtpUse.SUSPENDED])
def test_mode_challenge_lets_in_by_password_who_has_no_active_token(tmp_path: Path, use: OtpUse) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(use)

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.says(taro, PW, CHALLENGE) == Accept()
            assert await door.why(taro, "wrong", CHALLENGE) == Finding.WRONG_PASSWORD

    run(scene)


@pytest.mark.parametrize("use", [OtpUse.LOST, OtpUse.REISSUE_PERMITTED])
@pytest.mark.parametrize("policy", [CODE, PASSWORD, CHALLENGE, APPEND, AUTO])
def test_who_lost_their_token_is_refused_in_every_mode(tmp_path: Path, use: OtpUse, policy: Policy) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(use)

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.why(taro, PW, policy) == Finding.LOST

    run(scene)


@pytest.mark.parametrize("policy", [CHALLENGE, AUTO])
def test_a_password_that_looks_like_a_code_is_not_taken_for_one_when_it_is_repeated(
    tmp_path: Path, policy: Policy
) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    user_password = next(
        f"{number:06d}" for number in range(100) if f"{number:06d}" not in map(taro.code, range(-2, 3))
    )

    async def scene() -> None:
        async with entrance(bank, knows(taro=user_password)) as door:
            state = await door.asked(taro, user_password, policy)
            for again in (user_password, f"{user_password[:3]} {user_password[3:]}"):
                state = await door.asked(taro, again, policy, challenge=state)
            assert await door.says(taro, taro.code(), policy, challenge=state) == Accept()

    run(scene)
    assert bank.audit(event="customer.locked") == []
    assert [row.reason for row in bank.audit(event="login.challenged")][1:] == [FINDING_TEXT[Finding.NOT_A_CODE]] * 2


def test_an_answer_as_long_as_a_book_is_no_code_and_no_error(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            state = await door.asked(taro, PW)
            assert await door.asked(taro, "1" * 100_000, challenge=state) != state

    run(scene)


def test_a_state_is_answered_in_whatever_mode_the_client_is_now(tmp_path: Path) -> None:
    """Settings may be reloaded between the rounds."""
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            state = await door.asked(taro, PW)
            assert await door.says(taro, taro.code(), APPEND, challenge=state) == Accept()

    run(scene)


def test_an_empty_state_is_a_forged_one(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.why(taro, PW, CHALLENGE, challenge=b"") == Finding.CHALLENGE_GONE

    run(scene)


# Mode append: password and code in one.


def test_mode_append_takes_the_password_with_the_code_behind_it(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.says(taro, PW + taro.code(), APPEND) == Accept()
            assert await door.why(taro, PW + taro.code(), APPEND) == Finding.REUSED

    run(scene)
    assert factor.asked == [("taro", PW)] * 2


@pytest.mark.parametrize("digits", [6, 7, 8])
def test_mode_append_splits_off_as_many_digits_as_the_token_has(tmp_path: Path, digits: int) -> None:
    bank, factor = Bank(tmp_path), knows(taro="hunter123")
    taro = bank.customer(spec=TokenSpec(digits=digits))

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.says(taro, "hunter123" + taro.code(), APPEND) == Accept()

    run(scene)


def test_mode_append_forgives_full_width_digits(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    wide = "".join(chr(ord(digit) - ord("0") + ord("０")) for digit in taro.code())

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.says(taro, PW + wide, APPEND) == Accept()

    run(scene)


@pytest.mark.parametrize("policy", [APPEND, AUTO])
@pytest.mark.parametrize("shape", ["{0} {1}", "{0}-{1}", "{0}\u3000{1}", "{0}{1} "])
def test_a_code_behind_a_password_may_be_grouped_as_the_token_shows_it(
    tmp_path: Path, policy: Policy, shape: str
) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            code = taro.code()
            user_password = PW + shape.format(code[:3], code[3:])
            assert await door.says(taro, user_password, policy) == Accept()
            assert await door.why(taro, user_password, APPEND) == Finding.REUSED

    run(scene)


def test_mode_append_wants_both_right_and_counts_a_wrong_code_only_after_the_right_password(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    wrong = next(f"{number:06d}" for number in range(100) if f"{number:06d}" not in map(taro.code, range(-2, 3)))

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.why(taro, "wrong" + taro.code(), APPEND) == Finding.WRONG_PASSWORD
            assert await door.why(taro, "wrong" + wrong, APPEND) == Finding.WRONG_PASSWORD
            assert bank.login_record().failures == 0
            assert await door.why(taro, PW + wrong, APPEND) == Finding.WRONG
            assert bank.login_record().failures == 1

    run(scene)


@pytest.mark.parametrize("user_password", [PW, "", PW + "12345"])
def test_mode_append_without_a_code_is_refused_and_not_counted(tmp_path: Path, user_password: str) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows(taro=user_password)) as door:
            assert await door.why(taro, user_password, APPEND) == Finding.NOT_A_CODE

    run(scene)
    assert bank.login_record().failures == 0


def test_mode_append_takes_the_password_alone_from_who_has_no_active_token(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)

    async def scene() -> None:
        async with entrance(bank, knows(taro="hunter123456")) as door:
            assert await door.says("taro", "hunter123456", APPEND) == Accept()
            assert await door.why("taro", "hunter", APPEND) == Finding.WRONG_PASSWORD
            assert await door.why("nobody", "hunter123456", APPEND) == Finding.UNKNOWN_CUSTOMER

    run(scene)


def test_who_enrols_while_their_password_is_checked_is_not_let_in_without_a_code(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(OtpUse.NONE)

    async def scene() -> None:
        async with entrance(bank, KnownPasswords({"taro": PW}, slow=0.05)) as door:
            waiting = asyncio.ensure_future(door.says(taro, PW, APPEND))
            await asyncio.sleep(0.01)
            bank.desk.enrolment.enrol("taro", taro.token_id, taro.code(), STAFF)
            assert await waiting == Reject(Finding.CODE_DUE, Language.JA)

    run(scene)


# Mode auto: either of them.


def test_mode_auto_reads_password_and_code_where_the_code_fits_now(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.says(taro, PW + taro.code(), AUTO) == Accept()

    run(scene)
    assert factor.asked == [("taro", PW)]


def test_mode_auto_reads_a_password_alone_and_asks_for_the_code(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            state = await door.asked(taro, PW, AUTO)
            assert await door.says(taro, taro.code(), AUTO, challenge=state) == Accept()

    run(scene)
    assert factor.asked == [("taro", PW)]


def test_mode_auto_reads_a_password_that_ends_in_digits(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows(taro="hunter123456")
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            await door.asked(taro, "hunter123456", AUTO)
            assert await door.says(taro, "hunter123456" + taro.code(), AUTO) == Accept()

    run(scene)
    assert factor.asked == [("taro", "hunter123456")] * 2


def test_mode_auto_tries_the_other_reading_of_whatever_may_end_with_a_code_when_the_password_is_wrong(
    tmp_path: Path,
) -> None:
    """Always both where there is a token; nobody's back end is asked twice only for the time that it takes."""
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()
    bank.customer("jiro", None)
    factor.passwords["jiro"] = PW

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.why(taro, "wrong" + taro.code(), AUTO) == Finding.WRONG_PASSWORD
            assert await door.why(taro, "wrong" + wrong(taro), AUTO) == Finding.WRONG_PASSWORD
            assert await door.why("jiro", "wrong123456", AUTO) == Finding.WRONG_PASSWORD
            assert await door.why("nobody", "wrong123456", AUTO) == Finding.UNKNOWN_CUSTOMER
            assert await door.why(taro, "wrong", AUTO) == Finding.WRONG_PASSWORD

    run(scene)
    assert factor.asked == [
        ("taro", "wrong"),
        ("taro", "wrong" + taro.code()),
        ("taro", "wrong" + wrong(taro)),
        ("taro", "wrong"),
        ("jiro", "wrong123456"),
        ("nobody", "wrong123456"),
        ("taro", "wrong"),
    ]
    assert bank.login_record().failures == 0


def test_mode_auto_lets_in_by_password_who_has_no_active_token(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.says("taro", PW, AUTO) == Accept()
            assert await door.why("nobody", PW, AUTO) == Finding.UNKNOWN_CUSTOMER

    run(scene)


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.APPEND])
def test_a_code_alone_lets_in_where_no_password_is_held_and_the_policy_says_so(tmp_path: Path, mode: Mode) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords()) as door:
            assert await door.says(taro, taro.code(), Policy(mode, code_is_enough=True)) == Accept()

    run(scene)


def test_mode_auto_gives_a_repeated_request_the_same_answer(tmp_path: Path) -> None:
    """On another worker, or after a crash: the code no longer fits, but it is the same request."""
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.says(taro, PW + taro.code(), AUTO, fingerprint=7) == Accept()
        async with entrance(bank, factor) as door:
            assert await door.says(taro, PW + taro.code(), AUTO, fingerprint=7) == Accept()
            assert await door.why(taro, PW + taro.code(), AUTO, fingerprint=8) == Finding.REUSED
            assert await door.why(taro, PW + taro.code(), AUTO, fingerprint=0) == Finding.REUSED
            assert await door.why(taro, "wrong" + taro.code(), AUTO, fingerprint=7) == Finding.WRONG_PASSWORD

    run(scene)
    assert [row.event for row in bank.audit(actor="gateway")][:2] == ["login.accepted", "login.repeated"]


GUESSING = rules(lock_after=4)


def test_mode_auto_counts_each_wrong_code_behind_the_right_password_and_locks(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path, GUESSING), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            for guess in range(4):
                bank.clock.now += 60
                assert (
                    await door.why(taro, PW + wrong(taro), AUTO, calling_station_id=f"station {guess}") == Finding.WRONG
                )
                assert bank.login_record().failures == guess + 1
            assert await door.why(taro, PW + taro.code(), AUTO) == Finding.LOCKED

    run(scene)


def test_mode_auto_counts_each_wrong_code_where_the_code_is_enough(tmp_path: Path) -> None:
    bank, auto = Bank(tmp_path, GUESSING), Policy(Mode.AUTO, code_is_enough=True)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords()) as door:
            for guess in range(4):
                bank.clock.now += 60
                assert await door.why(taro, wrong(taro), auto) == Finding.WRONG
                assert bank.login_record().failures == guess + 1
            assert await door.why(taro, taro.code(), auto) == Finding.LOCKED

    run(scene)


def test_a_strangers_wrong_texts_keep_nobody_out_of_mode_auto_who_has_password_and_code(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path, GUESSING), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            for _ in range(10):
                found = await door.why(taro, "guessed" + wrong(taro), AUTO, calling_station_id="a stranger's phone")
                assert found == Finding.WRONG_PASSWORD
            state = await door.asked(taro, PW, AUTO, calling_station_id="taro's phone")
            assert await door.says(taro, taro.code(-1), AUTO, challenge=state) == Accept()
            for _ in range(10):
                await door.why(taro, "guessed" + wrong(taro), AUTO, calling_station_id="a stranger's phone")
            assert await door.says(taro, PW + taro.code(), AUTO, calling_station_id="taro's phone") == Accept()

    run(scene)
    assert bank.login_record().failures == 0


def test_texts_that_do_not_end_like_a_code_are_no_guesses_at_one(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path, GUESSING), knows(taro="hunter123456")
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            for _ in range(5):
                await door.why(taro, "wrong", AUTO)
            for _ in range(5):
                await door.asked(taro, "hunter123456", AUTO)

    run(scene)


@pytest.mark.parametrize("policy", [APPEND, AUTO])
def test_a_password_equal_to_the_code_is_one_answer_given_twice_and_no_attempt(tmp_path: Path, policy: Policy) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    code = taro.code()

    async def scene() -> None:
        async with entrance(bank, knows(taro=code)) as door:
            assert await door.why(taro, code + code, policy) == Finding.NOT_A_CODE

    run(scene)
    assert (bank.login_record().failures, bank.login_record().last_step) == (0, -1)


# A gateway that sends one login twice.


@pytest.mark.parametrize("mode", [Mode.CODE, Mode.APPEND, Mode.AUTO])
def test_a_login_that_is_sent_twice_joins_the_first_verdict_whatever_else_was_typed(tmp_path: Path, mode: Mode) -> None:
    bank, joining = Bank(tmp_path), Policy(mode, repeated_login_seconds=5)
    taro = bank.customer()
    opening = "" if mode is Mode.CODE else PW

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            for fingerprint in (7, 8):
                user_password = opening + taro.code()
                assert await door.says(taro, user_password, joining, fingerprint=fingerprint) == Accept()
            other = await door.says(taro, opening + taro.code(), joining, fingerprint=7, client="another gateway")
            assert isinstance(other, Reject)
            if mode is not Mode.CODE:
                assert await door.why(taro, "wrong" + taro.code(), joining) == Finding.WRONG_PASSWORD
            bank.clock.now += 5
            assert isinstance(await door.says(taro, opening + taro.code(), joining, fingerprint=7), Reject)

    run(scene)


def test_what_a_login_is_known_by_tells_nothing_of_the_password(tmp_path: Path) -> None:
    bank, joining = Bank(tmp_path), Policy(Mode.APPEND, repeated_login_seconds=5)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.says(taro, PW + taro.code(), joining, fingerprint=7) == Accept()

    run(scene)
    assert bank.login_record().last_fingerprint == bank.store.sealer.fingerprint(
        b"join", b"", b"gateway", b"taro", taro.code().encode()
    )


def test_an_answer_joins_under_its_own_state_and_under_no_forged_one(tmp_path: Path) -> None:
    bank, joining = Bank(tmp_path), Policy(Mode.CHALLENGE, repeated_login_seconds=5)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            other = await door.asked(taro, PW, joining)
            state = await door.asked(taro, PW, joining)
            code = taro.code()
            assert await door.says(taro, code, joining, challenge=state, fingerprint=7) == Accept()
            assert await door.says(taro, code, joining, challenge=state, fingerprint=8) == Accept()
            for forged in (b"", b"x" * 16):
                found = await door.why(taro, code, joining, challenge=forged, fingerprint=7)
                assert found == Finding.CHALLENGE_GONE
            await door.asked(taro, code, joining, challenge=other, fingerprint=7)

    run(scene)
    assert [row.event for row in bank.audit(event="login.repeated")] == ["login.repeated"]


# Mode auto, still.


def test_wrong_passwords_in_other_modes_do_not_change_how_mode_auto_reads(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=2))
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            for policy in (PASSWORD, CHALLENGE, APPEND):
                for _ in range(3):
                    await door.why(taro, "wrong", policy)
            assert await door.says(taro, PW + taro.code(), AUTO) == Accept()

    run(scene)


def test_mode_auto_leaves_a_counter_token_as_it_was_until_the_verdict(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(spec=TokenSpec(Kind.HOTP))

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.why(taro, "wrong" + taro.code(3), AUTO) == Finding.WRONG_PASSWORD
            assert bank.login_record().last_step == -1
            assert await door.says(taro, PW + taro.code(3), AUTO) == Accept()
            assert bank.login_record().last_step == 3

    run(scene)


def test_mode_auto_with_a_clock_that_was_set_back_is_silence(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            bank.guarded.now()
            bank.clock.now -= 3600
            silence = await door.says(taro, PW + taro.code(), AUTO)
            assert isinstance(silence, Silence)
            assert "--trust-clock" in silence.reason

    run(scene)


# Who cannot be asked.


@pytest.mark.parametrize("policy", [PASSWORD, CHALLENGE, APPEND, AUTO])
def test_a_first_factor_that_does_not_answer_is_silence_never_a_refusal(tmp_path: Path, policy: Policy) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()
    before, trail = bank.rows(), bank.audit()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            factor.silent = True
            assert await door.says(taro, PW + taro.code(), policy) == Silence("the directory does not answer")
            assert door.throttle.failures("taro", "gateway") == 1, "let through, and not known to be right"

    run(scene)
    assert (bank.rows(), bank.audit()) == (before, trail)


class Broken:
    """A first factor with a mistake in it."""

    has_rounds = False

    async def check(self, question: Question) -> FirstFinding:
        raise ZeroDivisionError("a mistake")


def test_a_first_factor_with_a_mistake_in_it_is_silence_and_the_log_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, Broken()) as door:
            assert await door.says(taro, PW, CHALLENGE) == Silence("the first factor failed")

    run(scene)
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_store_that_cannot_be_read_is_silence(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            bank.database.unlink()
            silence = await door.says(taro, PW, CHALLENGE)
            assert isinstance(silence, Silence)
            assert silence.reason.startswith("store: ")

    run(scene)


# Wrong passwords are slowed down.


def test_wrong_passwords_make_the_next_one_wait_and_being_let_in_clears_the_way(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with entrance(bank, factor, delays=Delays(free=1, first=0.1, longest=0.1)) as door:
            for _ in range(2):
                await door.why(taro, "wrong", PASSWORD)
            began = loop.time()
            assert await door.says(taro, PW, PASSWORD) == Accept()
            assert loop.time() >= began + 0.09
            began = loop.time()
            assert await door.says(taro, PW, PASSWORD) == Accept()
            assert loop.time() < began + 0.09

    run(scene)


def test_a_burst_of_right_passwords_all_pass_in_the_end(tmp_path: Path) -> None:
    """Behind a wrong one, with a delay that none of them could bear for each of those before."""
    bank, factor = Bank(tmp_path), KnownPasswords({"taro": PW}, slow=0.001)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=0, first=0.1, longest=30.0)) as door:
            await door.why(taro, "wrong", PASSWORD)
            deadline = asyncio.get_running_loop().time() + SOON / 2
            found = await asyncio.gather(*(door.says(taro, PW, PASSWORD, deadline=deadline) for _ in range(50)))
            assert found == [Accept()] * 50

    run(scene)


def test_a_line_that_moves_too_slowly_is_silence_and_no_refusal(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), KnownPasswords({"taro": PW}, slow=0.5)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=0, first=30.0, longest=30.0)) as door:
            first = asyncio.ensure_future(door.says(taro, PW, PASSWORD))
            await asyncio.sleep(0)
            deadline = asyncio.get_running_loop().time() + 0.05
            silence = await door.says(taro, PW, PASSWORD, deadline=deadline)
            assert isinstance(silence, Silence) and silence.busy
            assert await first == Accept()

    run(scene)


def test_the_way_is_cleared_by_the_verdict_and_not_by_a_right_password(tmp_path: Path) -> None:
    """Otherwise the next delay would tell that the password was right."""
    bank, factor = Bank(tmp_path), knows(taro=PW, hanako=PW)
    taro = bank.customer()
    bank.in_state(OtpUse.LOST, "hanako", "VSMT00000002")

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.why(taro, PW + wrong(taro), APPEND) == Finding.WRONG
            assert await door.why(taro, "wrong" + taro.code(), APPEND) == Finding.WRONG_PASSWORD
            assert door.throttle.failures("taro", "gateway") == 2
            assert await door.why("hanako", PW, CHALLENGE) == Finding.LOST
            assert door.throttle.failures("hanako", "gateway") == 1
            await door.asked(taro, PW)
            assert door.throttle.failures("taro", "gateway") == 0

    run(scene)


def test_a_burst_of_passwords_stands_in_line_before_any_is_known_to_be_wrong(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), KnownPasswords({"taro": PW}, slow=0.01)
    taro = bank.customer()

    async def scene() -> None:
        delays = Delays(free=2, first=5.0, longest=5.0)
        async with entrance(bank, factor, delays=delays, clock=HandClock(1.0)) as door:
            deadline = asyncio.get_running_loop().time() + 1
            guesses = (door.why(taro, f"guess {n}", PASSWORD, deadline=deadline) for n in range(10))
            found = await asyncio.gather(*guesses)
            assert sorted(found) == [Finding.TOO_SOON] * 7 + [Finding.WRONG_PASSWORD] * 3

    run(scene)
    assert len(factor.asked) == 3


def test_a_wait_past_the_deadline_is_a_refusal_unseen_and_makes_the_next_wait_no_longer(tmp_path: Path) -> None:
    bank, factor, clock = Bank(tmp_path), knows(), HandClock(1.0)
    taro = bank.customer()

    async def scene() -> None:
        delays = Delays(free=0, first=5.0, longest=5.0)
        async with entrance(bank, factor, delays=delays, clock=clock) as door:
            now = asyncio.get_running_loop().time()
            await door.why(taro, "wrong", PASSWORD)
            for _ in range(5):
                assert await door.why(taro, PW, PASSWORD, deadline=now + 4) == Finding.TOO_SOON
            clock.now += 5.0
            assert await door.says(taro, PW, PASSWORD, deadline=now + 4) == Accept()

    run(scene)
    assert factor.asked == [("taro", "wrong"), ("taro", PW)]


def test_a_stranger_slows_nobody_down_who_calls_from_elsewhere(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=0, first=5.0, longest=5.0), clock=HandClock(1.0)) as door:
            await door.why(taro, "wrong", PASSWORD, calling_station_id="a stranger's phone")
            assert await door.says(taro, PW, PASSWORD, calling_station_id="taro's phone") == Accept()
            assert door.throttle.failures("taro", "a stranger's phone") == 1

    run(scene)


def test_wrong_passwords_never_lock_anybody(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path, rules(lock_after=2)), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            for policy in (PASSWORD, CHALLENGE, APPEND, AUTO):
                for _ in range(5):
                    await door.why(taro, "wrong" + taro.code(), policy)
            assert await door.says(taro, PW + taro.code(), APPEND) == Accept()

    run(scene)


# The password as it is kept here.


def local_password(bank: Bank, pool: HashPool) -> LocalPassword:
    return LocalPassword(bank.store.login_reader(), pool, Cost(256, 1, 1), bank.desk.customers.renew_password_hash)


@asynccontextmanager
async def local(bank: Bank) -> AsyncIterator[Entrance]:
    pool = HashPool(1, 10)
    try:
        factor = LocalPassword(
            bank.store.login_reader(), pool, Cost(256, 1, 1), bank.desk.customers.renew_password_hash
        )
        async with entrance(bank, factor) as door:
            yield door
    finally:
        pool.close()


def test_a_password_that_is_kept_here_is_checked_against_its_hash(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=hash_password(PW.encode(), Cost(256, 1, 1)))
    bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        async with local(bank) as door:
            await door.asked(taro, PW)
            assert await door.why(taro, PW + " ", CHALLENGE) == Finding.WRONG_PASSWORD
            assert await door.why("nobody", PW, CHALLENGE) == Finding.UNKNOWN_CUSTOMER
            assert await door.why("jiro", "no password is held for jiro", CHALLENGE) == Finding.NOTHING_CHECKED

    run(scene)
    assert bank.audit(event="password.rehashed") == []


def test_an_old_hash_is_renewed_at_the_first_right_password_and_not_before(tmp_path: Path) -> None:
    bank, old = Bank(tmp_path), hash_password(PW.encode(), Cost(512, 1, 1))
    taro = bank.customer(password_hash=old)

    async def scene() -> None:
        async with local(bank) as door:
            assert await door.why(taro, "wrong", PASSWORD) == Finding.WRONG_PASSWORD
            assert held(bank) == old
            assert await door.says(taro, PW, PASSWORD) == Accept()
            await asyncio.sleep(0.2)  # it is renewed beside the login
            assert not needs_rehash(held(bank), Cost(256, 1, 1))
            assert await door.says(taro, PW, PASSWORD) == Accept()

    run(scene)
    (row,) = bank.audit(event="password.rehashed")
    assert (row.actor, row.customer) == ("sekisho", "taro")


class CountingPool(HashPool):
    """Remembers how often it hashed."""

    hashed = 0

    async def run(self, *work: Any, **more: Any) -> Any:  # type: ignore[override]
        self.hashed += 1
        return await super().run(*work, **more)


@pytest.mark.parametrize("who", ["taro", "jiro", "nobody"])
def test_a_hash_is_worked_out_whether_or_not_one_is_held(tmp_path: Path, who: str) -> None:
    """The time of an answer must not tell who has a password here, nor who is a customer."""
    bank = Bank(tmp_path)
    bank.customer(password_hash=hash_password(PW.encode(), Cost(256, 1, 1)))
    bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        pool = CountingPool(1, 10)
        factor = LocalPassword(
            bank.store.login_reader(), pool, Cost(256, 1, 1), bank.desk.customers.renew_password_hash
        )
        async with entrance(bank, factor) as door:
            await door.why(who, "wrong", CHALLENGE)
        pool.close()
        assert pool.hashed == 1

    run(scene)


@pytest.mark.parametrize("mode", [AUTO, CHALLENGE, PASSWORD, APPEND])
@pytest.mark.parametrize("text", ["wrong", "wrong123456", "wrong 123 456"])
def test_a_refusal_takes_as_many_hashes_whoever_is_asked_for(tmp_path: Path, mode: Policy, text: str) -> None:
    """Known or not, with a token, without one, with a password held here or not: the time tells nothing."""
    bank, hash_ = Bank(tmp_path), hash_password(PW.encode(), Cost(256, 1, 1))
    bank.customer("with-token", password_hash=hash_)
    bank.customer("without-token", None, password_hash=hash_)
    bank.customer("no-password", "VSMT00000002")
    bank.customer("neither", None)
    hashed: dict[str, int] = {}

    async def scene() -> None:
        for who in ("with-token", "without-token", "no-password", "neither", "nobody"):
            pool = CountingPool(1, 10)
            factor = LocalPassword(
                bank.store.login_reader(), pool, Cost(256, 1, 1), bank.desk.customers.renew_password_hash
            )
            async with entrance(bank, factor) as door:
                await door.why(who, text, mode)
            pool.close()
            hashed[who] = pool.hashed

    run(scene)
    assert set(hashed.values()) == {2 if mode is AUTO and "123" in text else 1}


def held(bank: Bank) -> str:
    key = bank.login_record().customer_key
    with bank.store.work() as work:
        hash_ = work.profile(key).password_hash
    assert hash_ is not None
    return hash_


def test_nobody_is_kept_out_because_a_hash_cannot_be_renewed_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank, old = Bank(tmp_path, busy_seconds=0.01), hash_password(PW.encode(), Cost(512, 1, 1))
    taro = bank.customer(password_hash=old)
    patient = bank.open_store()

    async def scene() -> None:
        async with local(bank) as door:
            with patient.work():
                waiting = asyncio.ensure_future(door.says(taro, PW, PASSWORD))
                await asyncio.sleep(0.2)
            assert await waiting == Accept()

    run(scene)
    assert held(bank) == old
    assert "a password hash was not renewed" in capsys.readouterr().out


def test_a_hash_that_cannot_be_checked_is_silence(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash="$1$md5-crypt$is-not-known-here")

    async def scene() -> None:
        async with local(bank) as door:
            silence = await door.says(taro, PW, PASSWORD)
            assert isinstance(silence, Silence)
            assert "the password hash of taro cannot be checked" in silence.reason

    run(scene)


def test_more_passwords_than_may_wait_are_silence(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=hash_password(PW.encode(), Cost(256, 1, 1)))

    async def scene() -> None:
        pool, busy = HashPool(1, 1), threading.Event()
        factor = LocalPassword(
            bank.store.login_reader(), pool, Cost(256, 1, 1), bank.desk.customers.renew_password_hash
        )
        async with entrance(bank, factor) as door:
            hashing = [asyncio.ensure_future(pool.run(busy.wait, SOON)) for _ in range(2)]
            await asyncio.sleep(0)
            silence = await door.says(taro, PW, PASSWORD)
            assert isinstance(silence, Silence)
            assert "max_waiting" in silence.reason
            busy.set()
            await asyncio.gather(*hashing)
            assert await door.says(taro, PW, PASSWORD) == Accept()
        pool.close()

    run(scene)


def test_a_password_that_nobody_waits_for_any_more_is_not_checked(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=hash_password(PW.encode(), Cost(256, 1, 1)))

    async def scene() -> None:
        async with local(bank) as door:
            deadline = asyncio.get_running_loop().time() - 1
            silence = await door.says(taro, PW, PASSWORD, deadline=deadline)
            assert isinstance(silence, Silence)
            assert "waited longer" in silence.reason
            assert await door.says(taro, PW, PASSWORD, deadline=math.inf) == Accept()

    run(scene)


# Coming to an end.


def test_closing_gives_up_the_first_factors_under_way_and_lets_nobody_in(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    told: list[Verdict] = []

    async def scene() -> None:
        async with entrance(bank, KnownPasswords({"taro": PW}, slow=SOON)) as door:
            door.authenticator.admit(Attempt("taro", PW, PASSWORD, "gateway"), told.append)
            await asyncio.sleep(0.01)
            await door.authenticator.close()
            await asyncio.sleep(0.01)

    run(scene)
    assert told == []
    assert bank.audit(event="login.accepted") == []


class Secret(str):
    """Text of which one can tell whether anybody still holds it."""


@pytest.mark.parametrize("policy", [PASSWORD, CHALLENGE, CODE])
def test_nothing_of_a_login_is_held_when_it_is_over(tmp_path: Path, policy: Policy) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            user_password = Secret(PW)
            held = weakref.ref(user_password)
            await door.says(taro, user_password, policy)
            factor.asked.clear()
            del user_password
            await asyncio.sleep(0.01)
            gc.collect()
            assert held() is None
            assert [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and task.done()] == []

    run(scene)


def test_who_stops_waiting_for_an_answer_disturbs_nobody(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        async with entrance(bank, KnownPasswords({"taro": PW}, slow=0.02)) as door:
            gone = asyncio.ensure_future(door.says(taro, PW, PASSWORD))
            await asyncio.sleep(0.01)
            gone.cancel()
            await asyncio.sleep(0.03)
            assert await door.says(jiro, jiro.code(), CODE) == Accept()

    run(scene)
