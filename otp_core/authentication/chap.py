"""CHAP where the code alone is asked: which code the answer was made with (RFC 1994, RFC 2865 section 2.2).

The codes of the customer's tokens are few, so each is tried, always all of them: the time tells nothing. What was found
is decided like a code that was typed. A password cannot be found so: only a hash of it is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from otp_core.authentication.authenticator import Authenticator
from otp_core.authentication.queue import OnVerdict
from otp_core.clock import ClockWrong
from otp_core.login.evaluate import Evaluator
from otp_core.model import Attempt, BackendSilent, Chap, LoginRecord, Mode, Policy, Reject, Silence
from otp_core.sealing import KeyProblem
from otp_core.store.engine import LoginReader


class ChapLogins:
    """Requests with CHAP in the place of a password, on their way to the authenticator. ``now_ms`` may raise
    ClockWrong. Belongs to one event loop."""

    def __init__(
        self, authenticator: Authenticator, reader: LoginReader, evaluator: Evaluator, now_ms: Callable[[], int]
    ) -> None:
        self._authenticator, self._reader = authenticator, reader
        self._evaluator, self._now_ms = evaluator, now_ms
        self._tasks: set[asyncio.Task[None]] = set()

    def serves(self, policy: Policy) -> bool:
        """Whether requests of this policy may come so: where the code alone is asked, or where a RADIUS server is asked
        about the password alone."""
        if policy.mode is Mode.PASSWORD:
            return self._authenticator.relays(policy.first_factor)
        return policy.mode is Mode.CODE

    def relays(self, first_factor: str) -> bool:
        """Whether a RADIUS server stands behind this first factor, which MS-CHAPv2 can be passed on to."""
        return self._authenticator.relays(first_factor)

    def admit(self, attempt: Attempt, chap: Chap, on_verdict: OnVerdict) -> None:
        """As ``Authenticator.admit``, for a code of which only a hash came."""
        task = asyncio.get_running_loop().create_task(self._find_and_admit(attempt, chap, on_verdict))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _find_and_admit(self, attempt: Attempt, chap: Chap, on_verdict: OnVerdict) -> None:
        try:
            attempt = await self._authenticator.with_contract_id(attempt)
            record = await self._reader.login_record(attempt.customer)
            code = code_behind(chap, record, self._evaluator, self._now_ms())
        except NotForChap as error:
            on_verdict(Reject(str(error), attempt.policy.language))
        except (BackendSilent, ClockWrong, KeyProblem) as error:
            on_verdict(Silence(str(error)))
        else:
            self._authenticator.admit(attempt._replace(user_password=code), on_verdict)


class NotForChap(Exception):
    """The customer's codes are not computed here. The text says so."""


def code_behind(chap: Chap, record: LoginRecord | None, evaluator: Evaluator, now: int) -> str:
    """The code, also a used one or one that is out of time; a wrong code of the right form if it is none of them; empty
    for a customer without tokens. ``now``: ms. Raises KeyProblem, NotForChap."""
    if record is None or not record.tokens:
        return ""
    if any(token.seed is None for token in record.tokens):
        raise NotForChap("CHAP, and the codes of this customer's token are known to another server only: use PAP")
    codes = [code for token in record.tokens for code in evaluator.codes_near(token, now)]
    found = [code for code in codes if chap.is_made_with(code.encode())]
    return found[0] if found else _none_of(codes, record.tokens[0].digits)


def _none_of(codes: list[str], digits: int) -> str:
    """A code that is none of these, to be counted as a wrong one."""
    taken = set(codes)
    return next(code for number in range(len(codes) + 1) if (code := f"{number:0{digits}}") not in taken)
