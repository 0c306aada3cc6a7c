"""The connection to whoever takes the messages: TLS or TCP (octet counting), UDP, a Unix datagram socket.

A stream's messages count as delivered when the other machine has acknowledged every octet: syslog itself has no answer.
What a receiver had only in its memory when it was killed is lost, and nobody here can know it.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import ssl
import termios
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from otp_core.settings import SyslogSettings
from otp_core.store.queries import AuditLine
from otp_core.syslog.message import Sender, framed, message, seal_message

_LOOK_SECONDS = 0.02
_AT_ONCE = 20
"""Datagrams without a pause."""


class Connected(Protocol):
    """Takes messages, in their order."""

    async def send(self, messages: Sequence[bytes]) -> None:
        """All of them. Raises OSError, TimeoutError included; then nobody knows which ones arrived."""

    def close(self) -> None:
        """Let go; the next ``send`` connects anew."""


def connection_of(section: SyslogSettings) -> Connected:
    """The one that the settings name, not connected yet."""
    return Stream(section) if section.transport in ("tls", "tcp") else Datagrams(section)


class SyslogReceiver:
    """Audit rows as messages of ``sender`` over a connection (``outwards.follower.Receiver``)."""

    def __init__(self, connection: Connected, sender: Sender) -> None:
        self._connection, self._sender = connection, sender

    async def send(self, rows: Sequence[AuditLine]) -> AsyncIterator[int]:
        """Together: a stream acknowledges octets, no messages."""
        await self._connection.send([message(row, self._sender) for row in rows])
        yield rows[-1].id

    async def send_seal(self, until: int, line: str) -> None:
        """See ``seal_message``. Raises OSError."""
        await self._connection.send([seal_message(until, line, self._sender)])

    async def close(self) -> None:
        """Let go; the next ``send`` connects anew."""
        self._connection.close()


class Stream:
    """Over TLS or TCP."""

    def __init__(self, section: SyslogSettings) -> None:
        self._section = section
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, messages: Sequence[bytes]) -> None:
        """See ``Connected``."""
        async with asyncio.timeout(self._section.timeout):
            writer = self._writer or await self._connect()
            self._check()
            writer.write(b"".join(map(framed, messages)))
            while writer.transport.get_write_buffer_size() or _unacknowledged(writer):
                self._check()
                await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)  # a reset empties the queue too; by then the loop has seen it
            self._check()

    def close(self) -> None:
        """See ``Connected``."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connect(self) -> asyncio.StreamWriter:
        host, port = self._section.host_and_port()
        context = None
        if self._section.transport == "tls":
            context = ssl.create_default_context(cafile=self._section.ca_file)
        self._reader, self._writer = await asyncio.open_connection(
            host, port, ssl=context, server_hostname=host if context else None, limit=4096
        )
        return self._writer

    def _check(self) -> None:
        """Raises ConnectionError if the other side has ended the connection."""
        if self._reader is None or self._writer is None or self._reader.at_eof() or self._writer.is_closing():
            raise ConnectionError("the receiver ended the connection")


class Datagrams:
    """Over UDP, or to a Unix socket such as /dev/log."""

    def __init__(self, section: SyslogSettings) -> None:
        self._section = section
        self._socket: socket.socket | None = None

    async def send(self, messages: Sequence[bytes]) -> None:
        """See ``Connected``."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._section.timeout):
            opened = self._socket or await self._connect()
            for at, one in enumerate(messages):
                if at % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(_LOOK_SECONDS)
                await loop.sock_sendall(opened, one)

    def close(self) -> None:
        """See ``Connected``."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    async def _connect(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        family: int = socket.AF_UNIX
        address: Any = self._section.address
        if self._section.transport == "udp":
            host, port = self._section.host_and_port()
            family, _, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.connect(address)
        return self._socket


def _unacknowledged(writer: asyncio.StreamWriter) -> int:
    """Octets in the kernel's queue that the other side has not acknowledged."""
    found = array.array("i", [0])
    opened = writer.get_extra_info("socket")  # None from the moment that a TLS transport is closed
    descriptor = -1 if opened is None else opened.fileno()
    if descriptor < 0:
        raise ConnectionError("the receiver ended the connection")
    fcntl.ioctl(descriptor, termios.TIOCOUTQ, found)
    return found[0]
