"""PINs and phrases in a real browser: which are taken, how wrong ones are slowed down, and another lock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.web.browser import SLOW_MS, axe, overflows, screenshot
from tests.web.phone import Phone, phone
from tests.web.softtoken import PIN, SoftTokenServer, module, open_by_pin, set_up_by_pin, shown_code, shown_token_id

PHRASE = "Nagoya-kitsune 7 soba"
GUESSED = [
    *("11111111", "12345678", "98765432", "89012345", "12121212", "12341234", "12312312", "11223344", "11112222"),
    *("19900101", "01011990", "12311999", "20261129", "1990010112", "12344321", "12348765", "24682468", "13579135"),
    *("14725836", "15935728", "78945612", "25802580", "31415926", "27182818", "11922960", "10203040", "00000001"),
    *("123456789012", "19900101199", "55555555555555"),
]
TAKEN = ["81472536", "60392817", "4790361528", "93017462", "58203917"]
GUESSED_PHRASES = [
    *("passwordpassword", "Password12345678", "P@ssw0rd2026!", "qwertyuiopasdf", "abcdefghijklmnop", "aaaaaaaaaaaaaa"),
    *("sakurasakura1990", "arigatoukonnichiwa", "1qaz2wsx3edc4rfv", "correcthorsebatterystaple", "iloveyou20261129"),
    *("abcabcabcabcabc", "himitsu-himitsu-himitsu", "あいうえおかきくけこさし", "いろはにほへとちりぬるを"),
    *("パスワードひみつ12345", "ﾜﾝﾀｲﾑﾊﾟｽﾜｰﾄﾞ1234", "暗証番号は誕生日です2026", "わたしのあんしょうばんごう"),
]
TAKEN_PHRASES = [PHRASE, "yuki.ga.furu.asa", "four grey herons wade", "むらさきの雨傘をさした狐"]


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
        one.page.locator("#setup").wait_for()
        yield one
        assert one.errors == []


def problems(page: Page, form: str, pins: list[str]) -> list[str | None]:
    return list(
        page.evaluate(
            f"""async ([form, pins]) => {{
                const {{ normalisePin, pinProblem }} = await {module("pin.js")};
                return pins.map(normalisePin).map((pin) => pinProblem(form, pin, pin));
            }}""",
            [form, pins],
        )
    )


def tries(page: Page, wrong: list[str]) -> list[str]:
    """What the page says after each."""
    said = []
    for pin in wrong:
        open_by_pin(page, pin)
        expect(page.locator("#open-pin button")).not_to_have_attribute("aria-disabled", "true", timeout=SLOW_MS)
        said.append(page.locator("#error").inner_text())
    return said


# Which are taken


def test_what_is_guessed_first_is_refused_and_others_are_taken(own: Phone) -> None:
    page = own.page
    assert dict(zip(GUESSED, problems(page, "digits", GUESSED), strict=True)) == dict.fromkeys(GUESSED, "pinTooEasy")
    assert problems(page, "digits", TAKEN) == [None] * len(TAKEN)
    said = problems(page, "phrase", GUESSED_PHRASES)
    assert dict(zip(GUESSED_PHRASES, said, strict=True)) == dict.fromkeys(GUESSED_PHRASES, "phraseTooEasy")
    assert problems(page, "phrase", TAKEN_PHRASES) == [None] * len(TAKEN_PHRASES)


def test_few_random_numbers_are_refused(own: Phone) -> None:
    """A list that refuses what is hard to guess would make PINs easier to guess."""
    refused = own.page.evaluate(
        f"""async () => {{
            const {{ isEasy }} = await {module("pin.js")};
            const draw = () => [...crypto.getRandomValues(new Uint8Array(8))].map((one) => one % 10).join("");
            return Array.from({{ length: 20000 }}, draw).filter(isEasy).length;
        }}"""
    )
    assert refused < 20_000 * 0.03


@pytest.mark.parametrize(
    ("form", "pin", "again", "said"),
    [
        ("digits", "", "", "８桁以上"),
        ("digits", "8147253", "8147253", "８桁以上"),
        ("digits", "abcdefgh", "abcdefgh", "８桁以上"),
        ("digits", "19900101", "19900101", "推測されやすい"),
        ("digits", "８１４７２５３６", "81472537", "２つの暗証番号が違います"),
        ("phrase", "soba kitsune", "soba kitsune", "１２文字以上"),
        ("phrase", "passwordpassword", "passwordpassword", "よく使われる言葉"),
    ],
)
def test_a_pin_that_will_not_do_is_explained(
    own: Phone, server: SoftTokenServer, form: str, pin: str, again: str, said: str
) -> None:
    before = len(server.issued())
    own.page.locator(f"input[value={form}]").check()
    own.page.locator("#pin-new").fill(pin)
    own.page.locator("#pin-again").fill(again)
    own.page.locator("#make-pin button").click()
    expect(own.page.locator("#error")).to_contain_text(said, timeout=SLOW_MS)
    assert own.page.title().startswith("エラー：")
    assert len(server.issued()) == before


def test_full_width_digits_are_the_same_pin(own: Phone) -> None:
    set_up_by_pin(own.page, "８１４７２５３６")
    own.page.locator("#lock").click()
    open_by_pin(own.page, "8147 2536")
    own.page.locator("#token").wait_for()


def test_a_phrase_opens_a_token_with_all_keys_at_hand(own: Phone) -> None:
    page = own.page
    page.locator("input[value=phrase]").check()
    assert page.locator("#pin-new").get_attribute("inputmode") == "text"
    expect(page.locator("label[for=pin-new]")).to_contain_text("１２文字以上")
    assert axe(page) == [] and not overflows(page)
    screenshot(page, "token-setup-phrase-ja")
    set_up_by_pin(page, PHRASE)
    page.locator("#lock").click()
    assert page.locator("#pin").get_attribute("inputmode") == "text"
    open_by_pin(page, PHRASE.replace(" ", ""))
    page.locator("#token").wait_for()


# Wrong ones


def test_a_wrong_pin_opens_nothing_and_the_right_one_does(own: Phone) -> None:
    set_up_by_pin(own.page)
    own.page.locator("#lock").click()
    assert "暗証番号が違います" in tries(own.page, ["81472537"])[0]
    expect(own.page.locator("#pin")).to_be_focused()
    assert own.page.locator("#pin").input_value() == ""
    open_by_pin(own.page)
    own.page.locator("#token").wait_for()


def test_without_room_to_count_a_try_none_is_made_and_the_page_says_what_to_do(
    own: Phone, server: SoftTokenServer
) -> None:
    """It said to load the page again, to update the browser, or to leave private mode."""
    token_id = set_up_by_pin(own.page)
    own.page.locator("#lock").click()
    session = own.context.new_cdp_session(own.page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": server.origin, "quotaSize": 1})
    end = time.monotonic() + SLOW_MS / 1000
    while "空き容量が足りない" not in tries(own.page, [PIN])[0]:  # Chromium looks at the room every half minute
        assert time.monotonic() < end
        own.page.locator("#lock").click()
        own.page.wait_for_timeout(1000)
    expect(own.page.locator("#error")).to_be_focused()
    session.send("Storage.overrideQuotaForOrigin", {"origin": server.origin})
    open_by_pin(own.page)
    assert shown_token_id(own.page) == token_id


def test_an_empty_field_is_no_try(own: Phone) -> None:
    set_up_by_pin(own.page)
    own.page.locator("#lock").click()
    said = tries(own.page, ["", "　", "", "", ""])
    assert all("暗証番号を入力してください" in one for one in said), said
    expect(own.page.locator("#pin")).to_be_focused()
    open_by_pin(own.page)
    own.page.locator("#token").wait_for()


def test_wrong_pins_are_slowed_down_across_reloads_until_the_right_one(own: Phone, server: SoftTokenServer) -> None:
    page = own.page
    page.clock.install()
    page.reload()
    page.locator("#setup").wait_for()
    set_up_by_pin(page)
    page.locator("#lock").click()
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)  # a try may take longer than the first delay
    said = tries(page, ["00000000", "00000001", "00000002", PIN])
    assert "１０秒後に" in said[2] and "待って" in said[3], said
    screenshot(page, "token-too-soon-ja")
    page.reload()
    assert "待って" in tries(page, [PIN])[0]
    page.clock.run_for(11_000)
    assert "２０秒後に" in tries(page, ["00000003"])[0]
    page.clock.run_for(21_000)
    open_by_pin(page)
    page.locator("#token").wait_for()
    page.locator("#lock").click()
    assert "秒後" not in tries(page, ["00000004"])[0], "the right one ends the count"


def test_the_delay_grows_to_an_hour_and_a_clock_set_back_makes_it_no_longer(own: Phone) -> None:
    waits = own.page.evaluate(
        f"""async () => {{
            const {{ takeTry, TooSoon, waitAfter }} = await {module("tries.js")};
            const waits = [1, 2, 3, 4, 12, 100].map(waitAfter);
            for (let wrong = 0; wrong < 3; wrong += 1) await takeTry();
            const now = Date.now();
            Date.now = () => now - 86_400_000;
            const early = [];
            for (let again = 0; again < 2; again += 1) await takeTry().catch((error) => early.push(error.ms));
            Date.now = () => now - 86_400_000 + 10_001;
            early.push(await takeTry());
            return [waits, early];
        }}"""
    )
    assert waits == [[0, 0, 10_000, 20_000, 3_600_000, 3_600_000], [10_000, 10_000, 20_000]]


# Another lock


def change(page: Page) -> None:
    page.locator("#change-lock").click()
    page.get_by_role("heading", name="トークンを守る方法の変更").wait_for()


def test_a_pin_is_changed_and_only_the_new_one_opens_the_same_token(own: Phone, server: SoftTokenServer) -> None:
    page = own.page
    token_id = set_up_by_pin(page)
    before = len(server.issued())
    change(page)
    assert axe(page) == [] and not overflows(page)
    screenshot(page, "token-change-ja")
    page.locator("#pin-current").fill("00000009")
    set_new_pin(page, "60392817")
    expect(page.locator("#error")).to_contain_text("暗証番号が違います", timeout=SLOW_MS)
    page.locator("#pin-current").fill(PIN)
    set_new_pin(page, "60392817")
    assert shown_token_id(page) == token_id
    page.locator("#lock").click()
    assert "暗証番号が違います" in tries(page, [PIN])[0]
    open_by_pin(page, "60392817")
    assert shown_token_id(page) == token_id
    assert shown_code(page)
    assert len(server.issued()) == before


def set_new_pin(page: Page, pin: str) -> None:
    page.locator("#pin-new").fill(pin)
    page.locator("#pin-again").fill(pin)
    page.locator("#make-pin button").click()


def test_a_pin_gives_way_to_a_passkey_and_that_to_a_phrase(own: Phone) -> None:
    page = own.page
    session, authenticator = own.passkeys()
    token_id = set_up_by_pin(page)
    change(page)
    page.locator("#pin-current").fill(PIN)
    page.locator("#make-passkey").click()
    assert shown_token_id(page) == token_id
    page.locator("#lock").click()
    expect(page.locator("#open-pin")).to_be_hidden()
    page.locator("#open-passkey").click()
    assert shown_token_id(page) == token_id
    change(page)
    expect(page.locator("#pin-current")).to_be_hidden()
    page.locator("input[value=phrase]").check()
    set_new_pin(page, PHRASE)
    assert shown_token_id(page) == token_id
    page.reload()
    open_by_pin(page, PHRASE)
    assert shown_token_id(page) == token_id
    known = session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert len(known) <= 1


def test_a_change_that_is_given_up_changes_nothing(own: Phone) -> None:
    page = own.page
    token_id = set_up_by_pin(page)
    change(page)
    page.get_by_role("button", name="English").click()
    page.get_by_role("heading", name="Change how the token is protected").wait_for()
    page.locator("#change-cancel").click()
    assert shown_token_id(page) == token_id
    page.reload()
    open_by_pin(page)
    assert shown_token_id(page) == token_id


def test_the_token_id_which_the_locked_page_shows_is_no_pin(own: Phone) -> None:
    page = own.page
    token_id = set_up_by_pin(page)
    for form, new in (("digits", token_id[4:]), ("phrase", f"my token {token_id}")):
        change(page)
        page.locator(f"input[value={form}]").check()
        page.locator("#pin-current").fill(PIN)
        set_new_pin(page, new)
        expect(page.locator("#error")).to_contain_text("使えません", timeout=SLOW_MS)
        page.locator("#change-cancel").click()


# The browser's data is cleared while the page is open


def clear_data(one: Phone) -> None:
    origin = one.page.evaluate("location.origin")
    session = one.context.new_cdp_session(one.page)
    session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})


def test_a_change_after_the_data_was_cleared_says_so_and_still_shows_the_code(own: Phone) -> None:
    """It used to load the page again without a word, and the token was gone before it could be changed for another."""
    page = own.page
    token_id = set_up_by_pin(page)
    clear_data(own)
    change(page)
    page.locator("#pin-current").fill(PIN)
    set_new_pin(page, "60392817")
    expect(page.locator("#error")).to_contain_text("このページを閉じると使えなくなります", timeout=SLOW_MS)
    screenshot(page, "token-erased-ja")
    assert shown_token_id(page) == token_id
    assert shown_code(page)


def test_an_unlocking_after_the_data_was_cleared_says_so(own: Phone) -> None:
    page = own.page
    token_id = set_up_by_pin(page)
    page.locator("#lock").click()
    clear_data(own)
    open_by_pin(page)
    expect(page.locator("#error")).to_contain_text("このページを閉じると使えなくなります", timeout=SLOW_MS)
    assert shown_token_id(page) == token_id


@pytest.mark.parametrize("act", ["erase", "unlock"])
def test_a_page_that_missed_another_tabs_change_erases_no_other_token(own: Phone, act: str) -> None:
    page = own.page
    set_up_by_pin(page)
    if act == "unlock":
        page.locator("#lock").click()
    page.evaluate(
        f"""async () => {{
            const {{ inTransaction, readToken }} = await {module("storage.js")};
            const other = {{ ...(await readToken()), tokenId: "SKSO00000001", iv: new Uint8Array(12) }};
            await inTransaction("readwrite", (store) => store.put(other, "current"));
        }}"""
    )
    if act == "erase":
        page.locator("#token [data-new-token]").click()
        page.locator("#new-confirm").click()
    else:
        open_by_pin(page)
    expect(page.locator("#locked .token-id")).to_have_text("SKSO 0000 0001", timeout=SLOW_MS)


def test_a_change_that_was_locked_while_the_browser_asked_stays_locked(own: Phone) -> None:
    page = own.page
    set_up_by_pin(page)
    own.passkeys()
    change(page)
    page.evaluate("() => { navigator.credentials.create = () => new Promise((_, no) => { globalThis.refuse = no; }); }")
    page.locator("#pin-current").fill(PIN)
    page.locator("#make-passkey").click()
    while not page.evaluate("'refuse' in globalThis"):
        time.sleep(0.1)
    other = own.context.new_page()
    other.goto(page.url)
    open_by_pin(other)
    other.locator("#lock").click()
    page.locator("#locked").wait_for()
    page.evaluate("refuse(new DOMException('', 'NotAllowedError'))")
    expect(page.locator("#error")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#locked")).to_be_visible()
