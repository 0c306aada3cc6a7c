"""The door of the portal, ``[web]``: an HttpDoor with the portal's site."""

from __future__ import annotations

from collections.abc import Sequence

from admin_web.http.door import HttpDoor
from admin_web.http.server import MAX_CONNECTIONS
from admin_web.logo import logo_problems
from admin_web.portal.site import PortalSite
from admin_web.portal.terms import terms_problems
from admin_web.settings import WebSettings
from otp_core.settings import Problem

SWEEP_SECONDS = 20.0
_RESTART_KEYS = (
    "listen", "public_origin", "idle_seconds", "session_seconds", "max_sessions", "max_connections",
    "address_free_failures",
)  # fmt: skip


class WebDoor(HttpDoor[WebSettings]):
    """HTTP at ``web.listen``; closed where the section is left out."""

    def __init__(self, section: WebSettings | None) -> None:
        super().__init__(
            "web",
            section,
            PortalSite,
            restart_keys=_RESTART_KEYS,
            sweep_seconds=SWEEP_SECONDS,
            max_connections=MAX_CONNECTIONS if section is None else section.max_connections,
        )

    def problems(self) -> Sequence[Problem]:
        """TLS files, terms of use and a logo that cannot be used."""
        section = self._section
        if section is None:
            return super().problems()
        return [*super().problems(), *terms_problems(section), *logo_problems("web.logo", section.logo)]
