"""The pages of customers: the list, one customer with everything on it, each act on a page of its own, the permit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from sqlalchemy import Connection

from admin_web.console.approval_pages import permit_shown
from admin_web.console.customer_acts import (
    ACTS,
    BY_NAME,
    FIELDS,
    IDENTITY,
    PERMIT_REISSUE,
    CustomerAct,
    Deed,
    Situation,
    reason_of,
)
from admin_web.console.filters import asked, is_contract_id, one_of
from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.refused import refused_logins
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from admin_web.console.settings import ConsoleSettings
from otp_core.accounts import Act, Desk, Looks, Principal, Refused, with_verifiers
from otp_core.accounts.permissions import is_allowed
from otp_core.accounts.written import says_something
from otp_core.doors import Services
from otp_core.model import OtpUse, Role
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import (
    LOCKED,
    contract_id_of,
    customer_page,
    keys_of_tokens,
    numbers_of_customers,
    permit_until,
    rows_of_customer,
)
from otp_core.store.login_remarks import remarks_of
from otp_core.store.queries import AuditLine, CustomerLine, TokenLine, customer_line, token_line
from otp_core.store.retry import retry_while_busy
from otp_core.store.sessions import SessionLine, session_lines
from otp_core.store.staff import StaffRecord, staff_of_account

PATH = "/customers/{customer:[0-9]{1,19}}"
LAST_EVENTS = 10
PAGE_ROWS = 50

_LONGEST = {"reason": 200, "ticket": 64, "token_id": 64, "which": 64}
"""Characters of the fields that are kept or recorded."""

_LOCKED = "customer.locked"


@dataclass(frozen=True, slots=True)
class Found:
    """All that the page of one customer shows. ``remarks``: how the codes of refused logins missed, by
    row; ``staff``: who signs in to the console with this account."""

    key: int
    line: CustomerLine
    tokens: list[TokenLine]
    token_keys: dict[str, int]
    sessions: list[SessionLine]
    permit_until: int | None
    rows: list[AuditLine]
    remarks: dict[int, str]
    staff: StaffRecord | None

    @property
    def locked_by(self) -> AuditLine | None:
        """The audit row of the lock, if it is one of the last."""
        return next((row for row in self.rows if row.event == _LOCKED), None)


class CustomerPages:
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
        """The pages, and one of each act."""
        look = Act.USE_CONSOLE
        found: list[Page | Form] = [
            Page("/customers", look, self.list_),
            Page(PATH, look, self.show),
            Page(f"{PATH}/permit", Act.PERMIT_REISSUE, self.permit, once=("permit",)),
        ]
        for one in ACTS:
            found += [
                Page(f"{PATH}/{one.name}", one.act, self.ask),
                Form(f"{PATH}/{one.name}", one.act, self.carry_out),
            ]
        return found

    async def list_(self, call: Call) -> web.Response:
        """All customers in the order of contract IDs; state and page are in the URL."""
        query = asked(call.request, {"use": one_of((*OtpUse, LOCKED)), "after": is_contract_id})
        use, after = query["use"], query["after"]
        rows = await self._queries.run(customer_page, after=after, limit=PAGE_ROWS + 1, use=use)
        last = rows[PAGE_ROWS - 1].contract_id if len(rows) > PAGE_ROWS else ""
        self._desk.looks.through(call.principal(), [one.contract_id for one in rows[:PAGE_ROWS]], "list")
        return self._renderer.render(
            call.request,
            "customers.html",
            call.session,
            found=rows[:PAGE_ROWS],
            use=use,
            after=after,
            last=last,
            numbers=await self._queries.run(numbers_of_customers),
        )

    async def show(self, call: Call) -> web.Response:
        """One customer. Raises HTTPNotFound."""
        found = await customer_of(self._queries, self._desk.looks, call)
        possible = possible_acts(found, self._desk)
        permitted = [one for one in possible if _may(call, one)]
        return self._renderer.render(
            call.request,
            "customer.html",
            call.session,
            found=found,
            acts=permitted,
            refused=refused_logins(found.rows, found.line, possible, permitted),
            lock_after=self._desk.lock_after,
        )

    async def ask(self, call: Call) -> web.Response:
        """The page of an act: what will happen, and what has to be filled in. Raises HTTPNotFound, HTTPSeeOther to the
        customer where it is not possible now."""
        act, found = self._act(call), await customer_of(self._queries, self._desk.looks, call)
        if act not in possible_acts(found, self._desk):
            raise web.HTTPSeeOther(f"/customers/{found.key}")
        return self._renderer.render(
            call.request,
            "act.html",
            call.session,
            found=found,
            act=act,
            fields=FIELDS,
            identity=IDENTITY,
            two_people=act is PERMIT_REISSUE and self._needs_approval(),
        )

    async def carry_out(self, call: Call) -> Outcome:
        """Do it, and say so on the customer's page; or back to the form with the reason why not."""
        act, found, form = self._act(call), await customer_of(self._queries, self._desk.looks, call), call.form
        page = f"/customers/{found.key}/{act.name}"
        kept = kept_of(form)
        if wrong := missing(call, found) or ("which-missing" if is_unclear(form, found, act) else None):
            return Outcome(page, Notice(wrong), kept)
        principal = call.principal(reason_of({**form, **kept}))
        deed = Deed(self._desk, found.line.contract_id, _filled(form, act), principal, which_of(form, found, act))
        try:
            if act.run is None:
                return await self._permit_or_ask(found, deed.principal)
            run = act.run
            notice = await with_verifiers(self._desk, lambda desk: run(replace(deed, desk=desk)), self._verifiers)
        except Refused as refused:
            return Outcome(page, Notice(MESSAGE_OF_REFUSAL[refused.refusal]), kept)
        return Outcome(f"/customers/{found.key}", notice)

    async def _permit_or_ask(self, found: Found, principal: Principal) -> Outcome:
        """A reissue permit; or the request for one, where a second person has to approve it. Raises Refused."""
        contract_id, page = found.line.contract_id, f"/customers/{found.key}"
        if self._needs_approval():
            await retry_while_busy(lambda: self._desk.approvals.ask(PERMIT_REISSUE.name, contract_id, principal))
            return Outcome("/approvals", Notice("asked"))
        return Outcome(f"{page}/permit", data={"permit": await permit_data(self._desk, contract_id, principal)})

    async def permit(self, call: Call) -> web.Response:
        """The permit as a letter, once. Raises HTTPSeeOther to the customer where there is none to be shown."""
        found, permit = await customer_of(self._queries, self._desk.looks, call), call.session.data.get("permit")
        if not permit or permit["customer"] != found.line.contract_id:
            raise web.HTTPSeeOther(f"/customers/{found.key}")
        return self._renderer.render(call.request, "permit.html", call.session, found=found, permit=permit)

    def _needs_approval(self) -> bool:
        return PERMIT_REISSUE.name in self._settings().approvals

    @staticmethod
    def _act(call: Call) -> CustomerAct:
        return BY_NAME[call.request.path.rpartition("/")[2]]


async def customer_of(queries: AsyncQueries, looks: Looks, call: Call) -> Found:
    """The customer of a path. Raises HTTPNotFound."""
    found = await queries.run(_read, call.number("customer"))
    if found is None:
        raise web.HTTPNotFound
    looks.at(call.principal(), found.line.contract_id, "page")
    return found


def possible_acts(found: Found, desk: Desk) -> list[CustomerAct]:
    """What the customer's state allows now, whoever may do it."""
    now = Situation(found.line, len(found.sessions), desk.tokens_per_customer)
    return [one for one in ACTS if one.allowed(now)]


def kept_of(form: Mapping[str, str]) -> dict[str, str]:
    """The fields of an act that its form shows again, cut to what is recorded."""
    kept = {name: form.get(name, "")[:most] for name, most in _LONGEST.items()}
    return kept | {"identity": form.get("identity", "")}


def missing(call: Call, found: Found) -> str | None:
    """The name of the message about what is missing in the form of an act; None if the desk can be asked."""
    me = call.session.staff
    if found.staff is not None and (me.role != Role.ADMINISTRATOR or found.staff.name == me.name):
        return "staff-account"
    if not says_something(call.form.get("reason", "")):
        return "reason-missing"
    return None if call.form.get("identity") in IDENTITY else "identity-missing"


async def permit_data(desk: Desk, contract_id: str, principal: Principal) -> dict[str, Any]:
    """A new permit, for the session to hold until its page has been shown. Raises Refused."""
    return permit_shown(
        contract_id, await retry_while_busy(lambda: desk.enrolment.permit_reissue(contract_id, principal))
    )


def _may(call: Call, act: CustomerAct) -> bool:
    return is_allowed(call.principal(), act.act, None)


def which_of(form: Mapping[str, str], found: Found, act: CustomerAct) -> str | None:
    """The token that an act is about, where the customer has several; None: the only one."""
    several = act.one_token and len(found.line.tokens) > 1
    return form.get("which") if several else None


def is_unclear(form: Mapping[str, str], found: Found, act: CustomerAct) -> bool:
    """Whether the act is about one of several tokens, and none of them was chosen."""
    if not act.one_token or len(found.line.tokens) < 2:
        return False
    return form.get("which") not in {own.token_id for own in found.line.tokens}


def _filled(form: Mapping[str, str], act: CustomerAct) -> dict[str, str]:
    return {name: form.get(name, "") for name in act.fields}


def _read(connection: Connection, key: int) -> Found | None:
    contract_id = contract_id_of(connection, key)
    line = None if contract_id is None else customer_line(connection, contract_id)
    if line is None:
        return None
    rows = rows_of_customer(connection, line.contract_id, LAST_EVENTS)
    return Found(
        key,
        line,
        [known for own in line.tokens if (known := token_line(connection, own.token_id))],
        keys_of_tokens(connection, [own.token_id for own in line.tokens]),
        session_lines(connection, contract_id=line.contract_id),
        permit_until(connection, line.contract_id),
        rows,
        remarks_of(connection, [row.id for row in rows]),
        staff_of_account(connection, line.contract_id),
    )
