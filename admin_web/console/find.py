"""The first page: a search box, what was refused lately, who was locked today, what waits; and the help page."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import Connection

from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call
from admin_web.console.settings import ConsoleSettings
from otp_core.accounts import Looks
from otp_core.otp import normalise_token_id
from otp_core.settings.values import zone
from otp_core.store.approvals import count_waiting
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import (
    REFUSED_LOGINS,
    find_customers,
    keys_of,
    keys_of_tokens,
    last_rows,
    locked_customers,
    undelivered,
    waiting_permits,
)

LONGEST_TYPED = 128
"""Characters of a search that are looked at."""


class FindPages:
    """The handlers. ``settings`` is asked for every page."""

    def __init__(
        self,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
        looks: Looks,
    ) -> None:
        self._queries, self._renderer, self._settings, self._looks = queries, renderer, settings, looks

    async def show(self, call: Call) -> web.StreamResponse:
        """The search box; with ``q`` what it finds. One customer alone is opened at once, and so is a token that no
        customer has."""
        typed = call.request.query.get("q", "")[:LONGEST_TYPED].strip()
        if not typed:
            values = await self._queries.run(_lately, self._midnight())
            return self._renderer.render(call.request, "find.html", call.session, typed="", found=[], **values)
        found = await self._queries.run(find_customers, typed)
        self._looks.through(call.principal(), [one.contract_id for one in found], "search")
        if len(found) == 1:
            raise web.HTTPSeeOther(f"/customers/{found[0].key}")
        if not found and (tokens := await self._queries.run(keys_of_tokens, [normalise_token_id(typed)])):
            raise web.HTTPSeeOther(f"/tokens/{next(iter(tokens.values()))}")
        return self._renderer.render(call.request, "find.html", call.session, typed=typed, found=found)

    async def help(self, call: Call) -> web.Response:
        """The keys, and what the search finds."""
        return self._renderer.render(call.request, "help.html", call.session)

    def _midnight(self) -> int:
        """The beginning of today in the bank's zone, in ms since the epoch."""
        here = zone(self._settings().bank.time_zone)
        today = datetime.fromtimestamp(time.time(), here).replace(hour=0, minute=0, second=0, microsecond=0)
        return int(today.timestamp() * 1000)


def _lately(connection: Connection, midnight: int) -> dict[str, Any]:
    refused = last_rows(connection, REFUSED_LOGINS, 10)
    return {
        "refused": refused,
        "keys": keys_of(connection, {one.customer for one in refused if one.customer}),
        "locked": locked_customers(connection, midnight),
        "waiting": count_waiting(connection, int(time.time() * 1000)),
        "undelivered": undelivered(connection),
        "permits": waiting_permits(connection),
    }
