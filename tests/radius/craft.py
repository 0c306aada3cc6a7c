"""Datagrams built octet by octet, well-formed or not, from RFC 2865, 3579 and 5997 alone: independent of the product.

Attributes are given as octets; SIGNED marks the place of a Message-Authenticator to be computed.
"""

from __future__ import annotations

import hmac
import struct
from hashlib import md5

from tests.sekisho import SECRET as SECRET_TEXT

SECRET = SECRET_TEXT.encode()
AUTHENTICATOR = bytes(range(100, 116))
REQUEST, STATUS = 1, 12
USER_NAME, USER_PASSWORD, CHAP_PASSWORD, NAS_IP, NAS_PORT, REPLY_MESSAGE = 1, 2, 3, 4, 5, 18
STATE, VENDOR_SPECIFIC, CALLING_STATION_ID, NAS_IDENTIFIER, PROXY_STATE = 24, 26, 31, 32, 33
CHAP_CHALLENGE, PROMPT, EAP_MESSAGE, MESSAGE_AUTHENTICATOR = 60, 76, 79, 80

SIGNED = bytes((MESSAGE_AUTHENTICATOR, 18)) + bytes(16)


def attribute(type_: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """Type, length, value. ``length``: written in place of the true length."""
    return bytes((type_, len(value) + 2 if length is None else length)) + value


def vendor(number: int, type_: int, value: bytes) -> bytes:
    """A Vendor-Specific with one vendor attribute (RFC 2865 section 5.26)."""
    return attribute(VENDOR_SPECIFIC, struct.pack("!IBB", number, type_, len(value) + 2) + value)


def hidden(password: bytes, *, secret: bytes = SECRET, authenticator: bytes = AUTHENTICATOR) -> bytes:
    """The value of a User-Password, RFC 2865 section 5.2; padded to whole blocks, one at least."""
    padded = password + bytes(-len(password) % 16 if password else 16)
    blocks, before = [], authenticator
    for at in range(0, len(padded), 16):
        pad = md5(secret + before, usedforsecurity=False).digest()
        before = bytes(clear ^ mask for clear, mask in zip(padded[at : at + 16], pad, strict=True))
        blocks.append(before)
    return b"".join(blocks)


def user(name: str | bytes = "taro") -> bytes:
    """A User-Name."""
    return attribute(USER_NAME, name if isinstance(name, bytes) else name.encode())


def password(clear: str | bytes, *, secret: bytes = SECRET, authenticator: bytes = AUTHENTICATOR) -> bytes:
    """A User-Password, hidden."""
    octets = clear if isinstance(clear, bytes) else clear.encode()
    return attribute(USER_PASSWORD, hidden(octets, secret=secret, authenticator=authenticator))


def packet(
    *attributes: bytes,
    code: int = REQUEST,
    identifier: int = 7,
    authenticator: bytes = AUTHENTICATOR,
    secret: bytes = SECRET,
    length: int | None = None,
) -> bytes:
    """Header and attributes. ``length``: written in place of the true length; the signature covers that many octets."""
    body = b"".join(attributes)
    length = 20 + len(body) if length is None else length
    octets = struct.pack("!BBH", code, identifier, length) + authenticator + body
    if SIGNED not in attributes:
        return octets
    at = 20 + 2 + sum(len(one) for one in attributes[: attributes.index(SIGNED)])
    mac = hmac.new(secret, octets[:length], "md5").digest()
    return octets[:at] + mac + octets[at + 16 :]


def attributes_of(octets: bytes) -> list[tuple[int, bytes]]:
    """The attributes of a sound packet."""
    found, at = [], 20
    while at < len(octets):
        found.append((octets[at], octets[at + 2 : at + octets[at + 1]]))
        at += octets[at + 1]
    return found
