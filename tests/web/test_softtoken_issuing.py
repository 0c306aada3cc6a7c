"""Whatever becomes of the reply to POST /token, in a real browser: at most one token is used up, and the page says what
happened and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, Route, expect

from tests.sekisho import STAFF, Sekisho, free_port
from tests.web.browser import SLOW_MS, browser_page, screenshot
from tests.web.cutting_proxy import CuttingProxy, Spoil, cutting_proxy
from tests.web.phone import Phone, phone
from tests.web.softtoken import PIN, SoftTokenServer, module, set_up_by_pin, shown_token_id


def reply(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


HTML = reply("200 OK", "Content-Type: text/html", body=b"<html>Please log in</html>")
BUSY = reply("503 Service Unavailable")
ELSEWHERE = reply("302 Found", "Location: http://127.0.0.1:9/")
NO_TOKEN = reply("200 OK", "Content-Type: application/json", body=b'{"token_id": 1}')


class BehindProxy(SoftTokenServer):
    """``origin`` is the proxy's; the server listens elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.proxy_port, self.server_port = free_port(), free_port()
        self.origin = f"http://localhost:{self.proxy_port}"
        Sekisho.__init__(
            self,
            folder,
            more=f'[soft_token]\nlisten = "127.0.0.1:{self.server_port}"\npublic_origin = "{self.origin}"\n'
            "tokens_per_address = 100000\ntokens_per_hour = 100000\n",
        )


@dataclass
class Served:
    server: BehindProxy
    proxy: CuttingProxy


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = BehindProxy(tmp_path_factory.mktemp("server"))
    server.start()
    try:
        with cutting_proxy(server.proxy_port, server.server_port) as proxy:
            yield Served(server, proxy)
    finally:
        server.kill()


@pytest.fixture
def own(playwright: Playwright, tmp_path: Path, served: Served) -> Iterator[Phone]:
    """A new phone at the app's first page. What fails on the way is in its console; nothing else may be."""
    with phone(playwright, tmp_path / "profile") as one:
        one.page.goto(served.server.origin)
        one.page.locator("#setup").wait_for()
        yield one
        assert [error for error in one.errors if "Failed to load resource" not in error] == []


def choose_pin(page: Page, pin: str = PIN) -> None:
    page.locator("#pin-new").fill(pin)
    page.locator("#pin-again").fill(pin)
    page.locator("#make-pin button").click()


def test_a_reply_cut_at_each_octet_uses_up_one_token_at_most(own: Phone, served: Served) -> None:
    """Of a reply without any octet Chromium may ask again by itself: see the next test."""
    ask = f"""
        const {{ requestToken }} = await {module("server.js")};
        const ask = async (key) => {{
            try {{
                return (await requestToken(key, "")).token.tokenId;
            }} catch (error) {{
                return error.constructor.name;
            }}
        }};
    """
    own.page.evaluate(f"async () => {{ {ask} return ask(crypto.getRandomValues(new Uint8Array(32))); }}")
    octets = len(served.proxy.replies[-1])
    before = served.server.number_issued()
    served.proxy.spoils = [spoil for octet in range(1, octets) for spoil in (octet, None)]
    cut, whole = own.page.evaluate(
        f"""async (octets) => {{
            {ask}
            const [cut, whole] = [[], []];
            for (let octet = 1; octet < octets; octet += 1) {{
                const key = crypto.getRandomValues(new Uint8Array(32));
                cut.push(await ask(key));
                whole.push(await ask(key));
            }}
            return [cut, whole];
        }}""",
        octets,
    )
    assert octets > 300 and len(cut) == octets - 1
    assert set(cut) <= {"Unreachable", "BadAnswer"}, "every cut is noticed"
    assert len(set(whole)) == octets - 1 and all(one.startswith("SKSO") for one in whole)
    assert served.server.number_issued() == before + octets - 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (0, "サーバーから返事が届きませんでした"),
        (100, "同じトークンを受け取るので"),
        (-1, "同じトークンを受け取るので"),
        (HTML, "公衆無線ＬＡＮのログイン画面"),
        (NO_TOKEN, "このサーバーのものではありません"),
        (ELSEWHERE, "同じトークンを受け取るので"),
        (BUSY, "数分後に"),
    ],
)
def test_a_spoiled_reply_is_explained_and_the_next_try_gets_the_same_token(
    own: Phone, served: Served, spoil: Spoil, said: str
) -> None:
    before = served.server.number_issued()
    served.proxy.spoils = [spoil] * 10
    choose_pin(own.page)
    expect(own.page.locator("#error")).to_contain_text(said, timeout=SLOW_MS)
    expect(own.page.locator("#error")).to_be_focused()
    own.page.reload()
    own.page.locator("#setup").wait_for()
    choose_pin(own.page)
    expect(own.page.locator("#error")).to_contain_text(said, timeout=SLOW_MS)
    served.proxy.spoils = []
    set_up_by_pin(own.page)
    assert served.server.number_issued() == before + 1


def test_a_reply_that_does_not_come_is_given_up_and_explained(own: Phone, served: Served) -> None:
    before = served.server.number_issued()
    own.page.clock.install()
    own.page.reload()
    own.page.locator("#setup").wait_for()
    served.proxy.released.clear()
    served.proxy.held.set()
    choose_pin(own.page)
    expect(own.page.locator("#status")).to_have_text("お待ちください…")
    while served.server.number_issued() == before:
        own.page.wait_for_timeout(50)
    own.page.clock.run_for(21_000)
    expect(own.page.locator("#error")).to_contain_text("時間がかかりすぎています", timeout=SLOW_MS)
    served.proxy.held.clear()
    served.proxy.released.set()
    set_up_by_pin(own.page)
    assert served.server.number_issued() == before + 1


def test_a_browser_that_cannot_store_asks_for_no_token(own: Phone, served: Served) -> None:
    before = served.server.number_issued()
    session = own.context.new_cdp_session(own.page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": served.server.origin, "quotaSize": 1})
    choose_pin(own.page)
    expect(own.page.locator("#error")).to_contain_text("このブラウザーには、トークンを保存できません", timeout=SLOW_MS)
    assert served.server.number_issued() == before
    session.send("Storage.overrideQuotaForOrigin", {"origin": served.server.origin})
    set_up_by_pin(own.page)


def test_two_tabs_issue_one_token(own: Phone, served: Served) -> None:
    before = served.server.number_issued()
    other = own.context.new_page()
    other.goto(served.server.origin)
    other.locator("#setup").wait_for()
    served.proxy.released.clear()
    served.proxy.held.set()
    choose_pin(own.page)
    while served.server.number_issued() == before:
        own.page.wait_for_timeout(50)
    choose_pin(other)
    expect(other.locator("#error")).to_contain_text("別のタブで", timeout=SLOW_MS)
    screenshot(other, "token-other-tab-ja")
    other.reload()  # which issued a second one
    other.locator("#setup").wait_for()
    choose_pin(other)
    expect(other.locator("#error")).to_contain_text("別のタブで", timeout=SLOW_MS)
    served.proxy.held.clear()
    served.proxy.released.set()
    shown_token_id(own.page)
    other.locator("#locked").wait_for()
    assert served.server.number_issued() == before + 1


def test_a_token_that_was_enrolled_meanwhile_is_not_asked_for_again(own: Phone, served: Served) -> None:
    """The key was kept though its token was stored and lost, say by a browser that restored a part of its data."""
    served.proxy.spoils = [0] * 5
    choose_pin(own.page)
    expect(own.page.locator("#error")).to_contain_text("サーバーから返事が届きませんでした", timeout=SLOW_MS)
    first = json.loads(served.proxy.replies[-1].partition(b"\r\n\r\n")[2])["token_id"]
    served.proxy.spoils = []
    served.server.desk.tokens.retire(first, STAFF)
    assert set_up_by_pin(own.page) != first


def test_the_keys_of_a_set_up_are_gone_once_the_token_is_stored(own: Phone) -> None:
    set_up_by_pin(own.page)
    kept = own.page.evaluate(
        f"""async () => (await {module("storage.js")}).inTransaction("readonly", (store) => store.getAllKeys())"""
    )
    assert kept == ["current"]


def test_the_ticket_leaves_the_address_and_survives_a_reload(own: Phone, served: Served) -> None:
    ticket = served.server.desk.issuance.ticket("taro")
    own.page.goto(f"{served.server.origin}/?lang=en#ticket={ticket}")
    own.page.get_by_role("heading", name="Set up your token").wait_for()
    assert own.page.url == f"{served.server.origin}/"
    own.page.reload()
    with own.page.expect_request("**/token") as asked:
        set_up_by_pin(own.page)
    assert f"ticket={ticket}" in (asked.value.post_data or "")
    assert own.page.evaluate("sessionStorage.length") == 0


def test_ticket_and_language_survive_starts_that_fail(chromium: Browser, served: Served) -> None:
    """Of a file that does not arrive: the watchdog starts the page again before the app has read its address."""
    ticket, failed = served.server.desk.issuance.ticket("jiro"), []

    def fail_twice(route: Route) -> None:
        failed.append(route.request.url)
        route.abort() if len(failed) <= 2 else route.continue_()

    with browser_page(chromium) as page:
        page.route("**/main.js", fail_twice)
        page.goto(f"{served.server.origin}/?lang=en#ticket={ticket}")
        page.get_by_role("heading", name="Set up your token").wait_for(timeout=SLOW_MS)
        assert len(failed) > 2 and page.url == f"{served.server.origin}/"
        assert page.evaluate("sessionStorage.getItem('ticket')") == ticket
