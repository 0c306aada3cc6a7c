"""Whether logins can be answered: a write that waits for the disk, and a clock that was not set back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from otp_core.authentication.queue import LoginQueue
from otp_core.health import BUSY_FOR, PROBE_SECONDS, SWEEP_SECONDS, Health
from otp_core.login.requests import Decision, LoginRequest
from otp_core.login.table import Stage
from otp_core.model import Accept, Attempt, Mode, OpenChallenge, Policy, Silence, Verdict
from tests.core.bank import NOON, Bank
from tests.core.batches import completed
from tests.fakes import SwiftLoop


@asynccontextmanager
async def health_of(bank: Bank) -> AsyncIterator[Health]:
    async with queue_and_health_of(bank) as (_, health):
        yield health


@asynccontextmanager
async def queue_and_health_of(bank: Bank) -> AsyncIterator[tuple[LoginQueue, Health]]:
    maintenance = bank.store.maintenance()
    queue = LoginQueue(bank.store.login_batch(), bank.evaluator, bank.guarded, bank.store.ids)
    try:
        yield queue, Health(maintenance, bank.guarded, queue)
    finally:
        queue.close()
        maintenance.close()


def challenge(bank: Bank, state: bytes, seconds: float) -> None:
    """Somebody was asked, and the answer is due in so many seconds."""
    login_batch = bank.store.login_batch()
    expires_at = int((NOON + seconds) * 1000)

    decision = Decision(challenges_created=[OpenChallenge(state, 1, "gateway", expires_at, 3, None)])
    completed(login_batch.run([], [], lambda _: decision))
    login_batch.close()


def run(loop: SwiftLoop, scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scene())


def test_a_store_that_takes_a_write_is_healthy_and_the_answer_is_remembered_for_a_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank, loop = Bank(tmp_path), SwiftLoop()

    async def scene() -> None:
        async with health_of(bank) as health:
            assert health.healthy()
            with bank.store_away():
                assert health.healthy(), "asked again at once, it does not touch the store"
                loop.ahead += PROBE_SECONDS
                assert not health.healthy(), "no other trouble than a lock is waited out"
            assert not health.healthy(), "nor does a bad answer change at once"
            assert "healthy again" not in capsys.readouterr().out
            for _ in range(2):
                loop.ahead += PROBE_SECONDS
                assert health.healthy()

    run(loop, scene)
    assert capsys.readouterr().out.count("healthy again") == 1, "so that a log does not end with the trouble"


def test_a_store_that_is_asked_in_a_thread_is_healthy_from_the_first_question_on(tmp_path: Path) -> None:
    """Otherwise the first Status-Server behind a start gets no answer, and a gateway goes elsewhere."""
    bank = Bank(tmp_path)

    async def scene() -> None:
        queue = LoginQueue(bank.store.login_batch(), bank.evaluator, bank.guarded, bank.store.ids)
        health = Health(bank.store.maintenance(), bank.guarded, queue, waits=True)
        await health.look()
        assert health.healthy()
        queue.close()
        health.close()

    asyncio.run(scene())


@pytest.mark.sqlite_files
def test_somebody_elses_lock_is_no_trouble_for_a_few_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An import takes the write lock for moments; front ends must not go elsewhere for it."""
    bank, loop = Bank(tmp_path, busy_seconds=0.01), SwiftLoop()

    async def scene() -> None:
        async with health_of(bank) as health:
            assert health.healthy()
            with bank.store.work():
                loop.ahead += BUSY_FOR - 0.5
                assert health.healthy()
                assert "not healthy" not in capsys.readouterr().out
                loop.ahead += PROBE_SECONDS
                assert not health.healthy()
            loop.ahead += PROBE_SECONDS
            assert health.healthy()
            with bank.store.work():
                loop.ahead += PROBE_SECONDS
                assert health.healthy(), "counted from the last write that succeeded"

    run(loop, scene)
    assert "write lock" in capsys.readouterr().out


@pytest.mark.sqlite_files
def test_the_first_answer_is_not_a_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)

    async def scene() -> None:
        async with health_of(bank) as health:
            with bank.store.work():
                assert not health.healthy()

    asyncio.run(scene())
    said = capsys.readouterr().out
    assert "not healthy" in said and "write lock" in said


def test_a_clock_that_was_set_back_is_not_healthy(tmp_path: Path) -> None:
    bank = Bank(tmp_path)

    async def scene() -> None:
        async with health_of(bank) as health:
            bank.guarded.now()
            bank.clock.now -= 3600
            assert not health.healthy()

    asyncio.run(scene())


@pytest.mark.parametrize("table", ["token", "customer", "audit"])
def test_while_logins_fail_it_is_not_healthy_and_finds_out_by_itself_that_they_would_not(
    tmp_path: Path, table: str
) -> None:
    """Nobody logs in meanwhile: the gateway has gone elsewhere."""
    bank, loop = Bank(tmp_path), SwiftLoop()
    taro = bank.customer()
    before = bank.audit()

    async def login(queue: LoginQueue) -> Verdict:
        verdict: asyncio.Future[Verdict] = loop.create_future()
        policy = Policy(Mode.CODE)
        attempt = Attempt(taro.contract_id, taro.code(), policy, "gateway", "192.0.2.1", deadline=loop.time())
        queue.submit(LoginRequest(attempt, Stage.CODE, code=taro.code()), verdict.set_result)
        return await verdict

    async def scene() -> None:
        async with queue_and_health_of(bank) as (queue, health):
            assert health.healthy()
            with hidden(bank, table):
                loop.ahead += PROBE_SECONDS
                assert health.healthy(), "its own write fares well, and nobody has logged in"
                assert isinstance(await login(queue), Silence)
                loop.ahead += PROBE_SECONDS
                assert not health.healthy()
            loop.ahead += PROBE_SECONDS
            assert health.healthy()
            assert bank.audit() == before, "a rehearsal leaves nothing behind"
            assert isinstance(await login(queue), Accept)
            assert queue.failing == frozenset()

    run(loop, scene)


@contextlib.contextmanager
def hidden(bank: Bank, table: str) -> Iterator[None]:
    """For the statements of a login it is not there."""
    other = bank.open_store()
    with other.engine.connect() as connection:
        if other.database.file is not None:
            connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO away")
        yield
        connection.exec_driver_sql(f"ALTER TABLE away RENAME TO {table}")
    other.engine.dispose()


@pytest.mark.sqlite_files
def test_it_keeps_sekisho_whatever_happens(tmp_path: Path) -> None:
    """Challenges that nobody answered are forgotten; a locked store only puts it off."""
    bank = Bank(tmp_path, busy_seconds=0.01)
    challenge(bank, b"soon", 10)
    challenge(bank, b"later", 1000)

    async def scene() -> None:
        async with health_of(bank) as health:
            sweep = asyncio.ensure_future(health.sweep())
            await asyncio.sleep(0.05)
            assert health.open_challenges == 2
            bank.clock.now += 11
            with bank.store.work():
                await asyncio.sleep(SWEEP_SECONDS)
                assert health.open_challenges == 2
            await asyncio.sleep(SWEEP_SECONDS)
            assert health.open_challenges == 1
            sweep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweep

    asyncio.run(scene())
    assert [row[0] for row in bank.rows()["challenge"]] == [b"later"]
