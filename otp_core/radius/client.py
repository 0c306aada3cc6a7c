"""RADIUS servers as one that answers: retransmission, fail-over, dead time, revival, challenges back to their maker.

A server that does not answer is never an acceptance, and a verdict is only ever a reply with two right signatures.
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
from otp_core.radius.requests import (
    MAX_PACKET,
    CannotAsk,
    NotAReply,
    PacketCode,
    Reply,
    Request,
    access_request,
    read_reply,
    status_server,
)
from otp_core.settings import Address

_MAX_STATES = 4096
_log = structlog.get_logger("agent")


class NoAnswer(Exception):
    """The server did not answer in time. The text says what was seen instead."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``timeout``: seconds for each try; ``retries``: further tries with the same octets; ``dead_seconds``: until a
    server that did not answer is asked again how it is."""

    timeout: float
    retries: int
    dead_seconds: float


@dataclass(eq=False, slots=True)
class _Server:
    address: Address
    dead: str = ""
    """Why; empty for one that answers."""


@dataclass
class RadiusServers:
    """In the order in which they are preferred. Belongs to one event loop."""

    addresses: Sequence[Address]
    secret: bytes = field(repr=False)
    patience: RetryPolicy
    nas: str = ""

    def __post_init__(self) -> None:
        self._servers = [_Server(address) for address in self.addresses]
        self._states: OrderedDict[bytes, _Server] = OrderedDict()
        self._probes: set[asyncio.Task[None]] = set()

    async def answer(self, attempt: Attempt) -> Verdict:
        """The verdict of the first server that gives one; Silence if none does before the attempt's deadline."""
        causes = []
        for server in self._order(attempt):
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

    def _order(self, attempt: Attempt) -> list[_Server]:
        """An answer to a challenge goes where it came from: no other knows it. If all are dead, all are tried."""
        if attempt.challenge is not None:
            known = self._states.pop(attempt.challenge, None)
            return [known] if known else []
        return [one for one in self._servers if not one.dead] or self._servers

    def _verdict(self, server: _Server, reply: Reply, attempt: Attempt) -> Verdict:
        match reply.code:
            case PacketCode.ACCESS_ACCEPT:
                return Accept()
            case PacketCode.ACCESS_CHALLENGE:
                assert reply.state is not None
                self._states[reply.state] = server
                if len(self._states) > _MAX_STATES:
                    self._states.popitem(last=False)
                return Challenge(reply.state, attempt.policy.language, again=attempt.challenge is not None)
            case _:
                return Reject(f"refused by {server.address}", attempt.policy.language)

    async def _ask(self, server: _Server, attempt: Attempt) -> Reply:
        request = access_request(
            attempt.customer,
            attempt.user_password,
            self.secret,
            identifier=secrets.randbelow(256),
            authenticator=secrets.token_bytes(16),
            nas=self.nas,
            calling_station_id=attempt.calling_station_id,
            state=attempt.challenge,
        )
        return await self._exchange(server, request, self.patience.retries, attempt.deadline)

    async def _exchange(self, server: _Server, request: Request, retries: int, deadline: float) -> Reply:
        """A socket of its own for each request: an identifier is never in use twice. Raises NoAnswer."""
        loop = asyncio.get_running_loop()
        seen = ""
        try:
            with _connected(server.address) as connection:
                for _ in range(1 + retries):
                    end = min(loop.time() + self.patience.timeout, deadline)
                    if end <= loop.time():
                        break
                    try:
                        await loop.sock_sendall(connection, request.octets)
                        async with asyncio.timeout_at(end):
                            while True:
                                octets = await loop.sock_recv(connection, MAX_PACKET + 1)
                                try:
                                    return read_reply(request, octets)
                                except NotAReply as error:
                                    seen = str(error)
                    except TimeoutError:
                        continue
        except ConnectionRefusedError:
            raise NoAnswer("nobody listens there") from None
        except OSError as error:
            raise NoAnswer(f"cannot be reached: {error.strerror or error}") from None
        raise NoAnswer(seen or f"nothing after {1 + retries} tries of {self.patience.timeout:g} s")

    # Dead and alive

    def _mark_dead(self, server: _Server, cause: str) -> None:
        if server.dead:
            return
        server.dead = cause
        _log.error(
            "a RADIUS server does not answer",
            server=str(server.address),
            cause=cause,
            next=", ".join(str(one.address) for one in self._servers if not one.dead) or "none",
        )
        task = asyncio.get_running_loop().create_task(self._probe_until_alive(server))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    def _mark_alive(self, server: _Server) -> None:
        if server.dead:
            server.dead = ""
            _log.warning("a RADIUS server answers again", server=str(server.address))

    async def _probe_until_alive(self, server: _Server) -> None:
        """Status-Server now and then, so that no login has to find out (RFC 5997)."""
        loop = asyncio.get_running_loop()
        while server.dead:
            await asyncio.sleep(self.patience.dead_seconds)
            request = status_server(
                self.secret, identifier=secrets.randbelow(256), authenticator=secrets.token_bytes(16), nas=self.nas
            )
            with contextlib.suppress(NoAnswer):
                await self._exchange(server, request, 0, loop.time() + self.patience.timeout)
                self._mark_alive(server)

    async def close(self) -> None:
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)


def _connected(address: Address) -> socket.socket:
    """Connected, so that the system drops what comes from elsewhere, and says when nobody is there."""
    made = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.connect((address.host, address.port))
    except OSError:
        made.close()
        raise
    return made
