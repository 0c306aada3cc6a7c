"""The address that a request came from, behind any number of trusted proxies. Pure: no request, no settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from otp_core.settings.values import AnyNetwork

MAX_HOPS = 32
"""Entries of X-Forwarded-For that are looked at, from the right."""

_LONGEST = 80
"""Characters of an entry: an IPv6 address with zone, brackets, port and quotes is shorter."""

_WITH_PORT = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}")
"""``[2001:db8::5]:443``, ``[2001:db8::5]``, or ``203.0.113.5:51234``."""


class Doubt(StrEnum):
    """Why the address that was found may not be the browser's: texts for the operator."""

    UNREADABLE = (
        "a trusted proxy's X-Forwarded-For holds no IP address: all its customers count as one address; "
        "let it append the address that it was asked from"
    )
    NO_ADDRESS = (
        "a trusted proxy sends Forwarded and no X-Forwarded-For, which alone is read: all its customers count as one "
        "address; let it send X-Forwarded-For"
    )
    NOT_TRUSTED = (
        "somebody who is not named in trusted_proxies sends X-Forwarded-For or Forwarded, which is not believed: if "
        "this is your proxy's address, all its customers count as one; write it into trusted_proxies"
    )


class Found(NamedTuple):
    """``address``: the client's IP address. ``doubt``: None if there is no reason for one."""

    address: str
    doubt: Doubt | None


def client_address(
    peer: str, forwarded_for: Sequence[str], trusted: Sequence[AnyNetwork], *, forwarded: bool = False
) -> Found:
    """The last hop that is not a trusted proxy.

    ``peer``: the address of the connection. ``forwarded_for``: the X-Forwarded-For headers, in order. Each proxy
    appends the address it was asked from, so they are read from the right; what a client has written itself stands
    further left and is not reached. An entry that is not an IP address ends the search at the hop before it.
    ``forwarded``: whether there is a Forwarded header (RFC 7239). It is never read: a proxy that knows only one of the
    two headers passes the other on as the client wrote it.
    """
    found = _parse(peer)
    address = peer if found is None else str(found)
    if not is_in(address, trusted):
        return Found(address, Doubt.NOT_TRUSTED if forwarded_for or forwarded else None)
    if not forwarded_for:
        return Found(address, Doubt.NO_ADDRESS if forwarded else None)
    hops = ",".join(forwarded_for).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    while hops and is_in(address, trusted):
        before = _parse(hops.pop())
        if before is None:
            return Found(address, Doubt.UNREADABLE)
        address = str(before)
    return Found(address, None)


def is_in(text: str, networks: Sequence[AnyNetwork]) -> bool:
    """Whether a text is an IP address in one of these networks."""
    address = _parse(text)
    return address is not None and any(address in network for network in networks)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """The address of an entry, as proxies write it: with a port, with brackets, in quotes. A zone belongs to the proxy
    and is dropped; an IPv4 address that is mapped into IPv6 is itself (RFC 4291 section 2.5.5.2)."""
    return None if len(text) > _LONGEST else _parsed(text)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Each request asks twice, and mostly somebody who has asked before."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] if match[2] is None else match[2]
    host, zone, _ = text.partition("%")
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address if not zone or isinstance(address, IPv6Address) else None
