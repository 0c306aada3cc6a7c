"""The one way for an act to wait for a busy store: PAM, the pages, the soft token and the sender of notices use it.
The login queue keeps its batches itself.

SQLite has one writer at a time. While another process holds the write lock, a transaction raises StoreBusy and has
changed nothing; mostly the lock is free again within milliseconds. The event loop goes on while an act waits here. This
file opens no transaction and knows no act.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeVar

from otp_core.model import StoreBusy, StoreUnavailable

BUSY_SECONDS = 3.0
"""How long somebody who waits for an answer is kept waiting for the write lock."""

LONG_BUSY_SECONDS = 20.0
"""The same for work that nobody waits for."""

RETRY_SECONDS = 0.05
"""The pause between two tries."""

ACTS_AT_ONCE = 12
"""Threads of acts. The loop's own are few on a small machine, and lists, imports and searches use them for seconds:
there the key of a login through the API would wait in line behind those."""

T = TypeVar("T")


class _Aside:
    """Where the acts of this process run beside its event loop; None: in it."""

    threads: ClassVar[ThreadPoolExecutor | None] = None


def run_acts_aside(on: bool) -> None:
    """For a process that serves, before it does: ``on`` where the store's answers may take as long as a network does
    (``Database.waits``). What is in the way of an act is then waited for beside the loop."""
    if _Aside.threads is not None:
        _Aside.threads.shutdown(wait=False)
    _Aside.threads = ThreadPoolExecutor(ACTS_AT_ONCE, thread_name_prefix="act") if on else None


async def aside(act: Callable[[], T]) -> T:
    """Run what asks the store, for an event loop: in a thread if acts run in threads. Raises what it raises."""
    if _Aside.threads is None:
        return act()
    return await asyncio.get_running_loop().run_in_executor(_Aside.threads, act)


def wait_while_busy(act: Callable[[], T], *, seconds: float = LONG_BUSY_SECONDS) -> T:
    """As ``retry_while_busy``, for a thread that nobody waits for."""
    end = time.monotonic() + seconds
    while True:
        try:
            return act()
        except StoreBusy:
            if time.monotonic() >= end:
                raise
            time.sleep(RETRY_SECONDS)


async def retry_while_busy(
    act: Callable[[], T],
    *,
    seconds: float = BUSY_SECONDS,
    pause: float = RETRY_SECONDS,
    retry_on: type[StoreUnavailable] = StoreBusy,
) -> T:
    """Call ``act`` until the store is not busy; its result.

    ``act`` must be one transaction, from its first read to its last write: every try runs it again as a whole, so that
    it decides on what is in the store then. ``seconds``: how long to go on trying. ``pause``: seconds between tries.
    ``retry_on``: StoreUnavailable where giving up is worse than waiting for a full or failing disk.

    When the time is over it raises what the last try raised; anything that is not ``retry_on`` it raises at once.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        try:
            return act() if _Aside.threads is None else await aside(act)
        except retry_on:
            if loop.time() >= end:
                raise
            await asyncio.sleep(pause)
