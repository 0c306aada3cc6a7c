"""The routes of the soft token's origin: the app's files, the server's time, and a new token, so many an hour.

No answer to POST /token (issuing.py) may be stored on the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import web

from admin_web.http.security import SAFE_METHODS, SitePolicy, is_same_origin, security_middleware
from admin_web.softtoken.files import LASTING_PATHS, LOGO, VERSIONED, app_files
from admin_web.softtoken.issuing import ACTOR, Issuing, json_answer
from admin_web.softtoken.settings import SoftTokenSettings
from admin_web.softtoken.vip_access import CHECK, MOST_OCTETS, PATHS, PROVISION, VipAccess
from otp_core.accounts import Principal, PrincipalKind
from otp_core.doors import Services

MAX_BODY_BYTES = MOST_OCTETS
_log = structlog.get_logger("soft_token")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types worker"
)


class SoftTokenSite:
    """The handlers, as an HttpSite. ``settings`` is asked at every request; ``now`` gives milliseconds since the
    epoch."""

    def __init__(
        self,
        services: Services,
        settings: Callable[[], SoftTokenSettings],
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._desk, self._settings, self._now = services.desk, settings, now
        self._issuing = Issuing(services.desk, settings, now)
        self._vip_access = VipAccess(services.desk, settings, now)
        self._policy = SitePolicy(
            settings().public_origin,
            lambda: settings().trusted_proxies,
            self._error_page,
            CONTENT_SECURITY_POLICY,
            admit=self._admit,
        )

    async def _admit(self, request: web.Request) -> web.Response | None:
        """Our own pages, and the tool, which is no browser: so that no other site's page uses up tokens with the
        addresses of its visitors."""
        headers = request.headers
        is_tool = self._settings().vip_access and request.path in PATHS
        if is_tool and "Origin" not in headers and "Sec-Fetch-Site" not in headers:
            return None
        if request.method in SAFE_METHODS or is_same_origin(headers, self._policy.origin):
            return None
        return await self._error_page(request, 403)

    async def _error_page(self, _: web.Request, status: int) -> web.Response:
        """A line of text: only the app reads it, and it goes by the status. That of a wrong name is for people."""
        if status == 421:
            return web.Response(
                status=status, text=f"{self._policy.origin} で開いてください。 Open it at this address."
            )
        return web.Response(status=status, text=HTTPStatus(status).phrase)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[security_middleware(self._policy)])
        app.router.add_get("/time", self._time)
        app.router.add_post("/token", self._issuing.new_token)
        app.router.add_post(PROVISION, self._vip_access.provision)
        app.router.add_post(CHECK, self._vip_access.check)
        for path in (*LASTING_PATHS, LOGO, VERSIONED + "{version}/{name}"):
            app.router.add_get(path, self._file)
        return app

    def sweep(self) -> bool:
        """Retire some of the tokens that nobody has enrolled in time; whether there were any. Raises StoreUnavailable,
        ClockWrong."""
        days = self._settings().unclaimed_days
        retired = self._desk.issuance.retire_unclaimed(
            days, Principal(ACTOR, PrincipalKind.SYSTEM, reason=f"not enrolled in {days} days")
        )
        if retired:
            _log.info("retired tokens that nobody enrolled", tokens=retired)
        return retired > 0

    async def _file(self, request: web.Request) -> web.Response:
        file = app_files(self._settings().bank, tuple(self._policy.headers().items())).get(request.path)
        if file is None:  # of another version, or the logo where there is none
            raise web.HTTPNotFound
        if any(tag.value == file.etag for tag in request.if_none_match or ()):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=file.headers)
        return web.Response(body=file.content, headers=file.headers)

    async def _time(self, request: web.Request) -> web.Response:
        return json_answer({"now": self._now()})
