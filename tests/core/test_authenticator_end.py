"""The end of a login: nothing of it is held, and closing lets nobody in."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from otp_core.model import Accept, Attempt, Policy, Verdict
from tests.core.bank import CHALLENGE, CODE, PASSWORD, Bank
from tests.core.entrance import PW, SOON, entrance, knows, run
from tests.fakes import KnownPasswords


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
