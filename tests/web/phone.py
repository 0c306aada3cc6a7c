"""A phone with Debian's Chromium: a profile folder of its own, what went wrong on its pages, what they asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import BrowserContext, Page, Playwright, Request

from tests.web.browser import ARGUMENTS, CHROMIUM, SLOW_MS, light_program


@dataclass
class Phone:
    """One browser, opened. ``errors``: what its pages threw or wrote as an error; ``requests``: all they asked for."""

    context: BrowserContext
    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def watch(self) -> None:
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.context.on("console", lambda said: self.errors.extend([said.text] if said.type == "error" else []))
        self.context.on("request", lambda asked: self.requests.append(asked))

    def passkeys(self, *, prf: bool = True) -> tuple[Any, str]:
        """Give the phone an authenticator that says yes to everything."""
        session = self.context.new_cdp_session(self.page)
        session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "hasPrf": prf,
            "automaticPresenceSimulation": True,
        }
        added = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return session, str(added["authenticatorId"])


@contextmanager
def phone(
    playwright: Playwright,
    profile: Path,
    *,
    locale: str = "ja-JP",
    width: int = 390,
    height: int = 844,
    scheme: Literal["light", "dark"] = "light",
    whole: bool = False,
) -> Iterator[Phone]:
    """Switch one on; the same ``profile`` again is the same phone after a restart. ``whole``: with the whole browser,
    for tests of what it keeps and of passkeys."""
    context = playwright.chromium.launch_persistent_context(
        str(profile),
        executable_path=CHROMIUM if whole else light_program(),
        args=list(ARGUMENTS),
        locale=locale,
        timezone_id="Asia/Tokyo",
        viewport={"width": width, "height": height},
        color_scheme=scheme,
    )
    context.set_default_timeout(SLOW_MS)
    one = Phone(context, context.pages[0])
    one.watch()
    try:
        yield one
    finally:
        context.close()
