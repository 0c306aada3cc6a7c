"""RADIUS packets as octets: framing, attributes, Message-Authenticator, User-Password (RFC 2865, 3579, 5997).

What the server's and the client's side share; requests.py and replies.py build on it. No sockets, no clock, no
randomness, no dictionary. Whatever a datagram holds, reading it raises nothing but Unreadable, and the work is bounded
by its length.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum, StrEnum
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hashlib import _Hash as Hash


def _quickest_md5() -> Callable[..., Hash]:
    """Python's own takes three fifths of the time of OpenSSL's, four times a login. Not every Python has it."""
    try:
        found: Callable[..., Hash] = import_module("_md5").md5
    except ImportError:
        return hashlib.md5
    return found


md5 = _quickest_md5()

MAX_PACKET = 4096
"""Octets of the longest packet (RFC 2865 section 3)."""

MAX_PASSWORD = 128
"""Octets of the longest User-Password, hidden or not (RFC 2865 section 5.2)."""

HEADER = 20
"""Octets of code, identifier, length and authenticator."""

SIGNED_HEADER = HEADER + 18
"""Octets of a packet that we write before its other attributes: header and Message-Authenticator."""


class PacketCode(IntEnum):
    """The packet codes that are read or written here (RFC 2865 section 4, RFC 5997 section 4)."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12

    @property
    def title(self) -> str:
        """The name as the RFC writes it, for example ``Access-Request``."""
        return self.name.title().replace("_", "-")


class AttributeType(IntEnum):
    """The attributes that the code itself reads or writes; it passes all others on as octets."""

    USER_NAME = 1
    USER_PASSWORD = 2
    CHAP_PASSWORD = 3
    NAS_IP_ADDRESS = 4
    REPLY_MESSAGE = 18
    STATE = 24
    VENDOR_SPECIFIC = 26
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    PROXY_STATE = 33
    CHAP_CHALLENGE = 60
    TUNNEL_PASSWORD = 69
    PROMPT = 76
    EAP_MESSAGE = 79
    MESSAGE_AUTHENTICATOR = 80
    NAS_IPV6_ADDRESS = 95


_MESSAGE_AUTHENTICATOR: Final = int(AttributeType.MESSAGE_AUTHENTICATOR)
"""A plain int: the loop in read_packet compares it once per attribute."""


class DropReason(StrEnum):
    """Why a datagram is dropped in silence. docs/radius.md says what an operator should check for each."""

    TOO_SHORT = "under 20 octets"
    BAD_LENGTH = "Length under 20, over 4096 or over the datagram"
    BAD_ATTRIBUTE = "an attribute overruns, has length 0 or 1, or type 0"
    TOO_MANY_ATTRIBUTES = "more than 200 attributes"
    WRONG_CODE = "neither Access-Request nor Status-Server"
    BAD_MESSAGE_AUTHENTICATOR = "two Message-Authenticators, or one of the wrong size"
    NO_MESSAGE_AUTHENTICATOR = "no Message-Authenticator"
    WRONG_MESSAGE_AUTHENTICATOR = "wrong Message-Authenticator: wrong secret likely"
    PROXY_STATE_UNPROTECTED = "Proxy-State without Message-Authenticator (CVE-2024-3596)"
    EAP_UNPROTECTED = "EAP-Message without Message-Authenticator, or together with User-Password"


class Unreadable(Exception):
    """Server side: drop this datagram and count it under ``reason``."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Unservable(Exception):
    """Server side: a well-formed request that can only be rejected, such as CHAP. No attempt is counted."""


class ChapAsked(Unservable):
    """Server side: the request has CHAP in the place of a password, which can be served for some clients only."""


class MsChapAsked(Unservable):
    """The same for MS-CHAPv2."""


class NotAReply(Exception):
    """Client side: these octets do not answer the request; go on waiting. The text tells an operator what to check,
    ``code`` is for counting: one of IGNORED_REPLIES."""

    def __init__(self, text: str, code: str = "not-a-reply") -> None:
        super().__init__(text)
        self.code = code


IGNORED_REPLIES = ("not-a-reply", "wrong-signature", "no-message-authenticator", "malformed")
"""Why octets that came back are no answer."""


class CannotAsk(ValueError):
    """Client side: a value that does not fit into a RADIUS attribute."""


class CannotCarry(CannotAsk):
    """The same of what a person has typed: a name or a password that no RADIUS server can have, because none could be
    asked about it. So it is wrong, and no outage."""

    def __init__(self) -> None:
        super().__init__("RADIUS carries a name of 1 to 253 octets and a password of at most 128")


Attribute = tuple[int, bytes]
"""Type and value."""


class Packet:
    """A well-formed packet, its signatures not yet verified. It is never changed. (No named tuple: where this is
    compiled, one takes five times as long to make.)

    ``octets``: the packet without padding behind Length. ``attributes``: all of them, in order. ``found``: the last
    value of each type that occurs. ``message_authenticator_at``: where in ``octets`` the value of
    Message-Authenticator begins.
    """

    __slots__ = (
        "attributes",
        "authenticator",
        "code",
        "found",
        "identifier",
        "message_authenticator_at",
        "octets",
    )

    def __init__(self, octets: bytes, attributes: list[Attribute], message_authenticator_at: int | None) -> None:
        self.octets, self.attributes, self.found = octets, attributes, dict(attributes)
        self.code, self.identifier, self.authenticator = octets[0], octets[1], octets[4:20]
        self.message_authenticator_at = message_authenticator_at

    def values(self, type_: int) -> list[bytes]:
        """All values of a type, in order."""
        return [value for found, value in self.attributes if found == type_]


def read_packet(datagram: bytes, codes: frozenset[int]) -> Packet:
    """The packet in a datagram whose code is one of ``codes``, read strictly (RFC 2865 sections 3 and 5).

    Octets behind Length are padding and ignored. Raises Unreadable.
    """
    if len(datagram) < HEADER:
        raise Unreadable(DropReason.TOO_SHORT)
    length = datagram[2] << 8 | datagram[3]
    if not HEADER <= length <= MAX_PACKET or length > len(datagram):
        raise Unreadable(DropReason.BAD_LENGTH)
    octets = datagram[:length]
    if octets[0] not in codes:
        raise Unreadable(DropReason.WRONG_CODE)
    attributes: list[Attribute] = []
    message_authenticator_at: int | None = None
    at = HEADER
    while at < length:
        type_, size = octets[at], octets[at + 1] if at + 1 < length else 0
        if size < 2 or at + size > length or type_ == 0:
            raise Unreadable(DropReason.BAD_ATTRIBUTE)
        if type_ == _MESSAGE_AUTHENTICATOR:
            if message_authenticator_at is not None or size != 18:
                raise Unreadable(DropReason.BAD_MESSAGE_AUTHENTICATOR)
            message_authenticator_at = at + 2
        attributes.append((type_, octets[at + 2 : at + size]))
        at += size
    return Packet(octets, attributes, message_authenticator_at)


# Message-Authenticator (RFC 3579 section 3.2)

_MESSAGE_AUTHENTICATOR_HEAD: Final = bytes((AttributeType.MESSAGE_AUTHENTICATOR, 18))
_BLANK: Final = bytes(16)
_BLANK_MESSAGE_AUTHENTICATOR: Final = _MESSAGE_AUTHENTICATOR_HEAD + _BLANK


def sign(code: int, identifier: int, authenticator: bytes, attributes: bytes, secret: bytes) -> bytes:
    """A packet with Message-Authenticator as its first attribute (CVE-2024-3596), then the encoded ``attributes``.

    ``authenticator``: 16 octets, always those of the request, also for a reply.
    """
    length = SIGNED_HEADER + len(attributes)
    header = bytes((code, identifier, length >> 8, length & 0xFF)) + authenticator
    mac = _hmac_md5(secret, header + _BLANK_MESSAGE_AUTHENTICATOR + attributes)
    return header + _MESSAGE_AUTHENTICATOR_HEAD + mac + attributes


def is_signed(octets: bytes, at: int, secret: bytes) -> bool:
    """Whether the Message-Authenticator value at ``at`` is right for this packet.

    ``octets``: the packet; for a reply with the request's authenticator in its header.
    """
    blanked = octets[:at] + _BLANK + octets[at + 16 :]
    return hmac.compare_digest(_hmac_md5(secret, blanked), octets[at : at + 16])


def response_authenticator(signed: bytes, secret: bytes) -> bytes:
    """Of a reply (RFC 2865 section 3). ``signed``: the packet, with the request's authenticator in its header."""
    return md5(signed + secret, usedforsecurity=False).digest()


def _hmac_md5(secret: bytes, octets: bytes) -> bytes:
    """HMAC-MD5 (RFC 2104). The two keyed hashes of each secret are kept, which halves the time of hmac.digest."""
    keyed_inner, keyed_outer = _keyed_hashes(secret)
    inner, outer = keyed_inner.copy(), keyed_outer.copy()
    inner.update(octets)
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=1024)
def _keyed_hashes(secret: bytes) -> tuple[Hash, Hash]:
    key = (secret if len(secret) <= 64 else md5(secret, usedforsecurity=False).digest()).ljust(64, b"\0")
    inner, outer = (bytes(octet ^ pad for octet in key) for pad in (0x36, 0x5C))
    return md5(inner, usedforsecurity=False), md5(outer, usedforsecurity=False)


# User-Password (RFC 2865 section 5.2)


def hide_password(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """The value of User-Password: the password padded with NULs to blocks of 16 octets, at least one, and hidden."""
    padded = password + bytes(-len(password) % 16 if password else 16)
    hidden, previous = b"", authenticator
    for at in range(0, len(padded), 16):
        pad = md5(secret + previous, usedforsecurity=False).digest()
        mixed = int.from_bytes(padded[at : at + 16], "big") ^ int.from_bytes(pad, "big")
        previous = mixed.to_bytes(16, "big")
        hidden += previous
    return hidden


def reveal_password(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """The password in a User-Password of whole blocks, without the NULs at its end."""
    pads = md5(secret + authenticator, usedforsecurity=False).digest()
    for at in range(16, len(hidden), 16):
        pads += md5(secret + hidden[at - 16 : at], usedforsecurity=False).digest()
    clear = int.from_bytes(hidden, "big") ^ int.from_bytes(pads, "big")
    return clear.to_bytes(len(hidden), "big").rstrip(b"\0")


# Attributes


def encode_attributes(attributes: Iterable[Attribute]) -> bytes:
    """The attributes as octets: type, length and value of each (RFC 2865 section 5)."""
    return b"".join([bytes((type_, len(value) + 2)) + value for type_, value in attributes])


def vendor_parts(value: bytes) -> list[Attribute]:
    """The attributes in the value of a Vendor-Specific, behind the vendor's four octets; none if they do not fill it
    exactly, as RFC 2865 section 5.26 recommends."""
    found, at = [], 4
    while at < len(value):
        size = value[at + 1] if at + 1 < len(value) else 0
        if size < 2 or at + size > len(value):
            return []
        found.append((value[at], value[at + 2 : at + size]))
        at += size
    return found


def encoded_size(attributes: Sequence[Attribute]) -> int:
    """The octets that these attributes take in a packet."""
    return sum(len(value) + 2 for _, value in attributes)


def text_attributes(type_: int, text: str) -> list[Attribute]:
    """A text as UTF-8 in as many attributes as it needs: at most 253 octets each, no character divided."""
    parts: list[Attribute] = []
    rest = text.encode()
    while rest:
        end = min(253, len(rest))
        while end < len(rest) and rest[end] & 0xC0 == 0x80:
            end -= 1
        parts.append((type_, rest[:end]))
        rest = rest[end:]
    return parts
