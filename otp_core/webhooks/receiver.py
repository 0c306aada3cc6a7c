"""Posts one event after the other to one address, in their order. An answer of 2xx means that it has arrived; anything
else, a redirect included, that it has not.

What the receiver answers is not kept, and read only as far as the connection's next use asks for. It follows no
redirect, asks no proxy, keeps no cookie. That the address may lie inside is meant: the operator names it, nobody else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiohttp

from otp_core.store.queries import AuditLine
from otp_core.webhooks.request import body_of, headers_of

_MOST_OF_AN_ANSWER = 4096
_DRAIN_SECONDS = 1.0
_KEPT_OPEN_SECONDS = 10.0
_HEADERS = {"User-Agent": "sekisho", "Accept-Encoding": "identity"}


class NotTaken(OSError):
    """The receiver has not taken an event. The text says why, without the address's path."""


class WebhookReceiver:
    """Made in the running event loop, to which it belongs (``outwards.follower.Receiver``). ``timeout``: seconds for
    one event; ``now``: seconds since the epoch. Raises OSError for a file of CA certificates that cannot be used."""

    def __init__(
        self, url: str, secrets: Sequence[bytes], ca_file: Path | None, timeout: float, now: Callable[[], float]
    ) -> None:
        self._url, self._secrets, self._now = url, tuple(secrets), now
        connector = aiohttp.TCPConnector(
            limit=1, ssl=ssl.create_default_context(cafile=ca_file), keepalive_timeout=_KEPT_OPEN_SECONDS
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=timeout),
        )

    def __repr__(self) -> str:
        return "WebhookReceiver(...)"

    async def send(self, rows: Sequence[AuditLine]) -> AsyncIterator[int]:
        """One by one; yields the id of each that has arrived. Raises NotTaken."""
        for row in rows:
            await self._post(row)
            yield row.id

    async def close(self) -> None:
        """At the end: a connection that failed is given up by aiohttp itself."""
        await self._session.close()

    async def _post(self, row: AuditLine) -> None:
        body = body_of(row)
        headers = headers_of(row, body, self._secrets, int(self._now()))
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                status = response.status
                await _drain(response)
        except TimeoutError:
            raise NotTaken("no answer in time") from None
        except aiohttp.ClientError as error:
            raise NotTaken(_cause(error)) from None
        if not 200 <= status < 300:
            redirected = ", a redirect, which is not followed" if 300 <= status < 400 else ""
            raise NotTaken(f"it answered {status}{redirected}")


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short answer, so that the connection can be used again; a long or slow one ends it. Whether the event was
    taken is known by then."""
    left = _MOST_OF_AN_ANSWER
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0 and (piece := await response.content.read(left)):
                left -= len(piece)
    except (TimeoutError, aiohttp.ClientError):
        left = 0
    if left <= 0:
        response.close()


def _cause(error: aiohttp.ClientError) -> str:
    """In words of our own: aiohttp's may repeat the address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return f"no TLS with it: {getattr(error, 'os_error', None) or type(error).__name__}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"it cannot be reached: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return "it ended the connection"
    return f"it does not speak HTTP as it should ({type(error).__name__})"
