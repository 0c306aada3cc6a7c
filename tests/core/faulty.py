"""Databases that fail in one way: for ``event.listen(engine, "connect", …)``."""

from __future__ import annotations

import sqlite3


def read_only(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA query_only = ON")


def full(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA max_page_count = 1")


def no_way_back(connection: sqlite3.Connection, _record: object) -> None:
    """A database so broken that it cannot even roll back."""

    def allow(action: int, first: str | None, *_more: str | None) -> int:
        return (
            sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION and first == "ROLLBACK" else sqlite3.SQLITE_OK
        )

    connection.set_authorizer(allow)
