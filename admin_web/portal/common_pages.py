"""The pages that need no sign-in: start, lost, the session's warning and its end. No act on a token."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from admin_web.http.security import form_of
from admin_web.http.sessions import Sessions
from admin_web.language_page import keep_language
from admin_web.portal.owner import OTHER, Owners
from admin_web.portal.principal import principal_of
from admin_web.rendering import Renderer, language_handed_over
from otp_core.accounts import Desk, Session
from otp_core.store.retry import retry_while_busy


class CommonPages:
    """The handlers of these pages, and the middleware that keeps a language which a link hands over."""

    def __init__(self, desk: Desk, sessions: Sessions, renderer: Renderer, owners: Owners) -> None:
        self._desk, self._sessions, self._renderer, self._owners = desk, sessions, renderer, owners

    async def start(self, request: web.Request) -> web.Response:
        """The list of all procedures."""
        return self._renderer.render(request, "portal/start.html", most=self._desk.devices.most)

    async def lost(self, request: web.Request) -> web.Response:
        """What to do about a lost token."""
        return self._renderer.render(request, "portal/lost.html")

    async def expired(self, request: web.Request) -> web.Response:
        """The session has ended."""
        response = self._renderer.render(request, "portal/expired.html")
        self._sessions.delete_cookie(response)
        return response

    async def session(self, request: web.Request) -> web.Response:
        """The session is about to end: go on? Showing this page does not keep the session alive."""
        session = await self._sessions.session(request)
        if session is None:
            raise web.HTTPSeeOther("/expired")
        idle_until = session.seen_at + self._sessions.limits.idle * 1000
        left = max(1, (min(session.expires_at, idle_until) - int(time.time() * 1000)) // 1000)
        last = session.expires_at <= idle_until
        response = self._renderer.render(
            request, "portal/session.html", left=-(-left // 60), last=last, **self._who(session)
        )
        response.headers["Refresh"] = f"{left};url=/expired"
        return response

    async def extend(self, request: web.Request) -> web.Response:
        """Keep the session alive, and go back to the page that it is at."""
        form = await form_of(request)
        async with self._sessions.lock(request):
            session = await self._sessions.session(request)
            if session is None:
                raise web.HTTPSeeOther("/expired")
            if self._owners.is_anothers(form, session):
                raise web.HTTPSeeOther(OTHER)
            extended = {"notice": "extended"}
            await retry_while_busy(lambda: self._desk.sessions.update(session, lambda data: {**data, **extended}))
        raise web.HTTPSeeOther(str(session.data["stage"]))

    async def leave(self, request: web.Request) -> web.Response:
        """End the session, and retire a token that was issued in it and not confirmed."""
        form = await form_of(request)
        async with self._sessions.lock(request):
            session = await self._sessions.session(request)
            if session is not None:
                if self._owners.is_anothers(form, session):
                    raise web.HTTPSeeOther(OTHER)
                principal = principal_of(request, session.customer)
                await retry_while_busy(lambda: self._desk.sessions.end(session, principal))
        response = web.HTTPSeeOther("/")
        self._sessions.delete_cookie(response)
        return response

    async def other(self, request: web.Request) -> web.Response:
        """A form came from the page of a customer who is not the session's: who may go on, and how."""
        session = await self._sessions.session(request)
        if session is None:
            raise web.HTTPSeeOther("/expired")
        return self._renderer.render(
            request, "portal/other.html", stage=str(session.data["stage"]), **self._who(session)
        )

    def _who(self, session: Session) -> dict[str, Any]:
        """What the frame of each page behind the sign-in shows, and what its forms carry."""
        return {
            "signed_in": True,
            "customer": session.customer,
            "name": session.data.get("name"),
            "whose": self._owners.digest(session.customer),
        }

    @web.middleware
    async def handed_over(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keep the language that a link hands over (``?lang=ja``), as if it had been chosen here."""
        wanted = language_handed_over(request)
        if wanted is None:
            return await handler(request)
        try:
            response = await handler(request)
        except web.HTTPRedirection as redirect:
            keep_language(request, redirect, wanted)
            raise
        keep_language(request, response, wanted)
        return response
