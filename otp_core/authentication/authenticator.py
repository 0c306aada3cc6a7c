"""Attempt in, verdict out: the one way in, for every door. First factors are awaited here, outside any transaction;
then the case goes onto the login queue. What is decided, login.py's table and the evaluator decide.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from otp_core.authentication.queue import LoginQueue, OnVerdict
from otp_core.first_factor import FirstFactor
from otp_core.first_factor.throttle import PasswordThrottle
from otp_core.login.evaluate import Evaluator
from otp_core.login.requests import FirstFinding, LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import (
    Accept,
    Attempt,
    BackendSilent,
    Challenge,
    LoginRecord,
    Mode,
    OtpUse,
    Overloaded,
    Silence,
    Verdict,
)
from otp_core.otp import Fit, code_at_the_end, is_code, normalise_code
from otp_core.store.sqlite.login_batch import LoginReader

_log = structlog.get_logger("authenticator")
_USUAL_DIGITS = 6
"""Of a code, where nobody's token says."""

Fingerprint = Callable[..., int]


class Authenticator:
    """All doors share one."""

    def __init__(
        self,
        queue: LoginQueue,
        login_reader: LoginReader,
        evaluator: Evaluator,
        first_factor: FirstFactor,
        throttle: PasswordThrottle,
        fingerprint: Fingerprint,
        now_ms: Callable[[], int],
    ) -> None:
        self._queue, self._login_reader, self._evaluator = queue, login_reader, evaluator
        self._first_factor, self._throttle, self._fingerprint, self._now_ms = (
            first_factor,
            throttle,
            fingerprint,
            now_ms,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        """Begin an attempt. ``on_verdict`` is called once, in the loop. A code alone goes straight onto the queue."""
        if attempt.challenge is not None:
            fingerprint = self._fingerprint(normalise_code(attempt.user_password).encode())
            self._submit(
                LoginRequest(attempt, Stage.SECOND_ROUND, code=attempt.user_password, password_fingerprint=fingerprint),
                on_verdict,
            )
        elif attempt.policy.mode is Mode.CODE:
            self._submit(LoginRequest(attempt, Stage.CODE, code=attempt.user_password), on_verdict)
        else:
            task = asyncio.get_running_loop().create_task(self._admit_with_password(attempt, on_verdict))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def check_password(self, attempt: Attempt) -> LoginRecord | None:
        """The first factor alone, for pages that ask for it before anything else: the customer as of now if the
        password is right, None if it is not, is not kept here, or would have had to wait past the attempt's deadline.
        No verdict and no audit row: those are the caller's. Raises BackendSilent."""
        customer, source = attempt.customer, _source(attempt)
        max_wait = attempt.deadline - asyncio.get_running_loop().time()
        try:
            if not await self._throttle.enter(customer, source, max_wait):
                return None
        except TimeoutError:
            return None
        try:
            record, hash_ = self._login_reader.credentials(customer) or (None, None)
            found = await self._first_factor.verify(attempt, attempt.user_password, record, hash_)
            if record is None or not (found.right and found.held):
                return None
            self._throttle.passed(customer, source)
            return record
        finally:
            self._throttle.leave(customer, source)

    async def close(self) -> None:
        """Give up the first factors under way: the doors have waited for them as long as they may."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _submit(self, request: LoginRequest, on_verdict: OnVerdict) -> None:
        if request.code is not None:
            request.fingerprint = self._repeated_login_fingerprint(request.attempt, request.code)
        self._queue.submit(request, on_verdict)

    def _repeated_login_fingerprint(self, attempt: Attempt, code: str) -> int | None:
        """What counts as the same login for a gateway that sends it anew: never the password, which a fast fingerprint
        would give away to whoever holds store and key. None where nothing is joined."""
        if not attempt.policy.repeated_login_seconds:
            return None
        parts = (attempt.client, attempt.customer, normalise_code(code))
        return self._fingerprint(b"join", attempt.challenge or b"", *(part.encode() for part in parts))

    async def _admit_with_password(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        customer, source = attempt.customer, _source(attempt)
        max_wait = attempt.deadline - asyncio.get_running_loop().time()
        try:
            if not await self._throttle.enter(customer, source, max_wait):
                # Not looked at, so there is nothing to learn from the answer.
                unseen = FirstFinding(right=False, reason=Finding.TOO_SOON)
                self._submit(LoginRequest(attempt, Stage.FIRST_ROUND, unseen), on_verdict)
                return
        except TimeoutError:
            on_verdict(Silence("a password waited longer in line than the gateway would", busy=True))
            return
        with contextlib.ExitStack() as inside:
            inside.callback(self._throttle.leave, customer, source)
            try:
                request = await self._check_password(attempt)
            except BackendSilent as error:
                on_verdict(Silence(str(error), busy=isinstance(error, Overloaded)))
                return
            except Exception:
                _log.exception("the first factor failed")
                on_verdict(Silence("the first factor failed"))
                return
            until_told = inside.pop_all()

        def deliver(verdict: Verdict) -> None:
            with until_told:
                if isinstance(verdict, Accept | Challenge):
                    # By the verdict, not by the password: otherwise the next delay would tell that it was right.
                    self._throttle.passed(customer, source)
            on_verdict(verdict)

        self._submit(request, deliver)

    async def _check_password(self, attempt: Attempt) -> LoginRequest:
        """The case for the login queue: the first reading whose password is right, or else the last."""
        record, hash_ = self._login_reader.credentials(attempt.customer) or (None, None)
        for request, password in self._readings(attempt, record):
            request.first = await self._first_factor.verify(attempt, password, record, hash_)
            # Where no password is held nothing tells the readings apart: what may be a code is one, and is counted.
            if request.first.right and (request.first.held or request.code is not None):
                break
        return request

    def _readings(self, attempt: Attempt, record: LoginRecord | None) -> list[tuple[LoginRequest, str]]:
        """What of the text is the password and what the code, as the mode has it; never none."""
        mode, user_password = attempt.policy.mode, attempt.user_password
        if mode is Mode.PASSWORD:
            return [(LoginRequest(attempt, Stage.PASSWORD), user_password)]
        digits = record.digits if record and record.otp_use == OtpUse.ACTIVE else None
        stage = Stage.BOTH if mode is Mode.APPEND else Stage.FIRST_ROUND
        whole = (
            LoginRequest(attempt, stage, password_fingerprint=self._code_shaped_fingerprint(user_password, digits)),
            user_password,
        )
        if mode is Mode.CHALLENGE:
            return [whole]
        length = code_at_the_end(user_password, digits or _USUAL_DIGITS)
        if record is None or digits is None:
            # Twice, so that the time does not tell who has a token.
            return [whole, whole] if length and mode is Mode.AUTO else [whole]
        if not length:
            return [whole] if mode is Mode.AUTO else [(LoginRequest(attempt, Stage.BOTH, code=""), user_password)]
        password, tail = user_password[:-length], user_password[-length:]
        # A code equal to the password is a client that repeats one answer: not an attempt.
        split = LoginRequest(attempt, Stage.BOTH, code="" if tail == password else tail), password
        if mode is Mode.APPEND:
            return [split]
        # Mode auto: the likelier reading first, the other if its password is wrong. So a wrong code behind the right
        # password is counted as one, and a text with a wrong password takes as long whether its code fits or not.
        fit, _ = self._evaluator.fit(record, normalise_code(tail), self._now_ms())
        return [split, whole] if fit is Fit.FITS else [whole, split]

    def _code_shaped_fingerprint(self, user_password: str, digits: int | None) -> int | None:
        code = normalise_code(user_password)
        return self._fingerprint(code.encode()) if digits and is_code(code, digits) else None


def _source(attempt: Attempt) -> str:
    return attempt.calling_station_id or attempt.client
