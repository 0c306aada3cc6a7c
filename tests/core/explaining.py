"""Explanations for tests: of a bank's logins, beside the same logins in earnest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from otp_core.authentication.dry_run import Asked, Conversation, Round
from otp_core.authentication.explanation import Explainer, Explanation, Throttles
from otp_core.first_factor.failures import FailureTable
from otp_core.first_factor.hash_pool import HashPool
from otp_core.first_factor.hashes import Cost, hash_password
from otp_core.first_factor.local import LocalPassword
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.login.policy import Delays
from otp_core.login.table import Finding
from otp_core.model import OtpUse, Policy
from tests.core.bank import NO_DELAYS, Bank, Holder
from tests.core.entrance import PW, entrance

CHEAP = Cost(256, 1, 1)
HASH = hash_password(PW.encode(), CHEAP)
NEITHER = frozenset[OtpUse]()
MOMENT = 1_000.0
"""Of the clock that delays of passwords go by, in seconds."""


@contextmanager
def explainer(bank: Bank, delays: Delays = NO_DELAYS, table: FailureTable | None = None) -> Iterator[Explainer]:
    """As a command has it, but with this bank's clock."""
    reader, pool, fingerprint = bank.store.login_reader(), HashPool(1, 10), bank.store.sealer.fingerprint
    failures = table or FailureTable(1000)
    throttles = Throttles(
        PasswordThrottle(delays, lambda: MOMENT, failures, fingerprint),
        StationThrottle(delays, lambda: MOMENT, failures, fingerprint),
    )
    local = LocalPassword(reader, pool, CHEAP, lambda *_: None)
    try:
        yield Explainer(reader, bank.evaluator, {"local": local}, throttles, fingerprint, int(bank.clock.now * 1000))
    finally:
        pool.close()
        reader.close()


def explained(bank: Bank, who: Holder | str, policy: Policy, **more: Any) -> Explanation:
    contract_id = who if isinstance(who, str) else who.contract_id

    async def scene() -> Explanation:
        with explainer(bank) as one:
            return await one.explain(Asked(contract_id, policy, "gateway", **more))

    return asyncio.run(scene())


def answered(bank: Bank, asked: Asked) -> tuple[Round, ...]:
    """The same login in earnest."""

    async def scene() -> tuple[Round, ...]:
        pool, reader = HashPool(1, 10), bank.store.login_reader()
        try:
            async with entrance(bank, LocalPassword(reader, pool, CHEAP, lambda *_: None)) as door:
                return await Conversation(asked, door.authenticator).hold()
        finally:
            pool.close()
            reader.close()

    return asyncio.run(scene())


def told(rounds: tuple[Round, ...]) -> list[tuple[str, Finding | None]]:
    """The verdict and the finding of each request."""
    return [(type(one.verdict).__name__, one.finding) for one in rounds]


def everything(bank: Bank) -> dict[str, object]:
    return {**bank.rows(), "audit": bank.audit()}
