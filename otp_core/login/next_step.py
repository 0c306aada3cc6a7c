"""What to do about a login that was not accepted: for each finding, in the words of staff. Pure.

For `sekisho explain` and the staff's console. It decides nothing: whether an act is possible and permitted, the desk
says.
"""

from __future__ import annotations

from enum import StrEnum

from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import OtpUse


class NextStep(StrEnum):
    """What the customer or staff may do. The values are stable codes."""

    CHECK_NAME = "check-name"
    CHECK_PASSWORD = "check-password"
    CHANGE_PASSWORD = "change-password"
    CHECK_ACCOUNT = "check-account"
    HOLD_PASSWORD = "hold-password"
    GIVE_CODE = "give-code"
    NEXT_CODE = "next-code"
    WAIT = "wait"
    BEGIN_AGAIN = "begin-again"
    CHECK_TOKEN = "check-token"
    CHECK_VERIFIER = "check-verifier"
    RESYNC = "resync"
    UNLOCK = "unlock"
    ENROL = "enrol"
    RESUME = "resume"
    REPORT_LOST = "report-lost"
    PERMIT_REISSUE = "permit-reissue"
    USE_PERMIT = "use-permit"
    DOCTOR = "doctor"


NEXT_STEP_TEXT: dict[NextStep, str] = {
    NextStep.CHECK_NAME: "Compare the contract ID, letter by letter: nobody has this one.",
    NextStep.CHECK_PASSWORD: "The customer types the login password once more. Wrong passwords lock nobody.",
    NextStep.CHANGE_PASSWORD: "The customer changes the login password where it is kept, then logs in with it.",
    NextStep.CHECK_ACCOUNT: "Look at the account where the password is kept: it may not be used as it is.",
    NextStep.HOLD_PASSWORD: "No password is kept here for this customer: give them one, or let the code be enough.",
    NextStep.GIVE_CODE: "The customer types the code that the token shows now, all of its digits.",
    NextStep.NEXT_CODE: "The customer waits for the next code: each works only once.",
    NextStep.WAIT: "The customer waits for half a minute: the delay after wrong answers ends by itself.",
    NextStep.BEGIN_AGAIN: "The customer begins the login again, with the password.",
    NextStep.CHECK_TOKEN: "Compare the token ID that the app shows with the one here: it may be another token.",
    NextStep.CHECK_VERIFIER: "Look at the token where its codes are verified: it is not used there as it is here.",
    NextStep.RESYNC: "Correct the token's time, by two codes that follow one another.",
    NextStep.UNLOCK: "Unlock the customer, once it is clear why they were locked.",
    NextStep.ENROL: "Enrol a token.",
    NextStep.RESUME: "Resume: the customer's token is suspended.",
    NextStep.REPORT_LOST: "Report the token lost here too: somebody else who shares it has done so.",
    NextStep.PERMIT_REISSUE: "Permit a reissue, so that the customer can enrol a new token.",
    NextStep.USE_PERMIT: "The customer enrols a new token with the permit that was handed over.",
    NextStep.DOCTOR: "Look at the server: sekisho doctor says what is wrong.",
}
"""In whole sentences."""

FINDING_OF_TEXT: dict[str, Finding] = {text: finding for finding, text in FINDING_TEXT.items()}
"""The finding that a reason of the audit trail tells of."""

_ALWAYS: dict[Finding, tuple[NextStep, ...]] = {
    Finding.REPEATED: (),
    Finding.REPEATED_FAILURE: (NextStep.NEXT_CODE,),
    Finding.UNKNOWN_CUSTOMER: (NextStep.CHECK_NAME,),
    Finding.WRONG_PASSWORD: (NextStep.CHECK_PASSWORD,),
    Finding.PASSWORD_EXPIRED: (NextStep.CHANGE_PASSWORD,),
    Finding.PASSWORD_MUST_CHANGE: (NextStep.CHANGE_PASSWORD,),
    Finding.ACCOUNT_DISABLED: (NextStep.CHECK_ACCOUNT,),
    Finding.ACCOUNT_EXPIRED: (NextStep.CHECK_ACCOUNT,),
    Finding.ACCOUNT_LOCKED_THERE: (NextStep.CHECK_ACCOUNT,),
    Finding.NOT_PERMITTED_THERE: (NextStep.CHECK_ACCOUNT,),
    Finding.QUESTION_REFUSED: (NextStep.CHECK_ACCOUNT,),
    Finding.FIRST_FACTOR_ASKS: (),
    Finding.CHALLENGE_GONE: (NextStep.BEGIN_AGAIN,),
    Finding.LOCKED: (NextStep.UNLOCK,),
    Finding.WITHOUT_TOKEN: (NextStep.BEGIN_AGAIN,),  # of an answer to a challenge: suspended meanwhile
    Finding.CODE_DUE: (NextStep.GIVE_CODE,),
    Finding.NOT_A_CODE: (NextStep.GIVE_CODE,),
    Finding.TOO_SOON: (NextStep.WAIT,),
    Finding.VERIFIER_NEEDED: (),
    Finding.FITS: (),
    Finding.REUSED: (NextStep.NEXT_CODE,),
    Finding.WRONG: (NextStep.CHECK_TOKEN, NextStep.RESYNC),
    Finding.RESYNC_NEEDED: (NextStep.RESYNC,),
    Finding.VERIFIER_ASKS: (NextStep.BEGIN_AGAIN,),
    Finding.NEXT_CODE_THERE: (NextStep.NEXT_CODE,),
    Finding.TOKEN_LOCKED_THERE: (NextStep.CHECK_VERIFIER,),
    Finding.TOKEN_DISABLED_THERE: (NextStep.CHECK_VERIFIER,),
    Finding.TOKEN_UNKNOWN_THERE: (NextStep.CHECK_VERIFIER,),
    Finding.CUSTOMER_UNKNOWN_THERE: (NextStep.CHECK_VERIFIER,),
}

_BY_USE: dict[OtpUse, tuple[NextStep, ...]] = {
    OtpUse.NONE: (NextStep.ENROL,),
    OtpUse.ACTIVE: (),
    OtpUse.SUSPENDED: (NextStep.RESUME,),
    OtpUse.LOST: (NextStep.PERMIT_REISSUE,),
    OtpUse.REISSUE_PERMITTED: (NextStep.USE_PERMIT, NextStep.PERMIT_REISSUE),
}


def next_steps(
    finding: Finding, use: OtpUse | None, *, near: bool = False, locked: bool = False
) -> tuple[NextStep, ...]:
    """What to do, the likeliest first; empty where there is nothing to do. ``finding``: of a login that was not
    accepted. ``use``: of one-time passwords by the customer now, None: nobody's. ``near``: the wrong code is one that
    the token shows at another time. ``locked``: the customer is, now: nothing else helps before."""
    steps = _steps(finding, use, near)
    return (NextStep.UNLOCK, *steps) if locked and NextStep.UNLOCK not in steps else steps


def _steps(finding: Finding, use: OtpUse | None, near: bool) -> tuple[NextStep, ...]:
    if finding is Finding.WRONG and near:
        return (NextStep.RESYNC,)
    if finding in _ALWAYS:
        return _ALWAYS[finding]
    by_use = () if use is None else _BY_USE[use]
    if finding is Finding.NOTHING_CHECKED:
        return (NextStep.HOLD_PASSWORD, *by_use)
    if finding is Finding.LOST and use is OtpUse.ACTIVE:
        return (NextStep.REPORT_LOST,)
    return by_use
