"""Mode auto: a password alone or with a code behind it, told apart by what fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.login.table import Finding
from otp_core.model import Accept, Kind, Mode, Policy, TokenSpec
from tests.core.at_the_desk import wrong
from tests.core.bank import APPEND, AUTO, CHALLENGE, PASSWORD, Bank, rules
from tests.core.entrance import PW, entrance, knows, run
from tests.fakes import KnownPasswords

# How it reads.


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


def test_mode_auto_leaves_a_counter_token_as_it_was_until_the_verdict(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(spec=TokenSpec(Kind.HOTP))

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            assert await door.why(taro, "wrong" + taro.code(3), AUTO) == Finding.WRONG_PASSWORD
            assert bank.own_token().last_step == -1
            assert await door.says(taro, PW + taro.code(3), AUTO) == Accept()
            assert bank.own_token().last_step == 3

    run(scene)


# What counts as a wrong code.

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
    assert (bank.login_record().failures, bank.own_token().last_step) == (0, -1)
