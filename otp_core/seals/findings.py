"""What a verification has found, and the words for it: which row, which seal. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from otp_core.audit import ms_of
from otp_core.seals.rows import mark_of, marks_of
from otp_core.seals.seal import Seal
from otp_core.store.trail import RawRow, line_of, without_node

MOST_KEPT = 10_000
"""Findings that are kept; further ones are counted."""


class Kind(StrEnum):
    """What was found. The first four concern one row, the others seals or the whole trail."""

    CHANGED = "changed"
    REMOVED = "removed"
    ADDED = "added"
    MOVED = "moved"
    CHAIN = "chain"
    NOTICE = "notice"


class Finding(NamedTuple):
    """``row``: its id. ``mark``: 64 bits of the digest of what is there (ADDED, CHANGED) and ``sealed``: of what was
    sealed (REMOVED, CHANGED). ``text``: for people."""

    kind: Kind
    text: str
    row: int = 0
    mark: bytes = b""
    sealed: bytes = b""


def differences(seal: Seal, marks: bytes, rows: Iterable[RawRow]) -> list[Finding]:
    """How rows differ from those that were sealed, by their marks. Empty, if no mark tells."""
    expected = dict(marks_of(marks))
    found: list[Finding] = []
    for row in rows:
        id_, mark = row[0], mark_of(line_of(row))
        sealed = expected.pop(id_, None)
        if sealed is not None and sealed == mark_of(line_of(without_node(row))):
            continue  # an earlier version has sealed it
        if sealed is None:
            text = f"{name_of(row)} was added after seal {seal.number} was made"
            found.append(Finding(Kind.ADDED, text, id_, mark))
        elif sealed != mark:
            text = f"{name_of(row)} was changed after seal {seal.number} was made"
            found.append(Finding(Kind.CHANGED, text, id_, mark, sealed))
    for id_, sealed in expected.items():
        text = f"row {id_} of {time_of(id_)} was removed after seal {seal.number} was made"
        found.append(Finding(Kind.REMOVED, text, id_, sealed=sealed))
    return sorted(found, key=lambda one: one.row)


def with_moves(found: Iterable[Finding]) -> list[Finding]:
    """The same findings; a row that is missing in one place and was added in another has been moved, and so have two
    rows that were changed into one another."""
    ones = list(found)
    there = {one.mark: one for one in ones if one.mark}
    moved: set[int] = set()
    result: list[Finding] = []
    for one in ones:
        new = there.get(one.sealed) if one.sealed else None
        if new is None or one.row in moved or new.row in moved:
            result.append(one)
            continue
        exchanged = one.kind is Kind.CHANGED and new.kind is Kind.CHANGED and new.sealed == one.mark
        if exchanged:
            moved |= {one.row, new.row}
            text = f"rows {one.row} of {time_of(one.row)} and {new.row} of {time_of(new.row)} have exchanged places"
        elif one.kind is Kind.REMOVED and new.kind is Kind.ADDED:
            moved |= {one.row, new.row}
            text = f"row {one.row} of {time_of(one.row)} was moved: it is row {new.row} of {time_of(new.row)} now"
        else:
            result.append(one)
            continue
        result.append(Finding(Kind.MOVED, text, one.row))
    return [one for one in result if one.kind is Kind.MOVED or one.row not in moved or not one.row]


def name_of(row: RawRow) -> str:
    """A row, as somebody who reads the trail knows it."""
    id_, event, _, customer, token, *_ = row
    about = " ".join(_text(value) for value in (event, customer, token) if value is not None)
    return f"row {id_} of {time_of(id_)} ({about})"


def time_of(id_: int) -> str:
    """The moment in which an id was drawn, or at least says so; UTC."""
    return time_at(ms_of(id_))


def time_at(ms: int) -> str:
    """A moment in ms since the epoch; UTC."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return "no time"


def _text(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "".join(one if one.isprintable() else "?" for one in text[:80])
