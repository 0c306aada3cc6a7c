"""An authenticator with everything behind it, for tests: a real store, the first factors and verifiers it is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from otp_core.authentication.authenticator import Authenticator
from otp_core.authentication.queue import LoginQueue
from otp_core.first_factor import Accounts, FirstFactor
from otp_core.first_factor.failures import FailureTable
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.login.policy import Delays
from otp_core.model import Attempt, Challenge, Policy, Reject, Verdict
from otp_core.verifier import Verifier
from tests.core.bank import CHALLENGE, NO_DELAYS, Bank, Holder, verdict_on
from tests.fakes import KnownPasswords

SOON = 60.0
"""Seconds after which a test that hangs fails instead."""
PW = "himitsu-no-aikotoba"


def knows(**passwords: str) -> KnownPasswords:
    return KnownPasswords(passwords or {"taro": PW})


@dataclass
class Entrance:
    """An authenticator with everything behind it."""

    bank: Bank
    authenticator: Authenticator
    throttle: PasswordThrottle
    queue: LoginQueue

    async def says(self, who: Holder | str, user_password: str, policy: Policy, **more: Any) -> Verdict:
        contract_id = who if isinstance(who, str) else who.contract_id
        values = {"client": "gateway", "source": "192.0.2.1", **more}
        return await verdict_on(Attempt(contract_id, user_password, policy, **values), self.authenticator)

    async def why(self, who: Holder | str, user_password: str, policy: Policy, **more: Any) -> str:
        """The reason of a rejection."""
        verdict = await self.says(who, user_password, policy, **more)
        assert isinstance(verdict, Reject), verdict
        return verdict.reason

    async def asked(self, who: Holder | str, user_password: str, policy: Policy = CHALLENGE, **more: Any) -> bytes:
        """The State of the challenge that this leads to."""
        verdict = await self.says(who, user_password, policy, **more)
        assert isinstance(verdict, Challenge), verdict
        return verdict.state


@asynccontextmanager
async def entrance(
    bank: Bank,
    first_factor: FirstFactor,
    *,
    delays: Delays = NO_DELAYS,
    clock: Callable[[], float] | None = None,
    more_factors: Mapping[str, FirstFactor] | None = None,
    verifiers: Mapping[str, Verifier] | None = None,
    station_delays: Delays = NO_DELAYS,
    failures: FailureTable | None = None,
    accounts: Mapping[str, Accounts] | None = None,
) -> AsyncIterator[Entrance]:
    login_reader = bank.store.login_reader()
    queue = LoginQueue(bank.store.login_batch(), bank.evaluator, bank.guarded, bank.store.ids)
    fingerprint, now = bank.store.sealer.fingerprint, bank.guarded.now
    clock, table = clock or asyncio.get_running_loop().time, failures or FailureTable(1000)
    throttle = PasswordThrottle(delays, clock, table, fingerprint)
    stations = StationThrottle(station_delays, clock, table, fingerprint)
    first_factors = {"local": first_factor, **(more_factors or {})}
    authenticator = Authenticator(
        queue,
        login_reader,
        bank.evaluator,
        first_factors,
        throttle,
        fingerprint,
        now,
        verifiers,
        stations=stations,
        accounts=accounts,
    )
    try:
        yield Entrance(bank, authenticator, throttle, queue)
    finally:
        await authenticator.close()
        queue.close()
        login_reader.close()
        if failures is None:
            table.close()


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scene(), SOON)

    asyncio.run(bounded())
