"""The settings of the portal, ``[web]``: names, units, limits and defaults. Values only."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PrivateAttr, model_validator

from admin_web.colours import Colour
from admin_web.http.section import HttpSection
from otp_core.settings.first_factors import first_factor_key
from otp_core.settings.section import ExistingPath, count
from otp_core.settings.values import Address, Issuer, Listen, Origin, PageUrl, TimeZone

DEFAULT_ISSUER = "Sekisho"


class WebSettings(HttpSection):
    """The customers' own pages."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 8080),
        description="TCP address and port. Port 0: any free one.",
        json_schema_extra={"default": "127.0.0.1:8080", "examples": ["127.0.0.1:8080"]},
    )
    public_origin: Origin = Field(
        default="http://localhost:8080", description="Scheme, host and port as browsers see them: https://HOST."
    )
    bank_name: str = Field(
        default="当金庫", min_length=1, max_length=60, description="The bank's name, at the head of every page."
    )
    bank_name_en: str = Field(default="Our bank", min_length=1, max_length=60, description="The same on English pages.")
    login_url: PageUrl = Field(
        default="/",
        description="Where customers log in: the way back from every page (https, or a path of this origin).",
    )
    contact: str = Field(
        default="お取引店の窓口", min_length=1, max_length=200, description="Whom to call, on pages that say so."
    )
    contact_en: str = Field(
        default="the counter of your branch", min_length=1, max_length=200, description="The same on English pages."
    )
    logo: ExistingPath | None = Field(
        default=None,
        description="The bank's logo, at the head of every page and of the soft token: a PNG, JPEG or SVG file of at "
        "most 100,000 bytes, for a place 40 pixels high.",
    )
    colour: Colour | None = Field(
        default=None,
        description="The bank's colour, of head, buttons and links, as `#135e46`; white text has to be legible on it "
        "(contrast 4.5, WCAG 2.2). Left out: blue.",
        json_schema_extra={"examples": ["#135e46"]},
    )
    time_zone: TimeZone = Field(
        default="Asia/Tokyo", validate_default=True, description="The time zone of the times on the pages."
    )
    terms_file: ExistingPath | None = Field(
        default=None,
        description='The terms of use (UTF-8 text), accepted before enrolment; a first line "version: …" names them, '
        "otherwise their hash does. Left out: none are asked for.",
    )
    terms_file_en: ExistingPath | None = Field(
        default=None, description="Their English translation, shown on English pages."
    )
    issuer: Issuer = Field(
        default=DEFAULT_ISSUER, description="What an authenticator app calls the bank, without a colon."
    )
    idle_seconds: int = count(600, 180, 3600, "Seconds without a click until a customer's session ends.")
    session_seconds: int = count(1800, 180, 14_400, "Seconds until a session ends in any case.")
    proof_seconds: int = count(900, 60, 3600, "Seconds for which the old token's code lets a new token in.")
    max_sessions: int = count(
        50_000,
        10,
        10_000_000,
        "Sessions of customers who have signed in, at once (at most 5 of one customer); more are asked to wait.",
    )
    max_connections: int = count(1000, 10, 100_000, "Connections at once.")
    address_free_failures: int = count(
        30,
        1,
        100_000,
        "Wrong passwords from one source address, for any customer, that cost it no delay (IPv6: one /64).",
    )

    first_factor: str = first_factor_key("customers at the sign-in of the pages")

    _soft_token: str | None = PrivateAttr(None)

    @property
    def soft_token(self) -> str | None:
        """The origin of the soft token's pages; None where they are not served."""
        return self._soft_token

    def beside(self, soft_token: HttpSection | None) -> Self:
        """These settings with the soft token's, to whose pages the portal's lead."""
        known = self.model_copy()
        known._soft_token = None if soft_token is None else soft_token.public_origin
        return known

    @model_validator(mode="after")
    def _terms_in_both(self) -> Self:
        if self.terms_file_en is not None and self.terms_file is None:
            raise ValueError("needs terms_file too: terms_file_en is its translation")
        return self
