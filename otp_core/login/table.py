"""How a login is decided: the table (stage, finding) -> action. Pure; the evaluator walks it, nothing else decides.

A stage is what the request should prove, a finding what turned out, an action what follows. A pair that the table does
not name is rejected; every acceptance is written out.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto


class Stage(StrEnum):
    """What a request should prove."""

    PASSWORD = "password"  # the password alone
    FIRST_ROUND = "first round"  # the password; the code will be asked for
    BOTH = "both"  # the password with the code behind it
    CODE = "code"  # the code alone; the gateway has checked the password
    SECOND_ROUND = "second round"  # the answer to a challenge
    VERIFIER_ROUND = "verifier's round"  # the answer to a question of whoever verifies the codes


class Finding(StrEnum):
    """The first thing that decides; the order is that of ``evaluate._Evaluation._find``. The values are stable codes;
    the words for the audit trail are in ``FINDING_TEXT``."""

    REPEATED = "repeated"
    REPEATED_FAILURE = "repeated-failure"
    UNKNOWN_CUSTOMER = "unknown-customer"
    WRONG_PASSWORD = "wrong-password"
    PASSWORD_EXPIRED = "password-expired"
    PASSWORD_MUST_CHANGE = "password-must-change"
    ACCOUNT_DISABLED = "account-disabled"
    ACCOUNT_EXPIRED = "account-expired"
    ACCOUNT_LOCKED_THERE = "account-locked-there"
    NOT_PERMITTED_THERE = "not-permitted-there"
    QUESTION_REFUSED = "question-refused"
    FIRST_FACTOR_ASKS = "first-factor-asks"
    CHALLENGE_GONE = "challenge-gone"
    LOCKED = "locked"
    LOST = "lost"
    WITHOUT_TOKEN = "without-token"
    TOKEN_NEEDED = "token-needed"
    NOTHING_CHECKED = "nothing-checked"
    CODE_DUE = "code-due"
    NOT_A_CODE = "not-a-code"
    TOO_SOON = "too-soon"
    VERIFIER_NEEDED = "verifier-needed"
    FITS = "right-code"
    REUSED = "reused-code"
    WRONG = "wrong-code"
    RESYNC_NEEDED = "resync-needed"
    VERIFIER_ASKS = "verifier-asks"
    NEXT_CODE_THERE = "next-code-there"
    TOKEN_LOCKED_THERE = "token-locked-there"
    TOKEN_DISABLED_THERE = "token-disabled-there"
    TOKEN_UNKNOWN_THERE = "token-unknown-there"
    CUSTOMER_UNKNOWN_THERE = "customer-unknown-there"


FINDING_TEXT: dict[Finding, str] = {
    Finding.REPEATED: "retransmission of an accepted request",
    Finding.REPEATED_FAILURE: "retransmission of a request whose code was wrong",
    Finding.UNKNOWN_CUSTOMER: "unknown customer",
    Finding.WRONG_PASSWORD: "wrong password",
    Finding.PASSWORD_EXPIRED: "password expired, says the first factor",
    Finding.PASSWORD_MUST_CHANGE: "password has to be changed, says the first factor",
    Finding.ACCOUNT_DISABLED: "account disabled, says the first factor",
    Finding.ACCOUNT_EXPIRED: "account expired, says the first factor",
    Finding.ACCOUNT_LOCKED_THERE: "account locked, says the first factor",
    Finding.NOT_PERMITTED_THERE: "not permitted to log in, says the first factor",
    Finding.QUESTION_REFUSED: "the first factor asks a further question, and may not",
    Finding.FIRST_FACTOR_ASKS: "the first factor asks a further question",
    Finding.CHALLENGE_GONE: "challenge unknown, used, expired or somebody else's",
    Finding.LOCKED: "locked",
    Finding.LOST: "token reported lost",
    Finding.WITHOUT_TOKEN: "no active token, and the password is enough",
    Finding.TOKEN_NEEDED: "no active token, and the client wants one",
    Finding.NOTHING_CHECKED: "no active token, and no password is held here",
    Finding.CODE_DUE: "password right, code not given yet",
    Finding.NOT_A_CODE: "not a code: empty, ill-shaped or the password again",
    Finding.TOO_SOON: "too soon after wrong answers",
    Finding.VERIFIER_NEEDED: "the code is verified elsewhere",
    Finding.FITS: "right code",
    Finding.REUSED: "reused code",
    Finding.WRONG: "wrong code",
    Finding.RESYNC_NEEDED: "counter token that was not resynchronised since a restore",
    Finding.VERIFIER_ASKS: "the verifier asks a further question",
    Finding.NEXT_CODE_THERE: "the verifier wants the next code, too",
    Finding.TOKEN_LOCKED_THERE: "token locked, says its verifier",
    Finding.TOKEN_DISABLED_THERE: "token not enabled, says its verifier",
    Finding.TOKEN_UNKNOWN_THERE: "token unknown or not the customer's, says its verifier",
    Finding.CUSTOMER_UNKNOWN_THERE: "customer unknown, says the token's verifier",
}
"""The reason that the audit trail gives."""

ELSEWHERE = (
    Finding.NEXT_CODE_THERE,
    Finding.TOKEN_LOCKED_THERE,
    Finding.TOKEN_DISABLED_THERE,
    Finding.TOKEN_UNKNOWN_THERE,
    Finding.CUSTOMER_UNKNOWN_THERE,
)
"""What a verifier may say of a token in place of an answer about its code. Nobody guessed, so nothing is counted."""


class Action(Enum):
    """What follows a finding."""

    ACCEPT = auto()
    SPEND_AND_ACCEPT = auto()
    ACCEPT_AGAIN = auto()
    ASK = auto()
    ASK_FIRST_FACTOR = auto()
    ASK_VERIFIER = auto()
    ASK_AGAIN = auto()
    COUNT_AND_ASK_AGAIN = auto()
    COUNT_AND_REJECT = auto()
    REJECT = auto()


LOGIN: dict[tuple[Stage, Finding], Action] = {
    # The password alone: migration, monitoring.
    (Stage.PASSWORD, Finding.WITHOUT_TOKEN): Action.ACCEPT,
    (Stage.PASSWORD, Finding.CODE_DUE): Action.ACCEPT,
    (Stage.PASSWORD, Finding.FIRST_FACTOR_ASKS): Action.ASK_FIRST_FACTOR,
    # The password first.
    (Stage.FIRST_ROUND, Finding.WITHOUT_TOKEN): Action.ACCEPT,
    (Stage.FIRST_ROUND, Finding.CODE_DUE): Action.ASK,
    (Stage.FIRST_ROUND, Finding.FIRST_FACTOR_ASKS): Action.ASK_FIRST_FACTOR,
    # The answer to the challenge. Something that is no code, or comes too soon, or whose token must
    # be resynchronised first, is not an attempt.
    (Stage.SECOND_ROUND, Finding.REPEATED): Action.ACCEPT_AGAIN,
    (Stage.SECOND_ROUND, Finding.FITS): Action.SPEND_AND_ACCEPT,
    (Stage.SECOND_ROUND, Finding.WRONG): Action.COUNT_AND_ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.REUSED): Action.ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.NOT_A_CODE): Action.ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.TOO_SOON): Action.ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.RESYNC_NEEDED): Action.ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.NEXT_CODE_THERE): Action.ASK_AGAIN,
    (Stage.SECOND_ROUND, Finding.VERIFIER_ASKS): Action.ASK_VERIFIER,
    # The answer to a question of the verifier's own (a new PIN, the next code). It is put once.
    (Stage.VERIFIER_ROUND, Finding.REPEATED): Action.ACCEPT_AGAIN,
    (Stage.VERIFIER_ROUND, Finding.FITS): Action.SPEND_AND_ACCEPT,
    (Stage.VERIFIER_ROUND, Finding.WRONG): Action.COUNT_AND_REJECT,
    (Stage.VERIFIER_ROUND, Finding.VERIFIER_ASKS): Action.ASK_VERIFIER,
    # Password and code in one.
    (Stage.BOTH, Finding.VERIFIER_ASKS): Action.ASK_VERIFIER,
    (Stage.BOTH, Finding.FIRST_FACTOR_ASKS): Action.ASK_FIRST_FACTOR,
    (Stage.BOTH, Finding.REPEATED): Action.ACCEPT_AGAIN,
    (Stage.BOTH, Finding.WITHOUT_TOKEN): Action.ACCEPT,
    (Stage.BOTH, Finding.FITS): Action.SPEND_AND_ACCEPT,
    (Stage.BOTH, Finding.WRONG): Action.COUNT_AND_REJECT,
    # The code alone. Without a token the gateway's own password check was all there is to check.
    (Stage.CODE, Finding.VERIFIER_ASKS): Action.ASK_VERIFIER,
    (Stage.CODE, Finding.REPEATED): Action.ACCEPT_AGAIN,
    (Stage.CODE, Finding.WITHOUT_TOKEN): Action.ACCEPT,
    (Stage.CODE, Finding.FITS): Action.SPEND_AND_ACCEPT,
    (Stage.CODE, Finding.WRONG): Action.COUNT_AND_REJECT,
}


def action_for(stage: Stage, finding: Finding) -> Action:
    """What follows; REJECT for a pair that the table does not name."""
    return LOGIN.get((stage, finding), Action.REJECT)
