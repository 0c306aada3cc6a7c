"""Access-Requests out of plain values, and what a reply must satisfy. Independent of the product's codec on purpose.

No sockets, no clock. RFC 2865 sections 3, 4, 5.1 and 5.2; RFC 3579 section 3.2 (Message-Authenticator).
"""

import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

ACCEPT, REJECT, CHALLENGE = 2, 3, 11
USER_NAME, USER_PASSWORD, NAS_IP_ADDRESS, STATE, MESSAGE_AUTHENTICATOR = 1, 2, 4, 24, 80
_IDENTIFIERS = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """A checked reply: its code and the State it carries, if any."""

    code: int
    state: bytes | None


class BadReply(Exception):
    """A reply that a gateway would have to discard."""


def hide_password(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """RFC 2865 section 5.2: padded with zeros to 16, then chained through MD5; 16 to 128 octets."""
    padded = password.ljust(max(16, -(-len(password) // 16) * 16), b"\0")
    hidden, previous = b"", authenticator
    for at in range(0, len(padded), 16):
        mask = int.from_bytes(md5(secret + previous, usedforsecurity=False).digest(), "big")
        previous = (mask ^ int.from_bytes(padded[at : at + 16], "big")).to_bytes(16, "big")
        hidden += previous
    return hidden


def access_request(
    user: bytes,
    password: bytes,
    *,
    identifier: int,
    authenticator: bytes,
    secret: bytes,
    nas: bytes,
    state: bytes | None = None,
) -> bytes:
    """One request of at most 4096 octets, Message-Authenticator first. `nas` is the four octets of NAS-IP-Address."""
    hidden = hide_password(password, secret, authenticator)
    rest = b"".join(
        (
            bytes((USER_NAME, len(user) + 2)) + user,
            bytes((USER_PASSWORD, len(hidden) + 2)) + hidden,
            bytes((NAS_IP_ADDRESS, 6)) + nas,
            b"" if state is None else bytes((STATE, len(state) + 2)) + state,
        )
    )
    length = 20 + 18 + len(rest)
    head = struct.pack("!BBH", 1, identifier, length) + authenticator + b"\x50\x12"
    signature = hmac.digest(secret, head + bytes(16) + rest, "md5")
    return head + signature + rest


def read_reply(reply: bytes, request: bytes, secret: bytes) -> Reply:
    """The reply to this request, after identifier, length, Response Authenticator and Message-Authenticator agree."""
    if len(reply) < 20 or struct.unpack_from("!H", reply, 2)[0] != len(reply):
        raise BadReply("length")
    if reply[1] != request[1]:
        raise BadReply("identifier")
    asked = request[4:20]
    if md5(reply[:4] + asked + reply[20:] + secret, usedforsecurity=False).digest() != reply[4:20]:
        raise BadReply("Response Authenticator")
    state, signed = None, False
    for kind, at, value in _attributes(reply):
        if kind == STATE:
            state = value
        if kind == MESSAGE_AUTHENTICATOR:
            blank = reply[:4] + asked + reply[20:at] + bytes(16) + reply[at + 16 :]
            if hmac.digest(secret, blank, "md5") != value:
                raise BadReply("Message-Authenticator")
            signed = True
    if not signed:
        raise BadReply("no Message-Authenticator")
    return Reply(reply[0], state)


def identifier_of(place: int, sockets: int) -> int:
    """The identifier of the packet at this place of a load: packets go round the sockets, then up the identifiers."""
    return place // sockets % _IDENTIFIERS


def write_load(path: Path, packets: list[bytes]) -> None:
    """The load generator's file of datagrams."""
    path.write_bytes(b"".join(struct.pack("!H", len(packet)) + packet for packet in packets))


def read_replies(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number of the packet, reply), in the order in which the replies arrived."""
    octets = path.read_bytes()
    at = 0
    while at < len(octets):
        place, length = struct.unpack_from("!IH", octets, at)
        yield place, octets[at + 6 : at + 6 + length]
        at += 6 + length


def _attributes(packet: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, where the value begins, value)."""
    at = 20
    while at < len(packet):
        if at + 2 > len(packet) or packet[at + 1] < 2 or at + packet[at + 1] > len(packet):
            raise BadReply("attributes")
        yield packet[at], at + 2, packet[at + 2 : at + packet[at + 1]]
        at += packet[at + 1]
