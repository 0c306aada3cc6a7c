"""Attempt in, verdict out: the one way in, for every door. What is decided, the table and the evaluator decide.

First factors and other people's verifiers are awaited here, outside any transaction; then the login goes into the
queue.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import structlog

from otp_core.authentication.kept_attributes import KeptAttributes, with_kept
from otp_core.authentication.queue import LoginQueue, OnVerdict
from otp_core.authentication.readings import Fingerprint, Readings
from otp_core.authentication.wrong_passwords import Counted, WrongPasswords
from otp_core.clock import ClockWrong
from otp_core.first_factor import Accounts, FirstFactor, Question
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.inline_task import InlineTask
from otp_core.login.evaluate import Evaluator
from otp_core.login.requests import (
    CodeFinding,
    FirstFinding,
    LoginRequest,
    NextRound,
    VerifierNeeded,
    read_verifier_state,
)
from otp_core.login.table import Finding, Stage
from otp_core.model import (
    Accept,
    Attempt,
    BackendSilent,
    Challenge,
    Mode,
    OpenChallenge,
    Overloaded,
    Policy,
    Silence,
    Verdict,
)
from otp_core.otp import Fit, normalise_code
from otp_core.store.engine import LoginReader
from otp_core.verifier import CodeQuestion, Verifier

CANCEL_AFTER_SECONDS = 1.0
"""How long after an attempt's deadline a first factor or verifier may still say itself what is wrong."""
_log = structlog.get_logger("authenticator")
_MODE_CODE: Final = Mode.CODE
_STAGE_CODE: Final = Stage.CODE
"""For the shortest way: Python 3.11 takes its time for a member of an enum."""

_ASKING = (Mode.CHALLENGE, Mode.AUTO)
"""Modes that ask for the code."""


class _Ending(Exception):
    """The server ends, and nobody waits for the verdict any more."""


class _Login(InlineTask):
    """A login whose first factor needs no Task: it goes on in the very call that brings the answer. ``under_way``: all
    of them that wait."""

    def __init__(self, work: Coroutine[Any, Any, None], under_way: set[_Login]) -> None:
        super().__init__(work, _nothing)
        self._under_way = under_way
        under_way.add(self)

    def end(self) -> None:
        """See ``InlineTask``."""
        self._under_way.discard(self)


def _nothing() -> None:
    """Nobody else has to hear of the end."""


class Authenticator:
    """Shared by all doors of a process. ``first_factors`` and ``verifiers`` by the names that policies and tokens have
    for them; ``now_ms`` may raise ClockWrong. ``throttle``: for a customer at a station; ``stations``: for a station
    over all customers. ``accounts``: those of the first factors that know customers by other names. ``left_at``: when
    (ms) customers begin to be asked to give up the tokens of a verifier, by its name. ``verifiers_ask``: whether a
    verifier may ask a question of its own."""

    def __init__(
        self,
        queue: LoginQueue,
        login_reader: LoginReader,
        evaluator: Evaluator,
        first_factors: Mapping[str, FirstFactor],
        throttle: PasswordThrottle,
        fingerprint: Fingerprint,
        now_ms: Callable[[], int],
        verifiers: Mapping[str, Verifier] | None = None,
        *,
        stations: StationThrottle,
        kept_attributes: KeptAttributes | None = None,
        accounts: Mapping[str, Accounts] | None = None,
        left_at: Mapping[str, int] | None = None,
        verifiers_ask: bool = False,
    ) -> None:
        self._accounts, self._left_at, self._verifiers_ask = accounts or {}, left_at or {}, verifiers_ask
        self._queue, self._login_reader, self._evaluator = queue, login_reader, evaluator
        self._first_factors, self._verifiers = first_factors, verifiers or {}
        self._fingerprint, self._now_ms = fingerprint, now_ms
        self._wrong_passwords = WrongPasswords(throttle, stations, first_factors)
        self._kept_attributes, self._readings = kept_attributes, Readings(evaluator, fingerprint, now_ms)
        self._tasks: set[asyncio.Task[None]] = set()
        self._logins: set[_Login] = set()
        self._without_task = frozenset(
            name for name, factor in first_factors.items() if getattr(factor, "needs_no_task", False)
        )
        """First factors that keep to the deadline by themselves: no Task and no time-out is spent on them."""
        queue.on_verifier_needed = self._ask_verifier

    def admit(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        """Begin an attempt. ``on_verdict`` is called once, in the loop, when the verdict is durable. A code alone goes
        straight into the queue; anything with a password is checked in a task first."""
        policy = attempt.policy
        if policy.fold_case or (self._accounts and policy.first_factor in self._accounts):
            self._start(self._name_and_admit(attempt, on_verdict))
        elif attempt.challenge is None and policy.mode is _MODE_CODE:  # the shortest way: no call that can be spared
            self._submit(LoginRequest(attempt, _STAGE_CODE, code=attempt.user_password), on_verdict)
        else:
            self._admit(attempt, on_verdict)

    async def _name_and_admit(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        try:
            named = await self.with_contract_id(attempt)
        except BackendSilent as error:
            on_verdict(Silence(str(error), busy=isinstance(error, Overloaded)))
        except Exception:
            _failed("whose name this is could not be looked up", on_verdict)
        else:
            self._admit(named, on_verdict)

    async def with_contract_id(self, attempt: Attempt) -> Attempt:
        """The attempt by the customer's contract ID, in the case in which it is stored, if it came under another name
        that the first factor knows them by. Before anything is counted: so it is counted once, whichever name is typed.
        Raises BackendSilent."""
        accounts = None if attempt.policy.mode is Mode.CODE else self._accounts.get(attempt.policy.first_factor)
        if accounts is not None:
            try:
                async with asyncio.timeout_at(_cancelled_at(attempt)):
                    account = await accounts.account_of(attempt.customer, attempt.deadline)
            except TimeoutError:
                name = attempt.policy.first_factor
                raise BackendSilent(f"the first factor {name!r} did not say in time whose name this is") from None
            attempt = attempt._replace(customer=account.customer, account=account)
        if attempt.policy.fold_case:
            attempt = attempt._replace(customer=await self.in_stored_case(attempt.customer))
        return attempt

    async def in_stored_case(self, name: str) -> str:
        """The contract ID as it is stored: as it was typed, or else the one that is all in lower case, all in upper
        case or capitalised. The name itself if there is none, or more than one. Raises BackendSilent."""
        if await self._login_reader.login_record(name) is not None:
            return name
        others = dict.fromkeys((name.lower(), name.upper(), name.capitalize()))
        found = [other for other in others if await self._login_reader.login_record(other) is not None]
        return found[0] if len(found) == 1 else name

    def _admit(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        if attempt.challenge is None:
            self._first_round(attempt, on_verdict)
        elif attempt.policy.mode in _ASKING and not self._looks_at_challenges(attempt.policy):
            self._submit(self._second_round(attempt), on_verdict)
        else:
            self._start(self._answer_challenge(attempt, attempt.challenge, on_verdict))

    def _first_round(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        if attempt.policy.mode is Mode.CODE:
            self._submit(LoginRequest(attempt, Stage.CODE, code=attempt.user_password), on_verdict)
        else:
            work = self._check_and_submit(attempt, None, on_verdict)
            if attempt.policy.first_factor in self._without_task:
                _Login(work, self._logins).begin()
            else:
                self._start(work)

    async def check_password(self, attempt: Attempt) -> bool:
        """The first factor alone, for pages that ask for it before anything else. False also if there is no such
        customer, if no password is held for them, if the first factor asks a further question, or if this one would
        have had to wait past the attempt's deadline. No verdict and no audit row: those are the caller's. Raises
        BackendSilent."""
        throttle = self._wrong_passwords
        counted = throttle.counted(attempt, of_a_page=True)
        try:
            if not await throttle.enter(counted, attempt.deadline):
                return False
        except TimeoutError:
            return False
        try:
            try:
                found = await self._ask_first_factor(Question(attempt, (attempt.user_password,)))
            except BackendSilent as error:
                throttle.not_looked_at(error, counted)
                raise
            if not (isinstance(found, FirstFinding) and found.right and found.held):
                return False
            if await self._login_reader.login_record(attempt.customer) is None:
                return False
            throttle.passed(counted)
            return True
        finally:
            throttle.leave(counted)

    def counted_as(self, attempt: Attempt) -> str:
        """The name that wrong passwords are counted by."""
        return self._wrong_passwords.counted_as(attempt)

    async def close(self) -> None:
        """Cancel the first factors and verifiers under way. The doors have waited for them as long as they may."""
        for login in list(self._logins):
            login.throw(_Ending())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Into the queue

    def _submit(self, request: LoginRequest, on_verdict: OnVerdict) -> None:
        if request.code is not None:
            request.fingerprint = self._repeated_login_fingerprint(request.attempt, request.code)
        self._queue.submit(request, on_verdict)

    def _submit_second_round(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        """Where an acceptance depends on the attributes that the first factor brought: a copy of an accepted answer
        gets the same ones, or silence. Its challenge is used up, and they were kept with it."""
        request = self._second_round(attempt)
        self._submit(request, self._keeping_attributes(request, on_verdict))

    def _keeping_attributes(self, request: LoginRequest, on_verdict: OnVerdict) -> OnVerdict:
        attempt, kept = request.attempt, self._kept_attributes
        factor = self._first_factors.get(attempt.policy.first_factor)
        if factor is None or not factor.relays or kept is None:
            return on_verdict

        def deliver(verdict: Verdict) -> None:
            fingerprint = attempt.fingerprint if request.fingerprint is None else request.fingerprint
            on_verdict(with_kept(verdict, kept, fingerprint))

        return deliver

    def _second_round(self, attempt: Attempt) -> LoginRequest:
        fingerprint = self._fingerprint(normalise_code(attempt.user_password).encode())
        return LoginRequest(attempt, Stage.SECOND_ROUND, code=attempt.user_password, text_fingerprint=fingerprint)

    def _repeated_login_fingerprint(self, attempt: Attempt, code: str) -> int | None:
        """Recognises the same login when a gateway sends it anew under another identifier; None where that is not
        wanted. Never made of the password: with store and key, a fast fingerprint could be guessed from."""
        if not attempt.policy.repeated_login_seconds:
            return None
        parts = (attempt.client, attempt.customer, normalise_code(code))
        return self._fingerprint(b"join", attempt.challenge or b"", *(part.encode() for part in parts))

    # First factors

    async def _answer_challenge(self, attempt: Attempt, state: bytes, on_verdict: OnVerdict) -> None:
        """The State may be one of the first factor's own rounds, or one that asks for the code. In a mode that never
        asks, one that is not ours is ignored: gateways repeat what other servers gave them."""
        try:
            challenge = await self._login_reader.open_challenge(state)
            is_asked = challenge is not None and await self._is_asked(challenge, attempt)
            put = None if challenge is None else read_verifier_state(challenge.first_factor_state)
        except BackendSilent as error:
            on_verdict(Silence(str(error)))
            return
        except Exception:
            _failed("a challenge could not be looked up", on_verdict)
            return
        policy = attempt.policy
        if put is not None:
            await self._answer_verifier(attempt, put, on_verdict, is_asked=is_asked)
            return
        may_ask = policy.mode in _ASKING or self._has_rounds(policy) or self._verifiers_ask
        if not may_ask and (challenge is None or challenge.client != attempt.client):
            self._first_round(attempt._replace(challenge=None), on_verdict)
        elif challenge is None or challenge.first_factor_state is None:
            self._submit_second_round(attempt, on_verdict)
        elif not is_asked:
            # The first factor is not told: its question would be used up, by somebody whom it was not put to.
            gone = FirstFinding(right=False, reason=Finding.CHALLENGE_GONE)
            self._submit(LoginRequest(attempt, _stage_of_round(policy), gone), on_verdict)
        else:
            await self._check_and_submit(attempt, challenge.first_factor_state, on_verdict)

    async def _answer_verifier(
        self, attempt: Attempt, put: tuple[str, str, str], on_verdict: OnVerdict, *, is_asked: bool
    ) -> None:
        """The answer to a question of a verifier's own. It is not told of one by somebody whom it was not put to."""
        name, token_id, state = put
        request, needed = (
            LoginRequest(attempt, Stage.VERIFIER_ROUND),
            VerifierNeeded(token_id, name, attempt.user_password),
        )
        verifier = self._verifiers.get(name)
        if not is_asked:
            request.code_findings = (CodeFinding(token_id, Fit.WRONG, None, Finding.CHALLENGE_GONE),)
            self._submit(request, on_verdict)
        elif verifier is None:
            on_verdict(Silence(f"the verifier {name!r} of token {token_id} is not configured"))
        else:
            deliver = self._keeping_attributes(request, on_verdict)
            await self._verify_and_submit(verifier, request, needed, deliver, state)

    async def _is_asked(self, challenge: OpenChallenge, attempt: Attempt) -> bool:
        """Whether it is a question that was put to this customer at this client. The evaluator looks again, and at the
        time. Raises BackendSilent."""
        if challenge.first_factor_state is None:
            return False
        record = await self._login_reader.login_record(attempt.customer)
        mine = record is not None and record.customer_key == challenge.customer_key
        return mine and challenge.client == attempt.client

    async def _check_and_submit(self, attempt: Attempt, state: bytes | None, on_verdict: OnVerdict) -> None:
        """Throttle, first factor, queue. The throttle hears of the verdict, whatever it is."""
        throttle = self._wrong_passwords
        counted = throttle.counted(attempt)
        try:
            if not await throttle.enter(counted, attempt.deadline):
                # Refused without a look at the password, so the answer tells nothing about it.
                unseen = FirstFinding(right=False, reason=Finding.TOO_SOON)
                self._submit(LoginRequest(attempt, Stage.FIRST_ROUND, unseen), on_verdict)
                return
        except TimeoutError:
            on_verdict(Silence("a password waited longer in line than the gateway would", busy=True))
            return
        except _Ending:
            return
        except Exception:
            _failed("wrong passwords could not be counted", on_verdict)
            return
        request: LoginRequest | None = None
        try:
            request = await self._checked(attempt, state)
        except BackendSilent as error:
            throttle.not_looked_at(error, counted)
            on_verdict(Silence(str(error), busy=isinstance(error, Overloaded)))
        except _Ending:
            pass
        except Exception:
            _failed("the first factor failed", on_verdict)
        finally:
            if request is None:
                throttle.leave(counted)
        if request is not None:
            self._submit(request, partial(self._told, counted, on_verdict))

    def _told(self, counted: Counted, on_verdict: OnVerdict, verdict: Verdict) -> None:
        """The verdict of a login whose password was looked at."""
        throttle = self._wrong_passwords
        try:
            if isinstance(verdict, Challenge) and verdict.prompt is not None:
                # Neither right nor wrong yet. Counted as right, it would forget the wrong answers before it.
                throttle.take_back(counted)
            elif isinstance(verdict, Accept | Challenge):
                # By the verdict, not by the password: otherwise the next delay would tell that it was right.
                throttle.passed(counted)
        finally:
            throttle.leave(counted)
        on_verdict(verdict)

    async def _ask_first_factor(self, question: Question) -> FirstFinding | NextRound:
        """What the first factor of the attempt's policy found. Raises BackendSilent, also after the deadline."""
        attempt = question.attempt
        factor = self._first_factor(attempt.policy)
        if factor.one_reading and question.state is None and _is_empty(attempt, question.candidates[0]):
            return FirstFinding(right=False)  # some servers take an empty password for a question who is there
        if attempt.policy.first_factor in self._without_task:
            return await factor.check(question)
        try:
            async with asyncio.timeout_at(_cancelled_at(attempt)):
                return await factor.check(question)
        except TimeoutError:
            raise BackendSilent(f"the first factor {attempt.policy.first_factor!r} did not answer in time") from None

    def _first_factor(self, policy: Policy) -> FirstFactor:
        """Raises BackendSilent for one that is not there: a reload may name what only a restart makes."""
        factor = self._first_factors.get(policy.first_factor)
        if factor is None:
            raise BackendSilent(f"there is no first factor {policy.first_factor!r} yet: it waits for a restart")
        return factor

    def _looks_at_challenges(self, policy: Policy) -> bool:
        """Whether the answer to a challenge may be one to the first factor, or needs what it brought."""
        factor = self._first_factors.get(policy.first_factor)
        return self._verifiers_ask or (factor is not None and (factor.has_rounds or factor.relays))

    def _has_rounds(self, policy: Policy) -> bool:
        factor = self._first_factors.get(policy.first_factor)
        return factor is not None and factor.has_rounds

    def relays(self, first_factor: str) -> bool:
        """Whether the first factor of this name is told what the gateway's request holds."""
        factor = self._first_factors.get(first_factor)
        return factor is not None and factor.relays

    def reachable(self, first_factor: str) -> bool:
        """Whether the first factor of this name would answer, as far as is known."""
        factor = self._first_factors.get(first_factor)
        return factor is not None and factor.reachable

    async def _checked(self, attempt: Attempt, state: bytes | None) -> LoginRequest:
        """The request for the queue: the reading whose password is right, or else the last. Raises BackendSilent."""
        if state is None:
            one_reading, record = self._first_factor(attempt.policy).one_reading, None
            if not (one_reading and attempt.policy.mode is Mode.PASSWORD):  # there is nothing to tell apart
                record = await self._login_reader.login_record(attempt.customer)
            if one_reading:
                readings, most = [self._readings.one_of(attempt, record)], 1
            else:
                readings, most = self._readings.all_of(attempt, record)
        else:
            readings, most = [(LoginRequest(attempt, _stage_of_round(attempt.policy)), attempt.user_password)], 1
        passwords = tuple(password for _, password in readings)
        found = await self._ask_first_factor(Question(attempt, passwords, most, state))
        request = readings[-1][0]
        if isinstance(found, NextRound):
            request.first = FirstFinding(right=False, reason=Finding.FIRST_FACTOR_ASKS)
            request.next_round = found
            return request
        if found.right and found.held and not passwords[found.candidate] and not _has_chap(attempt):
            # Whatever a back end makes of an empty password (an imported hash of one, an unauthenticated LDAP bind).
            found = FirstFinding(right=False)
        if found.right and found.held:
            request = readings[found.candidate][0]
        elif found.right:
            # Where no password is held nothing tells the readings apart: what may be a code is one, and is counted.
            request = next((one for one, _ in readings if one.code is not None), request)
        request.first = found
        return request

    # Codes that are verified elsewhere

    def _ask_verifier(self, request: LoginRequest, needed: VerifierNeeded, on_verdict: OnVerdict) -> None:
        """The queue came upon a token whose codes somebody else knows: ask, then back into the queue."""
        verifier = self._verifiers.get(needed.verifier)
        if verifier is None:
            on_verdict(Silence(f"the verifier {needed.verifier!r} of token {needed.token_id} is not configured"))
        else:
            self._start(self._verify_and_submit(verifier, request, needed, on_verdict))

    async def _verify_and_submit(
        self,
        verifier: Verifier,
        request: LoginRequest,
        needed: VerifierNeeded,
        on_verdict: OnVerdict,
        state: str = "",
    ) -> None:
        try:
            async with asyncio.timeout_at(_cancelled_at(request.attempt)):
                question = CodeQuestion(needed.token_id, needed.code, request.attempt.customer, request.attempt, state)
                found = await verifier.verify(question)
        except TimeoutError:
            on_verdict(Silence(f"the verifier {needed.verifier!r} did not answer in time"))
        except BackendSilent as error:
            on_verdict(Silence(str(error), busy=isinstance(error, Overloaded)))
        except Exception:
            _log.exception("a verifier failed", verifier=needed.verifier)
            on_verdict(Silence("the verifier failed"))
        else:
            request.code_findings = (*request.code_findings, found)
            if self._is_left(needed.verifier):
                on_verdict = partial(_asked_to_change, on_verdict)
            self._queue.submit(request, on_verdict)

    def _is_left(self, verifier: str) -> bool:
        """Whether this verifier's tokens are to be given up by now."""
        left_at = self._left_at.get(verifier)
        try:
            return left_at is not None and self._now_ms() >= left_at
        except ClockWrong:
            return False


def _failed(what: str, on_verdict: OnVerdict) -> None:
    """A fault of ours, for the log with its traceback, and for who waits: a login without a verdict would be waited for
    for ever, and keep its place at the door. Called where the fault was caught."""
    _log.exception(what)
    on_verdict(Silence(what))


def _asked_to_change(on_verdict: OnVerdict, verdict: Verdict) -> None:
    """The customer is let in, and asked to change to another token."""
    on_verdict(replace(verdict, change_token=True) if isinstance(verdict, Accept) else verdict)


def _stage_of_round(policy: Policy) -> Stage:
    """What the answer to a question of the first factor's own is a part of."""
    return Stage.PASSWORD if policy.mode is Mode.PASSWORD else Stage.FIRST_ROUND


def _is_empty(attempt: Attempt, password: str) -> bool:
    """Whether nothing was typed as the password, also if only a hash of that came."""
    told = attempt.forwarded
    if told is not None and told.ms_chap is not None:
        return told.ms_chap.of_nothing
    if told is not None and told.chap is not None:
        return told.chap.is_made_with(b"")
    return not password


def _has_chap(attempt: Attempt) -> bool:
    """Whether the place of the password is empty because something else stands for it."""
    return attempt.forwarded is not None and attempt.forwarded.has_no_password


def _cancelled_at(attempt: Attempt) -> float | None:
    """The loop's time at which a first factor or verifier that has not answered is cancelled."""
    if math.isinf(attempt.deadline):
        return None
    return max(attempt.deadline, asyncio.get_running_loop().time()) + CANCEL_AFTER_SECONDS
