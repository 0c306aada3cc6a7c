"""What a login would be answered, and why. The code that answers logins decides, on what the store says now.

Nothing is written: the batch reads the facts and keeps the decision to itself, the throttles count in a copy of their
file, no password hash is renewed, and no other server is asked about a code. It tells nobody a password or a code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from otp_core.audit import Ids
from otp_core.authentication.authenticator import Authenticator
from otp_core.authentication.dry_run import (
    Asked,
    Conversation,
    ReadingBatch,
    Round,
    SaidElsewhere,
    answer_of,
    finding_of,
    first_factors_for,
)
from otp_core.authentication.queue import LoginQueue
from otp_core.clock import GuardedClock
from otp_core.first_factor import Accounts, FirstFactor
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.login.evaluate import Evaluator
from otp_core.login.lockout import seconds_to_wait
from otp_core.login.next_step import NextStep, next_steps
from otp_core.login.requests import LOCAL_VERIFIER, Decision
from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import (
    Accept,
    Attempt,
    BackendSilent,
    Kind,
    LoginRecord,
    LoginToken,
    Mode,
    OtpUse,
    Silence,
    StoreUnavailable,
    Verdict,
)
from otp_core.otp import Fit, is_code, normalise_code, step_at
from otp_core.sealing import KeyProblem
from otp_core.station import counted_station
from otp_core.store.engine import LoginReader

__all__ = ["Asked", "Explainer", "Explanation", "Round", "Throttles", "TokenFit", "Wouldbe"]


class TokenFit(NamedTuple):
    """How the code stands to one of the customer's tokens. ``fit``: None where nobody has looked; ``away``: steps or
    counters from where it was expected, late ones negative; ``words``: for staff. ``last_at``: ms, 0 for never.
    ``near``: a wrong code that the token shows at another time."""

    token_id: str
    fit: Fit | None
    away: int | None
    words: str
    last_at: int
    near: bool = False


@dataclass(frozen=True)
class Explanation:
    """``rounds``: the requests, in their order; the last one's answer counts. ``code_missing``: it depends on the code,
    and none was given. ``record``: the customer as they are now, None: there is none. ``wait_seconds``: until the delay
    after wrong answers is over. ``wrong_passwords``: lately, at this station. ``effects``: what a real login would
    change. ``near``: as for ``next_steps``."""

    asked: Asked
    rounds: tuple[Round, ...]
    record: LoginRecord | None = None
    code_missing: bool = False
    wait_seconds: float = 0.0
    wrong_passwords: int = 0
    tokens: tuple[TokenFit, ...] = ()
    effects: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    near: bool = False

    @property
    def last(self) -> Round:
        """The request whose answer counts."""
        return self.rounds[-1]

    @property
    def next_steps(self) -> tuple[NextStep, ...]:
        """What to do now."""
        verdict, finding = self.last.verdict, self.last.finding
        if isinstance(verdict, Accept):
            return ()
        if finding is None:
            return (NextStep.DOCTOR,) if isinstance(verdict, Silence) else ()
        if self.record is None:
            return next_steps(finding, None)
        locked = self.record.locked_at is not None
        return next_steps(finding, OtpUse(self.record.otp_use), near=self.near, locked=locked)


class Wouldbe(NamedTuple):
    """What one request would be answered. ``finding`` None: nobody can say. ``record``: the customer's; None:
    there is none. ``steps``: of each token's code that would be spent, by its key."""

    verdict: Verdict
    finding: Finding | None
    record: LoginRecord | None
    steps: tuple[tuple[int, int], ...]


@dataclass
class Throttles:
    """Those of the server, over a copy of what is counted."""

    passwords: PasswordThrottle
    stations: StationThrottle


class Explainer:
    """``passwords``: the first factors by name, without those that would ask a server elsewhere. ``at``: the moment
    (ms) at which everything is looked at. ``accounts``: as the authenticator's; they are asked whose name it is, and
    about no password. Belongs to one event loop."""

    def __init__(
        self,
        reader: LoginReader,
        evaluator: Evaluator,
        passwords: dict[str, FirstFactor],
        throttles: Throttles,
        fingerprint: Callable[..., int],
        at: int,
        accounts: Mapping[str, Accounts] | None = None,
    ) -> None:
        self._accounts = accounts
        self._reader, self._evaluator, self._passwords = reader, evaluator, passwords
        self._throttles, self._fingerprint, self._at = throttles, fingerprint, at

    async def explain(self, asked: Asked) -> Explanation:
        """What this login would be answered. Raises StoreUnavailable."""
        typed = asked.customer
        try:
            asked = asked._replace(customer=await self._contract_id(asked))
        except StoreUnavailable:
            raise
        except BackendSilent as error:
            return Explanation(asked, (Round("", Silence(str(error)), None, str(error)),))
        batch = ReadingBatch(self._reader)
        authenticator = self._authenticator(asked, batch)
        try:
            record = await self._reader.login_record(asked.customer)
            tokens = self._fits(record, asked.code)
            passwords = self._passwords_counted(asked, authenticator.counted_as(asked.attempt))
            rounds = await Conversation(asked, authenticator).hold()
        finally:
            await authenticator.close()
        found = self._explained(asked, rounds, record, tokens, passwords, batch.decision)
        if asked.customer == typed:
            return found
        return replace(found, notes=(*found.notes, f"{typed} was typed, and this is the customer {asked.customer}"))

    async def _contract_id(self, asked: Asked) -> str:
        """Whose name was typed, as the login itself finds out. Raises BackendSilent."""
        authenticator = self._authenticator(asked, ReadingBatch(self._reader), self._accounts)
        try:
            deadline = asyncio.get_running_loop().time() + asked.seconds
            return (await authenticator.with_contract_id(asked.attempt._replace(deadline=deadline))).customer
        finally:
            await authenticator.close()

    async def answer_to(self, attempt: Attempt, *, right_elsewhere: bool) -> Wouldbe:
        """What this request alone would be answered. ``right_elsewhere``: what a server elsewhere, which is not asked,
        is taken to say of the password. Raises StoreUnavailable."""
        batch = ReadingBatch(self._reader)
        factors = dict(self._passwords)
        if attempt.policy.first_factor not in factors:
            factors[attempt.policy.first_factor] = SaidElsewhere(right_elsewhere)
        authenticator = self._put_together(factors, batch)
        try:
            record = await self._reader.login_record(attempt.customer)
            verdict = await answer_of(authenticator, attempt)
        finally:
            await authenticator.close()
        finding = finding_of(verdict)
        if finding is None and batch.verifier_needed:
            finding = Finding.VERIFIER_NEEDED
        steps = tuple((update.token_key, update.step) for update in batch.decision.step_updates)
        return Wouldbe(verdict, finding, record, steps)

    def _passwords_counted(self, asked: Asked, name: str) -> tuple[int, float]:
        """Wrong passwords under this name at this station, and seconds that the next one would wait."""
        throttle, station = self._throttles.passwords, counted_station(asked.attempt)
        return throttle.failures(name, station), throttle.seconds_to_wait(name, station)

    def _authenticator(
        self, asked: Asked, batch: ReadingBatch, accounts: Mapping[str, Accounts] | None = None
    ) -> Authenticator:
        """The server's, with a batch that writes nothing. Without ``accounts`` a name is the contract ID."""
        return self._put_together(first_factors_for(asked, self._passwords, self._reader), batch, accounts)

    def _put_together(
        self,
        factors: Mapping[str, FirstFactor],
        batch: ReadingBatch,
        accounts: Mapping[str, Accounts] | None = None,
    ) -> Authenticator:
        clock = GuardedClock(lambda: self._at / 1000)
        queue = LoginQueue(batch, self._evaluator, clock, Ids())
        return Authenticator(
            queue,
            self._reader,
            self._evaluator,
            factors,
            self._throttles.passwords,
            self._fingerprint,
            clock.now,
            stations=self._throttles.stations,
            accounts=accounts,
        )

    def _explained(
        self,
        asked: Asked,
        rounds: tuple[Round, ...],
        record: LoginRecord | None,
        tokens: tuple[TokenFit, ...],
        passwords: tuple[int, float],
        decision: Decision,
    ) -> Explanation:
        last, rules = rounds[-1], self._evaluator.rules
        near = [one for one in tokens if one.near] if last.finding is Finding.WRONG else []
        if near:
            alone = len(tokens) == 1
            misses = (one.words if alone else f"{one.words}, of token {one.token_id}" for one in near)
            rounds = (*rounds[:-1], last._replace(why=f"{last.why}: {'; '.join(misses)}"))
        return Explanation(
            asked,
            rounds,
            record,
            asked.code is None and last.finding is Finding.NOT_A_CODE,
            max(passwords[1], 0.0 if record is None else seconds_to_wait(record, self._at, rules)),
            passwords[0],
            tokens,
            _effects(decision, record, rules.lock_after),
            self._notes(asked, record, last.finding),
            bool(near),
        )

    def _notes(self, asked: Asked, record: LoginRecord | None, finding: Finding | None) -> tuple[str, ...]:
        notes, factor = _notes_of(asked, record, finding), asked.policy.first_factor
        if asked.policy.mode is Mode.CODE or asked.password is None or factor in self._passwords:
            return notes
        return (*notes, f"{factor} was not asked about the password: it is taken to be right")

    def _fits(self, record: LoginRecord | None, code: str | None) -> tuple[TokenFit, ...]:
        if record is None:
            return ()
        return tuple(
            self._fit(record, token, None if code is None else normalise_code(code)) for token in record.tokens
        )

    def _fit(self, record: LoginRecord, token: LoginToken, code: str | None) -> TokenFit:
        def found(words: str, fit: Fit | None = None, away: int | None = None) -> TokenFit:
            return TokenFit(token.token_id, fit, away, words, token.last_at)

        if code is None:
            return found("")
        if not is_code(code, token.digits):
            return found(f"not a code of this token: its codes have {token.digits} digits")
        if token.verifier != LOCAL_VERIFIER:
            return found(f"not looked at: {token.verifier} verifies this token's codes")
        try:
            fit, step = self._evaluator.fit(token, code, self._at)
        except KeyProblem as error:
            return found(str(error))
        away = step - _expected(token, self._at)
        match fit:
            case Fit.FITS:
                return found(f"right code{_off(token, away)}", fit, away)
            case Fit.REUSED:
                return found(_used(token, step), fit, away)
            case Fit.WRONG:
                near = self._evaluator.near_miss(replace(record, tokens=[token]), code, self._at)
                return found(near or FINDING_TEXT[Finding.WRONG], fit)._replace(near=bool(near))
            case Fit.RESYNC_NEEDED:
                return found(FINDING_TEXT[Finding.RESYNC_NEEDED], fit)


def _expected(token: LoginToken, at: int) -> int:
    """The step or counter that is due."""
    return step_at(at, token.period) + token.drift if token.kind == Kind.TOTP else token.last_step + 1


def _off(token: LoginToken, away: int) -> str:
    if not away:
        return ""
    unit, words = ("step", ("late", "early")) if token.kind == Kind.TOTP else ("counter", ("behind", "ahead"))
    return f", {abs(away)} {unit}{'' if abs(away) == 1 else 's'} {words[away > 0]}"


def _used(token: LoginToken, step: int) -> str:
    if step == token.last_step:
        return "used already: the code that was accepted last"
    if step < token.last_step:
        return "used already, or shown before the code that was accepted last"
    return "used already, while the clock stood in the future"


def _effects(decision: Decision, record: LoginRecord | None, lock_after: int) -> tuple[str, ...]:
    """What the decision would write, beside challenges and the audit trail's row of the login."""
    of = {token.key: token.token_id for token in record.tokens} if record else {}
    found = [f"spend the code on {of.get(update.token_key, 'a token')}" for update in decision.step_updates]
    for update in decision.failure_updates.values():
        if update.failures:
            found.append(f"count a wrong code: {update.failures} of {lock_after}")
        else:
            found.append("set the count of wrong codes to 0")
    return (*found, *("lock the customer" for _ in decision.locked))


def _notes_of(asked: Asked, record: LoginRecord | None, finding: Finding | None) -> tuple[str, ...]:
    mode, found = asked.policy.mode, []
    if asked.password is None and mode is not Mode.CODE:
        found.append("no password was given: it is taken to be right")
    if asked.code is not None and mode is Mode.PASSWORD:
        found.append("this client never asks for a code: it was not looked at")
    if asked.password is not None and mode is Mode.CODE:
        found.append("this client checks the password itself: it was not looked at")
    active = record is not None and record.otp_use == OtpUse.ACTIVE
    together = mode in (Mode.APPEND, Mode.AUTO) and asked.code is not None
    if finding is Finding.WRONG_PASSWORD and together and record is not None and not active:
        found.append("the customer has no active token, so what stands beside the password is taken as part of it")
    return tuple(found)
