"""What a directory's answer to a bind means: tables from its codes to a meaning. Pure; a code that no table names is
no refusal of the customer, but an answer that nobody here understands, and so an outage.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from otp_core.first_factor.ldap.messages import PolicyError, Result


class Meaning(StrEnum):
    """What became of the password."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown there"
    EXPIRED = "expired"
    MUST_CHANGE = "must be changed"
    DISABLED = "disabled there"
    ACCOUNT_EXPIRED = "account expired there"
    LOCKED = "locked there"
    NOT_PERMITTED = "not permitted there"


SUCCESS, INVALID_CREDENTIALS = 0, 49

ACTIVE_DIRECTORY: dict[int, Meaning] = {
    0x525: Meaning.UNKNOWN,  # ERROR_NO_SUCH_USER
    0x52E: Meaning.WRONG,  # ERROR_LOGON_FAILURE
    0x52F: Meaning.DISABLED,  # ERROR_ACCOUNT_RESTRICTION
    0x530: Meaning.NOT_PERMITTED,  # ERROR_INVALID_LOGON_HOURS
    0x531: Meaning.NOT_PERMITTED,  # ERROR_INVALID_WORKSTATION
    0x532: Meaning.EXPIRED,  # ERROR_PASSWORD_EXPIRED
    0x533: Meaning.DISABLED,  # ERROR_ACCOUNT_DISABLED
    0x701: Meaning.ACCOUNT_EXPIRED,  # ERROR_ACCOUNT_EXPIRED
    0x773: Meaning.MUST_CHANGE,  # ERROR_PASSWORD_MUST_CHANGE
    0x775: Meaning.LOCKED,  # ERROR_ACCOUNT_LOCKED_OUT
}
"""The number behind ``data`` in the text of an invalidCredentials: a Windows system error, in hexadecimal (MS-ERREF
§2.2). 532, 533, 701 and 773 are told only of a right password."""

POLICY: dict[int, Meaning] = {
    PolicyError.PASSWORD_EXPIRED: Meaning.EXPIRED,
    PolicyError.ACCOUNT_LOCKED: Meaning.LOCKED,
    PolicyError.CHANGE_AFTER_RESET: Meaning.MUST_CHANGE,
}
"""Of the control that comes with an answer (draft-behera-ldap-password-policy §6.2)."""

REFUSALS: dict[int, Meaning] = {
    32: Meaning.UNKNOWN,  # noSuchObject
    34: Meaning.UNKNOWN,  # invalidDNSyntax: of a name that the template made no DN of
    48: Meaning.WRONG,  # inappropriateAuthentication: an account without a password
    INVALID_CREDENTIALS: Meaning.WRONG,
}
WORDS: tuple[tuple[int, str, Meaning], ...] = (
    (19, "retry limit", Meaning.LOCKED),  # constraintViolation
    (53, "inactivated", Meaning.DISABLED),  # unwillingToPerform
    (INVALID_CREDENTIALS, "password expired", Meaning.EXPIRED),
)
"""389 Directory Server and FreeIPA tell these by words alone."""

NOT_NOW = frozenset((51, 52))
"""busy, unavailable: the request was not looked at, so another server may be asked."""
TROUBLE = NOT_NOW | {1, 2, 3, 80}
"""Answers to a search after which another server may know more: also operationsError, protocolError,
timeLimitExceeded and other."""
CODES: dict[int, str] = {
    1: "operationsError",
    2: "protocolError",
    3: "timeLimitExceeded",
    4: "sizeLimitExceeded",
    7: "authMethodNotSupported",
    8: "strongerAuthRequired",
    10: "referral, which is not followed",
    11: "adminLimitExceeded",
    13: "confidentialityRequired",
    19: "constraintViolation",
    32: "noSuchObject",
    34: "invalidDNSyntax",
    48: "inappropriateAuthentication",
    49: "invalidCredentials",
    50: "insufficientAccessRights",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
    80: "other",
}
_DATA = re.compile(r"AcceptSecurityContext error, data ([0-9a-fA-F]{1,8})\b")


class Outcome(NamedTuple):
    """``meaning``: None where the answer says nothing about the password. ``detail``: for the log."""

    meaning: Meaning | None
    detail: str


def outcome_of(result: Result) -> Outcome:
    """What the answer to a customer's bind means."""
    detail = described(result)
    if result.code == SUCCESS:
        return Outcome(Meaning.MUST_CHANGE if result.must_change else Meaning.RIGHT, detail)
    if result.code == INVALID_CREDENTIALS and (found := _DATA.search(result.text)):
        return Outcome(ACTIVE_DIRECTORY.get(int(found[1], 16), Meaning.WRONG), detail)
    if result.code in REFUSALS and result.policy_error in POLICY:
        return Outcome(POLICY[result.policy_error], detail)
    for code, words, meaning in WORDS:
        if result.code == code and words in result.text.lower():
            return Outcome(meaning, detail)
    return Outcome(REFUSALS.get(result.code), detail)


def described(result: Result) -> str:
    """A result in words, for the log."""
    name = CODES.get(result.code, "a code of its own")
    return f"{result.code} ({name})" + (f": {result.text}" if result.text else "")
