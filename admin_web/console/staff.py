"""The pages of staff: who there is; administrators add, give another role, disable, reset, and end sessions. A second
person approves where the settings say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web

from admin_web.console.asking import ask_or_carry_out, typed
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from admin_web.console.settings import ConsoleSettings
from admin_web.console.words import ROLES
from admin_web.languages import gettext_noop as _
from otp_core.accounts import Act, Refused
from otp_core.accounts.staff import is_name
from otp_core.accounts.staff_changes import StaffChange, StaffDo
from otp_core.doors import Services
from otp_core.model import Role
from otp_core.otp import normalise_contract_id
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.retry import aside, retry_while_busy
from otp_core.store.staff import StaffRecord, staff_lines, staff_of_account

PATH = "/staff/{name:[a-z0-9._-]{1,32}}"
NEW = "/new-staff"
"""Not below /staff: somebody may be called so."""

_LONGEST_ACCOUNT = 128
_KIND = "staff"


class StaffAct(NamedTuple):
    """What is done to a member of staff: its title, and what will happen, a sentence each."""

    title: str
    effects: tuple[str, ...]
    last: bool = False


_WITHDRAWN = _("What they have asked a second person for or approved, and what is not carried out yet, is withdrawn.")

STAFF_ACTS = {
    StaffDo.ROLE: StaffAct(_("Change the role"), (_("It counts from their next click on."), _WITHDRAWN)),
    StaffDo.RESET: StaffAct(
        _("Begin anew"),
        (
            _("Their passkeys are gone, and they are signed out at once."),
            _("A one-time link is shown once, to you alone, and lets them make a new passkey within the hour."),
            _WITHDRAWN,
        ),
        last=True,
    ),
    StaffDo.DISABLE: StaffAct(
        _("Disable"),
        (_("They are signed out at once and cannot sign in any more. To begin anew takes it back."), _WITHDRAWN),
        last=True,
    ),
}


class StaffPages:
    """The handlers. ``settings`` is asked for every page."""

    def __init__(
        self,
        services: Services,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
    ) -> None:
        self._desk, self._queries, self._renderer, self._settings = services.desk, queries, renderer, settings

    def routes(self) -> list[Page | Form]:
        """The pages and forms."""
        manage = Act.MANAGE_STAFF
        found: list[Page | Form] = [
            Page("/staff", Act.USE_CONSOLE, self.list_),
            Page(NEW, manage, self.ask_new),
            Form(NEW, manage, self.add),
            Page(PATH, manage, self.show),
            Page(f"{PATH}/link", manage, self.link, once=("staff-link",)),
            Form(f"{PATH}/unlink", manage, self.unlink),
            Form(f"{PATH}/sessions/{{session:[0-9]{{1,19}}}}/end", manage, self.end_session),
        ]
        for do in STAFF_ACTS:
            found += [Page(f"{PATH}/{do}", manage, self.ask), Form(f"{PATH}/{do}", manage, self.change)]
        return found

    async def list_(self, call: Call) -> web.Response:
        """Everybody."""
        rows = await self._queries.run(staff_lines)
        return self._renderer.render(call.request, "staff.html", call.session, rows=rows)

    async def show(self, call: Call) -> web.Response:
        """One member of staff. Raises HTTPNotFound."""
        record = await self._record(call)
        passkeys, sign_on, sessions = await aside(
            lambda: (
                self._desk.staff.passkeys(record),
                self._desk.sign_on.of(record),
                self._desk.staff_sessions.of(record),
            )
        )
        return self._renderer.render(
            call.request,
            "staff_member.html",
            call.session,
            record=record,
            acts={do: STAFF_ACTS[do] for do in _possible(record, call)},
            passkeys=passkeys,
            sign_on=sign_on,
            sessions=sessions,
        )

    async def ask_new(self, call: Call) -> web.Response:
        """The form of a new member."""
        return self._renderer.render(
            call.request, "staff_new.html", call.session, roles=ROLES, two_people=self._needs_approval
        )

    async def add(self, call: Call) -> Outcome:
        """Add them; or back to the form with the reason why not."""
        form = call.form
        name, account = form.get("name", "").strip(), form.get("account", "").strip()[:_LONGEST_ACCOUNT]
        if wrong := await self._wrong(name, account, form.get("role", "")):
            return Outcome(NEW, Notice(wrong), typed(form))
        change = StaffChange(name, StaffDo.ADD, Role(form["role"]), normalise_contract_id(account) or None)
        return await self._done(call, change, NEW)

    async def _wrong(self, name: str, account: str, role: str) -> str | None:
        """The name of the message about what is wrong in the form; None if the desk can be asked."""
        if not is_name(name):
            return "staff-name"
        if await aside(lambda: self._desk.staff.named(name)) is not None:
            return "staff-known"
        if role not in ROLES:
            return "role-missing"
        if account and await self._queries.run(staff_of_account, normalise_contract_id(account)) is not None:
            return "staff-account-taken"
        return None

    async def ask(self, call: Call) -> web.Response:
        """What will happen, and why. Raises HTTPNotFound, HTTPSeeOther to the member where it is not possible now."""
        record, do = await self._record(call), _do(call)
        if do not in _possible(record, call):
            raise web.HTTPSeeOther(f"/staff/{record.name}")
        return self._renderer.render(
            call.request,
            "staff_act.html",
            call.session,
            record=record,
            do=do,
            act=STAFF_ACTS[do],
            roles={name: text for name, text in ROLES.items() if name != record.role},
            two_people=self._needs_approval,
        )

    async def change(self, call: Call) -> Outcome:
        """Do it; or back to the form with the reason why not."""
        record, do, role = await self._record(call), _do(call), None
        page = f"/staff/{record.name}"
        if do not in _possible(record, call):
            return Outcome(page, Notice("not-permitted" if record.name == call.session.staff.name else "not-now"))
        if do is StaffDo.ROLE:
            if call.form.get("role") not in ROLES.keys() - {record.role}:
                return Outcome(f"{page}/{do}", Notice("role-missing"), typed(call.form))
            role = Role(call.form["role"])
        return await self._done(call, StaffChange(record.name, do, role), f"{page}/{do}")

    async def _done(self, call: Call, change: StaffChange, form: str) -> Outcome:
        approvals = self._settings().approvals
        return await ask_or_carry_out(self._desk, approvals, _KIND, change.name, change.payload, call, form)

    async def link(self, call: Call) -> web.Response:
        """The one-time link, once. Raises HTTPSeeOther to the member where there is none to be shown."""
        link, name = call.session.data.get("staff-link"), call.request.match_info["name"]
        if not link or link["name"] != name:
            raise web.HTTPSeeOther(f"/staff/{name}")
        address = f"{self._settings().public_origin}/welcome/{link['secret']}"
        return self._renderer.render(
            call.request, "staff_link.html", call.session, name=name, address=address, until=link["until"]
        )

    async def unlink(self, call: Call) -> Outcome:
        """Unlink their single sign-on, and end their sessions."""
        record = await self._record(call)
        try:
            await retry_while_busy(lambda: self._desk.sign_on.unlink(record.name, call.principal()))
        except Refused:
            return Outcome(f"/staff/{record.name}", Notice("not-now"))
        return Outcome(f"/staff/{record.name}", Notice("sign-on-unlinked"))

    async def end_session(self, call: Call) -> Outcome:
        """End a session of theirs."""
        record, key = await self._record(call), call.number("session")
        ended = await retry_while_busy(lambda: self._desk.staff_sessions.end(record, key, call.principal()))
        return Outcome(f"/staff/{record.name}", Notice("session-ended" if ended else "session-gone"))

    @property
    def _needs_approval(self) -> bool:
        return _KIND in self._settings().approvals

    async def _record(self, call: Call) -> StaffRecord:
        """Raises HTTPNotFound."""
        record = await aside(lambda: self._desk.staff.named(call.request.match_info["name"]))
        if record is None:
            raise web.HTTPNotFound
        return record


def _possible(record: StaffRecord, call: Call) -> tuple[StaffDo, ...]:
    """What can be done to them now: nobody does anything to themselves."""
    if record.name == call.session.staff.name:
        return ()
    return (StaffDo.RESET,) if record.disabled_at is not None else tuple(STAFF_ACTS)


def _do(call: Call) -> StaffDo:
    return StaffDo(call.request.path.rpartition("/")[2])
