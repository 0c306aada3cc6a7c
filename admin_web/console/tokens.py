"""The page of one token, with what happened to it last, and the page that retires it."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web
from sqlalchemy import Connection

from admin_web.console.asking import kept_why, why
from admin_web.console.customer_acts import said
from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from otp_core.accounts import Act, Refused
from otp_core.accounts.lifecycle import TOKEN, TokenMove
from otp_core.accounts.written import says_something
from otp_core.doors import Services
from otp_core.model import TokenState
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import audit_page, keys_of, token_id_of
from otp_core.store.login_remarks import remarks_of
from otp_core.store.queries import AuditFilter, AuditLine, TokenLine, token_line
from otp_core.store.retry import retry_while_busy

PATH = "/tokens/{token:[0-9]{1,19}}"
LAST_EVENTS = 10


@dataclass(frozen=True, slots=True)
class FoundToken:
    """All that the page of one token shows. ``holder``: the key of the customer who holds it; ``customers``: whom its
    events name, and who holds it; ``remarks``: how codes missed, by row."""

    key: int
    line: TokenLine
    holder: int | None
    customers: list[str]
    rows: list[AuditLine]
    remarks: dict[int, str]

    @property
    def may_be_retired(self) -> bool:
        """Whether it can be retired by itself. One that a customer holds is changed or reported lost instead."""
        return self.line.state != TokenState.BOUND and (TokenState(self.line.state), TokenMove.RETIRE) in TOKEN


class TokenPages:
    """The handlers."""

    def __init__(self, services: Services, queries: AsyncQueries, renderer: ConsoleRenderer) -> None:
        self._desk, self._queries, self._renderer = services.desk, queries, renderer

    def routes(self) -> list[Page | Form]:
        """The pages and the form."""
        retire = f"{PATH}/retire"
        return [
            Page(PATH, Act.USE_CONSOLE, self.show),
            Page(retire, Act.RETIRE_TOKEN, self.ask),
            Form(retire, Act.RETIRE_TOKEN, self.retire),
        ]

    async def show(self, call: Call) -> web.Response:
        """One token. Raises HTTPNotFound."""
        return self._renderer.render(call.request, "token.html", call.session, found=await self._found(call))

    async def ask(self, call: Call) -> web.Response:
        """What will happen, and why. Raises HTTPNotFound, HTTPSeeOther to the token where it is not possible now."""
        found = await self._found(call)
        if not found.may_be_retired:
            raise web.HTTPSeeOther(f"/tokens/{found.key}")
        return self._renderer.render(call.request, "token_retire.html", call.session, found=found)

    async def retire(self, call: Call) -> Outcome:
        """Never accept it again, and say so on its page."""
        found = await self._found(call)
        page, kept = f"/tokens/{found.key}", kept_why(call.form)
        if not says_something(kept["reason"]):
            return Outcome(f"{page}/retire", Notice("reason-missing"), kept)
        principal, token_id = call.principal(why(kept)), found.line.token_id
        try:
            receipt = await retry_while_busy(lambda: self._desk.tokens.retire(token_id, principal))
        except Refused as refused:
            return Outcome(page, Notice(MESSAGE_OF_REFUSAL[refused.refusal]))
        return Outcome(page, said("token-retired", receipt))

    async def _found(self, call: Call) -> FoundToken:
        """Raises HTTPNotFound."""
        found = await self._queries.run(_read, call.number("token"))
        if found is None:
            raise web.HTTPNotFound
        self._desk.looks.at_all(call.principal(), found.customers, "token")
        return found


def _read(connection: Connection, key: int) -> FoundToken | None:
    token_id = token_id_of(connection, key)
    line = None if token_id is None else token_line(connection, token_id)
    if line is None:
        return None
    rows = audit_page(connection, AuditFilter(token=line.token_id), limit=LAST_EVENTS).rows
    remarks = remarks_of(connection, [row.id for row in rows])
    known = keys_of(connection, {one for one in (line.contract_id, *(row.customer for row in rows)) if one})
    return FoundToken(key, line, known.get(line.contract_id or ""), sorted(known), rows, remarks)
