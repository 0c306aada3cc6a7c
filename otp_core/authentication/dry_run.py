"""The parts of a login that write nothing, for its explanation: a batch that only reads, a password that is taken to be
right, and the requests that a gateway sends.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from otp_core.authentication.authenticator import Authenticator
from otp_core.first_factor import FirstFactor, FirstFinding, Question
from otp_core.first_factor.unasked import Unasked
from otp_core.login.next_step import FINDING_OF_TEXT
from otp_core.login.requests import Decision, Facts, VerifierNeeded
from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import Attempt, Challenge, Mode, OpenChallenge, Policy, Reject, Silence, Verdict
from otp_core.store.engine import LoginReader

_STAND_IN = "password"
"""In the place of a password that is not given. Without a digit, so it cannot be taken for a code."""


class Asked(NamedTuple):
    """A login to explain, as a gateway would ask for it. ``customer``: the contract ID. ``password`` None: it is taken
    to be right. ``code`` None: none was typed yet. ``calling_station_id``, ``source``: as in an Attempt. ``seconds``:
    for a verdict."""

    customer: str
    policy: Policy
    client: str
    password: str | None = None
    code: str | None = None
    calling_station_id: str = ""
    source: str = ""
    seconds: float = 5.0

    @property
    def attempt(self) -> Attempt:
        """Without password and code."""
        return Attempt(self.customer, "", self.policy, self.client, self.source, self.calling_station_id)

    def __repr__(self) -> str:
        return f"Asked(customer={self.customer!r}, client={self.client!r})"


class Round(NamedTuple):
    """One request of the login and its answer. ``sent``: what was in it, in words. ``finding``: None for silence, and
    for a request that is refused without an attempt. ``why``: in words for staff."""

    sent: str
    verdict: Verdict
    finding: Finding | None
    why: str


class Conversation:
    """The requests that a gateway sends for one login, and their answers."""

    def __init__(self, asked: Asked, authenticator: Authenticator) -> None:
        self._asked, self._authenticator = asked, authenticator

    async def hold(self) -> tuple[Round, ...]:
        """The rounds."""
        asked, mode = self._asked, self._asked.policy.mode
        password = _STAND_IN if asked.password is None else asked.password
        if mode is Mode.CODE:
            return (await self._ask("the code", asked.code or ""),)
        if mode is Mode.PASSWORD:
            return (await self._ask("the password", password),)
        if mode is Mode.CHALLENGE or asked.code is None:
            first = await self._ask("the password", password)
            if asked.code is None or not isinstance(first.verdict, Challenge) or first.verdict.prompt is not None:
                return (first,)
            return first, await self._ask("the code", asked.code, first.verdict.state)
        parts = (asked.code, password) if asked.policy.code_first else (password, asked.code)
        return (await self._ask("password and code in one", asked.policy.separator.join(parts)),)

    async def _ask(self, sent: str, text: str, state: bytes | None = None) -> Round:
        loop, asked = asyncio.get_running_loop(), self._asked
        attempt = asked.attempt._replace(user_password=text, challenge=state, deadline=loop.time() + asked.seconds)
        verdict = await answer_of(self._authenticator, attempt)
        finding = finding_of(verdict)
        why = FINDING_TEXT[finding] if finding else getattr(verdict, "reason", "")
        return Round(sent, verdict, finding, why)


async def answer_of(authenticator: Authenticator, attempt: Attempt) -> Verdict:
    """The verdict on one request."""
    answered: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    authenticator.admit(attempt, answered.set_result)
    return await answered


def finding_of(verdict: Verdict) -> Finding | None:
    """The finding that a verdict of the evaluator goes back to; None for silence, and for what was no attempt."""
    if isinstance(verdict, Silence):
        return None
    if isinstance(verdict, Reject):
        return Finding(verdict.reason) if verdict.reason in FINDING_TEXT else None
    return None if verdict.row is None else FINDING_OF_TEXT[verdict.row.reason]


@dataclass
class ReadingBatch:
    """A LoginBatch that reads, lets the evaluator decide, and writes nothing. ``decision``: the last one."""

    reader: LoginReader
    decision: Decision = field(default_factory=Decision)
    verifier_needed: bool = False
    _challenges: dict[bytes, OpenChallenge] = field(default_factory=dict)
    """Those that earlier rounds of this login would have opened."""

    @property
    def concurrency(self) -> int:
        """One login after another."""
        return 1

    async def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        """See ``store.engine.LoginBatch.run``; but nothing is made durable."""
        records = {}
        for customer in customers:
            record = await self.reader.login_record(customer)
            if record is not None:
                records[customer] = copy.deepcopy(record)
        challenges = {state: self._challenges[state] for state in states if state in self._challenges}
        self.decision = evaluate(Facts(records, challenges))
        self.verifier_needed = any(isinstance(one, VerifierNeeded) for one in self.decision.verdicts)
        self._challenges |= {one.state: one for one in self.decision.challenges_created}
        return self.decision

    def close(self) -> None:
        """The reader belongs to somebody else."""


@dataclass
class PasswordTakenAsRight:
    """A first factor for a password that is not known: right wherever one is held, if it stands alone among the
    candidates as it was put in."""

    reader: LoginReader
    has_rounds = False
    one_reading = False
    reachable = True
    relays = False

    async def check(self, question: Question) -> FirstFinding:
        """See ``FirstFactor``."""
        known, hash_ = await self.reader.password_hash(question.attempt.customer)
        if not known:
            return FirstFinding(right=False, reason=Finding.UNKNOWN_CUSTOMER)
        if hash_ is None:
            return FirstFinding(right=True, held=False)
        if _STAND_IN not in question.candidates:
            return FirstFinding(right=False)
        return FirstFinding(right=True, candidate=question.candidates.index(_STAND_IN))


@dataclass
class SaidElsewhere:
    """In the place of a server elsewhere, for a request that another one has answered already. ``right``: what is taken
    to be its word."""

    right: bool
    has_rounds = False
    one_reading = True
    reachable = True
    relays = False

    async def check(self, question: Question) -> FirstFinding:
        """See ``FirstFactor``."""
        return FirstFinding(right=self.right)


@dataclass
class TakenAsRightElsewhere:
    """In the place of a server elsewhere, which is not asked: it would count, and a password of one's own may have been
    typed. ``password``: the one that is taken to be right."""

    password: str
    has_rounds = False
    one_reading = True
    reachable = True
    relays = False

    async def check(self, question: Question) -> FirstFinding:
        """See ``FirstFactor``."""
        return FirstFinding(right=question.candidates[0] == self.password)


def first_factors_for(
    asked: Asked, passwords: Mapping[str, FirstFactor], reader: LoginReader
) -> Mapping[str, FirstFactor]:
    """The first factors for an explanation. ``passwords``: those that ask no server elsewhere."""
    factors = dict(passwords)
    if asked.password is None:
        factors = {
            name: factor if isinstance(factor, Unasked) else PasswordTakenAsRight(reader)
            for name, factor in factors.items()
        }
    password = _STAND_IN if asked.password is None else asked.password
    factors.setdefault(asked.policy.first_factor, TakenAsRightElsewhere(password))
    return factors
