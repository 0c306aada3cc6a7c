"""Single sign-on for a test: a provider in a process of its own, and a client that goes there and comes back."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.sekisho import free_port
from tests.web.console import Console, ConsoleClient
from tests.web.oidc_provider import CLIENT, SECRET
from tests.web.portal import Answer

_ADDRESSES = count(1)
ROOT = Path(__file__).parents[2]


@dataclass
class RunningProvider:
    """``cookies``: of the browser at the provider."""

    port: int
    scheme: str = "http"
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"

    def tables(self, folder: Path, more: str = "") -> str:
        """[console.oidc] for this provider."""
        file = folder / "oidc.secret"
        file.write_text(SECRET + "\n")
        file.chmod(0o600)
        lines = [
            "[console.oidc]",
            f'issuer = "{self.issuer}"',
            f'client_id = "{CLIENT}"',
            f'client_secret_file = "{file}"',
        ]
        return "\n".join([*lines, more])

    def lie(self, lie: str = "", algorithm: str = "RS256", **claims: Any) -> list[str]:
        """What it does from now on; the paths that it was asked for since the last call. ``claims``: None leaves one
        out. Without further word it says that everybody is at the counter."""
        said = {"realm_access": {"roles": ["counter", "other"]}, **claims}
        body = json.dumps({"lie": lie, "algorithm": algorithm, "claims": said})
        _, _, text = self.asked("POST", "/control", body, {"Content-Type": "application/json"})
        found: list[str] = json.loads(text)
        return found

    def asked(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, Any, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def sign_in(self, address: str, subject: str, how: str = "in") -> str:
        """What a person does at the provider: where it sends the browser back to. Somebody else signs out
        before."""
        if not self.cookies.get("op", "").startswith(f"{subject}~"):
            self.cookies.clear()
        path = address.removeprefix(self.issuer)
        assert path != address, address
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        status, headers, text = self.asked("GET", path, None, {"Cookie": cookie})
        if status == 200:
            assert "Who are you?" in text
            form = urlencode({"sub": subject, "how": how})
            sent = {"Content-Type": "application/x-www-form-urlencoded"}
            status, headers, _ = self.asked("POST", path, form, sent)
            if headers["Set-Cookie"]:
                self.cookies["op"] = headers["Set-Cookie"].partition("=")[2].partition(";")[0].strip('"')
        assert status == 302
        location: str = headers["Location"]
        return location


@contextmanager
def provider(port: int | None = None, *tls: str) -> Iterator[RunningProvider]:
    """A provider of its own. ``tls``: the files of certificate and key."""
    found = RunningProvider(port or free_port(), "https" if tls else "http")
    command = [sys.executable, "-m", "tests.web.oidc_provider", str(found.port), *tls]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        yield found
    finally:
        process.kill()  # it would wait for those to whom it gives a slow answer
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def path_of(address: str, bank: Console) -> str:
    """The path and query of an address of the console's."""
    assert address.startswith(bank.origin), address
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


def gone_to(client: ConsoleClient, path: str) -> str:
    """Where the console sends the browser, from a page of its own."""
    answer = client.ask("GET", path, None, Sec_Fetch_Site="same-origin")
    assert answer.status == 303, (answer.status, answer.title)
    return str(answer.headers["Location"])


def led_on(client: ConsoleClient, bank: Console, back: str) -> Answer:
    """Back from the provider: the page that leads on, and the one behind it. Each time from another address, where the
    settings trust this machine to say so: wrong answers are throttled."""
    landed = client.ask("GET", path_of(back, bank), None, Sec_Fetch_Site="cross-site")
    if landed.status == 303:
        return landed
    assert landed.status == 200, landed.status
    address = landed.headers["Refresh"].removeprefix("0; url=")
    assert unescape(landed.text).count(address) == 1, "the link for browsers that do not follow"
    return client.get(address, Sec_Fetch_Site="same-origin", X_Forwarded_For=f"192.0.2.{next(_ADDRESSES) % 250}")


def sign_on(client: ConsoleClient, bank: Console, at: RunningProvider, subject: str, to: str = "/") -> Answer:
    """The whole way: the page that one ends at."""
    address = gone_to(client, f"/sign-in/oidc?to={to}")
    return led_on(client, bank, at.sign_in(address, subject))


def link(client: ConsoleClient, bank: Console, at: RunningProvider, subject: str) -> Answer:
    """Link the single sign-on of somebody who has signed in and confirmed just now."""
    page = led_on(client, bank, at.sign_in(gone_to(client, "/me/sign-on/new"), subject))
    assert "Link" in page.title, (page.title, page.wrong)
    return sent_on(client, page)


def sent_on(client: ConsoleClient, page: Answer) -> Answer:
    """The button of the page behind the provider."""
    fields = dict(re.findall(r'name="(code|state|iss|error)" value="([^"]*)"', page.text))
    return client.post(page.path.partition("?")[0], **{name: unescape(value) for name, value in fields.items()})
