"""Where a trail begins that has no beginning any more: with authority, or because somebody has cut it off. Pure.

A drop leaves a seal that names what it takes away (``Dropped``), and takes it away afterwards, a little at a time. So
seals may be there yet whose rows are gone, and what is gone is excused up to that seal's number alone.

An export may name such a seal as what it begins behind. It was written when that drop had ended: so it begins with the
very next seal, and nothing that it holds is excused. Otherwise whoever keeps a file could take out of it what a later
drop has taken out of the store.
"""

from __future__ import annotations

from otp_core.seals.findings import MOST_KEPT, Finding, Kind, time_of
from otp_core.seals.seal import Dropped, Seal, is_signed, read_seal
from otp_core.store.trail import SealRow

_OTHER_KEY = (
    "seal {}, which tells of what was dropped, was made with the key {}, which is not the one that is trusted: if the "
    "key was not changed since, it is forged, and all that came before it was taken away"
)


class Beginning:
    """What is missing, and the seals that say that it was taken away."""

    def __init__(self) -> None:
        self._first: Seal | None = None
        self._removed: list[tuple[int, Finding]] = []
        self._more = self._newest_more = 0
        self._behind: Seal | None = None
        self._newest: Seal | None = None

    def take_behind(self, row: SealRow) -> bool:
        """A seal that an export names, because it begins behind what was dropped. False for one that is forged, or
        drops nothing."""
        try:
            seal = read_seal(row.body)
        except ValueError:
            return False
        if seal.dropped is None or not is_signed(row, seal.key):
            return False
        self._behind = seal
        return True

    def take_first(self, seal: Seal) -> None:
        """The first seal that is there, where it is not number 1."""
        self._first = seal

    def take_drop(self, seal: Seal) -> None:
        """A seal of the trail, whose signature is right, that says what was dropped."""
        before = None if self._newest is None else self._newest.dropped
        if seal.dropped is not None and (before is None or seal.dropped.number >= before.number):
            self._newest = seal

    def take_removed(self, seal: Seal, finding: Finding) -> None:
        """A row that is missing under this seal."""
        if len(self._removed) < MOST_KEPT:
            self._removed.append((seal.number, finding))
        else:
            self._more += 1
            self._newest_more = max(self._newest_more, seal.number)

    def findings(self, signers: frozenset[str], until: int, named: frozenset[str]) -> tuple[list[Finding], int]:
        """What nothing excuses, and how many further rows that are missing; notices of what is excused. ``signers``:
        the keys that are trusted here, of which ``named`` are by name. ``until``: the number of the newest seal there
        is."""
        seal, found = self._authority(signers, until), list[Finding]()
        dropped = None if seal is None else seal.dropped
        last = 0 if dropped is None else dropped.number
        if self._first is not None:
            found.append(self._cut_off(self._first, seal))
            if seal is not None and seal.key not in named:
                found.append(Finding(Kind.NOTICE, _OTHER_KEY.format(seal.number, seal.key)))
        excused = 0 if self._newest is None else last
        missing = [(number, one) for number, one in self._removed if number > excused]
        found += [one for _, one in missing]
        more = self._more if self._newest_more > excused else 0
        begun = self._first is None or self._first.number <= last
        if dropped is not None and begun and (self._first is not None or len(self._removed) > len(missing)):
            found.append(
                Finding(Kind.NOTICE, f"the drop of the seals up to {dropped.number} has not ended: run it once more")
            )
        return found, more

    def _authority(self, signers: frozenset[str], until: int) -> Seal | None:
        """The newest seal that excuses anything. One of the trail itself is as good as the trail."""
        behind = self._behind
        if self._newest is not None:
            return self._newest
        if behind is None or behind.key not in signers or behind.number <= until:
            return None
        return behind

    def _cut_off(self, first: Seal, seal: Seal | None) -> Finding:
        dropped = None if seal is None else seal.dropped
        if seal is not None and dropped is not None and self._joins(first, dropped):
            return Finding(Kind.NOTICE, _dropped_text(seal, dropped))
        what = "is" if first.number == 2 else f"to {first.number - 1} are"
        text = f"seal 1 {what} missing before seal {first.number}: the beginning of the trail was cut off"
        if dropped is not None and first.number > dropped.number:
            text += f" further than the drop that is sealed, which ends with seal {dropped.number}"
        return Finding(Kind.CHAIN, text)

    def _joins(self, first: Seal, dropped: Dropped) -> bool:
        """Whether this seal stands where a drop left off; or before, where the trail itself tells of a drop that may be
        under way: up to there the chain is verified."""
        under_way = self._newest is not None and first.number <= dropped.number
        return under_way or first.previous == dropped.body


def _dropped_text(seal: Seal, dropped: Dropped) -> str:
    return (
        f"the rows up to {time_of(dropped.until)} (seals up to {dropped.number}) were exported and dropped by "
        f"{_printable(dropped.by)} (seal {seal.number}); the export's SHA-256 is {dropped.export}"
    )


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
