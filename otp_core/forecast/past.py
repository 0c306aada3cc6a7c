"""What the audit trail tells of one login or act of the past. Values and readings; no store, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from otp_core.audit import Event, ms_of
from otp_core.login.lockout import lock_reason
from otp_core.login.next_step import FINDING_OF_TEXT
from otp_core.login.requests import LOCAL_VERIFIER
from otp_core.login.table import ELSEWHERE, Finding
from otp_core.model import Kind

_MISSED = re.compile(r"correct code, ([0-9]{1,4}) steps? (late|early)(?:, of token (.+))?")
"""As ``login/code_fit`` says it; of counters nothing is read."""

COPIES = frozenset({Finding.REPEATED, Finding.REPEATED_FAILURE})
"""The gateway sent a login once more: it was answered before."""

BEHIND_THE_LOCK = frozenset(
    {
        Finding.LOST,
        Finding.WITHOUT_TOKEN,
        Finding.TOKEN_NEEDED,
        Finding.CODE_DUE,
        Finding.NOT_A_CODE,
        Finding.FITS,
        Finding.REUSED,
        Finding.WRONG,
        Finding.RESYNC_NEEDED,
        *ELSEWHERE,
    }
)
"""What ``evaluate._Evaluation._find`` comes to only for a customer who is not locked."""


class TokenKind(NamedTuple):
    """What a token is. ``period``: seconds."""

    kind: str = Kind.TOTP
    period: int = 30
    verifier: str = LOCAL_VERIFIER

    @property
    def has_window(self) -> bool:
        """Whether ``code_window`` concerns its codes."""
        return self.kind == Kind.TOTP and self.verifier == LOCAL_VERIFIER


class Happened(NamedTuple):
    """One row of the trail. ``remark``: how its code missed, empty for nothing known."""

    id: int
    event: str
    actor: str
    customer: str | None
    token: str | None
    reason: str
    remark: str = ""

    @property
    def at(self) -> int:
        """ms since the epoch."""
        return ms_of(self.id)

    @property
    def finding(self) -> Finding | None:
        """Of a login."""
        return FINDING_OF_TEXT.get(self.reason)

    @property
    def let_in(self) -> bool:
        """Whether it ended with an acceptance."""
        return self.event == Event.LOGIN_ACCEPTED

    def steps_away(self) -> tuple[int, str | None] | None:
        """How many steps its code was away from the expected one (before 0: late), and of which of several tokens; None
        where nothing is known."""
        found = [match for part in self.remark.split("; ") if (match := _MISSED.fullmatch(part))]
        if not found:
            return None
        nearest = min(found, key=lambda one: int(one[1]))
        return (-1 if nearest[2] == "late" else 1) * int(nearest[1]), nearest[3]


def locked_after(reason: str) -> int | None:
    """How many wrong codes a lock tells of; None for a lock that somebody has put."""
    number = reason.split(" ", 1)[0]
    return int(number) if number.isascii() and number.isdigit() and reason == lock_reason(int(number)) else None


Kinds = Mapping[str, TokenKind]
"""By token ID."""
