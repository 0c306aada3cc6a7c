"""One Playwright and one Chromium for each file of tests, started by the first test that asks.

Not for longer: Playwright's event loop runs in this thread, and while it does no test can start one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright

from tests.web.browser import ARGUMENTS, CHROMIUM, SLOW_MS, chromium_of, playwright_of_worker


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with playwright_of_worker() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    with chromium_of(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def remembering(playwright: Playwright) -> Iterator[Browser]:
    """Chromium as customers have it: Playwright switches the back-forward cache off."""
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=list(ARGUMENTS),
        ignore_default_args=["--disable-back-forward-cache"],
        timeout=SLOW_MS,
    )
    yield browser
    browser.close()
