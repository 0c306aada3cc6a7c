"""The security middleware of every site: client address, same-origin check, body limits, headers, error pages, log.

It is the outermost middleware of a site's ``web.Application``. It knows no page and no session, and never logs a query
string, a form field or a cookie.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest
from time import perf_counter
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from admin_web.http.client_address import client_address, is_in
from admin_web.http.connection_limits import BODY_SECONDS, LimitedConnection, connection_of
from admin_web.http.host import is_own_host
from admin_web.http.rare_log import RareLog
from otp_core.settings.values import AnyNetwork

MAX_BODY_BYTES = 16 * 1024
"""The largest form; a site gives it to ``web.Application`` as ``client_max_size``, or a smaller one."""

MAX_FIELDS, MAX_FIELD = 20, 1024
"""Fields of a form, and characters of one: more than any page of ours sends. They are bounded here, before anybody
normalises, hashes or stores them."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of a site of server-rendered pages."""

SECURITY_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Not no-referrer: with that, browsers send "Origin: null" with a form (Fetch, "append a request Origin header").
    "Referrer-Policy": "same-origin",
    "Server": "Sekisho",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""

SOURCE: web.RequestKey[str] = web.RequestKey("source", str)
"""The client's IP address, trusted proxies left out; set before any handler runs."""

LONGEST_LOGGED = 200
"""Characters of a path in the log."""

SECRET_PATH = "/welcome/"
"""What follows it in a path is a secret: the one exception to "no secret in a URL"."""

DOUBT_SECONDS = 3600.0
"""Between two log lines about one reason to doubt the client's address."""

_NOBODY = "0.0.0.0"  # noqa: S104  no address to listen at: that of a connection which ended before it was looked at
_HSTS = "max-age=31536000; includeSubDomains"
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_log = structlog.get_logger("http")

ErrorPage = Callable[[web.Request, int], Awaitable[web.Response]]
"""Makes the page of an error from the request and the HTTP status."""

Admit = Callable[[web.Request], Awaitable[web.Response | None]]
"""The answer to a request that is not admitted, given before its body is read; None: it is admitted."""


class Names(StrEnum):
    """Under which names a site is served to whoever is no trusted proxy; a proxy's own settings say which it hands
    over. To any other, 421 (RFC 9110 section 15.5.20)."""

    OWN = "the host of its origin, an IP address, localhost, or none at all"
    ANY = "any"


_OTHER_NAME = (
    "somebody asked under another name than that of public_origin and was answered with 421: if this is your proxy, "
    "write its address into trusted_proxies; if it is a monitor, let it send the Host of public_origin"
)


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """What the middleware has to know of a site.

    ``origin``: scheme, host and port as browsers see them, from the settings. ``trusted_proxies``: asked at every
    request, so that a reload takes effect. ``content_security_policy``: the header, unless an answer brings its own.
    ``names``: under which it is served. ``admit``: who may ask, in the place of the same-origin check, for a site that
    no cookie opens. ``path_for_log``: what the log has of a path. ``is_told_elsewhere``: whether another line of the
    log tells of what was answered, if anybody wants one. ``reads_itself``: whether the handler of this request reads
    the body, within limits and a time of its own.
    """

    origin: str
    trusted_proxies: Callable[[], tuple[AnyNetwork, ...]]
    error_page: ErrorPage
    content_security_policy: str = PAGE_POLICY
    names: Names = Names.OWN
    admit: Admit | None = None
    path_for_log: Callable[[web.Request], str] = lambda request: logged_path(request)
    is_told_elsewhere: Callable[[web.Request, web.StreamResponse], bool] = lambda request, response: False
    reads_itself: Callable[[web.Request], bool] = lambda request: False

    def headers(self) -> dict[str, str]:
        """What every answer carries, unless it brings a Content-Security-Policy of its own."""
        hsts = {"Strict-Transport-Security": _HSTS} if self.origin.startswith("https:") else {}
        return {**SECURITY_HEADERS, "Content-Security-Policy": self.content_security_policy, **hsts}


def security_middleware(policy: SitePolicy) -> Middleware:
    """The middleware of a site. In this order: the client's address, the host's name, the same-origin check, the whole
    body in time, the handler, error pages, headers, one log line for each request."""

    log = RareLog("http", time.monotonic, DOUBT_SECONDS)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection, started = connection_of(request), perf_counter()
        if connection is not None:
            connection.request_begun()
        request[SOURCE] = _client_of(request, policy, log)
        if _is_named(request, policy):
            response = await _answer(policy, request, handler, connection)
        else:
            log.warn(_OTHER_NAME, peer=request.remote, origin=policy.origin)
            response = await policy.error_page(request, 421)
            response.force_close()  # its body is not read
        _add_headers(policy, response)
        say = _log.debug if _is_file(request, response) or policy.is_told_elsewhere(request, response) else _log.info
        say(
            "request",
            method=request.method,
            path=policy.path_for_log(request),
            status=response.status,
            source=request[SOURCE],
            ms=round((perf_counter() - started) * 1000, 1),
        )
        if connection is not None:
            connection.answered()
        return response

    return middleware


def _is_file(request: web.Request, response: web.StreamResponse) -> bool:
    """Whether this is a style sheet, a picture or a script that a page has: a dozen of them for one click."""
    return (
        request.method in ("GET", "HEAD")
        and response.status in (200, 206, 304)
        and (response.content_type != "text/html")
    )


def logged_path(request: web.BaseRequest) -> str:
    """The path of a request for the log: percent-encoded as it was sent, so that it holds nothing which ends a line or
    turns one round, and no longer than a path of ours. Nothing that follows SECRET_PATH."""
    before, secret, _ = request.rel_url.raw_path.partition(SECRET_PATH)
    return (before + secret)[:LONGEST_LOGGED]


def is_same_origin(headers: Mapping[str, str], origin: str) -> bool:
    """Whether a page of ``origin`` sent this request: by Sec-Fetch-Site (W3C Fetch Metadata), or by Origin (RFC 6454
    section 7) where a browser sends no fetch metadata. A request with neither is refused."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return headers.get("Origin") == origin


async def form_of(request: web.Request, longest: int = MAX_FIELD) -> dict[str, str]:
    """The fields of a form as our pages send it: URL-encoded UTF-8, whatever charset the request claims. Of several
    fields of one name the first counts. A body of any other type has no fields. Raises HTTPRequestEntityTooLarge for
    more than MAX_FIELDS, or one of more than ``longest`` characters."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    text = (await request.read()).decode("utf-8", "replace")
    try:
        sent = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise _too_large(len(text)) from None
    fields: dict[str, str] = {}
    for name, value in sent:
        if max(len(name), len(value)) > longest:
            raise _too_large(len(text))
        fields.setdefault(name, value)
    return fields


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ. ``one`` may hold anything:
    ``compare_digest`` alone refuses text that is not ASCII."""
    return compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _too_large(size: int) -> web.HTTPRequestEntityTooLarge:
    return web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, size)


def _client_of(request: web.Request, policy: SitePolicy, log: RareLog) -> str:
    """The client's IP address. Says what makes it doubtful: once in a while, because strangers can cause it."""
    peer, headers = request.remote or _NOBODY, request.headers
    found = client_address(
        peer, headers.getall("X-Forwarded-For", []), policy.trusted_proxies(), forwarded="Forwarded" in headers
    )
    if found.doubt is not None:
        log.warn(found.doubt, peer=peer, origin=policy.origin)
    return found.address


def _is_named(request: web.Request, policy: SitePolicy) -> bool:
    """Whether the request asks under a name of the site, or comes from a trusted proxy. The style of the page that says
    no is served under every name."""
    if policy.names is Names.ANY or request.path.startswith("/static/"):
        return True
    if is_own_host(request.headers.getall("Host", []), policy.origin):
        return True
    return is_in(request.remote or _NOBODY, policy.trusted_proxies())


async def _answer(
    policy: SitePolicy, request: web.Request, handler: Handler, connection: LimitedConnection | None
) -> web.StreamResponse:
    try:
        if (refused := await _refused(policy, request)) is not None:
            return refused
        if request.method not in SAFE_METHODS and not policy.reads_itself(request):
            if is_whole(request):
                await _read_body(request)
            else:
                async with asyncio.timeout(BODY_SECONDS):
                    await _read_body(request)
        if connection is not None:
            connection.request_complete()
        return await handler(request)
    except TimeoutError:
        response = await policy.error_page(request, 408)
        response.force_close()
        return response
    except web.HTTPException as error:
        if error.status < 400:
            return error
        response = await policy.error_page(request, error.status)
        for name in ("Allow", "Retry-After"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
        return response
    except Exception:
        _log.exception("an answer could not be made", method=request.method, path=policy.path_for_log(request))
        return await policy.error_page(request, 500)


async def _refused(policy: SitePolicy, request: web.Request) -> web.Response | None:
    """The answer to a request that is not admitted."""
    if policy.admit is not None:
        return await policy.admit(request)
    if request.method in SAFE_METHODS or is_same_origin(request.headers, policy.origin):
        return None
    return await policy.error_page(request, 403)


def is_whole(request: web.Request) -> bool:
    """Whether the body is here already: to read it takes no time."""
    return request.content.is_eof()


async def _read_body(request: web.Request) -> None:
    """Read the whole body; the request keeps it. Raises HTTPBadRequest if it breaks off or its chunks are malformed;
    HTTPRequestEntityTooLarge, before any of it has come where its length is announced."""
    if (request.content_length or 0) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size, request.content_length or 0)
    try:
        await request.read()
    except (web.RequestPayloadError, ConnectionError):
        raise web.HTTPBadRequest from None


def _add_headers(policy: SitePolicy, response: web.StreamResponse) -> None:
    headers, own_policy = policy.headers(), response.headers.get("Content-Security-Policy")
    response.headers.update(headers if own_policy is None else {**headers, "Content-Security-Policy": own_policy})
    response.headers.setdefault("Cache-Control", "no-store")
