"""Queries beside the event loop: it goes on meanwhile, errors come through, few run at once, cancelling is clean."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from otp_core.model import StoreUnavailable
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.queries import customers, newest_audit_id
from tests.core.bank import Bank

WAIT = 10.0
"""Seconds after which a test that hangs has failed."""


def on_a_loop(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Runs a test on an event loop of its own."""

    @wraps(test)
    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    return run


class SlowQuery:
    """A query that ends when it is told to, and knows how many of its kind run at the same time."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.running = self.most = self.begun = 0
        self._lock = threading.Lock()

    def __call__(self, connection: Connection, answer: str = "done") -> str:
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            assert self.may_end.wait(WAIT)
            return str(connection.execute(text("SELECT :answer"), {"answer": answer}).scalar_one())
        finally:
            with self._lock:
                self.running -= 1


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not true():  # noqa: ASYNC110  the other end is a thread
            await asyncio.sleep(0.005)


@on_a_loop
async def test_a_query_gets_its_arguments_and_a_connection(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro")
    bank.customer("jiro", "VSMT00000002")
    queries = AsyncQueries(bank.store)
    found = await queries.run(customers, search="ji", limit=5)
    assert [line.contract_id for line in found.rows] == ["jiro"]
    assert await queries.run(newest_audit_id) > 0


@on_a_loop
async def test_the_loop_goes_on_while_a_slow_query_runs(tmp_path: Path) -> None:
    queries, slow = AsyncQueries(Bank(tmp_path).store), SlowQuery()
    task = asyncio.create_task(queries.run(slow, answer="late"))
    await until(lambda: slow.running == 1)
    assert await queries.run(newest_audit_id) == 0, "and another query too"
    assert not task.done()
    slow.may_end.set()
    assert await task == "late"


@on_a_loop
async def test_only_a_few_queries_run_at_once_and_the_others_wait_their_turn(tmp_path: Path) -> None:
    queries, slow = AsyncQueries(Bank(tmp_path).store, at_once=2), SlowQuery()
    tasks = [asyncio.create_task(queries.run(slow, str(number))) for number in range(6)]
    await until(lambda: slow.running == 2)
    await asyncio.sleep(0.05)
    assert slow.begun == 2
    slow.may_end.set()
    assert await asyncio.gather(*tasks) == [str(number) for number in range(6)]
    assert slow.most == 2


@on_a_loop
async def test_a_store_that_cannot_be_read_comes_through_and_costs_no_place(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    queries = AsyncQueries(bank.store, at_once=1)
    with bank.store_away():
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await queries.run(newest_audit_id)
    assert await queries.run(newest_audit_id) == 0


@on_a_loop
async def test_what_a_query_raises_comes_through(tmp_path: Path) -> None:
    def wrong(_: Connection) -> None:
        raise LookupError("nothing of that kind")

    queries = AsyncQueries(Bank(tmp_path).store, at_once=1)
    for _ in range(2):
        with pytest.raises(LookupError, match="nothing of that kind"):
            await queries.run(wrong)


@on_a_loop
async def test_a_caller_that_is_cancelled_is_released_and_the_place_is_kept_until_the_query_ends(
    tmp_path: Path,
) -> None:
    queries, slow = AsyncQueries(Bank(tmp_path).store, at_once=1), SlowQuery()
    task = asyncio.create_task(queries.run(slow))
    await until(lambda: slow.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    next_one = asyncio.create_task(queries.run(newest_audit_id))
    await asyncio.sleep(0.05)
    assert not next_one.done(), "the first query still runs"
    slow.may_end.set()
    assert await next_one == 0


@on_a_loop
async def test_a_query_that_is_cancelled_while_it_waits_is_never_run(tmp_path: Path) -> None:
    queries, slow, never = AsyncQueries(Bank(tmp_path).store, at_once=1), SlowQuery(), SlowQuery()
    first = asyncio.create_task(queries.run(slow))
    await until(lambda: slow.running == 1)
    second = asyncio.create_task(queries.run(never))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    slow.may_end.set()
    assert await first == "done"
    assert await queries.run(newest_audit_id) == 0
    assert never.begun == 0


@on_a_loop
async def test_an_error_of_a_query_whose_caller_was_cancelled_disturbs_nobody(tmp_path: Path) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    queries, may_fail = AsyncQueries(Bank(tmp_path).store, at_once=1), threading.Event()

    def fails(_: Connection) -> None:
        may_fail.wait(WAIT)
        raise LookupError

    task = asyncio.create_task(queries.run(fails))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_fail.set()
    assert await queries.run(newest_audit_id) == 0
    assert not told
