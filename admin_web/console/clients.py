"""The RADIUS clients: what the settings file says of each, what it asks, and who else sent something. Read only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Page
from admin_web.console.settings import ConsoleSettings, RadiusClient
from otp_core.accounts import Act
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.client_use import Seen, clients_seen, strangers_seen

_STRANGERS = 20
_SAFE_AFTER_MS = 7 * 86_400_000
"""Without a request that lacked Message-Authenticator, before it is called safe to require one."""


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One client. ``now``: ms."""

    settings: RadiusClient
    seen: Seen
    now: int

    @property
    def protected(self) -> int | None:
        """Percent of the requests of the last 24 hours that carried a Message-Authenticator; None if there were
        none. Rounded down: 100 means all."""
        requests = self.seen.requests
        return None if not requests else (requests - self.seen.unprotected) * 100 // requests

    @property
    def safe_since(self) -> int | None:
        """Since when every request carried a Message-Authenticator (ms), if that is a week or more."""
        since = max(self.seen.unprotected_at, self.seen.since)
        return since if since and since < self.now - _SAFE_AFTER_MS else None


class ClientPages:
    """The handlers. ``settings`` is asked for every page."""

    def __init__(
        self,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queries, self._renderer, self._settings, self._clock = queries, renderer, settings, clock

    def routes(self) -> list[Page]:
        """The pages."""
        return [Page("/clients", Act.USE_CONSOLE, self.clients)]

    async def clients(self, call: Call) -> web.Response:
        """All of them, in the order of the settings file."""
        now = int(self._clock() * 1000)
        seen = await self._queries.run(clients_seen, now)
        strangers = await self._queries.run(strangers_seen, _STRANGERS)
        rows = [ClientRow(one, seen.get(one.name, Seen()), now) for one in self._settings().clients]
        return self._renderer.render(call.request, "clients.html", call.session, rows=rows, strangers=strangers)
