"""The door of the soft token, ``[soft_token]``: an HttpDoor with the soft token's site."""

from __future__ import annotations

from admin_web.http.door import HttpDoor
from admin_web.softtoken.settings import SoftTokenSettings
from admin_web.softtoken.site import SoftTokenSite

SWEEP_SECONDS = 60.0
_RESTART_KEYS = ("listen", "public_origin")


class SoftTokenDoor(HttpDoor[SoftTokenSettings]):
    """HTTP at ``soft_token.listen``; closed where the section is left out."""

    def __init__(self, section: SoftTokenSettings | None) -> None:
        super().__init__("soft_token", section, SoftTokenSite, restart_keys=_RESTART_KEYS, sweep_seconds=SWEEP_SECONDS)
