"""A first factor, a store or a clock that cannot be used: silence, never a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.first_factor import FirstFinding, Question
from otp_core.model import Policy, Silence
from tests.core.bank import APPEND, AUTO, CHALLENGE, PASSWORD, Bank
from tests.core.entrance import PW, entrance, knows, run


@pytest.mark.parametrize("policy", [PASSWORD, CHALLENGE, APPEND, AUTO])
def test_a_first_factor_that_does_not_answer_is_silence_never_a_refusal(tmp_path: Path, policy: Policy) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()
    before, trail = bank.rows(), bank.audit()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            factor.silent = True
            assert await door.says(taro, PW + taro.code(), policy) == Silence("the directory does not answer")
            assert door.throttle.failures("taro", "gateway") == 0, "an outage is nobody's wrong password"

    run(scene)
    assert (bank.rows(), bank.audit()) == (before, trail)


class Broken:
    """A first factor with a mistake in it."""

    has_rounds = False
    one_reading = False
    reachable = True
    relays = False

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
            with bank.store_away():
                silence = await door.says(taro, PW, CHALLENGE)
            assert isinstance(silence, Silence)
            assert silence.reason.startswith("store: ")
            assert not silence.busy, "strangers cannot bring that about"

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
