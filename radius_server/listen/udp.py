"""UDP sockets that answer from the local address a request was sent to. Octets only; knows nothing of RADIUS."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from otp_core.settings.values import Address
from radius_server.listen.ports import bind_udp

MAX_DRAINED = 64
"""Datagrams read at once before the event loop does something else."""

_MAX_DATAGRAM = 4096 + 1
"""Octets read of a datagram: one more than RADIUS allows, so that a longer one can be recognised."""

_CONTROL_SIZE = socket.CMSG_SPACE(20)
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
"""Older Pythons lack the constant; 8 is its value on Linux."""

Peer = Any
"""A socket address as the kernel gives it: (host, port) or (host, port, flow, scope)."""

Receive = Callable[["Listener", bytes, Peer, bytes], None]
"""Takes the listener, a datagram, its peer, and the local address it was sent to."""


class Listener:
    """One bound UDP socket; a wildcard address (0.0.0.0 or ::) listens at every address of the machine.

    ``local`` is the local address that a datagram was sent to, packed as the control data of its reply. It is
    empty for a socket that is bound to one address. Raises OSError (PortTaken).
    """

    def __init__(self, address: Address) -> None:
        self._family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.socket = bind_udp(self._family, address)
        self.socket.setblocking(False)
        self._wildcard = ip_address(address.host).is_unspecified
        if self._wildcard:
            option = (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO) if self._v6 else (socket.IPPROTO_IP, _IP_PKTINFO)
            self.socket.setsockopt(*option, 1)

    @property
    def _v6(self) -> bool:
        return self._family == socket.AF_INET6

    @property
    def name(self) -> str:
        """Address and port in use, for the log."""
        host, port, *_ = self.socket.getsockname()
        return f"[{host}]:{port}" if self._v6 else f"{host}:{port}"

    def drain(self, receive: Receive) -> None:
        """Pass what has arrived to ``receive``, up to MAX_DRAINED datagrams. One event of the loop for each datagram
        would cost more than the datagram itself."""
        read = self._read_with_local_address if self._wildcard else self._read
        try:
            for _ in range(MAX_DRAINED):
                receive(self, *read())
        except BlockingIOError:
            return
        except OSError as error:
            # ECONNREFUSED reports that a reply met a closed port; it does not concern the datagrams that wait.
            if error.errno not in (errno.ECONNREFUSED, errno.EINTR):
                raise

    def send(self, datagram: bytes, peer: Peer, local: bytes) -> bool:
        """Send one datagram to ``peer`` from ``local``. False if the kernel did not take it: the datagram is
        lost, as any datagram may be."""
        try:
            if local:
                control = [(self._level, self._kind, local)]
                self.socket.sendmsg([datagram], control, 0, peer)
            else:
                self.socket.sendto(datagram, peer)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    @property
    def _level(self) -> int:
        return socket.IPPROTO_IPV6 if self._v6 else socket.IPPROTO_IP

    @property
    def _kind(self) -> int:
        return socket.IPV6_PKTINFO if self._v6 else _IP_PKTINFO

    def _read(self) -> tuple[bytes, Peer, bytes]:
        datagram, peer = self.socket.recvfrom(_MAX_DATAGRAM)
        return datagram, peer, b""

    def _read_with_local_address(self) -> tuple[bytes, Peer, bytes]:
        datagram, control, _flags, peer = self.socket.recvmsg(_MAX_DATAGRAM, _CONTROL_SIZE)
        return datagram, peer, self._local_address(control)

    def _local_address(self, control: list[tuple[int, int, bytes]]) -> bytes:
        for level, kind, value in control:
            if (level, kind) == (self._level, self._kind):
                # struct in_pktinfo (ip(7)): interface, local address, destination in the header. The reply names the
                # local address and leaves the interface to the routing table.
                return value if self._v6 else struct.pack("=i4s4s", 0, value[4:8], bytes(4))
        return b""
