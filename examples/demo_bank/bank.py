"""The pages of the sample bank: login, one-time password, top. Every login is the RADIUS server's decision.

It never keeps or logs a password or a code, and lets nobody in without an Access-Accept.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from asking import LONGEST_NAME, LONGEST_PASSWORD, Answer, Gateway, Kind, Nobody, Question, Server
from sessions import Challenge, Inside, Session, Sessions
from texts import TEXTS

HERE = Path(__file__).parent
COOKIE = "demo_bank"
VISIT = web.RequestKey("visit", Session)
_MOST_OCTETS = 8192
_JAPAN = timezone(timedelta(hours=9))
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    # Not no-referrer: with that a browser hides the Origin of a form.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_FILES = {"/style.css": "text/css", "/favicon.svg": "image/svg+xml"}
_PLACES = {"login": "/", "code": "/code", "top": "/top"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Bank:
    """``portal`` is where the customers' own pages are: scheme, host and port."""

    def __init__(self, gateway: Gateway, sessions: Sessions, portal: str | None) -> None:
        self._gateway, self._visits, self._portal = gateway, sessions, portal
        self._pages = Environment(
            loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MOST_OCTETS, middlewares=[self._careful])
        app.router.add_get("/", self._login_page)
        app.router.add_post("/login", self._login)
        app.router.add_get("/code", self._code_page)
        app.router.add_post("/code", self._code)
        app.router.add_get("/top", self._top_page)
        app.router.add_post("/logout", self._logout)
        app.router.add_get("/language/{language:ja|en}/{place:login|code|top}", self._language)
        for path in _FILES:
            app.router.add_get(path, self._file)
        return app

    # Every request

    @web.middleware
    async def _careful(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST" and not _is_own_form(request):
            raise web.HTTPForbidden(text="this form was not sent from the bank's own page", headers=_HEADERS)
        try:
            if request.path in _FILES:
                response = await handler(request)
            else:
                response = await self._visited(request, handler)
        except web.HTTPException as refusal:
            refusal.headers.update(_HEADERS)
            raise
        response.headers.update(_HEADERS)
        return response

    async def _visited(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        key = request.cookies.get(COOKIE)
        session = self._visits.find(key) if key else None
        if session is None:
            session = self._visits.begin(_preferred(request))
            if key and request.path not in ("/", "/language"):
                session.said = ("expired", "")
        request[VISIT] = session
        response = await handler(request)
        # Its name may have changed on the way. Another port of this host is another site with the same cookies.
        if session.key != key:
            response.set_cookie(COOKIE, session.key, httponly=True, samesite="Lax")
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/")
        return web.Response(text=(HERE / "pages" / name).read_text(), content_type=_FILES[request.path])

    # Pages

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        session = request[VISIT]
        if isinstance(session.at, Inside):
            return _to("/top")
        session.at = None  # whoever comes back here begins again
        return self._page(session, "login")

    async def _code_page(self, request: web.Request) -> web.StreamResponse:
        session = request[VISIT]
        match session.at:
            case Inside():
                return _to("/top")
            case None:
                return _to("/")
        return self._page(session, "code")

    async def _top_page(self, request: web.Request) -> web.StreamResponse:
        session = request[VISIT]
        return self._page(session, "top") if isinstance(session.at, Inside) else _to("/")

    async def _language(self, request: web.Request) -> web.StreamResponse:
        request[VISIT].language = request.match_info["language"]
        return _to(_PLACES[request.match_info["place"]])

    def _page(self, session: Session, name: str) -> web.Response:
        said, session.said = session.said, None
        text = self._pages.get_template(f"{name}.html").render(
            t=TEXTS[session.language], page=name, session=session, said=said, portal=self._portal, line=_line, day=_day
        )
        return web.Response(text=text, content_type="text/html")

    # Acts

    async def _login(self, request: web.Request) -> web.StreamResponse:
        session = request[VISIT]
        form = await _form(request)
        customer, password = str(form.get("contract_id", "")).strip(), str(form.get("password", ""))
        async with session.asking:
            if isinstance(session.at, Inside):
                return _to("/top")  # the second click of two
            session.user_password = customer
            if not customer or not password:
                return _back(session, "/", "missing")
            if len(customer.encode()) > LONGEST_NAME or len(password.encode()) > LONGEST_PASSWORD:
                return _back(session, "/", "refused")
            question = Question(customer, password, request.remote or "")
            return await self._ask(session, question, None)

    async def _code(self, request: web.Request) -> web.StreamResponse:
        session = request[VISIT]
        form = await _form(request)
        code = str(form.get("code", "")).strip()
        async with session.asking:
            if not isinstance(session.at, Challenge):
                return _to("/top" if isinstance(session.at, Inside) else "/")
            if not code or len(code.encode()) > LONGEST_PASSWORD:
                return _back(session, "/code", "no-code")
            question = Question(session.at.customer, code, request.remote or "", session.at.state)
            return await self._ask(session, question, session.at.server)

    async def _ask(self, session: Session, question: Question, server: Server | None) -> web.Response:
        try:
            answer = await self._gateway.ask(question, server)
        except Nobody:
            session.at = None
            return _back(session, "/", "silence")
        return self._follow(session, question, answer)

    def _follow(self, session: Session, question: Question, answer: Answer) -> web.Response:
        again = question.state is not None
        match answer.kind:
            case Kind.ACCEPT:
                self._visits.let_in(session, question.user, with_code=again)
                return _to("/top")
            case Kind.CHALLENGE:
                session.at = Challenge(question.user, answer.state, answer.server, answer.message, again)
                return _to("/code")
            case Kind.REJECT:
                session.at = None
                return _back(session, "/", "refused-code" if again else "refused", answer.message)

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        session = request[VISIT]
        if isinstance(session.at, Inside):
            self._visits.leave(session)
            session.said = ("left", "")
        return _to("/")


async def _form(request: web.Request) -> Mapping[str, object]:
    try:
        return await request.post()
    except (ValueError, LookupError, web.RequestPayloadError):  # no such encoding, no such part, not UTF-8
        raise web.HTTPBadRequest(text="this is no form") from None


def _is_own_form(request: web.Request) -> bool:
    """Fetch metadata first, the Origin where a browser sends none; neither of them: no."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin") == f"http://{request.host}"


def _preferred(request: web.Request) -> str:
    """Japanese, unless the browser names English before it."""
    wanted = request.headers.get("Accept-Language", "").lower()
    english, japanese = wanted.find("en"), wanted.find("ja")
    return "en" if english >= 0 and (japanese < 0 or english < japanese) else "ja"


def _to(place: str) -> web.Response:
    """Always by 303, so that back and reload send no form again."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": place})


def _back(session: Session, place: str, said: str, message: str = "") -> web.Response:
    session.said = (said, message)
    return _to(place)


def _line(message: str, language: str) -> str:
    """The server's words in the page's language: this bank has it say both, Japanese first, a line each."""
    lines = message.splitlines() or [""]
    return lines[-1] if language == "en" else lines[0]


def _day(at: float | None, language: str) -> str:
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC).astimezone(_JAPAN)
    if language == "en":
        return moment.strftime("%d %b %Y, %H:%M JST")
    return moment.strftime("%Y年%m月%d日 %H:%M")
