"""From the bank's login page to the portal and back: after enrolment the next login needs a code, after suspension the
password is enough. In a real browser, on every kind of device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.sekisho import PASSWORD, STAFF, Customer, Sekisho, client_table, free_port
from tests.web.bank import BOTH, bank_beside, enter_code, is_inside, log_in
from tests.web.browser import browser_page

DEVICES = [
    pytest.param(True, "ja", True, id="phone-ja"),
    pytest.param(True, "en", False, id="phone-en-noscript"),
    pytest.param(False, "ja", False, id="desktop-ja-noscript"),
    pytest.param(False, "en", True, id="desktop-en"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sekisho, str]]:
    """A server with the customers' pages, and the address of a bank that links to them as they link to it."""
    folder = tmp_path_factory.mktemp("both")
    radius, bank, portal = free_port(), free_port(), free_port()
    origin = f"http://localhost:{portal}"
    web = f'[web]\nlisten = "127.0.0.1:{portal}"\npublic_origin = "{origin}"\nlogin_url = "http://localhost:{bank}/"\n'
    clients = client_table("bank", "127.0.0.0/8", "challenge") + BOTH
    sekisho = Sekisho(folder, clients=clients, more=web, listen=(f"127.0.0.1:{radius}",))
    try:
        sekisho.start()
        with bank_beside(folder, radius, more=("--portal", origin, "--listen", f"127.0.0.1:{bank}")) as address:
            yield sekisho, address
    finally:
        sekisho.close()


def go_on(page: Page, name: str = "") -> None:
    """The main button of the portal's page."""
    page.locator("main .button" if not name else f"main button[value='{name}']").first.click()


def sign_in_at_portal(page: Page, link: str, contract_id: str) -> None:
    page.locator(f".links a[href*='/{link}?lang=']").click()
    page.locator("#contract_id").fill(contract_id)
    page.locator("#password").fill(PASSWORD)
    go_on(page)


def bind(page: Page, token: Customer, code: str) -> None:
    """The new token's ID and code."""
    page.locator("#token_id").fill(token.token_id)
    page.locator("#code").fill(code)
    go_on(page, "enrol")


@pytest.mark.parametrize(("phone", "language", "script"), DEVICES)
def test_after_enrolment_the_next_code_logs_in(
    chromium: Browser, both: tuple[Sekisho, str], phone: bool, language: str, script: bool
) -> None:
    sekisho, bank = both
    one = sekisho.customer(enrolled=False)
    with browser_page(chromium, phone=phone, language=language, script=script) as page:
        page.goto(bank)
        sign_in_at_portal(page, "enrol", one.contract_id)
        used = one.code()
        bind(page, one, used)
        expect(page).to_have_url(re.compile("/enrol/done$"))
        page.locator(f"main a[href='{bank}/']").first.click()
        log_in(page, one.contract_id, PASSWORD)
        enter_code(page, one.next_code(used))
        is_inside(page, one.contract_id)


@pytest.mark.parametrize(("phone", "language", "script"), DEVICES)
def test_after_suspension_the_password_alone_logs_in(
    chromium: Browser, both: tuple[Sekisho, str], phone: bool, language: str, script: bool
) -> None:
    sekisho, bank = both
    one = sekisho.customer()
    with browser_page(chromium, phone=phone, language=language, script=script) as page:
        page.goto(bank)
        sign_in_at_portal(page, "suspend", one.contract_id)
        used = one.code()
        page.locator("#code").fill(used)
        go_on(page)
        expect(page).to_have_url(re.compile("/suspend/done$"))
        page.locator(f"main a[href='{bank}/']").first.click()
        log_in(page, one.contract_id, PASSWORD)
        is_inside(page, one.contract_id)


@pytest.mark.parametrize(("phone", "language", "script"), DEVICES)
def test_after_a_change_of_device_the_new_token_logs_in_and_the_old_one_does_not(
    chromium: Browser, both: tuple[Sekisho, str], phone: bool, language: str, script: bool
) -> None:
    sekisho, bank = both
    one, new = sekisho.customer(), sekisho.customer(enrolled=False)
    with browser_page(chromium, phone=phone, language=language, script=script) as page:
        page.goto(bank)
        sign_in_at_portal(page, "enrol", one.contract_id)
        old_code = one.code()
        page.locator("#code").fill(old_code)
        go_on(page)
        used = new.code()
        bind(page, new, used)
        expect(page).to_have_url(re.compile("/enrol/done$"))
        page.locator(f"main a[href='{bank}/']").first.click()
        log_in(page, one.contract_id, PASSWORD)
        enter_code(page, one.next_code(old_code))
        expect(page.locator("[role=alert]")).to_be_visible()
        enter_code(page, new.next_code(used))
        is_inside(page, one.contract_id)


@pytest.mark.parametrize(("phone", "language", "script"), DEVICES)
def test_a_lost_token_lets_nobody_in_and_a_permit_brings_a_new_one(
    chromium: Browser, both: tuple[Sekisho, str], phone: bool, language: str, script: bool
) -> None:
    sekisho, bank = both
    one, new = sekisho.customer(), sekisho.customer(enrolled=False)
    sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    permit = sekisho.desk.enrolment.permit_reissue(one.contract_id, STAFF)
    with browser_page(chromium, phone=phone, language=language, script=script) as page:
        page.goto(bank)
        log_in(page, one.contract_id, PASSWORD)
        expect(page.locator("[role=alert]")).to_be_visible()
        sign_in_at_portal(page, "enrol", one.contract_id)
        page.locator("#permit").fill(permit.text)
        go_on(page)
        used = new.code()
        bind(page, new, used)
        expect(page).to_have_url(re.compile("/enrol/done$"))
        page.locator(f"main a[href='{bank}/']").first.click()
        log_in(page, one.contract_id, PASSWORD)
        enter_code(page, new.next_code(used))
        is_inside(page, one.contract_id)


def test_a_code_that_enrolled_cannot_log_in_too(chromium: Browser, both: tuple[Sekisho, str]) -> None:
    sekisho, bank = both
    one = sekisho.customer(enrolled=False)
    with browser_page(chromium) as page:
        page.goto(bank)
        sign_in_at_portal(page, "enrol", one.contract_id)
        used = one.code()
        bind(page, one, used)
        page.locator(f"main a[href='{bank}/']").first.click()
        log_in(page, one.contract_id, PASSWORD)
        enter_code(page, used)
        expect(page.locator("[role=alert]")).to_be_visible()
        enter_code(page, one.next_code(used))
        is_inside(page, one.contract_id)
