"""A bounded pool of threads for work that is long and lets go of the GIL: hashing, beside an event loop.

A bounded number of calls may wait; further ones fail at once. Work that no caller waits for any more is not begun.
The pool knows nothing of passwords; ``hash_many`` only hands them on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar, TypeVarTuple

from otp_core.first_factor.hashes import Cost, hash_password

_NICENESS = 10
_AHEAD_PER_THREAD = 4

T = TypeVar("T")
Item = TypeVar("Item")
Arguments = TypeVarTuple("Arguments")


class PoolFull(Exception):
    """As many calls wait as may wait. Raised at once, so that a gateway has time to try its next server."""


class TooLate(Exception):
    """The deadline passed before a thread was free. The work was not done."""


class HashPool:
    """``threads`` threads work (0: as many as there are cores), ``max_waiting`` calls may wait for one."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        threads = threads or _cores()
        self._threads, self._calls = threads, 0
        self._places = threading.Semaphore(threads + max_waiting)
        self._executor = _executor(threads)

    async def run(self, function: Callable[[*Arguments], T], *args: *Arguments, deadline: float | None = None) -> T:
        """The result of ``function(*args)``, worked out on one of the threads.

        Cancelled while it waits, the work is not done; cancelled later, its result is dropped. ``deadline`` is in the
        loop's time. Raises PoolFull, TooLate, RuntimeError after ``close``, and whatever the function raises.
        """
        if not self._places.acquire(blocking=False):
            raise PoolFull("every thread is hashing and no more may wait: more logins than these cores can check?")
        self._calls += 1
        clock = asyncio.get_running_loop().time
        work = self._executor.submit(_in_time, clock, deadline, partial(function, *args))
        # Called for a cancelled one too, at once: a place is taken only by what is worked on or waited for.
        work.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wrap_future(work)
        finally:
            self._calls -= 1

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread now."""
        return max(0, self._calls - self._threads)

    def close(self) -> None:
        """Cancels the calls that wait, and takes no more. Work that has begun goes on; nobody waits for it here."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def in_order(function: Callable[[Item], T], items: Iterable[Item], threads: int) -> Iterator[T]:
    """``map`` on ``threads`` threads (0: as many as there are cores), results in the order of the items.

    Reads only a few items ahead of the results, so that the items may be a file of any length. When the caller stops
    asking for results, no more work is begun.
    """
    threads = threads or _cores()
    executor = _executor(threads)
    ahead: deque[Future[T]] = deque()
    try:
        for item in items:
            ahead.append(executor.submit(function, item))
            if len(ahead) > threads * _AHEAD_PER_THREAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def hash_many(passwords: Iterable[bytes], cost: Cost, threads: int) -> Iterator[str]:
    """Argon2id hashes of many passwords, in their order, for the import of a file. Raises CannotHash."""
    return in_order(partial(hash_password, cost=cost), passwords, threads)


def _in_time(clock: Callable[[], float], deadline: float | None, work: Callable[[], T]) -> T:
    if deadline is not None and clock() >= deadline:
        raise TooLate("no thread was free before the deadline")
    return work()


def _executor(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="hash", initializer=_give_way)


def _give_way() -> None:
    """Lowers this thread's priority, so that the event loop is served first when every core hashes.

    Threads have a priority of their own on Linux alone (setpriority(2), "C library/kernel differences").
    Where it may not be changed, it stays.
    """
    with contextlib.suppress(OSError):
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), mine + _NICENESS)


def _cores() -> int:
    return os.cpu_count() or 1
