"""The checks of browser.py can fail: each finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.web.browser import SCREENSHOTS, axe, browser_page, is_local, screenshot

GOOD = "<!doctype html><html lang=en><title>A page</title><main><h1>Good</h1></main>"


def load(chromium: Browser, html: str) -> None:
    with browser_page(chromium) as page:
        page.set_content(html)
        page.wait_for_load_state("networkidle")


def test_a_good_page_passes(chromium: Browser) -> None:
    with browser_page(chromium) as page:
        page.set_content(GOOD)
        assert axe(page) == []


def test_a_picture_from_elsewhere_fails_the_test_and_is_never_asked_for(chromium: Browser) -> None:
    with pytest.raises(AssertionError, match="somebody else"):
        load(chromium, f"{GOOD}<img alt='' src='http://192.0.2.1/counted.png'>")


@pytest.mark.parametrize("script", ["console.error('lost')", "throw new Error('lost')"])
def test_an_error_of_a_script_fails_the_test(chromium: Browser, script: str) -> None:
    with pytest.raises(AssertionError, match="lost"):
        load(chromium, f"{GOOD}<script>{script}</script>")


def test_axe_names_the_rule_and_the_place(chromium: Browser) -> None:
    with browser_page(chromium) as page:
        page.set_content(f"{GOOD}<img id=logo src='data:,'>")
        (line,) = axe(page)
        assert line.startswith("image-alt:") and line.endswith("#logo")


def test_a_screenshot_goes_where_the_environment_says(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with browser_page(chromium) as page:
        page.set_content(GOOD)
        monkeypatch.delenv(SCREENSHOTS, raising=False)
        screenshot(page, "nowhere")
        monkeypatch.setenv(SCREENSHOTS, str(tmp_path / "tour"))
        screenshot(page, "good-page")
    assert [one.name for one in tmp_path.rglob("*.png")] == ["good-page.png"]


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8080/enrol", True),
        ("http://127.0.0.1:1/", True),
        ("http://[::1]:1/", True),
        ("data:,", True),
        ("https://localhost.example.org/", False),
        ("http://192.0.2.1/", False),
        ("ws://example.org/", False),
    ],
)
def test_only_this_machine_is_local(url: str, local: bool) -> None:
    assert is_local(url) is local
