"""Shadow mode: what the comparison of the old server's answers with ours has found, one row for a client and customer.

Written aside (``Store.work_aside``): no login is judged by it. No password and no code is in it. Bounded: MOST rows,
and none of a name that is known at neither server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, bindparam, case, delete, func, insert, select

from otp_core.login.obstacles import ENOUGH, Obstacle, Old, Part, standing
from otp_core.store.schema import shadow_login

MOST = 1_000_000
"""Rows of all clients. Over that, customers who are new to it are left out."""

KEPT_MS = 400 * 86_400_000
"""How long a customer is kept who does not log in any more."""

FORGOTTEN_AT_ONCE = 500
"""Rows that one transaction deletes at most: no login waits for more."""


class Compared(NamedTuple):
    """One request that both have answered. ``at``: ms. ``obstacle`` None: they agree. ``known``: here."""

    client: str
    customer: str
    at: int
    old: Old
    part: Part
    obstacle: Obstacle | None
    known: bool


class Seen(NamedTuple):
    """One customer of a client. Times in ms, 0 for never. ``logins``: accepted by the old server; ``agreed``: of
    these, by both; ``in_a_row``: since the last difference; ``refused``: by the old server; ``let_in``: of these, here.
    ``first``, ``second``: what stood in the way when this round was compared last."""

    client: str
    customer: str
    since: int
    last_at: int
    logins: int = 0
    agreed: int = 0
    in_a_row: int = 0
    refused: int = 0
    let_in: int = 0
    first: str | None = None
    second: str | None = None
    differed_at: int = 0

    @property
    def standing(self) -> Obstacle | None:
        """Why the customer is not safe to move; None: they are."""
        return standing(self.first or self.second, self.logins, self.in_a_row)


class Added(NamedTuple):
    """``new``: customers that were not seen before; ``left_out``: comparisons for which there was no room."""

    new: int
    left_out: int


def note(connection: Connection, compared: Sequence[Compared], room: int) -> Added:
    """Add what was compared. ``room``: rows that may be added."""
    rows, new, left_out = _rows_of(connection, compared), 0, 0
    for one in compared:
        key = (one.client, one.customer)
        row = rows.get(key)
        if row is None:
            if not one.known and one.old is not Old.ACCEPTED:
                continue  # a name that nobody has: strangers may type any number of them
            if new >= room:
                left_out += 1
                continue
            new += 1
            row = Seen(*key, since=one.at, last_at=one.at)
        rows[key] = after(row, one)
    _write(connection, rows.values())
    return Added(new, left_out)


def after(row: Seen, one: Compared) -> Seen:
    """The row when this was added to it."""
    accepted, refused = one.old is Old.ACCEPTED, one.old is Old.REJECTED
    first, second = row.first, row.second
    if not refused or one.obstacle is not None:
        first = one.obstacle if one.part is not Part.SECOND else row.first
        second = one.obstacle if one.part is Part.SECOND else None if one.part is Part.WHOLE else row.second
    agreed = accepted and first is None and second is None
    differs = one.obstacle is not None
    return row._replace(
        last_at=max(row.last_at, one.at),
        logins=row.logins + accepted,
        agreed=row.agreed + agreed,
        in_a_row=0 if differs else row.in_a_row + agreed,
        refused=row.refused + refused,
        let_in=row.let_in + (refused and differs),
        first=first,
        second=second,
        differed_at=one.at if differs else row.differed_at,
    )


def _rows_of(connection: Connection, compared: Iterable[Compared]) -> dict[tuple[str, str], Seen]:
    by_client: dict[str, set[str]] = {}
    for one in compared:
        by_client.setdefault(one.client, set()).add(one.customer)
    columns, found = _columns(), {}
    for client, customers in by_client.items():
        here = (shadow_login.c.client == client) & shadow_login.c.customer.in_(sorted(customers))
        for row in connection.execute(select(*columns).where(here)):
            found[row.client, row.customer] = Seen(*row)
    return found


def _write(connection: Connection, rows: Iterable[Seen]) -> None:
    values = [row._asdict() for row in rows]
    if not values:
        return
    here = (shadow_login.c.client == bindparam("of")) & (shadow_login.c.customer == bindparam("whom"))
    connection.execute(delete(shadow_login).where(here), [{"of": v["client"], "whom": v["customer"]} for v in values])
    connection.execute(insert(shadow_login), values)


class Room(NamedTuple):
    """``room``: rows that may be added. ``late``: some (client, customer) whom nobody has seen for long."""

    room: int
    late: list[tuple[str, str]]


def room_of(connection: Connection, now: int) -> Room:
    """Reads the whole table, so not in an event loop. ``now``: ms."""
    columns, late = shadow_login.c, shadow_login.c.last_at < now - KEPT_MS
    rows = connection.execute(select(columns.client, columns.customer).where(late).limit(FORGOTTEN_AT_ONCE))
    number = connection.scalar(select(func.count()).select_from(shadow_login)) or 0
    return Room(MOST - number, [(row.client, row.customer) for row in rows])


def forget(connection: Connection, late: Sequence[tuple[str, str]], now: int) -> None:
    """Take out those whom ``room_of`` has found, but for who was seen meanwhile."""
    here = (shadow_login.c.client == bindparam("of")) & (shadow_login.c.customer == bindparam("whom"))
    still = delete(shadow_login).where(here, shadow_login.c.last_at < now - KEPT_MS)
    if late:
        connection.execute(still, [{"of": client, "whom": customer} for client, customer in late])


def forget_client(connection: Connection, client: str) -> int:
    """Take out some customers of one client. Returns how many; 0: there are none left."""
    here = shadow_login.c.client == client
    first = select(shadow_login.c.customer).where(here).order_by(shadow_login.c.customer).limit(FORGOTTEN_AT_ONCE)
    names = list(connection.execute(first).scalars())
    if not names:
        return 0
    return connection.execute(delete(shadow_login).where(here, shadow_login.c.customer <= names[-1])).rowcount


def customers_seen(connection: Connection, client: str, limit: int, after_customer: str = "") -> list[Seen]:
    """The customers of a client in the order of their contract IDs, those behind one."""
    table = shadow_login.c
    here = (table.client == client) & (table.customer > after_customer)
    rows = connection.execute(select(*_columns()).where(here).order_by(table.customer).limit(limit))
    return [Seen(*row) for row in rows]


class Report(NamedTuple):
    """How the customers of a client stand. ``since``: when the first one was compared (ms, 0 for never).
    ``customers``: how many by their standing, None for those who are safe to move."""

    since: int
    customers: dict[Obstacle | None, int]

    @property
    def total(self) -> int:
        """All that were seen."""
        return sum(self.customers.values())

    @property
    def safe(self) -> int:
        """Those who are safe to move."""
        return self.customers.get(None, 0)

    @property
    def percent(self) -> int:
        """The share of those, rounded down: 100 means all."""
        return self.safe * 100 // self.total if self.total else 0

    @property
    def obstacles(self) -> list[tuple[Obstacle, int]]:
        """What stands in the way of the others, the most frequent first."""
        found = [(one, number) for one, number in self.customers.items() if one is not None]
        return sorted(found, key=lambda one: (-one[1], one[0]))


def report(connection: Connection, client: str) -> Report:
    """One pass over the customers of a client."""
    table = shadow_login.c
    code = func.coalesce(table.first, table.second)
    logins = case((table.logins == 0, 0), else_=1)
    in_a_row = case((table.in_a_row >= ENOUGH, ENOUGH), else_=0)
    counted: Counter[Obstacle | None] = Counter()
    since = 0
    query = select(code, logins, in_a_row, func.count(), func.min(table.since)).where(table.client == client)
    for row in connection.execute(query.group_by(code, logins, in_a_row)):
        counted[standing(row[0], row[1], row[2])] += row[3]
        since = min(since or row[4], row[4])
    return Report(since, dict(counted))


def _columns() -> list[Column[Any]]:
    return [shadow_login.c[name] for name in Seen._fields]
