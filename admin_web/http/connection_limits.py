"""Limits for the connections of a listener: how many there are, and how long a client may take to send a request.

aiohttp waits for ever for the first line of a request. ``LimitedConnection`` stands between the socket and aiohttp and
aborts a connection whose request does not arrive in time; the security middleware tells it when a request has arrived
and when it has been answered. Nothing here reads HTTP.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiohttp import web

HEADER_SECONDS = 10.0
"""From the start of a connection, or from its last answer, until the headers of a request are complete."""

BODY_SECONDS = 10.0
"""For the body of a form."""

MAX_PER_ADDRESS = 100
"""Connections at once from one address that is not a trusted proxy."""

LOG_INTERVAL = 60.0
"""Seconds between two log lines about refused connections, so that opening many does not fill the log."""

_log = structlog.get_logger("http")


@dataclass
class ConnectionLimiter:
    """Counts all connections of one listener.

    ``max_connections``: at once, from all addresses. ``is_proxy``: whether an address is a trusted proxy, which may
    have more than MAX_PER_ADDRESS. ``header_seconds``: see HEADER_SECONDS.
    """

    max_connections: int
    is_proxy: Callable[[str], bool]
    header_seconds: float = HEADER_SECONDS
    open_connections: int = 0
    per_address: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    logged_at: float = float("-inf")

    def admits(self, address: str) -> bool:
        """Whether one more connection from this address is within the limits."""
        return self.open_connections < self.max_connections and (
            self.per_address[address] < MAX_PER_ADDRESS or self.is_proxy(address)
        )

    def opened(self, address: str) -> None:
        """Count a connection that was admitted."""
        self.open_connections += 1
        self.per_address[address] += 1

    def closed(self, address: str) -> None:
        """Count a connection that was admitted and has ended."""
        self.open_connections -= 1
        self.per_address[address] -= 1
        if not self.per_address[address]:
            del self.per_address[address]

    def refuse(self, address: str, now: float) -> None:
        """Count a refused connection; log the count, at most once in LOG_INTERVAL. ``now``: the loop's time."""
        self.refused += 1
        if now >= self.logged_at + LOG_INTERVAL:
            _log.warning(
                "too many connections", at_once=self.open_connections, source=address, turned_away=self.refused
            )
            self.refused, self.logged_at = 0, now


class LimitedConnection(asyncio.Protocol):
    """One connection: passes everything on to ``inner`` (aiohttp's protocol), within the limits."""

    def __init__(self, limiter: ConnectionLimiter, inner: asyncio.Protocol) -> None:
        self._limiter, self._inner = limiter, inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._address = ""
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection and start its timer, or abort it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else ""
        if not self._limiter.admits(self._address):
            self._limiter.refuse(self._address, asyncio.get_running_loop().time())
            transport.abort()
            return
        self._admitted = True
        self._limiter.opened(self._address)
        self.start_timer()
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give its place in the limits back."""
        if not self._admitted:
            return
        self.stop_timer()
        self._limiter.closed(self._address)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on; what a refused connection still sends is dropped."""
        if self._admitted:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def start_timer(self) -> None:
        """A request is due from now on: abort the connection if its headers are not complete in ``header_seconds``."""
        self.stop_timer()
        self._timer = asyncio.get_running_loop().call_later(self._limiter.header_seconds, self._abort)

    def stop_timer(self) -> None:
        """A request has arrived and is being answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self) -> None:
        assert self._transport is not None
        self._transport.abort()


def connection_of(request: web.BaseRequest) -> LimitedConnection | None:
    """The limited connection that a request came over; None where there is none (a test without a listener)."""
    transport = request.transport
    protocol = transport.get_protocol() if isinstance(transport, asyncio.Transport) else None
    return protocol if isinstance(protocol, LimitedConnection) else None
