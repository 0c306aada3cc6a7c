"""One connection to one LDAP server: TCP, TLS, and one request at a time. It decides nothing about passwords.

Nothing but StartTLS is sent before the server's certificate is verified. An answer has a limit; whoever waits for one
sets the time. A connection that was given up in the middle of a request is of no use to anybody else, and says so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from otp_core.first_factor.ldap import messages
from otp_core.first_factor.ldap.ber import SEQUENCE, NotBer, element_length
from otp_core.first_factor.ldap.messages import BindDone, Entry, ExtendedDone, Operation, Result, Search, SearchDone
from otp_core.first_factor.ldap.outcome import SUCCESS, described

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_OCTETS = 262_144
"""Of all that answers one request."""


class ServerTrouble(Exception):
    """This server gives no answer that can be used. The text says why, and what to look at; it holds no secret."""


class NoAnswer(Exception):
    """The server is well, and its answer to this one question is of no use. Another server would say the same."""


class Security(Enum):
    """How a connection is protected."""

    TLS = auto()
    START_TLS = auto()
    NONE = auto()


class Place(NamedTuple):
    """Where a server is. ``host``: a name or an address, which its certificate has to name."""

    host: str
    port: int
    security: Security

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Connection(asyncio.Protocol):
    """Open it with ``connect``. Every method raises ServerTrouble, and nothing else."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer, self._received = bytearray(), 0
        self._waiter: asyncio.Future[None] | None = None
        self._ended: str | None = None
        self._message_id, self._answered, self._asking = 0, 0, False

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._received += len(data)
        if self._received > MOST_OCTETS:
            self.abort(f"answers with more than {MOST_OCTETS} octets")
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        why = "closed the connection" if exc is None else f"lost the connection: {_in_words(exc)}"
        self._ended = self._ended or why
        self._wake()

    # the state of the connection

    @property
    def usable(self) -> bool:
        """Whether the next request may be sent: nothing is under way, and nothing came unasked."""
        open_ = self._ended is None and self._transport is not None and not self._transport.is_closing()
        return open_ and not self._asking and not self._buffer

    @property
    def was_used(self) -> bool:
        """Whether it has answered more than the bind of its beginning: then the server may have closed it since."""
        return self._answered > 1

    @property
    def certificate_ends(self) -> datetime | None:
        """When the server's certificate expires; None without TLS."""
        found = self._transport.get_extra_info("peercert") if self._transport else None
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC) if found else None

    def abort(self, why: str = "was given up") -> None:
        """The end, at once: nothing more is sent or heard."""
        self._ended = self._ended or why
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """The end, said aloud if the server may listen."""
        if self.usable and self._transport is not None:
            self._transport.write(messages.unbind(self._next_id()))
            self._transport.close()
        self.abort()

    # requests

    async def bind(self, dn: str, password: bytes) -> Result:
        """A simple bind. Who the connection is bound as afterwards, only the next bind can tell."""
        with self._request() as message_id:
            self._send(messages.bind(message_id, dn, password))
            operation = await self._answer(message_id)
            if not isinstance(operation, BindDone):
                raise ServerTrouble("answers a bind with something else")
            return operation.result

    async def search(self, wanted: Search, seconds: float) -> tuple[list[Entry], Result]:
        """The entries, at most as many as asked for, and how the search ended. What lies elsewhere is left there."""
        with self._request() as message_id:
            self._send(messages.search(message_id, wanted, max(1, round(seconds))))
            entries: list[Entry] = []
            while True:
                operation = await self._answer(message_id)
                match operation:
                    case Entry():
                        entries.append(operation)
                    case SearchDone(result):
                        return entries, result
                    case BindDone() | ExtendedDone():
                        raise ServerTrouble("answers a search with something else")
                if len(entries) > wanted.most:
                    raise ServerTrouble(f"sends more than the {wanted.most} entries that were asked for")

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Begin TLS on a plain connection (RFC 4511 §4.14). What came before it counts for nothing."""
        assert self._transport is not None
        with self._request() as message_id:
            self._send(messages.start_tls(message_id))
            operation = await self._answer(message_id)
            if not isinstance(operation, ExtendedDone):
                raise ServerTrouble("answers StartTLS with something else")
            if operation.result.code != SUCCESS:
                raise ServerTrouble(f"refuses StartTLS: {described(operation.result)}")
            if self._buffer:
                raise ServerTrouble("sends octets in clear behind its answer to StartTLS: somebody may be in between")
            loop, plain = asyncio.get_running_loop(), self._transport
            try:
                self._transport = await loop.start_tls(plain, self, context, server_hostname=host)
            except BaseException:
                plain.abort()
                raise
            if self._transport is None:
                raise ServerTrouble("closed the connection while TLS began")

    def _next_id(self) -> int:
        self._message_id += 1
        return self._message_id

    @contextmanager
    def _request(self) -> Iterator[int]:
        """Around one request. If it does not come to its end, the connection ends with it."""
        if not self.usable:
            raise ServerTrouble(self._ended or "said something unasked")
        self._asking, self._received = True, 0
        try:
            yield self._next_id()
        except BaseException as error:
            self.abort()
            if isinstance(error, OSError):
                raise ServerTrouble(_in_words(error)) from error
            raise
        self._asking = False
        self._answered += 1

    def _send(self, octets: bytes) -> None:
        assert self._transport is not None
        self._transport.write(octets)

    async def _answer(self, message_id: int) -> Operation:
        try:
            message = messages.read(await self._octets())
        except NotBer as error:
            raise ServerTrouble(f"does not speak LDAP: {error}") from None
        if message.id == 0:
            text = described(message.operation.result) if isinstance(message.operation, ExtendedDone) else ""
            raise ServerTrouble(f"says goodbye: {text}")
        if message.id != message_id:
            raise ServerTrouble("answers what was not asked")
        return message.operation

    async def _octets(self) -> bytes:
        """The next whole message."""
        while True:
            length = element_length(self._buffer)
            if self._buffer and self._buffer[0] != SEQUENCE:
                raise NotBer("what it sends begins like no message")
            if length is not None and length > MOST_OCTETS:
                raise ServerTrouble(f"announces an answer of {length} octets")
            if length is not None and len(self._buffer) >= length:
                octets = bytes(self._buffer[:length])
                del self._buffer[:length]
                return octets
            if self._ended is not None:
                raise ServerTrouble(self._ended)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def connect(place: Place, addresses: Sequence[str], context: ssl.SSLContext | None) -> Connection:
    """A connection whose server is the one that its certificate names, if ``context`` verifies any. ``addresses``: of
    the host, in order. Raises ServerTrouble."""
    trouble = ServerTrouble("has no address")
    for address in addresses:
        try:
            return await _connect_to(place, address, context)
        except ServerTrouble as error:
            trouble = error
    raise trouble


async def _connect_to(place: Place, address: str, context: ssl.SSLContext | None) -> Connection:
    loop, tls = asyncio.get_running_loop(), place.security is Security.TLS
    try:
        _, connection = await loop.create_connection(
            Connection,
            address,
            place.port,
            ssl=context if tls else None,
            server_hostname=place.host if tls else None,
        )
    except OSError as error:
        raise ServerTrouble(_in_words(error)) from error
    if place.security is Security.START_TLS:
        assert context is not None
        await connection.start_tls(context, place.host)
    return connection


def _in_words(error: Exception) -> str:
    """What went wrong with a connection, and what to look at."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not trusted ({error.verify_message}): see ca_file, and the host's name"
        case ssl.SSLError():
            return f"does not speak TLS here ({error.reason or 'the handshake failed'}): is it the right port?"
        case ConnectionRefusedError():
            return "refuses connections: does it run, on this port?"
        case ConnectionError():
            return "closes connections before they are of use: does it speak TLS, or none, on this port?"
        case TimeoutError():
            return "does not answer in time"
        case OSError():
            return (error.strerror or str(error) or type(error).__name__).lower()
        case _:
            return type(error).__name__
