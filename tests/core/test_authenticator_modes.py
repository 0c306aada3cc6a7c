"""The modes code, password, challenge and append: what each asks for, and whom it lets in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import Accept, Language, Mode, OtpUse, Policy, Reject, TokenSpec
from tests.core.bank import APPEND, AUTO, CHALLENGE, CODE, PASSWORD, STAFF, Bank
from tests.core.entrance import PW, entrance, knows, run
from tests.fakes import KnownPasswords

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
    assert bank.own_token().last_step == -1


@pytest.mark.parametrize("policy", [PASSWORD, CHALLENGE, APPEND, AUTO])
def test_no_mode_that_asks_for_a_password_lets_in_where_none_is_held(tmp_path: Path, policy: Policy) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords()) as door:
            for user_password in ("anything", taro.code(), "anything" + taro.code()):
                assert await door.why(taro, user_password, policy) == Finding.NOTHING_CHECKED

    run(scene)
    assert bank.own_token().last_step == -1
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


@pytest.mark.parametrize(
    ("user_password", "finding"),
    [(PW, Finding.NOT_A_CODE), (PW + "12345", Finding.NOT_A_CODE), ("", Finding.WRONG_PASSWORD)],
)
def test_mode_append_without_a_code_is_refused_and_not_counted(
    tmp_path: Path, user_password: str, finding: Finding
) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, knows(taro=user_password)) as door:
            assert await door.why(taro, user_password, APPEND) == finding

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
