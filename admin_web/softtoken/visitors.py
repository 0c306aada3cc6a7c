"""Who is at the door: the address that a request came from, and whether our own page sent it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from otp_core.settings.values import AnyNetwork


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[AnyNetwork]) -> str:
    """The last hop that is none of our proxies. ``forwarded``: the X-Forwarded-For headers, in order.

    What stands left of that hop, anybody may have written.
    """
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    address = peer
    while _is_trusted(address, trusted) and hops:
        before = hops.pop()
        try:
            ip_address(before)
        except ValueError:
            return address
        address = before
    return address


def _is_trusted(text: str, trusted: Sequence[AnyNetwork]) -> bool:
    address = ip_address(text)
    return any(address in network for network in trusted)


def is_our_page(headers: Mapping[str, str], origin: str) -> bool:
    """Whether a page of ``origin`` sent this: by Sec-Fetch-Site, else by Origin. Neither: no."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return headers.get("Origin") == origin
