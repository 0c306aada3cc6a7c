"""Who is at the door: the address that a request came from, and whether our own page sent it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from otp_core.settings.values import AnyNetwork


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[AnyNetwork]) -> str:
    """The last hop that is none of our proxies. ``forwarded``: the X-Forwarded-For headers, in order.

    What stands left of that hop, anybody may have written.
    """
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    address = peer
    while _is_trusted(address, trusted) and hops:
        before = _read(hops.pop())
        if before is None:
            return address
        address = before
    return address


def is_our_page(headers: Mapping[str, str], origin: str) -> bool:
    """Whether a page of ``origin`` sent this: by Sec-Fetch-Site, else by Origin. Neither: no."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return headers.get("Origin") == origin


def _read(text: str) -> str | None:
    found = _parsed(text)
    return str(found) if found else None


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_trusted(text: str, trusted: Sequence[AnyNetwork]) -> bool:
    address = _parsed(text)
    return address is not None and any(address in network for network in trusted)
