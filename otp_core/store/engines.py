"""Chooses the engine by ``store.url``: the only place that does. A driver is imported by its engine alone."""

from __future__ import annotations

from pathlib import Path

from otp_core.store.engine import Database
from otp_core.store.postgresql.address import is_postgresql, parse


def open_database(url: str, *, busy_seconds: float, relieved: bool = False) -> Database:
    """The database of a URL. ``busy_seconds``: how long a writer waits for others. ``relieved``: another process makes
    the checkpoints of a store in a file. Raises StoreProblem for a URL that none can serve."""
    if is_postgresql(url):
        from otp_core.store.postgresql.engine import PostgresqlDatabase

        return PostgresqlDatabase(url, busy_seconds=busy_seconds)
    from otp_core.store.sqlite.engine import SqliteDatabase

    return SqliteDatabase(url, busy_seconds=busy_seconds, relieved=relieved)


def one_process_only(url: str) -> str | None:
    """Why one process alone may write to the store, with what to do; None: any number may."""
    if store_file(url) is None:
        return None
    from otp_core.store.sqlite import driver

    return None if driver.resets_safely() else driver.FAULT


def store_name(url: str) -> str:
    """The name of its database, or of its file, for a URL that the settings hold. Raises StoreProblem."""
    file = store_file(url)
    return parse(url).database if file is None else file.name


def store_file(url: str) -> Path | None:
    """The file of the store, absolute and without links; None: it is no file of this machine. Raises StoreProblem."""
    if is_postgresql(url):
        return None
    from otp_core.store.sqlite.database import file_of

    return file_of(url)
