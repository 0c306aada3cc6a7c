"""The route table of the web door: who answers what. Read it to learn which pages there are."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from admin_web.pages import Pages, Static
from admin_web.portal.entry import Entry
from admin_web.portal.journey import Journey
from admin_web.portal.patience import Turns
from admin_web.portal.stages import JOURNEYS, STAGES
from admin_web.portal.standing_pages import StandingPages
from admin_web.server import MOST_BODY, House, careful
from admin_web.sessions import Sessions
from otp_core import build
from otp_core.settings import Web


class Site:
    """All pages of one door. ``settings`` is asked again at every page."""

    def __init__(self, house: build.House, settings: Callable[[], Web]) -> None:
        self._settings = settings
        self._static = Static()
        self._pages = Pages(settings, self._static)
        self._sessions = Sessions(house.desk, settings())
        self._desk, turns = house.desk, Turns()
        self._entry = Entry(house, turns, self._sessions, self._pages, settings)
        self._journey = Journey(house.desk, turns, self._sessions, self._pages, settings)
        self._standing = StandingPages(house.desk, turns, self._sessions, self._pages)

    def application(self) -> web.Application:
        house = House(self._settings().public_origin, lambda: self._settings().trusted_proxies, self._pages.error)
        app = web.Application(client_max_size=MOST_BODY, middlewares=[careful(house), self._standing.unavailable])
        add = app.router
        add.add_get("/static/{version}/{name}", self._static.answer)
        add.add_get("/favicon.ico", self._static.favicon)
        add.add_get("/", self._standing.start)
        add.add_get("/lost", self._standing.lost)
        add.add_get("/language/{language}", self._standing.language)
        add.add_get("/expired", self._standing.expired)
        add.add_get("/session", self._standing.session)
        add.add_post("/session", self._standing.extend)
        add.add_post("/leave", self._standing.leave)
        for journey in JOURNEYS:
            add.add_get(f"/{journey}", self._entry.show)
            add.add_post(f"/{journey}", self._entry.enter)
        for path in STAGES:
            # HEAD would show a page that is shown once to nobody.
            add.add_get(path, self._journey.show, allow_head=False)
            add.add_post(path, self._journey.act)
        return app

    def sweep(self) -> None:
        self._desk.sweep_visits(self._sessions.bounds)
