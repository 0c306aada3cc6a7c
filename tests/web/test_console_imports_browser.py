"""An import on the console in a real browser, in both languages: brought, wrong, right, approved, imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from otp_core.model import Role
from tests.web.browser import axe, browser_page, overflows, screenshot
from tests.web.console import Console, console
from tests.web.test_console_browser import sign_in

WORDS = {
    "en": ("Check the file", "Ask for approval", "Approve", "Carry it out", "Imported: 2,000."),
    "ja": ("ファイルを確認", "承認を依頼", "承認する", "実行する", "取込み：2,000 件"),
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("console"), more="import_megabytes = 1") as running:
        yield running


def bring(page: Page, bank: Console, language: str, file: Path) -> None:
    page.goto(f"{bank.origin}/imports/customers")
    page.fill("#reason", "order 12")
    page.set_input_files("#file", file)
    page.get_by_role("button", name=WORDS[language][0]).click()


def look(page: Page, name: str) -> None:
    """Keep a picture, and find nothing wrong with the page."""
    screenshot(page, name)
    assert axe(page) == []
    assert not overflows(page)


@pytest.mark.parametrize(("language", "scheme", "phone"), [("ja", "light", False), ("en", "dark", True)])
def test_a_file_goes_through_two_pairs_of_hands(
    bank: Console, chromium: Browser, tmp_path: Path, language: str, scheme: str, phone: bool
) -> None:
    _, ask, approve, carry_out, imported = WORDS[language]
    name = f"console-import-{{}}-{language}-{scheme}{'-phone' if phone else ''}"
    wrong, large, right = tmp_path / "excel.csv", tmp_path / "large.csv", tmp_path / f"お客さま-{language}.csv"
    wrong.write_text("contract_id,token_id,email\n1.23457E+09,,\n0099,VSMT-none,\n0100,,nobody\n")
    large.write_bytes(b"x" * 3_000_000)
    right.write_text("contract_id,name\n" + "".join(f"{language}-{row},山田 {row}\n" for row in range(2000)))
    options = {"phone": phone, "language": language, "scheme": scheme}
    with browser_page(chromium, **options) as page, browser_page(chromium, **options) as other:  # type: ignore[arg-type]
        sign_in(page, bank, Role.SUPERVISOR)
        page.goto(f"{bank.origin}/imports/tokens")
        look(page, name.format("tokens"))
        page.goto(f"{bank.origin}/imports/customers")
        look(page, name.format("new"))
        bring(page, bank, language, large)
        expect(page.get_by_role("alert")).to_contain_text("1 MB", timeout=60_000)
        look(page, name.format("too-large"))
        bring(page, bank, language, wrong)
        expect(page.get_by_role("table")).to_contain_text("contract_id", timeout=60_000)
        look(page, name.format("wrong"))
        bring(page, bank, language, right)
        page.get_by_role("button", name=ask).click(timeout=60_000)
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
        if page.get_by_role("progressbar").count():
            screenshot(page, name.format("progress"))
        expect(page.get_by_role("status").last).to_contain_text(imported, timeout=60_000)
        look(page, name.format("done"))
        page.goto(f"{bank.origin}/imports")
        look(page, name.format("list"))
