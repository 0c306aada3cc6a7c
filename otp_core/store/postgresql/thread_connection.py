"""A connection of the driver itself for one thread: opened at its first use, and again after any trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from otp_core.model import StoreProblem, StoreUnavailable
from otp_core.store.loop_guard import before_a_wait
from otp_core.store.postgresql.connection import Connection, Notices
from otp_core.store.postgresql.errors import is_lost, unavailable
from otp_core.store.postgresql.primary import Primary

_LOCK_SECONDS = 2.0


class ThreadConnection:
    """One thread at a time may use it."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._connection: Connection | None = None
        self._notices = Notices()

    @contextmanager
    def guarded(self) -> Iterator[Connection]:
        """Whatever is raised inside, an open transaction is rolled back. Raises StoreUnavailable."""
        before_a_wait()
        try:
            yield self._opened()
        except psycopg.Error as error:
            self._failed(error)
            raise unavailable(error) from error
        except (OSError, ValueError, StoreProblem) as error:
            self.close()
            raise StoreUnavailable(f"store: {error}") from error
        except BaseException as error:
            self._failed(error)
            raise

    @contextmanager
    def committed(self) -> Iterator[Connection]:
        """One transaction; at the end it is where a COMMIT has to be. Raises StoreUnavailable, and then it may have
        been done all the same."""
        with self.guarded() as connection:
            self._notices.unreplicated = ""
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            if self._notices.unreplicated:
                raise StoreUnavailable(f"store: {self._notices.unreplicated}")

    def is_open(self) -> bool:
        """Whether the connection of the last use is still there, and its server still the primary."""
        connection = self._connection
        return connection is not None and not connection.closed and self._primary.is_current(connection)

    def look(self) -> None:
        """See ``Primary.look``."""
        self._primary.look()

    def close(self) -> None:
        """Let go of it; the next use opens another."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _opened(self) -> Connection:
        if self._connection is None or not self.is_open():
            self.close()
            self._connection = self._primary.connect(lock_timeout=_LOCK_SECONDS, notices=self._notices)
        return self._connection

    def _failed(self, error: BaseException) -> None:
        connection = self._connection
        if connection is None:
            return
        if is_lost(error) or connection.closed:
            self.close()
            return
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
