"""The pages that need no sign-in: start, lost, language, the session's warning and its end. No act on a token."""

from __future__ import annotations

import re
import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from admin_web.http.security import logged_path
from admin_web.http.sessions import Sessions
from admin_web.languages import COOKIE
from admin_web.portal.principal import principal_of
from admin_web.rendering import Renderer
from otp_core.accounts import Desk, Refused
from otp_core.clock import ClockWrong
from otp_core.model import BackendSilent, Language
from otp_core.store.retry import retry_while_busy

_YEAR_SECONDS = 365 * 24 * 3600
_OUR_PATH = re.compile(r"/(?:[a-z][a-z-]*(?:/[a-z][a-z-]*)*/?)?")
"""A path of this site, and nothing that a browser could take for another host."""

_log = structlog.get_logger("web")


class CommonPages:
    """The handlers of these pages, and the middleware for what cannot be served now."""

    def __init__(self, desk: Desk, sessions: Sessions, renderer: Renderer) -> None:
        self._desk, self._sessions, self._renderer = desk, sessions, renderer

    async def start(self, request: web.Request) -> web.Response:
        """The list of all procedures."""
        return self._renderer.render(request, "portal/start.html")

    async def lost(self, request: web.Request) -> web.Response:
        """What to do about a lost token."""
        return self._renderer.render(request, "portal/lost.html")

    async def language(self, request: web.Request) -> web.Response:
        """Store the choice of language in a cookie, and go back to the page that it was made on. Raises HTTPNotFound
        for another language."""
        wanted, back = request.match_info["language"], request.query.get("to", "/")
        if wanted not in tuple(Language):
            raise web.HTTPNotFound
        response = web.HTTPSeeOther(back if _OUR_PATH.fullmatch(back) else "/")
        response.set_cookie(COOKIE, wanted, max_age=_YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.secure)
        return response

    async def expired(self, request: web.Request) -> web.Response:
        """The session has ended."""
        response = self._renderer.render(request, "portal/expired.html")
        self._sessions.delete_cookie(response)
        return response

    async def session(self, request: web.Request) -> web.Response:
        """The session is about to end: go on? Showing this page does not keep the session alive."""
        session = self._sessions.session(request)
        if session is None:
            raise web.HTTPSeeOther("/expired")
        idle_until = session.seen_at + self._sessions.limits.idle * 1000
        left = max(1, (min(session.expires_at, idle_until) - int(time.time() * 1000)) // 1000)
        last = session.expires_at <= idle_until
        response = self._renderer.render(request, "portal/session.html", left=-(-left // 60), last=last, signed_in=True)
        response.headers["Refresh"] = f"{left};url=/expired"
        return response

    async def extend(self, request: web.Request) -> web.Response:
        """Keep the session alive, and go back to the page that it is at."""
        async with self._sessions.lock:
            session = self._sessions.session(request)
            if session is None:
                raise web.HTTPSeeOther("/expired")
            await retry_while_busy(lambda: self._desk.sessions.update(session, {**session.data, "notice": "extended"}))
        raise web.HTTPSeeOther(str(session.data["stage"]))

    async def leave(self, request: web.Request) -> web.Response:
        """End the session, and retire a token that was issued in it and not confirmed."""
        async with self._sessions.lock:
            session = self._sessions.session(request)
            if session is not None:
                principal = principal_of(request, session.customer)
                await retry_while_busy(lambda: self._desk.sessions.end(session, principal))
        response = web.HTTPSeeOther("/")
        self._sessions.delete_cookie(response)
        return response

    @web.middleware
    async def unavailable(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Nobody can be served now: 503 for the customer, and a line in the log with the cause."""
        try:
            return await handler(request)
        except (BackendSilent, ClockWrong, Refused) as cause:
            _log.error("a page cannot be served", path=logged_path(request), cause=str(cause))
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"}) from None
