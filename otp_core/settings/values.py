"""The types of single values in the settings: addresses, networks, secrets, origins. Pure; opens no file.

Each function checks what a file or a variable gave, and raises ValueError with the right form. No message repeats a
secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator, SecretBytes, WithJsonSchema

AnyNetwork = IPv4Network | IPv6Network

_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ATTRIBUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?::[1-9]|:[12][0-9]|:3[01])?")
_HERE = ("localhost", "127.0.0.1", "[::1]")

SECRET_OCTETS = 16
HOW_TO_MAKE_A_SECRET = "make one with: openssl rand -base64 24"
_WELL_KNOWN = frozenset(
    b"testing123 secret radius radsec password changeme replace-me sharedsecret shared-secret radiussecret "
    b"radius-secret mysecret s3cr3t cisco admin default test testing 123456 12345678 1234567890".split()
)
_WRITTEN_BY_THE_SERVER = frozenset(
    ("message-authenticator", "proxy-state", "state", "reply-message", "eap-message", "prompt")
)


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port. ``str()`` is the form of the settings file: ``[::]:1812``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _text(value: object, example: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"needs text in quotes: {example}")  # noqa: TRY004  pydantic collects ValueErrors only
    return value


def _is_ip(host: str, version: int) -> bool:
    try:
        return ip_address(host).version == version
    except ValueError:
        return False


def read_address(value: object) -> Address:
    """The address of ``0.0.0.0:1812`` or ``[::]:1812``. Port 0: any free one. Raises ValueError."""
    if isinstance(value, Address):
        return value
    text = _text(value, '"0.0.0.0:1812"')
    if "[" not in text and text.count(":") > 1:
        raise ValueError(f'{text} needs brackets around the IPv6 address, and a port: "[2001:db8::1]:1812"')
    match = _ADDRESS.fullmatch(text)
    if match is None or not (_is_ip(match["v6"], 6) if match["v6"] else _is_ip(match["v4"], 4)):
        raise ValueError(f'{text} is not an IP address and port: write "0.0.0.0:1812" or "[::]:1812"')
    if int(match["port"]) > 65535:
        raise ValueError(f"{text}: a port is 1 to 65535 (0: any free one)")
    return Address(match["v6"] or match["v4"], int(match["port"]))


def read_network(value: object) -> AnyNetwork:
    """The network of ``10.1.0.0/16``, ``2001:db8::/32`` or one address. Raises ValueError."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    text = _text(value, '"10.1.0.0/16"')
    try:
        found = ip_interface(text)
    except ValueError:
        raise ValueError(
            f'{text} is not a network: write "10.1.0.0/16", "2001:db8::/32" or one address, "10.1.2.3"'
        ) from None
    if found.ip != found.network.network_address:
        raise ValueError(f"{text} has host bits set; write {found.network} or {found.ip}/{found.max_prefixlen}")
    return found.network


def strong_secret(secret: SecretBytes) -> SecretBytes:
    """Check that a shared secret is not easy to guess. Raises ValueError; its text never holds the secret."""
    octets = secret.get_secret_value()
    if octets.lower() in _WELL_KNOWN:
        raise ValueError(f"is a well-known secret; {HOW_TO_MAKE_A_SECRET}")
    if len(octets) < SECRET_OCTETS:
        raise ValueError(
            f"is too short: {len(octets)} octets, at least {SECRET_OCTETS} are needed; {HOW_TO_MAKE_A_SECRET}"
        )
    if octets in (octets + octets)[1:-1]:
        raise ValueError(f"is the same piece again and again; {HOW_TO_MAKE_A_SECRET}")
    return secret


def store_url(url: str) -> str:
    """Check the store's URL. Raises ValueError; its text never repeats the URL, which may hold a password."""
    if url.startswith("postgres"):
        raise ValueError("PostgreSQL comes later; for now write sqlite:////var/lib/sekisho/sekisho.db")
    name = url.removeprefix("sqlite:///")
    if name == url:
        raise ValueError("write sqlite:////ABSOLUTE/FILE, or sqlite:///FILE relative to the working folder")
    if name in ("", ":memory:"):
        raise ValueError("names no file, and a store in memory forgets which codes were used: write sqlite:///FILE")
    return url


def web_origin(origin: str) -> str:
    """Check an origin: scheme, host and port as in a browser's Origin header (RFC 6454 section 6.2). Raises
    ValueError."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise ValueError(f"{origin} is not an origin: write https://HOST or https://HOST:PORT, with nothing after it")
    if match["scheme"] == "http" and match["host"] not in _HERE:
        raise ValueError(f"{origin} is open to eavesdroppers: write https (http is for localhost only)")
    return origin


def read_day(value: object) -> date:
    """The day of a TOML date, or of the same in quotes. Raises ValueError."""
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("needs a day: 2027-03-31") from None


def client_name(name: str) -> str:
    """Check a client's name for logs, metrics and audit rows. Raises ValueError."""
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= 64:
        raise ValueError("needs 1 to 64 printable characters, with no space at either end")
    return name


def attribute_name(name: str) -> str:
    """Check the name of a RADIUS attribute that may be set, because the server does not set it itself. Raises
    ValueError."""
    if not _ATTRIBUTE.fullmatch(name):
        tagged = ', with a tag of 1 to 31 where it has one, "Tunnel-Type:1"' if ":" in name else ""
        raise ValueError(f'is not an attribute\'s name: write it as the dictionary does, "Filter-Id"{tagged}')
    if name.partition(":")[0].lower() in _WRITTEN_BY_THE_SERVER:
        raise ValueError("is written by the server itself, and cannot be set here")
    return name


def attribute_value(value: object) -> str | int | tuple[str | int, ...]:
    """The value of a reply attribute: text, a whole number, or a list of those. Raises ValueError."""
    if isinstance(value, list | tuple) and value:
        return tuple(_attribute_item(item) for item in value)
    return _attribute_item(value)


def _attribute_item(value: object) -> str | int:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise ValueError("needs text, a whole number, or a list of those")


def _text_schema(*examples: str) -> Any:
    return WithJsonSchema({"type": "string", "examples": list(examples)})


Listen = Annotated[
    Address, PlainValidator(read_address), PlainSerializer(str), _text_schema("0.0.0.0:1812", "[::]:1812")
]
Network = Annotated[
    AnyNetwork,
    PlainValidator(read_network),
    PlainSerializer(str),
    _text_schema("10.1.0.0/16", "2001:db8::/32", "10.1.2.3"),
]
Day = Annotated[
    date,
    PlainValidator(read_day),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2027-03-31"]}),
]
Secret = Annotated[SecretBytes, AfterValidator(strong_secret)]
StoreUrl = Annotated[str, AfterValidator(store_url)]
Origin = Annotated[str, AfterValidator(web_origin)]
ClientName = Annotated[str, AfterValidator(client_name)]
AttributeName = Annotated[str, AfterValidator(attribute_name)]
AttributeValue = Annotated[
    str | int | tuple[str | int, ...],
    PlainValidator(attribute_value),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "integer"]},
                {"type": "array", "minItems": 1, "items": {"type": ["string", "integer"]}},
            ]
        }
    ),
]
