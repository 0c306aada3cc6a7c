"""Questions to a RADIUS server, as a bank's gateway puts them. It believes no answer that is not signed (RFC 2865
section 3, RFC 3579 section 3.2), and takes silence for nothing but silence.
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
_MOST_OCTETS = 4096
LONGEST_PASSWORD = 128
"""Octets of a User-Password (RFC 2865 section 5.2)."""
LONGEST_NAME = 253


class Kind(Enum):
    ACCEPT = packet.AccessAccept
    REJECT = packet.AccessReject
    CHALLENGE = packet.AccessChallenge


@dataclass(frozen=True)
class Answer:
    """``state`` goes back with the answer to a challenge; ``server`` is who said it."""

    kind: Kind
    message: str
    state: bytes = field(repr=False)
    server: Server


@dataclass(frozen=True)
class Server:
    host: str
    port: int


@dataclass(frozen=True)
class Question:
    """``user_password``: the password, or the code that a challenge asked for. ``calling_station_id``: the browser's
    address."""

    user: str
    user_password: str = field(repr=False)
    calling_station_id: str
    state: bytes | None = field(default=None, repr=False)


class Nobody(Exception):
    """No server gave an answer that could be believed. It is neither a yes nor a no."""


class Gateway:
    """Asks the first server, and the next one when it is silent."""

    def __init__(
        self, servers: Sequence[Server], secret: bytes, *, source: str | None = None, wait: float = 3.0, tries: int = 2
    ) -> None:
        self._servers, self._secret, self._source = tuple(servers), secret, source
        self._wait, self._tries = wait, tries

    async def ask(self, question: Question, first: Server | None = None) -> Answer:
        """``first``: who is asked before the others. Raises Nobody."""
        for server in sorted(self._servers, key=lambda one: one != first):
            answer = await self._ask(server, question)
            if answer is not None:
                return answer
        raise Nobody

    async def _ask(self, server: Server, question: Question) -> Answer | None:
        asked = self._packet(question)
        octets = asked.RequestPacket()
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            if self._source is not None:
                peer.bind((self._source, 0))
            peer.connect((server.host, server.port))
            for _ in range(self._tries):
                # The same octets again, so that the server knows it for the same question (RFC 5080 section 2.2.2).
                try:
                    async with asyncio.timeout(self._wait):
                        await loop.sock_sendall(peer, octets)
                        return await self._hear(peer, asked, server)
                except TimeoutError:
                    continue
                except OSError:
                    return None  # nobody listens there
        return None

    async def _hear(self, peer: socket.socket, asked: Any, server: Server) -> Answer:
        while True:
            octets = await asyncio.get_running_loop().sock_recv(peer, _MOST_OCTETS)
            try:
                reply = asked.CreateReply(packet=octets)
                believed = asked.VerifyReply(reply, octets, enforce_ma=True)
                kind = Kind(reply.code)
            except Exception:  # noqa: S112  pyrad raises many kinds; the wait for the right answer goes on
                continue
            if believed:
                message = b"".join(reply.get(_REPLY_MESSAGE, [])).decode("utf-8", "replace")
                return Answer(kind, message, b"".join(reply.get(_STATE, [])), server)

    def _packet(self, question: Question) -> Any:
        """Attributes by number: by name pyrad would change the octets of some."""
        asked = packet.AuthPacket(
            code=packet.AccessRequest,
            id=secrets.randbelow(256),
            secret=self._secret,
            authenticator=packet.Packet.CreateAuthenticator(),
        )
        asked.add_message_authenticator()
        asked[_USER_NAME] = [question.user.encode()]
        asked[_USER_PASSWORD] = [asked.PwCrypt(question.user_password.encode())]
        asked[_NAS_IDENTIFIER] = [b"demo-bank"]
        asked[_CALLING_STATION_ID] = [question.calling_station_id.encode()]
        if question.state is not None:
            asked[_STATE] = [question.state]
        return asked
