"""Binds a UDP port, or says in words why it cannot be bound."""

from __future__ import annotations

import errno
import socket

from otp_core.settings.values import Address

_RECEIVE_BUFFER = 4 * 1024 * 1024
"""Octets of datagrams that the kernel holds for us; it grants as much of this as net.core.rmem_max allows."""


class PortTaken(OSError):
    """Another process listens at this address. The text says how to find it."""


def bind_udp(family: int, address: Address) -> socket.socket:
    """A UDP socket bound to ``address``. ``family``: AF_INET or AF_INET6; an IPv6 socket takes IPv6 only. Raises
    OSError (PortTaken)."""
    try:
        made = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen at {address}: {error.strerror}") from None
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        made.bind(address.for_socket())
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                errno.EADDRINUSE,
                f"{address} is taken: does another RADIUS server (or Sekisho) run here? `ss -lunp` shows which",
            ) from None
        raise OSError(error.errno, f"cannot listen at {address}: {error.strerror}") from None
    return made
