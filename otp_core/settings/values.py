"""The types of single values in the settings: secrets, names, days; those of addresses.py too. Pure; opens no file.

Each function checks what a file or a variable gave, and raises ValueError with the right form. No message repeats a
secret.
"""

from __future__ import annotations

import re
from datetime import UTC, date, timedelta, timezone, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, PlainSerializer, PlainValidator, SecretBytes, WithJsonSchema

from otp_core.settings.addresses import (
    Address,
    AnyNetwork,
    page_url,
    read_address,
    read_network,
    read_server_address,
    web_origin,
)
from otp_core.store.postgresql.address import EXAMPLE, is_postgresql, parse

__all__ = ["Address", "AnyNetwork", "read_address", "read_network"]

_ATTRIBUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?::[1-9]|:[12][0-9]|:3[01])?")

_JAPAN = timezone(timedelta(hours=9), "JST")
"""Without daylight saving time, since 1952."""

SECRET_OCTETS = 16
LONGEST_ISSUER = 40
HOW_TO_MAKE_A_SECRET = "make one with: openssl rand -base64 24"
_WELL_KNOWN = frozenset(
    b"testing123 secret radius radsec password changeme replace-me sharedsecret shared-secret radiussecret "
    b"radius-secret mysecret s3cr3t cisco admin default test testing 123456 12345678 1234567890".split()
)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_WRITTEN_BY_THE_SERVER = frozenset(
    ("message-authenticator", "proxy-state", "state", "reply-message", "eap-message", "prompt")
)


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


def pasted(secret: SecretBytes) -> str | None:
    """What an editor or a pipe may have put into a shared secret that the other side does not have; None: nothing."""
    octets = secret.get_secret_value()
    if octets.startswith(_BYTE_ORDER_MARKS):
        return "begins with a byte order mark: save the file without one (ASCII, or UTF-8 without BOM)"
    if octets != octets.strip():
        return "begins or ends in a blank or a line end (one line end behind it is dropped): take it away"
    if any(one in octets for one in (b"\n", b"\r", b"\0")):
        return "holds a line end or a NUL: is it one line of ASCII, with nothing below it?"
    return None


def store_url(url: str) -> str:
    """Check the store's URL. Raises ValueError; its text never repeats the URL, which may hold a password."""
    if is_postgresql(url):
        parse(url)
        return url
    name = url.removeprefix("sqlite:///")
    if name == url:
        raise ValueError(
            f"write sqlite:////ABSOLUTE/FILE, or sqlite:///FILE relative to the working folder, or {EXAMPLE}"
        )
    if name in ("", ":memory:"):
        raise ValueError("names no file, and a store in memory forgets which codes were used: write sqlite:///FILE")
    return url


def app_issuer(name: str) -> str:
    """Check the name that an authenticator app shows. Raises ValueError."""
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= LONGEST_ISSUER:
        raise ValueError(f"needs 1 to {LONGEST_ISSUER} printable characters, with no space at either end")
    if ":" in name or "%3a" in name.lower():
        raise ValueError('holds a colon, where apps end the name and begin the token\'s: write "Example Bank, Tokyo"')
    return name


def read_day(value: object) -> date:
    """The day of a TOML date, or of the same in quotes. Raises ValueError."""
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("needs a day: 2027-03-31") from None


def read_zone(name: str) -> str:
    """Check that this system knows the time zone. Raises ValueError."""
    zone(name)
    return name


def zone(name: str) -> tzinfo:
    """The time zone of a name such as ``Europe/Paris``; ``UTC`` and ``Asia/Tokyo``, the default, are known without the
    system's tzdata, which a small installation lacks. Raises ValueError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        if name == "Asia/Tokyo":
            return _JAPAN
        raise ValueError(
            f'this system knows no time zone {name[:60]!r}: install tzdata, or write "Asia/Tokyo" or "UTC"'
        ) from None


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
AskedServer = Annotated[
    Address, PlainValidator(read_server_address), PlainSerializer(str), _text_schema("192.0.2.10:1812")
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
PageUrl = Annotated[str, AfterValidator(page_url)]
TimeZone = Annotated[str, AfterValidator(read_zone)]
Issuer = Annotated[str, AfterValidator(app_issuer)]
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
