"""The soft token's page as people meet it: both languages, small screens, screen readers, a wrong clock, its weight."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Playwright, expect

from tests.web.browser import SLOW_MS, screenshot
from tests.web.phone import Phone, phone
from tests.web.softtoken import PIN, SoftTokenServer, set_up_by_pin

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
MOST_BYTES = 125_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    one = SoftTokenServer(tmp_path_factory.mktemp("server"), "tokens_per_address = 1000\ntokens_per_hour = 1000")
    one.start()
    yield one
    one.kill()


@pytest.fixture
def own(playwright: Playwright, tmp_path: Path, server: SoftTokenServer) -> Iterator[Phone]:
    with phone(playwright, tmp_path / "profile") as one:
        one.page.goto(server.origin)
        yield one
        assert one.errors == []


def screens(page: Page) -> Iterator[str]:
    """Every screen in its turn, by name."""
    page.locator("#setup").wait_for()
    yield "setup"
    page.locator("#make-pin button").click()
    expect(page.locator("#error")).to_be_visible()
    yield "setup with an error"
    set_up_by_pin(page)
    yield "token"
    page.locator("#token [data-new-token]").click()
    yield "new token"
    page.locator("#new-cancel").click()
    page.locator("#lock").click()
    page.locator("#locked").wait_for()
    yield "locked"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["ja-JP", "en-GB"])
def test_axe_finds_nothing_on_any_screen(
    playwright: Playwright, server: SoftTokenServer, tmp_path: Path, locale: str, scheme: Literal["light", "dark"]
) -> None:
    with phone(playwright, tmp_path / "profile", locale=locale, scheme=scheme) as one:
        one.page.goto(server.origin)
        assert one.page.locator("html").get_attribute("lang") == locale[:2]
        for screen in screens(one.page):
            screenshot(one.page, f"token-{screen.replace(' ', '-')}-{locale[:2]}-{scheme}")
            found = Axe().run(one.page, options=RULES)
            assert found.violations_count == 0, f"{screen}: {found.generate_report()}"
        assert one.errors == []


@pytest.mark.parametrize(("locale", "width"), [("ja-JP", 320), ("en-GB", 320), ("ja-JP", 1280)])
def test_every_screen_fits_and_every_target_is_big_enough(
    playwright: Playwright, server: SoftTokenServer, tmp_path: Path, locale: str, width: int
) -> None:
    with phone(playwright, tmp_path / "profile", locale=locale, width=width, height=640) as one:
        one.page.goto(server.origin)
        for screen in screens(one.page):
            too_wide = one.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert too_wide <= 0, screen
            for target in one.page.locator("button:visible:not(.on-focus), input:visible").all():
                box = target.bounding_box()
                assert box and box["height"] >= 44 and box["width"] >= 44, (screen, target.inner_text())


def test_the_language_is_switched_on_every_screen_and_remembered(own: Phone) -> None:
    page = own.page
    set_up_by_pin(page)
    page.get_by_role("button", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == "One-time password"
    expect(page.locator("#seconds")).to_have_text(re.compile(r"^\d+ seconds left$"))
    page.reload()
    expect(page.get_by_role("heading", name="Locked")).to_be_visible()
    page.get_by_role("button", name="日本語").click()
    expect(page.get_by_role("heading", name="ロックされています")).to_be_visible()


def test_both_languages_have_the_same_texts_and_places_to_fill(own: Phone) -> None:
    texts = own.page.evaluate(
        "import(new URL('texts.js', document.querySelector('script[type=module]').src)).then((module) => module.TEXTS)"
    )
    assert texts["ja"].keys() == texts["en"].keys()
    for name, text in texts["ja"].items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", texts["en"][name])), name
    used = {place.get_attribute("data-text") for place in own.page.locator("[data-text]").all()}
    assert used <= texts["ja"].keys()


def test_the_ring_and_the_seconds_run_down(own: Phone) -> None:
    page = own.page
    page.route("**/time", lambda route: route.fulfill(body="{}"))  # so that this device's clock counts
    page.clock.install(time=1_800_000_000)
    page.clock.pause_at(1_800_000_010.5)  # the offset of the first load, some milliseconds, is remembered
    page.reload()
    set_up_by_pin(page)
    expect(page.locator("#seconds")).to_have_text("残り２０秒")
    page.clock.run_for(5000)
    expect(page.locator("#seconds")).to_have_text("残り１５秒")
    assert float(page.locator("#ring").get_attribute("stroke-dashoffset") or 0) == pytest.approx(50)


def test_the_keyboard_alone_is_enough(own: Phone) -> None:
    page = own.page
    page.locator("#setup").wait_for()
    page.locator("#pin-new").focus()
    page.keyboard.type(PIN)
    page.keyboard.press("Tab")
    page.keyboard.type(PIN)
    page.keyboard.press("Enter")
    expect(page.locator("#token-title")).to_be_focused(timeout=SLOW_MS)


def test_the_app_is_light_and_comes_from_nowhere_else(own: Phone, server: SoftTokenServer) -> None:
    own.page.locator("#setup").wait_for()
    first = [request for request in own.requests if request.resource_type in ("document", "script", "stylesheet")]
    answers = [answer for request in first if (answer := request.response())]
    weight = sum(len(answer.body()) for answer in answers)
    assert 0 < weight < MOST_BYTES
    assert all(request.url.startswith(server.origin) for request in own.requests)


def test_a_browser_may_install_it(own: Phone) -> None:
    session = own.context.new_cdp_session(own.page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] in (
        [],
        [{"errorId": "in-incognito", "errorArguments": []}],
    )
