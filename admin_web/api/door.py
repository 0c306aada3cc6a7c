"""The door of the API, ``[api]``: an HttpDoor with the API's site."""

from __future__ import annotations

from collections.abc import Callable

from admin_web.api.settings import ApiSettings
from admin_web.http.door import HttpDoor, HttpSite
from admin_web.http.server import MAX_CONNECTIONS
from otp_core.doors import Services

SWEEP_SECONDS = 60.0
_RESTART_KEYS = ("listen", "public_origin", "max_connections")


class ApiDoor(HttpDoor[ApiSettings]):
    """HTTP at ``api.listen``; closed where the section is left out."""

    def __init__(self, section: ApiSettings | None) -> None:
        super().__init__(
            "api",
            section,
            _make_site,
            restart_keys=_RESTART_KEYS,
            sweep_seconds=SWEEP_SECONDS,
            max_connections=MAX_CONNECTIONS if section is None else section.max_connections,
        )


def _make_site(services: Services, settings: Callable[[], ApiSettings]) -> HttpSite:
    from admin_web.api.site import ApiSite  # makes the models of every answer, which nobody needs without an API

    return ApiSite(services, settings)
