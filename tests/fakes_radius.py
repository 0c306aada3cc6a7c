"""The RADIUS server on a real socket, with a fake authenticator that gives the verdicts a test wants.

Everything runs in one event loop: ``async with open_door(...)`` inside a test that ``in_loop`` turns into a plain one.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec

from otp_core.authentication.queue import OnVerdict
from otp_core.model import Accept, Attempt, Challenge, Language, Reject, Silence, Verdict
from otp_core.radius.dictionary import Dictionary
from otp_core.sealing import Sealer
from otp_core.settings import Address
from otp_core.tally import Tally
from otp_core.verdict_log import VerdictLog, Wanted
from radius_server.clients import clients_of
from radius_server.duplicates import Duplicates
from radius_server.listen.udp import Listener
from radius_server.process.access import Limits, RadiusServer
from radius_server.settings import RadiusSettings
from tests.radius import craft
from tests.radius_peer import Packet, Reply, access_request, read_reply
from tests.sekisho import SECRET

P = ParamSpec("P")
QUIET = 0.15
"""Seconds without a reply that count as silence: the server replies within a few milliseconds."""


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A coroutine as a plain test."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*arguments, **named))

    return run


class FakeAuthenticator:
    """Gives each customer's verdicts in turn, the last one for ever. Attempts of a customer without verdicts wait until
    ``release``. ``attempts``: all that were admitted."""

    def __init__(self, verdicts: dict[str, list[Verdict]]) -> None:
        self._verdicts = defaultdict(list, {name: list(told) for name, told in verdicts.items()})
        self.attempts: list[Attempt] = []
        self._waiting: list[tuple[Attempt, OnVerdict]] = []

    def admit(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        self.attempts.append(attempt)
        told = self._verdicts[attempt.customer]
        if not told:
            self._waiting.append((attempt, on_verdict))
            return
        verdict = told.pop(0) if len(told) > 1 else told[0]
        asyncio.get_running_loop().call_soon(on_verdict, verdict)

    def release(self, verdict: Verdict) -> int:
        """Give every waiting attempt this verdict; returns how many there were."""
        waiting, self._waiting = self._waiting, []
        for _, on_verdict in waiting:
            on_verdict(verdict)
        return len(waiting)


def settings_of(*clients: dict[str, Any], **radius: Any) -> RadiusSettings:
    """Settings with these clients. One that leaves them out has all of 127.0.0.0/8, the tests' secret and no reject
    delay."""
    tables = [
        {"name": f"client {at}", "network": "127.0.0.0/8", "secret": SECRET, "reject_delay": 0.0, **client}
        for at, client in enumerate(clients or ({},))
    ]
    return RadiusSettings.model_validate({**radius, "clients": tables})


@dataclass
class Door:
    """The running server, its parts, and gateways' sockets to it."""

    server: RadiusServer
    listener: Listener
    authenticator: FakeAuthenticator
    duplicates: Duplicates
    healthy: bool = True
    full: bool = False
    _sockets: list[socket.socket] = field(default_factory=list)

    def gateway(self, source: str = "127.0.0.1") -> socket.socket:
        """A gateway's socket, connected to the server."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((source, 0))
        made.connect(self.listener.socket.getsockname())
        made.setblocking(False)
        self._sockets.append(made)
        return made

    async def ask(self, packet: Packet, peer: socket.socket | None = None, *, wait: float = 3.0) -> Reply:
        """Send a packet and return its reply, both signatures verified."""
        peer = peer or self.gateway()
        peer.send(packet.octets)
        return await self.hear(packet, peer, wait=wait)

    async def hear(self, packet: Packet, peer: socket.socket, *, wait: float = 3.0) -> Reply:
        """The next reply to ``packet``, both signatures verified. Raises TimeoutError."""
        return read_reply(packet, await self.octets(peer, wait=wait))

    async def octets(self, peer: socket.socket, *, wait: float = 3.0) -> bytes:
        """The next datagram. Raises TimeoutError."""
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 5000), wait)

    async def silent(self, peer: socket.socket, *octets: bytes, wait: float = QUIET) -> bool:
        """Send these datagrams, if any; whether no reply comes within ``wait`` seconds."""
        for one in octets:
            peer.send(one)
        try:
            await self.octets(peer, wait=wait)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        """Close the listener and the gateways' sockets."""
        if self.listener.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.listener.socket)
            self.listener.close()
        for one in self._sockets:
            one.close()

    @property
    def counts(self) -> dict[str, int]:
        """The server's counts by name."""
        return self.server.counters.named()

    def reload(self, settings: RadiusSettings) -> None:
        """Give the server new clients."""
        dictionary = Dictionary()
        self.server.use(clients_of(settings, dictionary), dictionary)


STATE_OCTETS = bytes(range(16))
YES: dict[str, list[Verdict]] = {"taro": [Accept()]}
NO, ASK = Reject("no", Language.JA), Challenge(STATE_OCTETS, Language.JA)
FEW = Limits(max_in_flight=2, request_seconds=5.0, status_rate=20)
"""Limits that a test reaches quickly."""


def ask_as(name: str, user_password: str = "x", **more: object) -> Packet:
    """An Access-Request of this customer, signed with the tests' secret."""
    return access_request(name, user_password, secret=SECRET, **more)  # type: ignore[arg-type]


def crafted(*attributes: bytes) -> Packet:
    """A signed Access-Request of exactly these attributes."""
    return Packet(craft.packet(craft.SIGNED, *attributes), craft.SECRET)


@asynccontextmanager
async def open_door(
    verdicts: dict[str, list[Verdict]] | None = None,
    settings: RadiusSettings | None = None,
    *,
    limits: Limits = Limits(max_in_flight=1000, request_seconds=5.0, status_rate=20),  # noqa: B008  a frozen value
    duplicates: Duplicates | None = None,
    authenticator: FakeAuthenticator | None = None,
    verdicts_logged: Wanted = "refused",
) -> AsyncIterator[Door]:
    """A running server that accepts taro unless told otherwise. At the end nothing may be in flight but the attempts
    that wait for ``release``."""
    dictionary = Dictionary()
    authenticator = authenticator or FakeAuthenticator(YES if verdicts is None else verdicts)
    kept = duplicates or Duplicates(30.0, 10_000)
    clients = clients_of(settings or settings_of(), dictionary)
    listener = Listener(Address("127.0.0.1", 0))
    server = RadiusServer(
        clients,
        dictionary,
        authenticator,
        kept,
        limits,
        Sealer(bytes(32)).fingerprint,
        lambda: door.healthy,
        lambda: door.full,
        VerdictLog(verdicts_logged, Sealer(bytes(32)).name_fingerprint, itertools.count(1).__next__),
        Tally(),
    )
    door = Door(server, listener, authenticator, kept)
    asyncio.get_running_loop().add_reader(listener.socket, listener.drain, server.receive)
    try:
        yield door
        authenticator.release(Silence("the test is over"))
        assert server.in_flight == 0, "requests were counted in and never out"
    finally:
        door.close()
