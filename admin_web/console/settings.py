"""The settings of the staff's console, ``[console]``: names, units, limits and defaults. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Annotated, Literal, Protocol, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr

from admin_web.console.oidc.settings import OidcSettings
from admin_web.http.section import HttpSection
from admin_web.settings import WebSettings
from otp_core.certificates import NamedCertificate
from otp_core.model import Mode, Policy
from otp_core.settings.section import count
from otp_core.settings.values import Address, AnyNetwork, Listen, Origin
from otp_core.settings.without_token import Answer

ApprovedAct = Literal["permit-reissue", "import", "bulk", "staff", "api-key"]
"""Acts that a second person may have to approve."""


def named_origin(origin: str) -> str:
    """Check that the host of an origin is a name: passkeys belong to a name (WebAuthn, "RP ID"). Raises ValueError."""
    host = urlsplit(origin).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return origin
    raise ValueError(
        f"{origin} is an IP address, and passkeys need a name: write https://HOST with the name that staff opens the "
        "console by, or http://localhost:8380 to try it on this machine"
    )


class RadiusClient(Protocol):
    """What the pages show of a RADIUS client. They never see its secret."""

    @property
    def name(self) -> str:
        """Its name in log and audit trail."""

    @property
    def network(self) -> AnyNetwork:
        """Where its requests come from."""

    @property
    def mode(self) -> Mode:
        """What it puts into the password."""

    @property
    def require_message_authenticator(self) -> bool:
        """Whether a request without one is dropped."""

    @property
    def realms(self) -> tuple[str, ...]:
        """The realms of its customers, each with a first factor."""

    @property
    def without_token(self) -> Answer:
        """The answer for a customer without an active token."""

    @property
    def separator(self) -> str | None:
        """What stands between password and code."""

    @property
    def policy(self) -> Policy:
        """What its customers are asked for."""

    def trying(
        self,
        mode: Mode | None = None,
        without_token: Answer | None = None,
        require_message_authenticator: bool | None = None,
        separator: str | None = None,
    ) -> RadiusClient:
        """The same client with other values; None: the present one; an empty separator: none. Raises ValueError."""

    @property
    def shadow(self) -> str | None:
        """The old server that answers it, in shadow mode."""

    @property
    def next_secret(self) -> object:
        """The secret that is to follow, None if none is. Only whether there is one is looked at."""


class RadiusClients(Protocol):
    """The RADIUS door's section, as far as it is shown here."""

    @property
    def clients(self) -> Sequence[RadiusClient]:
        """In the order of the file."""


class ConsoleSettings(HttpSection):
    """The staff's console, on a listener of its own: for an internal network, never for customers."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 8380),
        description="TCP address and port. Port 0: any free one.",
        json_schema_extra={"default": "127.0.0.1:8380", "examples": ["127.0.0.1:8380"]},
    )
    public_origin: Annotated[Origin, AfterValidator(named_origin)] = Field(
        default="http://localhost:8380",
        description="Scheme, host and port as staff's browsers see them: https://HOST. No IP address, and never "
        "changed: passkeys belong to the name.",
    )
    idle_seconds: int = count(900, 60, 3600, "Seconds without a click until a session of staff ends.")
    session_seconds: int = count(28_800, 300, 86_400, "Seconds until a session of staff ends in any case.")
    import_megabytes: int = count(20, 1, 200, "Size of a file that is imported on a page, in millions of octets.")
    approvals: tuple[ApprovedAct, ...] = Field(
        default=("permit-reissue", "import", "bulk", "staff", "api-key"),
        description="Acts that a second person has to approve; `[]` where one person is the whole staff.",
    )

    oidc: OidcSettings | None = Field(default=None, description="Single sign-on of staff (left out: none).")

    _bank: WebSettings | None = PrivateAttr(None)
    _clients: tuple[RadiusClient, ...] = PrivateAttr(())
    _certificates: tuple[NamedCertificate, ...] = PrivateAttr(())

    @property
    def bank(self) -> WebSettings:
        """The portal's settings, of which the pages show the bank's name and the time zone; where there is no portal,
        its defaults."""
        return self._bank or WebSettings()

    @property
    def clients(self) -> tuple[RadiusClient, ...]:
        """The RADIUS clients of the settings file."""
        return self._clients

    @property
    def certificates(self) -> tuple[NamedCertificate, ...]:
        """The certificates of the settings file."""
        return self._certificates

    def beside(
        self, portal: WebSettings | None, radius: RadiusClients, certificates: tuple[NamedCertificate, ...]
    ) -> Self:
        """These settings with the portal's, and with the RADIUS clients and certificates that the pages show."""
        known = self.model_copy()
        known._bank, known._clients, known._certificates = portal, tuple(radius.clients), certificates
        return known
