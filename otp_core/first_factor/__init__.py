"""The first factor: who can say whether a login password is right. May be slow, so never inside a transaction.

Seam: ``FirstFactor``. ``local`` checks the hashes kept in the store, ``unasked`` asks nobody; what asks a server
elsewhere has a module of its own. Which one is asked, the client's policy names (``Policy.first_factor``).

What a server elsewhere says about an account (expired, disabled, locked there) is a ``Finding`` of its own, in the
``reason`` of a ``FirstFinding`` that is not right: told apart in the audit trail, and one answer outside.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from otp_core.login.requests import FirstFinding, NextRound
from otp_core.model import Attempt

__all__ = ["LOCAL_PASSWORD", "Account", "Accounts", "FirstFactor", "FirstFinding", "NextRound", "Question"]

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
    """One question. Unknown customers take as long as known ones.

    A customer of a server elsewhere is known here too: with their tokens, but without a password hash."""

    @property
    def one_reading(self) -> bool:
        """Whether it is given the first candidate only. A server elsewhere counts wrong passwords, too: it is asked
        once for each login."""

    @property
    def reachable(self) -> bool:
        """False while it is known that nobody would answer. Then Status-Server is silent, so that gateways move on."""

    @property
    def relays(self) -> bool:
        """Whether an acceptance depends on the attributes that it brings along. Then the same login that is sent again
        is accepted with the same attributes, or not answered."""

    @property
    def has_rounds(self) -> bool:
        """Whether it may answer with a NextRound."""

    async def check(self, question: Question) -> FirstFinding | NextRound:
        """What it found. Raises BackendSilent if nobody can say now: then the gateway hears silence, not a refusal, and
        no failure is counted. It has to keep to the attempt's deadline; a second later it is cancelled, and counts as
        silent. Never an acceptance that nobody gave."""


class Account(Protocol):
    """What a first factor knows a typed name as. It gets it back with the question (``Attempt.account``)."""

    @property
    def customer(self) -> str:
        """The contract ID."""


class Accounts(Protocol):
    """A first factor that knows customers by other names than their contract IDs."""

    async def account_of(self, typed: str, deadline: float) -> Account:
        """Whose name this is: always somebody's, and for a name that nobody has, one whose password is never right.
        ``deadline``: in the loop's time. Raises BackendSilent."""
