"""The sealed trail as a file that can be verified far from the store: one JSON object a line. Text in, pieces out.

The first line says what the file is; of a trail whose beginning was dropped, a second one may have the seal that says
so. A seal's line comes before the rows that it covers; rows behind the last of them
have no seal yet, and have a line of their own before them. The last line says how many there are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from otp_core.audit import ms_of
from otp_core.json_shapes import audit_row, local_time
from otp_core.store.queries import AuditLine
from otp_core.store.trail import Piece, RawRow, SealRow

VERSION = 1
_MOST_OF_A_LINE = 8_000_000
_MOST_ROWS, _MOST_OCTETS = 100_000, 256_000_000
"""Of one piece, and its lines: it is in memory as a whole. A file that goes on behind it is none of ours."""

_ROW = {"id", "time", *AuditLine._fields[1:]}
_NODE = "node"
"""Left out where no node is named, so that such a row is written as earlier versions have."""


class _Line(NamedTuple):
    """``number``: from 1 on; ``length``: in octets; ``found``: the object that it is."""

    number: int
    length: int
    found: dict[str, Any]


class ExportProblem(Exception):
    """A file that is no whole export; the text says where, and what is wrong."""


class Export(NamedTuple):
    """``exported_at``: when it says that it was made, in ms since the epoch. ``behind``: the seal of the drop that it
    says it begins behind. ``pieces``: the trail that it holds; they raise ExportProblem and OSError."""

    exported_at: int
    behind: SealRow | None
    pieces: Iterator[Piece]


def export_lines(pieces: Iterable[Piece], now_ms: int, behind: SealRow | None = None) -> Iterator[str]:
    """The lines of an export. ``now_ms``: when the newest seal was asked for, in ms since the epoch. ``behind``: the
    seal of the drop that they begin behind."""
    seals = rows = 0
    yield _line({"sekisho_audit_export": VERSION, "exported_at": now_ms})
    if behind is not None:
        yield _line({"behind": _seal_shape(behind)})
    for piece in pieces:
        if piece.seal is None:
            yield _line({"without_seal": len(piece.rows)})
        else:
            seals += 1
            yield _line({"seal": _seal_shape(piece.seal)})
        for row in piece.rows:
            yield _line(_row_shape(row))
        rows += len(piece.rows)
    yield _line({"end": {"seals": seals, "rows": rows}})


def read_export(file: BinaryIO) -> Export:
    """An export. Raises ExportProblem and OSError."""
    lines = _objects(file)
    head: dict[str, Any] = next(lines, _Line(0, 0, {})).found
    at_ms = head.get("exported_at")
    if set(head) != {"sekisho_audit_export", "exported_at"} or head["sekisho_audit_export"] != VERSION:
        raise ExportProblem("line 1: this is no file that `sekisho audit export` wrote, or one of another version")
    if type(at_ms) is not int:
        raise ExportProblem("line 1: exported_at is no time")
    second = next(lines, None)
    if second is None:
        return Export(at_ms, None, _pieces(iter(())))
    number, _, found = second
    if set(found) != {"behind"}:
        return Export(at_ms, None, _pieces(chain([second], lines)))
    return Export(at_ms, _read_seal(found["behind"], number), _pieces(lines))


def _pieces(lines: Iterator[_Line]) -> Iterator[Piece]:
    piece: Piece | None = None
    seals = rows = octets = 0
    for number, length, found in lines:
        if "end" in found:
            if found != {"end": {"seals": seals, "rows": rows}}:
                raise ExportProblem(f"line {number}: {seals:,} seals and {rows:,} rows come before it, and it differs")
            if piece is not None:
                yield piece
            if next(lines, None) is not None:
                raise ExportProblem(f"line {number + 1}: there is something behind the end")
            return
        if "seal" in found or "without_seal" in found:
            if piece is not None:
                yield piece
            if len(found) > 1:
                raise ExportProblem(f"line {number}: is no seal as `sekisho audit export` writes it")
            seal = _read_seal(found["seal"], number) if "seal" in found else None
            piece, seals, octets = Piece(seal, []), seals + (seal is not None), 0
            continue
        if piece is None or len(piece.rows) >= _MOST_ROWS:
            raise ExportProblem(f"line {number}: a row where a seal has to come")
        if (octets := octets + length) > _MOST_OCTETS:
            raise ExportProblem(f"line {number}: the rows up to here, under one seal, are longer than any seal covers")
        piece.rows.append(_read_row(found, number))
        rows += 1
    raise ExportProblem("the file ends before its end: it was cut off")


def _row_shape(row: RawRow) -> dict[str, object]:
    shape = audit_row(AuditLine(row[0], *(_text(value) for value in row[1:])))
    return shape if shape[_NODE] is not None else {name: value for name, value in shape.items() if name != _NODE}


def _line(shape: object) -> str:
    return json.dumps(shape, separators=(",", ":")) + "\n"  # ASCII: whatever octets the store holds, the file is text


def _text(value: object) -> Any:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def _octets(value: object) -> object:
    return value.encode(errors="surrogateescape") if isinstance(value, str) else value


def _seal_shape(seal: SealRow) -> dict[str, object]:
    shape = seal._asdict()
    return {**shape, "signature": _base64(seal.signature), "marks": _base64(seal.marks)}


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


class _Twice(Exception):
    """A key that an object has twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that comes twice, one program takes the first value and another the last: the seals would hold for one
    text, and somebody would read the other. Raises _Twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(ascii(next(name for name in names if names.count(name) > 1)[:40]))
    return found


def _objects(file: BinaryIO) -> Iterator[_Line]:
    number = 0
    while line := file.readline(_MOST_OF_A_LINE):
        number += 1
        try:
            found = json.loads(line, object_pairs_hook=_once)
        except _Twice as twice:
            raise ExportProblem(f"line {number}: has the key {twice} twice: the file was changed") from None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ExportProblem(f"line {number}: is no JSON object: the file was changed, or cut off")
        yield _Line(number, len(line), found)


def _read_seal(shape: Any, number: int) -> SealRow:
    try:
        signature, marks = (base64.b64decode(shape[name], validate=True) for name in ("signature", "marks"))
        seal = SealRow(shape["number"], shape["until"], shape["body"], signature, marks)
        known = len(shape) == len(SealRow._fields)
        if known and type(seal.number) is int and type(seal.until) is int and isinstance(seal.body, str):
            return seal
    except (ValueError, KeyError, TypeError):
        pass
    raise ExportProblem(f"line {number}: is no seal as `sekisho audit export` writes it")


def _read_row(shape: dict[str, Any], number: int) -> RawRow:
    if shape.keys() | {_NODE} != _ROW or type(shape["id"]) is not int or not -(2**63) <= shape["id"] < 2**63:
        raise ExportProblem(f"line {number}: is no row as `sekisho audit export` writes it")
    if not _is_time_of(shape["time"], shape["id"]):
        raise ExportProblem(f"line {number}: row {shape['id']} has another time than its id says: it was changed")
    try:
        return (shape["id"], *(_octets(shape.get(name)) for name in AuditLine._fields[1:]))
    except UnicodeEncodeError:
        raise ExportProblem(f"line {number}: row {shape['id']} holds what is no text: it was changed") from None


def _is_time_of(text: object, id_: int) -> bool:
    expected = local_time(ms_of(id_))
    if text == expected:
        return True
    if expected is None or not isinstance(text, str):
        return False
    try:  # written in another time zone
        return datetime.fromisoformat(text) == datetime.fromisoformat(expected)
    except (ValueError, TypeError):
        return False
