"""What the console shows once does not come back: Back, with the browser's memory of pages switched on, brings no
permit, no API key and no one-time link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from otp_core.model import Role
from tests.sekisho import STAFF
from tests.web.browser import SLOW_MS, browser_page
from tests.web.console import Console, console
from tests.web.test_console_browser import key_of, sign_in

Ask = Callable[[Page, Console], None]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("console"), more="approvals = []") as running:
        yield running


def ask_for_a_permit(page: Page, bank: Console) -> None:
    lost = bank.sekisho.customer()
    bank.sekisho.desk.enrolment.report_lost(lost.contract_id, STAFF)
    page.goto(f"{bank.origin}/customers/{key_of(bank, lost)}/permit-reissue")
    page.locator("#identity-document").check()


def ask_for_a_key(page: Page, bank: Console) -> None:
    page.goto(f"{bank.origin}/new-api-key")
    page.locator("#name").fill("call-centre")
    page.get_by_label("tokens:read").check()


def ask_for_a_link(page: Page, bank: Console) -> None:
    page.goto(f"{bank.origin}/new-staff")
    page.locator("#name").fill("mori")
    page.locator("#role-operator").check()


def test_back_after_signing_out_shows_no_customer(remembering: Browser, bank: Console) -> None:
    """Nobody else at this desk."""
    one = bank.sekisho.customer()
    with browser_page(remembering, phone=False) as page:
        sign_in(page, bank, Role.OPERATOR)
        page.goto(f"{bank.origin}/customers/{key_of(bank, one)}")
        expect(page.locator("main")).to_contain_text(one.contract_id)
        page.locator("form[action='/leave'] button").click()
        page.wait_for_url(f"{bank.origin}/sign-in")
        page.go_back(wait_until="commit")
        expect(page.locator("#name")).to_be_visible(timeout=SLOW_MS)
        assert one.contract_id not in page.content()


SHOWN_ONCE = [(ask_for_a_permit, ".permit"), (ask_for_a_key, ".secret"), (ask_for_a_link, ".secret")]


@pytest.mark.parametrize(("ask", "place"), SHOWN_ONCE)
def test_back_brings_nothing_that_was_shown_once(remembering: Browser, bank: Console, ask: Ask, place: str) -> None:
    with browser_page(remembering, phone=False) as page:
        sign_in(page, bank, Role.ADMINISTRATOR)
        ask(page, bank)
        page.locator("#reason").fill("asked for at the counter")
        page.locator("form:has(#reason) button").click()
        secret = page.locator(place).inner_text(timeout=SLOW_MS)
        page.goto("about:blank")
        page.go_back(wait_until="commit")
        expect(page.locator("main")).to_be_visible(timeout=SLOW_MS)
        assert page.locator(place).count() == 0 and secret not in page.content()
        page.wait_for_load_state()
        assert secret not in page.content()
