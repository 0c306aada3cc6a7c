"""The RADIUS client of a bank's gateway: one login request to a server, and the next server when it does not answer.

It accepts no reply without a valid Response Authenticator (RFC 2865 section 3) and Message-Authenticator (RFC 3579
section 3.2). No reply is neither an acceptance nor a rejection.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pyrad import packet

_USER_NAME, _USER_PASSWORD, _REPLY_MESSAGE, _STATE = 1, 2, 18, 24
_CALLING_STATION_ID, _NAS_IDENTIFIER = 31, 32
_MAX_PACKET = 4096
MAX_PASSWORD = 128
"""Octets of a User-Password (RFC 2865 section 5.2)."""
MAX_NAME = 253
"""Octets of a User-Name: what an attribute can hold (RFC 2865 section 5)."""


class ReplyCode(Enum):
    """What a server replies to an Access-Request."""

    ACCEPT = packet.AccessAccept
    REJECT = packet.AccessReject
    CHALLENGE = packet.AccessChallenge


@dataclass(frozen=True)
class Server:
    """IP address and UDP port of a RADIUS server."""

    host: str
    port: int


@dataclass(frozen=True)
class Reply:
    """A valid reply. ``message``: Reply-Message. ``state``: sent back with the answer to a challenge, to ``server``."""

    code: ReplyCode
    message: str
    state: bytes = field(repr=False)
    server: Server


@dataclass(frozen=True)
class LoginRequest:
    """``user_password``: the login password, or the code that a challenge has asked for. ``calling_station_id``: the
    browser's address. ``state``: that of the challenge, None for a first request."""

    user: str
    user_password: str = field(repr=False)
    calling_station_id: str
    state: bytes | None = field(default=None, repr=False)


class NoReply(Exception):
    """No server sent a valid reply."""


class Gateway:
    """A RADIUS client with several servers and one shared secret.

    ``source``: the local address to send from. ``wait``: seconds for a reply. ``tries``: how often a request is sent to
    one server.
    """

    def __init__(
        self, servers: Sequence[Server], secret: bytes, *, source: str | None = None, wait: float = 3.0, tries: int = 2
    ) -> None:
        self._servers, self._secret, self._source = tuple(servers), secret, source
        self._wait, self._tries = wait, tries

    async def send(self, request: LoginRequest, first: Server | None = None) -> Reply:
        """Send the request to the servers in their order, to ``first`` before the others. Raises NoReply."""
        for server in sorted(self._servers, key=lambda one: one != first):
            reply = await self._send_to(server, request)
            if reply is not None:
                return reply
        raise NoReply

    async def _send_to(self, server: Server, request: LoginRequest) -> Reply | None:
        sent = self._packet(request)
        octets = sent.RequestPacket()
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as connection:
            connection.setblocking(False)
            if self._source is not None:
                connection.bind((self._source, 0))
            connection.connect((server.host, server.port))
            for _ in range(self._tries):
                # The same octets each time: so the server recognises a retransmission (RFC 5080 section 2.2.2).
                try:
                    async with asyncio.timeout(self._wait):
                        await loop.sock_sendall(connection, octets)
                        return await self._receive(connection, sent, server)
                except TimeoutError:
                    continue
                except OSError:
                    return None  # nothing listens at this port
        return None

    async def _receive(self, connection: socket.socket, sent: Any, server: Server) -> Reply:
        """The first valid reply; all others are dropped."""
        while True:
            octets = await asyncio.get_running_loop().sock_recv(connection, _MAX_PACKET)
            try:
                reply = sent.CreateReply(packet=octets)
                valid = sent.VerifyReply(reply, octets, enforce_ma=True)
                code = ReplyCode(reply.code)
            except Exception:  # noqa: S112  pyrad raises exceptions of many types
                continue
            if valid:
                message = b"".join(reply.get(_REPLY_MESSAGE, [])).decode("utf-8", "replace")
                return Reply(code, message, b"".join(reply.get(_STATE, [])), server)

    def _packet(self, request: LoginRequest) -> Any:
        """The Access-Request. Attributes by number: by name, pyrad would change the octets of some values."""
        access_request = packet.AuthPacket(
            code=packet.AccessRequest,
            id=secrets.randbelow(256),
            secret=self._secret,
            authenticator=packet.Packet.CreateAuthenticator(),
        )
        access_request.add_message_authenticator()
        access_request[_USER_NAME] = [request.user.encode()]
        access_request[_USER_PASSWORD] = [access_request.PwCrypt(request.user_password.encode())]
        access_request[_NAS_IDENTIFIER] = [b"demo-bank"]
        access_request[_CALLING_STATION_ID] = [request.calling_station_id.encode()]
        if request.state is not None:
            access_request[_STATE] = [request.state]
        return access_request
