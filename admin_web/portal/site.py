"""The route table of the web door: who answers what. Read it to learn which pages there are."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from admin_web.http.server import MOST_BODY, SitePolicy, security_middleware
from admin_web.http.sessions import Sessions
from admin_web.pages import Pages, Static
from admin_web.portal.common_pages import CommonPages
from admin_web.portal.journey import Journey
from admin_web.portal.sign_in import SignIn
from admin_web.portal.stages import JOURNEYS, STAGES
from admin_web.settings import WebSettings
from otp_core.doors import Services
from otp_core.store.retry import Turns


class Site:
    """All pages of one door. ``settings`` is asked again at every page."""

    def __init__(self, services: Services, settings: Callable[[], WebSettings]) -> None:
        self._settings = settings
        self._static = Static()
        self._pages = Pages(settings, self._static)
        self._sessions = Sessions(services.desk, settings())
        self._desk, turns = services.desk, Turns()
        self._sign_in = SignIn(services, turns, self._sessions, self._pages, settings)
        self._journey = Journey(services.desk, turns, self._sessions, self._pages, settings)
        self._common = CommonPages(services.desk, turns, self._sessions, self._pages)

    def application(self) -> web.Application:
        policy = SitePolicy(self._settings().public_origin, lambda: self._settings().trusted_proxies, self._pages.error)
        app = web.Application(
            client_max_size=MOST_BODY, middlewares=[security_middleware(policy), self._common.unavailable]
        )
        add = app.router
        add.add_get("/static/{version}/{name}", self._static.answer)
        add.add_get("/favicon.ico", self._static.favicon)
        add.add_get("/", self._common.start)
        add.add_get("/lost", self._common.lost)
        add.add_get("/language/{language}", self._common.language)
        add.add_get("/expired", self._common.expired)
        add.add_get("/session", self._common.session)
        add.add_post("/session", self._common.extend)
        add.add_post("/leave", self._common.leave)
        for journey in JOURNEYS:
            add.add_get(f"/{journey}", self._sign_in.show)
            add.add_post(f"/{journey}", self._sign_in.enter)
        for path in STAGES:
            # HEAD would show a page that is shown once to nobody.
            add.add_get(path, self._journey.show, allow_head=False)
            add.add_post(path, self._journey.act)
        return app

    def sweep(self) -> None:
        self._desk.expire_sessions(self._sessions.bounds)
