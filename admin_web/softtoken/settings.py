"""The settings of the web soft token: names, units, limits and defaults. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr

from admin_web.http.section import HttpSection
from admin_web.settings import WebSettings
from otp_core.settings.section import count, yes_or_no
from otp_core.settings.values import Address, Listen, Origin


@dataclass(frozen=True, slots=True)
class Bank:
    """What the soft token's pages show of the bank: its name in both languages, the origin of the portal, its colour
    and the file of its logo. Empty where there is no portal."""

    name: str = ""
    name_en: str = ""
    portal: str = ""
    colour: str | None = None
    logo: Path | None = None


class SoftTokenSettings(HttpSection):
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
    tokens_per_address: int = count(
        20,
        1,
        1_000_000,
        "New tokens an hour for one source address (IPv6: one /64); for a /56 twice, for a /48 and an IPv4 /24 four "
        "times as many.",
    )
    tokens_per_hour: int = count(
        500,
        1,
        1_000_000,
        "New tokens an hour for everybody together, the last quarter of them only for networks that had none in it; "
        "customers who come from the portal's sign-in have as many again, at most 5 each.",
    )
    unclaimed_days: int = count(14, 1, 365, "Days until a token that nobody has enrolled is retired.")

    vip_access: bool = yes_or_no(
        False,
        "Make tokens for the open tool vipaccess (PyPI python-vipaccess), too: POST /prov and /otpCheck, within the "
        "same bounds. Whoever listens on the way has the seed: only behind TLS.",
    )

    _bank: Bank = PrivateAttr(Bank())

    @property
    def bank(self) -> Bank:
        """What the pages show of the bank."""
        return self._bank

    def beside(self, portal: WebSettings | None) -> Self:
        """These settings with the portal's, whose bank the pages name."""
        known = self.model_copy()
        if portal is not None:
            known._bank = Bank(portal.bank_name, portal.bank_name_en, portal.public_origin, portal.colour, portal.logo)
        return known
