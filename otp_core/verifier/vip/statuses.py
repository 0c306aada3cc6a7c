"""What VIP's status codes mean to us: one table. What it does not name is no answer, and so silence."""

from __future__ import annotations

from enum import Enum, auto

from otp_core.login.requests import CodeFinding
from otp_core.login.table import Finding
from otp_core.otp import Fit


class Outcome(Enum):
    """What a call has led to."""

    DONE = auto()
    USER_EXISTS = auto()
    WRONG_CODE = auto()
    NEXT_CODE = auto()
    LOCKED = auto()
    DISABLED = auto()
    UNKNOWN_TOKEN = auto()
    NOT_BOUND = auto()
    UNKNOWN_USER = auto()
    UNCLEAR = auto()

    @property
    def label(self) -> str:
        """For metrics: ``wrong-code``."""
        return self.name.lower().replace("_", "-")


_ANY = "*"

OUTCOMES: dict[tuple[str, str], Outcome] = {
    ("0000", _ANY): Outcome.DONE,
    ("6002", _ANY): Outcome.USER_EXISTS,
    ("6003", _ANY): Outcome.UNKNOWN_USER,
    ("6004", _ANY): Outcome.UNKNOWN_TOKEN,
    ("6007", _ANY): Outcome.NOT_BOUND,
    ("6008", _ANY): Outcome.DISABLED,
    ("6009", ""): Outcome.WRONG_CODE,
    ("6009", "49b5"): Outcome.WRONG_CODE,
    ("6009", "4994"): Outcome.LOCKED,
    ("6009", "4993"): Outcome.DISABLED,
    ("6009", "4996"): Outcome.DISABLED,
    ("6009", "49f2"): Outcome.UNKNOWN_TOKEN,
    ("6009", "4923"): Outcome.NEXT_CODE,
    ("601b", _ANY): Outcome.LOCKED,
}
"""(status, detail), in lower case; ``*``: whatever the detail. Not here: 6001 (our account), 6005 (their error)."""

_FINDINGS: dict[Outcome, tuple[Fit, Finding | None]] = {
    Outcome.DONE: (Fit.FITS, None),
    Outcome.WRONG_CODE: (Fit.WRONG, None),
    Outcome.NEXT_CODE: (Fit.WRONG, Finding.NEXT_CODE_THERE),
    Outcome.LOCKED: (Fit.WRONG, Finding.TOKEN_LOCKED_THERE),
    Outcome.DISABLED: (Fit.WRONG, Finding.TOKEN_DISABLED_THERE),
    Outcome.UNKNOWN_TOKEN: (Fit.WRONG, Finding.TOKEN_UNKNOWN_THERE),
    Outcome.NOT_BOUND: (Fit.WRONG, Finding.TOKEN_UNKNOWN_THERE),
    Outcome.UNKNOWN_USER: (Fit.WRONG, Finding.CUSTOMER_UNKNOWN_THERE),
}


def outcome_of(status: str, detail: str) -> Outcome:
    """The outcome of a reply; letters of both cases are the same."""
    status, detail = status.lower(), detail.lower()
    return OUTCOMES.get((status, detail)) or OUTCOMES.get((status, _ANY)) or Outcome.UNCLEAR


def finding_of(token_id: str, outcome: Outcome) -> CodeFinding | None:
    """What that says of a code of this token; None: nothing."""
    found = _FINDINGS.get(outcome)
    return None if found is None else CodeFinding(token_id, found[0], None, found[1])
