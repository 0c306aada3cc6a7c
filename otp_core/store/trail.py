"""What the sealed audit trail is made of, as a store keeps it: rows and their lines as octets, and seals. Pure.

A row's line is its values behind the id, with U+001F between them, as UTF-8: six, and a seventh where a node is named.
In a value a backslash is written ``\\\\``, U+001F ``\\s``, U+001E ``\\e`` and U+0000 ``\\0``; no value (NULL) is one
octet 0. So two different rows never have one line, and no line holds what an engine may put between lines (U+001E).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

LOWEST = -(2**63)
"""Below the id of every row that Sekisho writes: where a look at all rows begins."""

RawRow = tuple[Any, ...]
"""A row of the audit trail as it lies in the store, in the order of its columns. The id is an int; of the others text
is octets, and whatever else somebody put there is what the driver makes of it."""

_SEPARATOR, _BETWEEN, _NOTHING, _BACKSLASH = b"\x1f", b"\x1e", b"\0", b"\\"


class Lines(NamedTuple):
    """Rows in the order of their ids (array of "q"), each as its line."""

    ids: array[int]
    lines: list[bytes]


class SealRow(NamedTuple):
    """One seal. ``body``: the text that was signed (seals/seal.py); ``number`` and ``until`` (the id of the last row
    that it covers) are in it too. ``marks``: what its rows are recognised by, one by one (seals/rows.py)."""

    number: int
    until: int
    body: str
    signature: bytes
    marks: bytes


class Piece(NamedTuple):
    """A seal with the rows that lie where it says; ``seal`` None: rows that no seal covers. In the order of ids.
    ``foreign``: the ids of some that hold something else than text: their octets may be the sealed ones, but no search
    by text finds them."""

    seal: SealRow | None
    rows: list[RawRow]
    foreign: Sequence[int] = ()


def lines_of(rows: Sequence[RawRow]) -> Lines:
    """Rows as lines."""
    return Lines(array("q", [row[0] for row in rows]), [line_of(row) for row in rows])


def line_of(row: RawRow) -> bytes:
    """A row's line."""
    _, event, actor, customer, token, source, reason, node = row
    try:  # as nearly every row is: nothing in it has to be written in another way
        line: bytes = _SEPARATOR.join(
            (
                event,
                actor,
                _NOTHING if customer is None else customer,
                _NOTHING if token is None else token,
                source,
                reason,
                *(() if node is None else (node,)),
            )
        )
    except TypeError:
        return _written(row)
    plain = _BACKSLASH not in line and _BETWEEN not in line and line.count(_SEPARATOR) == 5 + (node is not None)
    return line if plain and line.count(_NOTHING) == (customer is None) + (token is None) else _written(row)


def without_node(row: RawRow) -> RawRow:
    """The row as versions have sealed it that knew of no nodes."""
    return (*row[:7], None)


def are_plain(joined: bytes, rows: int, nothings: int, named: int) -> bool:
    """Whether lines that were joined with U+001E, and their values with U+001F, are lines as they stand. ``rows``,
    ``nothings`` and ``named``: how many of them there are, how many customers and tokens are none, and how many nodes
    are named."""
    return (
        _BACKSLASH not in joined
        and joined.count(_BETWEEN) == rows - 1
        and joined.count(_SEPARATOR) == 5 * rows + named
        and joined.count(_NOTHING) == nothings
    )


def split(joined: bytes) -> list[bytes]:
    """Lines that were joined with U+001E."""
    return joined.split(_BETWEEN)


def _written(row: RawRow) -> bytes:
    return _SEPARATOR.join([_value(value) for value in (row[1:7] if row[7] is None else row[1:])])


def _value(value: object) -> bytes:
    if value is None:
        return _NOTHING
    octets = value if isinstance(value, bytes) else str(value).encode(errors="replace")  # no text: never by Sekisho
    for one, other in ((b"\\", b"\\\\"), (_SEPARATOR, b"\\s"), (_BETWEEN, b"\\e"), (_NOTHING, b"\\0")):
        octets = octets.replace(one, other)
    return octets
