"""The web door as the core knows it: made from the settings, opened, reloaded, closed. Wiring, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from admin_web.http.server import Listener, tls_problems
from admin_web.portal.site import Site
from admin_web.portal.terms import terms_problems
from admin_web.settings import WebSettings
from otp_core.clock import ClockSetBack
from otp_core.doors import Services
from otp_core.model import StoreUnavailable
from otp_core.settings import Problem

SWEEP_SECONDS = 20.0
_AT_START = (
    "listen", "public_origin", "idle_seconds", "session_seconds", "max_sessions", "max_connections",
    "address_free_failures",
)  # fmt: skip
_log = structlog.get_logger("web")


class WebDoor:
    """HTTP at ``web.listen``. Shut where the section is left out."""

    def __init__(self, section: WebSettings | None) -> None:
        self._started = self._web = section
        self._listener: Listener | None = None
        self._sweep: asyncio.Task[None] | None = None

    def problems(self) -> Sequence[Problem]:
        """TLS files and terms of use that cannot be used."""
        if self._web is None:
            return []
        return [*tls_problems("web", self._web), *terms_problems(self._web)]

    def bind(self) -> None:
        """Each worker has sockets of its own."""

    async def open(self, services: Services, *, shared: bool) -> None:
        """Listen. Raises OSError."""
        if self._web is None:
            return
        site = Site(services, self._now)
        self._listener = Listener("web", self._web.listen, self._web, self._web.max_connections)
        await self._listener.open(site.application(), shared=shared)
        self._sweep = asyncio.get_running_loop().create_task(_sweeping(site))

    def reload(self, section: WebSettings | None) -> None:
        """New texts, terms and proxies from the next page on, a renewed certificate from the next connection on."""
        if (section is None) != (self._started is None):
            _log.warning("a web door that is opened or shut waits for a restart")
        if section is None or self._started is None:
            return
        for name in _AT_START:
            if getattr(section, name) != getattr(self._started, name):
                _log.warning("a changed setting waits for a restart", setting=f"web.{name}")
        self._web = section.model_copy(update={name: getattr(self._started, name) for name in _AT_START})
        if self._listener is not None:
            self._listener.reload(self._web)

    async def close(self) -> None:
        """Let nobody new in, answer who is inside."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def _now(self) -> WebSettings:
        assert self._web is not None
        return self._web


async def _sweeping(site: Site) -> None:
    """For ever: forget sessions that are over, and what was left unconfirmed in them."""
    while True:
        try:
            site.sweep()
        except (StoreUnavailable, ClockSetBack) as cause:
            _log.debug("the sweep waits", cause=str(cause))
        await asyncio.sleep(SWEEP_SECONDS)
