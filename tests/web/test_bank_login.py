"""From a real browser through the sample bank over RADIUS to the top page: every login, on every kind of device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.sekisho import PASSWORD, STAFF, Sekisho, client_table, free_port
from tests.web.bank import BOTH, SAID, bank_beside, enter_code, is_inside, is_told, log_in
from tests.web.browser import axe, browser_page, overflows, screenshot

PORTAL = "http://localhost:1"
CLIENT = client_table("bank", "127.0.0.0/8", "challenge")
LOGIN = "[login]\nlock_after = 3\nchallenge_tries = 2\n[throttle]\nfirst_delay = 0.0\npassword_first_delay = 0.0\n"
DEVICES = [
    pytest.param(True, "ja", True, id="phone-ja"),
    pytest.param(True, "en", False, id="phone-en-noscript"),
    pytest.param(False, "ja", False, id="desktop-ja-noscript"),
    pytest.param(False, "en", True, id="desktop-en"),
]


@pytest.fixture(scope="module")
def sekisho(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    one = Sekisho(tmp_path_factory.mktemp("sekisho"), clients=CLIENT + BOTH, more=LOGIN)
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture(scope="module")
def bank(sekisho: Sekisho, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with bank_beside(
        tmp_path_factory.mktemp("bank"), sekisho.port, more=("--portal", PORTAL, "--source", "127.0.0.2")
    ) as address:
        yield address


@pytest.fixture
def page(chromium: Browser, bank: str) -> Iterator[Page]:
    with browser_page(chromium) as opened:
        opened.goto(bank)
        yield opened


@pytest.mark.parametrize(("phone", "language", "script"), DEVICES)
def test_password_and_code_lead_to_the_top_page(
    chromium: Browser, sekisho: Sekisho, bank: str, phone: bool, language: str, script: bool
) -> None:
    one = sekisho.customer()
    name = f"bank-{'phone' if phone else 'desktop'}-{language}"
    with browser_page(chromium, phone=phone, language=language, script=script) as page:
        page.goto(bank)
        screenshot(page, f"{name}-login")
        log_in(page, one.contract_id, PASSWORD)
        expect(page.get_by_text(SAID[language][0])).to_be_visible()
        screenshot(page, f"{name}-code")
        enter_code(page, one.code())
        is_inside(page, one.contract_id)
        screenshot(page, f"{name}-top")
        page.locator("form[action='/logout'] button").click()
        is_told(page, "ログアウト" if language == "ja" else "logged out")
        page.goto(f"{bank}/top")
        expect(page.locator("#password")).to_be_visible()
    # The source is the browser (Calling-Station-Id), not the gateway, which is 127.0.0.2.
    assert {row.source for row in sekisho.audit(one.contract_id)} == {"", "127.0.0.1"}


@pytest.mark.parametrize(("phone", "language", "script"), DEVICES)
def test_without_enrolment_the_password_is_enough_and_a_link_leads_to_the_portal(
    chromium: Browser, sekisho: Sekisho, bank: str, phone: bool, language: str, script: bool
) -> None:
    one = sekisho.customer(enrolled=False)
    with browser_page(chromium, phone=phone, language=language, script=script) as page:
        page.goto(bank)
        log_in(page, one.contract_id, PASSWORD)
        is_inside(page, one.contract_id)
        assert page.locator("main a").get_attribute("href") == f"{PORTAL}/enrol?lang={language}"


def test_after_a_suspension_the_password_is_enough_and_after_it_ends_it_is_not(sekisho: Sekisho, page: Page) -> None:
    one = sekisho.customer()
    sekisho.desk.enrolment.suspend(one.contract_id, None, STAFF)
    log_in(page, one.contract_id, PASSWORD)
    is_inside(page, one.contract_id)
    page.locator("form[action='/logout'] button").click()
    sekisho.desk.enrolment.resume(one.contract_id, STAFF)
    log_in(page, one.contract_id, PASSWORD)
    expect(page.locator("#code")).to_be_visible()


def test_a_wrong_password_and_a_stranger_read_the_same(sekisho: Sekisho, page: Page) -> None:
    one = sekisho.customer()
    said = []
    for contract_id in (one.contract_id, "nobody-at-all"):
        log_in(page, contract_id, "machigai")
        is_told(page, SAID["ja"][2])
        said.append(page.locator("[role=alert]").inner_text())
        assert page.locator("#contract_id").input_value() == contract_id
        assert page.locator("#password").input_value() == ""
    assert said[0] == said[1]


def test_after_a_wrong_code_the_right_one_is_accepted(sekisho: Sekisho, page: Page) -> None:
    one = sekisho.customer()
    log_in(page, one.contract_id, PASSWORD)
    enter_code(page, "000000" if one.code() != "000000" else "000001")
    is_told(page, SAID["ja"][1])
    assert "エラー" in page.title()
    screenshot(page, "bank-phone-ja-wrong-code")
    enter_code(page, one.code())
    is_inside(page, one.contract_id)


def test_a_used_code_is_refused_like_a_wrong_one_and_the_next_is_accepted(sekisho: Sekisho, page: Page) -> None:
    one = sekisho.customer()
    used = one.code()
    for _ in range(2):
        log_in(page, one.contract_id, PASSWORD)
        enter_code(page, used)
        if page.locator("form[action='/logout']").count():
            page.locator("form[action='/logout'] button").click()
    is_told(page, SAID["ja"][1])
    enter_code(page, one.next_code(used))
    is_inside(page, one.contract_id)


def test_too_many_wrong_codes_lock_and_the_page_names_the_counter(sekisho: Sekisho, page: Page) -> None:
    one = sekisho.customer()
    wrong = [code for code in ("000000", "111111", "222222") if code not in {one.code(step) for step in (-1, 0, 1, 2)}]
    for code in (*wrong, *wrong)[:3]:
        if not page.locator("#code").count():
            log_in(page, one.contract_id, PASSWORD)
        enter_code(page, code)
        expect(page.locator("[role=alert]")).to_be_visible()
    if page.locator("#code").count():
        page.locator(".way").click()
    log_in(page, one.contract_id, PASSWORD)
    is_told(page, SAID["ja"][2])
    is_told(page, "窓口")
    screenshot(page, "bank-phone-ja-locked")
    with sekisho.store.work() as work:
        record = work.login_record(one.contract_id)
    assert record is not None and record.locked_at is not None


def test_full_width_digits_and_spaces_are_a_code_too(sekisho: Sekisho, page: Page) -> None:
    one = sekisho.customer()
    log_in(page, one.contract_id, PASSWORD)
    wide = one.code().translate({ord("0") + digit: ord("０") + digit for digit in range(10)})
    enter_code(page, f" {wide[:3]} {wide[3:]} ")
    is_inside(page, one.contract_id)


def test_back_reload_and_a_double_click_do_no_harm(sekisho: Sekisho, bank: str, page: Page) -> None:
    one = sekisho.customer()
    page.locator("#contract_id").fill(one.contract_id)
    page.locator("#password").fill(PASSWORD)
    page.locator("form[action='/login'] button").dblclick()
    expect(page.locator("#code")).to_be_visible()
    page.reload()
    page.locator("#code").fill(one.code())
    page.locator("form[action='/code'] button").dblclick(no_wait_after=True)
    is_inside(page, one.contract_id)
    page.reload()
    is_inside(page, one.contract_id)
    page.goto(bank)
    is_inside(page, one.contract_id)


def test_the_language_changes_in_mid_login(sekisho: Sekisho, page: Page) -> None:
    one = sekisho.customer()
    log_in(page, one.contract_id, PASSWORD)
    page.get_by_text("English").click()
    expect(page.get_by_text(SAID["en"][0])).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    enter_code(page, one.code())
    is_inside(page, one.contract_id)


def test_the_login_page_has_the_guides_links(page: Page) -> None:
    links = {one.inner_text(): one.get_attribute("href") for one in page.locator(".links a").all()}
    assert links["ワンタイムパスワードの利用登録はこちら"] == f"{PORTAL}/enrol?lang=ja"
    assert links["ワンタイムパスワード利用停止はこちら"] == f"{PORTAL}/suspend?lang=ja"


@pytest.mark.parametrize(("phone", "language"), [(True, "ja"), (False, "en")])
def test_axe_finds_nothing_and_nothing_is_too_wide(
    chromium: Browser, sekisho: Sekisho, bank: str, phone: bool, language: str
) -> None:
    one = sekisho.customer()
    with browser_page(chromium, phone=phone, language=language) as page:
        page.goto(bank)
        if phone:
            page.set_viewport_size({"width": 320, "height": 640})
        assert (axe(page), overflows(page)) == ([], False)
        log_in(page, one.contract_id, "machigai")
        assert (axe(page), overflows(page)) == ([], False)
        log_in(page, one.contract_id, PASSWORD)
        assert (axe(page), overflows(page)) == ([], False)
        enter_code(page, "12345")
        assert (axe(page), overflows(page)) == ([], False)
        enter_code(page, one.code())
        is_inside(page, one.contract_id)
        assert (axe(page), overflows(page)) == ([], False)


def test_the_second_server_answers_for_a_silent_one_and_two_silent_ones_mean_later(
    chromium: Browser, sekisho: Sekisho, tmp_path: Path
) -> None:
    one = sekisho.customer()
    silent = free_port()
    with bank_beside(tmp_path, silent, sekisho.port) as address, browser_page(chromium) as page:
        page.goto(address)
        log_in(page, one.contract_id, PASSWORD)
        enter_code(page, one.code())
        is_inside(page, one.contract_id)
    with bank_beside(tmp_path, silent, free_port()) as address, browser_page(chromium) as page:
        page.goto(address)
        log_in(page, one.contract_id, PASSWORD)
        is_told(page, "しばらくしてから")
        screenshot(page, "bank-phone-ja-silence")


def test_a_reply_under_another_secret_is_dropped(chromium: Browser, sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer(enrolled=False)
    short = ("--wait", "1", "--tries", "1")
    with (
        bank_beside(tmp_path, sekisho.port, secret="somebody-elses-secret", more=short) as address,
        browser_page(chromium) as page,
    ):
        page.goto(address)
        log_in(page, one.contract_id, PASSWORD)
        is_told(page, "しばらくしてから")


def test_an_expired_session_is_told_so_and_begins_again(chromium: Browser, sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer(enrolled=False)
    with bank_beside(tmp_path, sekisho.port, more=("--idle", "4")) as address, browser_page(chromium) as page:
        page.goto(address)
        log_in(page, one.contract_id, PASSWORD)
        is_inside(page, one.contract_id)
        page.wait_for_timeout(5000)
        page.goto(f"{address}/top")
        is_told(page, "有効期限")


def test_a_form_from_elsewhere_is_not_taken(chromium: Browser, bank: str) -> None:
    with browser_page(chromium) as page:
        foreign = page.request.post(f"{bank}/login", form={"contract_id": "a", "password": "b"})
        assert foreign.status == 403
        forged = page.request.post(f"{bank}/logout", headers={"Origin": "http://localhost:1"})
        assert forged.status == 403


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=x", "--x"),
        ("application/x-www-form-urlencoded; charset=utf-99", "contract_id=a"),
    ],
)
def test_a_malformed_form_is_a_client_error(chromium: Browser, bank: str, kind: str, body: str) -> None:
    with browser_page(chromium) as page:
        answer = page.request.post(f"{bank}/login", data=body, headers={"Content-Type": kind, "Origin": bank})
        assert answer.status == 400


@pytest.mark.parametrize(("language", "title"), [("ja", "ページが見つかりません"), ("en", "There is no such page")])
def test_a_page_that_does_not_exist_is_a_page_that_leads_to_the_login(
    chromium: Browser, bank: str, language: str, title: str
) -> None:
    with browser_page(chromium, language=language) as page:
        answer = page.goto(f"{bank}/no-such-page")
        assert answer is not None and answer.status == 404
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        expect(page.locator("h1")).to_have_text(title)
        assert axe(page) == []
        screenshot(page, f"bank-phone-{language}-no-such-page")
        page.locator("main a").click()
        expect(page.locator("#password")).to_be_visible()


def test_no_sum_of_money_breaks_before_its_currency(chromium: Browser, sekisho: Sekisho, bank: str) -> None:
    one = sekisho.customer(enrolled=False)
    with browser_page(chromium, viewport={"width": 320, "height": 640}) as page:
        page.goto(bank)
        log_in(page, one.contract_id, PASSWORD)
        is_inside(page, one.contract_id)
        for place in page.locator("td.sum").all():
            lines = (
                "e => { const r = document.createRange(); r.selectNodeContents(e); return r.getClientRects().length }"
            )
            assert place.evaluate(lines) == 1
        assert not overflows(page)


def test_a_code_page_of_another_tab_sends_no_code_for_another_customer(
    chromium: Browser, sekisho: Sekisho, bank: str
) -> None:
    one, other = sekisho.customer(), sekisho.customer()
    with browser_page(chromium) as page:
        page.goto(bank)
        log_in(page, one.contract_id, PASSWORD)
        expect(page.locator("#code")).to_be_visible()
        tab = page.context.new_page()
        tab.goto(bank)
        log_in(tab, other.contract_id, PASSWORD)
        expect(tab.locator("#code")).to_be_visible()
        enter_code(page, one.code())
        is_told(page, "別のタブ")
        enter_code(tab, other.code())
        is_inside(tab, other.contract_id)
