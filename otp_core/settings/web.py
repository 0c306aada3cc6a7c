"""The settings of the web doors: sections, names, units, limits and defaults. Values only."""

from __future__ import annotations

from pydantic import Field

from otp_core.settings.section import Section
from otp_core.settings.values import Address, Listen, Origin


class Web(Section):
    """The customer portal and the staff console."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 8080),
        description="TCP address and port, behind the proxy that speaks TLS.",
        json_schema_extra={"default": "127.0.0.1:8080", "examples": ["127.0.0.1:8080"]},
    )
    public_origin: Origin = Field(
        default="http://localhost:8080", description="Scheme, host and port as browsers see them: https://HOST."
    )
