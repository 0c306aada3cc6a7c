"""The login password whose hash is kept in the store: read here, checked in a pool of threads, renewed when it is old.

Of the first factors it alone knows hashes. A refusal takes as long for an unknown customer, and for one without a
token, as for any other: how many hashes are worked out depends on nothing but what was typed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from otp_core.first_factor import FirstFinding, Question
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
from otp_core.first_factor.password_forms import canonical, forms
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, Overloaded, StoreUnavailable
from otp_core.store.engine import LoginReader
from otp_core.store.retry import aside

_log = structlog.get_logger("first factor")

Renew = Callable[[str, str, str], None]
"""Called with (contract ID, old hash, new hash) after the first success of a hash that is not of today's form, or not
of the password in NFC."""


class LocalPassword:
    """Checks against argon2id, and against hashes that were migrated from elsewhere, in a bounded pool of threads."""

    has_rounds = False
    one_reading = False
    reachable = True
    relays = False

    def __init__(self, reader: LoginReader, pool: HashPool, cost: Cost, renew: Renew) -> None:
        self._reader, self._pool, self._cost, self._renew = reader, pool, cost, renew
        self._dummy = dummy_hash(cost)
        self._renewals: set[asyncio.Task[None]] = set()

    async def check(self, question: Question) -> FirstFinding:
        """See ``FirstFactor``. Raises Overloaded if no thread is free in time, BackendSilent for a hash that cannot be
        checked."""
        attempt = question.attempt
        known, hash_ = await self._reader.password_hash(attempt.customer)
        spellings = [forms(password) for password in question.candidates]
        hashes = max(len(forms(attempt.user_password)), *map(len, spellings))
        right = matched = None
        for number, texts in enumerate(spellings):
            matched = await self._first_match(texts, hashes, hash_, attempt)
            if matched is not None:
                right = number
                break
        if not known or hash_ is None or right is None:
            await self._pad(question, hashes)
        if not known:
            return FirstFinding(right=False, reason=Finding.UNKNOWN_CUSTOMER)
        if hash_ is None:
            return FirstFinding(right=True, held=False)
        if right is None or matched is None:
            return FirstFinding(right=False)
        new = canonical(matched)
        if needs_rehash(hash_, self._cost) or new != matched.encode():
            self._renew_later(attempt.customer, hash_, new)
        return FirstFinding(right=True, candidate=right)

    async def _first_match(
        self, texts: tuple[str, ...], hashes: int, hash_: str | None, attempt: Attempt
    ) -> str | None:
        """The first of the texts that has this hash. Always as many hashes as are given: an early end would tell by its
        time that the password is right, even where the code is not."""
        found = [text for text in texts if await self._matches(text, hash_, attempt)]
        for _ in range(hashes - len(texts)):
            await self._matches(texts[0], None, attempt)
        return found[0] if found else None

    async def _pad(self, question: Question, hashes: int) -> None:
        """As many hashes as the mode can ask for: fewer would tell that the customer has no token."""
        for _ in range(hashes * (question.most_candidates - len(question.candidates))):
            await self._matches(question.candidates[0], None, question.attempt)

    async def _matches(self, password: str, hash_: str | None, attempt: Attempt) -> bool:
        """``hash_``: None where none is held; as much is computed."""
        try:
            return await self._pool.run(check, password.encode(), hash_ or self._dummy, deadline=attempt.deadline)
        except PoolFull as error:
            raise Overloaded("more passwords wait to be checked than [password] max_waiting allows") from error
        except TooLate as error:
            raise Overloaded("a password waited longer to be checked than the gateway would") from error
        except (CannotHash, UnknownHash) as error:
            # A name that is no customer's is not repeated: it may be a password.
            whose = "that nobody holds" if hash_ is None else f"of {attempt.customer}"
            raise BackendSilent(f"the password hash {whose} cannot be checked: {error}") from error

    def _renew_later(self, customer: str, before: str, password: bytes) -> None:
        """Beside the login, which must not take longer for it."""
        task = asyncio.get_running_loop().create_task(self._renew_hash(customer, before, password))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _renew_hash(self, customer: str, before: str, password: bytes) -> None:
        """If it fails it is tried again at the next login: it keeps nobody out."""
        try:
            new = await self._pool.run(hash_password, password, self._cost)
            await aside(partial(self._renew, customer, before, new))
        except (PoolFull, TooLate, CannotHash, StoreUnavailable) as error:
            _log.warning("a password hash was not renewed", customer=customer, cause=str(error))
