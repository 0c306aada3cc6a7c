"""A gateway that sends one login twice: the second joins the first verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.login.table import Finding
from otp_core.model import Accept, Mode, Policy, Reject
from tests.core.bank import Bank
from tests.core.entrance import PW, entrance, knows, run


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
    assert bank.own_token().last_fingerprint == bank.store.sealer.fingerprint(
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
