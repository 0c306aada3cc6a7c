"""What is known of the servers elsewhere that logins ask: how often, how quickly they answer, and whether they answer
now. Pure: values in, values out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from otp_core.tally import SECONDS


class Kind(StrEnum):
    """How it is asked."""

    RADIUS = "RADIUS"
    LDAP = "LDAP"
    PAM = "PAM"
    VIP = "VIP"


class BackEnd(NamedTuple):
    """One, as the settings name it. ``name``: also that of its figures. ``first_factors``, ``verifiers``, ``shadowed``
    (clients in shadow mode): what asks it, by name. ``actors``: whose logins do, by their names in the audit trail."""

    name: str
    kind: Kind
    first_factors: tuple[str, ...] = ()
    verifiers: tuple[str, ...] = ()
    shadowed: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()


class Counts(NamedTuple):
    """Of all processes, since the server was started. ``answered``: how often within each of SECONDS, and how often
    later; not cumulative."""

    answered: tuple[int, ...] = (0,) * (len(SECONDS) + 1)
    unanswered: int = 0

    @property
    def asked(self) -> int:
        """All questions that have ended."""
        return sum(self.answered) + self.unanswered

    def since(self, before: Counts) -> Counts:
        """What has come in addition."""
        more = (max(0, now - then) for now, then in zip(self.answered, before.answered, strict=True))
        return Counts(tuple(more), max(0, self.unanswered - before.unanswered))


class Now(NamedTuple):
    """What the processes say at this moment. ``processes``: that have asked it, or know that it is down; ``down``: for
    which nobody would answer there; ``servers``: each by its address, and for how many processes it would not
    answer."""

    processes: int = 0
    down: int = 0
    servers: tuple[tuple[str, int], ...] = ()


class State(StrEnum):
    """Whether it answers now, as far as is known."""

    ANSWERS = "answers"
    PARTLY = "partly"
    SILENT = "silent"
    NOT_ASKED = "not asked"


class Line(NamedTuple):
    """One back end. ``lately``: what was asked within the report's time; ``ever``: since the server's start."""

    back_end: BackEnd
    lately: Counts
    ever: Counts
    now: Now

    @property
    def state(self) -> State:
        """From the processes' word; before the first question it is worth something only if they know it is down."""
        if self.now.down:
            return State.SILENT if self.now.down == self.now.processes else State.PARTLY
        return State.ANSWERS if self.ever.asked and self.now.processes else State.NOT_ASKED

    @property
    def is_well(self) -> bool:
        """Whether nobody has to look at it."""
        return not self.now.down and not self.lately.unanswered


class Report(NamedTuple):
    """``seconds``: how long the time is whose questions were counted, up to now."""

    lines: tuple[Line, ...]
    seconds: float


class BackEnds(Protocol):
    """Whoever knows."""

    def report(self) -> Report:
        """As of now; takes milliseconds."""


def within(answered: Sequence[int], share: float) -> float | None:
    """The seconds within which this share of the answers came, as one of SECONDS: they took no longer. Infinity: they
    took longer than the last; None: there was none."""
    needed, so_far = math.ceil(share * sum(answered)), 0
    if not needed:
        return None
    for bound, number in zip(SECONDS, answered, strict=False):
        so_far += number
        if so_far >= needed:
            return bound
    return math.inf
