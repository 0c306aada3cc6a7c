"""The soft token in Firefox (Debian's firefox-esr) and in WebKit (Debian's WebKitGTK): set-up, code, restart, offline.

Apart from the other tests, because the two are 120 MB to install: `make browsers`. Neither is Safari on a phone, which
no test here stands for.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Page, Playwright

from tests.web.browser import SLOW_MS
from tests.web.softtoken import PIN, SoftTokenServer

pytestmark = pytest.mark.browsers
WINDOW = Path(__file__).with_name("webkit_window.py")


class Window(Protocol):
    def go(self, url: str) -> None: ...

    def run(self, body: str) -> Any:
        """The result of an async function with this body."""


class FirefoxWindow:
    def __init__(self, page: Page) -> None:
        self.page = page

    def go(self, url: str) -> None:
        self.page.goto(url)

    def run(self, body: str) -> Any:
        return self.page.evaluate(f"async () => {{ {body} }}")


@contextmanager
def firefox(playwright: Playwright, profile: Path) -> Iterator[Window]:
    context = playwright.firefox.launch_persistent_context(
        str(profile), channel="moz-firefox", executable_path="/usr/bin/firefox-esr", headless=True, timeout=SLOW_MS
    )
    try:
        yield FirefoxWindow(context.new_page())
    finally:
        context.close()


class WebKitWindow:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def go(self, url: str) -> None:
        self._order({"go": url})

    def run(self, body: str) -> Any:
        return self._order({"run": body})

    def _order(self, order: dict[str, str]) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert not (isinstance(answer, dict) and "error" in answer), (order, answer)
        return answer


@contextmanager
def webkit(playwright: Playwright, profile: Path) -> Iterator[Window]:
    profile.mkdir(exist_ok=True)
    command = ["xvfb-run", "--auto-servernum", "/usr/bin/python3", str(WINDOW), str(profile)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "NO_AT_BRIDGE": "1", "PYTHONPATH": ""}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield WebKitWindow(process)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(30)
        assert process.stdout
        process.stdout.close()


Browser = Callable[[Playwright, Path], AbstractContextManager[Window]]


def wait_for(window: Window, expression: str) -> Any:
    end = time.monotonic() + SLOW_MS / 1000
    while time.monotonic() < end:
        if found := window.run(f"return {expression}"):
            return found
        time.sleep(0.1)
    raise AssertionError((expression, window.run("return document.body.innerText")))


def shows(window: Window, screen: str) -> None:
    wait_for(window, f"document.getElementById('{screen}')?.hidden === false")


def submit_pin(window: Window, form: str, *fields: str) -> None:
    typed = "".join(f"document.getElementById('{field}').value = '{PIN}';" for field in fields)
    window.run(f"{typed} document.querySelector('#{form} button').click();")


def shown(window: Window) -> tuple[str, str]:
    """Token ID and code."""
    shows(window, "token")
    code = wait_for(window, "document.getElementById('code').textContent")
    token_id = window.run("return document.querySelector('#token .token-id').textContent")
    return token_id.replace(" ", ""), code.replace(" ", "")


@pytest.mark.parametrize("browser", [firefox, webkit])
def test_a_token_is_set_up_unlocked_and_opened_after_a_restart_without_the_server(
    playwright: Playwright, tmp_path: Path, browser: Browser
) -> None:
    (tmp_path / "server").mkdir()
    server = SoftTokenServer(tmp_path / "server")
    server.start()

    def is_right(token_id: str, code: str) -> bool:
        return code in {server.oracle(token_id).at(time.time() + away) for away in (-3, 0)}

    try:
        with browser(playwright, tmp_path / "profile") as window:
            window.go(server.origin)
            shows(window, "setup")
            submit_pin(window, "make-pin", "pin-new", "pin-again")
            token_id, code = shown(window)
            assert is_right(token_id, code)
            window.run("document.getElementById('lock').click()")
            shows(window, "locked")
            assert window.run("return document.getElementById('code').textContent") == ""
            submit_pin(window, "open-pin", "pin")
            assert is_right(*shown(window))
            assert wait_for(window, "document.getElementById('kept').textContent")
            wait_for(window, "navigator.serviceWorker.controller !== null")
        server.stop()
        with browser(playwright, tmp_path / "profile") as window:
            window.go(server.origin)
            shows(window, "locked")
            submit_pin(window, "open-pin", "pin")
            again, code = shown(window)
            assert again == token_id and is_right(token_id, code)
    finally:
        server.close()
