"""The route table of the console: which pages there are, which act each belongs to, and which handler answers it."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

from admin_web.console.api_keys import ApiKeyPages
from admin_web.console.approvals import ApprovalPages
from admin_web.console.clients import ClientPages
from admin_web.console.customer_edit import EditPages
from admin_web.console.customers import CustomerPages
from admin_web.console.dashboard import DashboardPages
from admin_web.console.find import FindPages
from admin_web.console.forecasts import ForecastPages
from admin_web.console.gate import Gate
from admin_web.console.imports import ImportPages
from admin_web.console.lists import ListPages
from admin_web.console.new_token import NewTokenPages
from admin_web.console.oidc.asking import Asking
from admin_web.console.oidc.flow import FlowCookie
from admin_web.console.oidc.pages import SignOnPages
from admin_web.console.own import OwnPages
from admin_web.console.passkeys import LONGEST_ANSWER, Passkeys
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.retirements import RetirementPages
from admin_web.console.routes import Form, Open, Page, Route, Upload
from admin_web.console.sessions import StaffSessions
from admin_web.console.settings import ConsoleSettings
from admin_web.console.shadow import ShadowPages
from admin_web.console.sign_in import SignIn
from admin_web.console.staff import StaffPages
from admin_web.console.token_search import TokenSearchPages
from admin_web.console.tokens import TokenPages
from admin_web.console.verification import Verification
from admin_web.http.security import MAX_BODY_BYTES, SitePolicy, security_middleware
from admin_web.language_page import choose_language
from admin_web.rendering import StaticFiles
from admin_web.unavailable import unavailable
from otp_core.accounts import Act, StaffSessionLimits
from otp_core.doors import Services
from otp_core.store.async_queries import AsyncQueries

_LOOK = Act.USE_CONSOLE
"""What every role may do: read, and look after oneself."""


class ConsoleSite:
    """All pages of the console, as an HttpSite. ``settings`` is asked for every page."""

    def __init__(self, services: Services, settings: Callable[[], ConsoleSettings]) -> None:
        self._desk, self._settings = services.desk, settings
        at_start, fingerprint = settings(), services.store.sealer.fingerprint
        self._static = StaticFiles("static", "console/static")
        limits = StaffSessionLimits(at_start.idle_seconds, at_start.session_seconds)
        self._sessions = StaffSessions(services.desk, limits, at_start.public_origin)
        self._renderer = ConsoleRenderer(settings, self._static, fingerprint)
        self._gate = Gate(services.desk, self._sessions, fingerprint)
        passkeys = Passkeys(at_start.public_origin, fingerprint, lambda: int(time.time() * 1000))
        verification = Verification(services, passkeys)
        self._sign_in = SignIn(services, self._sessions, self._renderer, passkeys, verification)
        self._own = OwnPages(services, self._renderer, passkeys, verification)
        self._asking = Asking(lambda: settings().oidc, at_start.public_origin, time.time)
        cookie = FlowCookie(services.store.sealer, secure=self._sessions.secure)
        self._sign_on = SignOnPages(services, self._renderer, self._asking, cookie, self._sign_in, verification)
        queries = AsyncQueries(services.store)
        self._find = FindPages(queries, self._renderer, settings, services.desk.looks)
        self._customers = CustomerPages(services, queries, self._renderer, settings)
        self._new_token = NewTokenPages(services, queries, self._renderer, settings)
        self._edit = EditPages(services, queries, self._renderer)
        self._approvals = ApprovalPages(services, queries, self._renderer)
        self._lists = ListPages(services, queries, self._renderer, settings)
        self._dashboard = DashboardPages(queries, self._renderer, settings, services.back_ends)
        self._token_search = TokenSearchPages(services, queries, self._renderer)
        self._tokens = TokenPages(services, queries, self._renderer)
        self._imports = ImportPages(services, queries, self._renderer, settings)
        self._retirements = RetirementPages(services, queries, self._renderer, settings, self._imports.wake)
        self._clients = ClientPages(queries, self._renderer, settings)
        self._forecasts = ForecastPages(services, queries, self._renderer, settings)
        self._shadow = ShadowPages(queries, self._renderer, settings, services.desk.looks)
        self._staff = StaffPages(services, queries, self._renderer, settings)
        self._api_keys = ApiKeyPages(services, queries, self._renderer, settings)

    def routes(self) -> list[Route]:
        """Every route; what is not in here does not exist."""
        return [
            *self._open(),
            *self._everybodys(),
            *self._sign_on.routes(),
            *self._customers.routes(),
            *self._edit.routes(),
            *self._new_token.routes(),
            *self._approvals.routes(),
            *self._lists.routes(),
            *self._token_search.routes(),
            *self._retirements.routes(),
            *self._tokens.routes(),
            *self._imports.routes(),
            *self._clients.routes(),
            *self._forecasts.routes(),
            *self._shadow.routes(),
            *self._dashboard.routes(),
            *self._staff.routes(),
            *self._api_keys.routes(),
        ]

    def _open(self) -> list[Route]:
        sign_in = self._sign_in
        return [
            Open("GET", "/static/{version}/{name}", self._static.serve),
            Open("GET", "/favicon.ico", self._static.favicon),
            Open("GET", "/language/{language}", choose_language),
            Open("GET", "/sign-in", sign_in.show),
            Open("POST", "/sign-in", sign_in.submit),
            Open("GET", "/sign-in/passkey", sign_in.ask_passkey),
            Open("POST", "/sign-in/passkey", sign_in.take_passkey),
            Open("GET", "/sign-in/code", sign_in.ask_code),
            Open("POST", "/sign-in/code", sign_in.take_code),
            Open("GET", "/welcome/{secret}", sign_in.welcome),
            Open("POST", "/welcome/{secret}", sign_in.take_welcome),
        ]

    def _everybodys(self) -> list[Route]:
        own = self._own
        return [
            Page("/", _LOOK, self._find.show),
            Page("/help", _LOOK, self._find.help),
            Page("/me", _LOOK, own.show),
            Form("/me/sessions/{session:[0-9]{1,19}}/end", _LOOK, own.end_session),
            Page("/me/passkeys/new", _LOOK, own.ask_new_passkey, confirmed=True),
            Form("/me/passkeys/new", _LOOK, own.add_passkey, confirmed=True, longest=LONGEST_ANSWER),
            Page("/confirm", _LOOK, own.ask_confirmation),
            Form("/confirm", _LOOK, own.confirm, longest=LONGEST_ANSWER),
            Form("/leave", _LOOK, self._sign_in.leave),
        ]

    def application(self) -> web.Application:
        """The routes, with the security middleware outermost."""
        uploads = frozenset(route.path for route in self.routes() if isinstance(route, Upload))
        policy = SitePolicy(
            self._settings().public_origin,
            lambda: self._settings().trusted_proxies,
            self._renderer.error_page,
            reads_itself=lambda request: request.path in uploads,
        )
        app = web.Application(
            client_max_size=MAX_BODY_BYTES, middlewares=[security_middleware(policy), unavailable("console")]
        )
        for route in self.routes():
            self._gate.add(app, route)
        app.on_shutdown.append(self._token_search.close)
        app.on_shutdown.append(self._asking.close)
        app.on_shutdown.append(self._forecasts.close)
        app.on_startup.append(self._imports.begin_task)
        app.on_shutdown.append(self._imports.end_task)
        return app

    def sweep(self) -> bool:
        """Delete some sessions that have ended, files that nobody has decided about, and requests and files that are
        long over; whether there were any. Raises StoreUnavailable, ClockWrong."""
        ended = self._desk.staff_sessions.expire(self._sessions.limits) > 0
        forgotten = self._desk.approvals.sweep()
        return self._desk.file_imports.sweep() or forgotten or ended
