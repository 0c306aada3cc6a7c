"""Debian's Chromium for the tests: a context for each test, the errors of its pages, and axe's findings.

It sends requests to this machine only: any other request is aborted, and fails the test. No server is started here.
A browser that is restarted with its profile folder: phone.py.

    def test_…(chromium: Browser) -> None:
        with browser_page(chromium, phone=True, language="ja", script=False) as page:
            page.goto(…)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Route, sync_playwright

CHROMIUM = "/usr/bin/chromium"
SHELL = "/usr/bin/chromium-headless-shell"
"""The same engine without the windows around it: a new page takes a third of the processor's time."""
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SLOW_MS = 60_000
"""How long a page may take on a loaded machine."""
SCREENSHOTS = "SEKISHO_SCREENSHOTS"
"""The variable that names a folder for ``screenshot``; without it none is taken."""
PHONE, DESKTOP = (390, 844), (1280, 900)
LOCALES = {"ja": "ja-JP", "en": "en-US"}
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")

_LOCAL_SCHEMES = ("about", "blob", "chrome", "chrome-error", "data", "devtools")
"""Schemes that send nothing over the network."""


@dataclass
class Watched:
    """What the pages of a context did. ``foreign``: URLs that are not of this machine; ``errors``: what they threw or
    wrote to the console as an error."""

    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("weberror", lambda thrown: self.errors.append(str(thrown.error)))
        context.on("console", self._logged)
        context.route(lambda url: not is_local(url), self._stop)

    def _logged(self, message: ConsoleMessage) -> None:
        # Some tests ask for pages with a status of 4xx; Chromium logs these as errors too.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _stop(self, route: Route) -> None:
        self.foreign.append(route.request.url)
        route.abort()

    def check(self) -> None:
        assert self.foreign == [], f"a page asked somebody else than this machine: {self.foreign}"
        assert self.errors == [], f"errors on a page: {self.errors}"


def is_local(url: str) -> bool:
    """Whether a URL stays on this machine: a loopback address, or a scheme without a network."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in _LOCAL_SCHEMES or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def light_program() -> str:
    """The shell, or the whole browser where the shell is not installed."""
    return SHELL if Path(SHELL).exists() else CHROMIUM


@contextmanager
def playwright_of_worker() -> Iterator[Playwright]:
    """Playwright's own process. While it runs, this thread can run no other event loop."""
    with sync_playwright() as playwright:
        yield playwright


@contextmanager
def chromium_of(playwright: Playwright) -> Iterator[Browser]:
    """A browser that several tests share; each opens a context in it."""
    browser = playwright.chromium.launch(executable_path=light_program(), args=list(ARGUMENTS), timeout=SLOW_MS)
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def browser_page(
    chromium: Browser,
    *,
    phone: bool = True,
    language: str = "ja",
    script: bool = True,
    scheme: Literal["light", "dark"] = "light",
    **more: Any,
) -> Iterator[Page]:
    """A page in a browser context of its own, without cookies. At the end no page of it may have had an error or asked
    another machine. ``more``: other arguments of ``new_context``."""
    options = {**_options(phone=phone, language=language, scheme=scheme), "java_script_enabled": script, **more}
    context = chromium.new_context(**options)
    with _watched(context):
        yield context.new_page()


def _options(*, phone: bool, language: str, scheme: str) -> dict[str, Any]:
    width, height = PHONE if phone else DESKTOP
    return {
        "locale": LOCALES[language],
        "timezone_id": "Asia/Tokyo",
        "viewport": {"width": width, "height": height},
        "has_touch": phone,
        "color_scheme": scheme,
    }


@contextmanager
def _watched(context: BrowserContext) -> Iterator[None]:
    context.set_default_timeout(SLOW_MS)
    watched = Watched()
    watched.watch(context)
    try:
        yield
        watched.check()
    finally:
        context.close()


def axe(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA, a line each: rule, what is wrong, where. Needs a page with JavaScript.

    Its code is injected through the debugger, so that a strict Content-Security-Policy stays in force.
    """
    page.wait_for_load_state("load")  # a click returns when the new page is there, perhaps without its style yet
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", list(WCAG)
    )
    return [f"{one['id']}: {one['help']}: {_places(one['nodes'])}" for one in found["violations"]]


def _places(nodes: list[dict[str, Any]]) -> str:
    return ", ".join(" ".join(str(part) for part in node["target"]) for node in nodes)


def screenshot(page: Page, name: str) -> None:
    """The whole page as NAME.png in the folder that the environment names."""
    if path := _kept(f"{name}.png"):
        page.screenshot(path=path, full_page=True)


def keep_text(text: str, name: str) -> None:
    """A text about a page as NAME.txt, beside the screenshots."""
    if path := _kept(f"{name}.txt"):
        path.write_text(text + "\n", encoding="utf-8")


def _kept(name: str) -> Path | None:
    folder = os.environ.get(SCREENSHOTS)
    if folder is None:
        return None
    if not re.fullmatch(r"[a-z0-9-]+\.[a-z]+", name):
        raise ValueError(f"{name}: the name has small letters, digits and hyphens")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder) / name


def overflows(page: Page) -> bool:
    """Whether the page has to be scrolled sideways. Needs JavaScript."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
