"""UDP sockets that are drained, and that answer from the address that was asked. Bytes only; no RADIUS."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from otp_core.settings.values import Address
from radius_server.listen.ports import bound

DRAIN = 64
"""Datagrams taken before the loop does something else."""

_MOST = 4096 + 1
_CONTROL = socket.CMSG_SPACE(20)
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)

Source = Any
"""A socket address as the kernel gives it: (host, port) or (host, port, flow, scope)."""

Receive = Callable[["Listener", bytes, Source, bytes], None]


class Listener:
    """One bound socket. ``destination`` in its callbacks is the local address that was asked, packed for the reply
    (empty for a socket that is bound to one address)."""

    def __init__(self, address: Address) -> None:
        self._family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.socket = bound(self._family, address)
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
        host, port, *_ = self.socket.getsockname()
        return f"[{host}]:{port}" if self._v6 else f"{host}:{port}"

    def drain(self, receive: Receive) -> None:
        """Hand over what has arrived, up to DRAIN datagrams."""
        read = self._read_with_destination if self._wildcard else self._read
        try:
            for _ in range(DRAIN):
                receive(self, *read())
        except BlockingIOError:
            return
        except OSError as error:
            # A peer's closed port comes back as ECONNREFUSED on the next read; it concerns nobody here.
            if error.errno not in (errno.ECONNREFUSED, errno.EINTR):
                raise

    def send(self, datagram: bytes, source: Source, destination: bytes) -> bool:
        """False if the kernel would not take it: a lost datagram, as UDP has it."""
        try:
            if destination:
                control = [(self._level, self._kind, destination)]
                self.socket.sendmsg([datagram], control, 0, source)
            else:
                self.socket.sendto(datagram, source)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()

    @property
    def _level(self) -> int:
        return socket.IPPROTO_IPV6 if self._v6 else socket.IPPROTO_IP

    @property
    def _kind(self) -> int:
        return socket.IPV6_PKTINFO if self._v6 else _IP_PKTINFO

    def _read(self) -> tuple[bytes, Source, bytes]:
        datagram, source = self.socket.recvfrom(_MOST)
        return datagram, source, b""

    def _read_with_destination(self) -> tuple[bytes, Source, bytes]:
        datagram, control, _flags, source = self.socket.recvmsg(_MOST, _CONTROL)
        return datagram, source, self._destination(control)

    def _destination(self, control: list[tuple[int, int, bytes]]) -> bytes:
        for level, kind, value in control:
            if (level, kind) == (self._level, self._kind):
                # in_pktinfo (ip(7)): interface, the local address to answer from, the address in the header.
                return value if self._v6 else struct.pack("=i4s4s", 0, value[4:8], bytes(4))
        return b""
