"""The routes of the soft token's origin: the app's files, the server's time, and a new token, so many an hour.

A seed leaves here once, in the answer to POST /token; nothing on the way may store that answer.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import web

from admin_web.http.security import SOURCE, SitePolicy, security_middleware
from admin_web.softtoken.files import LASTING_PATHS, LOGO, VERSIONED, app_files
from admin_web.softtoken.settings import SoftTokenSettings
from otp_core.accounts import Principal, PrincipalKind, Quota, Refused
from otp_core.clock import ClockWrong
from otp_core.doors import Services
from otp_core.model import StoreUnavailable, TokenSpec
from otp_core.store.retry import retry_while_busy

ACTOR = "soft token"
MAX_BODY_BYTES = 1024
_LOG_INTERVAL_MS = 10_000
_DAY_MS = 24 * 3600 * 1000
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
        self._refusals, self._refusal_logged_at = 0, 0
        self._policy = SitePolicy(
            settings().public_origin, lambda: settings().trusted_proxies, _error_page, CONTENT_SECURITY_POLICY
        )

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[security_middleware(self._policy)])
        app.router.add_get("/time", self._time)
        app.router.add_post("/token", self._new_token)
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
        return _json({"now": self._now()})

    async def _new_token(self, request: web.Request) -> web.Response:
        settings = self._settings()
        source = request[SOURCE]
        quota = Quota(settings.tokens_per_address, settings.tokens_per_hour)
        principal = Principal(ACTOR, PrincipalKind.ANONYMOUS, source)
        try:
            issued = await retry_while_busy(lambda: self._desk.issuance.issue_unclaimed(principal, quota))
        except Refused as refused:
            self._log_refusal(source, refused)
            raise web.HTTPTooManyRequests(headers={"Retry-After": "3600"}) from None
        except (StoreUnavailable, ClockWrong) as cause:
            _log.error("no new token", source=source, cause=str(cause))
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"}) from None
        spec = TokenSpec()
        seed = base64.b32decode(issued.secret + "=" * (-len(issued.secret) % 8))
        return _json(
            {
                "token_id": issued.token_id,
                "seed": base64.b64encode(seed).decode(),
                "digits": spec.digits,
                "period": spec.period,
                "enrol_by": self._now() + settings.unclaimed_days * _DAY_MS,
            }
        )

    def _log_refusal(self, source: str, refused: Refused) -> None:
        """At most one line in _LOG_INTERVAL_MS, with the number of refusals since the last: a flood of requests must
        not fill the log."""
        self._refusals += 1
        if self._now() < self._refusal_logged_at + _LOG_INTERVAL_MS:
            return
        _log.warning("no new token", source=source, reason=str(refused), refusals=self._refusals)
        self._refusals, self._refusal_logged_at = 0, self._now()


async def _error_page(request: web.Request, status: int) -> web.Response:
    """A line of text: only the app reads it, and it goes by the status."""
    return web.Response(status=status, text=HTTPStatus(status).phrase)


def _json(values: dict[str, object]) -> web.Response:
    return web.json_response(values, headers={"Cache-Control": "no-store"})
