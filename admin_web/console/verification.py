"""Whether somebody is who they say: a passkey's answer, or password and code of an account of the store.

Password and code are a login like any other: one verdict, one audit row, the same throttles and the same lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web

from admin_web.console.passkeys import Passkeys, WrongAnswer
from otp_core.accounts import PasskeyAnswer
from otp_core.doors import Services
from otp_core.first_factor.throttle import STATION_FIRST_DELAY, STATION_LONGEST_DELAY, StationThrottle
from otp_core.login.policy import Delays
from otp_core.model import Accept, Attempt, Mode, Policy, Silence, Verdict
from otp_core.otp import normalise_code
from otp_core.station import station_of
from otp_core.store.staff import Passkey

CLIENT = "console"
"""The client of these logins, in log and audit trail."""

CHECK_SECONDS = 10.0
"""For a check, delays of the throttles included."""

FREE_FAILURES = 30
"""Wrong answers from one source address that cost it no delay."""

_SEPARATOR = "\x00"
_CODE_NEEDED = Policy(Mode.APPEND, password_only=frozenset(), separator=_SEPARATOR)
"""Without an active token nobody is let in: for staff, a password alone is never enough."""

T = TypeVar("T")


class Verification:
    """Whether a passkey's answer, or password and code, are right: for signing in and for confirming."""

    def __init__(self, services: Services, passkeys: Passkeys) -> None:
        self._services, self._passkeys = services, passkeys
        delays = Delays(FREE_FAILURES, STATION_FIRST_DELAY, STATION_LONGEST_DELAY)
        self._addresses = StationThrottle(delays, time.monotonic, services.failures, services.store.sealer.fingerprint)

    async def by_passkey(self, answer: str, purpose: bytes, known: list[Passkey], source: str) -> PasskeyAnswer:
        """The right answer of one of these passkeys. Raises WrongAnswer."""

        async def check() -> PasskeyAnswer:
            return self._passkeys.answered(answer, purpose, known)

        return await self.throttled(source, check)

    async def by_code(self, account: str | None, name: str, password: str, code: str, source: str) -> None:
        """Password and code of an account. ``account`` None: there is none, which nobody is told. Raises WrongAnswer,
        BackendSilent."""

        async def check() -> None:
            contract_id = account or self._services.store.sealer.name_fingerprint(name)
            verdict = await self._verdict(contract_id, f"{password}{_SEPARATOR}{normalise_code(code)}", source)
            if isinstance(verdict, Silence):
                raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"})
            if not isinstance(verdict, Accept) or account is None:
                raise WrongAnswer("wrong password or code")

        await self.throttled(source, check)

    def _verdict(self, contract_id: str, text: str, source: str) -> Awaitable[Verdict]:
        loop = asyncio.get_running_loop()
        verdict_known: asyncio.Future[Verdict] = loop.create_future()
        begun = loop.time()
        attempt = Attempt(contract_id, text, _CODE_NEEDED, CLIENT, source, source, deadline=begun + CHECK_SECONDS)

        def on_verdict(verdict: Verdict) -> None:
            self._services.tally.verdict(CLIENT, CLIENT, verdict, loop.time() - begun)
            self._services.verdict_log.write(CLIENT, attempt, verdict, loop.time() - begun)
            if not verdict_known.done():
                verdict_known.set_result(verdict)

        self._services.authenticator.admit(attempt, on_verdict)
        return verdict_known

    async def throttled(self, source: str, check: Callable[[], Awaitable[T]]) -> T:
        """The result of a check, after the delay that wrong answers from this address have earned."""
        address = station_of(source)
        try:
            if not await self._addresses.enter("", address, CHECK_SECONDS):
                raise WrongAnswer("too many wrong answers from this address")
        except TimeoutError:
            raise WrongAnswer("too many wrong answers from this address") from None
        try:
            found = await check()
            self._addresses.passed("", address)
            return found
        finally:
            self._addresses.leave("", address)
