"""The station that a login comes from, in one form for every door. Pure.

A gateway's Calling-Station-Id (RFC 2865 §5.31, RFC 3580 §3.21), PAM's rhost and the address of a browser name it as
they like: with a port, in another spelling, padded. What counts failures by station has to see one in all of them.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from otp_core.model import Attempt
from otp_core.otp import compatibility_form

MAX_OCTETS = 253
"""Of an attribute's value; what is longer is cut before anybody looks at it."""

MAX_TEXT = 64
"""Characters kept of a text that is no address."""

_PADDING = "".join(map(chr, range(33))) + "\x7f\x85\xa0\u3000\ufeff"
_NAT64 = IPv6Network("64:ff9b::/96")
_PORT = r"\s*(?:[:#/;,_-]\s*|(?<=\s))\d{1,5}"  # a blank is no separator beside others: that took the square of them
_V4 = re.compile(rf"(\d{{1,3}})\.(\d{{1,3}})\.(\d{{1,3}})\.(\d{{1,3}})(?:{_PORT})?", re.ASCII)
_V6 = re.compile(
    r"\[?([0-9a-f:]{2,39}(?:(?<=:)[0-9.]{7,15})?)(?:%[^\]\s]*)?\]?(?:\s*(?:[.:#/;,_-]\s*|(?<=\s))\d{1,5})?", re.ASCII
)
_MAC = re.compile(
    r"([0-9a-f]{2}(?P<one>[:. -])(?:[0-9a-f]{2}(?P=one)){4}[0-9a-f]{2}"
    r"|[0-9a-f]{4}(?P<two>[:. -])[0-9a-f]{4}(?P=two)[0-9a-f]{4}"
    r"|[0-9a-f]{6}[:. -]?[0-9a-f]{6})(?:[:;,/ ].*)?",
    re.ASCII | re.DOTALL,
)
_TELEPHONE = re.compile(r"\+?[0-9(][0-9 ().-]*", re.ASCII)
_LEAST_DIGITS = 7  # of a telephone number: 1-23 and 12-3 are two rooms


def station_of(text: str) -> str:
    """One text for one station; empty for none.

    An IPv4 address, without its port. An IPv6 address as its /64, which one customer has to themselves; one that stands
    for an IPv4 address (RFC 4291 §2.5.5.2, RFC 6052 §2.1) as that. A MAC address as 12 digits behind "mac ", without
    the network's name behind it. A telephone number of seven digits or more as its digits. Anything else in small
    letters, with single blanks, at most MAX_TEXT characters.
    """
    bounded = text[:MAX_OCTETS].strip(_PADDING)
    folded = (compatibility_form(bounded) or bounded).casefold().strip(_PADDING)
    if not folded:
        return ""
    return _v4(folded) or _v6(folded) or _mac(folded) or _telephone(folded) or _other(folded)


def counted_station(attempt: Attempt) -> str:
    """The station for which wrong passwords of an attempt are counted: the client itself, where it names none."""
    return station_of(attempt.calling_station_id) or attempt.client


def readable(text: str) -> str:
    """A station's text as it came, without its padding and bounded: for the audit trail."""
    return text[:MAX_OCTETS].strip(_PADDING)[:MAX_TEXT]


def _v4(text: str) -> str:
    if (found := _V4.fullmatch(text)) is None:
        return ""
    numbers = [int(number) for number in found.groups()]  # 010 is ten: nobody writes octal here
    return ".".join(map(str, numbers)) if max(numbers) < 256 else ""


def _v6(text: str) -> str:
    if (found := _V6.fullmatch(text)) is None:
        return ""
    address = _parsed(found[1])
    if not isinstance(address, IPv6Address):
        return ""
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address in _NAT64:
        return str(IPv4Address(int(address) & 0xFFFFFFFF))
    return str(IPv6Network((address, 64), strict=False))


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _mac(text: str) -> str:
    found = _MAC.fullmatch(text)
    return "mac " + re.sub(r"[^0-9a-f]", "", found[1]) if found else ""


def _telephone(text: str) -> str:
    digits = re.sub(r"[^0-9]", "", text) if _TELEPHONE.fullmatch(text) else ""
    return (_mac(digits) or digits[:MAX_TEXT]) if len(digits) >= _LEAST_DIGITS else ""


def _other(text: str) -> str:
    words = "".join(one if one.isprintable() else " " for one in text).split()
    return " ".join(words)[:MAX_TEXT].rstrip()
