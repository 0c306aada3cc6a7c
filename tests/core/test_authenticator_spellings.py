"""Modes append and auto as gateways write them: separators, the code first; and what is ignored: a State of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from otp_core.login.table import Finding
from otp_core.model import Accept, Challenge, OtpUse, Policy
from tests.core.bank import APPEND, AUTO, CHALLENGE, CODE, PASSWORD, Bank
from tests.core.entrance import PW, entrance, knows, run

WRONG = "000000"


@pytest.mark.parametrize("code_first", [False, True])
@pytest.mark.parametrize("separator", ["", ",", ":", "-", " ", "##"])
@pytest.mark.parametrize("mode", [APPEND, AUTO])
def test_both_modes_honour_separator_and_position(
    tmp_path: Path, mode: Policy, separator: str, code_first: bool
) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    policy = replace(mode, separator=separator, code_first=code_first)

    def both(code: str, password: str = PW) -> str:
        return separator.join((code, password) if code_first else (password, code))

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.why(taro, both(taro.code(), "wrong"), policy) == Finding.WRONG_PASSWORD
            assert await door.why(taro, both(WRONG), policy) == Finding.WRONG
            assert bank.login_record().failures == 1, "a wrong code behind the right password is counted"
            assert await door.says(taro, both(taro.code()), policy) == Accept()
            assert await door.why(taro, both(taro.code()), policy) == Finding.REUSED

    run(scene)


@pytest.mark.parametrize("mode", [APPEND, AUTO])
def test_the_other_order_and_a_missing_separator_are_no_login(tmp_path: Path, mode: Policy) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    policy = replace(mode, separator=",", code_first=True)

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            for text in (f"{PW},{taro.code()}", f"{taro.code()}{PW}", f"{taro.code()};{PW}"):
                assert not isinstance(await door.says(taro, text, policy), Accept | Challenge)

    run(scene)
    assert bank.login_record().failures == 0


def test_mode_auto_still_asks_whoever_gives_the_password_alone(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    policy = replace(AUTO, separator=",", code_first=True)

    async def scene() -> None:
        async with entrance(bank, knows(taro=f"123456,{PW}")) as door:
            state = await door.asked(taro, f"123456,{PW}", policy)
            assert await door.says(taro, taro.code(), policy, challenge=state) == Accept()

    run(scene)


@pytest.mark.parametrize("mode", [APPEND, CODE, PASSWORD])
def test_a_state_is_ignored_where_nobody_is_asked(tmp_path: Path, mode: Policy) -> None:
    """Some gateways repeat the State that another server gave them."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    text = {APPEND: PW + taro.code(), CODE: taro.code(), PASSWORD: PW}[mode]

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            theirs = await door.asked(taro, PW, CHALLENGE, client="another gateway")
            for state in (b"", b"forged", theirs):
                verdict = await door.says(taro, text, mode, challenge=state)
                assert verdict == Accept() or verdict.reason == Finding.REUSED  # type: ignore[union-attr]
            assert await door.says("nobody", text, mode, challenge=b"forged") != Accept()
            assert await door.says(taro, "wrong", mode, challenge=b"forged") != Accept()
            assert bank.audit(event="login.accepted") != []

    run(scene)


# The case of a contract ID.


@pytest.mark.parametrize(
    ("stored", "typed", "found"),
    [
        ("taro", "TARO", "taro"),
        ("AB12345", "ab12345", "AB12345"),
        ("Taro", "tARO", "Taro"),
        ("taro", "taro", "taro"),
        ("TaRo", "TaRo", "TaRo"),
        ("TaRo", "taro", None),
        ("1234567", "1234567", "1234567"),
    ],
)
def test_with_fold_case_an_id_is_found_in_any_case(tmp_path: Path, stored: str, typed: str, found: str | None) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(stored)

    async def scene() -> None:
        async with entrance(bank, knows(**{stored: PW})) as door:
            for policy, text in ((APPEND, PW + taro.code()), (CODE, taro.code(1)), (PASSWORD, PW)):
                verdict = await door.says(typed, text, replace(policy, fold_case=True))
                assert (verdict == Accept()) is (found is not None)
            state = found and await door.asked(typed, PW, replace(CHALLENGE, fold_case=True))
            if state:
                again = await door.says(typed, WRONG, replace(CHALLENGE, fold_case=True), challenge=state)
                assert isinstance(again, Challenge)
            if typed != stored:
                assert await door.why(typed, PW, PASSWORD) == Finding.UNKNOWN_CUSTOMER, "without it case counts"

    run(scene)
    if found is not None:
        assert {row.customer for row in bank.audit(event="login.accepted")} == {stored}


def test_of_two_that_differ_in_case_the_exact_one_is_meant_and_else_nobody(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    for name in ("taro", "Taro"):
        bank.customer(name, None)
    policy = replace(PASSWORD, fold_case=True)

    async def scene() -> None:
        async with entrance(bank, knows(taro="one", Taro="two")) as door:
            assert await door.says("taro", "one", policy) == Accept()
            assert await door.says("Taro", "two", policy) == Accept()
            for password in ("one", "two"):
                assert await door.why("TARO", password, policy) == Finding.UNKNOWN_CUSTOMER

    run(scene)


def test_wrong_passwords_in_several_cases_are_delayed_as_one_customer_s(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            for typed in ("taro", "TARO", "Taro", "tARO"):
                assert await door.why(typed, "wrong", replace(PASSWORD, fold_case=True)) == Finding.WRONG_PASSWORD
            assert door.throttle.failures("taro", "gateway") == 4

    run(scene)


def test_who_has_no_token_gives_the_password_alone(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.SUSPENDED)

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            for policy in (APPEND, AUTO):
                assert await door.says("taro", PW, replace(policy, separator=",")) == Accept()

    run(scene)
