"""The values of a login decision: what is asked, what is known, what is decided. No behaviour.

Times are milliseconds since the epoch, steps are RFC 6238 time steps or RFC 4226 counters, keys are the store's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from otp_core.login.table import Finding, Stage
from otp_core.model import Attempt, AuditRow, LoginRecord, OpenChallenge, Verdict
from otp_core.otp import Fit

LOCAL_VERIFIER = "local"
"""The verifier of tokens whose seed is in the store: their codes are computed in the batch itself."""


class FirstFinding(NamedTuple):
    """What the first factor found. ``held`` False: it has no password for this customer; ``right`` is then True,
    because nothing spoke against it, and the policy says whether the code alone is enough. ``candidate``: which of the
    passwords it was given is the right one. ``attributes``: reply attributes that it brings along."""

    right: bool
    held: bool = True
    reason: Finding = Finding.WRONG_PASSWORD
    candidate: int = 0
    attributes: Mapping[str, object] | None = None


class NextRound(NamedTuple):
    """The first factor asks a question of its own: ``prompt``, to be answered together with ``state``."""

    state: bytes
    prompt: str


class CodeFinding(NamedTuple):
    """What a verifier found out about a code of this token. ``step``: the time step or counter of the code, None where
    the verifier does not tell. ``trouble``: what it says of the token in place of an answer about the code, which is
    then neither right nor counted as wrong. ``state`` and ``prompt``: of its question, if it asks one (VERIFIER_ASKS);
    both text."""

    token_id: str
    fit: Fit
    step: int | None = None
    trouble: Finding | None = None
    state: str = ""
    prompt: str = ""


_OF_VERIFIER = b"verifier"


def verifier_state(verifier: str, token_id: str, state: str) -> bytes:
    """What a challenge keeps of a verifier's question, in the place of a first factor's state. That one is sealed, and
    never begins so."""
    return b"\0".join((_OF_VERIFIER, verifier.encode(), token_id.encode(), state.encode()))


def read_verifier_state(kept: bytes | None) -> tuple[str, str, str] | None:
    """Verifier, token ID and its state; None for what is a first factor's."""
    if kept is None or not kept.startswith(_OF_VERIFIER + b"\0"):
        return None
    verifier, token_id, state = kept[len(_OF_VERIFIER) + 1 :].decode().split("\0", 2)
    return verifier, token_id, state


class VerifierNeeded(NamedTuple):
    """In the place of a verdict: the code has to be verified elsewhere first. Nothing was changed."""

    token_id: str
    verifier: str
    code: str


GATEWAY_CHECKED = FirstFinding(right=True)


class LoginRequest:
    """An attempt, ready to be evaluated: its stage, what the first factor found, and the code split from the
    password. (No dataclass: that makes one for each login in three times the time where this is compiled.)

    ``text_fingerprint``: of what was typed, where it looks like a code: an answer that equals the one of the first
    round is the password again. ``fingerprint``: recognises a retransmission of this login; None: the attempt's own
    fingerprint is used. ``code_findings``: what verifiers have said about the code so far."""

    def __init__(
        self,
        attempt: Attempt,
        stage: Stage,
        first: FirstFinding = GATEWAY_CHECKED,
        code: str | None = None,
        text_fingerprint: int | None = None,
        next_round: NextRound | None = None,
    ) -> None:
        self.attempt, self.stage, self.first, self.code = attempt, stage, first, code
        self.text_fingerprint, self.next_round = text_fingerprint, next_round
        self.code_findings: tuple[CodeFinding, ...] = ()
        self.fingerprint: int | None = None


class Facts(NamedTuple):
    """What the store knows of a batch: customers by contract ID, open challenges by State. ``sealed``: audit rows up to
    this id are sealed, so the batch numbers its own above it."""

    records: dict[str, LoginRecord]
    challenges: dict[bytes, OpenChallenge]
    sealed: int = 0


class StepUpdate(NamedTuple):
    """A code is spent on one token; one that fits several has an update for each. ``before``: the token's last step as
    it was read. In the order of the statement."""

    step: int
    drift: int
    fingerprint: int
    at: int
    token_key: int
    before: int


class FailureUpdate(NamedTuple):
    """A customer's count of wrong codes: the new one, and the one that was read. In the order of the statement."""

    failures: int
    failed_at: int
    fingerprint: int
    locked_at: int | None
    customer_key: int
    failures_before: int
    failed_at_before: int


class Retransmission(NamedTuple):
    """(token, fingerprint) of a login that was accepted before, checked again at commit. In the order of the
    statement."""

    token_key: int
    fingerprint: int


@dataclass(slots=True)
class Decision:
    """The outcome of a batch: a verdict for each request, and the changes that must be durable before any verdict is
    given. Each change carries what was read: it holds only while the row still says that."""

    verdicts: list[Verdict | VerifierNeeded] = field(default_factory=list)
    step_updates: list[StepUpdate] = field(default_factory=list)
    drifts: bool = False
    """Whether the drift of any token in ``step_updates`` is not what it was."""
    failure_updates: dict[int, FailureUpdate] = field(default_factory=dict)
    """By customer key."""
    retransmissions: list[Retransmission] = field(default_factory=list)
    """Logins that were accepted before; not those of a token in ``step_updates``."""
    challenges_created: list[OpenChallenge] = field(default_factory=list)
    challenges_consumed: list[bytes] = field(default_factory=list)
    """The States of challenges that were answered."""
    audit: list[AuditRow] = field(default_factory=list)
    locked: list[AuditRow] = field(default_factory=list)
    """Those of ``audit`` that record a lock."""
    remarks: list[tuple[int, str]] = field(default_factory=list)
    """The ID of an audit row, and how its accepted code was late or early. Not durable with the rest: no login is
    decided by it."""
