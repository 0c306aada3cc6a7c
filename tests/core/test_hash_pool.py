"""The pool of hashing threads: who waits, who is sent away, what is never done."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from otp_core.first_factor.hash_pool import HashPool, PoolFull, TooLate, hash_many, in_order
from otp_core.first_factor.hashes import Cost, check

SOON = 10.0
"""Seconds after which a test that hangs fails instead."""


class Job:
    """Work that says when it has begun, and ends when it is told to."""

    def __init__(self) -> None:
        self._begun, self._may_end = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self._begun.set()
        assert self._may_end.wait(SOON)
        return "done"

    @property
    def has_begun(self) -> bool:
        return self._begun.is_set()

    async def begins(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, SOON)

    def end(self) -> None:
        self._may_end.set()


@contextmanager
def pool(threads: int, max_waiting: int) -> Iterator[HashPool]:
    opened = HashPool(threads, max_waiting)
    try:
        yield opened
    finally:
        opened.close()


def test_results_and_exceptions_come_back() -> None:
    async def scene() -> None:
        with pool(2, 8) as hashing:
            assert await hashing.run(pow, 2, 10) == 1024
            with pytest.raises(ZeroDivisionError):
                await hashing.run(divmod, 1, 0)

    asyncio.run(scene())


def test_as_many_work_at_once_as_there_are_threads() -> None:
    async def scene() -> None:
        meeting = threading.Barrier(3)
        with pool(3, 0) as hashing:
            assert sorted(await asyncio.gather(*[hashing.run(meeting.wait, SOON) for _ in range(3)])) == [0, 1, 2]

    asyncio.run(scene())


def test_no_number_of_threads_means_one_for_each_core() -> None:
    async def scene() -> None:
        cores = os.cpu_count() or 1
        meeting = threading.Barrier(cores + 1)
        with pool(0, 0) as hashing:
            working = [asyncio.create_task(hashing.run(meeting.wait, SOON)) for _ in range(cores)]
            await asyncio.sleep(0)
            with pytest.raises(PoolFull):
                await hashing.run(meeting.wait, SOON)
            await asyncio.to_thread(meeting.wait, SOON)
            await asyncio.gather(*working)

    asyncio.run(scene())


def test_the_threads_give_way_to_the_event_loop() -> None:
    async def scene() -> None:
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        with pool(1, 0) as hashing:
            assert await hashing.run(os.getpriority, os.PRIO_PROCESS, 0) == min(mine + 10, 19)
        assert os.getpriority(os.PRIO_PROCESS, 0) == mine

    asyncio.run(scene())


def test_whoever_finds_the_waiting_room_full_is_told_at_once() -> None:
    async def scene() -> None:
        first, waiting, refused = Job(), Job(), Job()
        with pool(1, 1) as hashing:
            tasks = [asyncio.create_task(hashing.run(job)) for job in (first, waiting)]
            await first.begins()
            with pytest.raises(PoolFull):
                await hashing.run(refused)
            first.end()
            waiting.end()
            assert await asyncio.gather(*tasks) == ["done", "done"]
            assert await hashing.run(abs, -1) == 1
        assert not refused.has_begun

    asyncio.run(scene())


def test_who_is_cancelled_while_waiting_makes_room_and_makes_no_work() -> None:
    async def scene() -> None:
        first, cancelled, next_ = Job(), Job(), Job()
        with pool(1, 1) as hashing:
            working = asyncio.create_task(hashing.run(first))
            waiting = asyncio.create_task(hashing.run(cancelled))
            await first.begins()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            instead = asyncio.create_task(hashing.run(next_))
            first.end()
            next_.end()
            assert [await working, await instead] == ["done", "done"]
        assert not cancelled.has_begun

    asyncio.run(scene())


def test_who_is_cancelled_while_hashed_keeps_the_thread_until_it_ends() -> None:
    async def scene() -> None:
        job = Job()
        with pool(1, 0) as hashing:
            working = asyncio.create_task(hashing.run(job))
            await job.begins()
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            with pytest.raises(PoolFull):
                await hashing.run(abs, -1)
            job.end()
            assert await _when_there_is_room(hashing) == 1

    asyncio.run(scene())


def test_work_whose_deadline_passed_while_it_waited_is_not_done() -> None:
    async def scene() -> None:
        first, late = Job(), Job()
        loop = asyncio.get_running_loop()
        with pool(1, 1) as hashing:
            working = asyncio.create_task(hashing.run(first))
            waiting = asyncio.create_task(hashing.run(late, deadline=loop.time() + 0.02))
            await first.begins()
            await asyncio.sleep(0.03)
            first.end()
            assert await working == "done"
            with pytest.raises(TooLate):
                await waiting
        assert not late.has_begun

    asyncio.run(scene())


def test_work_before_its_deadline_is_done() -> None:
    async def scene() -> None:
        with pool(1, 0) as hashing:
            assert await hashing.run(abs, -1, deadline=asyncio.get_running_loop().time() + SOON) == 1

    asyncio.run(scene())


def test_closing_ends_the_waiting_and_leaves_the_working() -> None:
    async def scene() -> None:
        first, waiting = Job(), Job()
        hashing = HashPool(1, 1)
        tasks = [asyncio.create_task(hashing.run(job)) for job in (first, waiting)]
        await first.begins()
        hashing.close()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        first.end()
        assert await tasks[0] == "done"
        with pytest.raises(RuntimeError):
            await hashing.run(abs, -1)
        assert not waiting.has_begun

    asyncio.run(scene())


def test_results_come_in_the_order_of_the_items_whichever_is_ready_first() -> None:
    def slow_when_small(item: int) -> int:
        time.sleep(0.002 * (5 - item % 6))
        return item

    assert list(in_order(slow_when_small, range(60), 4)) == list(range(60))


def test_many_items_are_worked_on_at_once() -> None:
    meeting = threading.Barrier(4)
    assert sorted(in_order(meeting.wait, [SOON] * 4, 4)) == [0, 1, 2, 3]


def test_no_number_of_threads_means_one_for_each_core_here_too() -> None:
    cores = os.cpu_count() or 1
    meeting = threading.Barrier(cores)
    assert sorted(in_order(meeting.wait, [SOON] * cores, 0)) == list(range(cores))


def test_a_file_without_end_is_read_a_little_ahead() -> None:
    lines = itertools.count()
    results = in_order(abs, lines, 2)
    assert list(itertools.islice(results, 100)) == list(range(100))
    assert next(lines) < 120


def test_who_stops_reading_stops_the_work() -> None:
    done: list[int] = []
    results = in_order(done.append, itertools.count(), 2)
    next(results)
    del results
    before = len(done)
    time.sleep(0.02)
    assert len(done) == before
    assert before < 20


def test_an_item_that_fails_ends_the_import_there() -> None:
    results = in_order((1).__truediv__, [1, 2, 0, 4], 2)
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_hash_many_hashes_every_password_in_order() -> None:
    passwords = [b"password %d" % number for number in range(30)]
    hashes = list(hash_many(iter(passwords), Cost(memory_kib=8, time_cost=1), 2))
    assert len(hashes) == len(set(hashes)) == 30
    assert all(check(password, encoded) for password, encoded in zip(passwords, hashes, strict=True))


async def _when_there_is_room(hashing: HashPool) -> int:
    async with asyncio.timeout(SOON):
        while True:
            try:
                return await hashing.run(abs, -1)
            except PoolFull:
                await asyncio.sleep(0.001)
