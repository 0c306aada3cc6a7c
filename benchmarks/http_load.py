"""HTTP/1.1 requests at a steady rate, in a process of their own: what was answered, and how long after it was due.

A latency counts from the moment at which the request was due, so that a server that falls behind is not spared by
a client that waits for it.
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_TICK = 0.002
"""Seconds between looks at what is due."""
_LENGTH = re.compile(rb"\r\nContent-Length: (\d{1,9})\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stream:
    """What one program asks: whole requests in order, so many a second, on connections that stay open."""

    name: str
    requests: Sequence[bytes] = field(repr=False)
    rate: float
    connections: int = 8


@dataclass(slots=True)
class Heard:
    """What one program was answered. ``times``: seconds, of the answers with status 200; ``statuses``: 0 is none."""

    name: str
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)


def run(port: int, streams: Sequence[Stream], patience: float = 10.0) -> list[Heard]:
    """All streams at once, from now; at the latest ``patience`` seconds after the last one was due it is over."""
    return asyncio.run(_run(port, streams, patience))


async def _run(port: int, streams: Sequence[Stream], patience: float) -> list[Heard]:
    return list(await asyncio.gather(*(_ask(port, stream, patience) for stream in streams)))


async def _ask(port: int, stream: Stream, patience: float) -> Heard:
    loop, heard = asyncio.get_running_loop(), Heard(stream.name)
    idle, transports = deque[_Connection](), []
    for _ in range(stream.connections):
        transport, connection = await loop.create_connection(lambda: _Connection(heard, idle), "127.0.0.1", port)
        transports.append(transport)
        idle.append(connection)
    waiting, due = deque[tuple[float, bytes]](), _due(stream, loop.time())
    following = next(due, None)
    end = loop.time() + len(stream.requests) / stream.rate + patience
    while loop.time() < end and (following or waiting or heard.statuses.total() < len(stream.requests)):
        now = loop.time()
        while following and following[0] <= now:
            waiting.append(following)
            following = next(due, None)
        while waiting and idle:
            idle.popleft().send(*waiting.popleft())
        await asyncio.sleep(_TICK)
    for transport in transports:
        transport.close()
    heard.statuses[0] += len(stream.requests) - heard.statuses.total()
    return heard


def _due(stream: Stream, begun: float) -> Iterator[tuple[float, bytes]]:
    for place, request in enumerate(stream.requests):
        yield begun + place / stream.rate, request


class _Connection(asyncio.Protocol):
    """One request at a time; idle again when its answer is whole. One that the server closes is not used again."""

    def __init__(self, heard: Heard, idle: "deque[_Connection]") -> None:
        self._heard, self._idle, self._got = heard, idle, b""
        self._due = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, due: float, request: bytes) -> None:
        assert self._transport is not None
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, mark, body = self._got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not mark or length is None or len(body) < int(length[1]):
            return
        self._got, status = b"", int(head[9:12])
        self._heard.statuses[status] += 1
        if status == 200:
            self._heard.times.append(asyncio.get_running_loop().time() - self._due)
        self._idle.append(self)
