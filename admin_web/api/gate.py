"""The gate in front of every operation: the key, where it comes from, its rate, its scope. Before any body is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

from aiohttp import web

from admin_web.api.operations import KEY, Operation
from admin_web.api.problems import ProblemError, ProblemType, key_needed
from admin_web.api.rates import Rate, RateLimiter
from admin_web.api.settings import ApiSettings
from admin_web.http.client_address import is_in
from admin_web.http.security import SOURCE, is_whole
from otp_core.accounts.api_keys import MOST_KEYS, ApiKeyService
from otp_core.model import StoreBusy
from otp_core.settings.values import AnyNetwork, read_network
from otp_core.store.api_keys import ApiKeyRecord
from otp_core.store.engine import KeyReader
from otp_core.store.retry import BUSY_SECONDS, aside

RATE: web.RequestKey[Rate] = web.RequestKey("rate", Rate)
"""Where the key stands with its rate; every answer to it says so."""

_WAS_WHOLE: web.RequestKey[bool] = web.RequestKey("was_whole", bool)
"""Whether the body was here before the key was looked up."""


class Gate:
    """``operations`` by name. ``settings`` is asked at every request. ``reader``: looks a key up, for one request
    after another."""

    def __init__(
        self,
        api_keys: ApiKeyService,
        reader: KeyReader,
        operations: Mapping[str, Operation],
        settings: Callable[[], ApiSettings],
    ) -> None:
        self._api_keys, self._reader, self._reading = api_keys, reader, asyncio.Lock()
        self._operations, self._settings = operations, settings
        self._rates = RateLimiter(2 * MOST_KEYS)

    def operation(self, request: web.Request) -> Operation | None:
        """Which operation a request asks for; None: there is none."""
        return self._operations.get(request.match_info.route.name or "")

    async def check(self, request: web.Request) -> None:
        """Raises ProblemError for a request that is not admitted, StoreUnavailable."""
        operation = self.operation(request)
        if operation is not None and not operation.scopes:
            return
        request[_WAS_WHOLE] = is_whole(request)
        key = await self._key_of(request)
        request[KEY] = key
        if key.networks and not is_in(request[SOURCE], _networks(key.networks)):
            raise ProblemError(ProblemType.NETWORK_REFUSED)
        rate = self._rates.take(key.key, self._settings().requests_per_second, time.monotonic())
        request[RATE] = rate
        if rate.is_over:
            await asyncio.sleep(rate.wait)
            raise ProblemError(ProblemType.RATE_LIMITED, f"{rate.limit} requests a second")
        if operation is None:
            return  # the router says whether it is the path or the method
        if not key.scopes.intersection(operation.scopes):
            raise ProblemError(ProblemType.SCOPE_MISSING, f"needs {' or '.join(operation.scopes)}")

    async def check_again(self, request: web.Request) -> None:
        """Whether the key is one still, now that the body is here: whoever sends it slowly may have had it revoked
        meanwhile. Raises ProblemError, StoreUnavailable."""
        if not request.get(_WAS_WHOLE):
            await self._key_of(request)

    async def _key_of(self, request: web.Request) -> ApiKeyRecord:
        sent = request.headers.getall("Authorization", [])
        scheme, _, secret = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        digest = self._api_keys.digest_of(secret.strip()) if scheme.lower() == "bearer" else None
        if digest is None:
            raise key_needed()
        found = await self._found(digest)
        if found is None:
            raise key_needed()
        return found

    async def _found(self, digest: bytes) -> ApiKeyRecord | None:
        """Raises StoreUnavailable, also where those before it wait too long for a store that does not answer: one after
        another they would be told so, each some seconds after the one before."""
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await self._reading.acquire()
        except TimeoutError:
            raise StoreBusy("store: the keys of other requests are being looked up") from None
        try:
            return await aside(lambda: self._reader.api_key_of(digest))
        finally:
            self._reading.release()


@lru_cache(maxsize=2 * MOST_KEYS)
def _networks(texts: tuple[str, ...]) -> tuple[AnyNetwork, ...]:
    return tuple(map(read_network, texts))
