"""The HTTP listener of every site: one TCP address, limits for connections and requests, TLS by files. Knows no page.

A site makes its ``web.Application`` with the security middleware (security.py) outermost; HttpDoor (door.py) gives it
to a ``Listener``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web

from admin_web.http.acceptor import Acceptor, bind_tcp
from admin_web.http.client_address import is_in
from admin_web.http.connection_limits import ConnectionLimiter, LimitedConnection, connections_within_files
from admin_web.http.section import HttpSection
from admin_web.http.security import SECURITY_HEADERS
from otp_core.settings import Address, Problem
from otp_core.settings.reload import take_over

MAX_CONNECTIONS = 1000
"""Connections at once, for a site that has no setting for it."""

MAX_LINE, MAX_HEADER = 4096, 8192
"""Octets of a request's first line, and of one of its header fields."""

_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_RESTART_KEYS = ("tls_certificate", "tls_key")
_log = structlog.get_logger("http")


class Listener:
    """One TCP address, with TLS where the section names its files. ``door``: its name in the log."""

    def __init__(self, door: str, listen: Address, section: HttpSection, max_connections: int) -> None:
        self._door, self._listen, self._section, self._max_connections = door, listen, section, max_connections
        self._runner: web.AppRunner | None = None
        self._acceptor: Acceptor | None = None
        self._tls: ssl.SSLContext | None = None

    async def open(self, app: web.Application, *, shared: bool) -> None:
        """Listen and serve ``app``. ``shared``: other workers listen at the same address (SO_REUSEPORT). Raises OSError
        for an address that is taken and for TLS files that cannot be used."""
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=5)
        await self._runner.setup()
        manager = self._runner.server
        assert manager is not None
        manager.request_handler = _known_requests(manager.request_handler)
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,  # our pages never send a compressed form
            "keepalive_timeout": 30,
            "max_line_size": MAX_LINE,
            "max_field_size": MAX_HEADER,
        }
        try:
            self._tls = tls_context(self._section)
            listening = bind_tcp(self._listen, shared=shared)
        except OSError:
            await self.close()
            raise
        limiter = ConnectionLimiter(self._door, self._most_connections(), self._is_proxy, loop)
        self._acceptor = Acceptor(
            listening,
            limiter,
            lambda: LimitedConnection(limiter, _HttpProtocol(manager, loop=loop, **options)),
            self._tls,
        )
        host, port = listening.getsockname()[:2]
        _log.info("listening", door=self._door, at=str(Address(host, port)), tls=self._tls is not None)

    def _most_connections(self) -> int:
        most = connections_within_files(self._max_connections)
        if most < self._max_connections:
            _log.warning(
                "fewer connections than the settings allow: raise the limit of open files (LimitNOFILE, ulimit -n)",
                door=self._door,
                at_once=most,
                wanted=self._max_connections,
            )
        return most

    def reload(self, section: HttpSection) -> None:
        """Use other proxies from the next request on, and a renewed certificate from the next connection on. Other
        names of the TLS files wait for a restart."""
        self._section = take_over(self._door, self._section, section, _RESTART_KEYS)
        if self._tls is not None:
            try:
                self._tls.load_cert_chain(self._section.tls_certificate or "", self._section.tls_key)
            except OSError as error:
                _log.error("the certificate was not renewed: the old one stays", door=self._door, cause=str(error))

    async def close(self) -> None:
        """Accept no new connection, and answer the requests under way."""
        if self._acceptor is not None:
            await self._acceptor.close()
            self._acceptor = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _is_proxy(self, address: str) -> bool:
        return is_in(address, self._section.trusted_proxies)


class _HttpProtocol(web.RequestHandler):
    """Speaks HTTP. For a request that it cannot read it logs one line and answers with a bare 400: aiohttp would log a
    traceback with the offending header in it, which may be a cookie, and answer under its own name."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's hook for a request that raised an error before any handler saw it."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        _log.info("a request could not be read", source=request.remote, status=status)
        return _bare(status, "Bad Request")


def _bare(status: int, text: str) -> web.Response:
    """An answer to a request that no site was asked about; the connection ends with it."""
    response = web.Response(status=status, text=text, headers={**SECURITY_HEADERS, "Cache-Control": "no-store"})
    response.force_close()
    return response


def _known_requests(handler: _Handle) -> _Handle:
    """Answers 400 to a request of a version that is not spoken here: aiohttp takes HTTP/0.9 and 2.0 for one of ours.
    Answers 417 to what a request expects and is not 100-continue (RFC 9110 section 10.1.1): aiohttp repeats the header
    in its own answer, before any middleware, and fails where it is not UTF-8."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.version not in (HttpVersion10, HttpVersion11):
            return _bare(400, "Bad Request")
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            return _bare(417, "Expectation Failed")
        return await handler(request)

    return handle


def tls_context(section: HttpSection) -> ssl.SSLContext | None:
    """A server's context for TLS 1.2 or newer, or None where the section names no files. Raises OSError for files that
    cannot be used."""
    if section.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(section.tls_certificate, section.tls_key)
    return context


def tls_problems(name: str, section: HttpSection) -> list[Problem]:
    """What is wrong with the certificate and key of the section ``name``, for `config check`."""
    try:
        tls_context(section)
    except OSError as error:
        text = f"cannot be used with {name}.tls_key: {error.strerror or error}"
        return [Problem("", f"{name}.tls_certificate", text)]
    return []
