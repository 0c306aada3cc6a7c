"""The audit trail and the tokens in pages by key, with their filters in the URL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Page
from admin_web.console.settings import ConsoleSettings
from admin_web.console.words import EVENTS
from otp_core.accounts import Act
from otp_core.audit import id_at
from otp_core.model import TokenState
from otp_core.otp import normalise_contract_id, normalise_token_id
from otp_core.settings.values import zone
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import audit_page, keys_of, numbers_of_tokens
from otp_core.store.login_remarks import remarks_of
from otp_core.store.queries import AuditFilter, tokens

PAGE_ROWS = 50
_LONGEST = 128
_LARGEST_ID = 2**63 - 1


class ListPages:
    """The handlers. ``settings`` is asked for every page."""

    def __init__(
        self, queries: AsyncQueries, renderer: ConsoleRenderer, settings: Callable[[], ConsoleSettings]
    ) -> None:
        self._queries, self._renderer, self._settings = queries, renderer, settings

    def routes(self) -> list[Page]:
        """The pages."""
        look = Act.USE_CONSOLE
        return [
            Page("/audit", look, self.audit),
            Page("/tokens", look, self.tokens),
        ]

    async def audit(self, call: Call) -> web.Response:
        """The audit trail, the newest first. Of a search that finds little only a bounded stretch is looked through;
        the page says up to where, and goes on from there."""
        asked = {name: call.request.query.get(name, "")[:_LONGEST].strip() for name in ("customer", "token", "event")}
        asked |= {name: call.request.query.get(name, "")[:_LONGEST].strip() for name in ("actor", "until", "before")}
        wanted = AuditFilter(
            customer=normalise_contract_id(asked["customer"]) or None,
            token=normalise_token_id(asked["token"]) or None,
            event=asked["event"] if asked["event"] in EVENTS else None,
            actor=asked["actor"] or None,
            before=self._before(asked),
        )
        found = await self._queries.run(audit_page, wanted, limit=PAGE_ROWS)
        keys = await self._queries.run(keys_of, {row.customer for row in found.rows if row.customer})
        remarks = await self._queries.run(remarks_of, [row.id for row in found.rows])
        return self._renderer.render(
            call.request,
            "audit.html",
            call.session,
            rows=found.rows,
            remarks=remarks,
            next_before=found.next_before,
            looked_to=found.looked_to,
            keys=keys,
            asked=asked,
            events=EVENTS,
        )

    def _before(self, asked: dict[str, str]) -> int | None:
        """The number before which the page begins: that of the last page, or the first of the moment ``until``."""
        text = asked["before"]
        if text.isascii() and text.isdigit():
            return min(int(text), _LARGEST_ID)
        try:
            until = datetime.fromisoformat(asked["until"])
        except ValueError:
            return None
        until = until.replace(tzinfo=zone(self._settings().bank.time_zone)) if until.tzinfo is None else until
        return max(1, min(id_at(int(until.timestamp() * 1000)), _LARGEST_ID))

    async def tokens(self, call: Call) -> web.Response:
        """The inventory in the order of token IDs."""
        query = {name: call.request.query.get(name, "")[:_LONGEST] for name in ("state", "from", "after")}
        state = query["state"] if query["state"] in tuple(TokenState) else None
        start = normalise_token_id(query["after"]) or _just_before(normalise_token_id(query["from"]))
        rows = await self._queries.run(tokens, after=start, limit=PAGE_ROWS + 1, state=state)
        keys = await self._queries.run(keys_of, {one.contract_id for one in rows if one.contract_id})
        return self._renderer.render(
            call.request,
            "tokens.html",
            call.session,
            rows=rows[:PAGE_ROWS],
            last=rows[PAGE_ROWS - 1].token_id if len(rows) > PAGE_ROWS else "",
            keys=keys,
            asked=query,
            numbers=await self._queries.run(numbers_of_tokens),
        )


def _just_before(token_id: str) -> str:
    """A text that sorts before this token ID and behind every one that is smaller."""
    return f"{token_id[:-1]}{chr(ord(token_id[-1]) - 1)}\U0010ffff" if token_id else ""
