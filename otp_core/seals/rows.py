"""Digests and marks of rows of the audit trail. Pure.

The digest of a stretch is the SHA-256 of the ids of its rows (8 octets each, big-endian, signed), and then of the
SHA-256 of each row's line (store/trail.py). Its marks are those ids, and then the first 8 octets of each line's
SHA-256. The signed digest proves; the marks, whose digest is signed as well, only tell which row it is that differs.

Each line has to be hashed for itself, so these are the functions that sealing spends its time in: a microsecond a row.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from otp_core.store.trail import Lines

MARK = 8
"""Octets of an id, and of what is kept of a line's digest."""

_sha256 = hashlib.sha256


class Stretch(NamedTuple):
    """``digest`` of all rows, in hexadecimal; ``marks``: of each."""

    digest: str
    marks: bytes


def stretch_of(rows: Lines) -> Stretch:
    """Digest and marks of rows."""
    ids = _big_endian(rows.ids)
    digests = [_sha256(line).digest() for line in rows.lines]
    digest = _sha256(ids + b"".join(digests)).hexdigest()
    return Stretch(digest, ids + b"".join([one[:MARK] for one in digests]))


def mark_of(line: bytes) -> bytes:
    """What is kept of a line's digest."""
    return _sha256(line).digest()[:MARK]


def marks_of(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The (id, first octets of the line's digest) that marks hold; nothing, if they are none."""
    number, rest = divmod(len(octets), 2 * MARK)
    if rest:
        return
    ids = array("q", octets[: number * MARK])
    if sys.byteorder == "little":
        ids.byteswap()
    for at, id_ in enumerate(ids):
        begin = (number + at) * MARK
        yield id_, octets[begin : begin + MARK]


def _big_endian(ids: array[int]) -> bytes:
    copy = array("q", ids)
    if sys.byteorder == "little":
        copy.byteswap()
    return copy.tobytes()
