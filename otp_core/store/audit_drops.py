"""What was exported of the audit trail, what was dropped then, and how rows are taken away: a little at a time, so that
no login waits. Whether a drop was allowed, its seal tells (seals/beginning.py), never a row of these tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from otp_core.model import StoreBusy
from otp_core.store.engine import ShortWrites
from otp_core.store.schema import audit, audit_drop, audit_export, audit_name, seal
from otp_core.store.store import Store

SHARE = 0.2
"""Of the time, at most, in which rows are taken away: in the rest logins go on alone."""

_BUSY_SECONDS = 0.05
"""Until the next try, while somebody else writes for long."""


class ExportRecord(NamedTuple):
    """A file of `sekisho audit export --until`: the seals and the last row in it, how many rows, its SHA-256, its name
    then, and who wrote it. ``key``: the audit row that tells of it."""

    key: int
    first_seal: int
    last_seal: int
    until_id: int
    rows: int
    digest: str
    file: str
    actor: str


class DropRecord(NamedTuple):
    """A drop: the seal that proves it, the last seal and the last row that it takes away, how many rows, the file that
    has them (SHA-256), who did it, and from when to when (ms since the epoch; 0: it has not ended)."""

    seal: int
    last_seal: int
    until_id: int
    rows: int
    export: str
    actor: str
    begun_at: int
    ended_at: int = 0


class Edge(NamedTuple):
    """A seal, by its number, and the last row under it."""

    number: int
    until: int
    body: str


def note_export(connection: Connection, record: ExportRecord) -> None:
    """Note a file that is whole and on the disk."""
    connection.execute(insert(audit_export).values(**record._asdict()))


def export_with(connection: Connection, digest: str) -> ExportRecord | None:
    """The newest export with this digest."""
    query = select(audit_export).where(audit_export.c.digest == digest).order_by(audit_export.c.key.desc())
    row = connection.execute(query.limit(1)).first()
    return None if row is None else ExportRecord._make(row)


def note_drop(connection: Connection, record: DropRecord) -> None:
    """Note a drop whose seal is made."""
    connection.execute(insert(audit_drop).values(**record._asdict()))


def note_end(connection: Connection, seal_number: int, at_ms: int) -> None:
    """Note that nothing of a drop is left."""
    connection.execute(update(audit_drop).where(audit_drop.c.seal == seal_number).values(ended_at=at_ms))


def newest_drop(connection: Connection) -> DropRecord | None:
    """The newest drop; None: there was none."""
    row = connection.execute(select(audit_drop).order_by(audit_drop.c.seal.desc()).limit(1)).first()
    return None if row is None else DropRecord._make(row)


def dropped_until(connection: Connection) -> int:
    """The id up to which rows may be gone because they were dropped; 0: none were."""
    return connection.execute(select(func.max(audit_drop.c.until_id))).scalar() or 0


def edge_before(connection: Connection, id_: int) -> Edge | None:
    """The newest seal all of whose rows lie below this id."""
    query = select(seal.c.number, seal.c.until_id, seal.c.body).where(seal.c.until_id < id_)
    row = connection.execute(query.order_by(seal.c.until_id.desc(), seal.c.number.desc()).limit(1)).first()
    return None if row is None else Edge._make(row)


def part_before(connection: Connection, id_: int) -> tuple[Edge, Edge] | None:
    """The oldest seal, and the newest one all of whose rows lie below this id; None: there is no such row here.
    (The seal of a drop covers no row, so it may end before the first one that is left.)"""
    first, last = first_edge(connection), edge_before(connection, id_)
    if first is None or last is None or last.number < first.number or last.until <= dropped_until(connection):
        return None
    return first, last


def first_edge(connection: Connection) -> Edge | None:
    """The oldest seal there is."""
    query = select(seal.c.number, seal.c.until_id, seal.c.body).order_by(seal.c.number).limit(1)
    row = connection.execute(query).first()
    return None if row is None else Edge._make(row)


_MOST_COUNTED = 1_000_000


def rows_between(connection: Connection, after: int, before: int) -> int:
    """How many rows lie above the one id and below the other; at most a million are counted."""
    some = select(audit.c.id).where(audit.c.id > after, audit.c.id < before).limit(_MOST_COUNTED).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def oldest_audit_id(connection: Connection) -> int | None:
    """The id of the oldest audit row; None: there is none."""
    found: int | None = connection.execute(select(func.min(audit.c.id))).scalar()
    return found


# Taking away

_ROWS = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= :until ORDER BY id LIMIT :most)"
_SEALS = (
    "DELETE FROM seal WHERE number IN (SELECT number FROM seal WHERE number <= :number ORDER BY number LIMIT :most)"
)
_REMARKS = (
    "DELETE FROM login_remark WHERE id IN (SELECT id FROM login_remark WHERE id <= :until ORDER BY id LIMIT :most)"
)
_SUBJECTS = (
    "DELETE FROM audit_subject WHERE (stretch, subject, id) IN (SELECT stretch, subject, id FROM audit_subject"
    " WHERE stretch = (SELECT min(stretch) FROM audit_subject) AND id <= :until LIMIT :most)"
)
_NAMES = (
    "DELETE FROM audit_name WHERE name = :name AND stretch IN (SELECT first FROM audit_stretch WHERE last <= :until)"
)
_STRETCHES = "DELETE FROM audit_stretch WHERE last <= :until"


def take_away(store: Store, until: int, number: int, advance: Callable[[int], None] = lambda done: None) -> None:
    """Delete the rows up to the id ``until``, the seals up to ``number``, and what is kept beside these rows. Told that
    this is allowed, it asks nobody. May be called again. ``advance``: told how many rows are gone. Raises
    StoreUnavailable; what was not deleted is there yet then."""
    writes = store.short_writes()
    try:
        done = writes.drop_partitions(until)
        advance(done)
        for rows in _steps(store, writes, until, number):
            done += rows
            advance(done)
        writes.flush()
    finally:
        writes.close()


def _steps(store: Store, writes: ShortWrites, until: int, number: int) -> Iterator[int]:
    """Rows before their seals, so that no row is ever without one; both before the look-up tables, which would be made
    anew for rows that are there. Yields how many rows a step has deleted."""
    values: dict[str, object] = {"until": until, "number": number, "most": writes.most}
    for statement in (_ROWS, _SEALS, _REMARKS, _SUBJECTS):
        while deleted := _at_leisure(writes, statement, values):
            yield deleted if statement is _ROWS else 0
    with store.read() as connection:
        names = connection.execute(select(audit_name.c.name).distinct()).scalars().all()
    for name in names:
        _at_leisure(writes, _NAMES, {"name": name, "until": until})
    _at_leisure(writes, _STRETCHES, values)


def _at_leisure(writes: ShortWrites, statement: str, values: dict[str, object]) -> int:
    """Run it, and leave the store to others for some time."""
    while True:
        begun = time.monotonic()
        try:
            changed = writes.run(statement, values)
        except StoreBusy:
            time.sleep(_BUSY_SECONDS)
            continue
        time.sleep((time.monotonic() - begun) * (1 - SHARE) / SHARE)
        return changed
