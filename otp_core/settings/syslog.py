"""The section ``[syslog]``, audit rows for a receiver elsewhere: names, units, limits and defaults. Values only."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from otp_core.audit import Event
from otp_core.settings.notices import read_server
from otp_core.settings.section import ExistingPath, Section, count, seconds

FACILITIES = {"auth": 4, "authpriv": 10, "audit": 13, **{f"local{number}": 16 + number for number in range(8)}}
"""Names and numbers (RFC 5424 section 6.2.1)."""

_LONGEST_PATH = 100
"""Octets of a socket's path that the kernel takes, less a few."""


def read_event(text: str) -> str:
    """Check an event, or the beginning of some. Raises ValueError."""
    if not text or not any(event.startswith(text) for event in Event):
        raise ValueError(f'{text[:40]!r} begins no event: write "login.rejected", or "staff." for all that begin so')
    return text


class SyslogSettings(Section):
    """Audit rows as syslog messages, for a receiver elsewhere. Needs [audit]. Without this section: none."""

    address: str = Field(
        min_length=1,
        max_length=300,
        description="The receiver: host and port, logs.example.jp:6514; with transport unix the path of its socket.",
    )
    transport: Literal["tls", "tcp", "udp", "unix"] = Field(
        default="tls",
        description="tls (RFC 5425), tcp (RFC 6587), udp (RFC 5426), or unix, a datagram socket of this machine. Over "
        "udp and unix nobody says what is lost.",
    )
    ca_file: ExistingPath | None = Field(
        default=None, description="CA certificates to check the receiver's certificate with (left out: the system's)."
    )
    facility: Literal[
        "auth", "authpriv", "audit", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"
    ] = Field(default="authpriv", description="The facility of all messages.")
    events: tuple[Annotated[str, AfterValidator(read_event)], ...] = Field(
        default=(),
        max_length=64,
        description="Which events are sent: their names, or how they begin (left out: all). Others are passed over.",
    )
    enterprise: int = count(
        32473,
        1,
        4_294_967_295,
        "The Private Enterprise Number in the name of the structured data, sekisho@NUMBER. 32473 is the one of "
        "examples (RFC 5612); write the bank's own if it has one.",
    )
    timeout: float = seconds(10.0, 0.5, 60, "Seconds until a receiver that takes nothing is given up and tried again.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.transport == "unix":
            if not self.address.startswith("/") or len(self.address.encode()) > _LONGEST_PATH:
                raise ValueError('address has to be the path of a socket with transport = "unix": write "/dev/log"')
        else:
            read_server(self.address)
        if self.ca_file is not None and self.transport != "tls":
            raise ValueError('ca_file is for transport = "tls"')
        return self

    def host_and_port(self) -> tuple[str, int]:
        """Of the address; not for unix."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)
