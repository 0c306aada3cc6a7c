"""The pages of the sample bank: login, one-time password, top page. The RADIUS server decides about every login.

It never stores or logs a password or a code, and lets nobody in without an Access-Accept.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from radius_client import MAX_NAME, MAX_PASSWORD, Gateway, LoginRequest, NoReply, Reply, ReplyCode, Server
from sessions import Challenge, LoggedIn, Session, Sessions
from texts import TEXTS

HERE = Path(__file__).parent
COOKIE = "demo_bank"
"""Not "session": cookies do not tell ports apart (RFC 6265 section 8.5), and the portal may be at another port of this
host."""

SESSION = web.RequestKey("session", Session)
_MAX_BODY_BYTES = 8192
_JAPAN = timezone(timedelta(hours=9))
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    # Not no-referrer: with that, browsers send "Origin: null" with a form.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_FILES = {"/style.css": "text/css", "/favicon.svg": "image/svg+xml"}
_PATHS = {"login": "/", "code": "/code", "top": "/top"}
"""The path of each page, for the way back from the choice of language."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Bank:
    """The web application. ``portal``: scheme, host and port of the customers' own pages, None if there are none."""

    def __init__(self, gateway: Gateway, sessions: Sessions, portal: str | None) -> None:
        self._gateway, self._sessions, self._portal = gateway, sessions, portal
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[self._security_middleware])
        app.router.add_get("/", self._login_page)
        app.router.add_post("/login", self._login)
        app.router.add_get("/code", self._code_page)
        app.router.add_post("/code", self._code)
        app.router.add_get("/top", self._top_page)
        app.router.add_post("/logout", self._log_out)
        app.router.add_get("/language/{language:ja|en}/{page:login|code|top}", self._language)
        for path in _FILES:
            app.router.add_get(path, self._file)
        return app

    # Every request

    @web.middleware
    async def _security_middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST" and not _is_same_origin(request):
            return self._error_page(request, HTTPStatus.FORBIDDEN)
        try:
            if request.path in _FILES:
                response = await handler(request)
            else:
                response = await self._with_session(request, handler)
        except web.HTTPException as refusal:
            if refusal.status >= HTTPStatus.BAD_REQUEST:
                return self._error_page(request, HTTPStatus(refusal.status))
            refusal.headers.update(_HEADERS)
            raise
        response.headers.update(_HEADERS)
        return response

    async def _with_session(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        id_ = request.cookies.get(COOKIE)
        session = self._sessions.find(id_) if id_ else None
        if session is None:
            session = self._sessions.begin(_preferred_language(request))
            if id_ and request.path not in ("/", "/language"):
                session.message = ("expired", "")
        request[SESSION] = session
        response = await handler(request)
        # Compared after the handler, which may have renewed the id.
        if session.id != id_:
            response.set_cookie(COOKIE, session.id, httponly=True, samesite="Lax")
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/")
        return web.Response(text=(HERE / "pages" / name).read_text(), content_type=_FILES[request.path])

    # Pages

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        session = request[SESSION]
        if isinstance(session.login, LoggedIn):
            return _to("/top")
        self._sessions.give_up(session)  # a challenge that was left unanswered
        return self._page(session, "login")

    async def _code_page(self, request: web.Request) -> web.StreamResponse:
        session = request[SESSION]
        match session.login:
            case LoggedIn():
                return _to("/top")
            case None:
                return _to("/")
        return self._page(session, "code")

    async def _top_page(self, request: web.Request) -> web.StreamResponse:
        session = request[SESSION]
        return self._page(session, "top") if isinstance(session.login, LoggedIn) else _to("/")

    async def _language(self, request: web.Request) -> web.StreamResponse:
        request[SESSION].language = request.match_info["language"]
        return _to(_PATHS[request.match_info["page"]])

    def _page(self, session: Session, name: str) -> web.Response:
        message, session.message = session.message, None
        return self._render(session.language, f"{name}.html", page=name, session=session, message=message)

    def _error_page(self, request: web.Request, status: HTTPStatus) -> web.Response:
        """The page of an HTTP error, in the language of the session, if there is one."""
        session = request.get(SESSION)
        language = session.language if session is not None else _preferred_language(request)
        response = self._render(language, "error.html", page="login", message=None, status=status.value)
        response.set_status(status)
        response.headers.update(_HEADERS)
        return response

    def _render(self, language: str, template: str, **values: object) -> web.Response:
        text = self._templates.get_template(template).render(
            t=TEXTS[language], portal=self._portal, line=_line, day=_day, **values
        )
        return web.Response(text=text, content_type="text/html")

    # Forms

    async def _login(self, request: web.Request) -> web.StreamResponse:
        session = request[SESSION]
        form = await _form(request)
        customer, password = form.get("contract_id", "").strip(), form.get("password", "")
        async with session.lock:
            if isinstance(session.login, LoggedIn):
                return _to("/top")  # the second click of two
            session.contract_id = customer
            if not customer or not password:
                return _back(session, "/", "missing")
            if len(customer.encode()) > MAX_NAME or len(password.encode()) > MAX_PASSWORD:
                return _back(session, "/", "refused")
            return await self._send(session, LoginRequest(customer, password, request.remote or ""), None)

    async def _code(self, request: web.Request) -> web.StreamResponse:
        session = request[SESSION]
        form = await _form(request)
        code = form.get("code", "").strip()
        async with session.lock:
            challenge = session.login
            if not isinstance(challenge, Challenge):
                return _to("/top" if isinstance(challenge, LoggedIn) else "/")
            if form.get("contract_id", challenge.customer) != challenge.customer:
                return _back(session, "/code", "other")  # of two tabs, the one whose customer was here before
            if not code or len(code.encode()) > MAX_PASSWORD:
                return _back(session, "/code", "no-code")
            login_request = LoginRequest(challenge.customer, code, request.remote or "", challenge.state)
            return await self._send(session, login_request, challenge.server)

    async def _send(self, session: Session, request: LoginRequest, server: Server | None) -> web.Response:
        try:
            reply = await self._gateway.send(request, server)
        except NoReply:
            self._sessions.give_up(session)
            return _back(session, "/", "silence")
        return self._follow(session, request, reply)

    def _follow(self, session: Session, request: LoginRequest, reply: Reply) -> web.Response:
        """Where a reply leads."""
        was_challenged = request.state is not None
        match reply.code:
            case ReplyCode.ACCEPT:
                self._sessions.log_in(session, request.user, with_code=was_challenged)
                return _to("/top")
            case ReplyCode.CHALLENGE:
                asked = Challenge(request.user, reply.state, reply.server, reply.message, was_challenged)
                self._sessions.challenge(session, asked)
                return _to("/code")
            case ReplyCode.REJECT:
                self._sessions.give_up(session)
                return _back(session, "/", "refused-code" if was_challenged else "refused", reply.message)

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        session = request[SESSION]
        if isinstance(session.login, LoggedIn):
            self._sessions.log_out(session)
            session.message = ("left", "")
        return _to("/")


async def _form(request: web.Request) -> Mapping[str, str]:
    """URL-encoded UTF-8, as our pages send it. Nothing else is read: some charsets make text that no UTF-8 can hold."""
    try:
        if request.content_type != "application/x-www-form-urlencoded" or (request.charset or "utf-8") != "utf-8":
            raise ValueError
        text = (await request.read()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=10, errors="strict"))
    except (ValueError, web.RequestPayloadError):  # or too many fields, or malformed chunks
        raise web.HTTPBadRequest(text="the form cannot be read") from None


def known_expectations(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """417 for an Expect header other than 100-continue: aiohttp repeats it in its own answer, and fails where it is not
    UTF-8."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            return web.Response(status=417, text="expectation failed", headers=_HEADERS)
        return await handler(request)

    return handle


def _is_same_origin(request: web.Request) -> bool:
    """By Sec-Fetch-Site, or by Origin where a browser does not send it; a request with neither is refused."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin") == f"http://{request.host}"


def _preferred_language(request: web.Request) -> str:
    """Japanese, unless the browser names English before it."""
    wanted = request.headers.get("Accept-Language", "").lower()
    english, japanese = wanted.find("en"), wanted.find("ja")
    return "en" if english >= 0 and (japanese < 0 or english < japanese) else "ja"


def _to(path: str) -> web.Response:
    """Always 303, so that Back and reload send no form again."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path})


def _back(session: Session, path: str, name: str, words: str = "") -> web.Response:
    """To a page with a message: the name of its text, and the server's own words if it has any."""
    session.message = (name, words)
    return _to(path)


def _line(message: str, language: str) -> str:
    """The line of a Reply-Message in the page's language: this bank's server sends Japanese first, then English."""
    lines = message.splitlines() or [""]
    return lines[-1] if language == "en" else lines[0]


def _day(at: float | None, language: str) -> str:
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC).astimezone(_JAPAN)
    if language == "en":
        return moment.strftime("%d %b %Y, %H:%M JST")
    return moment.strftime("%Y年%m月%d日 %H:%M")
