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
    Reject,
    Silence,
    Standing,
    Verdict,
)
from otp_core.otp import Fit, code_at_the_end, is_code, normalise_code
from otp_core.store.ledger import Enquiries

_log = structlog.get_logger("authenticator")
_GUESSES = ""
"""Stands where a station would; no station has an empty name."""

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

    async def answer(self, attempt: Attempt) -> Verdict:
        """The verdict on one attempt."""
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.admit(attempt, lambda told: None if verdict.done() else verdict.set_result(told))
        return await verdict

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
            tell(Silence("a password waited longer in line than the gateway would"))
            return
        with contextlib.ExitStack() as inside:
            inside.callback(self._turnstile.leave, customer, station)
            try:
                case, guessed = await self._check_password(attempt)
            except BackendSilent as error:
                tell(Silence(str(error)))
                return
            except Exception:
                _log.exception("the first factor failed")
                tell(Silence("the first factor failed"))
                return
            until_told = inside.pop_all()

        def told(verdict: Verdict) -> None:
            with until_told:
                self._remember(attempt, verdict, guessed=guessed)
            tell(verdict)

        self._submit(case, told)

    async def _check_password(self, attempt: Attempt) -> tuple[Case, bool]:
        """The case for the docket, and whether its text might have been a guess at a code (mode auto)."""
        standing, hash_ = self._enquiries.credentials(attempt.customer) or (None, None)
        case, password, guessed = self._split(attempt, standing)
        case.first = await self._first_factor.verify(attempt, password, standing, hash_)
        return case, guessed

    def _split(self, attempt: Attempt, standing: Standing | None) -> tuple[Case, str, bool]:
        """What of the text is the password and what the code, as the mode has it: one reading only."""
        mode, typed = attempt.policy.mode, attempt.typed
        if mode is Mode.PASSWORD:
            return Case(attempt, Stage.PASSWORD), typed, False
        digits = standing.digits if standing and standing.otp_use == OtpUse.ACTIVE else None
        alone = Case(
            attempt,
            Stage.BOTH if mode is Mode.APPEND else Stage.FIRST_ROUND,
            password_mark=self._code_shaped_mark(typed, digits),
        )
        if standing is None or digits is None or mode is Mode.CHALLENGE:
            return alone, typed, False
        length = code_at_the_end(typed, digits)
        if not length:
            return (alone, typed, False) if mode is Mode.AUTO else (Case(attempt, Stage.BOTH, code=""), typed, False)
        password, tail = typed[:-length], typed[-length:]
        if mode is Mode.AUTO and not self._reads_as_code(attempt, standing, tail):
            return alone, typed, True
        # A code equal to the password is a client that repeats one answer: not an attempt.
        return Case(attempt, Stage.BOTH, code="" if tail == password else tail), password, False

    def _reads_as_code(self, attempt: Attempt, standing: Standing, tail: str) -> bool:
        """Mode auto: does a text that ends like a code end with one? After some that turned out to be neither, every
        such text is read as password and code, so that guesses at the code are counted as what they are."""
        if self._turnstile.failures(attempt.customer, _GUESSES) >= self._judge.rules.code_delays.free:
            return True
        fit, _ = self._judge.fit(standing, normalise_code(tail), self._now_ms())
        known_by = self._join_mark(attempt, tail) or attempt.fingerprint
        return fit is Fit.FITS or (fit is Fit.REUSED and known_by != 0 and known_by == standing.last_mark)

    def _code_shaped_mark(self, typed: str, digits: int | None) -> int | None:
        code = normalise_code(typed)
        return self._mark(code.encode()) if digits and is_code(code, digits) else None

    def _remember(self, attempt: Attempt, verdict: Verdict, *, guessed: bool) -> None:
        """By the verdict, not by the password: otherwise the next delay would tell that the password was right."""
        if isinstance(verdict, Accept | Challenge):
            self._turnstile.passed(attempt.customer, _station(attempt))
        if isinstance(verdict, Accept):
            self._turnstile.passed(attempt.customer, _GUESSES)
        elif guessed and isinstance(verdict, Reject):
            self._turnstile.failed(attempt.customer, _GUESSES)


def _station(attempt: Attempt) -> str:
    return attempt.station or attempt.client
