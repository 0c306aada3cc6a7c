"""The settings of the web soft token: names, units, limits and defaults. Values only."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from otp_core.settings.section import Section, count
from otp_core.settings.values import Address, Listen, Network, Origin


class SoftToken(Section):
    """The web soft token: an app in the browser that shows codes, on an origin of its own."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 8081),
        description="TCP address and port. Port 0: any free one.",
        json_schema_extra={"default": "127.0.0.1:8081", "examples": ["127.0.0.1:8081"]},
    )
    public_origin: Origin = Field(
        default="http://localhost:8081",
        description="Scheme, host and port as browsers see them; another one than the portal's, and never changed: "
        "passkeys and tokens belong to it.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file with the certificate chain, where no proxy speaks TLS."
    )
    tls_key: Path | None = Field(default=None, description="PEM file with its private key.")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="Proxies whose X-Forwarded-For is believed, as addresses or networks."
    )
    tokens_per_address: int = count(20, 1, 1_000_000, "New tokens an hour for one source address (IPv6: one /64).")
    tokens_per_hour: int = count(500, 1, 1_000_000, "New tokens an hour for everybody together.")
    unclaimed_days: int = count(14, 1, 365, "Days until a token that nobody has enrolled is retired.")

    @model_validator(mode="after")
    def _both_tls_files(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("needs both tls_certificate and tls_key, or neither of them")
        return self
