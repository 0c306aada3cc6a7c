"""Values that each hop hides anew under its own secret, with a salt: keys and tunnel passwords (RFC 2868 section 3.5,
RFC 2548 section 2.4.2). No sockets, no randomness.
"""

from __future__ import annotations

from otp_core.radius.codec import md5

SALT = 2
"""Octets of a salt; the first bit of the first one is set."""


class NotHidden(ValueError):
    """Octets that are no hidden value under this secret, or one of more than 253 octets."""


def reveal(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """The value of salt and hidden octets. ``authenticator``: of the request. Raises NotHidden."""
    salt, octets = hidden[:SALT], hidden[SALT:]
    if not octets or len(octets) % 16:
        raise NotHidden("a hidden value of no whole blocks")
    pads, previous = [], authenticator + salt
    for at in range(0, len(octets), 16):
        pads.append(md5(secret + previous, usedforsecurity=False).digest())
        previous = octets[at : at + 16]
    clear = _xor(octets, b"".join(pads))
    length = clear[0]
    if length > len(clear) - 1:
        raise NotHidden("a hidden value longer than its octets: another secret?")
    return clear[1 : 1 + length]


def hide(value: bytes, secret: bytes, authenticator: bytes, salt: bytes) -> bytes:
    """Salt and hidden octets. ``salt``: two random octets, other ones for each value of a packet. Raises NotHidden."""
    if len(value) > 255:
        raise NotHidden("a value of more than 255 octets cannot be hidden")
    salt = bytes((salt[0] | 0x80, salt[1]))
    clear = bytes((len(value),)) + value
    clear += bytes(-len(clear) % 16)
    hidden, previous = b"", authenticator + salt
    for at in range(0, len(clear), 16):
        pad = md5(secret + previous, usedforsecurity=False).digest()
        previous = _xor(clear[at : at + 16], pad)
        hidden += previous
    return salt + hidden


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
