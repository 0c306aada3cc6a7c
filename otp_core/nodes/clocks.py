"""What the offsets of clocks against the database's say of one of them. Pure.

    off the database's    off those of most other nodes    it is
    no                    either                           right
    yes                   no, or there is no other         doubted: the database's may be the wrong one
    yes                   yes                              wrong: the node answers no login

"Off" is by more than STEP_MS, "most" more than half.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

STEP_MS = 30_000
"""One time step of most tokens: a code of a clock that is off by more is the next one's or the last one's."""


class ClockState(Enum):
    """What a clock is."""

    RIGHT = "right"
    DOUBTED = "doubted"
    WRONG = "wrong"


def state_of(offset: int, others: Collection[int]) -> ClockState:
    """``offset``: ms that this node's clock is ahead of the database's; ``others``: the same of the other nodes that
    were seen lately."""
    if abs(offset) <= STEP_MS:
        return ClockState.RIGHT
    off = sum(abs(offset - other) > STEP_MS for other in others)
    return ClockState.WRONG if 2 * off > len(others) else ClockState.DOUBTED


def words_of(offset: int, whose: str) -> str:
    """``whose``: the clocks that it is compared with."""
    way = "ahead of" if offset > 0 else "behind"
    return f"the clock stands {abs(offset) / 1000:.0f} s {way} {whose}"
