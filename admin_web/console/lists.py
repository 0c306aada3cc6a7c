"""The audit trail and the tokens in pages by key, with their filters in the URL."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from admin_web.console.audit_export import MOST_ROWS, audit_file
from admin_web.console.filters import Filter, asked, is_contract_id, is_key, is_moment, is_text, is_token_id, one_of
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.retirements import span_asked, span_filters, span_query
from admin_web.console.routes import LARGEST_ID, Call, Page
from admin_web.console.settings import ConsoleSettings
from admin_web.console.words import EVENTS
from otp_core.accounts import Act
from otp_core.audit import id_at
from otp_core.doors import Services
from otp_core.model import TokenState
from otp_core.otp import normalise_contract_id, normalise_token_id
from otp_core.settings.values import zone
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.audit_drops import newest_drop
from otp_core.store.find import DRIFTING, audit_page, keys_of, keys_of_tokens, numbers_of_tokens
from otp_core.store.login_remarks import remarks_of
from otp_core.store.queries import AuditFilter, tokens

PAGE_ROWS = 50
_FILTERS: dict[str, Filter] = {
    "customer": is_contract_id,
    "token": is_token_id,
    "event": one_of(EVENTS),
    "actor": is_text,
    "until": is_moment,
    "before": is_key,
}
_FORMS = ("excel", "jsonl")


class ListPages:
    """The handlers. ``settings`` is asked for every page."""

    def __init__(
        self,
        services: Services,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
    ) -> None:
        self._queries, self._renderer, self._settings = queries, renderer, settings
        self._looks, self._verifiers = services.desk.looks, services.import_rules.verifiers

    def routes(self) -> list[Page]:
        """The pages."""
        look = Act.USE_CONSOLE
        return [
            Page("/audit", look, self.audit),
            Page("/audit/file", look, self.audit_file),
            Page("/tokens", look, self.tokens),
        ]

    async def audit(self, call: Call) -> web.Response:
        """The audit trail, the newest first. Of a search that finds little only a bounded stretch is looked through;
        the page says up to where, and goes on from there."""
        wanted_of = asked(call.request, _FILTERS)
        wanted = self._filter(wanted_of)
        found = await self._queries.run(audit_page, wanted, limit=PAGE_ROWS)
        keys = await self._queries.run(keys_of, {row.customer for row in found.rows if row.customer})
        if wanted.customer in keys:
            self._looks.at(call.principal(), wanted.customer or "", "audit")
        elif wanted.token:
            self._looks.at_all(call.principal(), keys, "audit of a token")
        remarks = await self._queries.run(remarks_of, [row.id for row in found.rows])
        return self._renderer.render(
            call.request,
            "audit.html",
            call.session,
            rows=found.rows,
            remarks=remarks,
            token_keys=await self._queries.run(keys_of_tokens, {row.token for row in found.rows if row.token}),
            next_before=found.next_before,
            looked_to=found.looked_to,
            keys=keys,
            dropped=await self._queries.run(newest_drop),
            asked=wanted_of,
            events=EVENTS,
            most=MOST_ROWS,
        )

    async def audit_file(self, call: Call) -> web.Response:
        """What the same filter finds, to be taken away. Raises HTTPBadRequest as the page does."""
        wanted_of = asked(call.request, {**_FILTERS, "form": one_of(_FORMS)})
        wanted, form = self._filter(wanted_of), wanted_of["form"] or "excel"
        file = await self._queries.run(audit_file, wanted, form, int(time.time() * 1000))
        # What was typed is written down only where the trail has it: it may be a password in the wrong field.
        found = [name for name in (wanted.event, wanted.actor, wanted.customer, wanted.token) if name and file.rows]
        told = f" of {', '.join(found)}" if found else ""
        self._looks.exported(call.principal(), f"{file.rows:,} rows of the audit trail taken away{told}")
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        return web.Response(body=file.octets, content_type=file.content_type, charset="utf-8", headers=headers)

    def _filter(self, wanted: dict[str, str]) -> AuditFilter:
        return AuditFilter(
            customer=normalise_contract_id(wanted["customer"]) or None,
            token=normalise_token_id(wanted["token"]) or None,
            event=wanted["event"] or None,
            actor=wanted["actor"] or None,
            before=self._before(wanted),
        )

    def _before(self, wanted: dict[str, str]) -> int | None:
        """The number before which the page begins: that of the last page, or the first of the moment ``until``."""
        if wanted["before"]:
            return int(wanted["before"])
        if not wanted["until"]:
            return None
        until = datetime.fromisoformat(wanted["until"])
        until = until.replace(tzinfo=zone(self._settings().bank.time_zone)) if until.tzinfo is None else until
        return max(1, min(id_at(int(until.timestamp() * 1000)), LARGEST_ID))

    async def tokens(self, call: Call) -> web.Response:
        """The inventory in the order of token IDs."""
        states = one_of((*TokenState, DRIFTING))
        query = asked(call.request, {"state": states, "after": is_token_id, **span_filters(self._verifiers)})
        span, drifting = span_asked(query), query["state"] == DRIFTING
        state = None if drifting else query["state"] or None
        start, limit = normalise_token_id(query["after"]), PAGE_ROWS + 1
        rows = await self._queries.run(tokens, after=start, limit=limit, state=state, drifting=drifting, span=span)
        keys = await self._queries.run(keys_of, {one.contract_id for one in rows if one.contract_id})
        holders = [one.contract_id for one in rows[:PAGE_ROWS] if one.contract_id]
        self._looks.through(call.principal(), holders, "tokens")
        return self._renderer.render(
            call.request,
            "tokens.html",
            call.session,
            rows=rows[:PAGE_ROWS],
            last=rows[PAGE_ROWS - 1].token_id if len(rows) > PAGE_ROWS else "",
            keys=keys,
            token_keys=await self._queries.run(keys_of_tokens, [one.token_id for one in rows]),
            asked=query,
            span=span,
            span_query=span_query(span),
            verifiers=self._verifiers,
            numbers=await self._queries.run(numbers_of_tokens),
        )
