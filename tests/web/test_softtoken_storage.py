"""Whether a browser keeps the soft token: asked at each unlocking, and told. The home screen first, where it counts."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Playwright, expect

from tests.web.browser import SLOW_MS, screenshot
from tests.web.phone import Phone, phone
from tests.web.softtoken import SoftTokenServer, open_by_pin, set_up_by_pin, shown_code, shown_token_id

ANSWER = """(answer) => {
    globalThis.asked = 0;
    navigator.storage.persisted = async () => false;
    navigator.storage.persist = async () => { asked += 1; if (answer === null) throw new TypeError(); return answer; };
}"""
APPLE = """(() => {
    Object.defineProperty(navigator, "standalone", { get: () => IN_APP });
    Object.defineProperty(navigator, "maxTouchPoints", { get: () => 5 });
})()"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    one = SoftTokenServer(tmp_path_factory.mktemp("server"), "tokens_per_address = 1000\ntokens_per_hour = 1000")
    one.start()
    yield one
    one.kill()


@pytest.fixture
def own(playwright: Playwright, tmp_path: Path) -> Iterator[Phone]:
    with phone(playwright, tmp_path / "profile", whole=True) as one:
        yield one
        assert one.errors == []


def apple(page: Page, *, in_app: bool) -> None:
    """What Apple's phones say of themselves; the rest is Chromium's."""
    page.add_init_script(APPLE.replace("IN_APP", "true" if in_app else "false"))


def test_the_browsers_own_answer_is_shown(own: Phone, server: SoftTokenServer) -> None:
    own.page.goto(server.origin)
    expect(own.page.locator("#kept")).to_be_hidden()
    set_up_by_pin(own.page)
    kept = own.page.evaluate("navigator.storage.persisted()")
    said = "自動では消しません" if kept else "自動で消すことがあります"
    expect(own.page.locator("#kept")).to_contain_text(said, timeout=SLOW_MS)


@pytest.mark.parametrize(
    ("answer", "said"),
    [(True, "自動では消しません"), (False, "自動で消すことがあります"), (None, "確かめられません")],
)
def test_it_is_asked_at_each_unlocking_and_the_answer_is_shown(
    own: Phone, server: SoftTokenServer, answer: bool | None, said: str
) -> None:
    own.page.goto(server.origin)
    own.page.evaluate(ANSWER, answer)
    set_up_by_pin(own.page)
    expect(own.page.locator("#kept")).to_contain_text(said, timeout=SLOW_MS)
    own.page.locator("#lock").click()
    open_by_pin(own.page)
    expect(own.page.locator("#token")).to_be_visible(timeout=SLOW_MS)
    assert own.page.evaluate("asked") == 2
    own.page.get_by_role("button", name="English").click()
    expect(own.page.locator("#kept")).not_to_contain_text(said)


def test_a_tab_on_apples_phones_leads_to_the_home_screen_before_anything_is_set_up(
    own: Phone, server: SoftTokenServer
) -> None:
    apple(own.page, in_app=False)
    before = len(server.issued())
    own.page.goto(server.origin)
    expect(own.page.get_by_role("heading", name="先に、ホーム画面に追加してください")).to_be_visible(timeout=SLOW_MS)
    expect(own.page.locator("#setup")).to_be_hidden()
    assert own.page.locator(".steps li").count() == own.page.locator(".steps svg").count() == 3
    screenshot(own.page, "token-home-ja-light")
    for scheme in ("light", "dark"):
        own.page.emulate_media(color_scheme=scheme)
        assert Axe().run(own.page).violations_count == 0
    own.page.set_viewport_size({"width": 320, "height": 640})
    assert own.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert len(server.issued()) == before
    own.page.locator("#stay-in-tab").click()
    expect(own.page.locator("#setup-title")).to_be_focused()
    set_up_by_pin(own.page)
    expect(own.page.locator("#kept")).to_contain_text("７日間使わないと", timeout=SLOW_MS)


LINE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
MAIL = "Mozilla/5.0 (Linux; Android 15; Pixel 9; wv) AppleWebKit/537.36 Version/4.0 Chrome/137.0 Safari/537.36"
SAFARI = LINE.replace("Mobile", "Version/18.5 Mobile") + " Safari/604.1"
CHROME = MAIL.replace("; wv", "").replace("Version/4.0 ", "")


@pytest.mark.parametrize(
    ("agent", "is_apples", "inside"),
    [
        (LINE, True, True),
        (LINE + " Safari Line/15.8.0", True, True),
        (SAFARI + " YJApp-IOS jp.co.yahoo.ipn.appli/4.150", True, True),
        (MAIL, False, True),
        (MAIL + " Line/15.8.0/IAB", False, True),
        (SAFARI, True, False),
        (CHROME, False, False),
    ],
)
def test_inside_another_app_the_way_to_a_browser_is_told_before_the_set_up(
    own: Phone, server: SoftTokenServer, agent: str, is_apples: bool, inside: bool
) -> None:
    """A token that is set up there is not found again from the browser, or from the bank's page in it."""
    own.page.add_init_script(f"Object.defineProperty(navigator, 'userAgent', {{ get: () => {agent!r} }})")
    if is_apples:
        apple(own.page, in_app=False)
    own.page.goto(server.origin)
    own.page.locator("#home" if is_apples else "#setup").wait_for()
    hint = own.page.locator("[data-inside-app]").filter(visible=True)
    assert hint.count() == inside
    if inside:
        expect(hint).to_contain_text("Safari や Chrome などのブラウザーで開き直してください")


@pytest.mark.parametrize(
    ("answer", "said"), [(True, "自動では消しません"), (False, "７日間使わないと"), (None, "７日間使わないと")]
)
def test_a_mac_says_what_its_browser_does(own: Phone, server: SoftTokenServer, answer: bool | None, said: str) -> None:
    own.page.add_init_script("Object.defineProperty(navigator, 'vendor', { get: () => 'Apple Computer, Inc.' })")
    own.page.goto(server.origin)
    own.page.evaluate(ANSWER, answer)
    set_up_by_pin(own.page)
    expect(own.page.locator("#kept")).to_contain_text(said, timeout=SLOW_MS)


def test_the_app_on_apples_home_screen_starts_with_the_set_up(own: Phone, server: SoftTokenServer) -> None:
    apple(own.page, in_app=True)
    own.page.goto(server.origin)
    expect(own.page.locator("#setup")).to_be_visible(timeout=SLOW_MS)


# A token as version 0.1.0 stored it: PIN 814725, seed 64656667…77 (hexadecimal).
OF_0_1_0 = """async () => {
    const octets = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
    const record = {
        tokenId: "SKSO12345678", digits: 6, period: 30, enrolBy: 1800000000000,
        lock: { kind: "pin", salt: octets("000102030405060708090a0b0c0d0e0f"), iterations: 1000000 },
        iv: octets("202122232425262728292a2b"),
        sealed: octets("b8c04888644a570da05951f9687d94f715f89998eec00d1da815afe8bcd1ee97e67a0928"),
    };
    const database = await new Promise((resolve, reject) => {
        const opening = indexedDB.open("soft-token", 1);
        opening.onupgradeneeded = () => opening.result.createObjectStore("token");
        opening.onsuccess = () => resolve(opening.result);
        opening.onerror = reject;
    });
    await new Promise((resolve, reject) => {
        const transaction = database.transaction("token", "readwrite");
        transaction.objectStore("token").add(record, "current");
        transaction.oncomplete = resolve;
        transaction.onabort = reject;
    });
    database.close();
}"""


def test_a_token_of_0_1_0_still_opens_and_shows_its_codes(own: Phone, server: SoftTokenServer) -> None:
    own.page.goto(server.origin)
    own.page.evaluate(OF_0_1_0)
    own.page.reload()
    expect(own.page.locator("#locked")).to_be_visible(timeout=SLOW_MS)
    open_by_pin(own.page, "814725")
    assert shown_token_id(own.page) == "SKSO12345678"
    expect(own.page.locator("#code")).not_to_have_text("", timeout=SLOW_MS)
    oracle, now = pyotp.TOTP(base64.b32encode(bytes(range(100, 120))).decode()), time.time()
    assert shown_code(own.page) in {oracle.at(now + away) for away in (-2, 0, 2)}
