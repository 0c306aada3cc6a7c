"""The login password as it is kept here, hashed. It reads no store: it is handed the hash, and reports one to renew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from otp_core.first_factor.hash_pool import HashPool, PoolFull, TooLate
from otp_core.first_factor.hashes import (
    CannotHash,
    Cost,
    UnknownHash,
    check,
    dummy_hash,
    hash_password,
    needs_rehash,
)
from otp_core.login.requests import FirstFinding
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, LoginRecord, Overloaded, StoreUnavailable

_log = structlog.get_logger("first factor")

Renew = Callable[[LoginRecord, str, str], None]
"""Called with (customer, old hash, new hash) after the first success of a hash that is not of today's form."""


class LocalPassword:
    """Checks against argon2id (and what was migrated from elsewhere) in a bounded pool of threads."""

    def __init__(self, pool: HashPool, cost: Cost, renew: Renew) -> None:
        self._pool, self._cost, self._renew = pool, cost, renew
        self._dummy = dummy_hash(cost)
        self._renewals: set[asyncio.Task[None]] = set()

    async def verify(
        self, attempt: Attempt, password: str, record: LoginRecord | None, password_hash: str | None
    ) -> FirstFinding:
        secret = password.encode()
        try:
            right = await self._pool.run(check, secret, password_hash or self._dummy, deadline=attempt.deadline)
        except PoolFull as error:
            raise Overloaded("more passwords wait to be checked than [password] max_waiting allows") from error
        except TooLate as error:
            raise Overloaded("a password waited longer to be checked than the gateway would") from error
        except (CannotHash, UnknownHash) as error:
            raise BackendSilent(f"the password hash of {attempt.customer} cannot be checked: {error}") from error
        if record is None:
            return FirstFinding(right=False, reason=Finding.UNKNOWN_CUSTOMER)
        if password_hash is None:
            return FirstFinding(right=True, held=False)
        if right and needs_rehash(password_hash, self._cost):
            # Beside the login, which must not take longer for it.
            task = asyncio.get_running_loop().create_task(self._renew_hash(record, password_hash, secret))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)
        return FirstFinding(right=right)

    async def _renew_hash(self, record: LoginRecord, before: str, secret: bytes) -> None:
        """At the next login, if it cannot be done now: nobody is kept out for it."""
        try:
            self._renew(record, before, await self._pool.run(hash_password, secret, self._cost))
        except (PoolFull, TooLate, CannotHash, StoreUnavailable) as error:
            _log.warning("a password hash was not renewed", customer=record.contract_id, cause=str(error))
