"""What the keys of a first factor of type ldap may be, each by itself and together. Values only; opens no file.

Whether files are what they should be, the program's checks find out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol

from otp_core.first_factor.ldap.connection import Place, Security
from otp_core.first_factor.ldap.filters import BadFilter, parse
from otp_core.first_factor.ldap.names import comparable_dn, fits_a_bind_name
from otp_core.settings.addresses import can_be_looked_up, shown

USER = "{user}"
_URL = re.compile(
    r"(?P<scheme>ldaps?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_DOMAIN = re.compile(r"[^\\/@\s]{1,64}")
_PORTS = {"ldap": 389, "ldaps": 636}
OPTIONAL_KEYS: frozenset[str] = frozenset(
    {
        "start_tls",
        "allow_plain_text",
        "ca_file",
        "bind_dn",
        "bind_password_file",
        "base",
        "filter",
        "dn_template",
        "customer_attribute",
        "domains",
        "groups",
        "group_base",
        "timeout",
        "dead_seconds",
        "connections",
        "max_waiting",
    }
)
"""Beside ``urls``, which is needed."""
_OF_SEARCHES = ("base", "bind_dn", "filter", "groups", "group_base", "customer_attribute")
"""Keys that mean nothing where a DN is made from a template."""


class DirectoryKeys(Protocol):
    """The keys that have to fit together."""

    @property
    def urls(self) -> tuple[str, ...]: ...
    @property
    def start_tls(self) -> bool: ...
    @property
    def allow_plain_text(self) -> bool: ...
    @property
    def bind_dn(self) -> str | None: ...
    @property
    def bind_password_file(self) -> object: ...
    @property
    def base(self) -> str | None: ...
    @property
    def dn_template(self) -> str | None: ...
    @property
    def model_fields_set(self) -> set[str]: ...


def read_url(url: str, *, start_tls: bool = False) -> Place:
    """Where a directory's server is. Raises ValueError."""
    match = _URL.fullmatch(url) if len(url) <= 300 else None
    port = int(match["port"] or _PORTS[match["scheme"]]) if match else 0
    if match is None or not 1 <= port <= 65535 or not can_be_looked_up(match["host"]):
        raise ValueError(f'{shown(url)} is not a directory\'s address: write "ldaps://dc1.example"')
    security = Security.TLS if match["scheme"] == "ldaps" else Security.START_TLS if start_tls else Security.NONE
    return Place(match["host"].strip("[]"), port, security)


def read_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError."""
    for url in urls:
        read_url(url)
    if len(set(urls)) != len(urls):
        raise ValueError("names a server twice")
    return urls


def read_filter(text: str) -> str:
    """A filter that is one, and says where the name goes. Raises ValueError."""
    try:
        found = parse(text)
    except BadFilter as error:
        raise ValueError(f"does not parse: it {error}") from None
    if not found.names_user:
        raise ValueError('does not say where the name goes: "(uid={user})"')
    if not found.ties_to_user:
        raise ValueError(
            "fits accounts of others than {user}: the name has to stand in each branch of |, and not behind !"
        )
    return text


def read_dn(text: str) -> str:
    """Raises ValueError for what is no DN."""
    comparable_dn(text)
    return text


def read_dns(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError for what is no DN."""
    for text in texts:
        try:
            comparable_dn(text)
        except ValueError as error:
            raise ValueError(f"{text[:80]!r} {error}") from None
    return texts


def read_template(text: str) -> str:
    """What customers are bound as: a DN, or a name such as ``{user}@bank.example``. Raises ValueError."""
    if text.count(USER) != 1:
        raise ValueError('has to say once where the name goes: "uid={user},OU=People,DC=bank,DC=example"')
    if "=" in text:
        comparable_dn(text.replace(USER, "x"))
    elif not fits_a_bind_name(text.replace(USER, "x").replace("@", "").replace("\\", "")):
        raise ValueError('is neither a DN nor a name: "{user}@bank.example"')
    return text


def read_attribute(text: str) -> str:
    """The name of an attribute of accounts. Raises ValueError."""
    if not _ATTRIBUTE.fullmatch(text):
        raise ValueError('is not the name of an attribute: "employeeNumber"')
    return text


def read_domains(texts: tuple[str, ...]) -> tuple[str, ...]:
    r"""What may stand before a backslash. Raises ValueError."""
    for text in texts:
        if not _DOMAIN.fullmatch(text):
            raise ValueError(f'{text[:80]!r} is not a domain\'s name: write "BANK", without the backslash')
    return texts


def check_together(keys: DirectoryKeys) -> None:
    """Whether the keys fit together. Raises ValueError."""
    if not keys.urls:
        raise ValueError('urls names no server: ["ldaps://dc1.example"]')
    _check_secrecy(keys.urls, keys.start_tls, keys.allow_plain_text)
    if (keys.bind_dn is None) != (keys.bind_password_file is None):
        raise ValueError("bind_dn and bind_password_file go together: give both, or neither")
    if keys.dn_template is None:
        if keys.base is None:
            raise ValueError("type ldap needs base, below which customers are searched, or dn_template")
        return
    if surplus := [key for key in _OF_SEARCHES if key in keys.model_fields_set]:
        raise ValueError(f"{surplus[0]} is for searches, and with dn_template nobody is searched: keep one of the two")


def _check_secrecy(urls: Sequence[str], start_tls: bool, allowed: bool) -> None:
    """No password in clear over a network, unless somebody wrote that it may be."""
    plain = [url for url in urls if url.startswith("ldap://")]
    if start_tls and len(plain) != len(urls):
        raise ValueError("start_tls is for ldap:// only: ldaps:// speaks TLS from the beginning")
    if start_tls or allowed:
        return
    for url in plain:
        if not is_loopback(read_url(url).host):
            raise ValueError(f"{url} would carry passwords in clear: write ldaps://, or start_tls = true")


def is_loopback(host: str) -> bool:
    """Whether what is sent to the host stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
