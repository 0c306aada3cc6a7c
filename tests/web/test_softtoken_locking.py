"""A soft token that somebody leaves open: it locks, hides, and keeps nothing where others find it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.web.browser import SLOW_MS, browser_page
from tests.web.phone import Phone, phone
from tests.web.softtoken import SoftTokenServer, open_by_pin, set_up_by_pin, shown_code

MINUTE = 60_000
WATCH_SHOWN = """globalThis.seen = [];
new MutationObserver(() => seen.push(document.querySelector('#code').textContent))
    .observe(document.querySelector('#code'), { childList: true })"""
"""What is shown as a code from now on, in ``seen``."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    one = SoftTokenServer(tmp_path_factory.mktemp("server"), "tokens_per_address = 1000\ntokens_per_hour = 1000")
    one.start()
    yield one
    one.kill()


@pytest.fixture
def own(playwright: Playwright, tmp_path: Path, server: SoftTokenServer) -> Iterator[Phone]:
    with phone(playwright, tmp_path / "profile") as one:
        one.page.clock.install()
        one.page.goto(server.origin)
        yield one
        assert one.errors == []


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_unused_it_locks_itself_and_used_it_does_not(own: Phone) -> None:
    set_up_by_pin(own.page)
    for _ in range(3):
        own.page.clock.fast_forward(4 * MINUTE)
        own.page.keyboard.press("Shift")
        expect(own.page.locator("#token")).to_be_visible()
    own.page.clock.fast_forward(6 * MINUTE)
    expect(own.page.locator("#locked")).to_be_visible()
    assert shown_code(own.page) == ""
    open_by_pin(own.page)
    expect(own.page.locator("#token")).to_be_visible(timeout=SLOW_MS)


def test_pins_that_were_typed_for_a_change_are_gone_when_it_locks(own: Phone) -> None:
    set_up_by_pin(own.page)
    own.page.locator("#change-lock").click()
    fields = ("#pin-current", "#pin-new", "#pin-again")
    for field in fields:
        own.page.locator(field).fill("81472536")
    own.page.clock.fast_forward(6 * MINUTE)
    expect(own.page.locator("#locked")).to_be_visible()
    assert [own.page.locator(field).input_value() for field in fields] == ["", "", ""]


def test_sleep_in_which_no_time_seems_to_pass_locks_too(own: Phone) -> None:
    set_up_by_pin(own.page)
    own.page.clock.set_system_time(own.page.evaluate("Date.now()") / 1000 + 3600)
    own.page.clock.run_for(1100)
    expect(own.page.locator("#locked")).to_be_visible()


def test_out_of_sight_there_is_no_code_and_after_a_while_it_is_locked_before_it_is_seen(own: Phone) -> None:
    set_up_by_pin(own.page)
    hide(own.page, True)
    assert shown_code(own.page) == "" and own.page.locator("#code-digits").inner_text() == ""
    own.page.clock.fast_forward(4 * MINUTE)
    hide(own.page, False)
    expect(own.page.locator("#code")).not_to_have_text("")
    hide(own.page, True)
    own.page.evaluate(WATCH_SHOWN)
    own.page.clock.fast_forward(20 * MINUTE)
    hide(own.page, False)
    expect(own.page.locator("#locked")).to_be_visible()
    assert not any(own.page.evaluate("seen"))


def test_locking_one_tab_locks_the_others_and_loses_nothing_typed(own: Phone, server: SoftTokenServer) -> None:
    set_up_by_pin(own.page)
    other = own.context.new_page()
    other.goto(server.origin)
    open_by_pin(other)
    expect(other.locator("#token")).to_be_visible(timeout=SLOW_MS)
    third = own.context.new_page()
    third.goto(server.origin)
    third.locator("#pin").fill("81")
    other.locator("#lock").click()
    expect(own.page.locator("#locked")).to_be_visible()
    assert shown_code(own.page) == ""
    assert third.locator("#pin").input_value() == "81"


def test_a_tab_that_locks_itself_leaves_the_one_in_use_open(own: Phone, server: SoftTokenServer) -> None:
    set_up_by_pin(own.page)
    other = own.context.new_page()
    other.goto(server.origin)
    open_by_pin(other)
    expect(other.locator("#token")).to_be_visible(timeout=SLOW_MS)
    own.page.clock.fast_forward(4 * MINUTE)  # in both
    other.keyboard.press("Shift")
    own.page.clock.fast_forward(2 * MINUTE)
    expect(own.page.locator("#locked")).to_be_visible()
    expect(other.locator("#token")).to_be_visible()


# The clipboard


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_copying_takes_what_is_shown_without_its_spaces(own: Phone, server: SoftTokenServer) -> None:
    own.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.origin)
    token_id = set_up_by_pin(own.page)
    own.page.locator("#copy-id").click()
    expect(own.page.locator("#status")).to_have_text("コピーしました。")
    assert clipboard(own.page) == token_id
    own.page.locator("#copy-code").click()
    expect(own.page.locator("#status")).to_have_text("コピーしました。")
    assert clipboard(own.page) == shown_code(own.page)


def test_a_copied_code_leaves_the_clipboard_after_a_minute_also_when_it_is_locked(
    own: Phone, server: SoftTokenServer
) -> None:
    own.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.origin)
    set_up_by_pin(own.page)
    own.page.locator("#copy-code").click()
    expect(own.page.locator("#status")).to_have_text("コピーしました。")
    own.page.locator("#lock").click()
    own.page.clock.run_for(30_000)
    assert clipboard(own.page) != "", "the bank's page may still want it"
    own.page.clock.run_for(40_000)
    expect(own.page.locator("#status")).to_have_text("コピーしたパスワードを消しました。")
    assert clipboard(own.page) == ""


def test_what_another_page_has_copied_since_stays(own: Phone, server: SoftTokenServer) -> None:
    own.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.origin)
    set_up_by_pin(own.page)
    own.page.locator("#copy-code").click()
    expect(own.page.locator("#status")).to_have_text("コピーしました。")
    own.page.evaluate("dispatchEvent(new Event('blur'))")
    own.page.evaluate("navigator.clipboard.writeText('1234567')")
    own.page.clock.run_for(70_000)
    assert clipboard(own.page) == "1234567"


def test_a_copied_token_id_stays(own: Phone, server: SoftTokenServer) -> None:
    own.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.origin)
    token_id = set_up_by_pin(own.page)
    own.page.locator("#copy-code").click()
    own.page.locator("#copy-id").click()
    expect(own.page.locator("#status")).to_have_text("コピーしました。")
    own.page.clock.run_for(70_000)
    assert clipboard(own.page) == token_id


@pytest.mark.parametrize(
    "broken",
    [
        "navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'))",
        "Object.defineProperty(navigator, 'clipboard', { value: undefined })",
    ],
)
def test_a_browser_that_copies_nothing_says_so_and_the_code_stays(own: Phone, broken: str) -> None:
    set_up_by_pin(own.page)
    own.page.evaluate(f"{broken}; null")
    for button in ("#copy-code", "#copy-id"):
        own.page.locator(button).click()
        own.page.clock.run_for(100)
        expect(own.page.locator("#status")).to_have_text("コピーできません。画面を見て入力してください。")
        own.page.clock.run_for(61_000)
    expect(own.page.locator("#code")).not_to_have_text("")


# The browser's memory of pages


def test_back_to_a_page_that_was_locked_elsewhere_meanwhile_shows_no_code(
    remembering: Browser, server: SoftTokenServer
) -> None:
    """The browser may bring back the page as it was."""
    with browser_page(remembering) as page:
        page.goto(server.origin)
        set_up_by_pin(page)
        page.evaluate(WATCH_SHOWN)
        page.goto(f"{server.origin}/icon.svg")
        other = page.context.new_page()
        other.goto(server.origin)
        open_by_pin(other)
        expect(other.locator("#token")).to_be_visible(timeout=SLOW_MS)
        other.locator("#lock").click()
        page.go_back(wait_until="commit")
        expect(page.locator("#locked")).to_be_visible(timeout=SLOW_MS)
        assert not any(page.evaluate("globalThis.seen ?? []"))


# Paper, and screen readers


def test_paper_shows_nothing_of_the_token(own: Phone) -> None:
    token_id = set_up_by_pin(own.page)
    own.page.emulate_media(media="print")
    assert own.page.locator("#code").is_hidden() and own.page.locator(".token-id").first.is_hidden()
    printed = own.page.locator("body").inner_text()
    assert "このページは印刷できません。" in printed and token_id[4:8] not in printed


def test_a_screen_reader_finds_the_code_but_is_told_of_it_on_request_alone(own: Phone) -> None:
    page = own.page
    set_up_by_pin(page)
    page.evaluate(
        """() => {
            globalThis.told = [];
            const live = "[role=status], [role=alert], [aria-live=polite], [aria-live=assertive]";
            for (const place of document.querySelectorAll(live)) {
                const listen = () => place.textContent.trim() && told.push(place.textContent.trim());
                new MutationObserver(listen).observe(place, { childList: true, subtree: true, characterData: true });
            }
        }"""
    )
    for _ in range(90):
        page.clock.run_for(1000)
    assert page.evaluate("told") == []
    tree = page.locator("#token").aria_snapshot()
    code = page.locator("#code-digits").inner_text()
    assert len(code.split()) == 6 and code in tree
    page.locator("#read-code").focus()
    box = page.locator("#read-code").bounding_box()
    assert box and box["height"] >= 44 and box["width"] >= 44, "with the focus it is seen"
    page.keyboard.press("Enter")
    page.clock.run_for(100)
    assert page.evaluate("told") == [f"ワンタイムパスワード {' '.join(shown_code(page))}"]
    page.clock.run_for(31_000)
    assert page.locator("#code-aloud").inner_text() == "", "a code that is over is nowhere on the page"
