"""The pages of forecasts: forms whose answers are in the address, results with links to customers, and what cannot be
tried.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from admin_web.console.forecast_words import CHANGES, NOTES
from otp_core.forecast.outcome import CHANGE_TEXT, NOTE_TEXT, Change, Note
from otp_core.model import Role
from otp_core.store.find import keys_of
from tests.sekisho import Customer
from tests.web.browser import axe, browser_page, overflows, screenshot
from tests.web.console import Console, ConsoleClient, console
from tests.web.test_console_browser import sign_in

CLIENT = "/clients/forecast?client=gateway"
RULES = "/clients/forecast/rules"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("forecast")) as served:
        yield served


@pytest.fixture(scope="module")
def without_token(bank: Console) -> Customer:
    """Who never enrolled, and was let in by the password; two others got a code wrong, and right."""
    one = bank.sekisho.customer(enrolled=False)
    assert bank.sekisho.login(one.contract_id, one.password) == "Access-Accept"
    other = bank.sekisho.customer()
    for code in (other.code(500), other.code(501)):
        state = bank.sekisho.login(other.contract_id, other.password).split()[1]
        bank.sekisho.login(other.contract_id, code, state=state)
    return one


@pytest.fixture(scope="module")
def auditor(bank: Console) -> ConsoleClient:
    return bank.client(Role.AUDITOR)


def test_the_catalogue_has_every_sentence_of_the_core() -> None:
    assert set(CHANGE_TEXT.values()) == CHANGES and CHANGE_TEXT.keys() == set(Change)
    assert set(NOTE_TEXT.values()) == NOTES and NOTE_TEXT.keys() == set(Note)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_who_would_be_refused_is_named_with_a_link_and_the_look_is_recorded(
    bank: Console, without_token: Customer, role: Role
) -> None:
    client = bank.client(role)
    assert "/clients/forecast?client=gateway" in client.get("/clients").text
    assert "What would have been" not in client.get(CLIENT).text
    shown = client.get(f"{CLIENT}&without_token=reject&days=1").text
    with bank.sekisho.store.read() as connection:
        key = keys_of(connection, [without_token.contract_id])[without_token.contract_id]
    assert f'<a href="/customers/{key}">{without_token.contract_id}</a>' in shown
    assert "Logins that were let in and would be refused: 1" in shown
    assert "settings were the present ones" in shown
    end = time.monotonic() + 10
    while not [row for row in bank.sekisho.audit(event="looked.") if (row.actor, row.reason[:8]) == (role, "forecast")]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_who_would_be_locked_is_named(auditor: ConsoleClient, without_token: Customer) -> None:
    shown = auditor.get(f"{RULES}?lock_after=2").text
    assert "Customers who would be locked: 1" in shown and "stays locked to the end" in shown
    assert "Nobody would have fared otherwise." in auditor.get(f"{RULES}?lock_after=50").text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"{CLIENT}&mode=challenge", "Nothing of this differs"),
        (f"{CLIENT}&mode=maybe", "One of the values is none"),
        (f"{CLIENT}&without_token=x", "One of the values is none"),
        (f"{CLIENT}&message_authenticator=x", "One of the values is none"),
        (f"{CLIENT}&separator=1", "One of the values is none"),
        (f"{CLIENT}&separator={quote('<script>')}", "One of the values is none"),
        (f"{CLIENT}&mode=append&days=8", "One of the values is none"),
        (f"{CLIENT}&mode=append&days=-1", "One of the values is none"),
        (f"{RULES}?lock_after=10", "Nothing of this differs"),
        (f"{RULES}?lock_after=0", "One of the values is none"),
        (f"{RULES}?lock_after=101", "One of the values is none"),
        (f"{RULES}?code_window=11", "One of the values is none"),
        (f"{RULES}?code_window=%EF%BC%92", "One of the values is none"),
        (f"{RULES}?lock_after={'9' * 400}", "One of the values is none"),
    ],
)
def test_what_cannot_be_tried_is_said_and_nothing_is_shown(auditor: ConsoleClient, path: str, said: str) -> None:
    answer = auditor.get(path)
    assert answer.status == 200 and said in answer.text and "What would have been" not in answer.text
    assert "<script>" not in answer.text


def test_a_client_that_is_not_in_the_settings_is_not_there(auditor: ConsoleClient) -> None:
    assert auditor.ask("GET", "/clients/forecast", None).headers["Location"] == "/clients"
    for path in (
        "/clients/forecast?client=nowhere",
        "/clients/forecast?client=nowhere&mode=code",
        "/clients/shadow?client=nowhere",
    ):
        assert auditor.get(path).status == 404


@pytest.mark.parametrize(
    ("language", "scheme", "phone"), [("ja", "light", False), ("en", "dark", False), ("ja", "dark", True)]
)
def test_the_pages_are_sound_and_a_form_is_an_address(
    bank: Console,
    without_token: Customer,
    chromium: Browser,
    language: str,
    scheme: str,
    phone: bool,
) -> None:
    name = f"console-{{}}-{language}-{scheme}{'-phone' if phone else ''}"
    with browser_page(chromium, phone=phone, language=language, scheme=scheme) as page:  # type: ignore[arg-type]
        sign_in(page, bank, Role.ADMINISTRATOR)
        page.goto(f"{bank.origin}{CLIENT}")
        page.set_default_timeout(15_000)
        page.locator("#without_token").select_option("reject")
        page.locator("main form button").click()
        page.wait_for_url("**/clients/forecast?**without_token=reject**")
        page.get_by_role("link", name=without_token.contract_id, exact=True).wait_for()
        screenshot(page, name.format("forecast-client"))
        assert axe(page) == [] and not overflows(page)
        page.goto(f"{bank.origin}{RULES}")
        page.locator("#lock_after").fill("2")
        page.locator("main form button").click()
        page.locator("main table").first.wait_for()
        screenshot(page, name.format("forecast-rules"))
        assert axe(page) == [] and not overflows(page)
        page.goto(f"{bank.origin}{RULES}?lock_after=0")
        assert axe(page) == [] and not overflows(page)
