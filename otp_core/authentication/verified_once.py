"""A verifier whose answers are used once: all copies of a gateway's request get one answer, and a code that it has
found right is right no second time, at whichever door, process and node.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from otp_core.first_factor.asked_once import opened, sealed
from otp_core.first_factor.shared_answers import KEEP_SECONDS, SharedAnswers
from otp_core.login.requests import CodeFinding
from otp_core.login.table import Finding
from otp_core.model import BackendSilent
from otp_core.otp import Fit
from otp_core.store.retry import retry_while_busy
from otp_core.store.store import Store
from otp_core.store.verified_codes import remember_code
from otp_core.verifier import CodeQuestion, Verifier

REMEMBERED_SECONDS = 3600
"""For which a code that was right is known: longer than any service's window, and shorter than six digits take to come
again by chance."""

_LOOK_AGAIN = 0.02


class VerifiedOnce:
    """``verifier``: who is asked. ``now``: ms, may raise ClockWrong. Attempts without a fingerprint, and acts of the
    desk, have no copies."""

    def __init__(
        self, name: str, verifier: Verifier, store: Store, answers: SharedAnswers, now: Callable[[], int]
    ) -> None:
        self._name, self._verifier, self._store, self._answers, self._now = name, verifier, store, answers, now

    async def verify(self, question: CodeQuestion) -> CodeFinding:
        """See ``Verifier``. Raises BackendSilent."""
        attempt = question.attempt
        if attempt is None or not attempt.fingerprint:
            return await self._once(question, await self._verifier.verify(question))
        key = self._fingerprint(b"asked", question, str(attempt.fingerprint).encode() + question.state.encode())
        kept = await self._claimed(key, attempt.deadline)
        if kept is not None:
            return kept
        try:
            found = await self._once(question, await self._verify(question, attempt.deadline))
        except BaseException:
            self._answers.release(key)
            raise
        self._answers.settle(key, sealed(self._store.sealer, key, _value_of(found)))
        return found

    async def _verify(self, question: CodeQuestion, deadline: float) -> CodeFinding:
        """The verifier's finding. Of several answers to one question of its own, wherever they arrive, the first one is
        passed on. Raises BackendSilent: then it may be answered again."""
        if not question.state:
            return await self._verifier.verify(question)
        key = self._store.sealer.fingerprint(b"verifier", b"answers", question.state.encode()) or 1
        if self._answers.claim(key, _seconds_left(deadline)) is not True:
            return CodeFinding(question.token_id, Fit.WRONG, None, Finding.CHALLENGE_GONE)
        try:
            return await self._verifier.verify(question)
        except BaseException:
            self._answers.release(key)
            raise

    async def enrol(self, question: CodeQuestion) -> CodeFinding:
        """See ``Verifier``. Raises BackendSilent."""
        return await self._once(question, await self._verifier.enrol(question))

    async def _once(self, question: CodeQuestion, found: CodeFinding) -> CodeFinding:
        """The finding, REUSED in place of FITS where the code was right before. What was noted stays noted if the login
        fails behind it: the service has used the code up, too."""
        if found.fit is not Fit.FITS:
            return found
        fingerprint, now = self._fingerprint(b"verified", question, question.code.encode()), self._now()

        def remember() -> bool:
            with self._store.work_aside() as work:  # no batch that is under way is decided anew for it
                return remember_code(work.connection, fingerprint, now, now + REMEMBERED_SECONDS * 1000)

        if await retry_while_busy(remember):
            return found
        return CodeFinding(found.token_id, Fit.REUSED, found.step)

    async def _claimed(self, key: int, deadline: float) -> CodeFinding | None:
        """None: it is for us to ask. Otherwise what another copy was answered. Raises BackendSilent."""
        loop, left = asyncio.get_running_loop(), _seconds_left(deadline)
        while True:
            claimed = self._answers.claim(key, left)
            if claimed is True:
                return None
            if isinstance(claimed, bytes):
                value = opened(self._store.sealer, key, claimed)
                return None if value is None else _finding_in(value)
            if loop.time() >= deadline:
                raise BackendSilent("a copy of this request was asked about, and has no answer yet")
            await asyncio.sleep(_LOOK_AGAIN)

    def _fingerprint(self, what: bytes, question: CodeQuestion, more: bytes) -> int:
        name, token_id, code = self._name.encode(), question.token_id.encode(), question.code.encode()
        return self._store.sealer.fingerprint(b"verifier", what, name, token_id, code, more)


def _seconds_left(deadline: float) -> float:
    """For which a claim holds."""
    if math.isinf(deadline):
        return KEEP_SECONDS
    return max(0.0, deadline - asyncio.get_running_loop().time()) + 2


def _value_of(found: CodeFinding) -> dict[str, object]:
    return {**found._asdict(), "fit": found.fit.value, "trouble": found.trouble and found.trouble.value}


def _finding_in(value: dict[str, object]) -> CodeFinding:
    token_id, fit, step, trouble, state, prompt = (value[name] for name in CodeFinding._fields)
    return CodeFinding(
        str(token_id),
        Fit(str(fit)),
        step if isinstance(step, int) else None,
        None if trouble is None else Finding(str(trouble)),
        str(state),
        str(prompt),
    )
