"""Verifies a sealed trail: every signature, every link of the chain, every row, and the end through the copy outside.

It is given pieces of the trail (from a store or an export) and public keys; it opens nothing and needs no secret.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from otp_core.audit import Event, ms_of
from otp_core.seals.beginning import Beginning
from otp_core.seals.copies import CopiedSeal
from otp_core.seals.findings import MOST_KEPT, Finding, Kind, differences, name_of, time_at, time_of, with_moves
from otp_core.seals.rows import stretch_of
from otp_core.seals.seal import Seal, hash_of, is_signed, read_seal
from otp_core.store.trail import Piece, RawRow, SealRow, lines_of, without_node

_EXPLAINING = (Event.STORE_RESTORED, Event.LOST_TIME_VOIDED)
_EXPLAINING_OCTETS = tuple(event.value.encode() for event in _EXPLAINING)
_BEGUN = Event.SEALS_BEGUN.value.encode()
_PENDING_MS = 10_000
"""How long rows may wait for a seal before it is said."""
_LATE_MS = 600_000
"""How much older than its seal a row may be before it is said: until the seal it could be changed."""
_BEHIND_MS = 60_000
"""How much older than the newest seal the newest of the copy may be before it is said."""
_MOST_LATE = 20
"""Times without seals that are named one by one."""


class Report(NamedTuple):
    """``findings``: what is not as it was sealed; ``more``: how many further ones there are. ``notices``: what should
    be known, and is no forgery. ``seals`` and ``rows`` were verified; ``waiting`` rows have no seal yet."""

    findings: list[str]
    more: int
    notices: list[str]
    seals: int
    rows: int
    waiting: int
    newest: Seal | None

    @property
    def holds(self) -> bool:
        """Whether the trail is what was sealed."""
        return not self.findings and not self.more


class _Late(NamedTuple):
    """Rows that lay without a seal for long: the first and the last of them, and the seal that came at last."""

    first: int
    last: int
    seal: Seal


class Verification:
    """One look at a trail. ``keys``: public keys that are trusted (``Seal.key``). ``copies``: seals that were copied
    outside; None, where no copy is asked for. ``now_ms``: ms since the epoch. ``exported_at``: of an export; seals may
    have been copied since."""

    def __init__(
        self,
        keys: Collection[str],
        copies: Iterable[CopiedSeal] | None = None,
        *,
        now_ms: int,
        exported_at: int | None = None,
    ) -> None:
        self._exported_at = exported_at
        self._keys, self._now_ms = frozenset(keys), now_ms
        self._has_copy = copies is not None
        self._copies = {copy.number: copy for copy in copies or ()}
        self._found: list[Finding] = []
        self._more = 0
        self._trusted = False
        self._signers: set[str] = set()
        self._named: set[str] = set()
        self._last: Seal | None = None
        self._last_row: SealRow | None = None
        self._begun = 0
        self._restored: RawRow | None = None
        self._seals = self._rows = self._waiting = self._nodes_unsealed = 0
        self._loose: tuple[RawRow, int] | None = None
        self._newest_row = 0
        self._late: list[_Late] = []
        self._more_late = 0
        self._beginning = Beginning()

    def take_strange(self, objects: Iterable[str]) -> None:
        """What the store's schema holds and Sekisho never makes (``Trail.strange``)."""
        for name in objects:
            self._chain(
                f"the store holds the {name}, which Sekisho does not make: by it rows can be changed or left out "
                "before they are sealed"
            )

    def take_behind(self, seal: SealRow) -> None:
        """The seal of a drop, behind which an export says that it begins."""
        if not self._beginning.take_behind(seal):
            self._chain("the seal that the export says it begins behind is none of a drop, or was changed")

    def run(self, pieces: Iterable[Piece], advance: Callable[[int], object] = lambda done: None) -> Report:
        """Verify all of it. ``advance``: told how many rows were looked at. Raises what ``pieces`` raises."""
        seen = 0
        for piece in pieces:
            if piece.seal is None:
                self._take_loose(piece.rows)
            else:
                self._end_of_loose()
                self._take_seal(piece.seal, piece.rows)
            for id_ in piece.foreign:
                text = f"row {id_} of {time_of(id_)} holds something else than text, so no search finds it"
                self._keep(Finding(Kind.CHAIN, f"{text}: it was changed", id_))
            seen += len(piece.rows)
            advance(seen)
        return self._report()

    # A seal and its rows

    def _take_seal(self, row: SealRow, rows: list[RawRow]) -> None:
        try:
            seal = read_seal(row.body)
        except ValueError as error:
            self._chain(f"seal {row.number} {error}: it was changed")
            return
        if (row.number, row.until) != (seal.number, seal.until):
            self._chain(
                f"the seal in the place of number {row.number} is number {seal.number}: it was moved or exchanged"
            )
        if not is_signed(row, seal.key):
            self._chain(f"seal {row.number} has a wrong signature: it was changed, or made without the key")
        elif seal.dropped is not None:
            self._beginning.take_drop(seal)
        self._check_key(seal)
        self._check_link(seal)
        copy = self._copies.get(seal.number)
        if copy is not None and copy.body != row.body and self._is_genuine(copy):
            self._chain(f"seal {seal.number} is not the one that was copied outside: it was exchanged")
        self._check_rows(seal, row, rows)
        self._check_time(seal, rows)
        self._last, self._last_row = seal, row
        self._seals += 1
        self._rows += len(rows)

    def _check_key(self, seal: Seal) -> None:
        before = self._last
        if before is not None and seal.key != before.key and seal.key not in self._named:
            both = {seal.key, before.key} <= self._keys
            if not both:
                self._chain(
                    f"seal {seal.number} was made with another key, which the one before has not named: if it was "
                    "replaced because it was lost, give --public-key for both"
                )
        if before is None or seal.key != before.key:
            self._named.discard(seal.key)
        if seal.successor is not None:
            self._named.add(seal.successor)
        self._signers.add(seal.key)

    def _check_link(self, seal: Seal) -> None:
        before, row = self._last, self._last_row
        previous = "" if row is None else hash_of(row.body)
        expected = 1 if before is None else before.number + 1
        if before is None and seal.number != expected and seal.previous:
            self._beginning.take_first(seal)
            if seal.lost is not None:
                self._check_lost(seal, seal.lost.number)
            return
        if seal.lost is not None:
            self._check_lost(seal, expected)
        elif seal.number != expected:
            what = "is" if seal.number == expected + 1 else f"to {seal.number - 1} are"
            self._chain(f"seal {expected} {what} missing before seal {seal.number}: they were removed")
            return
        if seal.previous != previous:
            self._chain(f"seal {seal.number} was not made behind the one before it: one of the two was exchanged")
        if before is not None:
            if seal.after != before.until and seal.lost is None:
                self._chain(f"seal {seal.number} does not begin where seal {before.number} ends")
            if seal.sealed_at < before.sealed_at - _PENDING_MS:
                at = f"seal {seal.number} says that it was made before seal {before.number}"
                self._notice(f"{at}: the clock was set back, or had been wrong")

    def _check_lost(self, seal: Seal, expected: int) -> None:
        lost = seal.lost
        assert lost is not None
        several = lost.number > expected
        gone = f"seals {expected} to {lost.number} are gone" if several else f"seal {lost.number} is gone"
        if lost.event in _EXPLAINING and lost.row:
            self._notice(
                f"{gone} since seal {seal.number}, because the store is an older one since then ({lost.event}, row "
                f"{lost.row} of {time_of(lost.row)}): if nobody restored it, the trail was cut there"
            )
        else:
            self._chain(f"{gone} since seal {seal.number}, and nothing in the trail says why: they were removed")

    def _check_rows(self, seal: Seal, row: SealRow, rows: list[RawRow]) -> None:
        stretch = stretch_of(lines_of(rows))
        if stretch.digest != seal.digest and any(one[7] is not None for one in rows):
            earlier = stretch_of(lines_of([without_node(one) for one in rows]))
            if earlier.digest == seal.digest:  # a node of an earlier version sealed what others had written
                stretch = earlier
                self._nodes_unsealed += len(rows)
        if stretch.digest != seal.digest or len(rows) != seal.rows:
            known = hash_of(row.marks) == seal.marks
            found = differences(seal, row.marks, rows) if known else []
            for one in found:
                if one.kind is Kind.REMOVED:
                    self._beginning.take_removed(seal, one)
                else:
                    self._keep(one)
            if not found:
                what = "the marks that would tell which were changed too" if not known else "no mark tells which"
                span = f"{time_of(seal.after) if seal.after > 0 else 'the beginning'} to {time_of(seal.until)}"
                self._chain(f"the rows under seal {seal.number} ({span}) are not those that were sealed; {what}")
        elif hash_of(row.marks) != seal.marks:
            self._chain(f"the marks of seal {seal.number} were changed; its rows are those that were sealed")
        for one_row in rows:
            if one_row[1] == _BEGUN:
                self._take_begun(one_row, seal)

    def _check_time(self, seal: Seal, rows: list[RawRow]) -> None:
        """Seals one behind another that came late are one time without seals."""
        if not rows or seal.sealed_at - ms_of(rows[0][0]) <= _LATE_MS:
            return
        late = self._late[-1] if self._late else None
        if late is not None and late.seal is self._last:
            self._late[-1] = _Late(late.first, rows[-1][0], seal)
        elif len(self._late) < _MOST_LATE:
            self._late.append(_Late(rows[0][0], rows[-1][0], seal))
        else:
            self._more_late += 1

    def _take_begun(self, row: RawRow, seal: Seal) -> None:
        """It is written behind the first seal, once in the life of a trail."""
        if seal.number == 1 or (self._begun and self._begun != row[0]):
            self._chain(
                f"{name_of(row)} says that seals were begun then, and they were begun anew later: the seals of before "
                "were removed"
            )
        self._begun = row[0]

    # Rows without a seal

    def _take_loose(self, rows: list[RawRow]) -> None:
        if self._loose is None:
            self._loose = (rows[0], 0)
        self._loose = (self._loose[0], self._loose[1] + len(rows))
        self._newest_row = rows[-1][0]
        for row in rows:
            if row[1] in _EXPLAINING_OCTETS:
                self._restored = row

    def _end_of_loose(self) -> None:
        """A seal follows, so these should have had one."""
        if self._loose is not None:
            first, number = self._loose
            more = f" and {number - 1:,} more" if number > 1 else ""
            self._keep(Finding(Kind.ADDED, f"{name_of(first)}{more} lies where no seal covers it", first[0]))
            self._loose, self._restored = None, None

    # The end

    def _report(self) -> Report:
        if self._loose is not None:
            self._waiting = self._loose[1]
            self._look_at_waiting(self._loose[0])
        self._check_end()
        self._tell_late()
        if self._nodes_unsealed:
            self._notice(
                f"{self._nodes_unsealed:,} rows were sealed by a version that did not know of nodes: which node wrote "
                "them is not sealed"
            )
        self._tell_beginning()
        if self._seals and not self._is_trusted():
            self._chain("no seal was made with the key that is trusted: is it the public key of this trail?")
        found = with_moves(self._found)
        findings = [one.text for one in found if one.kind is not Kind.NOTICE]
        notices = [one.text for one in found if one.kind is Kind.NOTICE]
        return Report(findings, self._more, notices, self._seals, self._rows, self._waiting, self._last)

    def _tell_beginning(self) -> None:
        trusted = self._keys | (self._signers | self._named if self._is_trusted() else frozenset())
        until = 0 if self._last is None else self._last.number
        found, more = self._beginning.findings(frozenset(trusted), until, self._keys)
        for one in found:
            self._keep(one)
        self._more += more

    def _is_trusted(self) -> bool:
        """By the chain of hashes the newest key stands for all before; one that is named stands for the newest."""
        return bool(self._signers & self._keys)

    def _look_at_waiting(self, first: RawRow) -> None:
        id_ = first[0]
        if self._last is not None and id_ <= self._last.until:
            self._keep(Finding(Kind.ADDED, f"{name_of(first)} lies where no seal covers it", id_))
        age = self._now_ms - ms_of(id_)
        if age > _PENDING_MS:
            self._notice(
                f"{self._waiting:,} rows since {time_of(id_)} have no seal yet: what is done to them is not noticed. "
                "Does the server run, with [audit]?"
            )
        if ms_of(self._newest_row) > self._now_ms + _PENDING_MS:
            self._notice(
                f"row {self._newest_row} is of a time to come, {time_of(self._newest_row)}: the clock was set back, or "
                "somebody wrote it"
            )

    def _tell_late(self) -> None:
        for late in self._late:
            self._notice(
                f"the rows of {time_of(late.first)} to {time_of(late.last)} were sealed late, the last of them at "
                f"{time_at(late.seal.sealed_at)} (seal {late.seal.number}): what was done to them before is not noticed"
            )
        if self._more_late:
            self._notice(f"{self._more_late:,} later seals came late, too")

    def _is_genuine(self, copy: CopiedSeal) -> bool:
        """Whether a copied seal has its signature; one that has not is said, and tells nothing about the trail."""
        if is_signed(SealRow(copy.number, 0, copy.body, copy.signature, b""), read_seal(copy.body).key):
            return True
        self._chain(f"seal {copy.number} of the copy has a wrong signature: the copy was changed")
        return False

    def _newest_copy(self, last: int) -> Seal | None:
        """The newest genuine one of the copy; of those that the trail has, the newest."""
        for number in sorted(self._copies, reverse=True):
            if number <= last or self._is_genuine(self._copies[number]):
                return read_seal(self._copies[number].body)
            del self._copies[number]
        return None

    def _check_copy(self, copy: Seal | None) -> None:
        last = self._last
        if last is None or not self._has_copy:
            return
        if copy is None:
            self._notice("the copy outside holds no seal: nothing tells whether the end of the trail was cut off")
        elif copy.number < last.number and copy.sealed_at < last.sealed_at - _BEHIND_MS:
            self._notice(
                f"the copy outside ends with seal {copy.number} of {time_at(copy.sealed_at)}, the trail with seal "
                f"{last.number}: nothing tells whether what came behind was cut off"
            )

    def _check_end(self) -> None:
        last = 0 if self._last is None else self._last.number
        copy = self._newest_copy(last)
        self._check_copy(copy)
        if copy is None or copy.number <= last:
            return
        text = (
            f"the newest seal that was copied outside is number {copy.number}, with {copy.total:,} rows up to "
            f"{time_of(copy.until)}; the trail ends with seal {last}"
        )
        if self._exported_at is not None and self._is_all_since(last, self._exported_at):
            self._notice(f"{text}: those seals were made after the export, if that is as old as it says")
        elif self._restored is not None:
            self._notice(
                f"{text}: {name_of(self._restored)} says that the store is an older one since then. If nobody restored "
                "it, its end was cut off. The next seal will say so, too"
            )
        else:
            self._chain(f"{text}: its end was cut off")

    def _is_all_since(self, last: int, at_ms: int) -> bool:
        """Whether all seals behind ``last`` that were copied are younger than an export, or nearly."""
        ones = [read_seal(copy.body) for number, copy in self._copies.items() if number > last]
        return all(seal.sealed_at > at_ms - _PENDING_MS for seal in ones)

    def _chain(self, text: str) -> None:
        self._keep(Finding(Kind.CHAIN, text))

    def _notice(self, text: str) -> None:
        self._keep(Finding(Kind.NOTICE, text))

    def _keep(self, finding: Finding) -> None:
        if len(self._found) < MOST_KEPT:
            self._found.append(finding)
        elif finding.kind is not Kind.NOTICE:
            self._more += 1
