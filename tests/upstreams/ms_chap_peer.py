"""The device's side of MS-CHAPv2, from RFC 1320, 2759 and 3079 alone: what it sends for a password, and what it expects
of a server that knows the password.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

_MASK = 0xFFFFFFFF


def md4(octets: bytes) -> bytes:
    """RFC 1320 section 3."""
    padded = octets + b"\x80" + bytes((55 - len(octets)) % 64) + struct.pack("<Q", 8 * len(octets))
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    rounds: tuple[tuple[Callable[[int, int, int], int], int, Sequence[int], tuple[int, ...]], ...] = (
        (lambda b, c, d: b & c | ~b & d, 0, range(16), (3, 7, 11, 19)),
        (lambda b, c, d: b & c | b & d | c & d, 0x5A827999, [i % 4 * 4 + i // 4 for i in range(16)], (3, 5, 9, 13)),
        (
            lambda b, c, d: b ^ c ^ d,
            0x6ED9EBA1,
            (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15),
            (3, 9, 11, 15),
        ),
    )
    for at in range(0, len(padded), 64):
        words, (a, b, c, d) = struct.unpack("<16I", padded[at : at + 64]), state
        for mix, constant, order, shifts in rounds:
            for number, index in enumerate(order):
                value = (a + mix(b, c, d) + words[index] + constant) & _MASK
                shift = shifts[number % 4]
                a, b, c, d = d, (value << shift | value >> 32 - shift) & _MASK, b, c
        state = [(one + more) & _MASK for one, more in zip(state, (a, b, c, d), strict=True)]
    return struct.pack("<4I", *state)


def _des(key: bytes, block: bytes) -> bytes:
    bits = "".join(f"{octet:08b}" for octet in key)
    octets = bytes(int(bits[at : at + 7] + "0", 2) for at in range(0, 56, 7))
    encryptor = Cipher(TripleDES(octets * 3), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(block)


@dataclass(frozen=True)
class Device:
    """Answers a server's challenge with a password. ``name``: as it is hashed, without a domain."""

    name: bytes
    password: str
    challenge: bytes
    peer_challenge: bytes
    identifier: int = 7

    @property
    def _hash(self) -> bytes:
        return md4(self.password.encode("utf-16-le"))

    @property
    def _block(self) -> bytes:
        return sha1(self.peer_challenge + self.challenge + self.name).digest()[:8]  # noqa: S324

    @property
    def nt_response(self) -> bytes:
        """RFC 2759 section 8.1."""
        key = self._hash.ljust(21, b"\0")
        return b"".join(_des(key[at : at + 7], self._block) for at in (0, 7, 14))

    @property
    def response(self) -> bytes:
        """The value of MS-CHAP2-Response (RFC 2548 section 2.3.2)."""
        return bytes((self.identifier, 0)) + self.peer_challenge + bytes(8) + self.nt_response

    @property
    def attributes(self) -> str:
        """Of its request, in radclient's syntax."""
        hashed = f"MS-CHAP-Challenge=0x{self.challenge.hex()},MS-CHAP2-Response=0x{self.response.hex()}"
        return f'User-Name="{self.name.decode()}",{hashed}'

    @property
    def success(self) -> bytes:
        """The value of MS-CHAP2-Success that it takes (RFC 2759 section 8.7)."""
        inner = sha1(  # noqa: S324
            md4(self._hash) + self.nt_response + b"Magic server to client signing constant"
        ).digest()
        outer = sha1(inner + self._block + b"Pad to make it do more than one iteration").digest()  # noqa: S324
        return bytes((self.identifier,)) + b"S=" + outer.hex().upper().encode()

    @property
    def keys(self) -> tuple[bytes, bytes]:
        """MS-MPPE-Send-Key and MS-MPPE-Recv-Key of the server (RFC 3079 section 3.4)."""
        begin = b"This is the MPPE Master Key"
        master = sha1(md4(self._hash) + self.nt_response + begin).digest()[:16]  # noqa: S324
        on_client_send = b"On the client side, this is the send key; on the server side, it is the receive key."
        on_client_recv = b"On the client side, this is the receive key; on the server side, it is the send key."
        made = [
            sha1(master + bytes(40) + magic + b"\xf2" * 40).digest()[:16]  # noqa: S324
            for magic in (on_client_recv, on_client_send)
        ]
        return made[0], made[1]


def device(name: str, password: str) -> Device:
    """With challenges of its own."""
    return Device(name.encode(), password, os.urandom(16), os.urandom(16))
