"""One request and where its reply goes. Values only."""

from __future__ import annotations

from typing import Protocol

from otp_core.radius.codec import Packet
from radius_server.clients import Client
from radius_server.listen.udp import Peer


class Transport(Protocol):
    """What received a request and sends its reply: a listener."""

    def send(self, datagram: bytes, peer: Peer, local: bytes) -> bool:
        """Send to ``peer`` from the local address ``local``. False if the kernel did not take it."""


class Exchange:
    """A verified request, and what its reply needs. It is never changed. (No named tuple: where this is compiled, one
    takes five times as long to make.)

    ``client`` stays the one found on arrival, also after a reload. ``peer`` and ``local``: the peer's socket
    address and the local address that was asked, as the listener gave them. ``key``: identifies the request for the
    duplicate cache. ``received``: the event loop's time of its arrival.
    """

    __slots__ = ("client", "key", "listener", "local", "peer", "received", "request")

    def __init__(
        self,
        client: Client,
        request: Packet,
        listener: Transport,
        peer: Peer,
        local: bytes,
        key: tuple[object, ...],
        received: float,
    ) -> None:
        self.client, self.request, self.listener = client, request, listener
        self.peer, self.local, self.key, self.received = peer, local, key, received
