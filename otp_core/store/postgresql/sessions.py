"""Who is connected to the database now, of Sekisho: by the names of the sessions (address.py)."""

from __future__ import annotations

from sqlalchemy import Connection, text

from otp_core.store.postgresql.address import APPLICATION

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
