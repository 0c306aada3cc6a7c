"""The route table of the portal: which pages there are, and which handler answers each."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from admin_web.http.security import MAX_BODY_BYTES, SitePolicy, security_middleware
from admin_web.http.sessions import Sessions
from admin_web.language_page import choose_language
from admin_web.portal.common_pages import CommonPages
from admin_web.portal.journey import Journey
from admin_web.portal.owner import OTHER, Owners
from admin_web.portal.pages import FORMER, JOURNEYS, PAGES
from admin_web.portal.sign_in import SignIn
from admin_web.rendering import BrandFiles, Renderer, StaticFiles
from admin_web.settings import WebSettings
from admin_web.unavailable import unavailable
from otp_core.accounts import SessionLimits
from otp_core.doors import Services


class PortalSite:
    """All pages of the portal, as an HttpSite. ``settings`` is asked for every page."""

    def __init__(self, services: Services, settings: Callable[[], WebSettings]) -> None:
        self._desk, self._settings = services.desk, settings
        self._static = StaticFiles("static")
        self._renderer, self._brand = Renderer(settings, self._static), BrandFiles(settings)
        at_start = settings()
        limits = SessionLimits(at_start.idle_seconds, at_start.session_seconds, at_start.max_sessions)
        self._sessions = Sessions(services.desk, limits, at_start.public_origin)
        self._sign_in = SignIn(services, self._sessions, self._renderer, settings)
        self._journey = Journey(services, self._sessions, self._renderer, settings)
        self._common = CommonPages(
            services.desk, self._sessions, self._renderer, Owners(services.store.sealer.fingerprint)
        )

    def application(self) -> web.Application:
        """The routes."""
        policy = SitePolicy(
            self._settings().public_origin, lambda: self._settings().trusted_proxies, self._renderer.error_page
        )
        app = web.Application(
            client_max_size=MAX_BODY_BYTES,
            middlewares=[security_middleware(policy), self._common.handed_over, unavailable("web")],
        )
        router = app.router
        router.add_get("/static/{version}/{name}", self._static.serve)
        router.add_get("/bank/{version}/logo", self._brand.serve_logo)
        router.add_get("/bank/{version}/colours.css", self._brand.serve_colours)
        router.add_get("/favicon.ico", self._static.favicon)
        router.add_get("/", self._common.start)
        router.add_get("/lost", self._common.lost)
        router.add_get("/language/{language}", choose_language)
        router.add_get("/expired", self._common.expired)
        router.add_get(OTHER, self._common.other)
        router.add_get("/session", self._common.session)
        router.add_post("/session", self._common.extend)
        router.add_post("/leave", self._common.leave)
        for journey in JOURNEYS:
            router.add_get(f"/{journey}", self._sign_in.show)
            router.add_post(f"/{journey}", self._sign_in.submit)
        for path in FORMER:
            router.add_get(path, self._journey.show, allow_head=False)
            router.add_post(path, self._journey.submit)
        for path in PAGES:
            # No HEAD: it would use up what a page shows only once.
            router.add_get(path, self._journey.show, allow_head=False)
            router.add_post(path, self._journey.submit)
        return app

    def sweep(self) -> bool:
        """Delete some sessions that have ended, and retire the tokens that were not confirmed in them; whether there
        were any. Raises StoreUnavailable, ClockWrong."""
        return self._desk.sessions.expire(self._sessions.limits) > 0
