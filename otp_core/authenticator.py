"""Attempt in, verdict out: the one way in, for every door. First factors are awaited here, outside any transaction;
then the case goes onto the docket. What is decided, login.py's table and the judge decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from otp_core.docket import Docket, Tell
from otp_core.first_factor import FirstFactor
from otp_core.first_factor.turnstile import Turnstile
from otp_core.judge import Case, FirstFinding, Judge
from otp_core.login import Finding, Stage
from otp_core.model import Attempt, BackendSilent, Mode, OtpUse, Silence, Standing, Verdict
from otp_core.otp import Fit, is_code, normalise_code
from otp_core.store.ledger import Enquiries

_log = structlog.get_logger("authenticator")
_AUTO = "mode auto"
Mark = Callable[[bytes], int]


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
            self._docket.submit(Case(attempt, Stage.SECOND_ROUND, code=attempt.typed, password_mark=mark), tell)
        elif attempt.policy.mode is Mode.CODE:
            self._docket.submit(Case(attempt, Stage.CODE, code=attempt.typed), tell)
        else:
            task = asyncio.get_running_loop().create_task(self._admit_with_password(attempt, tell))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def answer(self, attempt: Attempt) -> Verdict:
        """The verdict on one attempt."""
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.admit(attempt, lambda told: None if verdict.done() else verdict.set_result(told))
        return await verdict

    async def close(self) -> None:
        """Wait for the first factors under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _admit_with_password(self, attempt: Attempt, tell: Tell) -> None:
        try:
            case = await self._check_password(attempt)
        except BackendSilent as error:
            tell(Silence(str(error)))
        except Exception:
            _log.exception("the first factor failed")
            tell(Silence("the first factor failed"))
        else:
            self._docket.submit(case, tell)

    async def _check_password(self, attempt: Attempt) -> Case:
        station = attempt.station or attempt.client
        wait = self._turnstile.wait(attempt.customer, station)
        if wait is None:
            # Not looked at, so there is nothing to learn from the answer.
            return Case(attempt, Stage.FIRST_ROUND, FirstFinding(right=False, reason=Finding.TOO_SOON))
        if wait:
            await asyncio.sleep(wait)
        standing, hash_ = self._enquiries.credentials(attempt.customer) or (None, None)
        case, password = self._split(attempt, standing)
        case.first = await self._first_factor.verify(attempt, password, standing, hash_)
        self._remember(case, station)
        return case

    def _split(self, attempt: Attempt, standing: Standing | None) -> tuple[Case, str]:
        """What of the text is the password and what the code, as the mode has it: one reading only."""
        if attempt.policy.mode is Mode.PASSWORD:
            return Case(attempt, Stage.PASSWORD), attempt.typed
        digits = standing.digits if standing and standing.otp_use == OtpUse.ACTIVE else None
        if digits is None or attempt.policy.mode is Mode.CHALLENGE:
            stage = Stage.BOTH if attempt.policy.mode is Mode.APPEND else Stage.FIRST_ROUND
            return Case(attempt, stage, password_mark=self._code_shaped_mark(attempt.typed, digits)), attempt.typed
        password, tail = attempt.typed[:-digits], attempt.typed[-digits:]
        if not is_code(normalise_code(tail), digits):
            tail, password = "", attempt.typed
        if attempt.policy.mode is Mode.AUTO and not self._fits_now(attempt, standing, tail):
            mark = self._code_shaped_mark(attempt.typed, digits)
            return Case(attempt, Stage.FIRST_ROUND, password_mark=mark), attempt.typed
        return Case(attempt, Stage.BOTH, code=tail), password

    def _fits_now(self, attempt: Attempt, standing: Standing | None, tail: str) -> bool:
        """Mode auto: is it password and code in one? Somebody who keeps trying codes that way is read as giving the
        password alone, so that guesses meet the challenge, where they are counted."""
        assert standing is not None
        if not tail or self._turnstile.failures(attempt.customer, _AUTO) >= self._judge.rules.lock_after:
            return False
        fit, _ = self._judge.fit(standing, normalise_code(tail), self._now_ms())
        repeated = fit is Fit.REUSED and attempt.fingerprint != 0 and attempt.fingerprint == standing.last_mark
        return fit is Fit.FITS or repeated

    def _code_shaped_mark(self, typed: str, digits: int | None) -> int | None:
        code = normalise_code(typed)
        return self._mark(code.encode()) if digits and is_code(code, digits) else None

    def _remember(self, case: Case, station: str) -> None:
        attempt = case.attempt
        if case.first.right:
            self._turnstile.passed(attempt.customer, station)
            return
        self._turnstile.failed(attempt.customer, station)
        if attempt.policy.mode is Mode.AUTO:
            self._turnstile.failed(attempt.customer, _AUTO)
