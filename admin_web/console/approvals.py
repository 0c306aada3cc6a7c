"""The pages of requests that a second person approves: the list, one request, and what each side does about it."""

from __future__ import annotations

import time
from typing import NamedTuple

from aiohttp import web

from admin_web.console.approval_pages import REQUEST_PAGES, Fact, RequestPage, Said
from admin_web.console.filters import before
from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from admin_web.languages import gettext_noop as _
from otp_core.accounts import Act, Refused
from otp_core.accounts.written import says_something, written
from otp_core.doors import Services
from otp_core.store.approvals import Approval, approval_lines, approval_of
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import acts_by_command, keys_of
from otp_core.store.retry import retry_while_busy

PATH = "/approvals/{request:[0-9]{1,19}}"
PAGE_ROWS = 50
BY_COMMAND = 10
"""Acts of commands that the list shows."""
_LONGEST_REASON = 200

_EVENTS = [event for page in REQUEST_PAGES.values() for event in page.events]


class _Shown(NamedTuple):
    """A request in words."""

    title: Said
    facts: list[Fact]
    effect: str


class ApprovalPages:
    """The handlers."""

    def __init__(self, services: Services, queries: AsyncQueries, renderer: ConsoleRenderer) -> None:
        self._desk, self._queries, self._renderer = services.desk, queries, renderer

    def routes(self) -> list[Page | Form]:
        """The pages and forms."""
        return [
            Page("/approvals", Act.USE_CONSOLE, self.list_),
            Page(PATH, Act.USE_CONSOLE, self.show),
            Form(f"{PATH}/approve", Act.APPROVE, self.approve),
            Form(f"{PATH}/refuse", Act.APPROVE, self.refuse),
            Form(f"{PATH}/withdraw", Act.ASK_APPROVAL, self.withdraw),
            # The desk asks whether this one may do what this request is about.
            Form(f"{PATH}/carry-out", Act.ASK_APPROVAL, self.carry_out, confirmed=True),
        ]

    async def list_(self, call: Call) -> web.Response:
        """Requests, the newest first, and what commands have done lately; the page is in the URL."""
        start = before(call.request)
        rows = await self._queries.run(approval_lines, before=start, limit=PAGE_ROWS + 1)
        last = rows[PAGE_ROWS - 1].key if len(rows) > PAGE_ROWS else None
        commands = [] if start else await self._queries.run(acts_by_command, _EVENTS, BY_COMMAND)
        return self._renderer.render(
            call.request,
            "approvals.html",
            call.session,
            rows=[(one, self._shown(one).title) for one in rows[:PAGE_ROWS]],
            last=last,
            later=start is not None,
            commands=commands,
        )

    async def show(self, call: Call) -> web.Response:
        """One request. Raises HTTPNotFound."""
        found = await self._queries.run(approval_of, _key_of(call))
        if found is None:
            raise web.HTTPNotFound
        return self._renderer.render(
            call.request,
            "approval.html",
            call.session,
            one=found,
            shown=self._shown(found),
            customer=await self._customer_key(found),
            is_open=found.expires_at > time.time() * 1000,
            own=found.asked_by == call.session.staff.name,
        )

    def _shown(self, found: Approval) -> _Shown:
        page: RequestPage | None = REQUEST_PAGES.get(found.act)
        try:
            about = self._desk.approvals.about(found)
        except Refused:
            page = None
        if page is None:
            return _Shown(Said(_("%(name)s: cannot be opened"), {"name": f"{found.act} {found.about}"}), [], "")
        return _Shown(page.title(about), page.facts(about), page.effect)

    async def _customer_key(self, found: Approval) -> int | None:
        if found.customer is None:
            return None
        return (await self._queries.run(keys_of, (found.customer,))).get(found.customer)

    async def approve(self, call: Call) -> Outcome:
        """Approve somebody else's request."""
        return await self._decide(call, approve=True)

    async def refuse(self, call: Call) -> Outcome:
        """Refuse it."""
        return await self._decide(call, approve=False)

    async def _decide(self, call: Call, *, approve: bool) -> Outcome:
        field = "reason" if approve else "refusal"
        key, page, reason = _key_of(call), _page_of(call), call.form.get(field, "").strip()[:_LONGEST_REASON]
        if not says_something(reason):
            return Outcome(page, Notice("reason-missing"))
        principal = call.principal(written(reason))
        try:
            await retry_while_busy(lambda: self._desk.approvals.decide(key, principal, approve=approve))
        except Refused as refused:
            return Outcome(page, Notice(MESSAGE_OF_REFUSAL[refused.refusal]), {field: reason})
        return Outcome(page, Notice("approved" if approve else "refused"))

    async def withdraw(self, call: Call) -> Outcome:
        """Take back one's own request."""
        key, principal = _key_of(call), call.principal()
        try:
            await retry_while_busy(lambda: self._desk.approvals.withdraw(key, principal))
        except Refused as refused:
            return Outcome(_page_of(call), Notice(MESSAGE_OF_REFUSAL[refused.refusal]))
        return Outcome(_page_of(call), Notice("withdrawn"))

    async def carry_out(self, call: Call) -> Outcome:
        """What was approved, by whoever asked: what it has made is on the next page, once."""
        key, principal = _key_of(call), call.principal("approved")
        try:
            done = await retry_while_busy(lambda: self._desk.carry_out(key, principal))
        except Refused as refused:
            return Outcome(_page_of(call), Notice(MESSAGE_OF_REFUSAL[refused.refusal]))
        assert done.request is not None
        return REQUEST_PAGES[done.request.act].then(done, await self._customer_key(done.request))


def _key_of(call: Call) -> int:
    return call.number("request")


def _page_of(call: Call) -> str:
    return call.request.path.rpartition("/")[0]
