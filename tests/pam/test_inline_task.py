"""Coroutines that go on in the call that brings what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from pam_module.inline_task import Deferred, InlineTask


class Run:
    """A course of this coroutine; ``ends`` counts its ends."""

    def __init__(self, coroutine: Coroutine[Any, None, None]) -> None:
        self.ends = 0
        self.inline_task = InlineTask(coroutine, self._end)

    def _end(self) -> None:
        self.ends += 1


def test_whoever_waits_goes_on_before_the_teller_does() -> None:
    deferred: Deferred[int] = Deferred()
    heard: list[int] = []

    async def work() -> None:
        heard.append(await deferred)

    run = Run(work())
    run.inline_task.begin()
    assert (heard, run.ends) == ([], 0)
    deferred.resolve(7)
    assert (heard, run.ends) == ([7], 1)


def test_what_was_told_before_is_not_waited_for() -> None:
    deferred: Deferred[int] = Deferred()
    deferred.resolve(7)
    heard: list[int] = []

    async def work() -> None:
        heard.append(await deferred)

    run = Run(work())
    run.inline_task.begin()
    assert (heard, run.ends) == ([7], 1)


def test_what_is_given_up_comes_too_late() -> None:
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


def test_a_task_that_is_given_up_is_cancelled_and_one_that_ends_is_heard() -> None:
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
