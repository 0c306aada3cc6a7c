"""A first factor that knows customers by other names: one customer for all of them, in everything that is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pytest

from otp_core.first_factor import FirstFinding, Question
from otp_core.login.table import Finding
from otp_core.model import Accept, Attempt, BackendSilent, Challenge, Overloaded, Policy, Silence, TokenSpec
from otp_core.station import counted_station
from tests.core.bank import APPEND, CHALLENGE, CODE, PASSWORD, Bank
from tests.core.entrance import entrance, knows, run

ELSEWHERE = "directory"


class Known(NamedTuple):
    customer: str
    number: int


@dataclass
class Directory:
    """Knows taro by three names. ``silent``: does not say whose name it is; ``asked``: names, then accounts."""

    silent: Exception | None = None
    hangs: bool = False
    names: list[str] = field(default_factory=list)
    accounts: list[object] = field(default_factory=list)
    has_rounds = False
    one_reading = True
    relays = False
    reachable = True

    async def account_of(self, typed: str, deadline: float) -> Known:
        self.names.append(typed)
        if self.hangs:
            await asyncio.Event().wait()
        if self.silent:
            raise self.silent
        return Known("taro", 7) if typed in ("taro", "BANK\\taro", "taro@bank.example") else Known(typed, 0)

    async def check(self, question: Question) -> FirstFinding:
        self.accounts.append(question.attempt.account)
        return FirstFinding(right=question.candidates[0] == "sesame" and question.attempt.account == Known("taro", 7))


def elsewhere(policy: Policy) -> Policy:
    return replace(policy, first_factor=ELSEWHERE)


def test_the_code_is_found_and_spent_once_whichever_name_is_typed(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory()
    taro = bank.customer(spec=TokenSpec(digits=8))

    async def scene() -> None:
        async with entrance(
            bank, knows(), more_factors={ELSEWHERE: directory}, accounts={ELSEWHERE: directory}
        ) as door:
            code = taro.code()
            assert await door.says("BANK\\taro", "sesame" + code, elsewhere(APPEND)) == Accept()
            assert await door.why("taro@bank.example", "sesame" + code, elsewhere(APPEND)) == Finding.REUSED
            assert await door.why("jiro", "sesame", elsewhere(APPEND)) == Finding.UNKNOWN_CUSTOMER

    run(scene)
    assert {row.customer for row in bank.audit(event="login.")} >= {"taro"}
    assert directory.accounts == [Known("taro", 7), Known("taro", 7), Known("jiro", 0)]


def test_the_answer_to_a_challenge_may_come_under_another_name(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(
            bank, knows(), more_factors={ELSEWHERE: directory}, accounts={ELSEWHERE: directory}
        ) as door:
            asked = await door.says("taro@bank.example", "sesame", elsewhere(CHALLENGE))
            assert isinstance(asked, Challenge)
            assert await door.says("BANK\\taro", taro.code(), elsewhere(CHALLENGE), challenge=asked.state) == Accept()

    run(scene)
    assert len(directory.accounts) == 1


def test_wrong_passwords_add_up_over_all_names(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory()
    bank.customer()

    async def scene() -> None:
        async with entrance(
            bank, knows(), more_factors={ELSEWHERE: directory}, accounts={ELSEWHERE: directory}
        ) as door:
            for name in ("taro", "BANK\\taro", "taro@bank.example"):
                assert await door.why(name, "not-it", elsewhere(PASSWORD)) == Finding.WRONG_PASSWORD
            attempt = Attempt("taro", "", elsewhere(PASSWORD), "gateway", "192.0.2.1")
            assert door.throttle.failures("taro", counted_station(attempt)) == 3

    run(scene)


FAULT = Silence("whose name this is could not be looked up")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (BackendSilent("gone"), Silence("gone")),
        (Overloaded("too many"), Silence("too many", busy=True)),
        (ZeroDivisionError("a fault of ours"), FAULT),  # without a verdict the login would be waited for for ever
    ],
)
def test_who_cannot_say_whose_name_it_is_is_silent_and_nothing_is_counted(
    tmp_path: Path, error: Exception, verdict: Silence
) -> None:
    bank, directory = Bank(tmp_path), Directory(silent=error)
    bank.customer()

    async def scene() -> None:
        async with entrance(
            bank, knows(), more_factors={ELSEWHERE: directory}, accounts={ELSEWHERE: directory}
        ) as door:
            assert await door.says("taro", "sesame", elsewhere(PASSWORD)) == verdict
            attempt = Attempt("taro", "", elsewhere(PASSWORD), "gateway", "192.0.2.1")
            assert door.throttle.failures("taro", counted_station(attempt)) == 0
            directory.silent, directory.hangs = None, True
            soon = asyncio.get_running_loop().time() + 0.01
            said = await door.says("taro", "sesame", elsewhere(PASSWORD), deadline=soon)
            assert said == Silence("the first factor 'directory' did not say in time whose name this is")

    run(scene)
    assert bank.audit(event="login.") == [] and directory.accounts == []


def test_a_gateway_that_checks_the_password_itself_asks_nobody(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(
            bank, knows(), more_factors={ELSEWHERE: directory}, accounts={ELSEWHERE: directory}
        ) as door:
            assert await door.says("taro", taro.code(), elsewhere(CODE)) == Accept()
            assert await door.says("TARO", "sesame", replace(elsewhere(PASSWORD), fold_case=True)) != Accept()

    run(scene)
    assert directory.names == ["TARO"]


def test_the_case_in_which_an_id_is_stored_is_found_behind_the_name(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory()
    bank.customer("TARO")

    async def scene() -> None:
        async with entrance(
            bank, knows(), more_factors={ELSEWHERE: directory}, accounts={ELSEWHERE: directory}
        ) as door:
            policy = replace(elsewhere(CHALLENGE), fold_case=True)
            assert isinstance(await door.says("BANK\\taro", "sesame", policy), Challenge)

    run(scene)
    assert bank.audit(event="login.")[-1].customer == "TARO"
