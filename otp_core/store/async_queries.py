"""Runs queries beside an event loop: each in a thread, with a connection of its own, and only a few at a time.

For pages and APIs of a process that also answers logins, because a slow list must not delay a login. It only reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from otp_core.store.store import Store

AT_ONCE = 4
"""Queries that run at the same time; further ones wait."""

P = ParamSpec("P")
T = TypeVar("T")


class AsyncQueries:
    """Runs query functions on one store, for one event loop. ``at_once``: how many at the same time."""

    def __init__(self, store: Store, at_once: int = AT_ONCE) -> None:
        self._store = store
        self._free = asyncio.Semaphore(at_once)

    async def run(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``query(connection, *args, **kwargs)``: a function as in queries.py, which fetches its rows
        before it returns. Raises StoreUnavailable, and what the query raises.

        A caller that is cancelled is released at once. If its query is running, that goes on to its end, and its place
        is free only then.
        """

        def read() -> T:
            with self._store.read() as connection:
                return query(connection, *args, **kwargs)

        await self._free.acquire()
        running = asyncio.get_running_loop().run_in_executor(None, read)
        running.add_done_callback(self._ended)
        return await asyncio.shield(running)

    def _ended(self, query: asyncio.Future[Any]) -> None:
        self._free.release()
        if not query.cancelled():
            query.exception()  # asked for here, or the loop would report one that a cancelled caller never sees
