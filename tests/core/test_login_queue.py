"""The login queue: verdicts are given only when they are durable, once each; a failing store is waited out."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from otp_core.authentication.queue import BATCH, REMIND_SECONDS, RETRY_SECONDS, BatchEvaluator, LoginQueue
from otp_core.login.evaluate import Evaluator
from otp_core.login.requests import Decision, Facts, LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import Accept, Attempt, Language, Reject, Silence, StoreBusy, Verdict
from otp_core.store.engine import LoginBatch
from tests.core.bank import CODE, STAFF, Bank, Holder, rules
from tests.fakes import SwiftLoop

SOON = 60.0
"""Seconds after which a test that hangs fails instead."""


def run(scene: Callable[[], Awaitable[None]]) -> None:
    """A scene on an event loop of its own."""

    async def bounded() -> None:
        await asyncio.wait_for(scene(), SOON)

    asyncio.run(bounded())


@asynccontextmanager
async def queue_of(bank: Bank, evaluator: BatchEvaluator | None = None) -> AsyncIterator[LoginQueue]:
    queue = LoginQueue(bank.store.login_batch(), evaluator or bank.evaluator, bank.guarded, bank.store.ids)
    try:
        yield queue
    finally:
        queue.close()


def request(
    holder: Holder, user_password: str | None = None, fingerprint: int = 0, deadline: float = math.inf
) -> LoginRequest:
    user_password = holder.code() if user_password is None else user_password
    attempt = Attempt(
        holder.contract_id, user_password, CODE, "gateway", "192.0.2.1", fingerprint=fingerprint, deadline=deadline
    )
    return LoginRequest(attempt, Stage.CODE, code=user_password)


async def verdicts(queue: LoginQueue, *requests: LoginRequest) -> list[Verdict]:
    """What is told of cases that arrive at once."""
    loop = asyncio.get_running_loop()
    told: list[asyncio.Future[Verdict]] = [loop.create_future() for _ in requests]
    for one, future in zip(requests, told, strict=True):
        queue.submit(one, future.set_result)  # a second verdict would raise InvalidStateError
    return await asyncio.gather(*told)


def later() -> float:
    """The loop's time, a little from now."""
    return asyncio.get_running_loop().time() + 0.02


@contextmanager
def locked(bank: Bank) -> Iterator[None]:
    """Another process holds the write lock."""
    connection = sqlite3.connect(bank.database, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def seal_breaks(bank: Bank, token_id: str) -> None:
    """Nothing opens this token's seed any more."""
    with contextlib.closing(sqlite3.connect(bank.database)) as connection, connection:
        connection.execute("UPDATE token SET seed = x'0100' WHERE token_id = ?", (token_id,))


# The ordinary way.


def test_a_verdict_is_told_when_it_is_durable_and_not_before(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    seen: list[int] = []

    async def scene() -> None:
        async with queue_of(bank) as queue:
            done = asyncio.Event()

            def tell(verdict: Verdict) -> None:
                seen.append(bank.login_record().last_step)
                done.set()

            queue.submit(request(taro), tell)
            assert seen == []
            await done.wait()

    run(scene)
    assert seen == [taro.step()]


def test_whatever_has_arrived_is_one_batch_and_all_of_it_is_durable_before_any_is_told(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=10_000))
    taro = bank.customer()
    rows: list[int] = []

    async def scene() -> None:
        async with queue_of(bank) as queue:
            done = asyncio.Event()
            for number in range(BATCH + 10):
                queue.submit(
                    request(taro, "000000", number + 1), lambda _: rows.append(len(bank.audit(actor="gateway")))
                )
            assert len(queue) == BATCH + 10
            queue.submit(request(taro, "000000"), lambda _: done.set())
            await done.wait()

    run(scene)
    assert rows == [BATCH] * BATCH + [BATCH + 11] * 10


class CountingEvaluator:
    """An evaluator who remembers how often they sat."""

    def __init__(self, bank: Bank) -> None:
        self._evaluator = Evaluator(bank.rules, bank.store.sealer.unseal, lambda: b"state")
        self.times = 0

    def evaluate(self, *arguments: Any) -> Any:
        self.times += 1
        return self._evaluator.evaluate(*arguments)


def test_what_arrives_at_once_is_one_sitting_and_nobody_sits_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()
    evaluator = CountingEvaluator(bank)

    async def scene() -> None:
        async with queue_of(bank, evaluator) as queue:
            await verdicts(queue, request(taro), request(taro), request(taro))
            await asyncio.sleep(2 * RETRY_SECONDS)
            assert evaluator.times == 1
            assert capsys.readouterr().out == "", "nothing to say about it"
            with locked(bank):
                await verdicts(queue, request(taro, deadline=later()))
            times = evaluator.times
            seal_breaks(bank, "VSMT00000001")
            await verdicts(queue, request(taro, taro.code(1)))
            await asyncio.sleep(2 * RETRY_SECONDS)
            assert evaluator.times == times + 2, "once with the batch, once alone"

    run(scene)


def test_a_closed_queue_lets_go_of_the_file(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            await verdicts(queue, request(taro))
            assert opened(bank) > 0
        assert opened(bank) == 0

    run(scene)


def opened(bank: Bank) -> int:
    """How many times this process has the database open."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(link.readlink()))
    return sum(link.startswith(str(bank.database)) for link in links)


def test_each_request_hears_its_own_verdict(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        async with queue_of(bank) as queue:
            assert await verdicts(queue, request(taro), request(jiro, "000000"), request(jiro), request(taro)) == [
                Accept(),
                Reject(Finding.WRONG, Language.JA),
                Accept(),
                Reject(Finding.REUSED, Language.JA),
            ]
            assert len(queue) == 0

    run(scene)


def test_one_code_one_login_over_two_queues(tmp_path: Path) -> None:
    """Two workers on one store."""
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as one, queue_of(bank) as other:
            found = await asyncio.gather(verdicts(one, request(taro, None, 1)), verdicts(other, request(taro, None, 2)))
            assert sorted(type(verdict).__name__ for (verdict,) in found) == ["Accept", "Reject"]

    run(scene)


def test_a_repeated_request_is_known_again_by_another_worker_and_after_a_restart(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with queue_of(bank) as queue:
            assert await verdicts(queue, request(taro, None, 77)) == [Accept()]
        async with queue_of(Bank(tmp_path, clock=bank.clock)) as queue:
            assert await verdicts(queue, request(taro, None, 77), request(taro, None, 78)) == [
                Accept(),
                Reject(Finding.REUSED, Language.JA),
            ]

    run(scene)


def test_a_door_that_cannot_take_its_verdict_keeps_nobody_from_theirs(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        async with queue_of(bank) as queue:

            def broken(_: Verdict) -> None:
                raise OSError("the socket is gone")

            queue.submit(request(taro), broken)
            assert await verdicts(queue, request(jiro)) == [Accept()]
            assert await verdicts(queue, request(jiro)) == [Reject(Finding.REUSED, Language.JA)]

    run(scene)


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
    assert "another process holds its write lock" in said
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
    assert bank.login_record().last_fingerprint == 1


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
                assert "write lock" in silence.reason
                assert not patient.done()
            assert await patient == [Accept()]

    run(scene)
    assert bank.login_record("taro").last_step == -1, "nobody listened, so nothing was spent"


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

    def read_only(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    async def scene() -> None:
        async with queue_of(bank) as queue:
            event.listen(bank.store.engine, "connect", read_only)
            (silence,) = await verdicts(queue, request(taro, deadline=later()))
            assert isinstance(silence, Silence)
            assert "cannot be written" in silence.reason
            waiting = asyncio.ensure_future(verdicts(queue, request(taro)))
            await asyncio.sleep(2 * RETRY_SECONDS)
            event.remove(bank.store.engine, "connect", read_only)
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
    assert ["write lock" in line for line in lines] == [True, False]
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
    assert ["write lock" in line for line in lines] == [True, True]


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


# One bad request among good ones.


@dataclass
class FailingOnce:
    """A login batch whose store is busy at the ``at_run``th run."""

    login_batch: LoginBatch
    at_run: int
    runs: int = 0
    concurrency: int = 1

    async def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        self.runs += 1
        if self.runs == self.at_run:
            raise StoreBusy("the store is busy")
        return await self.login_batch.run(customers, states, evaluate)

    def close(self) -> None:
        self.login_batch.close()


def test_a_poisoned_request_hears_silence_and_takes_nobody_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Bank(tmp_path)
    holders = [bank.customer(f"taro{number}", f"VSMT0000000{number}") for number in range(4)]
    seal_breaks(bank, "VSMT00000002")

    async def scene() -> None:
        async with queue_of(bank) as queue:
            found = await verdicts(queue, *(request(holder) for holder in holders))
            assert found == [Accept(), Accept(), Silence("KeyProblem while the login was evaluated"), Accept()]
            assert await verdicts(queue, request(holders[0])) == [Reject(Finding.REUSED, Language.JA)]

    run(scene)
    said = capsys.readouterr().out
    assert "a batch could not be evaluated" in said
    assert "VSMT00000002 does not open with this master key" in said


def test_a_name_that_no_database_can_hold_is_silence(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    half = Holder("\ud800", taro.token_id, taro.seed, taro.spec, taro.clock)

    async def scene() -> None:
        async with queue_of(bank) as queue:
            assert await verdicts(queue, request(half), request(taro)) == [
                Silence("UnicodeEncodeError while the login was evaluated"),
                Accept(),
            ]

    run(scene)


def test_a_store_that_fails_while_requests_are_run_alone_is_waited_out(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    holders = [bank.customer(f"taro{number}", f"VSMT0000000{number}") for number in range(3)]
    seal_breaks(bank, "VSMT00000000")

    async def scene() -> None:
        login_batch = FailingOnce(bank.store.login_batch(), at_run=3)
        queue = LoginQueue(login_batch, bank.evaluator, bank.guarded, bank.store.ids)
        poisoned = Silence("KeyProblem while the login was evaluated")
        assert await verdicts(queue, *(request(holder) for holder in holders)) == [poisoned, Accept(), Accept()]
        assert login_batch.runs > 3 and queue.failing == frozenset()
        queue.close()

    run(scene)


def test_requests_behind_a_poisoned_batch_are_heard_too(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    seal_breaks(bank, "VSMT00000001")

    async def scene() -> None:
        async with queue_of(bank) as queue:
            requests = [request(taro, fingerprint=number) for number in range(BATCH)]
            found = await verdicts(queue, *requests, request(jiro))
            assert found == [Silence("KeyProblem while the login was evaluated")] * BATCH + [Accept()]

    run(scene)


def test_a_decision_that_the_store_keeps_refusing_holds_up_nobody(tmp_path: Path) -> None:
    """A token that was shared before the setting forbade it: the evaluator does not know that one code serves both."""
    shared = Bank(tmp_path, rules(one_customer_per_token=False))
    taro, jiro, saburo = (
        shared.customer(),
        shared.customer("jiro"),
        shared.customer("saburo", "VSMT00000002"),
    )
    bank = Bank(tmp_path, clock=shared.clock)

    async def scene() -> None:
        async with queue_of(bank) as queue:
            assert await verdicts(queue, request(taro), request(jiro), request(saburo)) == [
                Accept(),
                Reject(Finding.REUSED, Language.JA),
                Accept(),
            ]

    run(scene)


def test_a_shared_token_reported_lost_by_one_is_refused_from_all_and_holds_up_nobody(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    taro, jiro, saburo = bank.customer(), bank.customer("jiro"), bank.customer("saburo", "VSMT00000002")
    bank.desk.enrolment.report_lost("taro", STAFF)

    async def scene() -> None:
        async with queue_of(bank) as queue:
            assert await verdicts(queue, request(taro), request(jiro), request(saburo)) == [
                Reject(Finding.LOST, Language.JA),
                Reject(Finding.LOST, Language.JA),
                Accept(),
            ]

    run(scene)


def test_a_conflict_that_passes_is_evaluated_again(tmp_path: Path) -> None:
    """Another node spends the code between load and apply: evaluated again, it is a reused one."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    evaluator = LateEvaluator(bank)

    async def scene() -> None:
        async with queue_of(bank, evaluator) as queue:
            assert await verdicts(queue, request(taro)) == [Accept()]

    run(scene)
    assert evaluator.times == 2


class LateEvaluator(CountingEvaluator):
    """Its first decision spends a code twice, as if another node had been faster."""

    def evaluate(self, *arguments: Any) -> Any:
        decision = super().evaluate(*arguments)
        if self.times == 1:
            decision.step_updates = decision.step_updates * 2
        return decision


# Under a storm.


def test_one_code_one_login_while_the_desk_and_two_queues_use_the_store_at_once(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.02)
    holders = [bank.customer(f"taro{number}", f"VSMT{number:08d}") for number in range(20)]
    stop = threading.Event()

    def desk_at_work() -> None:
        _, desk = bank.open_desk(bank.open_store(SOON))
        while not stop.wait(0.005):
            desk.tokens.issue(STAFF)

    clerk = threading.Thread(target=desk_at_work)

    async def scene() -> None:
        async with queue_of(bank) as one, queue_of(bank) as other:
            clerk.start()
            tries = []
            for number in range(5):
                for queue in (one, other):
                    requests = [request(holder, None, number * 2 + (queue is one) + 1) for holder in holders]
                    tries.append(asyncio.ensure_future(verdicts(queue, *requests)))
                await asyncio.sleep(0.01)
            found = await asyncio.gather(*tries)
            for column in zip(*found, strict=True):
                assert column.count(Accept()) == 1

    try:
        run(scene)
    finally:
        stop.set()
        clerk.join()
    assert len(bank.audit(event="login.accepted")) == len(holders)
