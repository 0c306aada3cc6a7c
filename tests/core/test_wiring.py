"""Settings in, a working house out: every setting arrives where it is used, and the doors are found."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.clock import ClockSetBack
from otp_core.first_factor.hashes import Cost
from otp_core.login.policy import Delays, Rules
from otp_core.model import Accept, Attempt, Challenge, Mode, Policy, Silence, StoreProblem, Verdict
from otp_core.sealing import KeyProblem
from sekisho.doors import DOORS
from sekisho.settings import Settings
from sekisho.wiring import Application, cost_of, open_application, open_desk, open_store, rules_of
from tests.ahead import ahead
from tests.core.bank import verdict_on
from tests.sekisho import PASSWORD, STAFF, Sekisho

CODE, CHALLENGE = Policy(Mode.CODE), Policy(Mode.CHALLENGE)
LOGIN = """
[login]
lock_after = 7
code_window = 2
max_drift = 3
hotp_look_ahead = 4
resync_window = 5
resync_look_ahead = 6
challenge_seconds = 8
challenge_tries = 9
tokens_per_customer = 2
one_customer_per_token = false
reissue_permit_hours = 10
[throttle]
free_failures = 11
first_delay = 12.0
max_delay = 13.0
"""


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Sekisho]:
    made = Sekisho(tmp_path)
    yield made
    made.close()


def test_every_rule_is_the_settings_own(tmp_path: Path) -> None:
    settings = Sekisho(tmp_path, more=LOGIN).settings
    rules = rules_of(settings)
    assert rules == Rules(
        lock_after=7,
        window=2,
        max_drift=3,
        look_ahead=4,
        resync_window=5,
        resync_look_ahead=6,
        challenge_seconds=8,
        challenge_tries=9,
        tokens_per_customer=2,
        one_customer_per_token=False,
        permit_hours=10,
        code_delays=Delays(11, 12.0, 13.0),
    )
    same = [
        field.name for field in dataclasses.fields(Rules) if getattr(rules, field.name) == getattr(Rules(), field.name)
    ]
    assert same == ["remember_seconds"], "a rule without a setting"


def test_the_defaults_of_the_settings_are_those_of_the_rules(bank: Sekisho) -> None:
    assert rules_of(bank.settings) == Rules()


def test_a_hash_costs_what_the_settings_say(bank: Sekisho) -> None:
    assert cost_of(bank.settings) == Cost(256, 1, 1)


def test_every_door_is_named_in_the_table_with_a_section_of_the_schema() -> None:
    assert set(DOORS) == {"api", "console", "pam", "radius", "soft_token", "web"}
    assert {entry.section for entry in DOORS.values()} <= set(Settings.model_fields)


def test_a_sekisho_lets_in_whom_the_desk_enrolled(bank: Sekisho) -> None:
    taro = bank.customer()

    async def scene() -> None:
        application = open_application(bank.settings)
        try:
            wrong = await answer(application, taro.contract_id, "wrong", CHALLENGE)
            asked = await answer(application, taro.contract_id, PASSWORD, CHALLENGE)
            assert isinstance(asked, Challenge) and not isinstance(wrong, Challenge)
            attempt = Attempt(taro.contract_id, taro.code(), CHALLENGE, "gateway", challenge=asked.state)
            assert await verdict_on(attempt, application.services.authenticator) == Accept()
            assert await becomes_healthy(application)
            assert await answer(application, taro.contract_id, taro.code(1), CODE) == Accept()
        finally:
            await application.close()

    asyncio.run(scene())


async def answer(application: Application, contract_id: str, user_password: str, policy: Policy) -> Verdict:
    return await verdict_on(Attempt(contract_id, user_password, policy, "gateway"), application.services.authenticator)


def test_every_state_is_a_new_one_that_nobody_can_guess(bank: Sekisho) -> None:
    taro = bank.customer()

    async def scene() -> None:
        application = open_application(bank.settings)
        asked = [await answer(application, taro.contract_id, PASSWORD, CHALLENGE) for _ in range(20)]
        await application.close()
        states = {verdict.state for verdict in asked if isinstance(verdict, Challenge)}
        assert len(states) == 20
        assert all(len(state) == 16 for state in states)

    asyncio.run(scene())


async def becomes_healthy(application: Application) -> bool:
    """Within half a minute: a store that another machine holds is asked in a thread."""
    for _ in range(600):
        if application.services.health.healthy():
            return True
        await asyncio.sleep(0.05)
    return False


def test_a_clock_behind_what_the_store_has_seen_is_refused_over_a_restart(bank: Sekisho) -> None:
    taro = bank.customer()
    ahead(bank.settings, 3600)

    async def scene() -> None:
        application = open_application(bank.settings)
        deadline = asyncio.get_running_loop().time()
        attempt = Attempt(taro.contract_id, taro.code(), CODE, "gateway", deadline=deadline)
        silence = await verdict_on(attempt, application.services.authenticator)
        assert isinstance(silence, Silence) and "--trust-clock" in silence.reason
        assert not application.services.health.healthy()
        await application.close()

    asyncio.run(scene())
    with pytest.raises(ClockSetBack):
        open_desk(bank.settings, bank.store).enrolment.suspend(taro.contract_id, taro.code(), STAFF)


def test_a_clock_that_is_trusted_is_used_and_that_is_written_down(bank: Sekisho) -> None:
    taro = bank.customer()
    ahead(bank.settings, 3600)

    async def scene() -> None:
        application = open_application(bank.settings, trust_clock=True)
        assert await answer(application, taro.contract_id, taro.code(), CODE) == Accept()
        await application.close()

    asyncio.run(scene())
    assert [row.actor for row in bank.audit(event="clock.trusted")].count("sekisho serve") == 1


def test_a_clock_that_was_trusted_once_stays_trusted_for_workers_commands_and_the_next_start(bank: Sekisho) -> None:
    taro = bank.customer()
    ahead(bank.settings, 3600)

    async def scene() -> None:
        await open_application(bank.settings, trust_clock=True).close()
        application = open_application(bank.settings)  # as a worker does, behind the one that tried
        assert await becomes_healthy(application)
        await application.close()

    asyncio.run(scene())
    open_desk(bank.settings, bank.store).enrolment.suspend(taro.contract_id, taro.code(), STAFF)


def test_a_clock_that_was_trusted_is_not_trusted_over_rows_of_the_future_that_came_later(bank: Sekisho) -> None:
    taro = bank.customer()
    ahead(bank.settings, 3600)

    async def scene() -> None:
        await open_application(bank.settings, trust_clock=True).close()
        ahead(bank.settings, 7200)
        application = open_application(bank.settings)
        assert not application.services.health.healthy()
        await application.close()
        application = open_application(bank.settings, trust_clock=True)
        assert await becomes_healthy(application), "and may be trusted again"
        await application.close()

    asyncio.run(scene())
    open_desk(bank.settings, bank.store).enrolment.suspend(taro.contract_id, taro.code(), STAFF)


def test_a_sekisho_without_a_store_or_with_another_key_is_a_problem(bank: Sekisho) -> None:
    bank.settings.store.master_key_file.write_bytes(b"")
    with pytest.raises(KeyProblem):
        open_store(bank.settings)
    bank.close()
    bank.settings.store.master_key_file.unlink()
    with pytest.raises(KeyProblem):
        open_store(bank.settings)


@pytest.mark.sqlite_files
def test_a_store_that_is_missing_is_a_problem(bank: Sekisho) -> None:
    bank.database.unlink()
    with pytest.raises(StoreProblem, match="sekisho init"):
        open_store(bank.settings)
