"""Acts at the desk from a page: one after the other, and again when another process holds the write lock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from otp_core.model import StoreBusy

PATIENT_SECONDS, AGAIN_SECONDS = 3.0, 0.05
T = TypeVar("T")


class Turns:
    """Whoever is at the desk has it alone: a second click waits here, and finds that the first one was enough."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def mine(self) -> AsyncIterator[None]:
        async with self._lock:
            yield


async def retry_while_busy(act: Callable[[], T]) -> T:
    """The act's result. It is one transaction: one that met a busy store has done nothing. Raises StoreUnavailable."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENT_SECONDS
    while True:
        try:
            return act()
        except StoreBusy:
            if loop.time() >= end:
                raise
            await asyncio.sleep(AGAIN_SECONDS)
