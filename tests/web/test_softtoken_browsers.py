"""The soft token in Firefox (Debian's firefox-esr) and in WebKit (Debian's WebKitGTK): set-up, code, restart, offline.

Apart from the other tests, because the two are 120 MB to install: `make browsers`. Neither is Safari on a phone, which
no test here stands for.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.sekisho import free_port
from tests.web.browser import SLOW_MS
from tests.web.softtoken import PIN, SoftTokenServer

pytestmark = pytest.mark.browsers
WINDOW = Path(__file__).with_name("webkit_window.py")


class Window(Protocol):
    def go(self, url: str) -> None: ...

    def run(self, body: str) -> Any:
        """The result of an async function with this body."""


class FirefoxWindow:
    """Speaks Marionette, Firefox's own protocol beneath WebDriver: "LENGTH:[0, id, command, arguments]" and, back,
    "LENGTH:[1, id, error, result]"."""

    def __init__(self, connection: socket.socket) -> None:
        self.stream = connection.makefile("rwb")
        self._read()  # its greeting
        self._order("WebDriver:NewSession", {"capabilities": {}})
        self._order("WebDriver:SetTimeouts", {"script": SLOW_MS, "pageLoad": SLOW_MS})

    def go(self, url: str) -> None:
        self._order("WebDriver:Navigate", {"url": url})

    def run(self, body: str) -> Any:
        script = f"const done = arguments[0]; (async () => {{ {body} }})().then(done, (error) => done(String(error)));"
        return self._order("WebDriver:ExecuteAsyncScript", {"script": script, "args": []})["value"]

    def quit(self) -> None:
        self._order("Marionette:Quit", {"flags": ["eAttemptQuit"]})
        self.stream.close()

    def _order(self, command: str, arguments: dict[str, Any]) -> Any:
        text = json.dumps([0, 1, command, arguments]).encode()
        self.stream.write(b"%d:%b" % (len(text), text))
        self.stream.flush()
        _, _, error, result = self._read()
        assert error is None, (command, error)
        return result

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self.stream.read(1)
        return json.loads(self.stream.read(int(length[:-1])))


@contextmanager
def firefox(profile: Path) -> Iterator[Window]:
    port = free_port()
    profile.mkdir(exist_ok=True)
    (profile / "user.js").write_text(f'user_pref("marionette.port", {port});\n')
    command = ["/usr/bin/firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    with (profile.parent / "firefox.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with _connected(port) as connection:
            window = FirefoxWindow(connection)
            yield window
            window.quit()
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _connected(port: int) -> socket.socket:
    end = time.monotonic() + SLOW_MS / 1000
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=SLOW_MS / 1000)
        except ConnectionRefusedError:
            assert time.monotonic() < end, "Firefox does not listen"
            time.sleep(0.1)


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
def webkit(profile: Path) -> Iterator[Window]:
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


Browser = Callable[[Path], AbstractContextManager[Window]]


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
    tmp_path: Path, browser: Browser
) -> None:
    (tmp_path / "server").mkdir()
    server = SoftTokenServer(tmp_path / "server")
    server.start()

    def is_right(token_id: str, code: str) -> bool:
        return code in {server.oracle(token_id).at(time.time() + away) for away in (-3, 0)}

    try:
        with browser(tmp_path / "profile") as window:
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
            kept = wait_for(window, "document.getElementById('kept').textContent")
            refused = not window.run("return navigator.storage?.persisted?.()")
            is_webkit = window.run("return navigator.vendor.startsWith('Apple')")
            assert is_webkit == (browser is webkit)
            assert ("seven days" in kept or "７日間" in kept) == (is_webkit and refused), kept
            wait_for(window, "navigator.serviceWorker.controller !== null")
        server.stop()
        with browser(tmp_path / "profile") as window:
            window.go(server.origin)
            shows(window, "locked")
            submit_pin(window, "open-pin", "pin")
            again, code = shown(window)
            assert again == token_id and is_right(token_id, code)
    finally:
        server.close()
