"""The portal and the soft token lead to one another, in one language, under one bank's name. In a real browser: from a
customer without any token to the login that needs a code, on the phone alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.sekisho import Sekisho, client_table, free_port
from tests.web.browser import axe, browser_page, overflows
from tests.web.portal import Portal, PortalClient
from tests.web.softtoken import PIN, set_up_by_pin, shown_code


@dataclass
class Both:
    portal: Portal
    token: str


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    yield from served(folder)


def served(folder: Path, more: str = "") -> Iterator[Both]:
    pages, token = free_port(), free_port()
    sections = (
        f'[web]\nlisten = "127.0.0.1:{pages}"\npublic_origin = "http://localhost:{pages}"\n'
        f'bank_name = "見本信用金庫"\nbank_name_en = "Example Shinkin Bank"\n{more}'
        f'[soft_token]\nlisten = "127.0.0.1:{token}"\npublic_origin = "http://localhost:{token}"\n'
    )
    sekisho = Sekisho(folder, clients=client_table("gateway", "127.0.0.0/8", "challenge"), more=sections)
    try:
        yield Both(Portal(sekisho.start(), pages), f"http://localhost:{token}")
    finally:
        sekisho.close()


def go(page: Page, one_password: str, contract_id: str) -> None:
    page.locator("#contract_id").fill(contract_id)
    page.locator("#password").fill(one_password)
    page.locator("main .button").first.click()


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_customer_without_any_token_gets_the_soft_token_and_enrols_it(
    chromium: Browser, both: Both, language: str
) -> None:
    one = both.portal.sekisho.customer(enrolled=False)
    bank = {"ja": "見本信用金庫", "en": "Example Shinkin Bank"}[language]
    browsers = "en" if language == "ja" else "ja"  # the other one: what decides is the link
    with browser_page(chromium, language=browsers) as page:
        page.goto(f"{both.portal.origin}/enrol?lang={language}")
        go(page, one.password, one.contract_id)
        expect(page).to_have_url(f"{both.portal.origin}/enrol/token")
        with page.context.expect_page() as opening:
            page.locator(f"a[href^='{both.token}/']").click()
        token = opening.value
        token_id = set_up_by_pin(token)
        assert token.locator("html").get_attribute("lang") == language
        expect(token.locator("header")).to_contain_text(bank)
        assert token.title().endswith(bank) and bank in page.title()
        assert axe(token) == [] and not overflows(token)
        token.locator("[data-portal='/enrol/token']").click()
        expect(token).to_have_url(f"{both.portal.origin}/enrol/token?lang={language}")
        token.locator("#token_id").fill(token_id)
        back = token.context.new_page()
        back.goto(both.token)
        back.locator("#pin").fill(PIN)
        back.locator("#open-pin button").click()
        expect(back.locator("#token")).to_be_visible()
        token.locator("#code").fill(shown_code(back))
        token.locator("button[value=enrol]").click()
        expect(token).to_have_url(f"{both.portal.origin}/enrol/done")
    login = both.portal.sekisho.login(one.contract_id, one.password)
    assert login.startswith("Access-Challenge")


def test_the_start_page_offers_the_soft_token_where_there_is_one(both: Both) -> None:
    assert f'href="{both.token}/?lang=en"' in PortalClient(both.portal).get("/").text


def test_a_session_at_a_page_of_an_earlier_release_goes_on_at_the_one_in_its_place(both: Both) -> None:
    client = PortalClient(both.portal)
    client.sign_in(both.portal.sekisho.customer(enrolled=False))
    assert client.get("/enrol/token-id").path == "/enrol/token"
