"""Updates of the soft token: they arrive by themselves, whole or not at all, and no mix of versions stops it for good.

Real servers of several versions behind one origin, in a real browser. A page that works shows its first screen.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from tests.web.browser import SLOW_MS, screenshot
from tests.web.softtoken import open_by_pin, set_up_by_pin, shown_token_id
from tests.web.softtoken_versions import HTML, Balancer, VersionServer

TRIES = 6  # sw.js
QUIET_SECONDS = 2.0  # longer than a browser waits before it looks for a new worker
PARTS = 3  # of what takes a minute or two, so that several testers share it
RESTARTED = "sessionStorage.removeItem('restarted')"  # as if the last new start was long ago


@dataclass
class Bank:
    balancer: Balancer
    old: VersionServer
    new: VersionServer
    broken: VersionServer
    slow: VersionServer

    def serve(self, one: VersionServer) -> None:
        self.balancer.route = lambda path: one

    def mix(self, odd: str, few: VersionServer | bytes, many: VersionServer) -> None:
        """Serve one path from ``few``, or as this page, and all others from ``many``."""
        self.balancer.route = lambda path: few if path == odd else many


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder, balancer = tmp_path_factory.mktemp("versions"), Balancer()
    servers: list[VersionServer] = []
    try:
        servers.append(VersionServer(folder / "old", balancer.origin))
        servers.append(VersionServer(folder / "new", balancer.origin, "new"))
        cannot_start = {"main.js": ("async function start() {", "async function start() { none();")}
        servers.append(VersionServer(folder / "broken", balancer.origin, "broken", cannot_start))
        takes_long = {"sw.js": ("await self.skipWaiting()", "await new Promise(() => {})")}
        servers.append(VersionServer(folder / "slow", balancer.origin, "slow", takes_long))
        yield Bank(balancer, *servers)
    finally:
        balancer.close()
        for one in servers:
            one.close()


@contextmanager
def browser_of(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(locale="ja-JP", viewport={"width": 390, "height": 844})
    context.set_default_timeout(SLOW_MS)
    try:
        yield context.new_page()
    finally:
        context.close()


def load(page: Page, bank: Bank) -> None:
    """Go to the page, which may start anew by itself just then: that ends this navigation."""
    for _ in range(4):
        try:
            page.goto(bank.balancer.origin)
            return
        except Error as error:
            if "ERR_ABORTED" not in str(error) and "interrupted" not in str(error):
                raise
            page.wait_for_load_state()
    page.goto(bank.balancer.origin)


def works(page: Page, release: str | None, screen: str) -> None:
    """The page shows this screen, in this release, within the time that a watchdog may take."""
    expect(page.locator("html")).to_have_attribute("data-release", release or "", timeout=SLOW_MS) if release else None
    expect(page.locator(f"#{screen}")).to_be_visible(timeout=SLOW_MS)


def wait_until(page: Page, expression: str) -> None:
    """Not wait_for_function, which the policy forbids; the page may start anew meanwhile."""
    end = time.monotonic() + SLOW_MS / 1000
    while time.monotonic() < end:
        with suppress(Error):
            if page.evaluate(expression):
                return
        page.wait_for_timeout(50)
    raise AssertionError(f"never so: {expression}")


def wait_for_worker(page: Page) -> None:
    wait_until(page, "navigator.serviceWorker.controller !== null")


def has_token(page: Page, bank: Bank) -> str:
    """Set one up with the old version, which the browser keeps from then on."""
    bank.serve(bank.old)
    load(page, bank)
    token_id = set_up_by_pin(page)
    wait_for_worker(page)
    return token_id


def opens(page: Page, token_id: str) -> None:
    works(page, None, "locked")
    open_by_pin(page)
    assert shown_token_id(page) == token_id


def kept_versions(page: Page) -> list[str]:
    found: list[str] = page.evaluate("caches.keys()")
    return found


def load_and_fail_to_install(page: Page, bank: Bank, path: str) -> None:
    """Load the page and wait until its worker has given the new version up because of this file, and asks no more: an
    installation that still runs would find the file of the next route, and rightly succeed."""
    bank.balancer.asked.clear()
    load(page, bank)
    tries = 1 if path == "/sw.js" else TRIES
    seen, since = -1, time.monotonic()
    while bank.balancer.asked.count(path) < tries or time.monotonic() < since + QUIET_SECONDS:
        assert time.monotonic() < since + SLOW_MS / 1000, (path, bank.balancer.asked)
        if len(bank.balancer.asked) != seen:
            seen, since = len(bank.balancer.asked), time.monotonic()
        page.wait_for_timeout(50)


# What arrives


def test_an_update_arrives_with_one_load_and_with_its_headers(chromium: Browser, bank: Bank) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        bank.serve(bank.new)
        load(page, bank)
        works(page, "new", "locked")
        policy = page.evaluate("fetch('/').then((answer) => answer.headers.get('Content-Security-Policy'))")
        assert "new.example" in policy, "the page comes from the worker's cache, and so does its policy"
        opens(page, token_id)
        wait_until(page, "caches.keys().then((names) => names.length === 1)")


def test_an_open_page_finds_an_update_when_it_is_seen_again_and_loses_nothing_by_it(
    chromium: Browser, bank: Bank
) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        bank.serve(bank.new)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        wait_until(page, "caches.keys().then((names) => names.length === 2)")
        page.wait_for_timeout(2500)
        expect(page.locator("#token")).to_be_visible()
        assert page.locator("html").get_attribute("data-release") is None, "not while a code is shown"
        page.locator("#lock").click()
        page.locator("#pin").fill("8147")
        page.wait_for_timeout(2500)
        assert page.locator("#pin").input_value() == "8147", "not while something is typed"
        page.locator("#pin").fill("")
        works(page, "new", "locked")
        opens(page, token_id)


def test_two_versions_in_turns_do_not_make_the_page_start_without_end(chromium: Browser, bank: Bank) -> None:
    with browser_of(chromium) as page:
        has_token(page, bank)
        bank.serve(bank.new)
        load(page, bank)
        works(page, "new", "locked")
        loads: list[str] = []
        page.on("load", lambda loaded: loads.append(loaded.url))
        for one in (bank.old, bank.new, bank.old):
            bank.serve(one)
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            page.wait_for_timeout(1500)
        assert loads == []


# Mixes


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.soak)])
def test_one_file_of_the_old_version_leaves_the_old_version_at_work_until_all_are_new(
    chromium: Browser, bank: Bank, every: int, part: int
) -> None:
    """One file in its turn, some of them or all: seconds each. For 0.1.0 each of these was the end of the token."""
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        browser = page.context.new_cdp_session(page)
        paths = bank.new.paths()
        for late in sorted({"/", "/boot.js", "/sw.js", *paths[::every]})[part::PARTS]:
            browser.send("Network.clearBrowserCache")
            bank.mix(late, bank.old, bank.new)
            load_and_fail_to_install(page, bank, late)
            works(page, None, "locked")
            assert page.locator("html").get_attribute("data-release") is None, late
        bank.serve(bank.new)
        load(page, bank)
        works(page, "new", "locked")
        opens(page, token_id)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("direction", ["an old file among new ones", "a new file among old ones"])
def test_a_first_visit_amid_an_upgrade_works_as_soon_as_the_upgrade_ends(
    chromium: Browser, bank: Bank, direction: str, part: int
) -> None:
    """Every file in its turn; nobody has to click."""
    few, many = (bank.old, bank.new) if direction.startswith("an old") else (bank.new, bank.old)
    for other in many.paths()[part::PARTS]:
        with browser_of(chromium) as page:
            bank.mix(other, few, many)
            load(page, bank)
            expect(page.locator("#setup, #stuck:not(.late)").filter(visible=True)).to_be_visible(timeout=SLOW_MS)
            bank.serve(many)
            expect(page.locator("#setup")).to_be_visible(timeout=SLOW_MS)


@pytest.mark.parametrize("seed", range(6))
def test_servers_in_turns_by_chance_never_stop_a_page_that_has_a_token(
    chromium: Browser, bank: Bank, seed: int
) -> None:
    chance = random.Random(seed)
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        bank.balancer.route = lambda path: chance.choice((bank.old, bank.new))
        for _ in range(4):
            load(page, bank)
            works(page, None, "locked")
        bank.serve(bank.new)
        load(page, bank)
        page.evaluate(RESTARTED)
        works(page, "new", "locked")
        opens(page, token_id)


def test_a_page_of_a_network_that_wants_a_login_is_never_kept(chromium: Browser, bank: Bank) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        browser = page.context.new_cdp_session(page)
        for bad in ("/", "/boot.js", next(path for path in bank.new.paths() if path.endswith("/main.js"))):
            browser.send("Network.clearBrowserCache")  # or the right file may come from there, and the version is whole
            bank.mix(bad, HTML, bank.new)
            load_and_fail_to_install(page, bank, bad)
        bank.balancer.route = lambda path: HTML
        load(page, bank)
        opens(page, token_id)


@pytest.mark.parametrize("status", [404, 410, 500, 502, 302])
def test_a_server_that_answers_anything_else_for_a_while_costs_neither_the_app_nor_its_next_update(
    chromium: Browser, bank: Bank, status: int
) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        bank.balancer.route = lambda path: status
        for _ in range(2):
            load_and_fail_to_install(page, bank, "/sw.js")
            opens(page, token_id)
        bank.serve(bank.new)
        page.locator("#lock").click()
        load(page, bank)
        works(page, "new", "locked")
        opens(page, token_id)


def test_a_server_that_accepts_and_never_answers_stops_nothing(chromium: Browser, bank: Bank) -> None:
    """As while it is replaced. A start that asks for all anew gives up after 20 s."""
    answers = threading.Event()
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)

        def wait(path: str) -> int:
            answers.wait(4 * SLOW_MS / 1000)
            return 503

        bank.balancer.route = wait
        try:
            for _ in range(2):
                page.reload()
                opens(page, token_id)
            page.goto(f"{bank.balancer.origin}/?fresh")
            opens(page, token_id)
        finally:
            answers.set()


def test_a_new_version_without_room_for_it_leaves_the_old_one_at_work_until_there_is(
    chromium: Browser, bank: Bank
) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        page.locator("#lock").click()
        browser = page.context.new_cdp_session(page)
        browser.send("Storage.overrideQuotaForOrigin", {"origin": bank.balancer.origin, "quotaSize": 1})
        bank.serve(bank.new)
        last = bank.new.paths()[-2]
        bank.balancer.asked.clear()
        load(page, bank)
        while last not in bank.balancer.asked:
            page.wait_for_timeout(50)
        page.wait_for_timeout(QUIET_SECONDS * 1000)
        works(page, None, "locked")
        assert page.locator("html").get_attribute("data-release") is None
        browser.send("Storage.overrideQuotaForOrigin", {"origin": bank.balancer.origin})
        load(page, bank)
        works(page, "new", "locked")
        opens(page, token_id)


def test_a_version_whose_files_are_lost_is_kept_anew_though_its_worker_stays_the_same(
    chromium: Browser, bank: Bank
) -> None:
    """Lost by the browser, or by the worker of before, while another page started: the old version stayed for good."""
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        (old,) = kept_versions(page)
        bank.serve(bank.new)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        wait_until(page, "caches.keys().then((names) => names.length === 2)")
        wait_until(page, "navigator.serviceWorker.getRegistration().then((one) => !one.installing && !one.waiting)")
        (new,) = set(kept_versions(page)) - {old}
        page.evaluate("(name) => caches.delete(name)", new)
        load(page, bank)
        works(page, None, "locked")
        wait_until(page, f"caches.has('{new}')")
        page.evaluate(RESTARTED)
        load(page, bank)
        works(page, "new", "locked")
        page.context.set_offline(True)
        load(page, bank)
        opens(page, token_id)


def test_a_page_that_starts_while_a_version_is_being_installed_deletes_none_of_its_files(
    chromium: Browser, bank: Bank
) -> None:
    with browser_of(chromium) as page:
        has_token(page, bank)
        bank.serve(bank.slow)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        wait_until(page, "caches.keys().then((names) => names.length === 2)")
        other = page.context.new_page()
        load(other, bank)
        works(other, None, "locked")
        other.wait_for_timeout(500)
        assert len(kept_versions(other)) == 2


# The watchdog


def test_a_version_that_does_not_start_gives_way_to_the_one_before_and_to_the_next(
    chromium: Browser, bank: Bank
) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        bank.serve(bank.broken)
        load(page, bank)
        wait_until(page, "caches.keys().then((names) => names.length === 2)")
        page.evaluate(RESTARTED)
        load(page, bank)
        opens(page, token_id)
        assert page.locator("html").get_attribute("data-release") is None
        page.reload()
        opens(page, token_id)
        bank.serve(bank.new)
        page.evaluate(RESTARTED)
        load(page, bank)
        works(page, "new", "locked")
        opens(page, token_id)
        wait_until(page, "caches.keys().then((names) => names.length === 1)")


SPOIL = """async (tell) => {
    for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const request of await cache.keys()) {
            if (request.url.endsWith("/main.js")) await cache.put(request, new Response(tell, { headers: {
                "Content-Type": "text/javascript" } }));
        }
    }
}"""


@pytest.mark.parametrize("damage", ["not JavaScript", "import { none } from './page.js';", "throw new Error('no');"])
def test_a_damaged_cache_is_fetched_anew_and_the_token_is_untouched(chromium: Browser, bank: Bank, damage: str) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        page.evaluate(SPOIL, damage)
        load(page, bank)
        opens(page, token_id)


def test_without_the_network_a_damaged_cache_is_left_alone_and_the_page_says_what_to_do(
    chromium: Browser, bank: Bank
) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        page.evaluate(SPOIL, "not JavaScript")
        page.context.set_offline(True)
        load(page, bank)
        wait_until(page, "Number(sessionStorage.getItem('failed-starts')) >= 4")
        expect(page.locator("#stuck")).to_contain_text("この端末のトークンは消えていません")
        expect(page.locator("#stuck")).to_contain_text("This device's token is not lost")
        screenshot(page, "token-stuck-ja-light")
        assert kept_versions(page)
        page.context.set_offline(False)
        page.locator("#stuck a").first.click()
        opens(page, token_id)


def test_a_damaged_cache_is_not_removed_for_the_login_page_of_a_network(chromium: Browser, bank: Bank) -> None:
    with browser_of(chromium) as page:
        token_id = has_token(page, bank)
        page.evaluate(SPOIL, "not JavaScript")
        bank.balancer.route = lambda path: HTML
        load(page, bank)
        wait_until(page, "Number(sessionStorage.getItem('failed-starts')) >= 4")
        assert kept_versions(page)
        expect(page.locator("#stuck")).to_contain_text("この端末のトークンは消えていません")
        bank.serve(bank.old)
        opens(page, token_id)


def test_a_browser_that_runs_no_script_of_ours_still_shows_the_way(chromium: Browser, bank: Bank) -> None:
    with browser_of(chromium) as page:
        bank.balancer.route = lambda path: HTML if path.endswith(".js") else bank.old
        page.clock.install()
        load(page, bank)
        expect(page.locator("#stuck a").first).to_be_visible(timeout=SLOW_MS)
