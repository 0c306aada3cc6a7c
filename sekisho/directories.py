"""Makes the first factor of type ldap from its settings, and says what is wrong with the files that they name. It asks
no server.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from otp_core.first_factor.ldap.connection import Security
from otp_core.first_factor.ldap.directory import Accounts, Directory, Limits
from otp_core.first_factor.ldap.filters import parse
from otp_core.first_factor.ldap.servers import Access
from otp_core.model import StoreProblem
from otp_core.settings import FirstFactorSettings
from otp_core.settings.ldap import is_loopback, read_url
from otp_core.settings.sources import UnusableFile, read_private


def make_directory(section: FirstFactorSettings) -> Directory:
    """Belongs to the running event loop. Raises StoreProblem for a file that cannot be used, so that no server starts
    without it."""
    try:
        access = access_to(section)
    except (ValueError, UnusableFile) as error:
        raise StoreProblem(f"the first factor {section.name!r} cannot be made: {error}") from error
    return Directory(access, accounts_of(section), Limits(section.connections, section.max_waiting))


def access_to(section: FirstFactorSettings) -> Access:
    """How its servers are reached. Raises ValueError and UnusableFile."""
    places = tuple(read_url(url, start_tls=section.start_tls) for url in section.urls)
    uses_tls = any(place.security is not Security.NONE for place in places)
    file = section.bind_password_file
    return Access(
        section.name,
        places,
        trust(section.ca_file) if uses_tls else None,
        section.bind_dn or "",
        b"" if file is None else password_in(file),
        section.timeout,
        section.dead_seconds,
    )


def accounts_of(section: FirstFactorSettings) -> Accounts:
    """How accounts are found."""
    template = section.dn_template or ""
    return Accounts(
        section.base or "",
        None if template else parse(section.filter),
        template,
        section.customer_attribute or "",
        section.domains,
        section.groups,
        section.group_base or "",
    )


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """What verifies certificates and the names in them. Raises ValueError for a file without certificates."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} holds no CA certificate in PEM: -----BEGIN CERTIFICATE-----") from None
    except OSError as error:
        raise ValueError(f"{ca_file} cannot be read: {error.strerror}") from None


def password_in(file: Path) -> bytes:
    """Of the account that searches. Raises UnusableFile, and ValueError for an empty one, which would be an anonymous
    bind (RFC 4513 §5.1.2)."""
    password = read_private(file)
    if not password.strip():
        raise ValueError(f"{file} is empty, and a bind without a password proves nothing: write the password into it")
    return password


def in_clear(section: FirstFactorSettings) -> list[str]:
    """The servers to which passwords go in clear over a network."""
    places = [(url, read_url(url, start_tls=section.start_tls)) for url in section.urls]
    return [url for url, place in places if place.security is Security.NONE and not is_loopback(place.host)]


def problems_of_files(section: FirstFactorSettings) -> Iterator[tuple[str, str]]:
    """Key and problem of each file that cannot be used."""
    if section.ca_file is not None:
        try:
            trust(section.ca_file)
        except ValueError as error:
            yield "ca_file", str(error)
    if section.bind_password_file is not None:
        try:
            password_in(section.bind_password_file)
        except (ValueError, UnusableFile) as error:
            yield "bind_password_file", str(error)
