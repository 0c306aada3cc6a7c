"""The settings of the API, ``[api]``: names, units, limits and defaults. Values only."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PrivateAttr

from admin_web.console.settings import ApprovedAct, ConsoleSettings
from admin_web.http.section import HttpSection
from otp_core.settings.section import count
from otp_core.settings.values import Address, Listen, Origin


class ApiSettings(HttpSection):
    """The API for programs of the bank, on a listener of its own: for an internal network, never for customers."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 8480),
        description="TCP address and port. Port 0: any free one.",
        json_schema_extra={"default": "127.0.0.1:8480", "examples": ["127.0.0.1:8480"]},
    )
    public_origin: Origin = Field(
        default="http://localhost:8480", description="Scheme, host and port as programs ask it: https://HOST."
    )
    requests_per_second: int = count(
        100, 1, 100_000, "Requests a second of one key, and as many at once; more are answered with 429."
    )
    max_connections: int = count(1000, 10, 100_000, "Connections at once.")

    _approvals: tuple[ApprovedAct, ...] = PrivateAttr(())

    @property
    def approvals(self) -> tuple[ApprovedAct, ...]:
        """Acts that a second person has to approve, on the console; none where there is no console."""
        return self._approvals

    def beside(self, console: ConsoleSettings | None) -> Self:
        """These settings with the console's, where a second person approves."""
        known = self.model_copy()
        known._approvals = () if console is None else console.approvals
        return known
