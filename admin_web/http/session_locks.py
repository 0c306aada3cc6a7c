"""A lock for each browser session: one request of a session at a time, and no session waits for another's. It reads no
store.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

_LONGEST = 64
"""Characters of a cookie; one that is longer is none of ours."""


class SessionLocks:
    """Locks by the value of the session cookie. One is kept while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, cookie: str) -> asyncio.Lock:
        """The lock of the session that this cookie names. Without a cookie there is none to be guarded: whoever signs
        in must not wait for all others who do, each of whom may wait for the store."""
        if not cookie or len(cookie) > _LONGEST:
            return asyncio.Lock()
        lock = self._locks.get(cookie)
        if lock is None:
            lock = self._locks[cookie] = asyncio.Lock()
        return lock
