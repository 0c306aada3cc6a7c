"""The soft token in a real browser: set up, locked, unlocked, offline, restarted; and what it leaves on the disk."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, Route, expect

from tests.sekisho import PASSWORD, STAFF
from tests.web.browser import SLOW_MS
from tests.web.phone import Phone, phone
from tests.web.softtoken import (
    PIN,
    SoftTokenServer,
    open_by_pin,
    set_up_by_pin,
    shown_code,
    shown_token_id,
)

MANY = "tokens_per_address = 1000\ntokens_per_hour = 1000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    one = SoftTokenServer(tmp_path_factory.mktemp("server"), MANY)
    one.start()
    yield one
    one.kill()


@pytest.fixture
def own(playwright: Playwright, tmp_path: Path, server: SoftTokenServer) -> Iterator[Phone]:
    """A new phone at the app's first page; nothing may have gone wrong on it at the end."""
    with phone(playwright, tmp_path / "profile", whole=True) as one:
        one.page.goto(server.origin)
        yield one
        assert one.errors == []


def see(page: Page, screen: str) -> None:
    expect(page.locator(f"#{screen}")).to_be_visible(timeout=SLOW_MS)


def wait_until_offline_works(page: Page) -> None:
    page.evaluate("navigator.serviceWorker.ready.then((ready) => ready.active.state)")
    page.wait_for_function("navigator.serviceWorker.controller !== null")


# Setting up, and what it is for


def test_a_new_token_is_enrolled_with_what_the_screen_shows(own: Phone, server: SoftTokenServer) -> None:
    token_id = set_up_by_pin(own.page)
    someone = server.customer(PASSWORD, enrolled=False)
    server.desk.enrolment.enrol(
        someone.contract_id, own.page.locator("#token .token-id").inner_text(), shown_code(own.page), STAFF
    )
    [row] = [row for row in server.audit(event="token.issued") if row.token == token_id]
    assert (row.actor, row.source) == ("soft token", "127.0.0.1")


def test_the_codes_of_200_steps_are_pyotps(own: Phone, server: SoftTokenServer) -> None:
    page, start = own.page, 1_800_000_000
    page.route("**/time", lambda route: route.fulfill(body="{}"))  # so that this device's clock counts
    page.clock.install(time=start)
    page.reload()
    see(page, "setup")  # or its watchdog sees the time pass before it has started
    page.clock.pause_at(start + 601)
    oracle = server.oracle(set_up_by_pin(page))
    for step in range(200):
        code = oracle.at(start + 601 + 30 * step)
        expect(page.locator("#code")).to_have_text(f"{code[:3]} {code[3:]}", timeout=SLOW_MS)
        page.clock.fast_forward(30_000)
        page.keyboard.press("Shift")  # in use, or it locks itself


def test_the_code_is_shown_as_soon_as_the_time_is_known(own: Phone, server: SoftTokenServer) -> None:
    page, start, asked = own.page, 1_800_000_000, list[Route]()
    page.route("**/time", lambda route: route.fulfill(body="{}"))
    page.clock.install(time=start)
    page.reload()
    see(page, "setup")  # or its watchdog sees the time pass before it has started
    page.clock.pause_at(start + 600)
    oracle = server.oracle(set_up_by_pin(page))
    page.clock.run_for(1000)
    expect(page.locator("#code")).not_to_be_empty(timeout=SLOW_MS)
    page.unroute("**/time")
    page.route("**/time", lambda route: asked.append(route))
    page.keyboard.press("Shift")  # in use, or it locks itself
    page.clock.set_system_time(start + 661)  # the clock alone jumps: the time has to be found out
    with page.expect_request("**/time"):
        page.clock.run_for(1000)
    expect(page.locator("#code")).to_be_empty()
    for route in asked:
        route.fulfill(body="{}")  # no second passes any more: only this can show the code
    code = oracle.at(start + 662)
    expect(page.locator("#code")).to_have_text(f"{code[:3]} {code[3:]}", timeout=SLOW_MS)


def test_it_works_without_a_network_after_a_restart_of_the_browser(
    playwright: Playwright, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = SoftTokenServer(tmp_path_factory.mktemp("mortal"))
    server.start()
    with phone(playwright, tmp_path / "profile", whole=True) as before:
        before.page.goto(server.origin)
        token_id = set_up_by_pin(before.page)
        wait_until_offline_works(before.page)
    server.stop()  # from here on there is no server any more
    with phone(playwright, tmp_path / "profile", whole=True) as after:
        after.page.goto(server.origin)
        see(after.page, "locked")
        after.context.set_offline(True)
        expect(after.page.locator("#offline")).to_be_visible()
        open_by_pin(after.page)
        assert shown_token_id(after.page) == token_id
        oracle, now = server.oracle(token_id), time.time()
        assert shown_code(after.page) in {oracle.at(now, counter_offset=away) for away in (-1, 0, 1)}


def test_a_second_click_makes_no_second_token(own: Phone, server: SoftTokenServer) -> None:
    before = len(server.issued())
    own.page.locator("#pin-new").fill(PIN)
    own.page.locator("#pin-again").fill(PIN)
    own.page.locator("#make-pin button").dblclick()
    see(own.page, "token")
    assert len(server.issued()) == before + 1


# What is left on the disk


def spellings(secret: bytes) -> set[bytes]:
    """A secret in every encoding in which it might have been stored."""
    texts = {
        secret.hex(),
        secret.hex().upper(),
        base64.b32encode(secret).decode(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
    }
    return {secret} | {text.encode(coding) for text in texts for coding in ("ascii", "utf-16-le")}


def found_in(profile: Path, words: set[bytes]) -> list[Path]:
    files = [path for path in profile.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(word in path.read_bytes() for word in words)]


@pytest.mark.parametrize("way", ["pin", "passkey"])
def test_no_raw_seed_is_anywhere_in_the_profile(
    playwright: Playwright, server: SoftTokenServer, tmp_path: Path, way: str
) -> None:
    profile = tmp_path / "profile"
    with phone(playwright, profile, whole=True) as one:
        one.passkeys()
        one.page.goto(server.origin)
        if way == "pin":
            token_id = set_up_by_pin(one.page)
        else:
            one.page.locator("#make-passkey").click()
            token_id = shown_token_id(one.page)
        wait_until_offline_works(one.page)
        one.page.reload()
        see(one.page, "locked")
    assert found_in(profile, {token_id.encode()}), "the record itself is there, so the folder is the right one"
    assert found_in(profile, spellings(server.seed(token_id))) == []
    assert found_in(profile, {PIN.encode()}) == []


def test_the_search_of_the_profile_finds_what_a_page_stores_in_clear(
    playwright: Playwright, server: SoftTokenServer, tmp_path: Path
) -> None:
    """The proof that the test above can fail; and why a non-extractable key is not good enough."""
    seed = bytes(range(100, 120))
    with phone(playwright, tmp_path / "profile", whole=True) as one:
        one.page.goto(server.origin)
        one.page.evaluate(
            """async (seed) => {
                const module = (name) => import(new URL(name, document.querySelector("script[type=module]").src));
                const key = await (await module("totp.js")).importSeed(new Uint8Array(seed));
                await (await module("storage.js")).storeToken({ key });
            }""",
            list(seed),
        )
    assert found_in(tmp_path / "profile", spellings(seed))


def test_nothing_but_the_files_the_time_and_one_request_for_a_token_is_asked(
    own: Phone, server: SoftTokenServer
) -> None:
    set_up_by_pin(own.page)
    own.page.locator("#lock").click()
    open_by_pin(own.page)
    see(own.page, "token")
    assert all(request.url.startswith(server.origin + "/") for request in own.requests)
    [post] = [request for request in own.requests if request.method != "GET"]
    assert post.url == f"{server.origin}/token"
    assert re.fullmatch(r"key=[A-Za-z0-9_-]{43}&ticket=", post.post_data or "")
    assert all("?" not in request.url for request in own.requests)
    kept = own.page.evaluate(
        "(async () => (await Promise.all((await caches.keys()).map(async (name) => (await (await caches.open(name))"
        ".keys()).map((one) => new URL(one.url).pathname)))).flat())()"
    )
    assert not {"/token", "/time"} & set(kept)


# Beginning anew


def test_a_new_token_is_made_only_after_a_confirmation(own: Phone) -> None:
    first = set_up_by_pin(own.page)
    own.page.locator("#token [data-new-token]").click()
    expect(own.page.locator("#new-cancel")).to_be_focused()
    expect(own.page.locator("#new-lead")).to_contain_text(f"{first[:4]} {first[4:8]} {first[8:]}")
    own.page.locator("#new-cancel").click()
    own.page.reload()
    see(own.page, "locked")
    own.page.locator("#locked [data-new-token]").click()
    own.page.locator("#new-confirm").click()
    see(own.page, "setup")
    own.page.reload()
    see(own.page, "setup")
    assert set_up_by_pin(own.page) != first


def test_another_tab_follows(own: Phone, server: SoftTokenServer) -> None:
    other = own.context.new_page()
    other.goto(server.origin)
    see(other, "setup")
    token_id = set_up_by_pin(own.page)
    see(other, "locked")
    open_by_pin(other)
    assert shown_token_id(other) == token_id


def test_cleared_storage_is_a_new_device_and_the_page_says_so(own: Phone, server: SoftTokenServer) -> None:
    first = set_up_by_pin(own.page)
    expect(own.page.locator("footer")).to_contain_text("ブラウザーのデータを消すと、トークンも消えます")
    session = own.context.new_cdp_session(own.page)
    session.send("Storage.clearDataForOrigin", {"origin": server.origin, "storageTypes": "all"})
    own.page.goto(server.origin)
    see(own.page, "setup")
    assert set_up_by_pin(own.page) != first


def test_too_many_new_tokens_are_refused_with_an_explanation(
    playwright: Playwright, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = SoftTokenServer(tmp_path_factory.mktemp("stingy"), "tokens_per_address = 1")
    server.start()
    try:
        with phone(playwright, tmp_path / "profile", whole=True) as one:
            one.page.goto(server.origin)
            set_up_by_pin(one.page)
            one.page.locator("#token [data-new-token]").click()
            one.page.locator("#new-confirm").click()
            see(one.page, "setup")
            one.page.locator("#pin-new").fill(PIN)
            one.page.locator("#pin-again").fill(PIN)
            one.page.locator("#make-pin button").click()
            expect(one.page.locator("#error")).to_contain_text("１時間ほど後に", timeout=SLOW_MS)
        assert len(server.issued()) == 1
    finally:
        server.kill()
