"""What is shown once does not come back: Back, with the browser's memory of pages switched on, brings no QR code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.browser import SLOW_MS, browser_page, screenshot
from tests.web.portal import Portal, portal


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal(tmp_path_factory.mktemp("pages")) as opened:
        yield opened


def at_the_qr_code(page: Page, bank: Portal) -> None:
    one = bank.sekisho.customer(enrolled=False)
    page.goto(f"{bank.origin}/enrol")
    page.locator("#contract_id").fill(one.contract_id)
    page.locator("#password").fill(one.password)
    page.locator("main .button").first.click()
    page.locator("button[value=app]").click()
    expect(page.locator("img.qr")).to_be_visible()


def shows_no_secret(page: Page) -> None:
    expect(page.locator("main")).to_be_visible()
    expect(page.locator("img.qr")).to_have_count(0)
    expect(page.locator("#secret")).to_have_count(0)
    assert "otpauth:" not in page.content()


def test_the_browser_of_these_tests_brings_pages_back_from_memory(remembering: Browser, bank: Portal) -> None:
    """The proof that the tests below can fail."""
    with browser_page(remembering) as page:
        page.goto(f"{bank.origin}/lost")
        page.evaluate("addEventListener('pageshow', (event) => { globalThis.persisted = event.persisted; })")
        page.goto(f"{bank.origin}/enrol")
        page.go_back(wait_until="commit")  # such a page is not loaded
        page.wait_for_function("globalThis.persisted === true")


@pytest.mark.parametrize("elsewhere", ["/lost", "about:blank"])
def test_back_brings_no_qr_code(remembering: Browser, bank: Portal, elsewhere: str) -> None:
    with browser_page(remembering) as page:
        at_the_qr_code(page, bank)
        page.goto(elsewhere if elsewhere.startswith("about") else bank.origin + elsewhere)
        page.go_back()
        expect(page.locator("main")).to_contain_text("ＱＲコードの表示は一度限り", timeout=SLOW_MS)
        shows_no_secret(page)
        screenshot(page, "portal-qr-code-after-back")


@pytest.mark.parametrize("script", [True, False])
def test_back_from_the_next_page_brings_no_qr_code_even_without_scripts(
    remembering: Browser, bank: Portal, script: bool
) -> None:
    with browser_page(remembering, script=script) as page:
        at_the_qr_code(page, bank)
        page.locator("button[value=back]").click()
        expect(page).to_have_url(f"{bank.origin}/enrol/token")
        page.go_back()
        shows_no_secret(page)


def test_paper_shows_no_qr_code_and_no_key(remembering: Browser, bank: Portal) -> None:
    with browser_page(remembering) as page:
        at_the_qr_code(page, bank)
        secret = page.locator("#secret").inner_text()
        page.emulate_media(media="print")
        expect(page.locator("img.qr")).to_be_hidden()
        assert secret not in page.locator("body").inner_text()
