"""Coroutines that continue in the call that delivers what they await."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from otp_core.inline_task import Deferred, InlineTask
from otp_core.model import StoreBusy
from otp_core.store.retry import retry_while_busy


class Run:
    """An InlineTask of this coroutine. ``ends`` counts the calls of ``ended``."""

    def __init__(self, coroutine: Coroutine[Any, None, None]) -> None:
        self.ends = 0
        self.inline_task = InlineTask(coroutine, self._end)

    def _end(self) -> None:
        self.ends += 1


def test_the_coroutine_continues_before_resolve_returns() -> None:
    deferred: Deferred[int] = Deferred()
    heard: list[int] = []

    async def work() -> None:
        heard.append(await deferred)

    run = Run(work())
    run.inline_task.begin()
    assert (heard, run.ends) == ([], 0)
    deferred.resolve(7)
    assert (heard, run.ends) == ([7], 1)


def test_a_value_that_is_there_is_not_waited_for() -> None:
    deferred: Deferred[int] = Deferred()
    deferred.resolve(7)
    heard: list[int] = []

    async def work() -> None:
        heard.append(await deferred)

    run = Run(work())
    run.inline_task.begin()
    assert (heard, run.ends) == ([7], 1)


def test_a_value_after_throw_is_ignored() -> None:
    first, second = Deferred[int](), Deferred[int]()
    heard: list[int] = []

    async def work() -> None:
        try:
            heard.append(await first)
        except TimeoutError:
            heard.append(await second)

    run = Run(work())
    run.inline_task.begin()
    run.inline_task.throw(TimeoutError())
    first.resolve(1)
    assert (heard, run.ends) == ([], 0)
    second.resolve(2)
    assert (heard, run.ends) == ([2], 1)


def test_throw_cancels_the_awaited_task_and_the_next_one_is_awaited() -> None:
    async def scene() -> None:
        heard: list[str] = []
        slow = asyncio.get_running_loop().create_task(asyncio.sleep(60))
        quick = asyncio.get_running_loop().create_task(asyncio.sleep(0, "quick"))

        async def work() -> None:
            try:
                await slow
            except TimeoutError:
                heard.append(await quick)

        run = Run(work())
        run.inline_task.begin()
        run.inline_task.throw(TimeoutError())
        await asyncio.wait([slow, quick])
        await asyncio.sleep(0)
        assert (slow.cancelled(), heard, run.ends) == (True, ["quick"], 1)

    asyncio.run(scene())


def test_a_busy_store_can_be_waited_for_without_a_task() -> None:
    async def scene() -> None:
        written: list[str] = []
        ended = asyncio.Event()

        def act() -> str:
            written.append("try")
            if len(written) < 3:
                raise StoreBusy("locked")
            return "written"

        async def work() -> None:
            written.append(await retry_while_busy(act))

        InlineTask(work(), ended.set).begin()
        await asyncio.wait_for(ended.wait(), 30)
        assert written == ["try", "try", "try", "written"]

    asyncio.run(scene())


def test_a_fault_ends_the_inline_task_and_is_not_hidden() -> None:
    deferred: Deferred[None] = Deferred()

    async def work() -> None:
        await deferred
        raise RuntimeError("a fault")

    run = Run(work())
    run.inline_task.begin()
    with pytest.raises(RuntimeError, match="a fault"):
        deferred.resolve(None)
    assert run.ends == 1


def test_a_task_awaits_the_same_value_and_may_be_cancelled_meanwhile() -> None:
    async def scene() -> None:
        there, later, never = Deferred[int](), Deferred[int](), Deferred[int]()
        there.resolve(1)
        told: list[int] = []

        async def hear(one: Deferred[int]) -> None:
            told.append(await one)

        waiting, cancelled = asyncio.create_task(hear(later)), asyncio.create_task(hear(never))
        await hear(there)
        await asyncio.sleep(0)
        later.resolve(2)
        assert told == [1], "a Task goes on in the next turn of the loop"
        await waiting
        assert cancelled.cancel()
        never.resolve(3)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert told == [1, 2]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await Deferred[int]()

    asyncio.run(scene())


def test_a_task_that_is_cancelled_behind_the_value_is_cancelled_once() -> None:
    async def scene() -> None:
        value: Deferred[int] = Deferred()

        async def hear() -> int:
            return await value

        waiting = asyncio.create_task(hear())
        await asyncio.sleep(0)
        value.resolve(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()

    asyncio.run(scene())
