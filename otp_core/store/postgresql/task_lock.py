"""The lock of a task that one process of all nodes does (``store.engine.TaskLock``): it lasts as long as the
session.
"""

from __future__ import annotations

from otp_core.model import StoreUnavailable
from otp_core.store.engine import Task
from otp_core.store.postgresql.connection import Connection
from otp_core.store.postgresql.thread_connection import ThreadConnection

_SPACE = 0x53656B69
_NUMBERS = {Task.SEALS: 1, Task.SYSLOG: 2, Task.WEBHOOKS: 3, Task.DROP: 4}


class SessionLock:
    """On a connection of its own: if that breaks, the server lets go of the lock, and another node may take it."""

    def __init__(self, connection: ThreadConnection, task: Task) -> None:
        self._connection, self._number = connection, _NUMBERS[task]
        self._has = False
        self._session: Connection | None = None

    def take(self) -> bool:
        """See ``store.engine.TaskLock``. The server is asked each time, because it knows whether the session lasts."""
        try:
            self._connection.look()
            with self._connection.guarded() as connection:
                connection.execute("SELECT 1")  # a session that was lost is opened anew by the next try
                if not (self._has and self._session is connection):
                    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_SPACE, self._number)).fetchone()
                    self._has, self._session = bool(row and row[0]), connection
        except StoreUnavailable:
            self._has = False
        return self._has

    def close(self) -> None:
        """See ``store.engine.TaskLock``."""
        self._connection.close()
