"""Tokens of a part of the inventory, retired at once: the page that says which ones, and the form that has it decided.
How far it is stands on the page of the list, among the imports (imports.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlencode

from aiohttp import web

from admin_web.console.asking import kept_why, why
from admin_web.console.filters import Filter, asked, is_token_id, one_of
from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from admin_web.console.settings import ConsoleSettings
from otp_core.accounts import Act, Refused
from otp_core.accounts.retirements import (
    MOST_TOKENS,
    SHOWN_TOKENS,
    TokenList,
    ask_for_retirement,
    keep_list,
    token_list,
)
from otp_core.accounts.written import says_something
from otp_core.doors import Services
from otp_core.otp import normalise_token_id
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.queries import TokenSpan
from otp_core.store.retry import retry_while_busy
from otp_core.verifier import LOCAL_VERIFIER

SPAN_FIELDS = ("from", "to", "verifier")
"""Of a form or an address, in the order of TokenSpan."""

PATH = "/tokens/retire"


def span_filters(verifiers: Collection[str]) -> dict[str, Filter]:
    """The forms of SPAN_FIELDS in an address."""
    return dict(zip(SPAN_FIELDS, (is_token_id, is_token_id, one_of((LOCAL_VERIFIER, *verifiers))), strict=True))


def span_asked(fields: Mapping[str, str]) -> TokenSpan:
    """The part of the inventory that an address or a form asks for."""
    first, last = (normalise_token_id(fields.get(name, "")) for name in ("from", "to"))
    return TokenSpan(first, last, fields.get("verifier", ""))


def span_query(span: TokenSpan) -> str:
    """The same for an address; empty for the whole inventory."""
    return urlencode({name: value for name, value in zip(SPAN_FIELDS, span, strict=True) if value})


class RetirementPages:
    """The handlers. ``settings`` is asked for every page; ``wake``: the task has something to do."""

    def __init__(
        self,
        services: Services,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
        wake: Callable[[], None],
    ) -> None:
        self._desk, self._verifiers = services.desk, services.import_rules.verifiers
        self._queries, self._renderer, self._settings, self._wake = queries, renderer, settings, wake

    def routes(self) -> list[Page | Form]:
        """The page and its form."""
        return [Page(PATH, Act.RETIRE_TOKENS, self.ask), Form(PATH, Act.RETIRE_TOKENS, self.retire)]

    async def ask(self, call: Call) -> web.Response:
        """How many they are, which come first, and why. Raises HTTPSeeOther to the list where no part was chosen."""
        span = span_asked(asked(call.request, span_filters(self._verifiers)))
        if span == TokenSpan():
            raise web.HTTPSeeOther("/tokens")
        return self._renderer.render(
            call.request,
            "retire_tokens.html",
            call.session,
            tokens=await self._queries.run(token_list, span),
            fields=dict(zip(SPAN_FIELDS, span, strict=True)),
            span_query=span_query(span),
            shown=SHOWN_TOKENS,
            most=MOST_TOKENS,
            alone="bulk" not in self._settings().approvals,
        )

    async def retire(self, call: Call) -> Outcome:
        """Keep the list that was shown, and have it decided: by somebody else, where the settings want that."""
        span, kept = span_asked(call.form), kept_why(call.form)
        page = f"{PATH}?{span_query(span)}"
        if span == TokenSpan() or span.verifier not in ("", LOCAL_VERIFIER, *self._verifiers):
            return Outcome("/tokens", Notice("list-unbounded"))
        if not says_something(kept["reason"]):
            return Outcome(page, Notice("reason-missing"), kept)
        tokens = await self._queries.run(token_list, span)
        if not tokens.token_ids:
            return Outcome(page, Notice("list-empty"), kept)
        if tokens.digest != call.form.get("tokens"):
            return Outcome(page, Notice("list-changed"), kept)
        return await self._decide(tokens, call, kept, page)

    async def _decide(self, tokens: TokenList, call: Call, kept: dict[str, str], page: str) -> Outcome:
        principal = call.principal(why(kept))
        try:
            key = await asyncio.to_thread(keep_list, self._desk, tokens, principal)
        except Refused as refused:
            return Outcome(page, Notice(MESSAGE_OF_REFUSAL[refused.refusal]), kept)
        place = f"/imports/{key}"
        try:
            if "bulk" in self._settings().approvals:
                await retry_while_busy(lambda: ask_for_retirement(self._desk, key, principal))
                return Outcome(place, Notice("import-asked"))
            await retry_while_busy(lambda: self._desk.file_imports.begin(key, principal))
        except Refused as refused:
            return Outcome(place, Notice(MESSAGE_OF_REFUSAL[refused.refusal]))
        self._wake()
        return Outcome(place, Notice("retirement-begun"))
