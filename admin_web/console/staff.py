"""The pages of staff: who there is; administrators end sessions and disable members. New members and new links come by
the command line, where nobody has to approve them.
"""

from __future__ import annotations

from aiohttp import web

from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from otp_core.accounts import Act, Refused
from otp_core.doors import Services
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.retry import retry_while_busy
from otp_core.store.staff import StaffRecord, staff_lines

PATH = "/staff/{name:[a-z0-9._-]{1,32}}"


class StaffPages:
    """The handlers."""

    def __init__(self, services: Services, queries: AsyncQueries, renderer: ConsoleRenderer) -> None:
        self._desk, self._queries, self._renderer = services.desk, queries, renderer

    def routes(self) -> list[Page | Form]:
        """The pages and forms."""
        return [
            Page("/staff", Act.USE_CONSOLE, self.list_),
            Page(PATH, Act.MANAGE_STAFF, self.show),
            Form(f"{PATH}/disable", Act.MANAGE_STAFF, self.disable),
            Form(f"{PATH}/sessions/{{session:[0-9]{{1,19}}}}/end", Act.MANAGE_STAFF, self.end_session),
        ]

    async def list_(self, call: Call) -> web.Response:
        """Everybody."""
        rows = await self._queries.run(staff_lines)
        return self._renderer.render(call.request, "staff.html", call.session, rows=rows)

    async def show(self, call: Call) -> web.Response:
        """One member of staff. Raises HTTPNotFound."""
        record = self._record(call)
        return self._renderer.render(
            call.request,
            "staff_member.html",
            call.session,
            record=record,
            passkeys=self._desk.staff.passkeys(record),
            sessions=self._desk.staff_sessions.of(record),
        )

    async def disable(self, call: Call) -> Outcome:
        """Let them in no more. Not oneself: somebody has to be left."""
        record, reason = self._record(call), " ".join(call.form.get("reason", "").split())[:200]
        page = f"/staff/{record.name}"
        if not reason:
            return Outcome(page, Notice("reason-missing"))
        if record.name == call.session.staff.name:
            return Outcome(page, Notice("not-permitted"))
        try:
            await retry_while_busy(lambda: self._desk.staff.disable(record.name, call.principal(reason)))
        except Refused as refused:
            return Outcome(page, Notice(MESSAGE_OF_REFUSAL[refused.refusal]))
        return Outcome(page, Notice("staff-disabled", {"name": record.name}))

    async def end_session(self, call: Call) -> Outcome:
        """End a session of theirs."""
        record, key = self._record(call), int(call.request.match_info["session"])
        ended = await retry_while_busy(lambda: self._desk.staff_sessions.end(record, key, call.principal()))
        return Outcome(f"/staff/{record.name}", Notice("session-ended" if ended else "session-gone"))

    def _record(self, call: Call) -> StaffRecord:
        """Raises HTTPNotFound."""
        record = self._desk.staff.named(call.request.match_info["name"])
        if record is None:
            raise web.HTTPNotFound
        return record
