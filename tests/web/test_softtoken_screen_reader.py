"""What a screen reader finds on the soft token's page in every state, in both languages: the accessibility tree, which
the tour shows. Whole for the screens; for what is said on them, the part that says it, and where the focus is.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.web.browser import SLOW_MS, browser_page, keep_text
from tests.web.phone import Phone, phone
from tests.web.softtoken import PIN, SoftTokenServer, module, open_by_pin, set_up_by_pin
from tests.web.test_softtoken_page import screens
from tests.web.test_softtoken_passkey import refuse_get
from tests.web.test_softtoken_storage import LINE, apple

LANGUAGES = {"ja": "ja-JP", "en": "en-GB"}
EXAMPLES = [
    (r"SKSO \d{4} \d{4}", "SKSO 1234 5678"),
    (r"S K S O( \d){8}", "S K S O 1 2 3 4 5 6 7 8"),
    (r"(?<![O\d] )(\d ){5}\d(?! \d)", "1 2 3 4 5 6"),
    ("残り[０-９]+秒", "残り２０秒"),
    (r"\d+ seconds left", "20 seconds left"),
    (r"\d{4}年\d+月\d+日", "2026年11月29日"),
    (r"\w+ \d+, \d{4}", "November 29, 2026"),
    (r"http://localhost:\d+", ""),
]
"""What differs each time, and what the tour shows in its place."""
FOCUS = """() => {
    const { activeElement: one, body } = document;
    return one === body ? "" : (one.labels?.[0] ?? one).textContent.trim();
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    one = SoftTokenServer(tmp_path_factory.mktemp("server"), "tokens_per_address = 1000\ntokens_per_hour = 1000")
    one.start()
    yield one
    one.kill()


def found_by(page: Page, place: str) -> str:
    """The title, the tree of a part of the page, and what has the focus."""
    focus, error = page.evaluate(FOCUS), page.locator("#error").text_content()
    tree = page.locator(place).aria_snapshot()
    return "\n".join(
        [f"title: {page.title()}", tree, *([f"focus: {'the alert' if focus == error else focus}"] if focus else [])]
    )


def with_examples(found: dict[str, str]) -> str:
    text = "\n\n".join(f"[{state}]\n{tree}" for state, tree in found.items())
    for varying, example in EXAMPLES:
        text = re.sub(varying, example, text)
    return text


def is_sound(tree: str) -> bool:
    """Whether each control has a name, and no paragraph is empty."""
    return not re.findall(r"- (?:(?:button|textbox|link|img)(?: \[.*)?:?|paragraph)$", without_content(tree), re.M)


def without_content(tree: str) -> str:
    """A paragraph whose content stands below it is not empty."""
    return re.sub(r"^( *)- paragraph:\n(?=\1  )", "", tree, flags=re.M)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_screen_has_a_heading_a_name_for_every_control_and_what_is_wrong(
    playwright: Playwright, server: SoftTokenServer, tmp_path: Path, language: str
) -> None:
    with phone(playwright, tmp_path / "profile", locale=LANGUAGES[language]) as one:
        one.page.goto(server.origin)
        found = {}
        for screen in screens(one.page):
            tree = one.page.locator("body").aria_snapshot()
            found[screen] = found_by(one.page, "body")
            assert len(re.findall(r"heading .*\[level=1\]", tree)) == 1, screen
            assert is_sound(tree), (screen, tree)
        assert re.search("alert: .*(エラー|Error)", found["setup with an error"])
        assert re.search(r"\d \d \d \d \d \d", found["token"])
        keep_text(with_examples(found), f"token-screen-reader-{language}")


# States


def choose_pin(page: Page) -> None:
    for field in ("#pin-new", "#pin-again"):
        page.locator(field).fill(PIN)
    page.locator("#make-pin button").click()


def answer_token(status: int, body: str = "") -> Callable[[Phone], None]:
    def act(one: Phone) -> None:
        one.page.route("**/token", lambda route: route.fulfill(status=status, body=body))
        choose_pin(one.page)

    return act


def cut_off(one: Phone) -> None:
    one.page.route("**/token", lambda route: route.abort())
    choose_pin(one.page)


NO_ANSWER = """() => {
    globalThis.asked = 0;
    globalThis.fetch = (_, { signal }) => new Promise((_, reject) => {
        asked += 1;
        signal.addEventListener("abort", () => reject(signal.reason));
    });
}"""


def too_slow(one: Phone) -> None:
    one.page.clock.install()
    one.page.reload()
    one.page.locator("#setup").wait_for()
    one.page.evaluate(NO_ANSWER)
    choose_pin(one.page)
    while not one.page.evaluate("asked"):
        one.page.wait_for_timeout(50)
    one.page.clock.run_for(21_000)


def storage_refused(one: Phone) -> None:
    session = one.context.new_cdp_session(one.page)
    origin = one.page.evaluate("location.origin")
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 1})
    choose_pin(one.page)


def other_tab(one: Phone) -> None:
    one.page.evaluate("navigator.locks.request('soft-token', () => new Promise(() => {})); null")
    other = one.context.new_page()
    other.goto(one.page.url)
    other.locator("#setup").wait_for()
    one.page = other
    choose_pin(other)


def passkey_refused(one: Phone) -> None:
    one.passkeys()
    refuse_get(one.page)
    one.page.locator("#make-passkey").click()


def passkey_without_prf(one: Phone) -> None:
    one.passkeys(prf=False)
    one.page.locator("#make-passkey").click()


def locked(one: Phone) -> None:
    set_up_by_pin(one.page)
    one.page.locator("#lock").click()


def wrong_pin(one: Phone) -> None:
    locked(one)
    open_by_pin(one.page, "60392817")


def pin_delay(one: Phone) -> None:
    one.page.clock.install()
    one.page.reload()
    locked(one)
    one.page.clock.pause_at(one.page.evaluate("Date.now()") / 1000 + 1)
    for _ in range(4):
        open_by_pin(one.page, "60392817")
        one.page.locator("#error").wait_for()
        expect(one.page.locator("#open-pin button")).not_to_have_attribute("aria-disabled", "true", timeout=SLOW_MS)


def no_room_to_unlock(one: Phone) -> None:
    locked(one)
    one.page.evaluate(f"async () => (await {module('page.js')}).showError('noRoom')")


def cleared(one: Phone) -> None:
    locked(one)
    session = one.context.new_cdp_session(one.page)
    origin = one.page.evaluate("location.origin")
    session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "indexeddb"})
    open_by_pin(one.page)


DAMAGED = """{ tokenId: "SKSO12345678", digits: 6, period: 30, enrolBy: 1800000000000,
    lock: { kind: "passkey", credential: new Uint8Array(16), input: new Uint8Array(32), salt: new Uint8Array(16),
            transports: [], attachment: "platform", synced: true },
    iv: new Uint8Array(12), sealed: new Uint8Array(36) }"""
ANY_OUTPUT = """() => {
    const prf = { results: { first: new Uint8Array(32).buffer } };
    navigator.credentials.get = async () => ({ getClientExtensionResults: () => ({ prf }) });
}"""


def damaged(one: Phone) -> None:
    one.page.evaluate(f"async () => (await {module('storage.js')}).storeToken({DAMAGED})")
    one.page.reload()
    one.page.evaluate(ANY_OUTPUT)
    one.page.locator("#open-passkey").click()


def unreadable(one: Phone) -> None:
    one.page.add_init_script("indexedDB.open = () => { throw new DOMException('no', 'SecurityError'); };")
    one.page.reload()


SAID: dict[str, Callable[[Phone], None]] = {
    "issuing: no answer": cut_off,
    "issuing: no answer in time": too_slow,
    "issuing: cut off, or somebody else's page": answer_token(200, "<html>"),
    "issuing: not now": answer_token(503),
    "issuing: too many": answer_token(429),
    "issuing: cannot be stored": storage_refused,
    "issuing: another tab does it": other_tab,
    "passkey: refused": passkey_refused,
    "passkey: cannot protect a token": passkey_without_prf,
    "unlocking: wrong PIN": wrong_pin,
    "unlocking: PIN too soon": pin_delay,
    "unlocking: no room": no_room_to_unlock,
    "unlocking: data was cleared": cleared,
    "unlocking: damaged": damaged,
    "start: storage is forbidden": unreadable,
}
"""What goes wrong, and how: each is an alert with the focus on it, or on the field that is wrong."""


def set_clock(one: Phone, seconds: float) -> None:
    one.page.clock.set_system_time(time.time() + seconds)
    one.page.clock.run_for(1100)


def at_a_wrong_clock(one: Phone) -> None:
    one.page.clock.install(time=time.time())
    one.page.reload()
    set_up_by_pin(one.page)
    set_clock(one, -180)
    expect(one.page.locator("#clock")).to_be_visible(timeout=SLOW_MS)


def at_a_wrong_clock_offline(one: Phone) -> None:
    at_a_wrong_clock(one)
    one.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    one.context.set_offline(True)
    one.page.reload()
    open_by_pin(one.page)
    expect(one.page.locator("#token")).to_be_visible(timeout=SLOW_MS)


def after_a_jump_offline(one: Phone) -> None:
    one.page.clock.install(time=time.time())
    one.page.reload()
    set_up_by_pin(one.page)
    one.context.set_offline(True)
    set_clock(one, -300)
    expect(one.page.locator("#clock")).to_be_visible(timeout=SLOW_MS)
    one.page.clock.run_for(1100)


def while_the_time_is_found_out(one: Phone) -> None:
    one.page.clock.install(time=time.time())
    one.page.reload()
    set_up_by_pin(one.page)
    one.page.evaluate(NO_ANSWER)
    set_clock(one, 250)
    one.page.clock.run_for(100)


def offline(one: Phone) -> None:
    set_up_by_pin(one.page)
    one.context.set_offline(True)
    expect(one.page.locator("#offline")).to_be_visible(timeout=SLOW_MS)


def home(one: Phone) -> None:
    apple(one.page, in_app=False)
    one.page.reload()


def inside_another_app(one: Phone) -> None:
    one.page.add_init_script(f"Object.defineProperty(navigator, 'userAgent', {{ get: () => {json.dumps(LINE)} }})")
    home(one)


def passkey_pending(one: Phone) -> None:
    passkey_refused(one)
    one.page.locator("#error").wait_for()
    one.page.reload()


def locked_by_passkey(one: Phone) -> None:
    one.passkeys()
    one.page.locator("#make-passkey").click()
    one.page.locator("#lock").click()


def locked_by_another_tab(one: Phone) -> None:
    set_up_by_pin(one.page)
    other = one.context.new_page()
    other.goto(one.page.url)
    open_by_pin(other)
    other.locator("#lock").click()


def change(one: Phone) -> None:
    set_up_by_pin(one.page)
    one.page.locator("#change-lock").click()


def phrase(one: Phone) -> None:
    one.page.locator("input[value=phrase]").check()


def stuck(one: Phone) -> None:
    one.page.route("**/main.js", lambda route: route.abort())
    one.page.reload()


ABOVE = "main > div[role=status]"
STUCK = "the app does not load"
SHOWN: dict[str, tuple[Callable[[Phone], None], str]] = {
    "home screen first": (home, "#home"),
    "inside another app": (inside_another_app, "#home"),
    "set-up, with a phrase": (phrase, "#make-pin"),
    "set-up, with a passkey that was created before": (passkey_pending, "#passkey-way"),
    "locked, by a passkey": (locked_by_passkey, "#locked"),
    "locked, by another tab": (locked_by_another_tab, "#locked"),
    "another lock": (change, "#setup"),
    "clock off": (at_a_wrong_clock, ABOVE),
    "clock off, remembered offline": (at_a_wrong_clock_offline, ABOVE),
    "clock jumped, offline": (after_a_jump_offline, ABOVE),
    "the time is being found out": (while_the_time_is_found_out, "#token dl"),
    "offline": (offline, ABOVE),
    STUCK: (stuck, "#stuck"),
}
"""Other states, how they come, and which part of the page shows them."""


def each_state(
    playwright: Playwright, chromium: Browser, server: SoftTokenServer, folder: Path, states: Iterable[str]
) -> Iterator[tuple[str, Phone]]:
    """Each state's name, and a new phone at the first page."""
    for number, state in enumerate(states):
        if "passkey" in state:
            with phone(playwright, folder / str(number), whole=True) as one:
                one.page.goto(server.origin)
                one.page.locator("#setup").wait_for()
                yield state, one
            continue
        with browser_page(chromium) as page:
            page.goto(server.origin)
            page.locator("#setup").wait_for()
            yield state, Phone(page.context, page)


def in_english(page: Page, place: str) -> str:
    """What is found in the other language, which every text on the page has to follow to."""
    page.locator("[data-language=en]").click()
    tree = page.locator(place).aria_snapshot()
    assert not re.search("[ぁ-ヿ一-鿿]", tree), tree
    return f"title: {page.title()}\n{tree}"


def test_whatever_goes_wrong_is_an_alert_in_the_page_s_language_with_the_focus_on_it(
    playwright: Playwright, chromium: Browser, server: SoftTokenServer, tmp_path: Path
) -> None:
    found: dict[str, dict[str, str]] = {"ja": {}, "en": {}}
    for state, one in each_state(playwright, chromium, server, tmp_path, SAID):
        SAID[state](one)
        page, error = one.page, one.page.locator("#error")
        expect(error).to_be_visible(timeout=SLOW_MS)
        said = error.inner_text()
        assert said.startswith("エラー：") and page.title().startswith("エラー："), state
        assert page.evaluate(FOCUS) in (said, "暗証番号"), state
        found["ja"][state] = found_by(page, "#error")
        found["en"][state] = in_english(page, "#error")
    assert len(set(found["ja"].values())) == len(SAID), "each says something else"
    for language, texts in found.items():
        keep_text(with_examples(texts), f"token-screen-reader-errors-{language}")


def test_every_other_state_reads_well_in_both_languages(
    playwright: Playwright, chromium: Browser, server: SoftTokenServer, tmp_path: Path
) -> None:
    found: dict[str, dict[str, str]] = {"ja": {}, "en": {}}
    for state, one in each_state(playwright, chromium, server, tmp_path, SHOWN):
        act, place = SHOWN[state]
        act(one)
        expect(one.page.locator(place)).to_be_visible(timeout=SLOW_MS)
        tree = one.page.locator("body").aria_snapshot()
        assert is_sound(tree), (state, tree)
        found["ja"][state] = found_by(one.page, place)
        if state != STUCK:  # which says it in both languages
            found["en"][state] = in_english(one.page, place)
    for language, texts in found.items():
        keep_text(with_examples(texts), f"token-screen-reader-states-{language}")
