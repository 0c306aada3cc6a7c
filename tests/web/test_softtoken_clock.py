"""A soft token on a device whose clock is wrong, jumps, or cannot be checked: right codes, or a page that says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, Route, expect

from tests.web.browser import SLOW_MS, screenshot
from tests.web.phone import Phone, phone
from tests.web.softtoken import SoftTokenServer, open_by_pin, set_up_by_pin, shown_code

HINT = "#clock"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    one = SoftTokenServer(tmp_path_factory.mktemp("server"), "tokens_per_address = 1000\ntokens_per_hour = 1000")
    one.start()
    yield one
    one.kill()


@pytest.fixture
def own(playwright: Playwright, tmp_path: Path, server: SoftTokenServer) -> Iterator[Phone]:
    """A phone whose clock can be set. That it cannot reach the server is no error here."""
    with phone(playwright, tmp_path / "profile") as one:
        one.page.clock.install(time=time.time())
        one.page.goto(server.origin)
        one.page.locator("#setup").wait_for()
        yield one
        assert [error for error in one.errors if "ERR_INTERNET_DISCONNECTED" not in error] == []


def set_clock(page: Page, seconds: float) -> None:
    """The device's clock is set so many seconds ahead of the right time, at once; a tick later the page has seen it."""
    page.clock.set_system_time(time.time() + seconds)
    page.clock.run_for(1100)


def right_codes(server: SoftTokenServer, token_id: str) -> set[str]:
    """Each ``run_for`` puts the page ahead of the time that it has measured: three ticks may be more than 3 seconds."""
    now = time.time()
    return {server.oracle(token_id).at(now + away) for away in (-2, 0, 4)}


def expect_right_code(page: Page, server: SoftTokenServer, token_id: str) -> None:
    expect(page.locator("#code")).not_to_have_text("", timeout=SLOW_MS)
    assert shown_code(page) in right_codes(server, token_id)


def answer_time(page: Page, body: str) -> None:
    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="application/json", body=body)

    page.route("**/time", answer)


@pytest.mark.parametrize("wrong", [-180, 180, 40 * 24 * 3600])
def test_a_wrong_clock_is_told_above_the_code_and_the_codes_are_right(
    own: Phone, server: SoftTokenServer, wrong: int
) -> None:
    set_clock(own.page, wrong)
    own.page.reload()
    token_id = set_up_by_pin(own.page)
    own.page.clock.run_for(1100)
    expect_right_code(own.page, server, token_id)
    expect(own.page.locator(HINT)).to_contain_text("時刻の自動設定をオンに", timeout=SLOW_MS)
    expect(own.page.locator(HINT)).to_contain_text("約３分" if abs(wrong) == 180 else "約４０日")
    hint, code = own.page.locator(HINT).bounding_box(), own.page.locator("#code").bounding_box()
    assert hint and code and hint["y"] + hint["height"] <= code["y"] and code["y"] + code["height"] <= 844
    if wrong == -180:
        screenshot(own.page, "token-clock-off-ja-light")


def test_a_right_clock_is_not_talked_about(own: Phone, server: SoftTokenServer) -> None:
    token_id = set_up_by_pin(own.page)
    expect_right_code(own.page, server, token_id)
    expect(own.page.locator(HINT)).to_be_hidden()


@pytest.mark.parametrize("jump", [-300, 250])
def test_a_jump_while_the_page_is_looked_at_is_measured_at_once(own: Phone, server: SoftTokenServer, jump: int) -> None:
    token_id = set_up_by_pin(own.page)
    set_clock(own.page, jump)
    own.page.clock.run_for(1100)
    expect(own.page.locator(HINT)).to_contain_text("ずれています", timeout=SLOW_MS)
    own.page.clock.run_for(1100)
    expect_right_code(own.page, server, token_id)


def test_while_the_time_is_being_found_out_no_code_is_shown(own: Phone, server: SoftTokenServer) -> None:
    set_up_by_pin(own.page)
    waiting: list[Route] = []
    own.page.route("**/time", lambda route: waiting.append(route))
    set_clock(own.page, 250)
    expect(own.page.locator("#seconds")).to_have_text("時刻を確かめています…")
    assert shown_code(own.page) == ""
    for button, said in (("#read-code", "#code-aloud"), ("#copy-code", "#status")):
        own.page.locator(button).press("Enter")
        own.page.clock.run_for(100)
        expect(own.page.locator(said)).to_have_text("時刻を確かめています…")
    own.page.wait_for_timeout(100)
    waiting[0].continue_()
    expect(own.page.locator(HINT)).to_contain_text("ずれています", timeout=SLOW_MS)


@pytest.mark.parametrize("jump", [-300, 250])
def test_a_jump_without_the_network_is_told_until_the_time_is_known(
    own: Phone, server: SoftTokenServer, jump: int
) -> None:
    token_id = set_up_by_pin(own.page)
    own.context.set_offline(True)
    set_clock(own.page, jump)
    own.page.clock.run_for(1100)
    expect(own.page.locator(HINT)).to_contain_text("使えないことがあります", timeout=SLOW_MS)
    if jump < 0:
        screenshot(own.page, "token-clock-jumped-ja-light")
        own.page.clock.run_for(1100)
        expect_right_code(own.page, server, token_id)
    own.context.set_offline(False)
    expect(own.page.locator(HINT)).to_contain_text("ずれています", timeout=SLOW_MS)
    own.page.clock.run_for(1100)
    expect_right_code(own.page, server, token_id)


@pytest.mark.parametrize(
    "rubbish",
    [
        "<html>",
        "null",
        "[]",
        "{}",
        '{"now": "x"}',
        '{"now": 0}',
        '{"now": 1800000000}',
        '{"now": 1e300}',
        '{"now": -1}',
    ],
)
def test_an_answer_that_is_no_time_never_clears_a_true_hint(own: Phone, server: SoftTokenServer, rubbish: str) -> None:
    token_id = set_up_by_pin(own.page)
    set_clock(own.page, 180)
    expect(own.page.locator(HINT)).to_contain_text("ずれています", timeout=SLOW_MS)
    answer_time(own.page, rubbish)
    with own.page.expect_response("**/time"):
        own.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    own.page.clock.run_for(1100)
    expect(own.page.locator(HINT)).to_contain_text("ずれています")
    expect_right_code(own.page, server, token_id)


def test_the_time_is_measured_again_every_few_minutes_and_when_the_page_is_seen_again(own: Phone) -> None:
    set_up_by_pin(own.page)

    def asked() -> int:
        return len([request for request in own.requests if request.url.endswith("/time")])

    before = asked()
    for _ in range(5):
        own.page.keyboard.press("Shift")  # in use
        own.page.clock.run_for(60_000)
    own.page.wait_for_timeout(200)
    assert before + 1 <= asked() <= before + 2
    before = asked()
    own.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    own.page.wait_for_timeout(200)
    assert asked() == before + 1


def test_without_the_network_the_last_measurement_is_used_and_told(own: Phone, server: SoftTokenServer) -> None:
    set_clock(own.page, -180)
    own.page.reload()
    token_id = set_up_by_pin(own.page)
    own.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    expect(own.page.locator(HINT)).to_contain_text("時刻の自動設定をオンに", timeout=SLOW_MS)
    own.context.set_offline(True)
    own.page.reload()
    open_by_pin(own.page)
    expect(own.page.locator(HINT)).to_contain_text("前に確かめたとき", timeout=SLOW_MS)
    own.page.clock.run_for(1100)
    expect_right_code(own.page, server, token_id)


def test_a_clock_that_was_set_back_while_the_page_was_closed_is_noticed_without_the_network(own: Phone) -> None:
    set_up_by_pin(own.page)
    own.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    own.context.set_offline(True)
    set_clock(own.page, -3600)
    own.page.reload()
    expect(own.page.locator(HINT)).to_contain_text("使えないことがあります", timeout=SLOW_MS)


def test_behind_the_last_day_to_enrol_the_page_says_so_and_codes_go_on(own: Phone) -> None:
    """The line was gone then: who had not enrolled typed codes of a token that the bank had retired."""
    set_up_by_pin(own.page)
    line = own.page.locator("#enrol-by")
    expect(line).to_contain_text("までに済ませてください")
    days = 400 * 24 * 3600
    answer_time(own.page, f'{{"now": {int((time.time() + days) * 1000)}}}')
    set_clock(own.page, days)
    own.page.reload()
    open_by_pin(own.page)
    expect(line).to_contain_text("利用登録の期限は", timeout=SLOW_MS)
    expect(line).to_contain_text("新しいトークンを作ってください")
    expect(own.page.locator("#code")).not_to_have_text("", timeout=SLOW_MS)
    own.page.get_by_role("button", name="English").click()
    expect(line).to_contain_text("The last day to enrol was")
