"""The pages that are there for everybody: start, lost, language, the session's end and its warning. No token's act."""

from __future__ import annotations

import re
import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from admin_web.http.server import SOURCE
from admin_web.http.sessions import Sessions
from admin_web.languages import COOKIE
from admin_web.pages import Pages
from otp_core.accounts import Desk, Principal, Refused
from otp_core.clock import ClockSetBack
from otp_core.model import BackendSilent, Language
from otp_core.store.retry import Turns, retry_while_busy

_YEAR = 365 * 24 * 3600
_OUR_PATH = re.compile(r"/(?:[a-z][a-z-]*/?)*")
_log = structlog.get_logger("web")


class CommonPages:
    def __init__(self, desk: Desk, turns: Turns, sessions: Sessions, pages: Pages) -> None:
        self._desk, self._turns, self._sessions, self._pages = desk, turns, sessions, pages

    async def start(self, request: web.Request) -> web.Response:
        return self._pages.page(request, "portal/start.html")

    async def lost(self, request: web.Request) -> web.Response:
        return self._pages.page(request, "portal/lost.html")

    async def language(self, request: web.Request) -> web.Response:
        """Keep the choice and go back to the page it was made on."""
        wanted, back = request.match_info["language"], request.query.get("to", "/")
        if wanted not in tuple(Language):
            raise web.HTTPNotFound
        response = web.HTTPSeeOther(back if _OUR_PATH.fullmatch(back) else "/")
        response.set_cookie(COOKIE, wanted, max_age=_YEAR, httponly=True, samesite="Lax", secure=request.secure)
        return response

    async def expired(self, request: web.Request) -> web.Response:
        response = self._pages.page(request, "portal/expired.html")
        self._sessions.drop(response)
        return response

    async def session(self, request: web.Request) -> web.Response:
        """Soon it ends: go on? Asking this does not count as being there."""
        session = self._sessions.session(request)
        if session is None or session.customer is None:
            raise web.HTTPSeeOther("/expired")
        idle_until = session.seen_at + self._sessions.bounds.idle * 1000
        left = max(1, (min(session.expires_at, idle_until) - int(time.time() * 1000)) // 1000)
        last = session.expires_at <= idle_until
        response = self._pages.page(request, "portal/session.html", left=-(-left // 60), last=last, signed_in=True)
        response.headers["Refresh"] = f"{left};url=/expired"
        return response

    async def extend(self, request: web.Request) -> web.Response:
        async with self._turns.mine():
            session = self._sessions.session(request)
            if session is None or session.customer is None:
                raise web.HTTPSeeOther("/expired")
            await retry_while_busy(lambda: self._desk.update_session(session, {**session.data, "notice": "extended"}))
        raise web.HTTPSeeOther(str(session.data["stage"]))

    async def leave(self, request: web.Request) -> web.Response:
        """End the session, and what was begun in it."""
        async with self._turns.mine():
            session = self._sessions.session(request)
            if session is not None:
                principal = Principal("web", request[SOURCE])
                await retry_while_busy(lambda: self._desk.end_sessions([session.key], principal))
        response = web.HTTPSeeOther("/")
        self._sessions.drop(response)
        return response

    @web.middleware
    async def unavailable(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Nobody can be served now: said on a page, and in the log with the cause."""
        try:
            return await handler(request)
        except (BackendSilent, ClockSetBack, Refused) as cause:
            _log.error("a page cannot be served", path=request.path, cause=str(cause))
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"}) from None
