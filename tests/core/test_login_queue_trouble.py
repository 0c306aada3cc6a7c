"""A store or a clock that cannot be used is waited out; who waits too long hears silence."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from otp_core.authentication.queue import REMIND_SECONDS, RETRY_SECONDS
from otp_core.login.table import Finding
from otp_core.model import Accept, Language, Reject, Silence
from tests.core.bank import Bank
from tests.core.entrance import SOON, run
from tests.core.queues import cause_of_lock, later, locked, queue_of, request, unwritable, verdicts
from tests.fakes import SwiftLoop

# Trouble with the store.


def test_a_verdict_waits_for_the_end_of_a_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            with locked(bank):
                waiting = asyncio.ensure_future(verdicts(queue, request(taro)))
                await asyncio.sleep(4 * RETRY_SECONDS)
                assert not waiting.done()
            assert await waiting == [Accept()]

    run(scene)
    said = capsys.readouterr().out
    assert said.count("no login can be answered") == 1, "once, and not at every new try"
    assert cause_of_lock(bank) in said
    assert said.count("logins are answered again") == 1


def test_who_comes_during_a_lock_waits_in_line(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            with locked(bank):
                first = asyncio.ensure_future(verdicts(queue, request(taro, None, 1)))
                await asyncio.sleep(2 * RETRY_SECONDS)
                second = asyncio.ensure_future(verdicts(queue, request(taro, None, 2)))
                await asyncio.sleep(2 * RETRY_SECONDS)
                assert len(queue) == 2
            assert await first == [Accept()]
            assert await second == [Reject(Finding.REUSED, Language.JA)]

    run(scene)


def test_a_batch_that_is_put_back_keeps_its_order(tmp_path: Path) -> None:
    """Of two requests with one code the one that came first is accepted, however often the store was busy."""
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            with locked(bank):
                batch = asyncio.ensure_future(verdicts(queue, *(request(taro, None, number) for number in (1, 2, 3))))
                await asyncio.sleep(3 * RETRY_SECONDS)
                assert len(queue) == 3
            reused = Reject(Finding.REUSED, Language.JA)
            assert await batch == [Accept(), reused, reused]

    run(scene)
    assert bank.own_token().last_fingerprint == 1


def test_the_loop_goes_on_while_the_store_is_locked(tmp_path: Path) -> None:
    """It stands still for busy_seconds at a time, then others have their turn."""
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            with locked(bank):
                waiting = asyncio.ensure_future(verdicts(queue, request(taro)))
                turns, end = 0, time.monotonic() + 0.5
                while time.monotonic() < end:
                    await asyncio.sleep(0.005)
                    turns += 1
                assert turns > 30
            await waiting

    run(scene)


def test_who_waits_longer_than_their_deadline_hears_silence_and_the_others_go_on_waiting(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        async with queue_of(bank) as queue:
            with locked(bank):
                hurried, patient = (
                    asyncio.ensure_future(verdicts(queue, one))
                    for one in (request(taro, deadline=later()), request(jiro, deadline=later() + SOON))
                )
                (silence,) = await hurried
                assert isinstance(silence, Silence)
                assert cause_of_lock(bank) in silence.reason
                assert not patient.done()
            assert await patient == [Accept()]

    run(scene)
    assert bank.own_token("taro").last_step == -1, "nobody listened, so nothing was spent"


def test_after_silence_the_same_request_may_still_be_accepted(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            with locked(bank):
                (silence,) = await verdicts(queue, request(taro, None, 7, later()))
                assert isinstance(silence, Silence)
            assert await verdicts(queue, request(taro, None, 7)) == [Accept()]

    run(scene)


def test_a_store_that_takes_no_writes_is_silence_and_works_again_by_itself(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            with unwritable(bank) as cause:
                (silence,) = await verdicts(queue, request(taro, deadline=later()))
                assert isinstance(silence, Silence)
                assert cause in silence.reason
                waiting = asyncio.ensure_future(verdicts(queue, request(taro)))
                await asyncio.sleep(2 * RETRY_SECONDS)
                assert not waiting.done()
            assert await waiting == [Accept()]

    run(scene)


def test_lasting_trouble_is_said_again_after_a_while(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And at once if it is another trouble."""
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            with locked(bank):
                await verdicts(queue, request(taro, deadline=later()))
                await verdicts(queue, request(taro, deadline=later()))
                bank.guarded.now()
                bank.clock.now -= 3600
                await verdicts(queue, request(taro, deadline=later()))

    run(scene)
    lines = [line for line in capsys.readouterr().out.splitlines() if "no login can be answered" in line]
    assert [cause_of_lock(bank) in line for line in lines] == [True, False]
    assert "clock was set back" in lines[1]


def test_trouble_that_comes_and_goes_is_said_once_in_a_while(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lock every second must not fill the log."""
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            for _ in range(3):
                with locked(bank):
                    await verdicts(queue, request(taro, deadline=later()))
                await verdicts(queue, request(taro))
            loop.ahead += REMIND_SECONDS
            with locked(bank):
                await verdicts(queue, request(taro, deadline=later()))

    loop = SwiftLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(asyncio.wait_for(scene(), SOON))
    lines = [line for line in capsys.readouterr().out.splitlines() if "no login can be answered" in line]
    assert [cause_of_lock(bank) in line for line in lines].count(True) == 2
    others = {line.partition("cause=")[2] for line in lines if cause_of_lock(bank) not in line}
    assert len(lines) == 2 + 2 * len(others), "each cause, such as a connection that ended, twice as well"
    assert not others or bank.store.database.waits


# Trouble with the clock.


def test_a_clock_set_back_answers_nobody_until_it_is_right(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            assert await verdicts(queue, request(taro)) == [Accept()]
            bank.clock.now -= 3600
            old = taro.code()
            (silence,) = await verdicts(queue, request(taro, old, deadline=later()))
            assert isinstance(silence, Silence)
            assert "--trust-clock" in silence.reason
            waiting = asyncio.ensure_future(verdicts(queue, request(taro, old)))
            await asyncio.sleep(2 * RETRY_SECONDS)
            assert not waiting.done()
            bank.clock.now += 3600
            assert await waiting == [Reject(Finding.WRONG, Language.JA)], "a code of the past"

    run(scene)
