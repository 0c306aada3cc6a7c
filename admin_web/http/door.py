"""The door of an HTTP site as the core knows it: made from a settings section, opened, reloaded, closed, swept.

One class for all sites; a site brings its routes and its sweep (HttpSite). Nothing here knows a page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

import structlog
from aiohttp import web

from admin_web.http.acceptor import bind_tcp
from admin_web.http.section import HttpSection
from admin_web.http.server import MAX_CONNECTIONS, Listener, tls_problems
from otp_core.clock import ClockWrong
from otp_core.doors import Services
from otp_core.model import StoreUnavailable
from otp_core.settings import Problem
from otp_core.settings.reload import take_over_optional
from otp_core.store.retry import retry_while_busy

MORE_SECONDS = 0.2
"""Between two sweeps while there is more to do: others want to write, too."""

S = TypeVar("S", bound=HttpSection)
_log = structlog.get_logger("http")


class HttpSite(Protocol):
    """What a door serves: routes, and work to be done now and then."""

    def application(self) -> web.Application:
        """The routes, with the security middleware outermost."""

    def sweep(self) -> bool:
        """Tidy up some of what is over, in one transaction; whether there may be more. Called again and again while the
        door is open, and soon if there is more. Raises StoreUnavailable, ClockWrong."""


SiteFactory: TypeAlias = Callable[[Services, Callable[[], S]], HttpSite]
"""Makes a site from the core's services and a function that gives the section as it is after the last reload."""


class HttpDoor(Generic[S]):
    """HTTP at ``section.listen``; closed where the section is left out.

    ``name``: of the section and of the door, in the log. ``restart_keys``: those of its settings that only take effect
    at a restart. ``sweep_seconds``: between two sweeps.
    """

    def __init__(
        self,
        name: str,
        section: S | None,
        make_site: SiteFactory[S],
        *,
        restart_keys: Collection[str],
        sweep_seconds: float,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._name, self._section, self._make_site = name, section, make_site
        self._restart_keys, self._sweep_seconds = restart_keys, sweep_seconds
        self._max_connections = max_connections
        self._listener: Listener | None = None
        self._sweeper: asyncio.Task[None] | None = None

    def problems(self) -> Sequence[Problem]:
        """TLS files that cannot be used."""
        return [] if self._section is None else tls_problems(self._name, self._section)

    def bind(self) -> None:
        """Only try it: the process that serves binds its socket itself, and so does the next one in its place. Raises
        OSError."""
        if self._section is not None:
            bind_tcp(self._section.listen, shared=False).close()

    async def open(self, services: Services, *, shared: bool) -> None:
        """Listen. ``shared``: other workers listen at the same address. Raises OSError."""
        if self._section is None:
            return
        site = self._make_site(services, self._current)
        self._listener = Listener(self._name, self._section.listen, self._section, self._max_connections)
        await self._listener.open(site.application(), shared=shared)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep(site))

    def reload(self, section: S | None) -> None:
        """New settings from the next request on, a renewed certificate from the next connection on. A section that has
        been added or taken out, and the ``restart_keys``, wait for a restart."""
        after = take_over_optional(self._name, self._section, section, self._restart_keys)
        if after is None:
            return
        self._section = after
        if self._listener is not None:
            self._listener.reload(after)

    async def close(self) -> None:
        """Accept no new connection, and answer the requests under way."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def _current(self) -> S:
        assert self._section is not None
        return self._section

    async def _sweep(self, site: HttpSite) -> None:
        """Until cancelled."""
        while True:
            more = False
            try:
                more = await retry_while_busy(site.sweep)
            except (StoreUnavailable, ClockWrong) as cause:
                _log.debug("the sweep waits", door=self._name, cause=str(cause))
            await asyncio.sleep(min(MORE_SECONDS, self._sweep_seconds) if more else self._sweep_seconds)
