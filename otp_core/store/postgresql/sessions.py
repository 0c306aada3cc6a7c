"""Who is connected to the database now, of Sekisho: by the names of the sessions (address.py)."""

from __future__ import annotations

import time

from sqlalchemy import Connection, text

from otp_core.model import StoreProblem
from otp_core.store.engine import Database
from otp_core.store.postgresql.address import APPLICATION

_TRIES, _SECONDS_BETWEEN = 20, 0.25
"""The session of a process that was killed ends when the server notices: if a statement waits, at lock_timeout."""

_OTHERS = text(
    "SELECT coalesce(host(client_addr), 'the database''s own machine'), application_name, count(*) "
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND application_name ~ '^sekisho( |$)' GROUP BY 1, 2 ORDER BY 1, 2"
)


def other_sessions(connection: Connection) -> dict[str, int]:
    """How many sessions there are beside this one, by where they come from: for people."""
    found: dict[str, int] = {}
    for place, _, number in connection.execute(_OTHERS):
        found[place] = found.get(place, 0) + number
    return found


def wait_until_unused(database: Database) -> None:
    """Raises StoreProblem if another process of ours is connected, and stays; StoreUnavailable."""
    database.engine.dispose()
    found: dict[str, int] = {}
    for _ in range(_TRIES):
        with database.read() as connection:
            found = other_sessions(connection)
        if not found:
            return
        time.sleep(_SECONDS_BETWEEN)
    places = ", ".join(f"{number} from {place}" for place, number in found.items())
    raise StoreProblem(
        f"the store {database.place} is in use by {sum(found.values())} connections of Sekisho ({places}): stop all "
        "that use it first"
    )


def older_sessions(connection: Connection, revision: str) -> list[str]:
    """Where sessions come from whose version does not know this revision: for people."""
    rows = connection.execute(_OTHERS)
    return [
        f"{place} (sessions of an older version: {number})"
        for place, name, number in rows
        if _known_to(name) < revision
    ]


def _known_to(name: str) -> str:
    return name.removeprefix(APPLICATION).strip()  # of a version up to 0022 nothing
