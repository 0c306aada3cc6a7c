"""A new token for the app of a customer who is present: its QR code is shown once, to the session that asked, and the
token is bound by a code of it. Nobody can look at the seed again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from admin_web.console.customer_acts import BY_NAME, FIELDS, IDENTITY, CustomerAct, Deed, reason_of
from admin_web.console.customers import (
    PATH,
    Found,
    customer_of,
    is_unclear,
    kept_of,
    missing,
    possible_acts,
    which_of,
)
from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from admin_web.console.settings import ConsoleSettings
from admin_web.rendering import qr_code
from otp_core.accounts import Act, Refusal, Refused, with_verifiers
from otp_core.doors import Services
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.retry import retry_while_busy

ACTS = tuple(BY_NAME[name] for name in ("enrol", "change-device", "add-token"))
"""The acts that can bind a token which is made on the spot."""

RESERVED_SECONDS = 900
"""How long the new token waits for its first code; then it is retired."""


class NewTokenPages:
    """The handlers. ``settings`` is asked for every page."""

    def __init__(
        self,
        services: Services,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
    ) -> None:
        self._desk, self._queries, self._renderer, self._settings = services.desk, queries, renderer, settings
        self._verifiers = services.verifiers

    def routes(self) -> list[Page | Form]:
        """Of each act the page that asks why, and the page with the QR code and the field for the code."""
        found: list[Page | Form] = []
        for one in ACTS:
            new, code = f"{PATH}/{one.name}/new", f"{PATH}/{one.name}/code"
            found += [
                Page(new, Act.ISSUE_FOR_CUSTOMER, self.ask, confirmed=True),
                Form(new, Act.ISSUE_FOR_CUSTOMER, self.issue, confirmed=True),
                Page(code, one.act, self.show, once=("qr",)),
                Form(code, one.act, self.bind),
            ]
        return found

    async def ask(self, call: Call) -> web.Response:
        """Why, and what will happen. Raises HTTPNotFound, HTTPSeeOther to the customer where it is not possible."""
        act, found = _act(call), await customer_of(self._queries, self._desk.looks, call)
        if act not in possible_acts(found, self._desk):
            raise web.HTTPSeeOther(f"/customers/{found.key}")
        return self._renderer.render(
            call.request, "new_token.html", call.session, found=found, act=act, identity=IDENTITY
        )

    async def issue(self, call: Call) -> Outcome:
        """Make the token, for this customer alone; one that this session has made before and not bound is retired."""
        act, found = _act(call), await customer_of(self._queries, self._desk.looks, call)
        page, kept = f"/customers/{found.key}/{act.name}", kept_of(call.form)
        if wrong := missing(call, found):
            return Outcome(f"{page}/new", Notice(wrong), kept)
        if act not in possible_acts(found, self._desk):
            return Outcome(f"/customers/{found.key}", Notice("not-now"))
        why, contract_id, issuer = reason_of(kept), found.line.contract_id, self._settings().bank.issuer
        until = min(call.session.expires_at, int(time.time() + RESERVED_SECONDS) * 1000)
        session, principal = replace(call.session, expires_at=until), call.principal(why)
        try:
            issued = await retry_while_busy(
                lambda: self._desk.enrolment.issue_for(contract_id, session, issuer, principal)
            )
        except Refused as refused:
            return Outcome(f"{page}/new", Notice(MESSAGE_OF_REFUSAL[refused.refusal]), kept)
        begun = {"customer": contract_id, "act": act.name, "token": issued.token_id, "why": why}
        return Outcome(f"{page}/code", data={"issued": begun, "qr": {"token": issued.token_id, "uri": issued.uri}})

    async def show(self, call: Call) -> web.Response:
        """The QR code, once, and the field for the first code. Raises HTTPSeeOther to the customer where this session
        has made no token for them."""
        act, found = _act(call), await customer_of(self._queries, self._desk.looks, call)
        issued = _issued(call, found, act)
        if issued is None:
            raise web.HTTPSeeOther(f"/customers/{found.key}")
        shown = call.session.data.get("qr") or {}
        picture = await asyncio.to_thread(qr_code, shown["uri"]) if shown.get("token") == issued["token"] else None
        return self._renderer.render(
            call.request,
            "new_token_code.html",
            call.session,
            found=found,
            act=act,
            fields=FIELDS,
            token=issued["token"],
            picture=picture,
        )

    async def bind(self, call: Call) -> Outcome:
        """Bind the token by its code, and say so on the customer's page."""
        act, found, form = _act(call), await customer_of(self._queries, self._desk.looks, call), call.form
        page, issued = f"/customers/{found.key}/{act.name}/code", _issued(call, found, act)
        if issued is None or act.run is None:
            return Outcome(f"/customers/{found.key}", Notice("not-now"))
        if is_unclear(form, found, act):
            return Outcome(page, Notice("which-missing"))
        filled = {name: form.get(name, "") for name in act.fields} | {"token_id": issued["token"]}
        principal, run = call.principal(issued["why"]), act.run
        deed = Deed(self._desk, found.line.contract_id, filled, principal, which_of(form, found, act))
        try:
            notice = await with_verifiers(self._desk, lambda desk: run(replace(deed, desk=desk)), self._verifiers)
        except Refused as refused:
            is_code = refused.refusal is Refusal.TOKEN_OR_CODE
            return Outcome(page, Notice("new-token-code" if is_code else MESSAGE_OF_REFUSAL[refused.refusal]))
        return Outcome(f"/customers/{found.key}", notice, data={"issued": None})


def _act(call: Call) -> CustomerAct:
    return BY_NAME[call.request.path.split("/")[3]]


def _issued(call: Call, found: Found, act: CustomerAct) -> Mapping[str, Any] | None:
    """The token that this session has made for this customer and act, and not bound."""
    issued: Mapping[str, Any] | None = call.session.data.get("issued")
    if issued is None or (issued["customer"], issued["act"]) != (found.line.contract_id, act.name):
        return None
    return issued
