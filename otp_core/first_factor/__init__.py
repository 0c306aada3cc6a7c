"""The first factor: who can say whether a login password is right. May be slow, so never inside a transaction.

Seam: ``FirstFactor``. ``local`` checks the hashes kept in the store; a RADIUS or LDAP server goes beside it, in a
module of its own. Which one is asked, the client's policy names (``Policy.first_factor``).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from otp_core.login.requests import FirstFinding, NextRound
from otp_core.model import Attempt

__all__ = ["LOCAL_PASSWORD", "FirstFactor", "FirstFinding", "NextRound", "Question"]

LOCAL_PASSWORD = "local"
"""The name of the first factor that checks the hashes kept in the store."""


class Question(NamedTuple):
    """What a first factor is asked.

    ``candidates``: passwords in the order in which they are to be tried; the first right one decides. A text that may
    end with a code (mode ``auto``) is read two ways, and gives two. ``most_candidates``: how many there could have been
    if this customer had a token; an implementation that computes the answer takes as long as for so many, so that the
    time does not tell who has one. ``state``: of an earlier ``NextRound``, to which the only candidate is the answer.
    """

    attempt: Attempt
    candidates: tuple[str, ...]
    most_candidates: int = 1
    state: bytes | None = None

    def __repr__(self) -> str:
        return f"Question(attempt={self.attempt!r}, ...)"


class FirstFactor(Protocol):
    """One question. Unknown customers take as long as known ones."""

    @property
    def has_rounds(self) -> bool:
        """Whether it may answer with a NextRound."""

    async def check(self, question: Question) -> FirstFinding | NextRound:
        """What it found. Raises BackendSilent if nobody can say now: then the gateway hears silence, not a refusal. It
        has to keep to the attempt's deadline; a second later it is cancelled, and counts as silent."""
