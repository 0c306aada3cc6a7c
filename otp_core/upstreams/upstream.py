"""Asks an upstream about one login: tries over servers, within a deadline. The first valid reply decides.

Each server gets a packet of its own (identifier, authenticator); a further try at the same server repeats its octets. A
reply to an earlier try is as good as one to the last. Without a valid reply it raises, and never answers by itself.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from otp_core.inline_task import Deferred
from otp_core.model import BackendSilent
from otp_core.radius.codec import Packet, PacketCode
from otp_core.radius.replies import NO_MESSAGE_AUTHENTICATOR
from otp_core.radius.requests import SignedRequest, write_status_server, write_unsigned_request
from otp_core.settings.values import Address
from otp_core.tally import SECONDS, Histogram
from otp_core.timers import Timer, Timers
from otp_core.upstreams.channels import Call, CannotReach, Channels, NoRoom, Write
from otp_core.upstreams.own_mark import OwnMark
from otp_core.upstreams.own_mark import own_mark as new_own_mark
from otp_core.upstreams.servers import Server, Servers

IDLE_SECONDS = 30.0
"""A server from which nothing valid came for so long is asked for a sign of life."""

REVIVAL_SECONDS = 2.0
"""Between two Status-Server to a dead server, at most."""

STATUS_TRIES = 3
"""Status-Server that may be lost before a server counts as dead."""

NO_REPLY = "no reply"
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


class Reply:
    """A valid reply, the request that it answers, and whose it is. (No named tuple: see ``Packet``.)"""

    __slots__ = ("packet", "request", "server")

    def __init__(self, packet: Packet, request: SignedRequest, server: Server) -> None:
        self.packet, self.request, self.server = packet, request, server


class Upstream:
    """One for a process and an entry of ``[[upstreams]]``. Made in the running event loop, to which it belongs.
    ``in_flight``: logins under way; ``seconds``: how long those took that were answered; ``unanswered``: those that
    were not. ``own_mark``: draws the Proxy-States that its requests carry."""

    def __init__(self, plan: Plan, own_mark: OwnMark | None = None) -> None:
        self.plan, self.own_mark = plan, own_mark or new_own_mark()
        self._loop = asyncio.get_running_loop()
        self._timers = Timers(self._loop)
        servers = [self._server(address) for address in plan.addresses]
        self.servers = Servers(plan.name, servers, plan.dead_seconds, plan.timeout + 1, self._loop.time)
        self.in_flight, self.seconds, self.unanswered = 0, Histogram(SECONDS), 0
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
            raise self._silence(f"{self.plan.name}: {self.in_flight} logins wait for it already")
        if pinned is None:
            known = self.servers.in_order()
        else:
            asked = self.servers.at(pinned)
            if asked is None:
                raise self._silence(
                    f"{self.plan.name}: {pinned}, which asked the question, is no server of it any more"
                )
            known = [asked]
        self.in_flight += 1
        begun = self._loop.time()
        login = _Login(self._timers, write)
        try:
            reply = await self._try(login, known, begun, deadline)
            self.seconds.observe(self._loop.time() - begun)
            return reply
        finally:
            login.close()
            self.in_flight -= 1

    async def _try(self, login: _Login, order: list[Server], now: float, deadline: float) -> Reply:
        timeout, tries = self.plan.timeout, self.plan.tries
        for number in range(tries):
            if now >= deadline:
                break
            server, end = order[number % len(order)], min(now + timeout, deadline)
            step = login.send(server, now, end, wait_if_refused=number + 1 == tries or len(order) == 1)
            if step is not None:
                await step
            reply = login.reply
            if reply is not None:
                reply.server.counts[_OUTCOME[reply.packet.code]] += 1
                return reply
            if now + timeout <= deadline or login.is_unreachable(server):  # it had all of its time
                self.servers.missed(server, login.sent_at(server, now), login.cause(server))
            now = self._loop.time()
        for server in login.asked():
            server.counts["no-answer"] += 1
        raise self._silence(f"upstream {self.plan.name} gives no valid answer: {login.causes() or 'no time was left'}")

    def _silence(self, why: str) -> BackendSilent:
        self.unanswered += 1
        return BackendSilent(why)

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

        login = _Login(self._timers, write)
        try:
            for _ in range(tries):
                now = self._loop.time()
                step = login.send(server, now, now + self.plan.timeout, wait_if_refused=False)
                if step is not None:
                    await step
                if login.reply is not None:
                    server.answers_status = True
                    return ""
            return login.cause(server)
        finally:
            login.close()

    async def examine(self, server: Server) -> str:
        """The same for a person who looks at it. Many servers drop what is signed with another secret, so that it looks
        as if nobody were there: one that gives no reply is asked about nobody, unsigned, too."""
        cause = await self.probe(server)
        return (await self.why_silent(server) or cause) if cause == NO_REPLY else cause

    async def why_silent(self, server: Server) -> str:
        """Why a server that is there drops what is signed, by its reply to a login of nobody that is not; empty if it
        has none for that either."""
        secret, password = self.plan.secret, os.urandom(16)

        def write(identifier: int, authenticator: bytes) -> SignedRequest:
            return write_unsigned_request(password, secret, identifier=identifier, authenticator=authenticator)

        login, now = _Login(self._timers, write), self._loop.time()
        try:
            step = login.send(server, now, now + self.plan.timeout, wait_if_refused=False)
            if step is not None:
                await step
            cause = login.cause(server)
        finally:
            login.close()
        if login.reply is not None or cause == NO_MESSAGE_AUTHENTICATOR:
            return "it answers an Access-Request, but no Status-Server: write status_server = false"
        return "" if cause == NO_REPLY else cause

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
    """The tries of one login: a call at each server that was asked, and the first valid reply to any of them
    (``reply``)."""

    __slots__ = ("_calls", "_ends_if_refused", "_step", "_timer", "_timers", "_unreachable", "_write", "reply")

    def __init__(self, timers: Timers, write: Write) -> None:
        self._timers, self._write = timers, write
        self._calls: dict[Server, Call] = {}
        self._unreachable: dict[Server, str] = {}
        """Why nobody can be asked there."""
        self.reply: Reply | None = None
        self._step: Deferred[None] | None = None
        self._timer: Timer | None = None
        self._ends_if_refused: Server | None = None

    def close(self) -> None:
        """Let go of the identifiers."""
        if self._timer is not None:
            self._timers.cancel(self._timer)
            self._timer = None
        for call in self._calls.values():
            call.close()

    def send(self, server: Server, now: float, end: float, *, wait_if_refused: bool) -> Deferred[None] | None:
        """One try at a server. What is to be awaited: until there is a reply, from there or from one that was asked
        before, or until ``end``; None if there is nothing to wait for. ``now``, ``end``: the loop's time.
        ``wait_if_refused``: wait also if nobody listens there, because there is no other server to go to. Raises
        CannotAsk."""
        self._ends_if_refused = None if wait_if_refused else server
        step: Deferred[None] = Deferred()
        self._step = step
        try:
            call = self._calls.get(server)
            if call is None:
                call = self._calls[server] = server.channels.begin(self._write, self, now)
            call.send()
        except CannotReach as error:
            self._unreachable[server] = str(error)
            return None
        except NoRoom:
            self._unreachable[server] = _NO_ROOM
            return None
        if self._timer is not None:
            self._timers.cancel(self._timer)
        self._timer = self._timers.at(end, self._wake)
        return step

    def heard(self, call: Call, reply: Packet) -> None:
        """See ``Asker``."""
        if self.reply is None:
            for server, made in self._calls.items():
                if made is call:
                    self.reply = Reply(reply, call.request, server)
        self._wake()

    def refused(self, call: Call) -> None:
        """See ``Asker``."""
        for server, made in self._calls.items():
            if made is call:
                self._unreachable[server] = _REFUSED
                if self._ends_if_refused is server and self._step is not None:
                    # Not at once: its next try may be refused too, and with it the next tries of all others.
                    asyncio.get_running_loop().call_soon(self._end, self._step)

    def _wake(self) -> None:
        if self._step is not None:
            self._end(self._step)

    def _end(self, step: Deferred[None]) -> None:
        if self._step is step:
            self._step = None
            step.resolve(None)  # where an InlineTask awaits it, the login goes on inside this call

    def asked(self) -> Iterator[Server]:
        """The servers that were sent something, or could not be."""
        return iter(self._calls)

    def sent_at(self, server: Server, now: float) -> float:
        """When it was sent the first packet (loop time); ``now`` if it was not."""
        call = self._calls.get(server)
        return now if call is None else call.sent_at

    def is_unreachable(self, server: Server) -> bool:
        """Whether nobody listens there, or there is no way."""
        return self._unreachable.get(server, _NO_ROOM) != _NO_ROOM

    def cause(self, server: Server) -> str:
        """Why there is no reply from this server."""
        call = self._calls.get(server)
        if call is not None and call.ignored:
            return call.ignored
        return self._unreachable.get(server, NO_REPLY)

    def causes(self) -> str:
        """Of all that were asked."""
        return "; ".join(f"{one.address}: {self.cause(one)}" for one in {**self._calls, **self._unreachable})


_REFUSED, _NO_ROOM = "nobody listens there", "too many requests are under way there"
