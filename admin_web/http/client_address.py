"""The address that a request came from, behind any number of trusted proxies. Pure: no request, no settings."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from otp_core.settings.values import AnyNetwork


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[AnyNetwork]) -> str:
    """The last hop that is not a trusted proxy, as an IP address.

    ``peer``: the address of the connection. ``forwarded``: the X-Forwarded-For headers, in order. Each proxy appends
    the address it was asked from, so they are read from the right; what a client has written itself stands further
    left and is not reached. An entry that is not an IP address ends the search at the hop before it.
    """
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    address = peer
    while is_in(address, trusted) and hops:
        before = _parse(hops.pop())
        if before is None:
            return address
        address = str(before)
    return address


def is_in(text: str, networks: Sequence[AnyNetwork]) -> bool:
    """Whether a text is an IP address in one of these networks."""
    address = _parse(text)
    return address is not None and any(address in network for network in networks)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
