"""The door of the console, ``[console]``: an HttpDoor with the console's site."""

from __future__ import annotations

from collections.abc import Callable

from admin_web.console.settings import ConsoleSettings
from admin_web.http.door import HttpDoor, HttpSite
from otp_core.doors import Services

SWEEP_SECONDS = 60.0
_RESTART_KEYS = ("listen", "public_origin", "idle_seconds", "session_seconds")


class ConsoleDoor(HttpDoor[ConsoleSettings]):
    """HTTP at ``console.listen``; closed where the section is left out."""

    def __init__(self, section: ConsoleSettings | None) -> None:
        super().__init__("console", section, _make_site, restart_keys=_RESTART_KEYS, sweep_seconds=SWEEP_SECONDS)


def _make_site(services: Services, settings: Callable[[], ConsoleSettings]) -> HttpSite:
    from admin_web.console.site import ConsoleSite  # brings WebAuthn along, which nobody needs without a console

    return ConsoleSite(services, settings)
