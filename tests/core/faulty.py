"""Databases that fail in one way: for ``event.listen(engine, "connect", …)``."""

from __future__ import annotations

from otp_core.store.sqlite import driver


def read_only(connection: driver.Connection, _record: object) -> None:
    connection.execute("PRAGMA query_only = ON")


def full(connection: driver.Connection, _record: object) -> None:
    connection.execute("PRAGMA max_page_count = 1")


def no_way_back(connection: driver.Connection, _record: object) -> None:
    """A database so broken that it cannot even roll back."""

    def allow(action: int, first: str | None, *_more: str | None) -> int:
        return driver.SQLITE_DENY if action == driver.SQLITE_TRANSACTION and first == "ROLLBACK" else driver.SQLITE_OK

    connection.set_authorizer(allow)
