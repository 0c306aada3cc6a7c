"""Rows of the audit trail to octets, digests and marks. Pure.

A row's line is its six values behind the id, with U+001F between them, as UTF-8. In a value a backslash is written
``\\\\``, U+001F ``\\s`` and U+0000 ``\\0``; no value (NULL) is one octet 0. So two different rows never have one line.
A row's entry is its id (8 octets, big-endian, signed) and the SHA-256 of its line; a stretch's digest is the SHA-256 of
its rows' entries, one behind the other. A mark is the first 16 octets of an entry: the id, and 64 bits of the digest.
The signed digest proves; the marks, whose digest is signed as well, only tell which row it is that differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from otp_core.store.trail import RawRow

MARK = 16
"""Octets of a mark."""

_SEPARATOR, _NOTHING, _BACKSLASH = b"\x1f", b"\0", b"\\"
_sha256 = hashlib.sha256


class Stretch(NamedTuple):
    """``digest`` of all rows, in hexadecimal; ``marks``: of each."""

    digest: str
    marks: bytes


def stretch_of(rows: Sequence[RawRow]) -> Stretch:
    """Digest and marks of rows in the order of their ids."""
    entries = [entry_of(row) for row in rows]
    return Stretch(_sha256(b"".join(entries)).hexdigest(), b"".join([entry[:MARK] for entry in entries]))


def entry_of(row: RawRow) -> bytes:
    """A row's id and the digest of its line: 40 octets."""
    id_, event, actor, customer, token, source, reason = row
    try:  # as nearly every row is: nothing in it has to be written in another way
        line = _SEPARATOR.join(
            (
                event,
                actor,
                _NOTHING if customer is None else customer,
                _NOTHING if token is None else token,
                source,
                reason,
            )
        )
        plain = _BACKSLASH not in line and line.count(_SEPARATOR) == 5
        if not plain or line.count(_NOTHING) != (customer is None) + (token is None):
            line = _line(row)
    except TypeError:
        line = _line(row)
    number: bytes = id_.to_bytes(8, "big", signed=True)
    return number + _sha256(line).digest()


def marks_of(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The (id, 64 bits of the digest) that marks hold."""
    for at in range(0, len(octets), MARK):
        yield int.from_bytes(octets[at : at + 8], "big", signed=True), octets[at + 8 : at + MARK]


def _line(row: RawRow) -> bytes:
    return _SEPARATOR.join([_value(value) for value in row[1:]])


def _value(value: object) -> bytes:
    if value is None:
        return _NOTHING
    if not isinstance(value, bytes):  # never written by Sekisho
        return b"\\t" + repr(value).encode()
    return value.replace(b"\\", b"\\\\").replace(_SEPARATOR, b"\\s").replace(_NOTHING, b"\\0")
