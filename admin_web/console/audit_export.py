"""What a filter finds in the audit trail, as a file: CSV that Excel opens as it is, or JSON lines. Bounded in rows, and
in how far back is looked; what is further back is the command line's (``sekisho audit --excel``, ``--json``).

Made in a thread (AsyncQueries), so that it delays no page.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection

from otp_core.audit import ms_of
from otp_core.json_shapes import audit_row, local_time
from otp_core.spreadsheet import BYTE_ORDER_MARK, csv_line
from otp_core.store.find import audit_page
from otp_core.store.queries import AuditFilter, AuditLine

MOST_ROWS = 20_000
MOST_LOOKS = 25
"""Stretches of ``find.LOOK_BACK`` rows that are looked through: half a million rows."""

_PAGE = 1000
_HEADINGS = ("id", "time", "event", "actor", "customer", "token", "source", "reason", "node")
_TEXTS = tuple(heading in ("id", "customer", "token") for heading in _HEADINGS)


class AuditFile(NamedTuple):
    """``name`` tells from when to when the trail was looked through (UTC). ``whole``: all that the filter finds."""

    name: str
    content_type: str
    octets: bytes
    rows: int
    whole: bool


def audit_file(connection: Connection, wanted: AuditFilter, form: str, now_ms: int) -> AuditFile:
    """The newest rows that a filter finds, the oldest of them first. ``form``: "excel" or "jsonl"."""
    rows: list[AuditLine] = []
    looks, next_before, looked_to = 0, wanted.before, 0
    while len(rows) < MOST_ROWS and looks < MOST_LOOKS:
        page = audit_page(connection, replace(wanted, before=next_before), limit=_PAGE)
        rows += page.rows
        looks += page.looked_to is not None
        next_before = page.next_before
        if next_before is None:
            break
        looked_to = next_before
    whole = next_before is None
    rows.reverse()
    begin = ms_of(rows[0].id if rows and whole else looked_to) if rows or not whole else now_ms
    end = now_ms if wanted.before is None else min(now_ms, ms_of(wanted.before))
    name = f"audit-{_moment(begin)}-{_moment(end)}"
    if form == "jsonl":
        octets = "".join(json.dumps(audit_row(row), ensure_ascii=False) + "\n" for row in rows).encode()
        return AuditFile(f"{name}.jsonl", "application/jsonl", octets, len(rows), whole)
    head = BYTE_ORDER_MARK + csv_line(_HEADINGS, [False] * len(_HEADINGS))
    lines = (csv_line((row.id, local_time(ms_of(row.id)), *row[1:]), _TEXTS) for row in rows)
    return AuditFile(f"{name}.csv", "text/csv", (head + "".join(lines)).encode(), len(rows), whole)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
