"""The gate in front of every page behind the sign-in: session, role, confirmation, and the key of a form.

A form's key is made for one session and one path, and good once: a forged form has none, a double click or a reload
sends a used one, and nothing is done twice. It is used up in the store before the act begins, so that of two processes
that are sent the same form one acts. One that dies in between has used it up for nothing: who sends the form again is
shown what it is about, and sees that nothing was done.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from admin_web.console.rendering import WAITING, form_key
from admin_web.console.routes import (
    CONFIRM_SECONDS,
    Call,
    Form,
    Open,
    Outcome,
    Page,
    Route,
    Submit,
    Upload,
    needs_confirmation,
)
from admin_web.console.sessions import StaffSessions
from admin_web.http.security import form_of, is_same_text
from admin_web.http.upload import UPLOAD_SECONDS, FileTooLarge, upload_of
from otp_core.accounts import Desk, StaffSession
from otp_core.accounts.permissions import Act, is_allowed
from otp_core.model import BackendSilent, StoreBusy, StoreUnavailable
from otp_core.store.retry import aside, retry_while_busy

TOUCH_SECONDS = 30
"""A session that is only looked with is noted as in use this often: a look writes nothing else."""

_USED_KEYS = 50
"""Used keys that a session remembers."""

_UPLOADS_AT_ONCE = 2
"""Files that are received at the same time, each in memory; further ones wait."""

_EXPIRED = "session-expired"

LONGEST_ADDRESS = 2048
"""Characters of the address that a form was sent from."""

_NOT_HELD = frozenset({"key", "code", "first", "second", "password", "answer"})
"""Fields that nothing of is kept while their sender is asked who they are: keys, codes, proofs."""

HELD_SECONDS = 600
"""For which the others are. Who comes back to the form of a customer hours later, having turned away from the question,
must not find ticked there how they made sure of somebody then."""


class Gate:
    """Wraps the handlers of routes. ``fingerprint``: the store's keyed one."""

    def __init__(self, desk: Desk, sessions: StaffSessions, fingerprint: Callable[..., int]) -> None:
        self._desk, self._sessions, self._fingerprint = desk, sessions, fingerprint
        self._uploads = asyncio.Semaphore(_UPLOADS_AT_ONCE)
        self._pages: list[re.Pattern[str]] = []

    def add(self, app: web.Application, route: Route) -> None:
        """Add a route to the application, with its handler behind the gate."""
        match route:
            case Open():
                app.router.add_route(route.method, route.path, route.handler)
            case Page():
                added = app.router.add_get(route.path, self._page(route), allow_head=False)
                known = {} if added.resource is None else added.resource.get_info()
                self._pages.append(known.get("pattern") or re.compile(re.escape(route.path)))
            case Form():
                app.router.add_post(route.path, self._form(route))
            case Upload():
                app.router.add_post(route.path, self._upload(route))

    def _page(self, route: Page) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            session = with_held(await self._admitted(request, route), request.rel_url.raw_path, time.time())
            once = {"notice", "kept", *route.once}
            if once & session.data.keys() or time.time() * 1000 - session.seen_at > TOUCH_SECONDS * 1000:
                async with self._sessions.lock(request):
                    session = await self._shown(request, await self._admitted(request, route), once)
            if is_allowed(session.principal(""), Act.APPROVE, None):
                request[WAITING] = await aside(self._desk.approvals.waiting)
            return await route.handler(Call(request, session, {}))

        return handle

    async def _shown(self, request: web.Request, session: StaffSession, once: Collection[str]) -> StaffSession:
        """The session as a page shows it, which forgets what is shown once: of two processes, one shows it."""
        shown = session

        def forget(data: dict[str, Any]) -> dict[str, Any]:
            nonlocal shown
            shown = with_held(replace(session, data=data), request.rel_url.raw_path, time.time())
            return {name: value for name, value in shown.data.items() if name not in once}

        await retry_while_busy(lambda: self._desk.staff_sessions.update(session, forget))
        return shown

    def _form(self, route: Form) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            form = await form_of(request, route.longest)
            async with self._sessions.lock(request):
                session = await self._known(request, route)
                self._check_key(request, session, form)
                if not _is_confirmed(session, route):
                    raise await self._to_confirm(request, session, form)
                outcome = await self._once(session, Call(request, session, form), route.handler)
            redirect = web.HTTPSeeOther(outcome.location)
            if outcome.ended:  # a cookie that changes also has Chromium drop the pages that it keeps in memory
                self._sessions.delete_cookie(redirect)
            raise redirect

        return handle

    def _upload(self, route: Upload) -> Handler:
        """Session, role, confirmation and key are looked at before the file is read. While it comes the session's other
        pages go on; what has become of the session meanwhile is looked at again."""

        async def handle(request: web.Request) -> web.StreamResponse:
            most, sender, file = route.most(), await self._admitted(request, route), None
            form: dict[str, str] = {}

            def check(fields: Mapping[str, str]) -> None:
                form.update(fields)
                self._check_key(request, sender, fields)

            try:
                async with asyncio.timeout(UPLOAD_SECONDS), self._uploads:
                    _, file = await upload_of(request, most, check)
            except FileTooLarge:
                pass
            async with self._sessions.lock(request):
                session = await self._admitted(request, route)
                outcome = await self._once(session, Call(request, session, form, file), route.handler)
            raise web.HTTPSeeOther(outcome.location)

        return handle

    async def _to_confirm(
        self, request: web.Request, session: StaffSession, form: Mapping[str, str]
    ) -> web.HTTPSeeOther:
        """The way to the page that asks for passkey or code, and back to the form, which shows again what was typed,
        but for codes."""
        page = self._page_of(request)
        fields = {name: value for name, value in form.items() if name not in _NOT_HELD}
        held = {"page": page.partition("?")[0], "fields": fields, "at": time.time()}
        await self._remember(session, {"held": held})
        return web.HTTPSeeOther(f"/confirm?to={quote(page)}")

    def _check_key(self, request: web.Request, session: StaffSession, form: Mapping[str, str]) -> None:
        """Raises HTTPForbidden for a form that is none of ours."""
        key = form.get("key", "")
        if not is_same_text(key, form_key(self._fingerprint, session, request.path, key[:16])):
            raise web.HTTPForbidden

    async def _once(self, session: StaffSession, call: Call, handler: Submit) -> Outcome:
        """What a form comes to, the first time that its key is used. Where the act was not begun, or was taken back as
        a whole, the key can be used again."""
        update, key = self._desk.staff_sessions.update, call.form["key"]
        if not await retry_while_busy(lambda: update(session, lambda data: _with_used(data, key))):
            await self._remember(session, {"notice": ["already", {}]})
            return Outcome(self._back(call.request))
        try:
            outcome = await handler(call)
        except (web.HTTPException, StoreBusy, BackendSilent):
            with suppress(StoreUnavailable):
                await retry_while_busy(lambda: update(session, lambda data: _without_used(data, key)))
            raise
        new = dict(outcome.data)
        if outcome.notice is not None:
            new["notice"] = [outcome.notice.name, dict(outcome.notice.values)]
        if outcome.kept:
            new["kept"] = dict(outcome.kept)
        await self._remember(session, new)
        return outcome

    async def _remember(self, session: StaffSession, new: Mapping[str, Any]) -> None:
        await retry_while_busy(lambda: self._desk.staff_sessions.update(session, lambda data: {**data, **new}))

    @staticmethod
    def _back(request: web.Request) -> str:
        """From a form that was sent twice: to the customer it is about, or to the first page."""
        parts = request.path.split("/")
        if parts[1] == "customers":
            return "/".join(parts[:3])
        return "/" if parts[1] == "leave" else f"/{parts[1]}"

    async def _admitted(self, request: web.Request, route: Page | Form | Upload) -> StaffSession:
        """The session of somebody who may use the route now. Raises HTTPSeeOther to the sign-in or to the page that
        asks for a confirmation, HTTPForbidden for a role that may not."""
        session = await self._known(request, route)
        if not _is_confirmed(session, route):
            raise web.HTTPSeeOther(f"/confirm?to={quote(self._page_of(request))}")
        return session

    async def _known(self, request: web.Request, route: Page | Form | Upload) -> StaffSession:
        """The same, however long ago a passkey or code was given."""
        session = await self._sessions.session(request)
        if session is None:
            message = f"&why={_EXPIRED}" if self._sessions.has_cookie(request) else ""
            raise web.HTTPSeeOther(f"/sign-in?to={quote(self._page_of(request))}{message}")
        if not is_allowed(session.principal(""), route.act, None):
            raise web.HTTPForbidden
        return session

    def _page_of(self, request: web.Request) -> str:
        """The page that the request is about: itself, or the one that its form stands on. That has the same path, or
        one further up; what its address asked for is known from the browser."""
        if request.method == "GET":
            return request.path_qs
        path = request.rel_url.raw_path
        while path and not any(one.fullmatch(path) for one in self._pages):
            path = path.rpartition("/")[0]
        came_from = urlsplit(request.headers.get("Referer", "")[:LONGEST_ADDRESS])
        return f"{path}?{came_from.query}" if came_from.query and came_from.path == path else path or "/"


def _with_used(data: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """What a session remembers once a form's key is used; None: it was used before."""
    used = data.get("used", [])
    return None if key in used else {**data, "used": [*used, key][-_USED_KEYS:]}


def _without_used(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return {**data, "used": [one for one in data.get("used", []) if one != key]}


def _is_confirmed(session: StaffSession, route: Page | Form | Upload) -> bool:
    """Whether passkey or code was given lately enough for the route."""
    age = time.time() * 1000 - session.confirmed_at
    return not needs_confirmation(route) or age <= CONFIRM_SECONDS * 1000


def with_held(session: StaffSession, path: str, now: float) -> StaffSession:
    """The session with what was typed into the form of this page before its sender was asked who they are, as what the
    page shows again. ``now``: seconds since the epoch."""
    held = session.data.get("held")
    if held is None or held["page"] != path:
        return session
    data = {name: value for name, value in session.data.items() if name != "held"}
    if not 0 <= now - held.get("at", 0) <= HELD_SECONDS:
        return replace(session, data=data)
    return replace(session, data={**data, "kept": held["fields"]})
