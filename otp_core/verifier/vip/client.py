"""Calls VIP User Services: one HTTP POST a call, within a time, over mutual TLS. It knows no token and no customer.

A call is sent once. It is sent again only where no connection came about, so that nothing can have arrived, and under
the next path where this one is not there. Anything but a reply to this very call raises BackendSilent.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import ssl
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import structlog

from otp_core.model import BackendSilent, Overloaded
from otp_core.tally import BUSY, NO_ANSWER, SECONDS, Histogram
from otp_core.verifier.vip.soap import MOST_OCTETS, Element, Fields, NotUnderstood, read_reply, write_request
from otp_core.verifier.vip.statuses import Outcome, outcome_of

_SERVICES = {
    "AuthenticateCredentials": "AuthenticationService",
    "CreateUser": "ManagementService",
    "AddCredential": "ManagementService",
    "RemoveCredential": "ManagementService",
    "GetUserInfo": "QueryService",
}
_KEPT_OPEN_SECONDS = 10.0
"""A connection that was unused for longer is not used any more: the other side may be about to close it."""
_HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""', "Accept-Encoding": "identity"}
_log = structlog.get_logger("vip")


@dataclass(frozen=True, slots=True)
class Plan:
    """As in the settings. ``timeout``: seconds for one call. ``connections``: calls at once; ``max_waiting``: that may
    wait beside."""

    name: str
    url: str
    versions: tuple[str, ...] = ("1_10", "1_8", "1_6")
    timeout: float = 4.0
    connections: int = 16
    max_waiting: int = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """``status`` and ``detail``: as they came, for the log."""

    outcome: Outcome
    status: str
    detail: str
    body: Element = field(repr=False)


class _NotThere(Exception):
    """There is no such path."""


class VipClient:
    """One for a process. Made in the running event loop, to which it belongs. ``seconds``: how long answers took;
    ``counts``: calls by their name and outcome; ``under_way``: those without an answer yet; ``silent``: the last one
    that ended got none."""

    def __init__(self, plan: Plan, context: ssl.SSLContext) -> None:
        self.plan = plan
        self.seconds, self.counts = Histogram(SECONDS), Counter[tuple[str, str]]()
        self._loop = asyncio.get_running_loop()
        self._version = dict.fromkeys(set(_SERVICES.values()), 0)
        self.under_way, self.silent = 0, False
        connector = aiohttp.TCPConnector(
            limit=plan.connections, ssl=context, keepalive_timeout=_KEPT_OPEN_SECONDS, loop=self._loop
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def call(self, name: str, fields: Fields, deadline: float = math.inf) -> Reply:
        """The reply to one call. ``deadline``: loop time. Raises BackendSilent."""
        if self.under_way >= self.plan.connections + self.plan.max_waiting:
            self.counts[name, BUSY] += 1
            raise Overloaded(f"{self.plan.name}: {self.under_way} calls wait for it already")
        self.under_way += 1
        begun = self._loop.time()
        try:
            async with asyncio.timeout_at(min(deadline, begun + self.plan.timeout)):
                reply = await self._newest(name, fields)
        except TimeoutError:
            self._count_silence(name)
            raise self._silent(name, "no answer in time") from None
        except BackendSilent:
            self._count_silence(name)
            raise
        finally:
            self.under_way -= 1
        self.silent = False
        self.seconds.observe(self._loop.time() - begun)
        self.counts[name, reply.outcome.label] += 1
        return reply

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _newest(self, name: str, fields: Fields) -> Reply:
        """By the first version that is there, which is remembered until the next start."""
        service, versions = _SERVICES[name], self.plan.versions
        for index in range(self._version[service], len(versions)):
            try:
                reply = await self._connected(name, f"{self.plan.url}/{service}_{versions[index]}", fields)
            except _NotThere:
                continue
            self._version[service] = index
            return reply
        self._version[service] = 0
        raise self._silent(name, f"there is no {service} of {', '.join(versions)} at {self.plan.url}")

    async def _connected(self, name: str, url: str, fields: Fields) -> Reply:
        """A second try where no connection came about."""
        try:
            return await self._post(name, url, fields)
        except aiohttp.ClientConnectorError as error:
            cause = str(error)
            if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
                raise self._silent(name, f"no TLS with it: {cause}") from None
        try:
            return await self._post(name, url, fields)
        except aiohttp.ClientConnectorError:
            raise self._silent(name, f"it cannot be reached: {cause}") from None

    async def _post(self, name: str, url: str, fields: Fields) -> Reply:
        request_id = secrets.token_hex(16)
        octets = write_request(name, [("requestId", request_id), *fields])
        try:
            async with self._session.post(url, data=octets, allow_redirects=False) as response:
                received = await self._received(name, response)
        except aiohttp.ClientConnectorError:
            raise
        except aiohttp.ClientError as error:
            raise self._silent(name, f"the connection broke: {type(error).__name__}") from None
        try:
            body = read_reply(received, name)
        except NotUnderstood as error:
            raise self._silent(name, f"its reply is not understood: {error}") from None
        if body.get("requestId") != request_id:
            raise self._silent(name, "its reply belongs to another call")
        status, detail = body.get("status"), body.get("detail")
        return Reply(outcome_of(status, detail), status[:16], detail[:16], body)

    async def _received(self, name: str, response: aiohttp.ClientResponse) -> bytes:
        """The octets of a reply, at most one more than it may have. What is not read is not waited for."""
        received = bytearray()
        try:
            if response.status == 404:
                raise _NotThere
            if response.status not in (200, 500):
                raise self._silent(name, f"HTTP status {response.status}")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise self._silent(name, "its reply is compressed, which nobody has asked for")
            async for chunk in response.content.iter_chunked(16 * 1024):
                received += chunk
                if len(received) > MOST_OCTETS:
                    break
        finally:
            if not response.content.at_eof():
                response.close()
        return bytes(received[: MOST_OCTETS + 1])

    def _count_silence(self, call: str) -> None:
        self.silent = True
        self.counts[call, NO_ANSWER] += 1

    def _silent(self, call: str, cause: str) -> BackendSilent:
        _log.warning("VIP gives no answer", verifier=self.plan.name, call=call, cause=cause)
        return BackendSilent(f"{self.plan.name} ({call}): {cause}")
