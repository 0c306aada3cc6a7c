"""The login queue gives each verdict once, and only when it is durable."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from pathlib import Path

import pytest

from otp_core.authentication.queue import BATCH, RETRY_SECONDS, LoginQueue
from otp_core.login.requests import LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import Accept, Attempt, Language, Reject, Silence, Verdict
from tests.core.bank import CODE, STAFF, Bank, rules
from tests.core.entrance import SOON, run
from tests.core.queues import CountingEvaluator, later, locked, queue_of, request, seal_breaks, verdicts


def test_a_verdict_is_told_when_it_is_durable_and_not_before(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    seen: list[int] = []

    async def scene() -> None:
        async with queue_of(bank) as queue:
            done = asyncio.Event()

            def tell(verdict: Verdict) -> None:
                seen.append(bank.own_token().last_step)
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

            def hear(_: Verdict) -> None:
                rows.append(len(bank.audit(actor="gateway")))
                if len(rows) == BATCH + 11:
                    done.set()

            for number in range(BATCH + 10):
                queue.submit(request(taro, "000000", number + 1), hear)
            assert len(queue) == BATCH + 10
            queue.submit(request(taro, "000000"), hear)
            await done.wait()

    run(scene)
    first, rest = [BATCH] * BATCH, [BATCH + 11] * 11
    if bank.store.database.waits and rows[0] != BATCH:  # both were under way at once, and the smaller one was faster
        first, rest = [11] * 11, [BATCH + 11] * BATCH
    assert rows == first + rest


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


@pytest.mark.sqlite_files
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


def test_a_request_long_past_its_deadline_is_silence_and_counts_nothing(tmp_path: Path) -> None:
    """The whole process stood still: a code that was right when it was sent must not be counted as wrong."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    hana = bank.customer("hana", "VSMT00000002")
    sent, late = taro.code(), []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        queue = LoginQueue(bank.store.login_batch(), bank.evaluator, bank.guarded, bank.store.ids)
        verdicts: dict[str, Verdict] = {}
        both = asyncio.Event()

        def hear(name: str, verdict: Verdict) -> None:
            verdicts[name] = verdict
            if len(verdicts) == 2:
                both.set()

        bank.clock.now += 62
        for holder, code, deadline in ((taro, sent, loop.time() - 59), (hana, hana.code(), loop.time() + 3)):
            attempt = Attempt(holder.contract_id, code, CODE, "gateway", deadline=deadline)
            request = LoginRequest(attempt, Stage.CODE, code=code)
            queue.submit(request, functools.partial(hear, holder.contract_id))
        await both.wait()
        late.append(verdicts["taro"])
        assert verdicts["hana"] == Accept()
        queue.close()

    run(scene)
    (verdict,) = late
    assert isinstance(verdict, Silence) and "stood still" in verdict.reason
    assert bank.login_record().failures == 0
