"""Servers of several versions of the soft token behind one origin, as while a bank upgrades its nodes.

``Balancer`` is the origin; it decides for each request which server answers, or answers itself. ``VersionServer`` is a
real server with a changed copy of the app.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import admin_web
from tests.sekisho import Sekisho, free_port

HTML = b"<!doctype html><title>Wi-Fi</title><p>Please log in to this network."


class VersionServer(Sekisho):
    """A server whose soft token is that of this checkout, with ``changes`` by file name: a text to replace in the
    file, and its replacement. ``release`` is what its page says in <html data-release>; empty: unchanged."""

    def __init__(
        self, folder: Path, origin: str, release: str = "", changes: Mapping[str, tuple[str, str]] = {}
    ) -> None:
        folder.mkdir()
        self.release = release
        self.port_of_pages = free_port()
        section = (
            f'[soft_token]\nlisten = "127.0.0.1:{self.port_of_pages}"\npublic_origin = "{origin}"\n'
            "tokens_per_address = 100000\ntokens_per_hour = 100000\n"
        )
        environment = {}
        if release:
            copy = folder / "code" / "admin_web"
            shutil.copytree(Path(admin_web.__path__[0]), copy)
            _change(copy / "softtoken", release, changes or {})
            environment = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(copy.parent)}
        super().__init__(folder, more=section, environment=environment)
        self.start()

    def paths(self) -> list[str]:
        """All that its worker keeps, the worker, and a path for the page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port_of_pages, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/sw.js")
            worker = connection.getresponse().read().decode()
        return [*re.findall(r'"(/[^"]*)": "[0-9a-f]{64}"', worker), "/sw.js"]


def _change(site: Path, release: str, changes: Mapping[str, tuple[str, str]]) -> None:
    """Every file and the policy differ, and so does the name of an export: modules of two versions do not fit."""
    for file in (site / "static").iterdir():
        text = file.read_bytes()
        if file.suffix == ".js":
            text = text.replace(b"showScreen", b"showScreen" + release.encode())
        file.write_bytes(text + (b"\n/* another release */\n" if file.suffix in (".js", ".css") else b"\n"))
    _replace(site / "static" / "index.html", "<html lang", f'<html data-release="{release}" lang')
    _replace(site / "static" / "sw.js", "PAUSE_MS = 250", "PAUSE_MS = 2")
    _replace(site / "site.py", "form-action 'none'", f"form-action https://{release}.example")
    for name, (text_, other) in changes.items():
        _replace(site / "static" / name, text_, other)


def _replace(file: Path, text: str, other: str) -> None:
    before = file.read_text()
    assert text in before, (file, text)
    file.write_text(before.replace(text, other))


Route = Callable[[str], "VersionServer | bytes | int"]


class Balancer(ThreadingHTTPServer):
    """The origin. ``route`` gives the server that answers a path, or the body of an HTML page with status 200, or the
    status of one; it may take its time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.origin = f"http://localhost:{self.server_port}"
        self.route: Route
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Balancer

    def do_GET(self) -> None:
        """Any request; the name is what http.server calls."""
        self.server.asked.append(self.path)
        chosen = self.server.route(self.path.partition("?")[0])
        if isinstance(chosen, bytes):
            self._send(200, [("Content-Type", "text/html")], chosen)
        elif isinstance(chosen, int):
            self._send(chosen, [("Content-Type", "text/html"), ("Location", "/login")], HTML)
        else:
            self._pass_on(chosen)

    def _pass_on(self, chosen: VersionServer) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", chosen.port_of_pages, timeout=20)
        with contextlib.closing(connection):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            headers = [one for one in answer.getheaders() if one[0] not in ("Content-Length", "Connection")]
            self._send(answer.status, headers, answer.read())

    do_POST = do_GET  # noqa: N815  http.server's name

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # the browser has left the page
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked for is in ``asked``."""
