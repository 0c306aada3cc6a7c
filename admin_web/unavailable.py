"""The middleware for what cannot be served now: 503 for the visitor, and a line in the log with the cause."""

from __future__ import annotations

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from admin_web.http.security import logged_path
from otp_core.accounts import Refused
from otp_core.clock import ClockWrong
from otp_core.model import BackendSilent


def unavailable(site: str) -> Middleware:
    """The middleware of a site; ``site``: its name in the log."""
    log = structlog.get_logger(site)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (BackendSilent, ClockWrong, Refused) as cause:
            log.error("a page cannot be served", path=logged_path(request), cause=str(cause))
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"}) from None

    return middleware
