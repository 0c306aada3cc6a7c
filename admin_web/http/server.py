"""An HTTP listener with bounds, for every web door: connections, sizes, slow clients, TLS by files. It knows no page.

A door makes its ``web.Application`` with ``security_middleware`` outermost and gives it to a ``Listener``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from admin_web.http.client_address import client_address, is_our_page
from admin_web.http.connection_limits import BODY_SECONDS, ConnectionLimiter, LimitedConnection, connection_of
from admin_web.http.section import HttpSection
from otp_core.settings import Address, Problem
from otp_core.settings.values import AnyNetwork

MOST_BODY = 16 * 1024
MOST_LINE, MOST_FIELD = 4096, 8192
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_log = structlog.get_logger("http")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Server": "Sekisho",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HSTS = "max-age=31536000; includeSubDomains"

SOURCE: web.RequestKey[str] = web.RequestKey("source", str)
"""The address that a request came from, proxies left out."""

ErrorPage = Callable[[web.Request, int], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """What the middleware has to know of a door. ``policy``: its Content-Security-Policy."""

    origin: str
    trusted: Callable[[], tuple[AnyNetwork, ...]]
    error_page: ErrorPage
    policy: str = PAGE_POLICY


def security_middleware(policy: SitePolicy) -> Middleware:
    """The outermost middleware: who asks, whether our own page does, the whole body in time, headers, error pages, one
    log line a request. Nothing of a query or a form is ever logged."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        guard, started = connection_of(request), perf_counter()
        if guard is not None:
            guard.rest()
        request[SOURCE] = client_address(
            request.remote or "", request.headers.getall("X-Forwarded-For", []), policy.trusted()
        )
        response = await _answer(policy, request, handler)
        response.headers.update(_HEADERS)
        response.headers.setdefault("Content-Security-Policy", policy.policy)
        response.headers.setdefault("Cache-Control", "no-store")
        if policy.origin.startswith("https:"):
            response.headers["Strict-Transport-Security"] = _HSTS
        _log.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status,
            source=request[SOURCE],
            ms=round((perf_counter() - started) * 1000, 1),
        )
        if guard is not None:
            guard.expect()
        return response

    return middleware


async def _answer(policy: SitePolicy, request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.method not in _SAFE:
            if not is_our_page(request.headers, policy.origin):
                return await policy.error_page(request, 403)
            async with asyncio.timeout(BODY_SECONDS):
                await _whole_body(request)
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
        _log.exception("an answer could not be made", method=request.method, path=request.path)
        return await policy.error_page(request, 500)


async def _whole_body(request: web.Request) -> None:
    """The body, kept by the request. Raises HTTPBadRequest if it cannot be had: it breaks off, or its
    chunks are none."""
    try:
        await request.read()
    except (web.RequestPayloadError, ConnectionError):
        raise web.HTTPBadRequest from None


async def form_of(request: web.Request) -> dict[str, str]:
    """The fields of a form as our pages send it, UTF-8 whatever it says; the first of a name counts. Anything else has
    no fields."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    text = (await request.read()).decode("utf-8", "replace")
    fields: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        fields.setdefault(name, value)
    return fields


class _HttpProtocol(web.RequestHandler):
    """Speaks HTTP. What it cannot read is a line in the log and a bare 400: aiohttp would log a traceback with the
    offending header in it, be that a cookie, and send it back under its own name."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        _log.info("a request could not be read", source=request.remote, status=status)
        response = web.Response(status=status, text="Bad Request", headers={**_HEADERS, "Cache-Control": "no-store"})
        response.force_close()
        return response


class Listener:
    """One TCP address that is listened at. TLS where the section names its files."""

    def __init__(self, door: str, listen: Address, section: HttpSection, most_connections: int = 1000) -> None:
        self._door, self._listen, self._section, self._most = door, listen, section, most_connections
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None

    async def open(self, app: web.Application, *, shared: bool) -> None:
        """Raises OSError."""
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=5)
        await self._runner.setup()
        manager = self._runner.server
        assert manager is not None
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,  # no page of ours compresses a form
            "keepalive_timeout": 30,
            "max_line_size": MOST_LINE,
            "max_field_size": MOST_FIELD,
        }
        limiter = ConnectionLimiter(self._most, self._is_proxy)
        self._tls = tls_of(self._section)
        try:
            self._server = await loop.create_server(
                lambda: LimitedConnection(limiter, _HttpProtocol(manager, loop=loop, **options)),
                self._listen.host,
                self._listen.port,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else limiter.seconds,
                reuse_port=shared or None,
            )
        except OSError:
            await self.close()
            raise
        host, port = self._server.sockets[0].getsockname()[:2]
        _log.info("listening", door=self._door, at=str(Address(host, port)), tls=self._tls is not None)

    def reload(self, section: HttpSection) -> None:
        """Other proxies from the next request on, a renewed certificate from the next connection on."""
        files = {name: getattr(self._section, name) for name in ("tls_certificate", "tls_key")}
        for name, before in files.items():
            if getattr(section, name) != before:
                _log.warning("a changed setting waits for a restart", setting=f"{self._door}.{name}")
        self._section = section.model_copy(update=files)
        if self._tls is not None:
            try:
                self._tls.load_cert_chain(self._section.tls_certificate or "", self._section.tls_key)
            except OSError as error:
                _log.error("the certificate was not renewed: the old one stays", door=self._door, cause=str(error))

    async def close(self) -> None:
        """Nobody new, and those inside are answered."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _is_proxy(self, address: str) -> bool:
        return bool(address) and any(ip_address(address) in network for network in self._section.trusted_proxies)


def tls_of(section: HttpSection) -> ssl.SSLContext | None:
    """A server's context, TLS 1.2 or newer. Raises OSError for files that cannot be used."""
    if section.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(section.tls_certificate, section.tls_key)
    return context


def tls_problems(name: str, section: HttpSection) -> list[Problem]:
    """What is wrong with a section's certificate and key, for `config check`."""
    try:
        tls_of(section)
    except OSError as error:
        text = f"cannot be used with {name}.tls_key: {error.strerror or error}"
        return [Problem("", f"{name}.tls_certificate", text)]
    return []
