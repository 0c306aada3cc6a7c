"""Accepts the connections of a TCP socket, and has each counted before anything else happens to it, TLS included.

asyncio's own server tells nobody of a connection whose handshake is not done, and accepts until no file is left.

*Memory.* A connection that has sent nothing yet costs its socket and a Task. TLS begins with its first octet, and for
HANDSHAKES connections at once: who holds handshakes open without ending them gives way to newcomers, by the rules of
``connection_limits``. Behind the handshake a connection has BUFFER octets to read into, where asyncio takes 256 KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable

from admin_web.http.connection_limits import ConnectionLimiter, LimitedConnection
from otp_core.settings import Address

BACKLOG = 1024
"""Connections that the kernel holds for us (net.core.somaxconn may allow fewer)."""

HANDSHAKES = 200
"""TLS handshakes under way at once."""

BUFFER = 32 * 1024
"""Octets; a TLS record has at most 16 KiB (RFC 8446 section 5.2)."""

sslproto.SSLProtocol.max_size = BUFFER  # asyncio has no other way to say it

_AT_ONCE = 16
"""Connections accepted before the event loop does something else."""

_PAUSE_SECONDS = 0.1
"""Before the next accept, when there is no file left for it and no connection that could give its own."""

_SHUTDOWN_SECONDS = 3.0
"""For a browser's part in the end of a TLS connection."""

_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Acceptor:
    """Accepts at ``listening``, which is bound, until ``close``. ``make_connection``: a protocol for each connection.
    ``tls``: None for plain HTTP. Belongs to the running event loop."""

    def __init__(
        self,
        listening: socket.socket,
        limiter: ConnectionLimiter,
        make_connection: Callable[[], LimitedConnection],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._listening, self._limiter, self._make_connection, self._tls = listening, limiter, make_connection, tls
        self._handshakes = limiter.for_handshakes(HANDSHAKES)
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._go_on()

    async def close(self) -> None:
        """Accept no further one, and end those whose handshake is not done."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._beginning:
            task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _go_on(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # most are about a connection that has ended already: accept(2)
                if error.errno in _NO_ROOM:
                    self._wait_for_room()
                    return
                continue
            self._begin(accepted, peer[0])

    def _wait_for_room(self) -> None:
        """The file of a connection that had to go is free when the loop has come round."""
        self._loop.remove_reader(self._listening)
        self._loop.call_later(0 if self._limiter.make_room() else _PAUSE_SECONDS, self._go_on)

    def _begin(self, accepted: socket.socket, address: str) -> None:
        connection = self._make_connection()

        def drop() -> None:
            connection.abort()
            with contextlib.suppress(OSError):  # a handshake that is under way ends with this
                accepted.shutdown(socket.SHUT_RDWR)

        connection.place = self._limiter.admit(address, drop)
        if connection.place is None:
            accepted.close()
            return
        task = self._loop.create_task(self._hand_over(accepted, connection, address, drop))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _hand_over(
        self, accepted: socket.socket, connection: LimitedConnection, address: str, drop: Callable[[], None]
    ) -> None:
        """Until the connection is made, handshake included."""
        try:
            if self._tls is None:
                await self._loop.connect_accepted_socket(lambda: connection, accepted)
            else:
                await self._first_octet(accepted)
                await self._shake_hands(self._tls, accepted, connection, address, drop)
        except (OSError, asyncio.CancelledError):  # no TLS, or not in time: nobody here has to be told
            accepted.close()
            connection.closed()

    async def _first_octet(self, accepted: socket.socket) -> None:
        """Until something has arrived, or the connection has ended; the limiter ends one that takes too long."""
        arrived = asyncio.Event()
        self._loop.add_reader(accepted, arrived.set)
        try:
            await arrived.wait()
        finally:
            self._loop.remove_reader(accepted)

    async def _shake_hands(
        self,
        tls: ssl.SSLContext,
        accepted: socket.socket,
        connection: LimitedConnection,
        address: str,
        drop: Callable[[], None],
    ) -> None:
        """Raises OSError if there is no room, or no TLS in time."""
        place = self._handshakes.admit(address, drop)
        if place is None:
            raise ConnectionAbortedError
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=self._limiter.header_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        finally:
            self._handshakes.closed(place)


def bind_tcp(address: Address, *, shared: bool) -> socket.socket:
    """A TCP socket bound to ``address``; ``[::]`` takes IPv4 too. ``shared``: other processes bind to the same one
    (SO_REUSEPORT). Raises OSError, whose text names the address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen at {address}: {error.strerror}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != "::")
        made.bind(address.for_socket())
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"cannot listen at {address}: {error.strerror}") from None
    return made
