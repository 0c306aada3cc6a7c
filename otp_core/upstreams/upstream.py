"""Asks an upstream about one login: tries over servers, within a deadline. The first valid reply decides.

Each server gets a packet of its own (identifier, authenticator); a further try at the same server repeats its octets. A
reply to an earlier try is as good as one to the last. Without a valid reply it raises, and never answers by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import structlog

from otp_core.model import BackendSilent
from otp_core.radius.codec import Packet, PacketCode
from otp_core.radius.requests import SignedRequest, write_status_server
from otp_core.settings import Address
from otp_core.tally import SECONDS, Histogram
from otp_core.upstreams.channels import Call, CannotReach, Channels, NoRoom, Write
from otp_core.upstreams.servers import Server, Servers

IDLE_SECONDS = 30.0
"""A server from which nothing valid came for so long is asked for a sign of life."""

REVIVAL_SECONDS = 2.0
"""Between two Status-Server to a dead server, at most."""

STATUS_TRIES = 3
"""Status-Server that may be lost before a server counts as dead."""

_log = structlog.get_logger("upstream")


@dataclass(frozen=True, slots=True)
class Plan:
    """How an upstream is asked; as in the settings (``[[upstreams]]``). ``timeout``, ``dead_seconds``: seconds.
    ``most``: logins under way at once."""

    name: str
    addresses: tuple[Address, ...]
    secret: bytes = field(repr=False)
    source: str | None = None
    timeout: float = 2.0
    tries: int = 3
    dead_seconds: float = 30.0
    status_server: bool = True
    require_message_authenticator: bool = True
    most: int = 2048


class Reply(NamedTuple):
    """A valid reply, the request that it answers, and whose it is."""

    packet: Packet
    request: SignedRequest
    server: Server


class Upstream:
    """One for a process and an entry of ``[[upstreams]]``. Made in the running event loop, to which it belongs.
    ``in_flight``: logins under way; ``seconds``: how long those took that were answered."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._loop = asyncio.get_running_loop()
        servers = [self._server(address) for address in plan.addresses]
        self.servers = Servers(plan.name, servers, plan.dead_seconds, plan.timeout + 1, self._loop.time)
        self.in_flight, self.seconds = 0, Histogram(SECONDS)
        self._watches = [self._loop.create_task(self._watch(server)) for server in servers if plan.status_server]

    def _server(self, address: Address) -> Server:
        plan = self.plan
        channels = Channels(
            address, plan.source, plan.require_message_authenticator, lambda: self.servers.heard(server)
        )
        server = Server(address, channels)
        return server

    @property
    def reachable(self) -> bool:
        """False while it is known that none of its servers would answer."""
        return not self.servers.is_down()

    async def ask(self, write: Write, deadline: float, pinned: str | None = None) -> Reply:
        """The first valid reply. ``write``: makes the request for each server. ``deadline``: loop time. ``pinned``: the
        address of the only server that knows what is asked. Raises BackendSilent, CannotAsk."""
        if self.in_flight >= self.plan.most:
            raise BackendSilent(f"{self.plan.name}: {self.in_flight} logins wait for it already")
        order = self.servers.in_order() if pinned is None else [self.servers.at(pinned)]
        known = [server for server in order if server is not None]
        if not known:
            raise BackendSilent(f"{self.plan.name}: {pinned}, which asked the question, is no server of it any more")
        self.in_flight += 1
        begun = self._loop.time()
        try:
            with _Login(self._loop, write) as login:
                reply = await self._try(login, known, deadline)
            self.seconds.observe(self._loop.time() - begun)
            return reply
        finally:
            self.in_flight -= 1

    async def _try(self, login: _Login, order: list[Server], deadline: float) -> Reply:
        for number in range(self.plan.tries):
            now = self._loop.time()
            if now >= deadline:
                break
            server, end = order[number % len(order)], min(now + self.plan.timeout, deadline)
            last = number + 1 == self.plan.tries or len(order) == 1
            reply = await login.send(server, end, wait_if_refused=last)
            if reply is not None:
                reply.server.counts[_OUTCOME[reply.packet.code]] += 1
                return reply
            if now + self.plan.timeout <= deadline or login.is_unreachable(server):  # it had all of its time
                self.servers.missed(server, login.sent_at(server), login.cause(server))
        for server in login.asked():
            server.counts["no-answer"] += 1
        raise BackendSilent(f"upstream {self.plan.name} gives no valid answer: {login.causes() or 'no time was left'}")

    async def close(self) -> None:
        """Close the sockets, and stop looking for signs of life."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        for server in self.servers:
            server.channels.close()

    # Signs of life

    async def probe(self, server: Server, tries: int = STATUS_TRIES) -> str:
        """Send Status-Server until it is answered (RFC 5997). Empty, or why not."""
        secret = self.plan.secret

        def write(identifier: int, authenticator: bytes) -> SignedRequest:
            return write_status_server(secret, identifier=identifier, authenticator=authenticator)

        with _Login(self._loop, write) as login:
            for _ in range(tries):
                if await login.send(server, self._loop.time() + self.plan.timeout, wait_if_refused=False) is not None:
                    server.answers_status = True
                    return ""
            return login.cause(server)

    async def _watch(self, server: Server) -> None:
        """Without end: at the start, when nothing was heard for a while, and often while it is dead."""
        while True:
            sent_at = self._loop.time()
            if server.dead_because or sent_at - server.heard_at >= IDLE_SECONDS:
                cause = await self.probe(server, 1 if server.dead_because else STATUS_TRIES)
                if cause and self._is_told_by_status(server):
                    self.servers.missed(server, sent_at, f"Status-Server: {cause}")
            await asyncio.sleep(self._pause(server))

    @staticmethod
    def _is_told_by_status(server: Server) -> bool:
        """Whether a Status-Server without an answer says anything: not of a server that answers logins and may not know
        the question. At the start it does, until a login is answered."""
        return server.answers_status or (math.isinf(server.heard_at) and not server.dead_because)

    def _pause(self, server: Server) -> float:
        if server.dead_because:
            return min(self.plan.dead_seconds, REVIVAL_SECONDS)
        quiet = self._loop.time() - server.heard_at
        return min(max(IDLE_SECONDS - quiet, 1.0), IDLE_SECONDS)


_OUTCOME = {
    int(PacketCode.ACCESS_ACCEPT): "accept",
    int(PacketCode.ACCESS_REJECT): "reject",
    int(PacketCode.ACCESS_CHALLENGE): "challenge",
}


class _Login:
    """The tries of one login: a call at each server that was asked, and the first valid reply to any of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, write: Write) -> None:
        self._loop, self._write = loop, write
        self._calls: dict[Server, Call] = {}
        self._sent: dict[Server, float] = {}
        self._unreachable: dict[Server, str] = {}
        self._full: set[Server] = set()
        self._refused: set[Server] = set()
        self._reply: Reply | None = None
        self._step: asyncio.Future[None] | None = None
        self._ends_if_refused: Server | None = None

    def __enter__(self) -> _Login:
        return self

    def __exit__(self, *_: object) -> None:
        for call in self._calls.values():
            call.close()

    async def send(self, server: Server, end: float, *, wait_if_refused: bool) -> Reply | None:
        """One try at a server: its reply, or that of one that was asked before; None if none comes until ``end`` (loop
        time). ``wait_if_refused``: wait also if nobody listens there, because there is no other server to go to."""
        self._step = self._loop.create_future()
        self._ends_if_refused = None if wait_if_refused else server
        timer = self._loop.call_at(end, self._wake)
        try:
            call = self._calls.get(server)
            if call is None:
                call = server.channels.begin(self._write, partial(self._heard, server), partial(self._refuse, server))
                self._calls[server], self._sent[server] = call, self._loop.time()
            call.send()
        except CannotReach as error:
            self._unreachable[server] = str(error)
            self._wake()
        except NoRoom:
            self._full.add(server)
            self._wake()
        try:
            await self._step
        finally:
            timer.cancel()
        return self._reply

    def _heard(self, server: Server, packet: Packet) -> None:
        if self._reply is None:
            self._reply = Reply(packet, self._calls[server].request, server)
        self._wake()

    def _refuse(self, server: Server) -> None:
        self._refused.add(server)
        if self._ends_if_refused is server:
            self._wake()

    def _wake(self) -> None:
        if self._step is not None and not self._step.done():
            self._step.set_result(None)

    def asked(self) -> Iterator[Server]:
        """The servers that were sent something."""
        return iter(self._sent)

    def sent_at(self, server: Server) -> float:
        """When it was sent the first packet (loop time)."""
        return self._sent.get(server, self._loop.time())

    def is_unreachable(self, server: Server) -> bool:
        """Whether nobody listens there, or there is no way."""
        return server in self._refused or server in self._unreachable

    def cause(self, server: Server) -> str:
        """Why there is no reply from this server."""
        call = self._calls.get(server)
        if call is not None and call.ignored:
            return call.ignored
        if server in self._refused:
            return "nobody listens there"
        if server in self._full:
            return "too many requests are under way there"
        return self._unreachable.get(server, "no reply")

    def causes(self) -> str:
        """Of all that were asked."""
        return "; ".join(f"{one.address}: {self.cause(one)}" for one in {**self._sent, **self._unreachable})
