"""Clients in shadow mode: which customers are safe to move from the old server, and why others are not. Read only."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Page
from admin_web.console.settings import ConsoleSettings
from otp_core.accounts import Act
from otp_core.accounts.looks import Looks
from otp_core.login.obstacles import OBSTACLE_TEXT
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import keys_of
from otp_core.store.shadow_logins import customers_seen, report

_PAGE_ROWS = 50
_LONGEST = 256


class ShadowPages:
    """The handler. ``settings`` is asked for every page."""

    def __init__(
        self,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
        looks: Looks,
    ) -> None:
        self._queries, self._renderer, self._settings, self._looks = queries, renderer, settings, looks

    def routes(self) -> list[Page]:
        """The page."""
        return [Page("/clients/shadow", Act.USE_CONSOLE, self.show)]

    async def show(self, call: Call) -> web.Response:
        """The counts of one client, and its customers in the order of their contract IDs."""
        names = [one.name for one in self._settings().clients if one.shadow is not None]
        asked = call.request.query.get("client", "")[:_LONGEST]
        if asked and asked not in names:
            raise web.HTTPNotFound
        name = asked or next(iter(names), "")
        after = call.request.query.get("after", "")[:_LONGEST]
        found = await self._queries.run(report, name)
        rows = await self._queries.run(customers_seen, name, _PAGE_ROWS + 1, after)
        shown = rows[:_PAGE_ROWS]
        keys = await self._queries.run(keys_of, {one.customer for one in shown})
        self._looks.through(call.principal(), [one.customer for one in shown if one.customer in keys], "shadow mode")
        return self._renderer.render(
            call.request,
            "shadow.html",
            call.session,
            names=names,
            name=name,
            found=found,
            rows=shown,
            keys=keys,
            texts=OBSTACLE_TEXT,
            last=shown[-1].customer if len(rows) > _PAGE_ROWS else "",
        )
