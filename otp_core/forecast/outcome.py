"""What a forecast comes to: how many logins would end otherwise, and whose. Values; bounded, whatever was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

MOST_CUSTOMERS = 100_000
"""Customers of one change who are kept; beyond, logins are counted without them."""


class Change(StrEnum):
    """How a login, or a customer, would fare otherwise. The values are stable codes."""

    REFUSED = "would-be-refused"
    LET_IN = "would-be-let-in"
    LOCKED = "would-be-locked"
    NOT_LOCKED = "would-not-be-locked"
    UNTOLD = "cannot-be-told"


CHANGE_TEXT: dict[Change, str] = {
    Change.REFUSED: "logins that were let in and would be refused",
    Change.LET_IN: "logins that were refused, or not ended, and would be let in",
    Change.LOCKED: "customers who would be locked",
    Change.NOT_LOCKED: "locks that would not be put",
    Change.UNTOLD: "logins of which it cannot be told",
}


class Note(StrEnum):
    """What the reader of a forecast has to know. The values are stable codes; the words are in ``NOTE_TEXT``."""

    AS_SET_NOW = "as-set-now"
    TYPED_AS_ASKED = "typed-as-asked"
    PASSWORD_TAKEN_AS_RIGHT = "password-taken-as-right"
    SEPARATOR_NOT_KEPT = "separator-not-kept"
    PROTECTION_BY_PERIOD = "protection-by-period"
    DROPPED_NOT_KEPT = "dropped-not-kept"
    REALM_NOT_KEPT = "realm-not-kept"
    CODE_NOT_LOOKED_AT = "code-not-looked-at"
    COUNT_BEFORE_NOT_KNOWN = "count-before-not-known"
    STAYS_LOCKED = "stays-locked"
    STEPS_NOT_KEPT = "steps-not-kept"
    NO_VERDICT_LINES = "no-verdict-lines"


NOTE_TEXT: dict[Note, str] = {
    Note.AS_SET_NOW: "It is taken that the settings were the present ones all the time.",
    Note.TYPED_AS_ASKED: "It is taken that everybody types what the new mode asks for, as well as they did.",
    Note.PASSWORD_TAKEN_AS_RIGHT: "No password was checked here until now: each is taken to be right.",
    Note.SEPARATOR_NOT_KEPT: "Where the separator was typed cannot be told, because what is typed is never kept. "
    "Try it with some customers, on a client of its own, before all have it.",
    Note.PROTECTION_BY_PERIOD: "Message-Authenticator is counted for five minutes together: where some requests had "
    "one and some had none, whose had none cannot be told.",
    Note.DROPPED_NOT_KEPT: "Requests that were dropped for want of a Message-Authenticator left no trace: who would be "
    "let in cannot be told.",
    Note.REALM_NOT_KEPT: "Which realm a name came with is not kept: where it depends on the first factor of the realm, "
    "it cannot be told.",
    Note.CODE_NOT_LOOKED_AT: "Where a login was refused before its code was looked at, whether the code was right "
    "cannot be told.",
    Note.COUNT_BEFORE_NOT_KNOWN: "Wrong codes from before the first day are known only where a lock told of them.",
    Note.STAYS_LOCKED: "Who would have been locked stays locked to the end: nobody can have unlocked them.",
    Note.STEPS_NOT_KEPT: "How late or early accepted codes were is kept since a later day only: for those before it, "
    "a narrower window cannot be told.",
    Note.NO_VERDICT_LINES: 'How wrong codes miss is not kept with log.verdicts = "none": for a wider window, set it to '
    '"refused" and look again after some days.',
}


class Named(NamedTuple):
    """One customer of a change. ``number``: logins; ``last``: the audit row of the last one."""

    customer: str
    number: int
    last: int


@dataclass(slots=True)
class Affected:
    """Whom one change concerns. ``more``: further customers than are kept."""

    logins: int = 0
    more: bool = False
    _by_customer: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, customer: str, row: int, number: int = 1) -> None:
        """``number`` logins of this customer; ``row``: the audit row."""
        self.logins += number
        before = self._by_customer.get(customer)
        if before is None and len(self._by_customer) >= MOST_CUSTOMERS:
            self.more = True
            return
        self._by_customer[customer] = ((before[0] if before else 0) + number, row)

    @property
    def customers(self) -> int:
        """How many are kept."""
        return len(self._by_customer)

    def named(self, most: int | None = None) -> list[Named]:
        """The ones with most logins first. ``most``: so many at most."""
        rows = [Named(customer, *values) for customer, values in self._by_customer.items()]
        return sorted(rows, key=lambda one: (-one.number, one.customer))[:most]


@dataclass(slots=True)
class Forecast:
    """``since``, ``until``: ms, of what was looked at; ``complete``: whether that is all that was asked for. ``rows``:
    of the audit trail; ``logins``: of those, ended ones; ``let_in``: of those."""

    since: int
    until: int
    complete: bool = True
    rows: int = 0
    logins: int = 0
    let_in: int = 0
    changes: dict[Change, Affected] = field(default_factory=lambda: {one: Affected() for one in Change})
    notes: list[Note] = field(default_factory=list)

    def add(self, change: Change, customer: str, row: int) -> None:
        """One login, or one customer, that would fare otherwise."""
        self.changes[change].add(customer, row)

    def say(self, *notes: Note) -> None:
        """Each once."""
        self.notes += [one for one in notes if one not in self.notes]

    def shown(self) -> Sequence[tuple[Change, Affected]]:
        """The changes that concern anybody, in their order."""
        return [(change, affected) for change, affected in self.changes.items() if affected.logins]
