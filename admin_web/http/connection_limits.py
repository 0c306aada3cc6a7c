"""Limits for the connections of a listener: how many there are, from whom, and who has to go when they are too many.

A connection is counted from its accept on, TLS handshake included. It owes a complete request from its start, or from
its last answer, until headers and body have arrived. When there are too many, the one that has owed longest goes, not
the newcomer: so whoever holds connections without asking for anything keeps nobody else out. Nothing here reads HTTP.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network, ip_address

from aiohttp import web

from admin_web.http.rare_log import RareLog

HEADER_SECONDS = 10.0
"""From the accept of a connection, or from its last answer, until the headers of a request are complete."""

BODY_SECONDS = 10.0
"""For the body of a form."""

MAX_PER_NETWORK = 100
"""Connections at once from one network (an IPv4 address, an IPv6 /64) that is not a trusted proxy."""

PATIENT_SECONDS = 3.0
"""Somebody with few connections is not sent away for having owed less than this, as long as others hold more: a
handshake over a slow line takes as long as that."""

SPARE_FILES = 256
"""File descriptors that are left to everything but a listener's connections."""

SITES = 2
"""Listeners that share a process and its files: the portal and the soft token."""

_PROXIES = "trusted proxies"
LOG_INTERVAL = 60.0
"""Seconds between two log lines about connections that had to go, so that opening many does not fill the log."""


@dataclass(eq=False, slots=True)
class Network:
    """The connections that count together. ``owing``: those that owe a request, and since when, the one that has owed
    longest first; ``busy``: those that are being answered, likewise."""

    name: str
    is_proxy: bool
    owing: OrderedDict[Connection, float] = field(default_factory=OrderedDict)
    busy: OrderedDict[Connection, float] = field(default_factory=OrderedDict)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.owing) + len(self.busy)

    def first(self) -> Connection | None:
        """The one to go first: it owes longest, or, if none owes, it is being answered longest."""
        return next(iter(self.owing or self.busy), None)


@dataclass(eq=False, slots=True)
class Connection:
    """One accepted connection in the limiter's books. ``drop`` ends it at once."""

    network: Network
    drop: Callable[[], None]
    timer: asyncio.TimerHandle | None = None
    open: bool = True


class ConnectionLimiter:
    """Counts the connections of one listener. ``most``: at once, from everybody; ``is_proxy``: whether an address is a
    trusted proxy, which may have more than MAX_PER_NETWORK. ``clock``: the loop's."""

    def __init__(
        self,
        door: str,
        most: int,
        is_proxy: Callable[[str], bool],
        loop: asyncio.AbstractEventLoop,
        header_seconds: float = HEADER_SECONDS,
    ) -> None:
        self.most, self.header_seconds = most, header_seconds
        self._door, self._is_proxy, self._loop = door, is_proxy, loop
        self._networks: dict[str, Network] = {}
        self._owing: OrderedDict[Connection, float] = OrderedDict()
        self._busy: OrderedDict[Connection, float] = OrderedDict()
        self._log = RareLog("http", loop.time, LOG_INTERVAL)

    def for_handshakes(self, most: int) -> ConnectionLimiter:
        """Another one, by the same rules, for those whose handshake is under way."""
        door = f"{self._door}, TLS handshakes"
        return ConnectionLimiter(door, most, self._is_proxy, self._loop, self.header_seconds)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._owing) + len(self._busy)

    def admit(self, address: str, drop: Callable[[], None]) -> Connection | None:
        """Count a connection that was just accepted from this address; it owes a request. Another one is dropped for
        it, if they are too many. None, if all the others were complete requests a moment ago: this one has to go."""
        is_proxy = self._is_proxy(address)
        name = _PROXIES if is_proxy else network_of(address)
        network = self._networks.get(name)
        if network is None:
            network = self._networks[name] = Network(name, is_proxy)
        if not network.is_proxy and network.size >= MAX_PER_NETWORK:
            self._evict(network.first(), "too many connections from one network")
        while self.count >= self.most:
            if not self._evict(self._to_go(), "too many connections"):
                return None
        self._networks[name] = network  # it was forgotten if its only connection has just gone
        connection = Connection(network, drop)
        self._owes(connection)
        return connection

    def make_room(self) -> bool:
        """Drop one connection, for want of file descriptors. False: there is none."""
        return self._evict(self._to_go(), "too many open files")

    def request_begun(self, connection: Connection) -> None:
        """Its headers are complete. It still owes the body, which has a time limit of its own."""
        self._stop_timer(connection)

    def request_complete(self, connection: Connection) -> None:
        """The whole request has arrived and is being answered: it owes nothing."""
        if connection.open:
            self._remove(connection)
            connection.network.busy[connection] = self._busy[connection] = self._loop.time()

    def answered(self, connection: Connection) -> None:
        """From now on it owes the next request, and has to take its answer."""
        if connection.open:
            self._remove(connection)
            self._owes(connection)

    def closed(self, connection: Connection) -> None:
        """It has ended. May be called again."""
        if not connection.open:
            return
        connection.open = False
        self._remove(connection)
        if not connection.network.size:
            self._networks.pop(connection.network.name, None)

    def _owes(self, connection: Connection) -> None:
        connection.network.owing[connection] = self._owing[connection] = self._loop.time()
        connection.timer = self._loop.call_later(self.header_seconds, self._end, connection)

    def _remove(self, connection: Connection) -> None:
        self._stop_timer(connection)
        for one in (self._owing, self._busy, connection.network.owing, connection.network.busy):
            one.pop(connection, None)

    def _to_go(self) -> Connection | None:
        """Who has owed longest. If that is not long: who has owed longest of the network that has most connections.
        Only if nobody owes: who is being answered longest, if that is long. None: nobody."""
        now = self._loop.time()
        longest = next(iter(self._owing), None)
        if longest is None:
            busy = next(iter(self._busy), None)
            return busy if busy is not None and now >= self._busy[busy] + PATIENT_SECONDS else None
        if now >= self._owing[longest] + PATIENT_SECONDS:
            return longest
        networks = (network for network in self._networks.values() if network.owing and not network.is_proxy)
        crowd = max(networks, key=lambda network: network.size, default=longest.network)
        return next(iter(crowd.owing)) if crowd.size > 1 else longest

    def _evict(self, connection: Connection | None, why: str) -> bool:
        source = "all are being answered" if connection is None else connection.network.name
        self._log.warn(why, door=self._door, at_once=self.count, source=source)
        if connection is None:
            return False
        self._end(connection)
        return True

    def _end(self, connection: Connection) -> None:
        self.closed(connection)
        connection.drop()

    @staticmethod
    def _stop_timer(connection: Connection) -> None:
        if connection.timer is not None:
            connection.timer.cancel()
            connection.timer = None


class LimitedConnection(asyncio.Protocol):
    """Stands between a connection and ``inner`` (aiohttp's protocol), and tells the limiter of its end. ``place`` is
    set when the connection is accepted; ``abort`` ends it, whether its transport is made already or not."""

    def __init__(self, limiter: ConnectionLimiter, inner: asyncio.Protocol) -> None:
        self._limiter, self._inner = limiter, inner
        self._transport: asyncio.Transport | None = None
        self._aborted = self._is_made = False
        self.place: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake, if there is one, is done."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._aborted:  # it had to go for a newcomer: aiohttp fails where one ends before its task has begun
            transport.abort()
            return
        self._is_made = True
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give its place in the limits back."""
        self.closed()
        if self._is_made:
            self._inner.connection_lost(exc)

    def closed(self) -> None:
        """The connection has ended, perhaps before it was made."""
        if self.place is not None:
            self._limiter.closed(self.place)

    def data_received(self, data: bytes) -> None:
        """Pass on; what a connection that was aborted still sends is dropped."""
        if not self._aborted:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def abort(self) -> None:
        """End the connection now."""
        self._aborted = True
        if self._transport is not None:
            self._transport.abort()

    def request_begun(self) -> None:
        """The headers of a request are complete."""
        if self.place is not None:
            self._limiter.request_begun(self.place)

    def request_complete(self) -> None:
        """A whole request has arrived."""
        if self.place is not None:
            self._limiter.request_complete(self.place)

    def answered(self) -> None:
        """A request has been answered."""
        if self.place is not None:
            self._limiter.answered(self.place)


def connection_of(request: web.BaseRequest) -> LimitedConnection | None:
    """The limited connection that a request came over; None where there is none (a test without a listener)."""
    transport = request.transport
    protocol = transport.get_protocol() if isinstance(transport, asyncio.Transport) else None
    return protocol if isinstance(protocol, LimitedConnection) else None


def network_of(address: str) -> str:
    """What counts as one for a connection's IP address: for IPv6 its /64, because a host there has every address of it;
    an IPv4 address that is mapped into IPv6 is itself. A text that is no address is one network."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found, 64), strict=False))


def connections_within_files(most: int) -> int:
    """``most``, or as many connections as this process may have files for (RLIMIT_NOFILE), which is raised as far as it
    may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SITES * most + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, (soft - SPARE_FILES) // SITES))
