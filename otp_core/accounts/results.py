"""The outcome of an act: what was done, or what was refused and why. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from otp_core.model import AuditRow


class Refusal(StrEnum):
    """Why an act was refused: stable codes. A customer's page must not tell TOKEN_OR_CODE's cases apart."""

    UNKNOWN_CUSTOMER = "unknown-customer"
    UNKNOWN_TOKEN = "unknown-token"
    WHICH_TOKEN = "which-token"
    HELD_ALREADY = "held-already"
    NO_ROOM = "no-room"
    BAD_NAME = "bad-name"
    CUSTOMER_EXISTS = "customer-exists"
    NOT_NOW = "not-now"
    LOCKED = "locked"
    TOO_SOON = "too-soon"
    NOT_A_CODE = "not-a-code"
    WRONG_CODE = "wrong-code"
    REUSED_CODE = "reused-code"
    RESYNC_NEEDED = "resync-needed"
    TOKEN_OR_CODE = "token-or-code"
    TOO_MANY = "too-many"
    WRONG_PERMIT = "wrong-permit"
    NOT_PERMITTED = "not-permitted"
    REQUEST_USED_UP = "request-used-up"


REFUSAL_TEXT: dict[Refusal, str] = {
    Refusal.UNKNOWN_CUSTOMER: "there is no such customer",
    Refusal.UNKNOWN_TOKEN: "there is no such token",
    Refusal.WHICH_TOKEN: "the customer has several tokens: say which one",
    Refusal.HELD_ALREADY: "the customer has this token already",
    Refusal.NO_ROOM: "the customer has as many tokens as they may have",
    Refusal.BAD_NAME: "not a name for a token",
    Refusal.CUSTOMER_EXISTS: "this contract ID is taken",
    Refusal.NOT_NOW: "not possible in this state",
    Refusal.LOCKED: "the customer is locked",
    Refusal.TOO_SOON: "too soon after wrong codes",
    Refusal.NOT_A_CODE: "not a code: the wrong number of digits",
    Refusal.WRONG_CODE: "wrong code",
    Refusal.REUSED_CODE: "this code was used before: wait for the next one",
    Refusal.RESYNC_NEEDED: "this counter token must be resynchronised first, by two codes that follow one another",
    Refusal.TOKEN_OR_CODE: "the token ID or its code is not right",
    Refusal.TOO_MANY: "too many of them now",
    Refusal.WRONG_PERMIT: "the reissue permit is wrong, used or expired",
    Refusal.NOT_PERMITTED: "not permitted",
    Refusal.REQUEST_USED_UP: "this request got its token before, which is enrolled, retired or sent too often",
}
"""What staff and the audit trail read. Never compared with: that is what the codes are for."""


class Refused(Exception):
    """An act that was not carried out. ``detail`` is for staff and the audit trail. ``wait_seconds``: TOO_SOON is over
    then."""

    def __init__(self, refusal: Refusal, detail: str = "", *, wait_seconds: float = 0.0) -> None:
        text = REFUSAL_TEXT[refusal]
        super().__init__(f"{text}: {detail}" if detail else text)
        self.refusal = refusal
        self.detail, self.wait_seconds = detail, wait_seconds
        self.row: AuditRow | None = None
        """What the audit trail says of it, once it does."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done, to be shown: ``reference`` is the audit row's number."""

    reference: int
    customer: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class ReissuePermit:
    """A reissue permit, in clear for the one time that it is shown. ``expires_at``: ms since the epoch."""

    text: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token with its seed, in clear for the one time that it is shown. ``secret``: base32; ``uri``: otpauth://,
    for a QR code."""

    token_id: str
    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnclaimedToken:
    """A token for an app that asked, with its seed in clear. ``issued_at``: ms since the epoch."""

    token_id: str
    seed: bytes = field(repr=False)
    issued_at: int
