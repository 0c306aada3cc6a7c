"""The process that serves [metrics]: /metrics, /healthz and /readyz, for programs that watch, on an internal network.

It is a process of its own: whoever asks too much stops nothing but this, and what a browser sends to the customers'
pages cannot stop it. It answers no login and writes nothing to the store.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import NamedTuple

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from admin_web.http.acceptor import bind_tcp
from admin_web.http.connection_limits import connection_of
from admin_web.http.section import HttpSection
from admin_web.http.security import SECURITY_HEADERS
from admin_web.http.server import Listener
from otp_core.kernel_clock import KernelClock
from otp_core.settings import MetricsSettings
from otp_core.store.engines import store_file
from otp_core.store.sqlite import driver
from sekisho.heartbeat import Heartbeat
from sekisho.metrics import families as f
from sekisho.metrics.board import Board, Figures, Key, Slot
from sekisho.metrics.certificate_look import CertificateLook
from sekisho.metrics.page import CONTENT_TYPE, page
from sekisho.metrics.store_look import StoreLook
from sekisho.outlets import outlets
from sekisho.settings import Settings
from sekisho.standstill import STANDS_STILL
from sekisho.supervisor import SIGNALS, take_no_more_signals
from sekisho.wiring import open_store

NAME = "metrics"
MAX_CONNECTIONS = 64
ANSWER_SECONDS = 3.0
"""How long a process may take to say whether a login could be answered."""

AGAIN_SECONDS = 1.0
"""The processes are asked at most so often; whoever asks more gets the last answer."""

_POLL_SECONDS = 0.05
"""Other processes answer in shared memory: there is no event to wait for."""

_METHODS = ("GET", "HEAD")
_log = structlog.get_logger("metrics")


class Watched(NamedTuple):
    """One process of the server. ``answers``: it answers logins. ``essential``: see supervisor.Role."""

    name: str
    heartbeat: Heartbeat
    slot: Slot
    answers: bool
    essential: bool

    def is_up(self, now: float) -> bool:
        """Whether it serves and shows life. ``now``: time.monotonic()."""
        return self.heartbeat.ready and now < self.heartbeat.at + STANDS_STILL


def try_to_bind(section: MetricsSettings) -> None:
    """Whether the address can be had, before anything starts. Raises OSError, whose text names it."""
    bind_tcp(section.listen, shared=False).close()


class MetricsServer:
    """``watched``: all processes but this one. ``heartbeat``: its own. ``node``: what this server is called now."""

    def __init__(
        self,
        settings: Settings,
        board: Board,
        watched: Sequence[Watched],
        heartbeat: Heartbeat,
        node: Callable[[], str],
    ) -> None:
        assert settings.metrics is not None
        self._listen, self._board, self._watched, self._heartbeat = settings.metrics.listen, board, watched, heartbeat
        self._look = StoreLook(
            lambda: open_store(settings, busy_seconds=1.0),
            store_file(settings.store.address),
            sealed=settings.audit is not None,
            outlets_of=lambda store: outlets(settings, store),
            node=node,
        )
        self._node = node
        self._certificates = CertificateLook(settings.certificates)
        self._lock = asyncio.Lock()
        self._asked_at, self._reasons, self._remarks = float("-inf"), list[str](), list[str]()

    async def serve(self) -> int:
        """Until SIGTERM or SIGINT; returns the exit code. Raises OSError if it cannot listen."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._heartbeat.has_reloaded)  # its section waits for a restart
        section = HttpSection(listen=self._listen, public_origin="http://localhost")
        listener = Listener(NAME, self._listen, section, MAX_CONNECTIONS)
        beating = loop.create_task(self._heartbeat.keep())
        try:
            await listener.open(self.application(), shared=False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._heartbeat.is_ready()
            _log.info("ready", role=NAME, pid=os.getpid())
            await stop.wait()
        finally:
            beating.cancel()
            await listener.close()
            self._look.close()
            take_no_more_signals()
        return 0

    def application(self) -> web.Application:
        """The three pages; anything else is 404, any other method 405."""

        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._answer(request)

        # No route: aiohttp answers by itself, under its own name, to what no route can match (OPTIONS *, CONNECT).
        return web.Application(client_max_size=1024, middlewares=[answer])

    async def _answer(self, request: web.Request) -> web.Response:
        connection = connection_of(request)
        if connection is not None:
            connection.request_complete()
        response = await self._response(request)
        response.headers.update(SECURITY_HEADERS)
        response.headers["Cache-Control"] = "no-store"
        if request.body_exists:
            response.force_close()  # nobody reads it
        if connection is not None:
            connection.answered()
        return response

    async def _response(self, request: web.Request) -> web.Response:
        if request.method not in _METHODS:
            return web.Response(status=405, text="Method Not Allowed\n", headers={"Allow": ", ".join(_METHODS)})
        match request.rel_url.raw_path:
            case "/metrics":
                return web.Response(body=await self.metrics(), headers={"Content-Type": CONTENT_TYPE})
            case "/healthz":
                return web.Response(text="ok\n")
            case "/readyz":
                return await self._readiness()
        return web.Response(status=404, text="Not Found\n")

    async def metrics(self) -> bytes:
        """The page of all figures."""
        gauges, counts = dict(await self._look.figures()), dict[Key, list[float]]()
        now = time.monotonic()
        gauges.update(self._certificates.figures())
        gauges[f.BUILD, version("sekisho"), driver.NAME] = 1.0
        gauges[f.NODE, self._node()] = 1.0
        gauges[f.SYNCHRONISED,] = float(KernelClock().synchronised())
        for one in self._watched:
            up, restarts = (f.UP, one.name), (f.RESTARTS, one.name)
            gauges[up] = gauges.get(up, 0.0) + one.is_up(now)
            counts[restarts] = [counts.get(restarts, [0.0])[0] + max(0, one.heartbeat.starts - 1)]
        return page([self._figures(one, now) for one in self._watched], gauges, counts)

    @staticmethod
    def _figures(one: Watched, now: float) -> Figures:
        """Its counts stay when it is gone; what was true of it at that moment is not."""
        figures = one.slot.read()
        return figures if one.is_up(now) else figures._replace(gauges={})

    async def _readiness(self) -> web.Response:
        async with self._lock:
            if time.monotonic() >= self._asked_at + AGAIN_SECONDS:
                self._reasons, self._remarks = await self._ask()
                self._asked_at = time.monotonic()
        text = json.dumps({"ready": not self._reasons, "reasons": self._reasons, "remarks": self._remarks}, indent=1)
        return web.Response(status=503 if self._reasons else 200, text=text + "\n", content_type="application/json")

    async def _ask(self) -> tuple[list[str], list[str]]:
        """Let every process that answers logins try whether it could answer one. What keeps logins from being answered;
        what is wrong beside that."""
        asked_at = self._board.ask()
        until = asked_at + ANSWER_SECONDS
        asked = [one for one in self._watched if one.answers]
        while time.monotonic() < until and any(one.slot.read().probed_at < asked_at for one in asked):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        reasons, remarks = list[str](), list[str]()
        for one in self._watched:
            (reasons if one.essential else remarks).extend(self._wrong(one, asked_at))
        return list(dict.fromkeys(reasons)), list(dict.fromkeys(remarks))

    @staticmethod
    def _wrong(one: Watched, asked_at: float) -> list[str]:
        if not one.heartbeat.ready:
            return [f"{one.name}: a process has not opened its doors"]
        if not one.is_up(time.monotonic()):
            return [f"{one.name}: a process stands still"]
        figures = one.slot.read()
        if one.answers and figures.probed_at < asked_at:
            return [f"{one.name}: a process does not say in {ANSWER_SECONDS:g} s whether a login could be answered"]
        return [f"{one.name}: {figures.cause}"] if one.answers and figures.cause else []
