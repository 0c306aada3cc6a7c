"""UDP sockets that answer from the local address a request was sent to. Octets only; knows nothing of RADIUS."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any

from otp_core.kernel_clock import kernel_time
from otp_core.settings.values import Address
from radius_server.listen.ports import bind_udp

MAX_DRAINED = 64
"""Datagrams read at once before the event loop does something else."""

_MAX_DATAGRAM = 4096 + 1
"""Octets read of a datagram: one more than RADIUS allows, so that a longer one can be recognised."""

AT_ONCE = 0.5
"""Seconds within which a datagram counts as read when it came: so long after the socket was seen empty, or a young one
in it, none is asked when it came. Being told costs more than reading it."""

_CONTROL_SIZE = socket.CMSG_SPACE(20) + socket.CMSG_SPACE(16)
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
"""Older Pythons lack the constant; 8 is its value on Linux."""

_SO_TIMESTAMPNS = 35
"""The kernel tells when a datagram came (socket(7)); the value on Linux, but for SPARC and PA-RISC."""

Peer = Any
"""A socket address as the kernel gives it: (host, port) or (host, port, flow, scope)."""

Receive = Callable[["Listener", bytes, Peer, bytes], None]
"""Takes the listener, a datagram, its peer, and the local address it was sent to."""


def kernel_seconds() -> float:
    """The kernel's own wall clock, by which it stamps datagrams, in seconds since the epoch. (``time.time`` may be
    another one: libfaketime.)"""
    read = kernel_time()
    return time.time() if read is None else read[0]


uptime_seconds: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Seconds of a clock that nobody sets and that goes on while the machine sleeps."""


def _is_stamped(made: socket.socket) -> bool:
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return struct.calcsize("l") == 8  # elsewhere the stamp has another form


class Listener:
    """One bound UDP socket; a wildcard address (0.0.0.0 or ::) listens at every address of the machine.

    ``local`` is the local address that a datagram was sent to, packed as the control data of its reply. It is
    empty for a socket that is bound to one address. ``waited``: for how many seconds the datagram that is being passed
    on lay in the socket, at least; 0 where that is less than AT_ONCE. ``stamp_time`` and ``uptime``: the clock of the
    kernel's time stamps, and one that nobody sets, in seconds. Raises OSError (PortTaken).
    """

    def __init__(
        self,
        address: Address,
        stamp_time: Callable[[], float] = kernel_seconds,
        uptime: Callable[[], float] = uptime_seconds,
    ) -> None:
        self._family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.socket = bind_udp(self._family, address)
        self.socket.setblocking(False)
        self.waited = 0.0
        self._stamp_time, self._uptime = stamp_time, uptime
        self._unread_since = uptime()  # whatever still waits in the socket came later
        self._stamped = _is_stamped(self.socket)
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
        try:
            left = MAX_DRAINED
            if self._uptime() - self._unread_since >= AT_ONCE and self._stamped:
                left -= self._pass_on_old_ones(receive)
            if self._wildcard:
                for _ in range(left):
                    datagram, control, _flags, peer = self.socket.recvmsg(_MAX_DATAGRAM, _CONTROL_SIZE)
                    receive(self, datagram, peer, self._local_address(control))
            else:
                recvfrom = self.socket.recvfrom
                for _ in range(left):
                    datagram, peer = recvfrom(_MAX_DATAGRAM)
                    receive(self, datagram, peer, b"")
        except BlockingIOError:
            self._unread_since = self._uptime()
        except OSError as error:
            # ECONNREFUSED reports that a reply met a closed port; it does not concern the datagrams that wait.
            if error.errno not in (errno.ECONNREFUSED, errno.EINTR):
                raise

    def _pass_on_old_ones(self, receive: Receive) -> int:
        """When datagrams may have waited, because this process stood still, does not keep up, or had nothing to read
        for a while: pass on those that waited for AT_ONCE, and one more. What is behind that one came later, so nobody
        asks it. Returns how many were read, MAX_DRAINED at most. Raises as ``recvmsg`` does."""
        try:
            for read in range(1, MAX_DRAINED + 1):
                datagram, control, _flags, peer = self.socket.recvmsg(_MAX_DATAGRAM, _CONTROL_SIZE)
                now = self._uptime()
                age = min(self._age(control), now - self._unread_since)
                self.waited = age if age >= AT_ONCE else 0.0
                receive(self, datagram, peer, self._local_address(control) if self._wildcard else b"")
                if age < AT_ONCE:
                    self._unread_since = now - age
                    return read
            return MAX_DRAINED
        finally:
            self.waited = 0.0

    def _age(self, control: list[tuple[int, int, bytes]]) -> float:
        """Seconds since a datagram came; 0 where that is not known."""
        for level, kind, value in control:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) >= 16:
                seconds, nanoseconds = struct.unpack("=qq", value[:16])
                came: float = seconds + nanoseconds / 1e9
                return max(0.0, self._stamp_time() - came)
        return 0.0

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

    def _local_address(self, control: list[tuple[int, int, bytes]]) -> bytes:
        for level, kind, value in control:
            if (level, kind) == (self._level, self._kind):
                # struct in_pktinfo (ip(7)): interface, local address, destination in the header. The reply names the
                # local address and leaves the interface to the routing table.
                return value if self._v6 else struct.pack("=i4s4s", 0, value[4:8], bytes(4))
        return b""
