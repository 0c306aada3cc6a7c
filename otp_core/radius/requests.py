"""A RADIUS client's packets: an attempt to a signed request, octets to a reply that is proven to answer it.

RFC 2865, 3579, 5997.

No sockets, no clock, no randomness of its own. A reply without a right Message-Authenticator is no reply, whatever the
Response Authenticator says (CVE-2024-3596).
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import md5

MAX_PACKET = 4096
MAX_PASSWORD = 128
_HEADER = 20
_BLANK = struct.pack("BB", 80, 18) + bytes(16)


class PacketCode(IntEnum):
    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12


class AttributeType(IntEnum):
    USER_NAME = 1
    USER_PASSWORD = 2
    STATE = 24
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    MESSAGE_AUTHENTICATOR = 80


class NotAReply(Exception):
    """These octets do not answer the request; go on waiting. The text says what an operator may look at."""


class CannotAsk(ValueError):
    """What RADIUS has no room for."""


@dataclass(frozen=True, slots=True)
class Request:
    """Signed octets; a retransmission is the same octets again."""

    octets: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    @property
    def identifier(self) -> int:
        return self.octets[1]

    @property
    def authenticator(self) -> bytes:
        return self.octets[4:20]


@dataclass(frozen=True, slots=True)
class Reply:
    code: PacketCode
    state: bytes | None = field(default=None, repr=False)


def access_request(
    user: str,
    user_password: str,
    secret: bytes,
    *,
    identifier: int,
    authenticator: bytes,
    nas: str = "",
    calling_station_id: str = "",
    state: bytes | None = None,
) -> Request:
    """Raises CannotAsk. ``authenticator``: 16 random octets, never twice the same."""
    name, password = user.encode(), user_password.encode()
    if not 1 <= len(name) <= 253 or len(password) > MAX_PASSWORD:
        raise CannotAsk("a name of more than 253 octets, or a password of more than 128")
    attributes = [
        (AttributeType.USER_NAME, name),
        (AttributeType.USER_PASSWORD, _hide(password, secret, authenticator)),
    ]
    for type_, text in ((AttributeType.NAS_IDENTIFIER, nas), (AttributeType.CALLING_STATION_ID, calling_station_id)):
        if text:
            attributes.append((type_, text.encode()[:253]))
    if state is not None:
        attributes.append((AttributeType.STATE, state))
    return _signed(PacketCode.ACCESS_REQUEST, identifier, authenticator, attributes, secret)


def status_server(secret: bytes, *, identifier: int, authenticator: bytes, nas: str = "") -> Request:
    """RFC 5997: are you there?"""
    attributes = [(AttributeType.NAS_IDENTIFIER, nas.encode()[:253])] if nas else []
    return _signed(PacketCode.STATUS_SERVER, identifier, authenticator, attributes, secret)


def read_reply(request: Request, octets: bytes) -> Reply:
    """Framing, then both signatures, then what it says. Raises NotAReply."""
    length = int.from_bytes(octets[2:4], "big")
    if len(octets) < _HEADER or not _HEADER <= length <= min(MAX_PACKET, len(octets)):
        raise NotAReply("octets that are no RADIUS packet")
    octets = octets[:length]
    if octets[1] != request.identifier:
        raise NotAReply("a reply to something else")
    found, authenticator_at = _attributes(octets)
    if authenticator_at is None:
        raise NotAReply("a reply without Message-Authenticator: is the server up to date?")
    signed = md5(octets[:4] + request.authenticator + octets[20:] + request.secret, usedforsecurity=False).digest()
    blanked = (
        octets[:4] + request.authenticator + octets[20:authenticator_at] + bytes(16) + octets[authenticator_at + 16 :]
    )
    mac = hmac.new(request.secret, blanked, "md5").digest()
    right = hmac.compare_digest(signed, octets[4:20])
    if not hmac.compare_digest(mac, octets[authenticator_at : authenticator_at + 16]) or not right:
        raise NotAReply("a reply with a wrong signature: is the shared secret right?")
    return _read(request, octets[0], found)


def _read(request: Request, code: int, found: dict[int, bytes]) -> Reply:
    asked_status = request.octets[0] == PacketCode.STATUS_SERVER
    if code == PacketCode.ACCESS_ACCEPT:
        return Reply(PacketCode.ACCESS_ACCEPT)
    if code == PacketCode.ACCESS_REJECT and not asked_status:
        return Reply(PacketCode.ACCESS_REJECT)
    if code == PacketCode.ACCESS_CHALLENGE and not asked_status and found.get(AttributeType.STATE):
        return Reply(PacketCode.ACCESS_CHALLENGE, found[AttributeType.STATE])
    raise NotAReply(f"a reply of code {code} that answers nothing")


def _attributes(octets: bytes) -> tuple[dict[int, bytes], int | None]:
    """One value of each type, and where Message-Authenticator's value stands."""
    found: dict[int, bytes] = {}
    authenticator_at: int | None = None
    at = _HEADER
    while at < len(octets):
        size = octets[at + 1] if at + 1 < len(octets) else 0
        if size < 2 or at + size > len(octets) or octets[at] == 0:
            raise NotAReply("a reply with a broken attribute")
        if octets[at] == AttributeType.MESSAGE_AUTHENTICATOR:
            if authenticator_at is not None or size != 18:
                raise NotAReply("a reply with two Message-Authenticators, or one of the wrong size")
            authenticator_at = at + 2
        found[octets[at]] = octets[at + 2 : at + size]
        at += size
    return found, authenticator_at


def _signed(
    code: PacketCode,
    identifier: int,
    authenticator: bytes,
    attributes: list[tuple[AttributeType, bytes]],
    secret: bytes,
) -> Request:
    rest = b"".join(struct.pack("BB", type_, len(value) + 2) + value for type_, value in attributes)
    head = struct.pack("!BBH", code, identifier, _HEADER + len(_BLANK) + len(rest)) + authenticator
    mac = hmac.new(secret, head + _BLANK + rest, "md5").digest()
    return Request(head + _BLANK[:2] + mac + rest, secret)


def _hide(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """RFC 2865 section 5.2."""
    padded = password + bytes(-len(password) % 16 if password else 16)
    hidden, before = b"", authenticator
    for at in range(0, len(padded), 16):
        pad = md5(secret + before, usedforsecurity=False).digest()
        before = bytes(one ^ other for one, other in zip(padded[at : at + 16], pad, strict=True))
        hidden += before
    return hidden
