"""The API for a test: a real server with its door open, keys, and a client that speaks HTTP as any program would."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from admin_web.api.operations import Operation
from admin_web.api.settings import ApiSettings
from admin_web.api.site import ApiSite
from otp_core.model import Scope
from sekisho.wiring import open_application
from tests.sekisho import STAFF, Customer, Sekisho, client_table, free_port


@dataclass
class Told:
    """An answer: its status, headers and JSON, or the text of a page."""

    status: int
    headers: http.client.HTTPMessage
    json: Any

    @property
    def type(self) -> str:
        """Of a problem; empty for any other answer."""
        is_problem = self.headers.get_content_type() == "application/problem+json"
        if is_problem:
            assert self.json["status"] == self.status
        return str(self.json["type"]) if is_problem else ""

    @property
    def problem(self) -> tuple[int, str]:
        return self.status, self.type


@dataclass
class Api:
    """A running server, and the port of its API."""

    sekisho: Sekisho
    port: int

    def key(self, name: str, *scopes: Scope, networks: tuple[str, ...] = ()) -> str:
        """A new key."""
        known = [ip_network(one) for one in networks]
        return self.sekisho.desk.api_keys.create(name, scopes or tuple(Scope), STAFF, networks=known).secret

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        raw: bytes | None = None,
        **headers: str,
    ) -> Told:
        """One request. ``body``: sent as JSON; ``raw``: as it is."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key}")
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, raw, sent)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        is_page = response.headers.get_content_type() == "text/html"
        return Told(response.status, response.headers, text.decode() if is_page else json.loads(text))

    def get(self, path: str, key: str | None = None, **headers: str) -> Told:
        return self.ask("GET", path, None, key=key, raw=None, **headers)

    def post(self, path: str, body: object = None, key: str | None = None, **headers: str) -> Told:
        return self.ask("POST", path, body, key=key, raw=None, **headers)


def wrong(one: Customer) -> str:
    """A code that the token shows neither now nor soon."""
    shown = {one.code(away) for away in range(-3, 4)}
    return next(text for text in map("{:06d}".format, range(900_000, 900_100)) if text not in shown)


def table_of(bank: Api) -> list[Operation]:
    """The operations of the same site, made once more."""

    async def made() -> list[Operation]:
        application = open_application(bank.sekisho.settings)
        found = ApiSite(application.services, ApiSettings).operations()
        await application.close()
        return found

    return asyncio.run(made())


@contextmanager
def api(folder: Path, *, more: str = "", other: str = "") -> Iterator[Api]:
    """``more``: lines of [api]; ``other``: other tables."""
    port = free_port()
    lines = ["[api]", f'listen = "127.0.0.1:{port}"', f'public_origin = "http://localhost:{port}"', more, other]
    sekisho = Sekisho(folder, clients=client_table("gateway", "127.0.0.0/8", "challenge"), more="\n".join(lines))
    try:
        yield Api(sekisho.start(), port)
    finally:
        sekisho.close()
