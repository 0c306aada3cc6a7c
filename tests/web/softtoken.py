"""A server with the soft token switched on, and what a customer does at its pages."""

from __future__ import annotations

from pathlib import Path

import pyotp
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from otp_core.store.queries import TokenLine, tokens
from otp_core.store.schema import token
from tests.sekisho import Sekisho, free_port
from tests.web.browser import SLOW_MS

PIN = "81472536"


class SoftTokenServer(Sekisho):
    """``origin`` is where its app is; localhost, because that is what browsers trust without TLS."""

    def __init__(self, folder: Path, more: str = "") -> None:
        port = free_port()
        self.origin = f"http://localhost:{port}"
        section = f'[soft_token]\nlisten = "127.0.0.1:{port}"\npublic_origin = "{self.origin}"\n{more}\n'
        super().__init__(folder, more=section)

    def issued(self) -> list[TokenLine]:
        with self.store.read() as connection:
            return tokens(connection, search="SKSO")

    def number_issued(self) -> int:
        with self.store.read() as connection:
            return connection.execute(select(func.count()).where(token.c.token_id.startswith("SKSO"))).scalar_one()

    def seed(self, token_id: str) -> bytes:
        with self.store.work() as work:
            found = work.token(token_id)
        assert found is not None and found.seed is not None
        return self.store.sealer.unseal(found.seed, token_id)

    def oracle(self, token_id: str) -> pyotp.TOTP:
        """pyotp with the same seed."""
        import base64

        return pyotp.TOTP(base64.b32encode(self.seed(token_id)).decode())


def module(name: str) -> str:
    """JavaScript that imports a module of the app into its page."""
    return f"import(new URL('{name}', document.querySelector('script[type=module]').src))"


def set_up_by_pin(page: Page, pin: str = PIN) -> str:
    """The token ID that the new token shows."""
    page.locator("#pin-new").fill(pin)
    page.locator("#pin-again").fill(pin)
    page.locator("#make-pin button").click()
    return shown_token_id(page)


def shown_token_id(page: Page) -> str:
    expect(page.locator("#token")).to_be_visible(timeout=SLOW_MS)
    return page.locator("#token .token-id").inner_text().replace(" ", "")


def shown_code(page: Page) -> str:
    return page.locator("#code").inner_text().replace(" ", "")


def open_by_pin(page: Page, pin: str = PIN) -> None:
    page.locator("#pin").fill(pin)
    page.locator("#open-pin button").click()
