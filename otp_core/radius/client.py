"""A RADIUS client for one or more servers: retransmission, fail-over, dead time, revival.

The first server that gives a valid reply decides. It never accepts anybody itself: no answer is Silence, and a reply
counts only if both of its signatures are right.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from otp_core.model import Accept, Attempt, Challenge, Reject, Silence, Verdict
from otp_core.radius.codec import MAX_PACKET, AttributeType, CannotAsk, NotAReply, Packet, PacketCode
from otp_core.radius.replies import read_reply
from otp_core.radius.requests import SignedRequest, write_access_request, write_status_server
from otp_core.settings import Address

_MAX_STATES = 4096
"""Open challenges whose server is remembered; beyond that the oldest are forgotten."""

_log = structlog.get_logger("radius client")


class NoAnswer(Exception):
    """A server gave no valid reply in time. The text says what came instead, if anything."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a server is waited for.

    ``timeout``: seconds to wait after each transmission. ``retries``: retransmissions of the same octets after the
    first. ``dead_seconds``: seconds between the Status-Server probes of a server that did not answer.
    """

    timeout: float
    retries: int
    dead_seconds: float


@dataclass(eq=False, slots=True)
class _Server:
    address: Address
    dead_because: str = ""
    """Why no login is sent there; empty for a server that answers."""


@dataclass
class RadiusClient:
    """Asks the servers at ``addresses``, in that order of preference. Belongs to one event loop.

    ``secret``: shared with all of them; may be replaced at any time, and holds from the next request on.
    ``nas_identifier``: sent as NAS-Identifier if not empty.
    """

    addresses: Sequence[Address]
    secret: bytes = field(repr=False)
    retry_policy: RetryPolicy
    nas_identifier: str = ""

    def __post_init__(self) -> None:
        self._servers = [_Server(address) for address in self.addresses]
        self._server_of_state: OrderedDict[bytes, _Server] = OrderedDict()
        self._probes: set[asyncio.Task[None]] = set()

    async def answer(self, attempt: Attempt) -> Verdict:
        """The verdict of the first server that gives one; Silence if none does before the attempt's deadline.

        A value that does not fit into RADIUS is a Reject.
        """
        causes = []
        for server in self._candidates(attempt):
            if asyncio.get_running_loop().time() >= attempt.deadline:
                causes.append(f"{server.address}: not asked, no time was left")
                continue
            try:
                reply = await self._ask(server, attempt)
            except CannotAsk as error:
                return Reject(str(error), attempt.policy.language)
            except NoAnswer as error:
                causes.append(f"{server.address}: {error}")
                self._mark_dead(server, str(error))
                continue
            self._mark_alive(server)
            return self._verdict(server, reply, attempt)
        return Silence("no RADIUS server answers: " + "; ".join(causes))

    def _candidates(self, attempt: Attempt) -> list[_Server]:
        """The servers to ask. The answer to a challenge goes only to the server that sent it, because no other knows
        its State. If all servers are dead, all are tried."""
        if attempt.challenge is not None:
            known = self._server_of_state.pop(attempt.challenge, None)
            return [known] if known else []
        return [one for one in self._servers if not one.dead_because] or self._servers

    def _verdict(self, server: _Server, reply: Packet, attempt: Attempt) -> Verdict:
        language = attempt.policy.language
        if reply.code == PacketCode.ACCESS_ACCEPT:
            return Accept()
        if reply.code == PacketCode.ACCESS_CHALLENGE:
            state = reply.found[AttributeType.STATE]
            self._server_of_state[state] = server
            if len(self._server_of_state) > _MAX_STATES:
                self._server_of_state.popitem(last=False)
            return Challenge(state, language, again=attempt.challenge is not None)
        return Reject(f"refused by {server.address}", language)

    async def _ask(self, server: _Server, attempt: Attempt) -> Packet:
        """The server's reply to an Access-Request. Raises CannotAsk, NoAnswer."""
        request = write_access_request(
            attempt.customer,
            attempt.user_password,
            self.secret,
            identifier=secrets.randbelow(256),
            authenticator=secrets.token_bytes(16),
            nas_identifier=self.nas_identifier,
            calling_station_id=attempt.calling_station_id,
            state=attempt.challenge,
        )
        return await self._exchange(server, request, self.retry_policy.retries, attempt.deadline)

    async def _exchange(self, server: _Server, request: SignedRequest, retries: int, deadline: float) -> Packet:
        """Send until a valid reply comes. Each request has a socket of its own, so that its identifier cannot collide
        with that of another request in flight. Raises NoAnswer."""
        loop = asyncio.get_running_loop()
        timeout, seen = self.retry_policy.timeout, ""
        try:
            with _connect(server.address) as connection:
                for _ in range(1 + retries):
                    end = min(loop.time() + timeout, deadline)
                    if end <= loop.time():
                        break
                    try:
                        await loop.sock_sendall(connection, request.octets)
                        async with asyncio.timeout_at(end):
                            while True:
                                datagram = await loop.sock_recv(connection, MAX_PACKET + 1)
                                try:
                                    return read_reply(request, datagram)
                                except NotAReply as error:
                                    seen = str(error)  # may be forged: the right one may still come
                    except TimeoutError:
                        continue
        except ConnectionRefusedError:
            raise NoAnswer("nobody listens there") from None
        except OSError as error:
            raise NoAnswer(f"cannot be reached: {error.strerror or error}") from None
        raise NoAnswer(seen or f"nothing after {1 + retries} tries of {timeout:g} s")

    # Dead and alive

    def _mark_dead(self, server: _Server, cause: str) -> None:
        """Send no logins there until a probe is answered."""
        if server.dead_because:
            return
        server.dead_because = cause
        _log.error(
            "a RADIUS server does not answer",
            server=str(server.address),
            cause=cause,
            next=", ".join(str(one.address) for one in self._servers if not one.dead_because) or "none",
        )
        task = asyncio.get_running_loop().create_task(self._probe_until_alive(server))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    def _mark_alive(self, server: _Server) -> None:
        if server.dead_because:
            server.dead_because = ""
            _log.warning("a RADIUS server answers again", server=str(server.address))

    async def _probe_until_alive(self, server: _Server) -> None:
        """Send a Status-Server every ``dead_seconds``, so that no login has to wait for a dead server (RFC 5997)."""
        loop = asyncio.get_running_loop()
        while server.dead_because:
            await asyncio.sleep(self.retry_policy.dead_seconds)
            request = write_status_server(
                self.secret,
                identifier=secrets.randbelow(256),
                authenticator=secrets.token_bytes(16),
                nas_identifier=self.nas_identifier,
            )
            with contextlib.suppress(NoAnswer):
                await self._exchange(server, request, 0, loop.time() + self.retry_policy.timeout)
                self._mark_alive(server)

    async def close(self) -> None:
        """Stop the probes."""
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)


def _connect(address: Address) -> socket.socket:
    """A connected UDP socket: the kernel drops datagrams from elsewhere, and reports a port that nobody listens at.
    Raises OSError."""
    made = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.connect((address.host, address.port))
    except OSError:
        made.close()
        raise
    return made
