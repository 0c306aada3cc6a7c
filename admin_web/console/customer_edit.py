"""The page on which staff changes what is known of a customer: name, reading, e-mail, language, reply attributes."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiohttp import web

from admin_web.console.customer_acts import IDENTITY, reason_of, said
from admin_web.console.customers import PATH, customer_of, missing
from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from otp_core.accounts import Act, Details, Refused
from otp_core.doors import Services
from otp_core.imports import CustomerRow, check_customer
from otp_core.model import attributes_text
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.queries import CustomerLine
from otp_core.store.retry import retry_while_busy

LONGEST = {"name": 200, "reading": 200, "email": 254, "language": 8, "attributes": 2000, "reason": 200, "ticket": 64}
"""Characters of a field. Longer reply attributes are a matter of the command line."""


class _Problem(NamedTuple):
    """What is wrong with a field: the name of a message, and what is filled into it."""

    name: str
    detail: str = ""


class EditPages:
    """The handlers."""

    def __init__(self, services: Services, queries: AsyncQueries, renderer: ConsoleRenderer) -> None:
        self._desk, self._attribute_check = services.desk, services.attribute_check
        self._fingerprint = services.store.sealer.fingerprint
        self._queries, self._renderer = queries, renderer

    def routes(self) -> list[Page | Form]:
        """The page and its form."""
        path, act = f"{PATH}/edit", Act.EDIT_CUSTOMER
        return [Page(path, act, self.ask), Form(path, act, self.carry_out, longest=max(LONGEST.values()))]

    async def ask(self, call: Call) -> web.Response:
        """The form, with what is known now, or what was filled in before. Raises HTTPNotFound."""
        found = await customer_of(self._queries, self._desk.looks, call)
        now = details_of(found.line)
        kept = call.session.data.get("kept", {})
        shown = {name: kept.get(name, getattr(now, name) or "") for name in Details._fields}
        return self._renderer.render(
            call.request,
            "edit.html",
            call.session,
            found=found,
            shown=shown,
            seen=kept.get("seen", self._mark(now)),
            longest=LONGEST,
            too_long=len(now.attributes or "") > LONGEST["attributes"],
            identity=IDENTITY,
        )

    async def carry_out(self, call: Call) -> Outcome:
        """Change it, and say so on the customer's page; or back to the form with what is wrong."""
        found, form = await customer_of(self._queries, self._desk.looks, call), call.form
        page, before = f"/customers/{found.key}", details_of(found.line)
        kept = {name: form.get(name, "")[:most] for name, most in LONGEST.items() if name in form}
        kept |= {name: form.get(name, "")[:32] for name in ("identity", "seen")}
        if wrong := missing(call, found):
            return Outcome(f"{page}/edit", Notice(wrong), kept)
        if form.get("seen") != self._mark(before):
            return Outcome(f"{page}/edit", Notice("edited-meanwhile"))
        after = await self._filled(found.line, before, kept)
        if isinstance(after, _Problem):
            return Outcome(f"{page}/edit", Notice(after.name, {"detail": after.detail}), kept)
        if after == before:
            return Outcome(f"{page}/edit", Notice("nothing-edited"), kept)
        principal = call.principal(reason_of(kept))
        try:
            receipt = await retry_while_busy(
                lambda: self._desk.customers.edit(found.line.contract_id, before, after, principal)
            )
        except Refused as refused:
            return Outcome(f"{page}/edit", Notice(MESSAGE_OF_REFUSAL[refused.refusal]))
        return Outcome(page, said("edited", receipt))

    async def _filled(self, line: CustomerLine, before: Details, form: dict[str, str]) -> Details | _Problem:
        """What the form says, by the rules of an import; a field that it does not have stays as it is."""
        cells = {name: form[name] for name in Details._fields if name in form}
        row = check_customer(contract_id=line.contract_id, **cells)
        if not isinstance(row, CustomerRow):
            return _Problem(f"edit-{row[0].column}", row[0].message)
        if row.attributes and (problems := await asyncio.to_thread(self._attribute_check, row.attributes)):
            return _Problem("edit-attributes", problems[0])
        values = Details(row.name, row.reading, row.email, row.language, attributes_text(row.attributes))
        return before._replace(**{name: getattr(values, name) for name in cells})

    def _mark(self, details: Details) -> str:
        """Tells whether the customer is still as the form has shown them."""
        parts = [str(part or "").encode() for part in details]
        return f"{self._fingerprint(b'details', *parts) % 2**64:016x}"


def details_of(line: CustomerLine) -> Details:
    """What is known now."""
    return Details(line.name, line.reading, line.email, line.language, line.attributes)
