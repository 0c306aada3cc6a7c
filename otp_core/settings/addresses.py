"""Addresses in the settings: of sockets, networks, and on the web. Pure, but for the number of a named interface.

Each function checks what a file or a variable gave, puts it into the one form in which it is compared and used, and
raises ValueError with the right form.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

AnyNetwork = IPv4Network | IPv6Network

LONGEST_ADDRESS, LONGEST_URL = 300, 2000
"""Characters that are looked at."""

_ADDRESS = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_ORIGIN = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_HERE = ("localhost", "127.0.0.1", "[::1]")
_MAPPED_BITS = 96


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port. ``host`` of a link-local address names the interface: ``fe80::1%eth0``. ``str()`` is
    the form of the settings file: ``[::]:1812``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def for_socket(self) -> tuple[Any, ...]:
        """What ``socket.bind`` takes. Raises OSError if there is no such interface."""
        return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0][4]

    def overlaps(self, other: Address, *, dual_stack: bool) -> bool:
        """Whether two sockets cannot have both. ``dual_stack``: whether ``[::]`` takes IPv4 too."""
        if self.port != other.port or not self.port:
            return False
        if self.host == other.host:
            return True
        everywhere = {"0.0.0.0", "::"} & {self.host, other.host}  # noqa: S104  no address to listen at
        same_version = (":" in self.host) == (":" in other.host)
        return bool(everywhere) and (same_version or (dual_stack and "::" in everywhere))


def read_address(value: object) -> Address:
    """The address of ``0.0.0.0:1812`` or ``[::]:1812``. Port 0: any free one. An IPv4 address that is mapped into IPv6
    is itself (RFC 4291 section 2.5.5.2). Raises ValueError."""
    if isinstance(value, Address):
        return value
    text = _text(value, '"0.0.0.0:1812"')
    if "[" not in text and text.count(":") > 1:
        raise ValueError(f'{shown(text)} needs brackets around the IPv6 address, and a port: "[2001:db8::1]:1812"')
    match = _ADDRESS.fullmatch(text)
    found = match and _ip(match[1] or match[2])
    if not match or found is None or (found.version == 6) != bool(match[1]):
        raise ValueError(f'{shown(text)} is not an IP address and port: write "0.0.0.0:1812" or "[::]:1812"')
    if int(match[3]) > 65535:
        raise ValueError(f"{text}: a port is 1 to 65535 (0: any free one)")
    return Address(_host(found), int(match[3]))


def read_server_address(value: object) -> Address:
    """The same of a server that is asked. Raises ValueError."""
    try:
        found = read_address(value)
    except ValueError as error:
        raise ValueError(str(error).replace('"0.0.0.0:1812" or "[::]:1812"', _ASKED)) from None
    if not found.port or found.host in _EVERYWHERE:
        raise ValueError(f"{found} cannot be asked: write {_ASKED}")
    return found


_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  refused here
_ASKED = '"192.0.2.10:1812" or "[2001:db8::10]:1812", the address of one server: names are not looked up'


def _host(found: IPv4Address | IPv6Address) -> str:
    """An address that a socket can have, in its shortest form. Raises ValueError."""
    if isinstance(found, IPv6Address):
        zone = found.scope_id
        if zone is not None and not (found.is_link_local and _INTERFACE.fullmatch(zone)):
            raise ValueError('only a link-local address has an interface behind %, by its name: "[fe80::1%eth0]:1812"')
        if found.is_link_local and zone is None:
            raise ValueError(f'{found} is link-local: name the interface, "[{found}%eth0]:1812"')
        if found.ipv4_mapped is not None:
            return _host(found.ipv4_mapped)
    if found.is_multicast or str(found) == "255.255.255.255":
        raise ValueError(f'{found} is for many hosts: write an address of this one, or "0.0.0.0:1812"')
    return str(found)


def read_network(value: object) -> AnyNetwork:
    """The network of ``10.1.0.0/16``, ``2001:db8::/32`` or one address. IPv4 that is mapped into IPv6 is itself. Raises
    ValueError."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    text = _text(value, '"10.1.0.0/16"')
    if "%" in text:
        raise ValueError(f'{shown(text)} names an interface, which no network has: write "{text.partition("%")[0]}"')
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f'{shown(text)} is not a network: write "10.1.0.0/16", "2001:db8::/32" or one address, "10.1.2.3"'
        ) from None
    address = ip_address(text.partition("/")[0])
    if address != found.network_address:
        raise ValueError(f"{text} has host bits set; write {found} or {address}/{found.max_prefixlen}")
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    if mapped is not None and found.prefixlen >= _MAPPED_BITS:
        return IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
    return found


def web_origin(origin: str) -> str:
    """An origin, scheme, host and port, as browsers write it in the header Origin (RFC 6454 section 6.2): in lower
    case, and without the scheme's own port. Raises ValueError."""
    match = _ORIGIN.fullmatch(origin) if len(origin) <= LONGEST_ADDRESS else None
    host = _web_host(match[2]) if match else None
    if match is None or host is None or not _is_port(match[3]):
        raise ValueError(
            f"{shown(origin)} is not an origin: write https://HOST or https://HOST:PORT, with nothing after it"
        )
    scheme = match[1].lower()
    if scheme == "http" and host not in _HERE:
        raise ValueError(f"{origin} is open to eavesdroppers: write https (http is for localhost only)")
    port = "" if match[3] is None or int(match[3]) == int(_DEFAULT_PORTS[scheme]) else f":{int(match[3])}"
    return f"{scheme}://{host}{port}"


def page_url(url: str) -> str:
    """Check the address of a page that ours link to: https, or a path of our own origin. Raises ValueError."""
    right = 'write "https://www.example.jp/login", or a path of this origin, "/login"'
    if len(url) > LONGEST_URL or not url.isprintable() or any(one in url for one in " \"'<>\\`"):
        raise ValueError(f"{shown(url)} is not an address that a page can link to: {right}")
    if url.startswith("/") and not url.startswith("//"):
        return url
    try:
        parts = urlsplit(url)
        host = _web_host(parts.netloc if parts.port is None else parts.netloc.rpartition(":")[0])
    except ValueError:
        host = None
    if host is None or parts.port == 0 or parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{shown(url)} is not an address that a page can link to: {right}")
    if parts.scheme == "http" and host not in _HERE:
        raise ValueError(f"{shown(url)} is open to eavesdroppers: {right} (http is for localhost only)")
    return url


def can_be_looked_up(host: str) -> bool:
    """Whether a resolver takes this name at all. Python's ends "a..b", and a label of more than 63 characters, with
    UnicodeError, which nobody expects of a machine that is not there."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _web_host(host: str) -> str | None:
    """A host as browsers write it; None for one that they cannot ask."""
    if host.startswith("["):
        address = _ip(host[1:-1])
        return f"[{address}]" if isinstance(address, IPv6Address) and host.endswith("]") else None
    host = host.lower()
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    if labels[-1].isdigit() and not isinstance(_ip(host), IPv4Address):
        return None
    return host


def _is_port(text: str | None) -> bool:
    return text is None or 1 <= int(text) <= 65535


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _text(value: object, example: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"needs text in quotes: {example}")  # noqa: TRY004  pydantic collects ValueErrors only
    if len(value) > LONGEST_ADDRESS:
        raise ValueError(f"is longer than {LONGEST_ADDRESS} characters: write {example}")
    return value


def shown(text: str) -> str:
    """A wrong value in a message: its beginning, in one line, without a user's password in it."""
    before, at, behind = text.rpartition("@")
    if at:
        scheme, colon, _ = before.rpartition("://")
        text = f"{scheme}{colon}…@{behind}"
    return "".join(one if one.isprintable() else "?" for one in text[:80]) + ("…" if len(text) > 80 else "")
