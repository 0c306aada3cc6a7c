"""The customers' pages where a customer may have several tokens: chosen, added, changed, removed, named."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import product

import pytest
from playwright.sync_api import Browser, Page, expect

from otp_core.store.bindings import HeldToken
from tests.sekisho import STAFF, Customer
from tests.web.browser import axe, browser_page, overflows, screenshot
from tests.web.portal import Answer, Portal, PortalClient, portal

SEVERAL = "[login]\ntokens_per_customer = 2\n[throttle]\nfree_failures = 100\n"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal(tmp_path_factory.mktemp("tokens"), login=SEVERAL) as opened:
        yield opened


def held(bank: Portal, one: Customer) -> list[HeldToken]:
    return bank.sekisho.desk.devices.of(one.contract_id)


def held_ids(bank: Portal, one: Customer) -> set[str]:
    return {token.token_id for token in held(bank, one)}


def spare(bank: Portal) -> Customer:
    return bank.sekisho.customer(enrolled=False)


def with_two(bank: Portal) -> tuple[Customer, Customer]:
    """A customer with a second token, and that token."""
    one, other = bank.sekisho.customer(), spare(bank)
    with bank.sekisho.store.work() as work:
        record, token = work.login_record(one.contract_id), work.token(other.token_id)
        assert record is not None and token is not None
        work.bind_tokens([token.key], shared=False)
        work.bind(record.customer_key, token.key, 1_800_000_000_000, "PC")
    return one, other


CHOICE = r'name="token" value="([^"]*)"[^>]*><label[^>]*>(.*?)<small>\s*Token ID ending in (....)<'


def radios(answer: Answer) -> list[tuple[str, str]]:
    """The tokens that a page lets choose from: the end of their IDs, and what they are called."""
    return [(end, html.unescape(name)) for _, name, end in re.findall(CHOICE, answer.text)]


def end_of(one: Customer) -> str:
    return one.token_id[-4:]


def handle_of(answer: Answer | None, one: Customer) -> str:
    """What stands for a token in the forms of a page."""
    assert answer is not None
    (found,) = [handle for handle, _, end in re.findall(CHOICE, answer.text) if end == end_of(one)]
    return str(found)


def test_a_customer_with_one_token_adds_another_and_calls_it_something(bank: Portal) -> None:
    one, new, client = bank.sekisho.customer(), spare(bank), PortalClient(bank)
    at = client.sign_in(one)
    assert at.title.startswith("Your tokens") and radios(at) == [(end_of(one), "Token without a name")]
    assert "Remove it" not in at.text, "it is the only one"
    assert "a token that you have" in client.post("/enrol/tokens", go="add").text
    assert client.post("/enrol/old-code", code=one.code()).title.startswith("Enrol the token")
    done = client.post("/enrol/token", token_id=new.token_id, code=new.code(), name="<b>my phone</b>", go="enrol")
    assert done.title.startswith("The token is added")
    assert [(token.token_id, token.name) for token in held(bank, one)] == [
        (one.token_id, None),
        (new.token_id, "<b>my phone</b>"),
    ]
    again = client.sign_in(one)
    assert radios(again)[1] == (end_of(new), "<b>my phone</b>") and "<b>my" not in again.text
    assert "as many tokens as you may have (2)" in again.text and 'value="add"' not in again.text


def test_a_forged_wish_for_a_third_token_is_refused_and_changes_nothing(bank: Portal) -> None:
    (one, _), new, client = with_two(bank), spare(bank), PortalClient(bank)
    client.sign_in(one)
    client.post("/enrol/tokens", go="add")
    client.post("/enrol/old-code", code=one.code())
    before = held(bank, one)
    at = client.post("/enrol/token", token_id=new.token_id, code=new.code(), go="enrol")
    assert at.title.startswith("Your tokens") and "something has changed" in at.text
    assert [token.token_id for token in held(bank, one)] == [token.token_id for token in before]


def test_a_change_concerns_the_token_that_was_chosen_by_the_code_of_any(bank: Portal) -> None:
    (one, pc), new, client = with_two(bank), spare(bank), PortalClient(bank)
    client.sign_in(one)
    page = client.post("/enrol/tokens", go="change", token=handle_of(client.at, pc))
    assert "PC" in page.text
    client.post("/enrol/old-code", code=one.code())
    done = client.post("/enrol/token", token_id=new.token_id, code=new.code(), name="", go="enrol")
    assert done.title.startswith("The token is changed")
    assert held_ids(bank, one) == {one.token_id, new.token_id}


def test_a_token_is_removed_by_the_code_of_another(bank: Portal) -> None:
    (one, pc), client = with_two(bank), PortalClient(bank)
    client.sign_in(one)
    client.post("/enrol/tokens", go="remove", token=handle_of(client.at, pc))
    assert client.post("/enrol/remove", code="000000", go="remove").wrong.startswith("This one-time password")
    assert len(held(bank, one)) == 2
    assert client.post("/enrol/remove", code=one.code(), go="remove").title.startswith("The token is removed")
    assert held_ids(bank, one) == {one.token_id}


def test_a_token_is_named_and_a_name_that_is_none_is_said_on_its_page(bank: Portal) -> None:
    (one, pc), client = with_two(bank), PortalClient(bank)
    client.sign_in(one)
    client.post("/enrol/tokens", go="name", token=handle_of(client.at, pc))
    for wrong in ("x" * 41, "a\x1bb", "a\u202eb", "a\u200bb"):
        at = client.post("/enrol/name", name=wrong, go="keep")
        assert at.wrong.startswith("The name could not be accepted"), wrong
    assert [token.name for token in held(bank, one) if token.token_id == pc.token_id] == ["PC"]
    kept = client.post("/enrol/name", name=" 仕事用　ＰＣ ", go="keep")
    assert "The name was kept." in kept.text and (end_of(pc), "仕事用 ＰＣ") in radios(kept)


@pytest.mark.parametrize("go", ["change", "name", "remove"])
@pytest.mark.parametrize("token", ["", "VSMT99999999", "its ID", "of another session", "somebody else's"])
def test_a_token_that_is_not_the_customers_cannot_be_chosen(bank: Portal, go: str, token: str) -> None:
    (one, pc), client, other = with_two(bank), PortalClient(bank), PortalClient(bank)
    client.sign_in(one)
    if token == "somebody else's":
        another, _ = with_two(bank)
        token = handle_of(other.sign_in(another), another)
    elif token == "of another session":
        token = handle_of(other.sign_in(one), pc)
    elif token == "its ID":
        token = pc.token_id
    at = client.post("/enrol/tokens", go=go, token=token)
    assert at.wrong.startswith("Choose one of your tokens.")


def test_before_a_code_no_page_shows_a_token_id(bank: Portal) -> None:
    """Whoever has the password alone may be somebody else: names, the ends of the IDs, and nothing to look up."""
    (one, pc), client = with_two(bank), PortalClient(bank)
    seen = [client.sign_in(one, "resync"), client.sign_in(one)]
    for go in ("name", "remove", "change"):
        at = client.post("/enrol/tokens", go=go, token=handle_of(client.at, pc))
        assert f"ending in {end_of(pc)}" in at.text
        page = {"name": "/enrol/name", "remove": "/enrol/remove", "change": "/enrol/old-code"}[go]
        seen += [at, client.post(page, go="back")]
    for token in (one, pc):
        for answer in seen:
            text = answer.text.replace(" ", "")
            assert token.token_id not in text and token.token_id[:-4] not in text, answer.title


def test_back_leads_to_the_list_again(bank: Portal) -> None:
    (one, pc), client = with_two(bank), PortalClient(bank)
    client.sign_in(one)
    for go, page in (("name", "/enrol/name"), ("remove", "/enrol/remove"), ("change", "/enrol/old-code")):
        client.post("/enrol/tokens", go=go, token=handle_of(client.at, pc))
        assert client.post(page, go="back").title.startswith("Your tokens")


def test_a_token_that_is_lost_meanwhile_is_not_changed(bank: Portal) -> None:
    (one, pc), new, client = with_two(bank), spare(bank), PortalClient(bank)
    client.sign_in(one)
    client.post("/enrol/tokens", go="change", token=handle_of(client.at, pc))
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF, token_id=pc.token_id)
    client.sign_in(one)
    assert radios(client.get("/enrol/tokens")) == [(end_of(one), "Token without a name")]
    assert held_ids(bank, one) == {one.token_id} and new.token_id not in held_ids(bank, one)


def test_a_suspension_takes_the_code_of_any_token_and_a_correction_asks_which(bank: Portal) -> None:
    (one, pc), client = with_two(bank), PortalClient(bank)
    at = client.sign_in(one, "resync")
    assert {end for end, _ in radios(at)} == {end_of(one), end_of(pc)}
    assert client.post("/resync/codes", first=pc.code(3), second=pc.code(4)).wrong.startswith("Choose one")
    done = client.post("/resync/codes", first=pc.code(3), second=pc.code(4), token=handle_of(at, pc))
    assert done.title.startswith("The token's time is corrected")
    client.sign_in(one, "suspend")
    assert client.post("/suspend/code", code=one.code()).title.startswith("One-time passwords are suspended")


def test_with_the_setting_at_one_a_customer_of_one_token_sees_no_list(tmp_path_factory: pytest.TempPathFactory) -> None:
    with portal(tmp_path_factory.mktemp("one")) as opened:
        one, client = opened.sekisho.customer(), PortalClient(opened)
        assert client.sign_in(one).title.startswith("One-time password of the present token")
        assert "Add a token" not in client.get("/").text
        client.post("/enrol/old-code", code=one.code())
        assert 'name="name"' not in (client.at.text if client.at else "")


# In a browser, with pictures


def each_page(bank: Portal, page: Page) -> Iterator[str]:
    """Lead a browser to every page of several tokens; the name of each."""
    one, new = bank.sekisho.customer(), spare(bank)

    def go(value: str) -> None:
        page.locator(f"button[value={value}]").click()

    def sign_in(journey: str = "enrol") -> None:
        page.goto(f"{bank.origin}/{journey}")
        page.locator("#contract_id").fill(one.contract_id)
        page.locator("#password").fill(one.password)
        page.locator("main form button").first.click()

    page.goto(bank.origin)
    yield "start-several"
    sign_in()
    yield "tokens-one"
    go("name")
    page.locator("#name").fill("わたしのスマホ")
    yield "name"
    go("keep")
    yield "named"
    go("add")
    yield "old-code-add"
    used = one.code()
    page.locator("#code").fill(used)
    page.locator("main form button").first.click()
    page.locator("#token_id").fill(new.token_id)
    page.locator("#code").fill(new.code())
    page.locator("#name").fill("仕事用のパソコン")
    yield "token-add"
    go("enrol")
    yield "added"
    sign_in()
    yield "tokens-two"
    go("change")
    yield "tokens-error"
    page.locator("input[type=radio]").nth(1).check()
    go("change")
    yield "old-code-several"
    go("back")
    page.locator("input[type=radio]").nth(1).check()
    go("remove")
    yield "remove"
    sign_in("resync")
    yield "resync-several"
    sign_in()
    page.locator("input[type=radio]").nth(1).check()
    go("remove")
    page.locator("#code").fill(one.next_code(used))
    go("remove")
    yield "removed"
    expect(page).to_have_url(f"{bank.origin}/enrol/done")


@pytest.mark.parametrize(("phone", "language"), list(product((True, False), ("ja", "en"))))
def test_no_page_of_several_tokens_has_a_barrier(chromium: Browser, bank: Portal, phone: bool, language: str) -> None:
    found: list[str] = []
    with browser_page(chromium, phone=phone, language=language) as page:
        for name in each_page(bank, page):
            page.wait_for_load_state()
            screenshot(page, f"portal-{name}-{language}-{'phone' if phone else 'desktop'}")
            found += [f"{name}: {line}" for line in axe(page)]
            if overflows(page):
                found.append(f"{name}: wider than the screen")
    assert found == []


@pytest.mark.parametrize("language", ["ja", "en"])
def test_pages_of_several_tokens_fit_320_pixels_and_twice_the_size_of_letters(
    chromium: Browser, bank: Portal, language: str
) -> None:
    with browser_page(chromium, language=language, viewport={"width": 320, "height": 640}) as page:
        wide = []
        for name in each_page(bank, page):
            page.wait_for_load_state()
            for size in ("100%", "200%"):
                page.evaluate("size => { document.documentElement.style.fontSize = size }", size)
                if overflows(page):
                    wide.append(f"{name} at {size}")
        assert wide == []
