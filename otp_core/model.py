"""The nouns of the domain: customers, tokens, attempts, verdicts. Plain values; no clock, no store, no sockets.

Times are milliseconds since the Unix epoch (UTC), steps are RFC 6238 time steps or RFC 4226 counters.
Records that a login touches are named tuples or have slots: they are made ten thousand times a second.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import md5
from hmac import compare_digest
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


class Role(StrEnum):
    """What a member of staff may do; each role may also do what the ones before it may."""

    AUDITOR = "auditor"
    """Reads everything, changes nothing."""
    OPERATOR = "operator"
    """Serves customers at the counter."""
    SUPERVISOR = "supervisor"
    """Approves what an operator asks for."""
    ADMINISTRATOR = "administrator"
    """Looks after staff."""


class Scope(StrEnum):
    """What an API key is for. A key has one or more; none of them holds another."""

    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_WRITE = "customers:write"
    TOKENS_READ = "tokens:read"
    TOKENS_WRITE = "tokens:write"
    AUDIT_READ = "audit:read"
    CHECK_PASSWORD = "check:password"
    CHECK_CODE = "check:code"


class SeedForm(StrEnum):
    """How a seed is written in a file; the values are the names of columns."""

    HEX = "hexkey"
    BASE32 = "base32"


class Encoding(StrEnum):
    """The encodings that a file to import may be in; the values are Python's names."""

    UTF_8 = "utf-8"
    UTF_16_LE = "utf-16-le"
    UTF_16_BE = "utf-16-be"
    CP932 = "cp932"
    CP1252 = "cp1252"
    EUC_JP = "euc-jp"


class TokenSpec(NamedTuple):
    """How a token makes its codes. ``period`` is in seconds and means nothing for a counter."""

    kind: Kind = Kind.TOTP
    algorithm: Algorithm = Algorithm.SHA1
    digits: int = 6
    period: int = 30


@dataclass(slots=True)
class LoginToken:
    """Everything a login has to know of one token that is bound to the customer.

    ``seed`` is sealed, and None for a token whose codes are verified elsewhere (``verifier``). ``last_fingerprint``
    belongs to the request whose code was accepted last; 0: none. ``spent_ahead``: steps that were accepted while the
    clock stood in the future (login/spent_ahead.py).
    """

    key: int
    token_id: str
    seed: bytes | None
    verifier: str
    kind: str
    algorithm: str
    digits: int
    period: int
    last_step: int
    drift: int
    last_fingerprint: int
    last_at: int
    spent_ahead: str | None = None


@dataclass(slots=True)
class LoginRecord:
    """Everything a login has to know of a customer and of the tokens bound to them: the rows of one SELECT. The
    evaluator changes it with each verdict, so that the next request of a batch sees what the one before did.

    ``failed_fingerprint`` belongs to the request that failed last; 0: none. ``attributes``: reply attributes as JSON.
    ``tokens``: in no particular order, each of them once.
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
    tokens: list[LoginToken] = field(default_factory=list)

    @property
    def token_id(self) -> str | None:
        """The only token's ID, for audit rows about the customer; None if there is none, or more than one."""
        return self.tokens[0].token_id if len(self.tokens) == 1 else None


class AuditRow(NamedTuple):
    """One row of the audit trail. ``id`` orders rows by time and tells the time (``audit.Ids``). ``event``: an
    ``audit.Event``'s value. ``customer``: a contract ID, or the fingerprint of a name that is no customer's."""

    id: int
    event: str
    actor: str
    customer: str | None
    token: str | None
    source: str
    reason: str


class OpenChallenge(NamedTuple):
    """A challenge that was sent and not answered yet. In the order of the table's columns.

    ``password_fingerprint`` tells a repeated password from a code, and is set only where the password itself looked
    like one. ``first_factor_state``: the challenge is a further round of the first factor, which has this state; None:
    it asks for the code. ``attributes``: reply attributes that the first factor brought, as JSON."""

    state: bytes
    customer_key: int
    client: str
    expires_at: int
    tries_left: int
    password_fingerprint: int | None
    first_factor_state: bytes | None = None
    attributes: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What one client or PAM profile is asked for. ``password_only``: the uses of OTP for which the password alone is
    enough; any other is refused. ``repeated_login_seconds``: a gateway that sends one login twice gets the first
    verdict again within that time. ``code_is_enough``: for customers whose password is not kept here, where the mode
    asks for one. ``first_factor``: the name of the back end that checks the password. ``separator`` and ``code_first``:
    how password and code stand in one text (``login.splitting``). ``fold_case``: a contract ID is also found if it is
    typed in another case.
    """

    mode: Mode
    password_only: frozenset[OtpUse] = frozenset({OtpUse.NONE, OtpUse.SUSPENDED})
    language: Language = Language.JA
    repeated_login_seconds: int = 0
    code_is_enough: bool = False
    first_factor: str = "local"
    separator: str = ""
    code_first: bool = False
    fold_case: bool = False


class Chap(NamedTuple):
    """A CHAP answer (RFC 1994 section 4.1): MD5 over identifier (one octet), secret and challenge."""

    identifier: int
    response: bytes
    challenge: bytes

    def is_made_with(self, secret: bytes) -> bool:
        """Whether this is the answer of somebody who has this secret."""
        made = md5(bytes((self.identifier,)) + secret + self.challenge, usedforsecurity=False).digest()
        return compare_digest(made, self.response)

    def __repr__(self) -> str:
        return "Chap(...)"


class MsChap(NamedTuple):
    """An MS-CHAPv2 answer as it came (RFC 2548 sections 2.1 and 2.3): 16 and 50 octets, for a server that knows the
    password. ``of_nothing``: it is that of an empty password."""

    challenge: bytes
    response: bytes
    of_nothing: bool = False

    def __repr__(self) -> str:
        return "MsChap(...)"


class Forwarded(NamedTuple):
    """A request as a proxy passes it on: for a first factor that is a RADIUS server. ``user_name``: the octets as they
    came. ``charset``: of the password. ``attributes``: type and value of those that each hop does not write itself, in
    their order; Proxy-States are among them. ``chap`` or ``ms_chap``: in the place of a password."""

    user_name: bytes
    charset: str
    attributes: tuple[tuple[int, bytes], ...]
    chap: Chap | None = None
    ms_chap: MsChap | None = None

    @property
    def has_no_password(self) -> bool:
        """Whether something else stands in its place."""
        return self.chap is not None or self.ms_chap is not None

    def __repr__(self) -> str:
        return "Forwarded(...)"


class Attempt(NamedTuple):
    """A request to log in, from any door.

    ``customer``: the contract ID. ``user_password``: the password, the code or both, as the policy's mode has it; with
    a ``challenge`` (a State), the answer to that. ``client``: the gateway or host that asks, ``source`` its address.
    ``calling_station_id``: the customer's own address where the client sends it. ``fingerprint``: recognises a
    retransmission on every worker and after a crash (0: this door has none). ``deadline``: the event loop's time after
    which no answer is wanted. ``forwarded``: what a RADIUS server that checks the password is told; None where none is
    asked, and at the other doors. ``account``: what the first factor has found out about the name that was typed, for
    itself.
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
    forwarded: Forwarded | None = None
    account: object = None

    def __repr__(self) -> str:
        return f"Attempt(customer={self.customer!r}, client={self.client!r}, source={self.source!r})"


NearMiss = Callable[[], str]
"""In words how a wrong code misses ("correct code, 3 steps late"), empty for one that fits nowhere near. It is worked
out when it is asked for: after the answer."""


@dataclass(slots=True)
class Accept:
    """Let in. ``attributes``: reply attributes by their names in the dictionary. ``row``: what the audit trail says.
    ``change_token``: the customer is asked to change to another token. Nobody changes it. (Not frozen: that makes one
    for each login in three times the time.)"""

    attributes: Mapping[str, object] | None = None
    change_token: bool = field(default=False, kw_only=True)
    row: AuditRow | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Ask for the code; ``again`` after one that was not accepted. ``prompt``: the first factor asks a question of its
    own, with this text. ``row`` and ``near_miss``: as for Accept and Reject."""

    state: bytes = field(repr=False)
    language: Language
    again: bool = False
    prompt: str | None = None
    row: AuditRow | None = field(default=None, compare=False, repr=False)
    near_miss: NearMiss | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Reject:
    """``reason``: the code of a Finding, or for a request that was no attempt, words for the log. The customer never
    learns it. ``row``: what the audit trail says, None where it says nothing."""

    reason: str
    language: Language
    row: AuditRow | None = field(default=None, compare=False, repr=False)
    near_miss: NearMiss | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Silence:
    """The verdict where none can be given. The gateway hears nothing, and tries its next server. ``busy``: too many
    ask at once, which strangers can bring about."""

    reason: str
    busy: bool = False


Verdict = Accept | Challenge | Reject | Silence


class BackendSilent(Exception):
    """A back end that must be asked does not answer. Never a refusal, and never an acceptance."""


class Overloaded(BackendSilent):
    """It would answer if fewer asked."""


class StoreProblem(Exception):
    """The store cannot be opened as it is. The text says what to do."""


class StoreUnavailable(BackendSilent):
    """The store cannot be read or written now: locked, full, read-only, corrupt, gone."""


class StoreBusy(StoreUnavailable):
    """Another process holds the write lock: usually for a moment only."""


class StoreStopped(StoreUnavailable):
    """What was written may be lost: nobody may be told anything until a start of the server has put the store right."""


class Conflict(StoreUnavailable):
    """Somebody else was faster; nothing was written. Run the act again."""


AttributeCheck = Callable[[Mapping[str, object]], Sequence[str]]
"""A customer's reply attributes in; what stands in the way of sending them out. Empty: they can be sent."""


class InClear:
    """What a first factor has brought along for a reply, in clear: there may be keys among it. So it is sealed wherever
    it is kept (``seal``: the store's), and only a verdict that is given at once has it as it is."""

    __slots__ = ("_seal", "octets")

    def __init__(self, octets: bytes, seal: Callable[[bytes], bytes]) -> None:
        self.octets, self._seal = octets, seal

    def sealed(self) -> str:
        """In Base64, for the store and for whoever must not read it."""
        return b64encode(self._seal(self.octets)).decode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InClear) and other.octets == self.octets

    def __hash__(self) -> int:
        return hash(self.octets)

    def __repr__(self) -> str:
        return "InClear(...)"


def sealed_value(value: object) -> str:
    """Of what is in clear, for JSON. Raises TypeError."""
    if isinstance(value, InClear):
        return value.sealed()
    raise TypeError(f"a reply attribute that is a {type(value).__name__}")


def attributes_text(attributes: Mapping[str, object] | None) -> str | None:
    """A customer's reply attributes as the store keeps them."""
    return json.dumps(attributes, sort_keys=True, ensure_ascii=False, default=sealed_value) if attributes else None
