"""Bytes to requests, replies to bytes: framing, Message-Authenticator, User-Password (RFC 2865, 3579, 5997).

No sockets, no clock, no dictionary, no customers. Nothing that a datagram can hold raises anything but Unreadable or
NoCredentials; the work is bounded by the datagram's length.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from functools import lru_cache
from hashlib import md5
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

MAX_PACKET = 4096
MAX_ATTRIBUTES = 200
_HEADER = 20


class PacketCode(IntEnum):
    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12

    @property
    def title(self) -> str:
        """As the RFC writes it."""
        return self.name.title().replace("_", "-")


class AttributeType(IntEnum):
    """The attributes that the door itself reads or writes; all others are opaque to it."""

    USER_NAME = 1
    USER_PASSWORD = 2
    CHAP_PASSWORD = 3
    REPLY_MESSAGE = 18
    STATE = 24
    VENDOR_SPECIFIC = 26
    CALLING_STATION_ID = 31
    PROXY_STATE = 33
    PROMPT = 76
    EAP_MESSAGE = 79
    MESSAGE_AUTHENTICATOR = 80


_MESSAGE_AUTHENTICATOR = int(AttributeType.MESSAGE_AUTHENTICATOR)
"""The same as a bare number, for the loop that every datagram goes through."""


class DropReason(StrEnum):
    """Why a datagram is dropped in silence. What each means to an operator stands in docs/radius.md."""

    TOO_SHORT = "under 20 octets"
    BAD_LENGTH = "Length under 20, over 4096 or over the datagram"
    BAD_ATTRIBUTE = "an attribute overruns, has length 0 or 1, or type 0"
    TOO_MANY_ATTRIBUTES = "more than 200 attributes"
    WRONG_CODE = "neither Access-Request nor Status-Server"
    TWO_AUTHENTICATORS = "two Message-Authenticators, or one of the wrong size"
    NO_AUTHENTICATOR = "no Message-Authenticator"
    WRONG_AUTHENTICATOR = "wrong Message-Authenticator: is the shared secret right?"
    PROXY_STATE_UNPROTECTED = "Proxy-State without Message-Authenticator (CVE-2024-3596)"
    EAP_UNPROTECTED = "EAP-Message without Message-Authenticator, or together with User-Password"


class Unreadable(Exception):
    """Drop this datagram, and count it."""

    def __init__(self, fault: DropReason) -> None:
        super().__init__(fault.value)
        self.fault = fault


class Unservable(Exception):
    """A sound packet that asks for nothing that can be answered but a rejection. No attempt is counted."""


Attribute = tuple[int, bytes]


class Request(NamedTuple):
    """A sound packet. ``octets`` without padding; ``found`` has one value of each type that occurs;
    ``authenticator_at``: where Message-Authenticator's value stands."""

    code: int
    identifier: int
    authenticator: bytes
    attributes: list[Attribute]
    octets: bytes
    found: dict[int, bytes]
    authenticator_at: int | None

    def values(self, type_: int) -> list[bytes]:
        """All values of a type, in order."""
        return [value for found, value in self.attributes if found == type_]


def read_request(datagram: bytes) -> Request:
    """RFC 2865 section 3 and 5, strictly. Raises Unreadable."""
    if len(datagram) < _HEADER:
        raise Unreadable(DropReason.TOO_SHORT)
    length = datagram[2] << 8 | datagram[3]
    if not _HEADER <= length <= MAX_PACKET or length > len(datagram):
        raise Unreadable(DropReason.BAD_LENGTH)
    octets = datagram[:length]
    if octets[0] not in (PacketCode.ACCESS_REQUEST, PacketCode.STATUS_SERVER):
        raise Unreadable(DropReason.WRONG_CODE)
    attributes: list[Attribute] = []
    authenticator_at: int | None = None
    at = _HEADER
    while at < length:
        size = octets[at + 1] if at + 1 < length else 0
        if size < 2 or at + size > length or octets[at] == 0:
            raise Unreadable(DropReason.BAD_ATTRIBUTE)
        if octets[at] == _MESSAGE_AUTHENTICATOR:
            if authenticator_at is not None or size != 18:
                raise Unreadable(DropReason.TWO_AUTHENTICATORS)
            authenticator_at = at + 2
        attributes.append((octets[at], octets[at + 2 : at + size]))
        at += size
    if len(attributes) > MAX_ATTRIBUTES:
        raise Unreadable(DropReason.TOO_MANY_ATTRIBUTES)
    return Request(octets[0], octets[1], octets[4:20], attributes, octets, dict(attributes), authenticator_at)


def verify(request: Request, secret: bytes, *, required: bool, limit_proxy_state: bool) -> None:
    """RFC 3579 section 3.2, and what CVE-2024-3596 taught. Raises Unreadable."""
    at, found = request.authenticator_at, request.found
    if AttributeType.EAP_MESSAGE in found and (at is None or AttributeType.USER_PASSWORD in found):
        raise Unreadable(DropReason.EAP_UNPROTECTED)
    if at is None:
        if required or request.code == PacketCode.STATUS_SERVER:
            raise Unreadable(DropReason.NO_AUTHENTICATOR)
        if limit_proxy_state and AttributeType.PROXY_STATE in found:
            raise Unreadable(DropReason.PROXY_STATE_UNPROTECTED)
        return
    octets = request.octets
    blanked = octets[:at] + bytes(16) + octets[at + 16 :]
    if not hmac.compare_digest(_mac(secret, blanked), octets[at : at + 16]):
        raise Unreadable(DropReason.WRONG_AUTHENTICATOR)


def _mac(secret: bytes, octets: bytes) -> bytes:
    """HMAC-MD5 (RFC 2104), with the two keyed hashes kept for each secret: 1.0 instead of 2.4 microseconds."""
    inner, outer = (hash_.copy() for hash_ in _keyed(secret))
    inner.update(octets)
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=1024)
def _keyed(secret: bytes) -> tuple[Hash, Hash]:
    key = (secret if len(secret) <= 64 else md5(secret, usedforsecurity=False).digest()).ljust(64, b"\0")
    inner, outer = (bytes(octet ^ pad for octet in key) for pad in (0x36, 0x5C))
    return md5(inner, usedforsecurity=False), md5(outer, usedforsecurity=False)


class Credentials(NamedTuple):
    """What a request wants checked. ``password`` is bytes: only the client's charset says how to read it."""

    user_name: bytes
    password: bytes
    state: bytes | None
    calling_station_id: bytes

    def __repr__(self) -> str:
        return f"Credentials(user_name={self.user_name!r}, ...)"


def credentials(request: Request, secret: bytes) -> Credentials:
    """The PAP credentials of a verified Access-Request (RFC 2865 section 5.2). Raises NoCredentials."""
    found = request.found
    for type_, name in _NOT_SERVED.items():
        if type_ in found:
            raise Unservable(f"{name} is not served here: let the client use PAP")
    if len(found) != len(request.attributes):
        _refuse_doubles(request)
    user_name, encrypted = found.get(AttributeType.USER_NAME), found.get(AttributeType.USER_PASSWORD)
    if not user_name:
        raise Unservable("no User-Name")
    if encrypted is None:
        ms_chap = any(value[:4] == _MICROSOFT for value in request.values(AttributeType.VENDOR_SPECIFIC))
        raise Unservable("MS-CHAP is not served here: let the client use PAP" if ms_chap else "no User-Password")
    if not 16 <= len(encrypted) <= 128 or len(encrypted) % 16:
        raise Unservable("a User-Password that is not 16 to 128 octets in blocks of 16")
    password = decrypt(encrypted, secret, request.authenticator)
    return Credentials(
        user_name, password, found.get(AttributeType.STATE), found.get(AttributeType.CALLING_STATION_ID, b"")
    )


_MICROSOFT = (311).to_bytes(4, "big")
_NOT_SERVED = {int(AttributeType.CHAP_PASSWORD): "CHAP", int(AttributeType.EAP_MESSAGE): "EAP"}
_ONCE = {
    int(AttributeType.USER_NAME): "User-Names",
    int(AttributeType.USER_PASSWORD): "User-Passwords",
    int(AttributeType.STATE): "States",
}


def _refuse_doubles(request: Request) -> None:
    for type_, names in _ONCE.items():
        if len(request.values(type_)) > 1:
            raise Unservable(f"two {names}")


def decrypt(encrypted: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """RFC 2865 section 5.2, without the padding."""
    if len(encrypted) == 16:
        pad = int.from_bytes(md5(secret + authenticator, usedforsecurity=False).digest(), "big")
        return (int.from_bytes(encrypted, "big") ^ pad).to_bytes(16, "big").rstrip(b"\0")
    pads, before = b"", authenticator
    for at in range(0, len(encrypted), 16):
        pads += md5(secret + before, usedforsecurity=False).digest()
        before = encrypted[at : at + 16]
    clear = int.from_bytes(encrypted, "big") ^ int.from_bytes(pads, "big")
    return clear.to_bytes(len(encrypted), "big").rstrip(b"\0")


_BLANK_AUTHENTICATOR = bytes((AttributeType.MESSAGE_AUTHENTICATOR, 18)) + bytes(16)


def write_reply(request: Request, code: PacketCode, attributes: Iterable[Attribute], secret: bytes) -> bytes:
    """A signed reply: Message-Authenticator first, then ``attributes``, then the request's Proxy-States in their order
    (RFC 2865 section 5.33; MA first: CVE-2024-3596). Raises ValueError if it would exceed 4096 octets."""
    body = _BLANK_AUTHENTICATOR + encode(attributes)
    if AttributeType.PROXY_STATE in request.found:
        body += encode(item for item in request.attributes if item[0] == AttributeType.PROXY_STATE)
    length = _HEADER + len(body)
    if length > MAX_PACKET:
        raise ValueError(f"a reply of {length} octets: RADIUS allows 4096")
    head = bytes((code, request.identifier, length >> 8, length & 0xFF))
    mac = _mac(secret, head + request.authenticator + body)
    body = body[:2] + mac + body[18:]
    return head + md5(head + request.authenticator + body + secret, usedforsecurity=False).digest() + body


def encode(attributes: Iterable[Attribute]) -> bytes:
    """Type, length, value."""
    return b"".join([bytes((type_, len(value) + 2)) + value for type_, value in attributes])


def text_attributes(type_: int, text: str) -> list[Attribute]:
    """A text as UTF-8 in as many attributes as it takes, split between code points at 253 octets at the most."""
    parts: list[Attribute] = []
    rest = text.encode()
    while rest:
        end = min(253, len(rest))
        while end < len(rest) and rest[end] & 0xC0 == 0x80:
            end -= 1
        parts.append((type_, rest[:end]))
        rest = rest[end:]
    return parts


def size(attributes: Sequence[Attribute]) -> int:
    """The octets that these attributes take."""
    return sum(len(value) + 2 for _, value in attributes)
