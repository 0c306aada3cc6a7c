"""A connection's keeper: how many there are, and how long each may take to say what it wants. It reads no HTTP.

aiohttp waits for ever for the first line of a request. This stands between the socket and aiohttp, and ends a
connection that owes a request for too long; a middleware tells it when one has come in whole, and when it is answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiohttp import web

HEADER_SECONDS = 10.0
"""From a connection's first moment, or from the last answer on, until a request's headers are complete."""

BODY_SECONDS = 10.0
"""For the body of a form."""

FROM_ONE_ADDRESS = 100
"""Connections at once from one address that is no trusted proxy's."""

LOG_INTERVAL = 60.0
"""Seconds between two log lines about connections turned away: whoever opens too many does not fill the log."""

_log = structlog.get_logger("http")


@dataclass
class ConnectionLimiter:
    """All connections of one listener. ``trusted`` says whether an address is a proxy, which may have many."""

    most: int
    trusted: Callable[[str], bool]
    seconds: float = HEADER_SECONDS
    open_connections: int = 0
    of: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    logged_at: float = float("-inf")

    def admits(self, address: str) -> bool:
        return self.open_connections < self.most and (self.of[address] < FROM_ONE_ADDRESS or self.trusted(address))

    def turn_away(self, address: str, now: float) -> None:
        """Counted, and said once in a while."""
        self.turned_away += 1
        if now >= self.logged_at + LOG_INTERVAL:
            _log.warning(
                "too many connections", at_once=self.open_connections, source=address, turned_away=self.turned_away
            )
            self.turned_away, self.logged_at = 0, now


class LimitedConnection(asyncio.Protocol):
    """One connection."""

    def __init__(self, limiter: ConnectionLimiter, inner: asyncio.Protocol) -> None:
        self._limiter, self._inner = limiter, inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._address = ""
        self._let_in = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else ""
        if not self._limiter.admits(self._address):
            self._limiter.turn_away(self._address, asyncio.get_running_loop().time())
            transport.abort()
            return
        self._let_in = True
        self._limiter.open_connections += 1
        self._limiter.of[self._address] += 1
        self.expect()
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._let_in:
            return
        self.rest()
        self._limiter.open_connections -= 1
        self._limiter.of[self._address] -= 1
        if not self._limiter.of[self._address]:
            del self._limiter.of[self._address]
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._let_in:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._let_in else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def expect(self) -> None:
        """A request is owed from now on."""
        self.rest()
        self._timer = asyncio.get_running_loop().call_later(self._limiter.seconds, self._too_late)

    def rest(self) -> None:
        """A request has come in, and is being answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        assert self._transport is not None
        self._transport.abort()


def connection_of(request: web.BaseRequest) -> LimitedConnection | None:
    """The guard of a request's connection."""
    transport = request.transport
    protocol = transport.get_protocol() if isinstance(transport, asyncio.Transport) else None
    return protocol if isinstance(protocol, LimitedConnection) else None
