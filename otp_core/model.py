"""The nouns of the core: customers, tokens, attempts, verdicts. Plain values; no clock, no store, no sockets.

Times are milliseconds since the Unix epoch (UTC), steps are RFC 6238 time steps or RFC 4226 counters.
Records that a login touches are named tuples or have slots: they are made ten thousand times a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

NEVER = -1
"""The last step of a token that no code was ever accepted for."""


class OtpUse(StrEnum):
    """A customer's use of one-time passwords; the moves between them are in lifecycle.py."""

    NONE = "none"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    LOST = "lost"
    REISSUE_PERMITTED = "reissue permitted"


class TokenState(StrEnum):
    AVAILABLE = "available"
    BOUND = "bound"
    RETIRED = "retired"
    LOST = "lost"


class Kind(StrEnum):
    """What moves a token on: the clock (RFC 6238) or a counter (RFC 4226)."""

    TOTP = "totp"
    HOTP = "hotp"


class Algorithm(StrEnum):
    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"


class Mode(StrEnum):
    """What a client puts into the password of its first request (one for each client)."""

    CHALLENGE = "challenge"
    APPEND = "append"
    AUTO = "auto"
    CODE = "code"
    PASSWORD = "password"


class Language(StrEnum):
    JA = "ja"
    EN = "en"


class TokenSpec(NamedTuple):
    """How a token makes its codes. ``period`` is in seconds and means nothing for a counter."""

    kind: Kind = Kind.TOTP
    algorithm: Algorithm = Algorithm.SHA1
    digits: int = 6
    period: int = 30


@dataclass(slots=True)
class LoginRecord:
    """Everything a login has to know of a customer and of the token bound to them: one row of one SELECT. An evaluator
    changes it with each verdict, so that the next case of a batch sees what the one before did.

    The token's fields are None for a customer without one. ``last_fingerprint`` is the fingerprint of the request
    whose code was accepted last, ``failed_fingerprint`` that of the one that failed last.
    """

    contract_id: str
    customer_key: int
    otp_use: str
    locked_at: int | None
    failures: int
    failed_at: int
    failed_fingerprint: int
    language: str | None
    attributes: str | None
    token_key: int | None
    token_id: str | None
    seed: bytes | None
    kind: str | None
    algorithm: str | None
    digits: int | None
    period: int | None
    last_step: int
    drift: int
    last_fingerprint: int
    last_at: int


class OpenChallenge(NamedTuple):
    """A State that was handed out and has not come back. ``password_fingerprint`` tells a repeated password from a
    code, and is set only where the password itself looked like one."""

    state: bytes
    customer_key: int
    client: str
    expires_at: int
    tries_left: int
    password_fingerprint: int | None


@dataclass(frozen=True, slots=True)
class Policy:
    """One client's or profile's wishes. ``password_only`` lists the uses of OTP for which the password alone
    is enough; what it does not list is refused (domain: never enrolled and suspended are let in, lost is not).
    ``repeated_login_seconds``: a gateway that sends one login twice gets the first verdict again within that time.
    ``code_is_enough``: for customers whose password is not kept here, where the mode asks for one.
    """

    mode: Mode
    password_only: frozenset[OtpUse] = frozenset({OtpUse.NONE, OtpUse.SUSPENDED})
    language: Language = Language.JA
    repeated_login_seconds: int = 0
    code_is_enough: bool = False


class Attempt(NamedTuple):
    """A request to log in, from any door.

    ``user_password``: the password, the code or both, as the policy's mode has it; with a ``challenge`` (a State), the
    answer to that. ``client``: the gateway or host that asks, ``source`` its address. ``calling_station_id``: the
    customer's own address where the client sends it. ``fingerprint``: recognises a retransmission on every worker and
    after a crash (0: this door has none). ``deadline``: the event loop's time after which no answer is wanted.
    """

    customer: str
    user_password: str
    policy: Policy
    client: str
    source: str = ""
    calling_station_id: str = ""
    challenge: bytes | None = None
    fingerprint: int = 0
    deadline: float = math.inf

    def __repr__(self) -> str:
        return f"Attempt(customer={self.customer!r}, client={self.client!r}, source={self.source!r})"


@dataclass(frozen=True, slots=True)
class Accept:
    attributes: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """Ask for the code; ``again`` after one that was not accepted."""

    state: bytes = field(repr=False)
    language: Language
    again: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """``reason`` is for the log and the audit trail; the customer never learns it."""

    reason: str
    language: Language


@dataclass(frozen=True, slots=True)
class Silence:
    """No verdict can be given. The gateway hears nothing, and tries its next server. ``busy``: too many ask at once,
    which strangers can bring about."""

    reason: str
    busy: bool = False


Verdict = Accept | Challenge | Reject | Silence


class BackendSilent(Exception):
    """A back end that must be asked does not answer. Never a refusal, and never an acceptance."""


class Overloaded(BackendSilent):
    """It would answer if fewer asked."""


class StoreUnavailable(BackendSilent):
    """The store cannot be read or written now: locked, full, read-only, corrupt, gone."""


class StoreBusy(StoreUnavailable):
    """Somebody else holds the write lock: mostly over in a moment."""
