"""The portal in real Chromium: phone and desktop, Japanese and English, with JavaScript and without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product

import pyotp
import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect

from tests.sekisho import STAFF, Customer, free_port
from tests.web.browser import axe, browser_page, overflows, screenshot
from tests.web.portal import Portal, portal

EVERYWHERE = list(product((True, False), ("ja", "en"), (True, False)))
BUTTONS = {
    "ja": {"next": "次へ", "enrol": "登録", "suspend": "停止", "correct": "時刻を補正", "go on": "続ける"},
    "en": {"next": "Next", "enrol": "Enrol", "suspend": "Suspend", "correct": "Correct the time", "go on": "Go on"},
}
CONTACT = (
    'contact = "せきしょコールセンター 0120-000-000（平日 9:00〜17:00、土日祝を除く）"\n'
    'contact_en = "our call centre, 0120-000-000 (weekdays 9:00-17:00)"\n'
)
FREE = "[throttle]\nfree_failures = 100\n"
DONE = {"ja": "受付番号", "en": "Reference number"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    folder = tmp_path_factory.mktemp("pages")
    port = free_port()
    soft_token = f'[soft_token]\nlisten = "127.0.0.1:{port}"\npublic_origin = "http://localhost:{port}"\n'
    with portal(folder, terms=True, more=CONTACT, login=FREE + soft_token) as opened:
        yield opened


class Hand:
    """A customer at a browser, who reads buttons in their language."""

    def __init__(self, page: Page, origin: str, language: str) -> None:
        self.page, self.origin, self.buttons = page, origin, BUTTONS[language]

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=self.buttons[name], exact=True).click()

    def sign_in(self, one: Customer, journey: str = "enrol") -> None:
        self.page.goto(f"{self.origin}/{journey}")
        self.page.locator("#contract_id").fill(one.contract_id)
        self.page.locator("#password").fill(one.password)
        self.press("next")

    def accept_terms(self) -> None:
        self.page.locator("#accept").check()
        self.press("next")

    def bind(self, token: Customer, code: str) -> None:
        self.page.locator("#token_id").fill(token.token_id)
        self.page.locator("#code").fill(code)
        self.press("enrol")

    def give(self, code: str, button: str, field: str = "code") -> None:
        self.page.locator(f"#{field}").fill(code)
        self.press(button)

    def is_at(self, path: str) -> None:
        expect(self.page).to_have_url(f"{self.origin}{path}")


@pytest.mark.parametrize(("phone", "language", "script"), EVERYWHERE)
def test_every_journey_from_enrolment_to_suspension(
    chromium: Browser, bank: Portal, phone: bool, language: str, script: bool
) -> None:
    one, new = bank.sekisho.customer(enrolled=False), bank.sekisho.customer(enrolled=False)
    with browser_page(chromium, phone=phone, language=language, script=script) as page:
        hand = Hand(page, bank.origin, language)
        hand.sign_in(one)
        hand.is_at("/enrol/terms")
        hand.accept_terms()
        used = one.code()
        hand.bind(one, used)
        hand.is_at("/enrol/done")
        expect(page.get_by_text(DONE[language], exact=True)).to_be_visible()
        hand.sign_in(one)
        hand.is_at("/enrol/old-code")
        hand.give(one.next_code(used), "next")
        hand.bind(new, new.code())
        hand.is_at("/enrol/done")
        one.token_id, one.seed = new.token_id, new.seed
        hand.sign_in(one, "resync")
        at = time.time()  # one moment for the three: pages take long enough for the token's clock to move on
        hand.page.locator("#first").fill(one.code(4, at))
        hand.give(one.code(5, at), "correct", "second")
        hand.is_at("/resync/done")
        hand.sign_in(one, "suspend")
        hand.give(one.code(6, at), "suspend")
        hand.is_at("/suspend/done")
    assert bank.sekisho.login(one.contract_id, one.password) == "Access-Accept"


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_lost_token_is_replaced_by_an_authenticator_app(chromium: Browser, bank: Portal, language: str) -> None:
    one = bank.sekisho.customer()
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    permit = bank.sekisho.desk.enrolment.permit_reissue(one.contract_id, STAFF).text
    with browser_page(chromium, phone=True, language=language, script=False) as page:
        hand = Hand(page, bank.origin, language)
        hand.sign_in(one)
        hand.give(permit, "next", "permit")
        hand.accept_terms() if page.url.endswith("/terms") else None
        page.locator("button[value=app]").click()
        expect(page.locator("img.qr")).to_be_visible()
        totp = pyotp.TOTP(page.locator("#secret").inner_text().replace(" ", ""))
        page.go_back()
        page.go_forward()
        page.reload()
        assert totp.secret not in page.content()
        hand.give(totp.now(), "enrol")
        hand.is_at("/enrol/done")


def test_the_other_language_is_a_click_away_on_every_page_and_stays(chromium: Browser, bank: Portal) -> None:
    one = bank.sekisho.customer()
    with browser_page(chromium, language="ja") as page:
        Hand(page, bank.origin, "ja").sign_in(one)
        assert page.locator("html").get_attribute("lang") == "ja"
        page.get_by_role("link", name="English").click()
        expect(page).to_have_url(f"{bank.origin}/enrol/old-code")
        assert page.locator("html").get_attribute("lang") == "en"
        page.goto(f"{bank.origin}/suspend")
        expect(page.get_by_role("button", name="Next")).to_be_visible()


def test_the_error_message_has_the_focus_and_leads_to_its_field(chromium: Browser, bank: Portal) -> None:
    one = bank.sekisho.customer()
    with browser_page(chromium, language="ja", script=False) as page:
        hand = Hand(page, bank.origin, "ja")
        hand.sign_in(one, "suspend")
        hand.give("１２３", "suspend")
        assert page.title().startswith("エラー：")
        expect(page.get_by_role("alert")).to_be_focused()
        page.get_by_role("alert").get_by_role("link").click()
        expect(page.locator("#code")).to_be_focused()
        assert page.locator("#code").input_value() == ""
        assert page.locator("#code").get_attribute("aria-invalid") == "true"


def each_page(bank: Portal, page: Page, language: str) -> Iterator[str]:
    """Lead a browser to every page there is; the name of each."""
    hand = Hand(page, bank.origin, language)
    for path in ("/", "/enrol", "/suspend", "/resync", "/lost", "/expired", "/no-such-page"):
        page.goto(bank.origin + path)
        yield path.strip("/") or "start"
    one, new = bank.sekisho.customer(enrolled=False), bank.sekisho.customer(enrolled=False)
    page.goto(f"{bank.origin}/enrol")
    hand.press("next")
    yield "enrol-error"
    hand.sign_in(one)
    yield "terms"
    hand.press("next")
    yield "terms-error"
    hand.accept_terms()
    yield "token"
    hand.give("123456", "enrol")
    yield "token-error"
    page.locator("button[value=app]").click()
    yield "app"
    page.reload()
    yield "app-again"
    page.goto(f"{bank.origin}/session")
    yield "session"
    hand.press("go on")
    yield "app-extended"
    page.locator("button[value=back]").click()
    used = one.code()
    hand.bind(one, used)
    yield "enrolled"
    hand.sign_in(one)
    yield "old-code"
    hand.give("000000", "next")
    yield "old-code-error"
    hand.give(one.next_code(used), "next")
    used = new.code()
    hand.bind(new, used)
    yield "changed"
    hand.sign_in(one, "resync")
    yield "resync-codes"
    page.goto(f"{bank.origin}/other")
    yield "other"
    hand.sign_in(one, "suspend")
    yield "suspend-code"
    hand.give(new.next_code(used), "suspend")
    yield "suspended"
    hand.sign_in(one, "suspend")
    yield "not-in-use"
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    hand.sign_in(one)
    yield "reported-lost"
    bank.sekisho.desk.enrolment.permit_reissue(one.contract_id, STAFF)
    hand.sign_in(one)
    yield "permit"
    bank.sekisho.desk.customers.lock(one.contract_id, STAFF)
    hand.sign_in(one)
    yield "locked"


@pytest.mark.parametrize(("phone", "language"), [(True, "ja"), (False, "en"), (True, "en"), (False, "ja")])
def test_no_page_has_a_barrier_or_is_heavy(chromium: Browser, bank: Portal, phone: bool, language: str) -> None:
    weights: dict[str, int] = {}

    def weigh(response: Response) -> None:
        weights[response.url] = int(response.headers.get("content-length", "0"))

    found: list[str] = []
    with browser_page(chromium, phone=phone, language=language) as page:
        page.on("response", weigh)
        for name in each_page(bank, page, language):
            page.wait_for_load_state()
            screenshot(page, f"portal-{name}-{language}-{'phone' if phone else 'desktop'}")
            found += [f"{name}: {line}" for line in axe(page)]
            if overflows(page):
                found.append(f"{name}: wider than the screen")
            small = page.evaluate(
                "[...document.querySelectorAll('button,input:not([type=hidden]),.links a,.languages a,a.button')]"
                ".filter(e => { const r = (e.labels?.[0] && e.type.match(/radio|checkbox/) ? e.parentElement : e)"
                ".getBoundingClientRect(); return r.height < 44 }).map(e => e.outerHTML.slice(0, 80))"
            )
            found += [f"{name}: smaller than 44 px: {one}" for one in small]
    assert found == []
    fixed = sum(weight for url, weight in weights.items() if "/static/" in url)
    assert max(weight for url, weight in weights.items() if "/static/" not in url) + fixed < 50_000


@pytest.mark.parametrize("language", ["ja", "en"])
def test_pages_fit_320_pixels_and_twice_the_size_of_letters(chromium: Browser, bank: Portal, language: str) -> None:
    with browser_page(chromium, language=language, viewport={"width": 320, "height": 640}) as page:
        wide = []
        for name in each_page(bank, page, language):
            page.wait_for_load_state()
            for size in ("100%", "200%"):
                page.evaluate("size => { document.documentElement.style.fontSize = size }", size)
                if overflows(page):
                    wide.append(f"{name} at {size}")
            if name in ("enrol", "app"):
                screenshot(page, f"portal-{name}-{language}-320-twice")
        assert wide == []


def test_a_browser_names_the_origin_of_a_form(chromium: Browser, bank: Portal) -> None:
    """Older Safari sends no Sec-Fetch-Site, so its forms pass by Origin alone; with the policy no-referrer browsers
    send "null" there."""
    with browser_page(chromium) as page:
        forms: list[Request] = []
        page.on("request", lambda request: forms.append(request) if request.method == "POST" else None)
        hand = Hand(page, bank.origin, "ja")
        hand.sign_in(bank.sekisho.customer(), "suspend")
        hand.is_at("/suspend/code")
        hand.give("000000", "suspend")
        hand.is_at("/suspend/code")
        assert [one.all_headers()["origin"] for one in forms] == [bank.origin, bank.origin]
