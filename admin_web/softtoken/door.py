"""The soft token's door as the house knows it: made from the settings, opened, reloaded, closed.

The wiring of this package, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from admin_web.server import Listener, tls_problems
from admin_web.softtoken.app import ACTOR, SoftTokenSite
from otp_core.build import House
from otp_core.clock import ClockSetBack
from otp_core.desk import Actor
from otp_core.model import StoreUnavailable
from otp_core.settings import Problem, Settings, SoftToken

SWEEP_SECONDS = 60.0
_AT_START = ("listen", "public_origin")
_log = structlog.get_logger("soft_token")


class SoftTokenDoor:
    """HTTP at ``soft_token.listen``. Shut where the section is left out."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._section = settings.soft_token
        self._listener: Listener | None = None
        self._sweep: asyncio.Task[None] | None = None

    def problems(self) -> Sequence[Problem]:
        """TLS files that cannot be used, and an origin that is the portal's too."""
        found = []
        if self._section is None:
            return []
        if self._settings.web is not None and self._settings.web.public_origin == self._section.public_origin:
            text = "is [web]'s too: the soft token needs an origin of its own, so that no page of the portal reads it"
            found.append(Problem("", "soft_token.public_origin", text))
        return [*found, *tls_problems("soft_token", self._section)]

    def bind(self) -> None:
        """Each worker has sockets of its own."""

    async def open(self, house: House, *, shared: bool) -> None:
        """Listen. Raises OSError."""
        if self._section is None:
            return
        self._listener = Listener("soft_token", self._section.listen, self._section)
        await self._listener.open(SoftTokenSite(house.desk, self._current).application(), shared=shared)
        self._sweep = asyncio.get_running_loop().create_task(self._sweeping(house))

    def reload(self, settings: Settings) -> None:
        """New bounds and proxies from the next request on, a renewed certificate from the next connection on."""
        before, after = self._section, settings.soft_token
        if (before is None) != (after is None):
            _log.warning("a changed section waits for a restart", section="soft_token")
        if before is None or after is None:
            return
        for name in _AT_START:
            if getattr(before, name) != getattr(after, name):
                _log.warning("a changed setting waits for a restart", setting=f"soft_token.{name}")
        self._section = after.model_copy(update={name: getattr(before, name) for name in _AT_START})
        if self._listener is not None:
            self._listener.reload(self._section)

    async def close(self) -> None:
        """Let nobody new in, answer who is inside."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def _current(self) -> SoftToken:
        assert self._section is not None
        return self._section

    async def _sweeping(self, house: House) -> None:
        """Every minute, for ever: retire some of the tokens that nobody has enrolled in time."""
        while True:
            days = self._current().unclaimed_days
            try:
                retired = house.desk.retire_unclaimed(days, Actor(ACTOR, reason=f"not enrolled in {days} days"))
                if retired:
                    _log.info("retired tokens that nobody enrolled", tokens=retired)
            except (StoreUnavailable, ClockSetBack) as trouble:
                _log.warning("the sweep waits", trouble=str(trouble))
            await asyncio.sleep(SWEEP_SECONDS)
