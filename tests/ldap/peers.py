"""Servers that are no good: silent, slow, cut off in the middle, talkative; and one that answers as Active Directory
does, with its words taken from the wire. They read and write BER by themselves, not with the code that is tested.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """``connections``: how many came; ``ended``: how many of them the other side has closed."""

    behave: Behave
    port: int = 0
    connections: int = 0
    ended: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)
    went: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.came.set()
        try:
            await self.behave(reader, writer)
        except ConnectionError:
            pass
        finally:
            self.ended += 1
            self.went.set()
            writer.transport.abort()


@asynccontextmanager
async def peer(behave: Behave, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    one = Peer(behave)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0, ssl=context)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()


async def until_closed(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


# What they do with a connection


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accepts, and never says a word; on a TLS port, the handshake stands still."""
    await until_closed(reader)


async def half_a_reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(bind_answer(1, 0)[:7])
    await until_closed(reader)


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An octet now and then: each one would begin a time-out anew that waits for octets, not for answers."""
    await reader.read(4096)
    for octet in bind_answer(1, 49, "x" * 4000):
        writer.write(bytes((octet,)))
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announces little and sends on and on."""
    await reader.read(4096)
    while True:
        writer.write(tlv(0x30, integer(1), tlv(0x64, tlv(4, b"cn=x" * 1000), tlv(0x30))))
        await writer.drain()


async def announces_gigabytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01")
    await until_closed(reader)


async def another_protocol(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await until_closed(reader)


async def answers_another_question(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(bind_answer(2, 0))
    await until_closed(reader)


async def says_goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    notice = tlv(0x78, tlv(0x0A, b"\x34"), tlv(4), tlv(4, b"going down"), tlv(0x8A, b"1.3.6.1.4.1.1466.20036"))
    writer.write(tlv(0x30, integer(0), notice))
    await until_closed(reader)


async def injects_behind_start_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Somebody in between, who answers the bind before TLS begins."""
    await reader.read(4096)
    writer.write(tlv(0x30, integer(1), tlv(0x78, tlv(0x0A, b"\0"), tlv(4), tlv(4))) + bind_answer(2, 0))
    await until_closed(reader)


async def refuses_start_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(tlv(0x30, integer(1), tlv(0x78, tlv(0x0A, b"\x02"), tlv(4), tlv(4, b"no TLS here"))))
    await until_closed(reader)


# A server that knows one account


@dataclass
class OneAccount:
    """Answers each search with one entry, and each bind as ``answers`` says by password: code and text; ``controls``:
    octets of an answer's controls, by password. ``binds``: the passwords that came. ``delay``: seconds before each
    answer to a bind."""

    dn: str
    answers: Mapping[bytes, tuple[int, str]]
    controls: Mapping[bytes, bytes] = field(default_factory=dict)
    binds: list[bytes] = field(default_factory=list)
    delay: float = 0.0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while message := await _message(reader):
            number, tag, body = _opened(message)
            if tag == 0x60:
                password = elements(body)[2][1]
                self.binds.append(password)
                await asyncio.sleep(self.delay)
                code, text = self.answers.get(password, (0, ""))
                writer.write(bind_answer(number, code, text, self.controls.get(password, b"")))
            elif tag == 0x63:
                entry = tlv(0x64, tlv(4, self.dn.encode()), tlv(0x30))
                writer.write(tlv(0x30, integer(number), entry) + done(number, 0))
            else:
                return


def bind_answer(number: int, code: int, text: str = "", controls: bytes = b"") -> bytes:
    body = tlv(0x61, tlv(0x0A, bytes((code,))), tlv(4), tlv(4, text.encode()))
    return tlv(0x30, integer(number), body, controls)


def done(number: int, code: int) -> bytes:
    return tlv(0x30, integer(number), tlv(0x65, tlv(0x0A, bytes((code,))), tlv(4), tlv(4)))


def tlv(tag: int, *values: bytes) -> bytes:
    value = b"".join(values)
    short = len(value) < 128
    return bytes((tag,)) + (bytes((len(value),)) if short else b"\x84" + len(value).to_bytes(4, "big")) + value


def integer(number: int) -> bytes:
    return tlv(2, number.to_bytes(4, "big"))


def elements(octets: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(octets):
        length, start = octets[at + 1], at + 2
        if length >= 128:
            start += length - 128
            length = int.from_bytes(octets[at + 2 : start], "big")
        found.append((octets[at], octets[start : start + length]))
        at = start + length
    return found


def _opened(message: bytes) -> tuple[int, int, bytes]:
    number, operation, *_ = elements(message)
    return int.from_bytes(number[1], "big"), operation[0], operation[1]


async def _message(reader: asyncio.StreamReader) -> bytes:
    """What is inside the next message; empty at the end."""
    try:
        head = await reader.readexactly(2)
        length = head[1]
        if length >= 128:
            length = int.from_bytes(await reader.readexactly(length - 128), "big")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return b""
