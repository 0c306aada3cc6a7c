"""The tables ``[[webhooks]]``, audit events as signed HTTP requests: names, units, limits and defaults. Values only."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from otp_core.settings.addresses import can_be_looked_up
from otp_core.settings.section import ExistingPath, ExistingSecretPath, Section, count, seconds
from otp_core.settings.syslog import read_event

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


def read_name(text: str) -> str:
    """A name that a file beside the store can end with. Raises ValueError."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f'{text[:40]!r} is no name of a webhook: write small letters, digits and hyphens, "fraud-desk"'
        )
    return text


def read_hook_url(text: str) -> str:
    """https://, or http:// to this machine alone, without a user. Raises ValueError, whose text repeats no path: it may
    be as good as a password."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_RIGHT) from None
    if not host or port == 0 or not text.isascii() or not text.isprintable() or " " in text or parts.fragment:
        raise ValueError(_RIGHT)
    if not can_be_looked_up(host):
        raise ValueError(_RIGHT)
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name, which would be sent with each event: requests are signed instead")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)):
        return text
    raise ValueError(_RIGHT)


_RIGHT = 'is no address for a webhook: write "https://fraud.example.jp/sekisho", or http:// with 127.0.0.1 or localhost'


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class WebhookSettings(Section):
    """Audit events as signed HTTP requests, for a program elsewhere. Needs [audit]."""

    name: Annotated[str, AfterValidator(read_name)] = Field(
        description="Its name: in logs and metrics, and in the name of the file that says how far it has come."
    )
    url: Annotated[str, AfterValidator(read_hook_url)] = Field(
        max_length=500,
        description="Where each event is posted to: https, or http to this machine. A redirect is not followed.",
        json_schema_extra={"examples": ["https://fraud.example.jp/sekisho"]},
    )
    secret_file: ExistingSecretPath = Field(
        description="The file with the key of the signatures: whsec_ and Base64 of 24 to 64 octets, as Standard "
        "Webhooks has it; two lines while it is changed, then both sign. A relative path is looked for in the secrets "
        "folder if there is one, otherwise beside this file."
    )
    events: tuple[Annotated[str, AfterValidator(read_event)], ...] = Field(
        default=(),
        max_length=64,
        description="Which events are sent: their names, or how they begin (left out: all). Others are passed over.",
    )
    ca_file: ExistingPath | None = Field(
        default=None, description="CA certificates to check the receiver's certificate with (left out: the system's)."
    )
    timeout: float = seconds(10.0, 0.5, 60, "Seconds for the receiver to answer one event.")
    give_up_hours: int = count(
        24, 1, 720, "Hours after which events that the receiver does not take are given up; the audit trail has them."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError("ca_file is for https")
        return self

    def host(self) -> str:
        """Host and port, for people; the path may be as good as a password."""
        return urlsplit(self.url).netloc
