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
        """The lock of the session that this cookie names; all requests without one share a lock."""
        name = cookie if len(cookie) <= _LONGEST else ""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock
