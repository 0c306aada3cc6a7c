"""Waiting for a busy store: how long, for which failures, and what is run again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from otp_core.model import StoreBusy, StoreUnavailable
from otp_core.store.retry import aside, retry_while_busy, run_acts_aside


class Act:
    """One transaction that fails in the ways it is given, one a try, and then succeeds."""

    def __init__(self, *failures: Exception) -> None:
        self._failures: Iterator[Exception] = iter(failures)
        self.steps: list[str] = []

    def __call__(self) -> int:
        self.steps.append("read")
        failure = next(self._failures, None)
        if failure is not None:
            raise failure
        self.steps.append("written")
        return len(self.steps)


def test_it_waits_while_the_store_is_busy() -> None:
    act = Act(StoreBusy("locked"), StoreBusy("locked"))
    assert asyncio.run(retry_while_busy(act, pause=0.001)) == 4


def test_every_try_runs_the_act_again_as_a_whole() -> None:
    act = Act(StoreBusy("locked"))
    asyncio.run(retry_while_busy(act, pause=0.001))
    assert act.steps == ["read", "read", "written"]


def test_it_gives_up_after_its_time_with_store_busy() -> None:
    act = Act(*[StoreBusy("locked")] * 1000)

    async def give_up() -> float:
        loop = asyncio.get_running_loop()
        since = loop.time()
        with pytest.raises(StoreBusy, match="locked"):
            await retry_while_busy(act, seconds=0.1, pause=0.01)
        return loop.time() - since

    assert 0.1 <= asyncio.run(give_up()) < 5
    assert 2 <= len(act.steps) < 1000


def test_a_store_that_is_unavailable_is_not_waited_for() -> None:
    act = Act(StoreUnavailable("the disk is full"))
    with pytest.raises(StoreUnavailable, match="full"):
        asyncio.run(retry_while_busy(act))
    assert act.steps == ["read"]


def test_one_that_cannot_give_up_waits_for_an_unavailable_store_too() -> None:
    act = Act(StoreUnavailable("the disk is full"), StoreBusy("locked"))
    assert asyncio.run(retry_while_busy(act, pause=0.001, retry_on=StoreUnavailable)) == 4


def test_what_the_act_itself_refuses_is_not_tried_again() -> None:
    act = Act(ValueError("no such customer"))
    with pytest.raises(ValueError, match="no such customer"):
        asyncio.run(retry_while_busy(act))
    assert act.steps == ["read"]


def test_the_event_loop_goes_on_while_an_act_waits() -> None:
    async def both() -> list[str]:
        act = Act(*[StoreBusy("locked")] * 3)
        waiting = asyncio.create_task(retry_while_busy(act, pause=0.02))
        await asyncio.sleep(0.01)
        seen = ["other work"]
        await waiting
        return [*seen, *act.steps[-1:]]

    assert asyncio.run(both()) == ["other work", "written"]


def test_an_act_beside_the_loop_does_not_wait_for_slow_lists() -> None:
    """Lists, imports and searches run in the loop's own threads, which are few on a small machine."""
    shown = threading.Event()

    async def scene() -> list[int]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        slow = loop.run_in_executor(None, shown.wait)
        try:
            async with asyncio.timeout(20):
                return [await aside(threading.get_ident), await retry_while_busy(threading.get_ident)]
        finally:
            shown.set()
            await slow

    run_acts_aside(True)
    try:
        found = asyncio.run(scene())
    finally:
        run_acts_aside(False)
    assert threading.get_ident() not in found
