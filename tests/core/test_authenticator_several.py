"""Password and code in one text, of customers whose tokens have codes of several lengths: what fits tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.first_factor import FirstFinding, Question
from otp_core.login.table import Finding
from otp_core.model import Accept, Kind, Mode, Policy, TokenSpec
from otp_core.otp import DIGITS
from tests.core.at_the_desk import wrong
from tests.core.bank import APPEND, AUTO, Bank, Holder, rules
from tests.core.entrance import PW, entrance, knows, run
from tests.fakes import KnownPasswords

EIGHT = TokenSpec(digits=8)


def two(folder: Path, spec: TokenSpec = EIGHT, **more: int) -> tuple[Bank, Holder, Holder]:
    """taro with a token of six digits, and another of this kind."""
    bank = Bank(folder, rules(tokens_per_customer=2, **more))
    return bank, bank.customer(), bank.another_token("VSMT00000002", spec=spec)


@pytest.mark.parametrize("policy", [APPEND, AUTO])
@pytest.mark.parametrize("spec", [EIGHT, TokenSpec(Kind.HOTP, digits=8), TokenSpec(Kind.HOTP)])
@pytest.mark.parametrize("password", [PW, "pw12345678"])
def test_a_code_of_any_length_and_kind_is_found_behind_the_password(
    tmp_path: Path, policy: Policy, spec: TokenSpec, password: str
) -> None:
    bank, phone, pc = two(tmp_path, spec)

    async def scene() -> None:
        async with entrance(bank, knows(taro=password)) as door:
            assert await door.says(phone, password + phone.code(), policy) == Accept()
            assert await door.says(pc, password + pc.code(), policy) == Accept()
            assert await door.why(phone, password + phone.code(), APPEND) == Finding.REUSED

    run(scene)


@pytest.mark.parametrize("policy", [APPEND, AUTO])
def test_what_fits_is_tried_first(tmp_path: Path, policy: Policy) -> None:
    bank, phone, pc = two(tmp_path)
    factor = knows(taro="pw12")

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.says(phone, "pw12" + phone.code(), policy) == Accept()
            assert await door.says(pc, "pw12" + pc.code(), policy) == Accept()

    run(scene)
    assert factor.asked == [("taro", "pw12")] * 2


@pytest.mark.parametrize("policy", [APPEND, AUTO])
@pytest.mark.parametrize("password", ["pw12", PW])
def test_a_wrong_code_of_either_length_behind_the_right_password_is_counted(
    tmp_path: Path, policy: Policy, password: str
) -> None:
    """Also where the password ends in digits: nobody who knows it guesses codes for nothing."""
    bank, phone, _ = two(tmp_path, lock_after=100)
    factor = knows(taro=password)

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            for number, code in enumerate((wrong(phone), "87654321"), 1):
                assert await door.why("taro", password + code, policy) == Finding.WRONG
                assert bank.login_record().failures == number

    run(scene)


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.AUTO])
def test_a_used_code_of_either_length_is_no_wrong_one_where_no_password_is_held(tmp_path: Path, mode: Mode) -> None:
    """The end of a code of eight digits is no guess at the token of six; and a login that is sent again is known."""
    bank, phone, pc = two(tmp_path)
    policy = Policy(mode, code_is_enough=True, repeated_login_seconds=5)

    async def scene() -> None:
        async with entrance(bank, KnownPasswords()) as door:
            for holder in (phone, pc):
                for _ in range(2):
                    assert await door.says(holder, holder.code(), policy) == Accept()
            bank.clock.now += 20
            for holder in (phone, pc):
                assert await door.why(holder, holder.code(-1), policy) == Finding.REUSED
            assert bank.login_record().failures == 0
            assert await door.why(pc, "87654321", policy) == Finding.WRONG
            assert bank.login_record().failures == 1, "one for a text, however it is read"

    run(scene)


@pytest.mark.parametrize(("policy", "more"), [(APPEND, 0), (AUTO, 1)])
@pytest.mark.parametrize(
    ("text", "most"), [("nothing", 1), ("pw123456", 1), ("pw1234567", 2), ("pw12345678", 3), ("pw123456789", 3)]
)
def test_where_tokens_may_be_several_a_wrong_password_takes_as_long_for_everybody(
    tmp_path: Path, policy: Policy, more: int, text: str, most: int
) -> None:
    """As many readings are paid for as a text could have for anybody."""
    bank, _, _ = two(tmp_path)
    bank.customer("jiro", None)
    bank.customer("saburo", "VSMT00000003")
    factor = Counting({"taro": PW, "jiro": PW, "saburo": PW})

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            for who in ("taro", "jiro", "saburo", "nobody"):
                await door.says(who, text, policy)

    run(scene)
    extra = more if text != "nothing" else 0
    assert factor.most == [most + extra] * 4
    assert len(DIGITS) == 3


class Counting(KnownPasswords):
    """Notes how many readings each question says there could have been."""

    def __init__(self, passwords: dict[str, str]) -> None:
        super().__init__(passwords)
        self.most: list[int] = []

    async def check(self, question: Question) -> FirstFinding:
        self.most.append(question.most_candidates)
        return await super().check(question)


def test_with_one_token_for_each_customer_no_reading_is_paid_for_that_nobody_has(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    factor = Counting({"taro": PW})

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            for policy in (APPEND, AUTO):
                for who in (taro, "nobody"):
                    await door.says(who, "pw12345678", policy)

    run(scene)
    assert factor.most == [1, 1, 2, 2]


def test_an_answer_that_repeats_the_password_is_no_code_whatever_its_length(tmp_path: Path) -> None:
    bank, phone, pc = two(tmp_path)
    factor = knows(taro="12345678")

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            state = await door.asked("taro", "12345678")
            assert await door.says("taro", "12345678", AUTO, challenge=state) != Accept()
            assert bank.login_record().failures == 0, "not an attempt"
            assert await door.says(pc, "12345678" + pc.code(), APPEND) == Accept()
            assert await door.says(phone, "12345678" + phone.code(), APPEND) == Accept()

    run(scene)
