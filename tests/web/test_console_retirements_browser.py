"""Many tokens retired at once in a real browser, in both languages: chosen, asked for, approved, carried out."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from otp_core.model import Role, TokenSpec
from tests.sekisho import STAFF
from tests.web.browser import browser_page
from tests.web.console import Console, console
from tests.web.test_console_browser import sign_in
from tests.web.test_console_imports_browser import look

WORDS = {
    "en": ("Retire the available ones of this list", "Ask for approval", "Approve", "Carry it out", "Retired: 700."),
    "ja": ("この一覧の未使用のトークンを失効させる", "承認を依頼", "承認する", "実行する", "失効：700 個"),
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.mark.parametrize(("language", "scheme", "phone"), [("ja", "light", False), ("en", "dark", True)])
def test_a_series_goes_through_two_pairs_of_hands(
    bank: Console, chromium: Browser, language: str, scheme: str, phone: bool
) -> None:
    retire, ask, approve, carry_out, retired = WORDS[language]
    name = f"console-retirement-{{}}-{language}-{scheme}{'-phone' if phone else ''}"
    series = f"VSMT7{list(WORDS).index(language)}"
    new = [(f"{series}{one:06d}", os.urandom(20), TokenSpec()) for one in range(700)]
    bank.sekisho.desk.tokens.import_rows(new, STAFF)
    options = {"phone": phone, "language": language, "scheme": scheme}
    with browser_page(chromium, **options) as page, browser_page(chromium, **options) as other:  # type: ignore[arg-type]
        sign_in(page, bank, Role.SUPERVISOR)
        page.goto(f"{bank.origin}/tokens")
        page.fill("#from", series)
        page.fill("#to", series)
        page.locator("form.filters button").click()
        look(page, name.format("list"))
        page.get_by_role("link", name=retire).click()
        page.fill("#reason", "recall")
        look(page, name.format("ask"))
        page.get_by_role("button", name=ask).click()
        look(page, name.format("asked"))
        page.locator("a[href^='/approvals/']").click()
        request = page.url
        sign_in(other, bank, Role.ADMINISTRATOR)
        other.goto(request)
        look(other, name.format("approval"))
        other.fill("#reason", "seen")
        other.get_by_role("button", name=approve, exact=True).click()
        page.reload()
        page.get_by_role("button", name=carry_out).click()
        expect(page.get_by_role("status").last).to_contain_text(retired, timeout=60_000)
        look(page, name.format("done"))
