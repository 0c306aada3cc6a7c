"""A RADIUS server of a few lines, for the tests of upstreams: it answers as it is told, also in ways that no server
should. Written from RFC 2865 and 3579 alone, without the product's codec.
"""

from __future__ import annotations

import hmac
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import md5

from otp_core.settings import Address
from tests.radius.craft import attributes_of

SECRET = b"between-us-and-the-upstream"
ACCESS, STATUS = 1, 12
ACCEPT, REJECT, CHALLENGE = 2, 3, 11
USER_NAME, USER_PASSWORD, REPLY_MESSAGE, STATE = 1, 2, 18, 24
CALLING_STATION_ID, NAS_IDENTIFIER, PROXY_STATE = 31, 32, 33
MESSAGE_AUTHENTICATOR = 80


@dataclass(frozen=True)
class Asked:
    """A request that came. ``source``: the socket that sent it."""

    octets: bytes
    source: tuple[str, int]
    secret: bytes = SECRET

    @property
    def code(self) -> int:
        return self.octets[0]

    @property
    def identifier(self) -> int:
        return self.octets[1]

    @property
    def authenticator(self) -> bytes:
        return self.octets[4:20]

    @property
    def attributes(self) -> list[tuple[int, bytes]]:
        return attributes_of(self.octets)

    def values(self, type_: int) -> list[bytes]:
        return [value for found, value in self.attributes if found == type_]

    @property
    def password(self) -> bytes:
        """RFC 2865 section 5.2."""
        (hidden,), clear, before = self.values(USER_PASSWORD), b"", self.authenticator
        for at in range(0, len(hidden), 16):
            pad = md5(self.secret + before).digest()  # noqa: S324
            before = hidden[at : at + 16]
            clear += bytes(a ^ b for a, b in zip(before, pad, strict=True))
        return clear.rstrip(b"\0")

    @property
    def is_signed(self) -> bool:
        """Whether the first attribute is a right Message-Authenticator."""
        if self.octets[20:22] != bytes((80, 18)):
            return False
        blank = self.octets[:22] + bytes(16) + self.octets[38:]
        return hmac.new(self.secret, blank, "md5").digest() == self.octets[22:38]

    def reply(
        self,
        code: int,
        *attributes: tuple[int, bytes],
        secret: bytes | None = None,
        signed: bool = True,
        identifier: int | None = None,
        echo: bool = True,
    ) -> bytes:
        """A reply; an honest one unless told otherwise. ``echo``: with the request's Proxy-States."""
        key = self.secret if secret is None else secret
        states = [one for one in self.attributes if one[0] == PROXY_STATE] if echo else []
        rest = b"".join(struct.pack("BB", type_, len(value) + 2) + value for type_, value in [*attributes, *states])
        size = 20 + len(rest) + (18 if signed else 0)
        head = struct.pack("!BBH", code, self.identifier if identifier is None else identifier, size)
        if signed:
            blank = bytes((MESSAGE_AUTHENTICATOR, 18))
            mac = hmac.new(key, head + self.authenticator + blank + bytes(16) + rest, "md5").digest()
            rest = blank + mac + rest
        return head + md5(head + self.authenticator + rest + key).digest() + rest  # noqa: S324


Answer = Callable[[Asked], Iterable[bytes]]


def accepts(asked: Asked) -> Iterable[bytes]:
    """Everybody."""
    return [asked.reply(ACCEPT)]


def silent(_: Asked) -> Iterable[bytes]:
    """Nobody."""
    return []


class RawUpstream:
    """Listens on loopback until it is closed; use it in ``with``. ``answer`` may be replaced at any time. ``asked``:
    everything that came; ``logins``: the Access-Requests among it."""

    def __init__(
        self, answer: Answer = accepts, *, port: int = 0, answers_status: bool = True, signs_status: bool = True
    ) -> None:
        self.answer, self.answers_status, self.signs_status = answer, answers_status, signs_status
        self.secret = SECRET
        self.asked: list[Asked] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        self._socket.bind(("127.0.0.1", port))
        self._socket.settimeout(0.05)
        self._ends = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)

    @property
    def logins(self) -> list[Asked]:
        return [one for one in self.asked if one.code == ACCESS]

    def send(self, octets: bytes, to: tuple[str, int]) -> None:
        self._socket.sendto(octets, to)

    def _serve(self) -> None:
        while not self._ends:
            with suppress(TimeoutError):
                octets, source = self._socket.recvfrom(5000)
                one = Asked(octets, source, self.secret)
                self.asked.append(one)
                if one.code == STATUS:
                    replies: Iterable[bytes] = (
                        [one.reply(ACCEPT, signed=self.signs_status)] if self.answers_status else []
                    )
                else:
                    replies = self.answer(one)
                for reply in replies:
                    self._socket.sendto(reply, source)

    def close(self) -> None:
        self._ends = True
        self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> RawUpstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
