"""The soft token's door as the core knows it: made from the settings, opened, reloaded, closed.

The wiring of this package, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from admin_web.http.server import Listener, tls_problems
from admin_web.softtoken.settings import SoftTokenSettings
from admin_web.softtoken.site import ACTOR, SoftTokenSite
from otp_core.accounts import Principal
from otp_core.clock import ClockSetBack
from otp_core.doors import Services
from otp_core.model import StoreUnavailable
from otp_core.settings import Problem

SWEEP_SECONDS = 60.0
_AT_START = ("listen", "public_origin")
_log = structlog.get_logger("soft_token")


class SoftTokenDoor:
    """HTTP at ``soft_token.listen``. Shut where the section is left out."""

    def __init__(self, section: SoftTokenSettings | None) -> None:
        self._section = section
        self._listener: Listener | None = None
        self._sweep: asyncio.Task[None] | None = None

    def problems(self) -> Sequence[Problem]:
        """TLS files that cannot be used."""
        return [] if self._section is None else tls_problems("soft_token", self._section)

    def bind(self) -> None:
        """Each worker has sockets of its own."""

    async def open(self, services: Services, *, shared: bool) -> None:
        """Listen. Raises OSError."""
        if self._section is None:
            return
        self._listener = Listener("soft_token", self._section.listen, self._section)
        await self._listener.open(SoftTokenSite(services.desk, self._current).application(), shared=shared)
        self._sweep = asyncio.get_running_loop().create_task(self._sweeping(services))

    def reload(self, section: SoftTokenSettings | None) -> None:
        """New bounds and proxies from the next request on, a renewed certificate from the next connection on."""
        before, after = self._section, section
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

    def _current(self) -> SoftTokenSettings:
        assert self._section is not None
        return self._section

    async def _sweeping(self, services: Services) -> None:
        """Every minute, for ever: retire some of the tokens that nobody has enrolled in time."""
        while True:
            days = self._current().unclaimed_days
            try:
                retired = services.desk.retire_unclaimed(days, Principal(ACTOR, reason=f"not enrolled in {days} days"))
                if retired:
                    _log.info("retired tokens that nobody enrolled", tokens=retired)
            except (StoreUnavailable, ClockSetBack) as cause:
                _log.warning("the sweep waits", cause=str(cause))
            await asyncio.sleep(SWEEP_SECONDS)
