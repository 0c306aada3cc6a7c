"""``store.url`` of a PostgreSQL store: what it may say, and libpq's parameters for it. Pure, but for the file with
the password.

    postgresql://USER@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?KEYWORD=VALUE…]
    postgresql://USER@/DATABASE?host=/run/postgresql

The keywords are libpq's (https://www.postgresql.org/docs/current/libpq-connect.html, 34.1.2), and ``password_file``: a
file that holds the password alone, read anew for each connection. No password stands in the URL itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

from otp_core.regular_file import read_regular
from otp_core.store.schema import REVISION

SCHEMES = ("postgresql", "postgres")
EXAMPLE = "postgresql://sekisho@db1:5432,db2:5432/sekisho"
SOCKET_EXAMPLE = "postgresql://sekisho@/sekisho?host=/run/postgresql"

STRONGEST = "verify-full"
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", STRONGEST)
_TLS = frozenset({"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "channel_binding"})
_KEYWORDS = _TLS | {"host", "port", "require_auth", "gssencmode", "krbsrvname"}
PASSWORD_FILE = "password_file"
_MOST_OCTETS = 4096

CONNECT_SECONDS = 2
"""How long a host may take until it lets somebody in."""

APPLICATION = "sekisho"
"""How the name of our sessions begins; behind it stands the newest migration that their version knows."""

_SESSION = {
    "application_name": f"{APPLICATION} {REVISION}",
    "client_encoding": "UTF8",
    "target_session_attrs": "read-write",  # never a standby, nor a primary that was demoted
    "connect_timeout": str(CONNECT_SECONDS),
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
"""Seconds, and ms for the last: how long a host may be silent."""


class Address(NamedTuple):
    """A parsed URL. ``hosts``: (name, port); a name that begins with / is the folder of a socket, "" libpq's own.
    ``options``: libpq's keywords. ``password_file``: None for none."""

    user: str
    hosts: tuple[tuple[str, str], ...]
    database: str
    options: dict[str, str]
    password_file: Path | None

    @property
    def is_local(self) -> bool:
        """Whether all of it goes over a socket of this machine."""
        return all(not host or host.startswith("/") for host, _ in self.hosts)

    @property
    def place(self) -> str:
        """For people, without user or options."""
        hosts = ", ".join(f"{host}:{port}" if port and not host.startswith("/") else host for host, port in self.hosts)
        return f"{self.database} on {hosts or 'the local PostgreSQL'}"

    @property
    def ssl_mode(self) -> str | None:
        """What the URL asks for, or what holds where it asks for nothing; None: no TLS on a local socket."""
        return self.options.get("sslmode", None if self.is_local else STRONGEST)


def is_postgresql(url: str) -> bool:
    """Whether the URL is meant for this engine."""
    return url.partition(":")[0].lower() in SCHEMES


def parse(url: str) -> Address:
    """Raises ValueError with what is wrong; its text never repeats the URL."""
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise ValueError(f"write {EXAMPLE}, or {SOCKET_EXAMPLE}")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    if not slash or not path or "/" in path:
        raise ValueError(f"names no database: write {EXAMPLE}")
    user, _, host_list = authority.rpartition("@")
    if ":" in user:
        raise ValueError("holds a password: write it into a file of its own, and name that in store.password_file")
    options = _options(query)
    if "host" in options:
        if host_list:
            raise ValueError("names hosts twice: before the database and as host=")
        hosts = _hosts(options.pop("host"), options.pop("port", ""))
    else:
        hosts = tuple(_host(one) for one in host_list.split(",")) if host_list else (("", options.pop("port", "")),)
    file = options.pop(PASSWORD_FILE, None)
    return Address(unquote(user), hosts, unquote(path), options, Path(file) if file else None)


def with_files(url: str, password_file: Path | None, ca_file: Path | None) -> str:
    """The URL, with the files that the settings name beside it."""
    more = {PASSWORD_FILE: password_file, "sslrootcert": ca_file}
    text = urlencode({name: str(path) for name, path in more.items() if path is not None}, quote_via=quote)
    return f"{url}{'&' if '?' in url else '?'}{text}" if text else url


def parameters(address: Address) -> dict[str, str]:
    """libpq's parameters. Raises OSError and ValueError where the password cannot be read."""
    found = {"dbname": address.database, **_SESSION, **address.options}
    if address.user:
        found["user"] = address.user
    if any(host for host, _ in address.hosts):
        found["host"] = ",".join(host for host, _ in address.hosts)
    if any(port for _, port in address.hosts):
        found["port"] = ",".join(port for _, port in address.hosts)
    if address.ssl_mode is not None:
        found["sslmode"] = address.ssl_mode
    if address.password_file is not None:
        found["password"] = _password(address.password_file)
    return found


def lacks_ca(address: Address) -> bool:
    """Whether the server's certificate is to be verified, and nothing says by whose authority."""
    return (address.ssl_mode or "").startswith("verify") and "sslrootcert" not in address.options


def weakness(address: Address) -> str | None:
    """Why the connection can be listened to or taken over, though the URL asks for it; None: it cannot."""
    mode = address.ssl_mode
    if address.is_local or mode == STRONGEST:
        return None
    return f"sslmode={mode} does not make sure that it is your database that answers: write {STRONGEST}, and ca_file"


def _options(query: str) -> dict[str, str]:
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "password":
            raise ValueError("holds a password: write it into a file of its own, and name that in store.password_file")
        if name not in _KEYWORDS and name != PASSWORD_FILE:
            known = ", ".join(sorted(_KEYWORDS))
            raise ValueError(f"has a keyword {name[:40]!r}, which is not one of: {known}")
        if name == "sslmode" and value not in _SSL_MODES:
            raise ValueError(f"sslmode is one of {', '.join(_SSL_MODES)}")
        options[name] = value
    return options


def _hosts(names: str, ports: str) -> tuple[tuple[str, str], ...]:
    hosts, given = names.split(","), ports.split(",")
    if len(given) == 1:
        given *= len(hosts)
    if len(given) != len(hosts):
        raise ValueError("names more ports than hosts, or fewer: one for each, or one for all")
    return tuple((host, _port(port)) for host, port in zip(hosts, given, strict=True))


def _host(text: str) -> tuple[str, str]:
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("has an IPv6 address without its ]: write [2001:db8::5]:5432")
        return name, _port(rest[1:])
    name, _, port = text.partition(":")
    if not name:
        raise ValueError(f"names a host without a name: write {EXAMPLE}")
    return unquote(name), _port(port)


def _port(text: str) -> str:
    if text and not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"has a port {text[:10]!r}, which is no number from 1 to 65535")
    return text


def _password(file: Path) -> str:
    text = read_regular(file, _MOST_OCTETS).decode()
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or "\0" in text:
        raise ValueError(f"store.password_file: {file} has to hold the password alone, in one line")
    return text
