"""The customers' pages for a test: a real server with the web door open, and an HTTP client without a browser."""

from __future__ import annotations

import html
import http.client
import re
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.sekisho import Customer, Sekisho, client_table, free_port

TERMS = (
    "version: 2026-04\n第１条　この規定は、ワンタイムパスワードの利用に適用します。\n\n"
    "第２条　トークンは他人に渡せません。\n"
)
TERMS_EN = "Article 1. These terms apply to the use of one-time passwords.\n\nArticle 2. A token is not handed on.\n"


@dataclass
class Portal:
    """A running server, and the port of its pages."""

    sekisho: Sekisho
    port: int
    scheme: str = "http"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"

    def log(self) -> str:
        return self.sekisho.log_text()


@contextmanager
def portal(
    folder: Path,
    *,
    terms: bool = False,
    more: str = "",
    login: str = "",
    scheme: str = "http",
    prefix: tuple[str, ...] = (),
) -> Iterator[Portal]:
    """``more``: lines of [web]; ``login``: lines of other tables; ``prefix``: see Sekisho."""
    port = free_port()
    lines = [f'listen = "127.0.0.1:{port}"', f'public_origin = "{scheme}://localhost:{port}"', more]
    if terms:
        (folder / "terms.txt").write_text(TERMS, encoding="utf-8")
        (folder / "terms.en.txt").write_text(TERMS_EN, encoding="utf-8")
        lines += ['terms_file = "terms.txt"', 'terms_file_en = "terms.en.txt"']
    web = "\n".join(["[web]", *lines, login])
    sekisho = Sekisho(folder, clients=client_table("gateway", "127.0.0.0/8", "challenge"), more=web, prefix=prefix)
    try:
        yield Portal(sekisho.start(), port, scheme)
    finally:
        sekisho.close()


def next_code(one: Customer, used: str) -> str:
    """A code of the token that is within the window and is not the one used."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        for away in (1, 0):
            code = one.code(away)
            if code != used:
                return code
        time.sleep(0.5)
    raise AssertionError("the token has shown the same code for 90 seconds")


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str
    path: str

    @property
    def title(self) -> str:
        found = re.search(r"<title>(.*?)</title>", self.text, re.S)
        return html.unescape(found[1]) if found else ""

    @property
    def key(self) -> str:
        found = re.search(r'name="key" value="([0-9a-f]+)"', self.text)
        assert found, f"{self.path} has no key: {self.title}"
        return found[1]

    @property
    def wrong(self) -> str:
        found = re.search(r'role="alert".*?<p>(.*?)</p>', self.text, re.S)
        return html.unescape(re.sub(r"<[^>]+>", "", found[1])) if found else ""


@dataclass
class PortalClient:
    """A client without a browser: keeps cookies, follows 303, sends the headers that a page of the origin would send.
    ``at``: the last page."""

    portal: Portal
    cookies: dict[str, str] = field(default_factory=dict)
    language: str = "en"
    at: Answer | None = None
    tls: ssl.SSLContext | None = None

    def get(self, path: str, **headers: str) -> Answer:
        return self._follow(self.ask("GET", path, None, **headers))

    def post(self, path: str, **fields: str) -> Answer:
        """A form, with the key of the page that the client is at, unless another one is given."""
        if "key" not in fields and self.at is not None and 'name="key"' in self.at.text:
            fields["key"] = self.at.key
        return self._follow(self.ask("POST", path, fields))

    def sign_in(self, one: Customer, journey: str = "enrol", password: str | None = None) -> Answer:
        return self.post(f"/{journey}", contract_id=one.contract_id, password=password or one.password, key="")

    def ask(self, method: str, path: str, fields: dict[str, str] | bytes | None, **headers: str) -> Answer:
        """One request, and no further one. ``fields``: of a form, or a body as it is."""
        body = urllib.parse.urlencode(fields) if isinstance(fields, dict) else fields
        sent = {"Accept-Language": self.language, "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if body is not None:
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.portal.origin}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = (
            http.client.HTTPConnection("127.0.0.1", self.portal.port, timeout=60)
            if self.tls is None
            else http.client.HTTPSConnection("localhost", self.portal.port, timeout=60, context=self.tls)
        )
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie") or []:
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            self.cookies.pop(name, None)
            if value:
                self.cookies[name] = value
        return Answer(response.status, response.headers, text, path)

    def _follow(self, answer: Answer) -> Answer:
        for _ in range(5):
            if answer.status != 303:
                break
            answer = self.ask("GET", answer.headers["Location"], None)
        self.at = answer
        return answer
