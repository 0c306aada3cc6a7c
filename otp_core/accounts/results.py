"""What is said at the desk: who acts, what was done, what was refused and why. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Refusal(StrEnum):
    """Why an act was refused. Staff may read it; a customer's page must not tell TOKEN_OR_CODE's cases apart."""

    UNKNOWN_CUSTOMER = "there is no such customer"
    UNKNOWN_TOKEN = "there is no such token"
    CUSTOMER_EXISTS = "this contract ID is taken"
    NOT_NOW = "not possible in this state"
    LOCKED = "the customer is locked"
    TOO_SOON = "too soon after wrong codes"
    NOT_A_CODE = "not a code: the wrong number of digits"
    WRONG_CODE = "wrong code"
    REUSED_CODE = "this code was used before: wait for the next one"
    TOKEN_OR_CODE = "the token ID or its code is not right"
    TOO_MANY = "too many of them now"
    WRONG_PERMIT = "the reissue permit is wrong, used or expired"


class Refused(Exception):
    """An act that was not carried out; its audit row is written. ``detail`` is for staff and the audit trail."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal}: {detail}" if detail else str(refusal))
        self.refusal = refusal
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, where from, and why (a reason or ticket number)."""

    name: str
    source: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done, to be shown: ``reference`` is the audit row's number."""

    reference: int
    customer: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class ReissuePermit:
    """A reissue permit, in clear for the one time that it is handed out."""

    text: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token with its seed, in clear for the one time that it is shown. ``uri``: otpauth://, for a QR code."""

    token_id: str
    secret: str = field(repr=False)
    uri: str = field(repr=False)
