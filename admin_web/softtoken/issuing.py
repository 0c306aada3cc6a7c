"""POST /token: a new token for the app that asks, so many an hour; the same key gets the same token again.

A seed leaves here in this answer alone; nothing on the way may store it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping

import structlog
from aiohttp import web

from admin_web.http.security import SOURCE, form_of
from admin_web.softtoken.settings import SoftTokenSettings
from otp_core.accounts import Desk, IssuanceRequest, Principal, PrincipalKind, Quota, Refusal, Refused
from otp_core.clock import ClockWrong
from otp_core.model import StoreUnavailable, TokenSpec
from otp_core.store.retry import retry_while_busy

ACTOR = "soft token"
LEAST_KEY_OCTETS, MOST_KEY_OCTETS = 16, 64
_LOG_INTERVAL_MS = 10_000
_DAY_MS = 24 * 3600 * 1000
_log = structlog.get_logger("soft_token")


class Issuing:
    """The handler of POST /token. ``settings`` is asked at every request; ``now`` gives milliseconds since the
    epoch."""

    def __init__(self, desk: Desk, settings: Callable[[], SoftTokenSettings], now: Callable[[], int]) -> None:
        self._desk, self._settings, self._now = desk, settings, now
        self._refusals, self._refusal_logged_at = 0, 0

    async def new_token(self, request: web.Request) -> web.Response:
        """A form with ``key`` (Base64url, 16 to 64 octets) and ``ticket``, or without them, is answered with the token
        as JSON. Status 400: no such key; 410: the key has had its token; 429: too many; 503: not now."""
        settings, source = self._settings(), request[SOURCE]
        wanted = request_of(await form_of(request))
        quota = Quota(settings.tokens_per_address, settings.tokens_per_hour)
        principal = Principal(ACTOR, PrincipalKind.ANONYMOUS, source)
        try:
            issued = await retry_while_busy(lambda: self._desk.issuance.issue_unclaimed(principal, quota, wanted))
        except Refused as refused:
            self._log_refusal(source, refused)
            if refused.refusal is Refusal.REQUEST_USED_UP:
                raise web.HTTPGone from None
            raise web.HTTPTooManyRequests(headers={"Retry-After": "3600"}) from None
        except (StoreUnavailable, ClockWrong) as cause:
            _log.error("no new token", source=source, cause=str(cause))
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"}) from None
        spec = TokenSpec()
        return json_answer(
            {
                "token_id": issued.token_id,
                "seed": base64.b64encode(issued.seed).decode(),
                "digits": spec.digits,
                "period": spec.period,
                "enrol_by": issued.issued_at + settings.unclaimed_days * _DAY_MS,
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


def request_of(form: Mapping[str, str]) -> IssuanceRequest:
    """What the app asks for. Raises HTTPBadRequest for a key that is no Base64url, too short or too long."""
    text, ticket = form.get("key", ""), form.get("ticket", "")
    return IssuanceRequest(key_of(text) if text else None, ticket)


def key_of(text: str) -> bytes:
    """The key of a request, which gets the same token again. Raises HTTPBadRequest as ``request_of`` does."""
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not LEAST_KEY_OCTETS <= len(key) <= MOST_KEY_OCTETS:
        raise web.HTTPBadRequest
    return key


def json_answer(values: dict[str, object]) -> web.Response:
    """JSON that no cache keeps."""
    return web.json_response(values, headers={"Cache-Control": "no-store"})
