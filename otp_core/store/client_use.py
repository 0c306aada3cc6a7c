"""What the RADIUS clients ask, in figures: added to by every worker every few seconds, read by the console and doctor.

No login is judged by it, so none waits for it: it is written aside (``Store.work_aside``). No customer and no secret is
in it. Bounded: a row for each client, one for each client and five minutes of the last week, and a number of strangers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Table, and_, delete, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from otp_core.store.schema import client_period, client_stranger, client_use

PERIOD_MS = 300_000
"""Of one row of figures."""

KEPT_MS = 7 * 86_400_000
"""How long figures are kept."""

STRANGERS = 200
"""How many strangers are kept; those who were heard last."""

DAY_MS = 86_400_000


class Asked(NamedTuple):
    """What one client has asked since the worker wrote last. ``requests``: verified ones; ``unprotected``: of these,
    without Message-Authenticator; ``with_present``, ``with_next``: by the secret they were made with, while there are
    two; the rest: verdicts."""

    client: str
    requests: int = 0
    unprotected: int = 0
    with_present: int = 0
    with_next: int = 0
    accepted: int = 0
    challenged: int = 0
    rejected: int = 0
    silent: int = 0


class Stranger(NamedTuple):
    """Datagrams that nobody was told anything about. ``source``: an address; ``cause``: a code. Times in
    ms."""

    source: str
    cause: str
    number: int
    first_at: int
    last_at: int


class Seen(NamedTuple):
    """One client. Times in ms, 0 for never. ``last_at``: its last verified request; ``unprotected_at``: the last one
    without Message-Authenticator; ``since``: where the figures begin. The numbers are those of the last 24 hours, but
    ``per_minute``: of the last full period."""

    last_at: int = 0
    unprotected_at: int = 0
    present_at: int = 0
    next_at: int = 0
    since: int = 0
    requests: int = 0
    unprotected: int = 0
    accepted: int = 0
    challenged: int = 0
    rejected: int = 0
    silent: int = 0
    per_minute: float = 0.0


class Period(NamedTuple):
    """What all clients together were answered in one period. ``begins_at``: ms."""

    begins_at: int
    accepted: int
    challenged: int
    rejected: int
    silent: int


_NUMBERS = ("requests", "unprotected", "accepted", "challenged", "rejected", "silent")


def note(connection: Connection, now: int, asked: Iterable[Asked], strangers: Mapping[tuple[str, str], int]) -> None:
    """Add what a worker has seen up to ``now`` (ms). ``strangers``: datagrams by source and cause."""
    begins_at = now - now % PERIOD_MS
    for one in asked:
        _note_client(connection, now, one)
        numbers = {name: getattr(one, name) for name in _NUMBERS}
        key = {"begins_at": begins_at, "client": one.client}
        if _add(connection, client_period, key, numbers):
            connection.execute(delete(client_period).where(client_period.c.begins_at < now - KEPT_MS))
    for (source, cause), number in strangers.items():
        _add(connection, client_stranger, {"source": source, "cause": cause}, {"number": number}, now)
    if strangers:
        _forget_strangers(connection, now)


def _note_client(connection: Connection, now: int, one: Asked) -> None:
    times = {
        "last_at": one.requests,
        "unprotected_at": one.unprotected,
        "present_at": one.with_present,
        "next_at": one.with_next,
    }
    new = {name: now for name, number in times.items() if number}
    if not new:
        return
    changed = connection.execute(update(client_use).where(client_use.c.client == one.client).values(**new))
    if not changed.rowcount:
        connection.execute(insert(client_use).values(client=one.client, since=now, **new))


def _add(
    connection: Connection, table: Table, key: Mapping[str, object], numbers: Mapping[str, int], at: int | None = None
) -> bool:
    """Whether the row is a new one. ``at``: when, for a table that keeps the first and the last time."""
    here = and_(*(table.c[name] == value for name, value in key.items()))
    more = {name: table.c[name] + number for name, number in numbers.items()}
    last = {} if at is None else {"last_at": at}
    if connection.execute(update(table).where(here).values(**more, **last)).rowcount:
        return False
    first = {} if at is None else {"first_at": at}
    connection.execute(insert(table).values(**key, **numbers, **first, **last))
    return True


def _forget_strangers(connection: Connection, now: int) -> None:
    newest = select(client_stranger.c.last_at).order_by(client_stranger.c.last_at.desc())
    oldest_kept = connection.scalar(newest.offset(STRANGERS - 1).limit(1))
    forgotten: ColumnElement[bool] = client_stranger.c.last_at < now - KEPT_MS
    if oldest_kept is not None:
        forgotten |= client_stranger.c.last_at < oldest_kept
    connection.execute(delete(client_stranger).where(forgotten))


def clients_seen(connection: Connection, now: int) -> dict[str, Seen]:
    """By the name of the client, those that were ever heard."""
    found = {row.client: Seen(**_times(row)) for row in connection.execute(select(client_use))}
    sums = [func.sum(client_period.c[name]).label(name) for name in _NUMBERS]
    period = client_period.c
    day = select(period.client, *sums).where(period.begins_at > now - DAY_MS).group_by(period.client)
    for row in connection.execute(day):
        if row.client in found:
            numbers = {name: int(getattr(row, name)) for name in _NUMBERS}
            found[row.client] = found[row.client]._replace(**numbers)
    last_full = now - now % PERIOD_MS - PERIOD_MS
    for name, requests in connection.execute(
        select(period.client, period.requests).where(period.begins_at == last_full)
    ):
        if name in found:
            found[name] = found[name]._replace(per_minute=requests * 60_000 / PERIOD_MS)
    return found


def periods(connection: Connection, now: int) -> list[Period]:
    """Those of the last 24 hours in which something was asked, in the order of time."""
    columns = client_period.c
    sums = [func.sum(columns[name]) for name in Period._fields[1:]]
    day = select(columns.begins_at, *sums).where(columns.begins_at > now - DAY_MS)
    rows = connection.execute(day.group_by(columns.begins_at).order_by(columns.begins_at))
    return [Period(*map(int, row)) for row in rows]


def _times(row: object) -> dict[str, int]:
    return {name: getattr(row, name) for name in ("last_at", "unprotected_at", "present_at", "next_at", "since")}


def strangers_seen(connection: Connection, limit: int) -> Sequence[Stranger]:
    """The ones that were heard last, the newest first."""
    columns = [client_stranger.c[name] for name in Stranger._fields]
    newest = select(*columns).order_by(client_stranger.c.last_at.desc(), client_stranger.c.source).limit(limit)
    return [Stranger(*row) for row in connection.execute(newest)]
