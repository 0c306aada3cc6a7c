"""What the soft token's origin answers: the app's files, the time, and a new token for whoever asks, so many an hour.

A seed leaves here once, in the answer to the POST, and is never to be kept by anything on the way.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import web

from admin_web.http.server import SOURCE, SitePolicy, security_middleware
from admin_web.softtoken.files import app_files
from admin_web.softtoken.settings import SoftTokenSettings
from otp_core.accounts import Desk, Principal, Quota, Refused
from otp_core.clock import ClockSetBack
from otp_core.model import StoreUnavailable, TokenSpec

ACTOR = "soft token"
MOST_BYTES = 1024
_TELL_MS = 10_000
_DAY_MS = 24 * 3600 * 1000
_log = structlog.get_logger("soft_token")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types worker"
)


class SoftTokenSite:
    """The handlers. ``now`` gives milliseconds since the epoch; ``settings`` is asked at every request."""

    def __init__(
        self,
        desk: Desk,
        settings: Callable[[], SoftTokenSettings],
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._desk, self._settings, self._now = desk, settings, now
        self._files = app_files()
        self._refusals, self._told_at = 0, 0

    def application(self) -> web.Application:
        policy = SitePolicy(self._settings().public_origin, lambda: self._settings().trusted_proxies, _error, POLICY)
        app = web.Application(client_max_size=MOST_BYTES, middlewares=[security_middleware(policy)])
        app.router.add_get("/time", self._time)
        app.router.add_post("/token", self._token)
        for path in self._files:
            app.router.add_get(path, self._file)
        return app

    async def _file(self, request: web.Request) -> web.Response:
        file = self._files[request.path]
        # Asked for again each time, so that a new version is found at once; mostly the answer is "not changed".
        headers = {"Cache-Control": "no-cache", "ETag": f'"{file.etag}"'}
        if any(tag.value == file.etag for tag in request.if_none_match or ()):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.Response(body=file.content, headers=headers | {"Content-Type": file.content_type})

    async def _time(self, request: web.Request) -> web.Response:
        return _json({"now": self._now()})

    async def _token(self, request: web.Request) -> web.Response:
        settings = self._settings()
        source = request[SOURCE]
        quota = Quota(settings.tokens_per_address, settings.tokens_per_hour)
        try:
            issued = self._desk.issue_unclaimed(Principal(ACTOR, source), quota)
        except Refused as refused:
            self._tell(source, refused)
            raise web.HTTPTooManyRequests(headers={"Retry-After": "3600"}) from None
        except (StoreUnavailable, ClockSetBack) as cause:
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

    def _tell(self, source: str, refused: Refused) -> None:
        """Now and then: a flood of requests is no flood of lines."""
        self._refusals += 1
        if self._now() < self._told_at + _TELL_MS:
            return
        _log.warning("no new token", source=source, reason=str(refused), refusals=self._refusals)
        self._refusals, self._told_at = 0, self._now()


async def _error(request: web.Request, status: int) -> web.Response:
    """A line of text: nobody reads it but the app, and that goes by the number."""
    return web.Response(status=status, text=HTTPStatus(status).phrase)


def _json(values: dict[str, object]) -> web.Response:
    return web.json_response(values, headers={"Cache-Control": "no-store"})
