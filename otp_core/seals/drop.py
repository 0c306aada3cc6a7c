"""What may be taken out of the audit trail: what a file holds that was verified, row by row as the store has it, and no
more. The drop is sealed before anything is taken away (``Dropped``), so that whoever verifies knows where the trail
begins, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from otp_core.audit import ms_of
from otp_core.json_shapes import local_time
from otp_core.seals.chain import Verification
from otp_core.seals.export import Export
from otp_core.seals.seal import Dropped, Seal, hash_of, is_signed, read_seal
from otp_core.store.audit_drops import DropRecord, Edge
from otp_core.store.engine import SealStore, Trail
from otp_core.store.trail import Piece

KEPT_DAYS = 31
"""Rows that are younger stay: forecasts, reasons of refused logins and what a restore is recognised by need them."""


class DropRefused(Exception):
    """Nothing was taken away; the text says why, and what to do."""


class Compared(NamedTuple):
    """What store and file both have, up to one seal. ``first``: the number of the first seal; ``rows``: how many."""

    first: int
    last: Edge
    rows: int

    def dropped(self, export: str, by: str) -> Dropped:
        """For the seal of the drop. ``export``: the SHA-256 of the file."""
        last = self.last
        return Dropped(self.first, last.number, last.until, self.rows, hash_of(last.body), export, by)


def compare(
    export: Export,
    trail: Trail,
    last: Edge,
    keys: Collection[str],
    *,
    now_ms: int,
    advance: Callable[[int], object] = lambda done: None,
) -> Compared:
    """Verify a file, and compare all of it up to the seal ``last`` with the store. ``keys``: public keys that are
    trusted. ``advance``: told how many rows of the file were looked at. Raises DropRefused, ExportProblem, OSError and
    StoreUnavailable."""
    verification = Verification(keys, now_ms=now_ms, exported_at=export.exported_at)
    if export.behind is not None:
        verification.take_behind(export.behind)
    both = _Both(export.pieces, trail, last)
    report = verification.run(both.pieces(), advance)
    if not report.holds:
        raise DropRefused(
            f"the file does not verify: {report.findings[0]}. Run `sekisho audit verify --export` on it, and "
            "`sekisho audit verify` on the store, before anything is dropped"
        )
    if both.last < last.number:
        raise DropRefused(
            f"the file ends with seal {both.last}, and the seals up to {last.number} ({_time(last.until)}) would be "
            "dropped: export up to that day first"
        )
    return Compared(both.first, last, both.rows)


class _Both:
    """Goes through a file, and through the store beside it. ``first`` and ``last``: numbers of seals; ``rows``: of what
    was compared."""

    def __init__(self, pieces: Iterator[Piece], trail: Trail, last: Edge) -> None:
        self._pieces, self._trail, self._until = pieces, trail, last
        self.first = self.last = self.rows = 0

    def pieces(self) -> Iterator[Piece]:
        """Those of the file. Raises DropRefused for one that the store has not, or has otherwise."""
        stored = sealed_pieces(self._trail, self._until.number)
        for piece in self._pieces:
            if piece.seal is not None:
                if piece.seal.number <= self._until.number:
                    self._compare(piece, next(stored, None))
                self.last = piece.seal.number
            elif self.last < self._until.number and piece.rows:
                raise DropRefused(f"the file has rows without a seal ({_time(piece.rows[0][0])}): export again")
            yield piece

    def _compare(self, ours: Piece, theirs: Piece | None) -> None:
        assert ours.seal is not None
        number = ours.seal.number
        if theirs is None or theirs.seal is None:
            raise DropRefused(f"the file has seal {number}, and the store does not: run `sekisho audit verify`")
        if theirs.seal.number != number:
            raise DropRefused(
                f"the file goes on with seal {number} where the store has seal {theirs.seal.number}: it holds another "
                "part of the trail. Export again"
            )
        if ours.seal != theirs.seal or theirs.foreign or ours.rows != theirs.rows:
            raise DropRefused(
                f"seal {number} and the rows under it ({_time(theirs.seal.until)}) are not the same in the file and in "
                "the store: run `sekisho audit verify`"
            )
        self.first = self.first or number
        self.rows += len(ours.rows)


def sealed_pieces(trail: Trail, last: int) -> Iterator[Piece]:
    """The trail up to the seal with this number."""
    for piece in trail.pieces(last):
        yield piece
        if piece.seal is not None and piece.seal.number >= last:
            return


def unfinished(store: SealStore, record: DropRecord, keys: Collection[str]) -> Dropped:
    """What a drop takes away that has not ended, by its seal. Raises DropRefused for a seal that is none of ours, and
    StoreUnavailable."""
    row = store.seal(record.seal)
    try:
        seal = None if row is None else read_seal(row.body)
    except ValueError:
        seal = None
    if row is None or seal is None or seal.dropped is None or not is_signed(row, seal.key) or not _is_ours(seal, keys):
        raise DropRefused(
            f"the store says that a drop by {record.actor} has not ended, and seal {record.seal} does not prove it: "
            "run `sekisho audit verify`; if the key of the seals was changed since, name the public key of that time"
        )
    return seal.dropped


def _is_ours(seal: Seal, keys: Collection[str]) -> bool:
    return seal.key in keys


def _time(id_: int) -> str:
    return local_time(ms_of(id_)) or "no time"
