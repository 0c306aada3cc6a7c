"""Signing in to the console: a name, then a passkey, or password and code of the account that belongs to the name.

A name that is nobody's gets the same pages: a passkey is asked for that does not exist, a password is checked that
nobody has.
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from admin_web.console.passkeys import LONGEST_ANSWER, Passkeys, WrongAnswer
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Outcome
from admin_web.console.sessions import StaffSessions
from admin_web.console.verification import Verification
from admin_web.http.security import SOURCE, form_of
from otp_core.accounts import Proof, Refused
from otp_core.doors import Services
from otp_core.store.retry import aside, retry_while_busy
from otp_core.store.staff import Passkey, StaffRecord

REFUSAL_SECONDS = 1.0
"""From the arrival of a wrong answer until ours, so that the time does not tell whose account is one."""

OUR_PAGE = re.compile(r"/(?:[A-Za-z0-9_.~%-]+(?:/[A-Za-z0-9_.~%-]+)*)?(?:\?[A-Za-z0-9=&%.+_~*:@,-]*)?")
"""A page of this site, and nothing that a browser could take for another host."""

_NAME_COOKIE = "console-name"
_MONTH_SECONDS = 30 * 24 * 3600
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class _Typed:
    """What was typed or answered. ``arrived``: the loop's time."""

    name: str
    source: str
    arrived: float


class SignIn:
    """The handlers of the pages before a session."""

    def __init__(
        self,
        services: Services,
        sessions: StaffSessions,
        renderer: ConsoleRenderer,
        passkeys: Passkeys,
        verification: Verification,
    ) -> None:
        self._desk, self._sessions, self._renderer = services.desk, sessions, renderer
        self._passkeys, self._verification = passkeys, verification

    async def show(self, request: web.Request) -> web.Response:
        """Who are you? The name that was given last in this browser is there already."""
        name = request.cookies.get(_NAME_COOKIE, "")[:_LONGEST_NAME]
        left = request.query.get("why") == "left-here"
        return self._render(request, "sign_in.html", name=name, left=left)

    async def submit(self, request: web.Request) -> web.Response:
        """The name: on to passkey, or to password and code."""
        form = await form_of(request)
        name = form.get("name", "").strip().lower()[:_LONGEST_NAME]
        if not name or not name.isascii() or not name.isprintable():
            raise web.HTTPSeeOther(self._address("/sign-in", request, "name-missing"))
        page = "/sign-in/code" if form.get("how") == "code" else "/sign-in/passkey"
        response = web.HTTPSeeOther(self._address(page, request))
        response.set_cookie(
            _NAME_COOKIE,
            name,
            max_age=_MONTH_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=self._sessions.secure,
            path="/sign-in",
        )
        return response

    async def ask_passkey(self, request: web.Request) -> web.Response:
        """The question for the browser, filtered by the passkeys of the name."""
        name = self._name(request)
        ids = [one.credential_id for one in (await aside(lambda: self._known(name)))[1]] or [
            self._passkeys.invented(name)
        ]
        options = self._passkeys.question(ids, purpose_of_sign_in(name))
        return self._render(request, "sign_in_passkey.html", name=name, options=options)

    async def take_passkey(self, request: web.Request) -> web.Response:
        """The passkey's answer."""
        typed = self._typed(request)
        form = await form_of(request, LONGEST_ANSWER)
        record, known = await aside(lambda: self._known(typed.name))
        try:
            answer = await self._verification.by_passkey(
                form.get("answer", ""), purpose_of_sign_in(typed.name), known, typed.source
            )
            assert record is not None
            return await self.enter(request, record, answer)
        except (WrongAnswer, Refused) as cause:
            return await self._refuse(request, typed, str(cause), "/sign-in/passkey", "passkey-wrong")

    async def ask_code(self, request: web.Request) -> web.Response:
        """Password and code."""
        return self._render(request, "sign_in_code.html", name=self._name(request))

    async def take_code(self, request: web.Request) -> web.Response:
        """Password and code of the account that belongs to the name."""
        typed, form = self._typed(request), await form_of(request)
        record, _ = await aside(lambda: self._known(typed.name))
        account = None if record is None else record.account
        try:
            await self._verification.by_code(
                account, typed.name, form.get("password", ""), form.get("code", ""), typed.source
            )
            assert record is not None
            return await self.enter(request, record, "password and code")
        except (WrongAnswer, Refused) as cause:
            return await self._refuse(request, typed, str(cause), "/sign-in/code", "code-wrong")

    async def leave(self, call: Call) -> Outcome:
        """End the session. Who has a single sign-on may still be signed in there."""
        principal, record = call.principal(), call.session.staff
        elsewhere = await aside(lambda: self._desk.sign_on.of(record)) is not None
        await retry_while_busy(lambda: self._desk.staff_sessions.end(call.session.staff, call.session.key, principal))
        return Outcome("/sign-in?why=left-here" if elsewhere else "/sign-in", ended=True)

    # The one-time link

    async def welcome(self, request: web.Request) -> web.Response:
        """Whose link it is, and the question for a first passkey. Nothing is spent. Raises HTTPNotFound."""
        secret = request.match_info["secret"]
        record = await aside(lambda: self._desk.staff.of_link(secret))
        if record is None:
            raise web.HTTPNotFound
        purpose = self._desk.staff.link_digest(secret)
        options = self._passkeys.registration(record.name, handle_of(record), purpose, [])
        return self._render(request, "welcome.html", record=record, options=options)

    async def take_welcome(self, request: web.Request) -> web.Response:
        """The first passkey: it spends the link, and signs in. Raises HTTPNotFound."""
        secret, source = request.match_info["secret"], request[SOURCE]
        form = await form_of(request, LONGEST_ANSWER)
        if await aside(lambda: self._desk.staff.of_link(secret)) is None:
            raise web.HTTPNotFound
        try:
            new = self._passkeys.registered(form.get("answer", ""), self._desk.staff.link_digest(secret))
        except WrongAnswer:
            raise web.HTTPSeeOther(f"{request.path}?why=passkey-not-made") from None
        try:
            record = await retry_while_busy(lambda: self._desk.staff.use_link(secret, new, source))
        except Refused:
            raise web.HTTPNotFound from None
        return await self.enter(request, record, "the one-time link")

    # What these share

    async def enter(
        self, request: web.Request, record: StaffRecord, by: Proof, back: str | None = None
    ) -> web.Response:
        """A session under a new id, against session fixation; the browser's previous one ends. ``back``: the page of
        ours to go to, where the request does not say. Raises Refused."""
        source = request[SOURCE]
        async with self._sessions.lock(request):
            before = await self._sessions.session(request)
            cookie = await retry_while_busy(lambda: self._sessions.begin(record, source, by))
            if before is not None:
                principal = before.principal(source)
                await retry_while_busy(lambda: self._desk.staff_sessions.end(before.staff, before.key, principal))
        response = web.HTTPSeeOther(back or page_to_return_to(request))
        self._sessions.set_cookie(response, cookie)
        return response

    async def _refuse(self, request: web.Request, typed: _Typed, cause: str, page: str, message: str) -> web.Response:
        await retry_while_busy(lambda: self._desk.staff_sessions.audit_failed_sign_in(typed.name, cause, typed.source))
        await _until_refusal(typed.arrived)
        return web.HTTPSeeOther(self._address(page, request, message))

    def _known(self, name: str) -> tuple[StaffRecord | None, list[Passkey]]:
        """Who has this name and may sign in, with their passkeys."""
        record = self._desk.staff.named(name)
        if record is None or record.disabled_at is not None:
            return None, []
        return record, list(self._desk.staff.passkeys(record))

    def _typed(self, request: web.Request) -> _Typed:
        return _Typed(self._name(request), request[SOURCE], asyncio.get_running_loop().time())

    def _name(self, request: web.Request) -> str:
        """The name that the browser has given. Raises HTTPSeeOther to the page that asks for it."""
        name = request.cookies.get(_NAME_COOKIE, "")
        if not name or len(name) > _LONGEST_NAME:
            raise web.HTTPSeeOther(self._address("/sign-in", request))
        return name

    @staticmethod
    def _address(page: str, request: web.Request, message: str = "") -> str:
        """A page with what follows it: where to go on afterwards, and why one is here."""
        why = f"&why={message}" if message else ""
        return f"{page}?to={quote(page_to_return_to(request))}{why}"

    def _render(self, request: web.Request, template: str, **values: Any) -> web.Response:
        why, back = request.query.get("why"), page_to_return_to(request)
        return self._renderer.render(request, template, message=why, back=back, **values)


def page_to_return_to(request: web.Request) -> str:
    """The page of ours that ``to`` names; the first page for anything else."""
    wanted = request.query.get("to", "")
    return wanted if OUR_PAGE.fullmatch(wanted) else "/"


def purpose_of_sign_in(name: str) -> bytes:
    """What a challenge to sign in is signed for."""
    return b"sign in " + name.encode()


def handle_of(record: StaffRecord) -> bytes:
    """The opaque name under which authenticators know somebody (WebAuthn, "user handle")."""
    return record.key.to_bytes(8, "big")


async def _until_refusal(arrived: float) -> None:
    """Wait until a refusal may leave. ``arrived``: the loop's time."""
    taken = asyncio.get_running_loop().time() - arrived
    await asyncio.sleep(max(1, math.ceil(taken / REFUSAL_SECONDS)) * REFUSAL_SECONDS - taken)
