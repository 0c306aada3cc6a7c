"""The section ``[notices]``, e-mail to customers: names, units, limits and defaults. Values only; opens no file."""

from __future__ import annotations

import re
from email.headerregistry import Address as MailAddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from otp_core.settings.addresses import can_be_looked_up
from otp_core.settings.section import ExistingPath, ExistingSecretPath, Section, count, seconds
from otp_core.settings.values import TimeZone

_SERVER = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_LONGEST_SENDER = 400
_SENDER = re.compile(r"(?:(?P<name>[^<>\"\r\n]+)<(?P<inside>[^<>@\s]+@[^<>@\s]+)>|(?P<alone>[^<>@\s]+@[^<>@\s]+))")


def read_server(text: str) -> str:
    """Check a host and port, ``mail.example.jp:587``. Raises ValueError with the right form."""
    match = _SERVER.fullmatch(text)
    if match is None or not 0 < int(match[1]) <= 65535 or not can_be_looked_up(text.rpartition(":")[0]):
        raise ValueError(f'{text} is not a host and port: write "mail.example.jp:587"')
    return text


def read_sender(text: str) -> str:
    """Check ``no-reply@example.jp`` or ``Example Bank <no-reply@example.jp>``. Raises ValueError with the right
    form."""
    mail_address(text)
    return text


def mail_address(text: str) -> MailAddress:
    """A sender as name and address. Raises ValueError with the right form."""
    match = _SENDER.fullmatch(text.strip()) if len(text) <= _LONGEST_SENDER else None
    try:
        if match is None:
            raise ValueError
        return MailAddress((match["name"] or "").rstrip(), addr_spec=match["inside"] or match["alone"])
    except ValueError:
        raise ValueError(
            f'{text[:80]} is no sender: write "no-reply@example.jp" or "Example Bank <no-reply@example.jp>"'
        ) from None


class NoticesSettings(Section):
    """E-mail to customers when something about their one-time passwords changes. Without this section: none."""

    smtp: Annotated[str, AfterValidator(read_server)] = Field(description="The mail server: host and port.")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="Encryption: STARTTLS, TLS from the beginning (port 465), or none."
    )
    ca_file: ExistingPath | None = Field(
        default=None,
        description="CA certificates to check the mail server's certificate with (left out: the system's).",
    )
    username: str | None = Field(
        default=None, min_length=1, description="The user name for the mail server (left out: no login)."
    )
    password_file: ExistingSecretPath | None = Field(
        default=None,
        description="The file that holds this user's password (one line end after it is dropped). A relative path is "
        "looked for in the secrets folder if there is one, otherwise beside this file.",
    )
    sender: Annotated[str, AfterValidator(read_sender)] = Field(
        description="The sender of the mail: Example Bank <a@b.jp>."
    )
    reply_to: Annotated[str, AfterValidator(read_sender)] | None = Field(
        default=None, description="The address for replies (left out: the sender)."
    )
    contact: str = Field(
        min_length=1,
        max_length=500,
        description="The contact for customers who did not ask for the change: name, number, hours.",
    )
    time_zone: TimeZone = Field(
        default="Asia/Tokyo", validate_default=True, description="The time zone of the times in the text."
    )
    timeout: float = seconds(20.0, 0.5, 300, "Seconds for each answer of the mail server.")
    first_retry: float = seconds(
        30.0, 0.1, 3600, "Seconds until the second attempt; each further wait is twice as long."
    )
    longest_retry: float = seconds(3600.0, 0.1, 86_400, "Seconds of the longest wait between two attempts.")
    give_up_hours: int = count(72, 1, 720, "Hours after which a notice that cannot be delivered is given up.")
