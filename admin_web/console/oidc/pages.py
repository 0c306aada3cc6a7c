"""The pages of single sign-on: to the provider, back again, and what follows: a session, a confirmation, or a link.

The provider sends browsers back from another site, and no cookie of a session comes along. So the page that they come
back to does nothing but lead on, and the answer is looked at behind it. Who wants a confirmation or a link presses a
button there, in a form like any other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import structlog
from aiohttp import web

from admin_web.console.oidc.asking import ANSWER_FIELDS, Asking, Denied
from admin_web.console.oidc.flow import Flow, FlowCookie, Purpose
from admin_web.console.oidc.provider import ProviderSilent
from admin_web.console.oidc.settings import AFTERWARDS_PATH, RETURN_PATH, OidcSettings
from admin_web.console.oidc.tokens import NoRole
from admin_web.console.passkeys import WrongAnswer
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Open, Outcome, Page
from admin_web.console.sign_in import SignIn, page_to_return_to
from admin_web.console.verification import Verification
from admin_web.http.rare_log import RareLog
from admin_web.http.security import SOURCE
from otp_core.accounts import Act, Refusal, Refused, SignOnAnswer
from otp_core.doors import Services
from otp_core.store.retry import aside, retry_while_busy

START, FINISH = "/sign-in/oidc", "/sign-in/oidc/finish"
LEAVE = "/sign-in/oidc/leave"
CONFIRM, CONFIRM_FINISH = "/confirm/oidc", "/confirm/oidc/finish"
LINK, LINK_FINISH, UNLINK = "/me/sign-on/new", "/me/sign-on/finish", "/me/sign-on/unlink"
LONGEST_FIELD = 4096
"""Characters of a code."""

_FINISH_OF = {Purpose.SIGN_IN: FINISH, Purpose.CONFIRM: CONFIRM_FINISH, Purpose.LINK: LINK_FINISH}
_SILENT_LOG_SECONDS = 60.0
_log = structlog.get_logger("console")


class SignOnPages:
    """The handlers. ``section``: as the settings have it now; ``sign_in``: what begins sessions."""

    def __init__(
        self,
        services: Services,
        renderer: ConsoleRenderer,
        asking: Asking,
        cookie: FlowCookie,
        sign_in: SignIn,
        verification: Verification,
    ) -> None:
        self._desk, self._renderer, self._asking = services.desk, renderer, asking
        self._cookie, self._sign_in, self._verification = cookie, sign_in, verification
        self._rare_log = RareLog("console", time.monotonic, _SILENT_LOG_SECONDS)

    def routes(self) -> list[Page | Form | Open]:
        """The pages and forms."""
        look = Act.USE_CONSOLE
        return [
            Open("GET", START, self.start),
            Open("GET", RETURN_PATH, self.lead_on),
            Open("GET", FINISH, self.finish),
            Open("GET", LEAVE, self.leave),
            Open("GET", AFTERWARDS_PATH, self.left),
            Page(CONFIRM, look, self.start_confirmation),
            Page(CONFIRM_FINISH, look, self.show_answer),
            Form(CONFIRM_FINISH, look, self.confirm, longest=LONGEST_FIELD),
            Page(LINK, look, self.start_link, confirmed=True),
            Page(LINK_FINISH, look, self.show_answer),
            Form(LINK_FINISH, look, self.link, longest=LONGEST_FIELD),
            Form(UNLINK, look, self.unlink, confirmed=True),
        ]

    # To the provider

    async def start(self, request: web.Request) -> web.StreamResponse:
        """For a sign-in. A link of another site leads to the sign-in page alone."""
        page = f"/sign-in?to={quote(page_to_return_to(request))}"
        if not _is_ours(request):
            raise web.HTTPSeeOther(page)
        return await self._ask(Purpose.SIGN_IN, page_to_return_to(request), "", f"{page}&why=sign-on-silent")

    async def leave(self, request: web.Request) -> web.StreamResponse:
        """To end the provider's session, for who has left the console. A link of another site leads to the sign-in page
        alone: nobody is to be signed out everywhere by a page that they look at."""
        self._section()
        if not _is_ours(request):
            raise web.HTTPSeeOther("/sign-in")
        try:
            address = await self._asking.address_to_leave()
        except ProviderSilent as cause:
            self._log_silence(cause)
            raise web.HTTPSeeOther("/sign-in?why=sign-on-silent") from None
        raise web.HTTPSeeOther(address or "/sign-in?why=sign-on-endless")

    async def left(self, _: web.Request) -> web.StreamResponse:
        """Where the provider sends browsers back to afterwards. That it has ended its session, it does not prove."""
        self._section()
        raise web.HTTPSeeOther("/sign-in?why=left")

    async def start_confirmation(self, call: Call) -> web.StreamResponse:
        """To have the person sign in there anew."""
        back = page_to_return_to(call.request)
        silent = f"/confirm?to={quote(back)}&why=sign-on-silent"
        return await self._ask(Purpose.CONFIRM, back, call.session.digest.hex(), silent)

    async def start_link(self, call: Call) -> web.StreamResponse:
        """To hear what is to be linked; there, too, the person signs in anew."""
        return await self._ask(Purpose.LINK, "/me", call.session.digest.hex(), "/me?why=sign-on-silent")

    async def _ask(self, purpose: Purpose, back: str, session: str, silent: str) -> web.StreamResponse:
        """``silent``: the page that says that the provider does not answer. Raises HTTPNotFound without a provider."""
        flow = Flow(purpose, self._section().issuer, back, _now(), session)
        try:
            response = web.HTTPSeeOther(await self._asking.address(flow))
        except ProviderSilent as cause:
            self._log_silence(cause)
            raise web.HTTPSeeOther(silent) from None
        self._cookie.set(response, flow)
        return response

    # Back again

    async def lead_on(self, request: web.Request) -> web.Response:
        """Where the provider sends browsers back to: on to the page that the request was for, by our own hand, so that
        the session's cookie comes along."""
        self._section()
        flow = self._flow(request)
        fields = _answer_fields(request.query)
        address = f"{_FINISH_OF[flow.purpose]}?{urlencode(fields)}"
        response = self._renderer.render(request, "oidc_return.html", address=address)
        response.headers["Refresh"] = f"0; url={address}"
        return response

    async def finish(self, request: web.Request) -> web.StreamResponse:
        """A session for whom the provider knows."""
        self._section()
        flow = self._flow(request)
        page = f"/sign-in?to={quote(flow.back)}"
        try:
            answer = await self._answer(request, _answer_fields(request.query), flow, Purpose.SIGN_IN, "")
            response = await self._enter(request, answer, flow)
        except ProviderSilent as cause:
            self._log_silence(cause)
            response = web.HTTPSeeOther(f"{page}&why=sign-on-silent")
        except (WrongAnswer, Refused) as cause:
            await self._record(cause, None, request[SOURCE])
            response = web.HTTPSeeOther(f"{page}&why={_message(cause)}")
        self._cookie.delete(response)
        return response

    async def _enter(self, request: web.Request, answer: SignOnAnswer, flow: Flow) -> web.StreamResponse:
        record = await aside(lambda: self._desk.sign_on.staff_of(answer))
        if record is None:
            raise NotLinked(f"nobody who may sign in is linked to {answer.subject}")
        try:
            return await self._sign_in.enter(request, record, answer, flow.back)
        except Refused as cause:
            await self._record(cause, record.name, request[SOURCE])
            return web.HTTPSeeOther(f"/sign-in?to={quote(flow.back)}&why={_message(cause)}")

    async def show_answer(self, call: Call) -> web.Response:
        """The button behind which the answer is looked at."""
        self._section()
        fields = _answer_fields(call.request.query)
        is_link = call.request.path == LINK_FINISH
        return self._renderer.render(
            call.request,
            "oidc_answer.html",
            call.session,
            place=call.request.path,
            fields=fields,
            is_link=is_link,
            issuer=self._section().issuer,
        )

    async def confirm(self, call: Call) -> Outcome:
        """The person has signed in at the provider anew: back to where that was asked for."""
        return await self._after(call, Purpose.CONFIRM)

    async def link(self, call: Call) -> Outcome:
        """Link the identity to the person's own record."""
        return await self._after(call, Purpose.LINK)

    async def unlink(self, call: Call) -> Outcome:
        """Unlink one's own."""
        name, principal = call.session.staff.name, call.principal()
        try:
            await retry_while_busy(lambda: self._desk.sign_on.unlink(name, principal))
        except Refused:
            return Outcome("/me", Notice("not-now"))
        return Outcome("/me", Notice("sign-on-unlinked"))

    async def _after(self, call: Call, purpose: Purpose) -> Outcome:
        self._section()
        flow = self._cookie.flow(call.request, _now())
        back = "/me" if purpose is Purpose.LINK else f"/confirm?to={quote('/' if flow is None else flow.back)}"
        if flow is None:
            return Outcome(back, Notice("sign-on-lost"))
        try:
            answer = await self._answer(call.request, call.form, flow, purpose, call.session.digest.hex())
            return await self._done(call, answer, flow)
        except ProviderSilent as cause:
            self._log_silence(cause)
            return Outcome(back, Notice("sign-on-silent"))
        except (WrongAnswer, Refused) as cause:
            await self._record(cause, call.session.staff.name, call.source)
            return Outcome(back, Notice(_message(cause)))

    async def _done(self, call: Call, answer: SignOnAnswer, flow: Flow) -> Outcome:
        session = call.session
        if flow.purpose is Purpose.CONFIRM:
            await retry_while_busy(lambda: self._desk.staff_sessions.confirm(session, call.source, answer))
            return Outcome(flow.back)
        try:
            await retry_while_busy(lambda: self._desk.sign_on.link(session.staff, answer, call.principal()))
        except Refused as refused:
            may = refused.refusal is not Refusal.NOT_PERMITTED
            return Outcome(flow.back, Notice("sign-on-taken" if may else "sign-on-narrowed"))
        return Outcome(flow.back, Notice("sign-on-linked", {"called": answer.called or answer.subject}))

    # What these share

    async def _answer(
        self, request: web.Request, sent: Mapping[str, str], flow: Flow, purpose: Purpose, session: str
    ) -> SignOnAnswer:
        """The provider's answer, after the delay that wrong ones from this address have earned. Raises WrongAnswer,
        ProviderSilent."""
        fields = {name: sent[name] for name in ANSWER_FIELDS if name in sent}

        async def check() -> SignOnAnswer:
            if not _is_ours(request):
                raise WrongAnswer("a page of another site has sent this answer")
            if flow.purpose is not purpose or flow.session != session:
                raise WrongAnswer("an answer to a request of another session or purpose")
            return await self._asking.answer(fields, flow)

        return await self._verification.throttled(request[SOURCE], check)

    def _flow(self, request: web.Request) -> Flow:
        """Raises HTTPSeeOther to the sign-in page where the browser brings none."""
        flow = self._cookie.flow(request, _now())
        if flow is None:
            self._rare_log.warn("single sign-on: an answer without a request", source=request[SOURCE])
            raise web.HTTPSeeOther("/sign-in?why=sign-on-lost")
        return flow

    def _section(self) -> OidcSettings:
        """Raises HTTPNotFound where the settings name no provider."""
        section = self._asking.section()
        if section is None:
            raise web.HTTPNotFound
        return section

    async def _record(self, cause: Exception, name: str | None, source: str) -> None:
        _log.warning("single sign-on refused", cause=str(cause), source=source)
        words = f"single sign-on: {cause}"
        await retry_while_busy(lambda: self._desk.staff_sessions.audit_failed_sign_in(name, words, source))

    def _log_silence(self, cause: ProviderSilent) -> None:
        self._rare_log.warn("single sign-on: the provider cannot be asked", cause=str(cause))


class NotLinked(WrongAnswer):
    """The provider knows them, and nobody here is linked to that."""


def _message(cause: Exception) -> str:
    match cause:
        case NotLinked():
            return "sign-on-unknown"
        case NoRole():
            return "sign-on-role"
        case Denied():
            return "sign-on-denied"
        case _:
            return "sign-on-wrong"


def _is_ours(request: web.Request) -> bool:
    """Whether a page of ours led here, by what browsers say (W3C Fetch Metadata); older ones say nothing."""
    return request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"


def _answer_fields(query: Mapping[str, str]) -> dict[str, str]:
    """What is looked at of an answer. Raises HTTPBadRequest for one that no provider gives."""
    fields = {name: query[name] for name in ANSWER_FIELDS if name in query}
    if any(len(value) > LONGEST_FIELD or not value.isprintable() for value in fields.values()):
        raise web.HTTPBadRequest
    return fields


def _now() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)
