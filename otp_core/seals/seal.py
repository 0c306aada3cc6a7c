"""One seal: what it says of a stretch of rows, as the text that is signed (Ed25519, RFC 8032). Pure.

The text is a JSON object; it is kept as it was signed, and never made anew to be verified. ``previous`` is the SHA-256
of the text of the seal before, so that each seal stands for all before it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from otp_core.store.trail import SealRow

VERSION = 1
MOST_ROWS = 20_000
"""Rows under one seal: so many are in memory at once, when they are sealed and when they are verified."""

MOST_OCTETS = 4096
"""Of a seal's text."""

_CONTEXT = b"sekisho audit seal v1\n"
"""Before what is signed, so that this key's signature is good for nothing else."""

_HEX = 64
_MOST_OF_A_NAME = 100
_NUMBERS = ("number", "after", "until", "rows", "total", "sealed_at")
_HASHES = ("digest", "marks")


class Lost(NamedTuple):
    """Seals that were there once, and that the store did not have when this one was made. ``number`` and ``body``
    (SHA-256 of the text, in hexadecimal): of the newest that is known of. ``event`` and ``row``: the row of the trail
    that tells why; empty and 0: none does."""

    number: int
    body: str
    event: str
    row: int


class Dropped(NamedTuple):
    """What was taken out of the store with authority, from the beginning of the trail on: the seals up to ``number``,
    whose text has the SHA-256 ``body``, and the rows under them, up to the id ``until``. ``first``: the first seal that
    there was. ``rows``: how many rows. ``export``: the SHA-256 of the file that holds all of it. ``by``: who did it."""

    first: int
    number: int
    until: int
    rows: int
    body: str
    export: str
    by: str


@dataclass(frozen=True, slots=True)
class Seal:
    """``after`` and ``until``: it covers the rows with ids above the one and up to the other. ``rows``: how many;
    ``total``: with all before. ``digest`` and ``marks``: of the rows (rows.py), the marks as their SHA-256;
    ``previous``: of the text of the seal before, empty for the first one; all in hexadecimal. ``key``: the public key,
    raw, in Base64. ``sealed_at``: ms since the epoch. ``successor``: a public key that seals from the next one on.
    ``dropped``: seals of before that are taken away from now on; the text names it only where there are some."""

    number: int
    after: int
    until: int
    rows: int
    total: int
    digest: str
    marks: str
    previous: str
    key: str
    sealed_at: int
    successor: str | None = None
    lost: Lost | None = None
    dropped: Dropped | None = None

    def body(self) -> str:
        """The text that is signed."""
        shape: dict[str, Any] = {"version": VERSION, **{name: getattr(self, name) for name in self.__slots__}}
        shape["lost"] = None if self.lost is None else self.lost._asdict()
        dropped = shape.pop("dropped")
        if dropped is not None:
            shape["dropped"] = dropped._asdict()
        return json.dumps(shape, separators=(",", ":"))

    def signed(self, key: Ed25519PrivateKey, marks: bytes) -> SealRow:
        """As it is kept."""
        body = self.body()
        return SealRow(self.number, self.until, body, key.sign(_CONTEXT + body.encode()), marks)


def read_seal(body: str) -> Seal:
    """What a seal's text says. Raises ValueError for one that is none."""
    if len(body) > MOST_OCTETS:
        raise ValueError("is too long")
    try:
        shape = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON object") from None
    if (
        not isinstance(shape, dict)
        or shape.pop("version", None) != VERSION
        or {*shape, "dropped"} != set(Seal.__slots__)
    ):
        raise ValueError(f"is no seal of version {VERSION}")
    lost, dropped = shape.pop("lost"), shape.pop("dropped", None)
    if not (
        all(_is_number(shape[name]) for name in _NUMBERS)
        and all(_is_hash(shape[name]) for name in _HASHES)
        and (shape["previous"] == "" or _is_hash(shape["previous"]))
        and isinstance(shape["key"], str)
        and isinstance(shape["successor"], str | None)
    ):
        raise ValueError("has a value that no seal has")
    return Seal(
        **shape,
        lost=None if lost is None else _read_lost(lost),
        dropped=None if dropped is None else _read_dropped(dropped),
    )


def _read_lost(shape: object) -> Lost:
    if not isinstance(shape, dict) or set(shape) != set(Lost._fields):
        raise ValueError("has a value that no seal has")
    lost = Lost(**shape)
    if not (_is_number(lost.number) and _is_hash(lost.body) and isinstance(lost.event, str) and _is_number(lost.row)):
        raise ValueError("has a value that no seal has")
    return lost


def _read_dropped(shape: object) -> Dropped:
    if not isinstance(shape, dict) or set(shape) != set(Dropped._fields):
        raise ValueError("has a value that no seal has")
    dropped = Dropped(**shape)
    if not (
        all(_is_number(value) for value in dropped[:4])
        and _is_hash(dropped.body)
        and _is_hash(dropped.export)
        and isinstance(dropped.by, str)
        and len(dropped.by) <= _MOST_OF_A_NAME
    ):
        raise ValueError("has a value that no seal has")
    return dropped


def is_signed(row: SealRow, key: str) -> bool:
    """Whether this key (as in ``Seal.key``) has signed the seal's text."""
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
        public.verify(row.signature, _CONTEXT + row.body.encode(errors="replace"))
    except (InvalidSignature, ValueError):
        return False
    return True


def hash_of(octets: bytes | str) -> str:
    """The SHA-256 of a seal's text or marks, in hexadecimal."""
    return hashlib.sha256(octets.encode(errors="replace") if isinstance(octets, str) else octets).hexdigest()


def _is_number(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == _HEX
