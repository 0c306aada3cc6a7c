"""A proxy in front of a server that spoils its replies to POST: cut off, replaced, or late. Everything else passes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Spoil = int | bytes | None
"""What becomes of a reply: only so many octets of it arrive (negative: all but so many); this arrives in its place;
nothing is spoiled."""


@dataclass
class CuttingProxy:
    """``spoils``: for the next replies to POST, in turn; those after them pass. ``held``: while it is set, replies to
    POST do not arrive; ``replies``: what the server has answered to POST."""

    port: int
    server_port: int
    spoils: list[Spoil] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    replies: list[bytes] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        """One request, one reply."""
        with connection:
            request = _whole(connection)
            if not request:
                return
            head, _, body = request.partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            with socket.create_connection(("127.0.0.1", self.server_port), timeout=60) as server:
                server.sendall(b"\r\n".join([*lines, b"Connection: close", b"", body]))
                reply = b"".join(iter(lambda: server.recv(65536), b""))
            if request.startswith(b"POST"):
                self.replies.append(reply)
                if self.held.is_set():
                    self.released.wait(60)
                reply = _spoiled(reply, self.spoils.pop(0) if self.spoils else None)
            connection.sendall(reply)


def _spoiled(reply: bytes, spoil: Spoil) -> bytes:
    match spoil:
        case None:
            return reply
        case bytes():
            return spoil
        case octets:
            return reply[:octets]


def _whole(connection: socket.socket) -> bytes:
    """A request with its body; empty if the browser opened the connection for nothing."""
    text = b""
    while b"\r\n\r\n" not in text:
        more = connection.recv(65536)
        if not more:
            return b""
        text += more
    head, _, body = text.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def cutting_proxy(port: int, server_port: int) -> Iterator[CuttingProxy]:
    """Listens at ``port`` of this machine until the block ends."""
    proxy = CuttingProxy(port, server_port)
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_served, args=(proxy, connection), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _served(proxy: CuttingProxy, connection: socket.socket) -> None:
    with suppress(OSError):  # the browser has gone
        proxy.serve(connection)
