"""What would happen if: other settings of a client, or other rules, tried on the logins of the last days. Read only.

A forecast reads the audit trail in a thread, one at a time and for a bounded time; then the page says how far it came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any, get_args

from aiohttp import web
from sqlalchemy import Connection

from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Page
from admin_web.console.settings import ConsoleSettings, RadiusClient
from otp_core.accounts import Act
from otp_core.doors import Services
from otp_core.forecast.outcome import Change, Forecast
from otp_core.forecast.run import DAY_MS, MOST_DAYS, Bounds, forecast_client, forecast_rules
from otp_core.forecast.tried import NothingTried, bounds_of, client_change, other_rules
from otp_core.model import Mode
from otp_core.settings.without_token import Answer
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import keys_of

SECONDS = 10.0
"""That a forecast takes at most; the command line takes as long as it needs."""
_SHOWN = 50
"""Customers of each change."""
_LONGEST = 128
_OF_CLIENT = ("mode", "without_token", "message_authenticator", "separator")
_OF_RULES = ("lock_after", "code_window")
_REQUIRED = ("yes", "no")
_NO_SEPARATOR = "none"

Make = Callable[[Connection, Bounds], Forecast]


class ForecastPages:
    """The handlers. ``settings`` is asked for every page; ``seconds``: see SECONDS."""

    def __init__(
        self,
        services: Services,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
        seconds: float = SECONDS,
    ) -> None:
        self._services, self._queries, self._renderer, self._settings = services, queries, renderer, settings
        self._alone, self._seconds, self._closed = AsyncQueries(services.store, at_once=1), seconds, False

    def routes(self) -> list[Page]:
        """The pages."""
        return [
            Page("/clients/forecast", Act.USE_CONSOLE, self.client),
            Page("/clients/forecast/rules", Act.USE_CONSOLE, self.rules),
        ]

    async def close(self, _: web.Application) -> None:
        """Stop what is under way."""
        self._closed = True

    async def client(self, call: Call) -> web.Response:
        """One client's settings, and what others would have done."""
        asked = _asked(call, ("client", *_OF_CLIENT, "days"))
        if not asked["client"]:
            raise web.HTTPSeeOther("/clients")
        one = next((one for one in self._settings().clients if one.name == asked["client"]), None)
        if one is None:
            raise web.HTTPNotFound
        shown: dict[str, Any] = {"client": one, "asked": asked, "modes": tuple(Mode), "answers": get_args(Answer)}
        if any(asked[name] for name in _OF_CLIENT):
            shown |= await self._tried(call, asked, lambda: self._of_client(one, asked))
        return self._page(call, "forecast-client.html", shown)

    async def rules(self, call: Call) -> web.Response:
        """The rules of all logins, and what others would have done."""
        asked, rules = _asked(call, (*_OF_RULES, "days")), self._services.desk.rules
        shown: dict[str, Any] = {
            "rules": rules,
            "asked": asked,
            "bounds": {name: bounds_of(name) for name in _OF_RULES},
        }
        if any(asked[name] for name in _OF_RULES):
            shown |= await self._tried(call, asked, lambda: self._of_rules(asked))
        return self._page(call, "forecast-rules.html", shown)

    def _page(self, call: Call, template: str, shown: dict[str, Any]) -> web.Response:
        values = {"problem": "", "found": None, "days": MOST_DAYS, **shown}
        return self._renderer.render(call.request, template, call.session, **values)

    async def _tried(self, call: Call, asked: dict[str, str], prepare: Callable[[], Make]) -> dict[str, Any]:
        """What the page shows of a forecast, or of what stands in its way. Raises StoreUnavailable."""
        try:
            make, days = (
                prepare(),
                int(_one_of(asked["days"], [str(day) for day in range(1, MOST_DAYS + 1)]) or MOST_DAYS),
            )
        except NothingTried:
            return {"problem": "nothing"}
        except ValueError:
            return {"problem": "value"}
        found = await self._forecast(make, days)
        named = {change: affected.named(_SHOWN) for change, affected in found.shown()}
        customers = {one.customer for rows in named.values() for one in rows}
        self._services.desk.looks.through(call.principal(), sorted(customers), "forecast")
        keys = await self._queries.run(keys_of, customers)
        return {"found": found, "named": named, "keys": keys, "changes": Change}

    async def _forecast(self, make: Make, days: int) -> Forecast:
        until = int(time.time() * 1000)

        def read(connection: Connection) -> Forecast:
            end = time.monotonic() + self._seconds
            return make(
                connection, Bounds(until - days * DAY_MS, until, lambda: self._closed or time.monotonic() > end)
            )

        async with asyncio.timeout(3 * self._seconds):
            return await self._alone.run(read)

    def _of_client(self, one: RadiusClient, asked: dict[str, str]) -> Make:
        """Raises ValueError."""
        mode = _one_of(asked["mode"], list(Mode))
        answer: Answer | None = _one_of(asked["without_token"], list(get_args(Answer)))
        required = _one_of(asked["message_authenticator"], _REQUIRED)
        separator = "" if asked["separator"] == _NO_SEPARATOR else asked["separator"] or None
        tried = one.trying(
            None if mode is None else Mode(mode), answer, None if required is None else required == "yes", separator
        )
        change = client_change(
            one.name,
            one.policy,
            tried.policy,
            protected=one.require_message_authenticator,
            would_protect=tried.require_message_authenticator,
            realms=bool(one.realms),
        )
        rules = self._services.desk.rules
        return lambda connection, bounds: forecast_client(connection, change, rules, bounds)

    def _of_rules(self, asked: dict[str, str]) -> Make:
        """Raises ValueError."""
        was = self._services.desk.rules
        would = other_rules(was, _number(asked["lock_after"]), _number(asked["code_window"]))
        kept = self._services.verdict_log.keeps_misses
        return lambda connection, bounds: forecast_rules(connection, was, would, bounds, misses_kept=kept)


def _asked(call: Call, names: Collection[str]) -> dict[str, str]:
    return {name: call.request.query.get(name, "")[:_LONGEST].strip() for name in names}


def _one_of(text: str, values: Collection[Any]) -> Any:
    """None for an empty text. Raises ValueError for one that is none of them."""
    if text and text not in values:
        raise ValueError("none of these")
    return text or None


def _number(text: str) -> int | None:
    """None for an empty text. Raises ValueError."""
    if text and not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise ValueError("no number")
    return int(text) if text else None
