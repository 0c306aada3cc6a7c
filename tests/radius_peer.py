"""A RADIUS client for the tests: many signed requests at once from several sockets, every reply checked.

Written from RFC 2865, 3579 and 5997 alone, without the product's codec, so that a fault in one shows in the other.
"""

from __future__ import annotations

import hmac
import os
import select
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import md5

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"
_NAMES = {2: ACCEPT, 3: REJECT, 11: CHALLENGE}
_STATE = 24
_MESSAGE_AUTHENTICATOR = 80
Where = tuple[str, int]
Attribute = tuple[int, bytes]


class BadReply(AssertionError):
    """A reply that a gateway would have to drop: wrong framing, Response Authenticator or Message-Authenticator."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A signed request. The same octets may be sent several times."""

    octets: bytes
    secret: bytes = field(repr=False)

    @property
    def identifier(self) -> int:
        return self.octets[1]

    @property
    def authenticator(self) -> bytes:
        return self.octets[4:20]


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply whose two signatures are right. ``at``: time.monotonic() of its arrival."""

    name: str
    attributes: tuple[Attribute, ...]
    at: float = 0.0

    @property
    def state(self) -> bytes:
        (value,) = (value for type_, value in self.attributes if type_ == _STATE)
        return value


def access_request(
    user: str,
    user_password: str,
    *,
    secret: str,
    state: bytes | None = None,
    identifier: int | None = None,
    authenticator: bytes | None = None,
    more: Sequence[Attribute] = (),
) -> Packet:
    """User-Name, User-Password, State if there is one, ``more``, and a Message-Authenticator in front."""
    authenticator = os.urandom(16) if authenticator is None else authenticator
    attributes = [(1, user.encode()), (2, _hidden(user_password.encode(), secret.encode(), authenticator)), *more]
    if state is not None:
        attributes.append((_STATE, state))
    return _signed(1, identifier, authenticator, attributes, secret.encode())


def status_server(*, secret: str) -> Packet:
    """A Status-Server (RFC 5997)."""
    return _signed(12, None, os.urandom(16), [], secret.encode())


def _signed(
    code: int, identifier: int | None, authenticator: bytes, attributes: list[Attribute], secret: bytes
) -> Packet:
    identifier = os.urandom(1)[0] if identifier is None else identifier
    rest = b"".join(struct.pack("BB", type_, len(value) + 2) + value for type_, value in attributes)
    head = struct.pack("!BBH", code, identifier, 38 + len(rest)) + authenticator
    blank = struct.pack("BB", _MESSAGE_AUTHENTICATOR, 18)
    mac = hmac.new(secret, head + blank + bytes(16) + rest, "md5").digest()
    return Packet(head + blank + mac + rest, secret)


def _hidden(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """RFC 2865 section 5.2."""
    padded = password + bytes(-len(password) % 16 or (16 if not password else 0))
    hidden, before = b"", authenticator
    for at in range(0, len(padded), 16):
        pad = md5(secret + before).digest()  # noqa: S324
        before = bytes(a ^ b for a, b in zip(padded[at : at + 16], pad, strict=True))
        hidden += before
    return hidden


def read_reply(packet: Packet, octets: bytes) -> Reply:
    """The reply to ``packet``. Raises BadReply unless both signatures are right and the MAC comes first."""
    if len(octets) < 20 or struct.unpack("!H", octets[2:4])[0] != len(octets) or octets[0] not in _NAMES:
        raise BadReply("bad framing")
    if octets[1] != packet.identifier:
        raise BadReply("another identifier")
    if md5(octets[:4] + packet.authenticator + octets[20:] + packet.secret).digest() != octets[4:20]:  # noqa: S324
        raise BadReply("wrong Response Authenticator")
    attributes: list[Attribute] = []
    at = 20
    while at < len(octets):
        size = octets[at + 1]
        if size < 2 or at + size > len(octets):
            raise BadReply("an attribute overruns")
        attributes.append((octets[at], octets[at + 2 : at + size]))
        at += size
    if not attributes or attributes[0][0] != _MESSAGE_AUTHENTICATOR or len(attributes[0][1]) != 16:
        raise BadReply("Message-Authenticator is not the first attribute")
    blanked = octets[:4] + packet.authenticator + octets[20:22] + bytes(16) + octets[38:]
    if hmac.new(packet.secret, blanked, "md5").digest() != attributes[0][1]:
        raise BadReply("wrong Message-Authenticator")
    return Reply(_NAMES[octets[0]], tuple(attributes), time.monotonic())


class Peers:
    """Several gateways' sockets towards one server. Replies are matched by socket, identifier and Response
    Authenticator; one that fits no request of its socket raises BadReply."""

    def __init__(self, server: Where, sockets: int = 1, source: str = "127.0.0.1") -> None:
        self.sockets = [_socket(server, source) for _ in range(sockets)]
        self._sent: dict[tuple[int, int], list[Packet]] = defaultdict(list)
        self.heard = 0  # replies so far; may be read from another thread

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.sockets:
            one.close()

    def ask(self, packet: Packet, *, at: int = 0, wait: float = 3.0) -> Reply | None:
        """One request from socket number ``at``; None: silence."""
        return self.ask_all([packet], at=[at], wait=wait)[0]

    def ask_all(
        self, packets: Sequence[Packet], *, at: Sequence[int] | None = None, wait: float = 3.0
    ) -> list[Reply | None]:
        """All of them at once, round the sockets or from those numbered by ``at``; the reply to each, None for silence.

        A packet given several times is sent several times, and its replies are dealt out in the order of arrival."""
        numbers = [number % len(self.sockets) for number in (at if at is not None else range(len(packets)))]
        waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, (packet, number) in enumerate(zip(packets, numbers, strict=True)):
            waiting[number, packet.identifier].append(index)
        for packet, number in zip(packets, numbers, strict=True):
            self._sent[number, packet.identifier].append(packet)
            _send(self.sockets[number], packet.octets)
        replies: list[Reply | None] = [None] * len(packets)
        end, missing = time.monotonic() + wait, len(packets)
        while missing and (left := end - time.monotonic()) > 0:
            for ready in readable(self.sockets, left):
                missing -= self._take(ready, packets, waiting, replies)
        return replies

    def _take(
        self,
        ready: socket.socket,
        packets: Sequence[Packet],
        waiting: dict[tuple[int, int], list[int]],
        replies: list[Reply | None],
    ) -> int:
        """Read one datagram; 1 if it answered a request that was waiting."""
        try:
            octets = ready.recv(5000)
        except ConnectionRefusedError:
            return 0  # a closed port: to a gateway, the same as silence
        number = self.sockets.index(ready)
        for index in waiting[number, octets[1]]:
            reply = _reply_to(packets[index], octets)
            if reply:
                replies[index] = reply
                waiting[number, octets[1]].remove(index)
                self.heard += 1
                return 1
        if not any(_reply_to(packet, octets) for packet in self._sent[number, octets[1]]):
            raise BadReply(f"a reply that fits no request of this socket: {octets.hex()}")
        return 0  # a late reply to an earlier request


def _reply_to(packet: Packet, octets: bytes) -> Reply | None:
    try:
        return read_reply(packet, octets)
    except BadReply:
        return None


def _send(one: socket.socket, octets: bytes) -> None:
    for _ in range(2):
        try:
            one.send(octets)
        except ConnectionRefusedError:
            continue  # reports that an earlier datagram met a closed port; the next send works
        return


def readable(sockets: Iterable[socket.socket], seconds: float) -> list[socket.socket]:
    """Those with something to read, as soon as there are any. (Not select.select: it takes no descriptor above 1,023,
    and a process that runs thousands of tests has some.)"""
    poll, by_number = select.poll(), {one.fileno(): one for one in sockets}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(max(0.0, seconds) * 1000)]


def _socket(server: Where, source: str) -> socket.socket:
    """Never on the port of a server that has ended: it would hear itself."""
    made = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((source, 0))
    if made.getsockname()[1] == server[1]:
        made.close()
        return _socket(server, source)
    made.connect(server)
    return made


def names(replies: Sequence[Reply | None]) -> list[str]:
    """The name of each reply; ``silence`` for none."""
    return [reply.name if reply else "silence" for reply in replies]
