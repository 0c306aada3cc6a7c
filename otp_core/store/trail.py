"""What the sealed audit trail is made of, as a store keeps it: rows as octets, and seals. Values only."""

from __future__ import annotations

from typing import Any, NamedTuple

LOWEST = -(2**63)
"""Below the id of every row that Sekisho writes: where a look at all rows begins."""

RawRow = tuple[Any, ...]
"""A row of the audit trail as it lies in the store, in the order of its columns. The id is an int; of the others text
is octets, and whatever else somebody put there is what the driver makes of it."""


class SealRow(NamedTuple):
    """One seal. ``body``: the text that was signed (seals/seal.py); ``number`` and ``until`` (the id of the last row
    that it covers) are in it too. ``marks``: what its rows are recognised by, one by one (seals/rows.py)."""

    number: int
    until: int
    body: str
    signature: bytes
    marks: bytes


class Piece(NamedTuple):
    """A seal with the rows that lie where it says; ``seal`` None: rows that no seal covers. In the order of ids."""

    seal: SealRow | None
    rows: list[RawRow]
