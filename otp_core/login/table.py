"""How somebody gets in: the table (stage, finding) -> step. Pure; the evaluator walks it, nothing else decides.

A stage is what was asked, a finding what turned out, a step what follows. Silence means no: what the table does
not name is refused. Acceptance is always written out.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto


class Stage(StrEnum):
    """What the request in hand should prove."""

    PASSWORD = "password"  # the password alone
    FIRST_ROUND = "first round"  # the password; the code will be asked for
    BOTH = "both"  # the password with the code behind it
    CODE = "code"  # the code alone; the gateway has checked the password
    SECOND_ROUND = "second round"  # the answer to a challenge


class Finding(StrEnum):
    """The first thing that decides, in the order in which the evaluator looks."""

    REPEATED = "retransmission of an accepted request"
    REPEATED_FAILURE = "retransmission of a request whose code was wrong"
    UNKNOWN_CUSTOMER = "unknown customer"
    WRONG_PASSWORD = "wrong password"
    CHALLENGE_GONE = "challenge unknown, used, expired or somebody else's"
    LOCKED = "locked"
    LOST = "token reported lost"
    WITHOUT_TOKEN = "no active token, and the password is enough"
    TOKEN_NEEDED = "no active token, and the client wants one"
    NOTHING_CHECKED = "no active token, and no password is held here"
    CODE_DUE = "password right, code not given yet"
    NOT_A_CODE = "not a code: empty, ill-shaped or the password again"
    TOO_SOON = "too soon after wrong answers"
    FITS = "right code"
    REUSED = "reused code"
    WRONG = "wrong code"


class Action(Enum):
    """What follows."""

    ACCEPT = auto()
    SPEND_AND_ACCEPT = auto()
    ACCEPT_AGAIN = auto()
    ASK = auto()
    ASK_AGAIN = auto()
    COUNT_AND_ASK_AGAIN = auto()
    COUNT_AND_REJECT = auto()
    REJECT = auto()


LOGIN: dict[tuple[Stage, Finding], Action] = {
    # The password alone: migration, monitoring.
    (Stage.PASSWORD, Finding.WITHOUT_TOKEN): Action.ACCEPT,
    (Stage.PASSWORD, Finding.CODE_DUE): Action.ACCEPT,
    # The password first.
    (Stage.FIRST_ROUND, Finding.WITHOUT_TOKEN): Action.ACCEPT,
    (Stage.FIRST_ROUND, Finding.CODE_DUE): Action.ASK,
    # The answer to the challenge. Something that is no code, or comes too soon, is not an attempt.
    (Stage.SECOND_ROUND, Finding.REPEATED): Action.ACCEPT_AGAIN,
    (Stage.SECOND_ROUND, Finding.FITS): Action.SPEND_AND_ACCEPT,
    (Stage.SECOND_ROUND, Finding.WRONG): Action.COUNT_AND_ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.REUSED): Action.ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.NOT_A_CODE): Action.ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.TOO_SOON): Action.ASK_AGAIN,
    # Password and code in one.
    (Stage.BOTH, Finding.REPEATED): Action.ACCEPT_AGAIN,
    (Stage.BOTH, Finding.WITHOUT_TOKEN): Action.ACCEPT,
    (Stage.BOTH, Finding.FITS): Action.SPEND_AND_ACCEPT,
    (Stage.BOTH, Finding.WRONG): Action.COUNT_AND_REJECT,
    # The code alone. Without a token the gateway's own password check was all there is to check.
    (Stage.CODE, Finding.REPEATED): Action.ACCEPT_AGAIN,
    (Stage.CODE, Finding.WITHOUT_TOKEN): Action.ACCEPT,
    (Stage.CODE, Finding.FITS): Action.SPEND_AND_ACCEPT,
    (Stage.CODE, Finding.WRONG): Action.COUNT_AND_REJECT,
}


def action_for(stage: Stage, finding: Finding) -> Action:
    """What follows; REJECT for whatever the table does not name."""
    return LOGIN.get((stage, finding), Action.REJECT)
