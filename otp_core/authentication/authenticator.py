"""Attempt in, verdict out: the one way in, for every door. First factors are awaited here, outside any transaction;
then the case goes onto the docket. What is decided, login.py's table and the judge decide.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from otp_core.docket import Docket, Tell
from otp_core.first_factor import FirstFactor
from otp_core.first_factor.turnstile import Turnstile
from otp_core.judge import Case, FirstFinding, Judge
from otp_core.login import Finding, Stage
from otp_core.model import (
    Accept,
    Attempt,
    BackendSilent,
    Challenge,
    Mode,
    OtpUse,
    Overloaded,
    Silence,
    Standing,
    Verdict,
)
from otp_core.otp import Fit, code_at_the_end, is_code, normalise_code
from otp_core.store.ledger import Enquiries

_log = structlog.get_logger("authenticator")
_USUAL_DIGITS = 6
"""Of a code, where nobody's token says."""

Mark = Callable[..., int]


class Authenticator:
    """All doors share one."""

    def __init__(
        self,
        docket: Docket,
        enquiries: Enquiries,
        judge: Judge,
        first_factor: FirstFactor,
        turnstile: Turnstile,
        mark: Mark,
        now_ms: Callable[[], int],
    ) -> None:
        self._docket, self._enquiries, self._judge = docket, enquiries, judge
        self._first_factor, self._turnstile, self._mark, self._now_ms = first_factor, turnstile, mark, now_ms
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, attempt: Attempt, tell: Tell) -> None:
        """Take an attempt on; ``tell`` hears the verdict once. A code alone goes straight onto the docket."""
        if attempt.challenge is not None:
            mark = self._mark(normalise_code(attempt.typed).encode())
            self._submit(Case(attempt, Stage.SECOND_ROUND, code=attempt.typed, password_mark=mark), tell)
        elif attempt.policy.mode is Mode.CODE:
            self._submit(Case(attempt, Stage.CODE, code=attempt.typed), tell)
        else:
            task = asyncio.get_running_loop().create_task(self._admit_with_password(attempt, tell))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def check_password(self, attempt: Attempt) -> Standing | None:
        """The first factor alone, for pages that ask for it before anything else: the customer as of now if the
        password is right, None if it is not, is not kept here, or would have had to wait past the attempt's deadline.
        No verdict and no audit row: those are the caller's. Raises BackendSilent."""
        customer, station = attempt.customer, _station(attempt)
        patience = attempt.deadline - asyncio.get_running_loop().time()
        try:
            if not await self._turnstile.enter(customer, station, patience):
                return None
        except TimeoutError:
            return None
        try:
            standing, hash_ = self._enquiries.credentials(customer) or (None, None)
            found = await self._first_factor.verify(attempt, attempt.typed, standing, hash_)
            if standing is None or not (found.right and found.held):
                return None
            self._turnstile.passed(customer, station)
            return standing
        finally:
            self._turnstile.leave(customer, station)

    async def close(self) -> None:
        """Give up the first factors under way: the doors have waited for them as long as they may."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _submit(self, case: Case, tell: Tell) -> None:
        if case.code is not None:
            case.mark = self._join_mark(case.attempt, case.code)
        self._docket.submit(case, tell)

    def _join_mark(self, attempt: Attempt, code: str) -> int | None:
        """What counts as the same login for a gateway that sends it anew: never the password, which a fast fingerprint
        would give away to whoever holds store and key. None where nothing is joined."""
        if not attempt.policy.join_seconds:
            return None
        parts = (attempt.client, attempt.customer, normalise_code(code))
        return self._mark(b"join", attempt.challenge or b"", *(part.encode() for part in parts))

    async def _admit_with_password(self, attempt: Attempt, tell: Tell) -> None:
        customer, station = attempt.customer, _station(attempt)
        patience = attempt.deadline - asyncio.get_running_loop().time()
        try:
            if not await self._turnstile.enter(customer, station, patience):
                # Not looked at, so there is nothing to learn from the answer.
                unseen = FirstFinding(right=False, reason=Finding.TOO_SOON)
                self._submit(Case(attempt, Stage.FIRST_ROUND, unseen), tell)
                return
        except TimeoutError:
            tell(Silence("a password waited longer in line than the gateway would", busy=True))
            return
        with contextlib.ExitStack() as inside:
            inside.callback(self._turnstile.leave, customer, station)
            try:
                case = await self._check_password(attempt)
            except BackendSilent as error:
                tell(Silence(str(error), busy=isinstance(error, Overloaded)))
                return
            except Exception:
                _log.exception("the first factor failed")
                tell(Silence("the first factor failed"))
                return
            until_told = inside.pop_all()

        def told(verdict: Verdict) -> None:
            with until_told:
                if isinstance(verdict, Accept | Challenge):
                    # By the verdict, not by the password: otherwise the next delay would tell that it was right.
                    self._turnstile.passed(customer, station)
            tell(verdict)

        self._submit(case, told)

    async def _check_password(self, attempt: Attempt) -> Case:
        """The case for the docket: the first reading whose password is right, or else the last."""
        standing, hash_ = self._enquiries.credentials(attempt.customer) or (None, None)
        for case, password in self._readings(attempt, standing):
            case.first = await self._first_factor.verify(attempt, password, standing, hash_)
            # Where no password is held nothing tells the readings apart: what may be a code is one, and is counted.
            if case.first.right and (case.first.held or case.code is not None):
                break
        return case

    def _readings(self, attempt: Attempt, standing: Standing | None) -> list[tuple[Case, str]]:
        """What of the text is the password and what the code, as the mode has it; never none."""
        mode, typed = attempt.policy.mode, attempt.typed
        if mode is Mode.PASSWORD:
            return [(Case(attempt, Stage.PASSWORD), typed)]
        digits = standing.digits if standing and standing.otp_use == OtpUse.ACTIVE else None
        stage = Stage.BOTH if mode is Mode.APPEND else Stage.FIRST_ROUND
        whole = Case(attempt, stage, password_mark=self._code_shaped_mark(typed, digits)), typed
        if mode is Mode.CHALLENGE:
            return [whole]
        length = code_at_the_end(typed, digits or _USUAL_DIGITS)
        if standing is None or digits is None:
            # Twice, so that the time does not tell who has a token.
            return [whole, whole] if length and mode is Mode.AUTO else [whole]
        if not length:
            return [whole] if mode is Mode.AUTO else [(Case(attempt, Stage.BOTH, code=""), typed)]
        password, tail = typed[:-length], typed[-length:]
        # A code equal to the password is a client that repeats one answer: not an attempt.
        split = Case(attempt, Stage.BOTH, code="" if tail == password else tail), password
        if mode is Mode.APPEND:
            return [split]
        # Mode auto: the likelier reading first, the other if its password is wrong. So a wrong code behind the right
        # password is counted as one, and a text with a wrong password takes as long whether its code fits or not.
        fit, _ = self._judge.fit(standing, normalise_code(tail), self._now_ms())
        return [split, whole] if fit is Fit.FITS else [whole, split]

    def _code_shaped_mark(self, typed: str, digits: int | None) -> int | None:
        code = normalise_code(typed)
        return self._mark(code.encode()) if digits and is_code(code, digits) else None


def _station(attempt: Attempt) -> str:
    return attempt.station or attempt.client
