"""How wrong codes missed ("correct code, 3 steps late"), by audit row, for staff who read the trail; and how accepted
ones were late or early, for forecasts. Written aside, after the answer: no login is judged by it, and the seals do not
cover it. Kept for a week.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, delete, insert, select

from otp_core.audit import id_at
from otp_core.store.schema import login_remark

KEPT_MS = 7 * 86_400_000


def note_remarks(connection: Connection, now: int, remarks: Iterable[tuple[int, str]]) -> None:
    """Add remarks: the ID of an audit row, and the words. ``now``: ms; what is too old is forgotten."""
    new = dict(remarks)
    known = remarks_of(connection, new)
    rows = [{"id": id_, "remark": remark} for id_, remark in new.items() if id_ not in known]
    if rows:
        connection.execute(insert(login_remark), rows)
    connection.execute(delete(login_remark).where(login_remark.c.id < id_at(now - KEPT_MS)))


def remarks_of(connection: Connection, ids: Collection[int]) -> dict[int, str]:
    """Those there are for these audit rows."""
    if not ids:
        return {}
    rows = connection.execute(select(login_remark.c.id, login_remark.c.remark).where(login_remark.c.id.in_(ids)))
    return {row.id: row.remark for row in rows}
