"""Takes away what nobody decides by (``store.engine.ShortWrites``): each statement in a turn of its own, without a
flush in it. ``meta.changed`` stays as it is, so no login batch is decided anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from otp_core.store.sqlite.connection import SharedCommits


class SqliteShortWrites:
    """On a connection of its own. One thread at a time may use it."""

    most = 500
    """A few milliseconds."""

    def __init__(self, connection: SharedCommits) -> None:
        self._connection = connection

    def run(self, statement: str, values: Mapping[str, object]) -> int:
        """See ``store.engine.ShortWrites``."""
        with self._connection.guarded() as connection, self._connection.turn():
            connection.execute("BEGIN IMMEDIATE")
            changed = connection.execute(statement, values).rowcount
            connection.execute("COMMIT")
            self._connection.committed(0)
        return changed

    def drop_partitions(self, until: int) -> int:
        """See ``store.engine.ShortWrites``. There are none: the trail is kept in the order of its ids."""
        return 0

    def flush(self) -> None:
        """See ``store.engine.ShortWrites``."""
        with self._connection.guarded():
            self._connection.flush()

    def close(self) -> None:
        """See ``store.engine.ShortWrites``."""
        self._connection.close()
