"""What an answer says that is not what was asked for (RFC 9457): stable types, each with its status. Values only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import NamedTuple

from otp_core.accounts import Refusal, Refused


class ProblemType(StrEnum):
    """The values of ``type``: an interface. They never change, only new ones are added."""

    NOT_JSON = "not-json"
    BAD_REQUEST = "bad-request"
    KEY_NEEDED = "key-needed"
    NETWORK_REFUSED = "network-refused"
    SCOPE_MISSING = "scope-missing"
    NOT_PERMITTED = "not-permitted"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    NOT_NOW = "not-now"
    LOCKED = "locked"
    WHICH_TOKEN = "which-token"
    UNKNOWN_TOKEN = "unknown-token"
    TOO_SLOW = "too-slow"
    TOO_LARGE = "too-large"
    NOT_JSON_TYPE = "unsupported-media-type"
    ILL_FORMED = "ill-formed"
    CODE_REFUSED = "code-refused"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    THROTTLED = "throttled"
    RATE_LIMITED = "rate-limited"
    FAILED = "server-error"
    UNAVAILABLE = "unavailable"


class _Meaning(NamedTuple):
    status: int
    title: str


MEANINGS: Mapping[ProblemType, _Meaning] = {
    ProblemType.NOT_JSON: _Meaning(400, "The body is not JSON (UTF-8)"),
    ProblemType.BAD_REQUEST: _Meaning(400, "The request cannot be read"),
    ProblemType.KEY_NEEDED: _Meaning(401, "An API key is needed, and this is none, or none any more"),
    ProblemType.NETWORK_REFUSED: _Meaning(403, "The key is not good from this address"),
    ProblemType.SCOPE_MISSING: _Meaning(403, "The key has not got the scope"),
    ProblemType.NOT_PERMITTED: _Meaning(403, "Not permitted"),
    ProblemType.NOT_FOUND: _Meaning(404, "There is no such thing"),
    ProblemType.METHOD_NOT_ALLOWED: _Meaning(405, "Not by this method"),
    ProblemType.NOT_NOW: _Meaning(409, "Not possible in this state"),
    ProblemType.LOCKED: _Meaning(409, "The customer is locked"),
    ProblemType.WHICH_TOKEN: _Meaning(409, "The customer has several tokens: say which one"),
    ProblemType.UNKNOWN_TOKEN: _Meaning(409, "The customer has no such token"),
    ProblemType.TOO_SLOW: _Meaning(408, "The body took too long"),
    ProblemType.TOO_LARGE: _Meaning(413, "The body is too large"),
    ProblemType.NOT_JSON_TYPE: _Meaning(415, "The body has to be application/json"),
    ProblemType.ILL_FORMED: _Meaning(422, "Ill-formed"),
    ProblemType.CODE_REFUSED: _Meaning(422, "Not accepted: code, password, token ID or permit"),
    ProblemType.IDEMPOTENCY_KEY_REUSED: _Meaning(422, "This Idempotency-Key was used for something else"),
    ProblemType.THROTTLED: _Meaning(429, "Too soon after wrong codes of this customer"),
    ProblemType.RATE_LIMITED: _Meaning(429, "Too many requests by this key"),
    ProblemType.FAILED: _Meaning(500, "An answer could not be made"),
    ProblemType.UNAVAILABLE: _Meaning(503, "Not now: try again"),
}

_OF_STATUS = {
    MEANINGS[type_].status: type_
    for type_ in (
        ProblemType.BAD_REQUEST,
        ProblemType.NOT_FOUND,
        ProblemType.METHOD_NOT_ALLOWED,
        ProblemType.TOO_SLOW,
        ProblemType.TOO_LARGE,
        ProblemType.FAILED,
        ProblemType.UNAVAILABLE,
    )
}
"""Of an error that HTTP itself has, not one of our handlers."""

_OF_REFUSAL = {
    Refusal.UNKNOWN_CUSTOMER: ProblemType.NOT_FOUND,
    Refusal.UNKNOWN_TOKEN: ProblemType.UNKNOWN_TOKEN,
    Refusal.WHICH_TOKEN: ProblemType.WHICH_TOKEN,
    Refusal.LOCKED: ProblemType.LOCKED,
    Refusal.TOO_SOON: ProblemType.THROTTLED,
    Refusal.NOT_PERMITTED: ProblemType.NOT_PERMITTED,
    **dict.fromkeys(
        (
            Refusal.NOT_A_CODE,
            Refusal.WRONG_CODE,
            Refusal.REUSED_CODE,
            Refusal.RESYNC_NEEDED,
            Refusal.TOKEN_OR_CODE,
            Refusal.WRONG_PERMIT,
        ),
        ProblemType.CODE_REFUSED,
    ),
}
"""Any other is a state in which the act is not possible."""

_A_CODE = "a code works once: wait for the next one"


class FieldError(NamedTuple):
    """What is wrong with one field. ``field``: its name, dots between the parts."""

    field: str
    detail: str


class ProblemError(Exception):
    """Ends a request with this answer. ``detail``: what is wrong in this case, without what was sent; ``headers``: of
    the answer."""

    def __init__(
        self,
        type_: ProblemType,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.type, self.detail, self.errors, self.headers = type_, detail, errors, dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return MEANINGS[self.type].status

    @property
    def shape(self) -> dict[str, object]:
        """The JSON object of the answer."""
        shape: dict[str, object] = {"type": self.type, "title": MEANINGS[self.type].title, "status": self.status}
        if self.detail:
            shape["detail"] = self.detail
        if self.errors:
            shape["errors"] = [one._asdict() for one in self.errors]
        return shape


def key_needed() -> ProblemError:
    """The problem of a request whose key is none, or none any more."""
    return ProblemError(ProblemType.KEY_NEEDED, headers={"WWW-Authenticate": 'Bearer realm="Sekisho"'})


def problem_of_status(status: int) -> ProblemError:
    """The problem of an error that a request ran into before any handler."""
    type_ = _OF_STATUS.get(status, ProblemType.FAILED if status >= 500 else ProblemType.BAD_REQUEST)
    return ProblemError(type_, HTTPStatus(status).phrase)


def problem_of_refusal(refused: Refused) -> ProblemError:
    """What the desk has refused. Of a code nobody is told how it was wrong: the audit trail says that."""
    type_ = _OF_REFUSAL.get(refused.refusal, ProblemType.NOT_NOW)
    if type_ is ProblemType.CODE_REFUSED:
        return ProblemError(type_, _A_CODE)
    if type_ is ProblemType.THROTTLED:
        return throttled(refused.wait_seconds, str(refused))
    if type_ in (ProblemType.NOT_FOUND, ProblemType.UNKNOWN_TOKEN):
        return ProblemError(type_, str(Refused(refused.refusal)))  # not the name that was sent: it may be a password
    return ProblemError(type_, str(refused))


def throttled(seconds: float, detail: str = "") -> ProblemError:
    """The delay after wrong codes still has so long to go."""
    return ProblemError(ProblemType.THROTTLED, detail, headers={"Retry-After": str(max(1, math.ceil(seconds)))})
