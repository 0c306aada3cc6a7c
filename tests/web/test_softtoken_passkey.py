"""Passkeys in a real browser with Chromium's virtual authenticators: with the PRF extension, without, and refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.web.browser import SLOW_MS, axe, overflows, screenshot
from tests.web.phone import Phone, phone
from tests.web.softtoken import PIN, SoftTokenServer, module, set_up_by_pin, shown_code, shown_token_id


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    one = SoftTokenServer(tmp_path_factory.mktemp("server"), "tokens_per_address = 1000\ntokens_per_hour = 1000")
    one.start()
    yield one
    one.kill()


@pytest.fixture
def own(playwright: Playwright, tmp_path: Path, server: SoftTokenServer) -> Iterator[Phone]:
    with phone(playwright, tmp_path / "profile", whole=True) as one:
        one.page.goto(server.origin)
        one.page.locator("#setup").wait_for()
        yield one
        assert one.errors == []


def credentials(passkeys: tuple[Any, str]) -> list[dict[str, Any]]:
    session, authenticator = passkeys
    return list(session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"])


def refuse_get(page: Page) -> None:
    """As of an authenticator that evaluates the PRF on get() only, and then says no."""
    page.evaluate(
        """() => {
            const results = PublicKeyCredential.prototype.getClientExtensionResults;
            PublicKeyCredential.prototype.getClientExtensionResults = function () {
                return { ...results.call(this), prf: { enabled: true } };
            };
            navigator.credentials.get = () => Promise.reject(new DOMException("no", "NotAllowedError"));
        }"""
    )


def test_a_passkey_makes_and_opens_a_token(own: Phone, server: SoftTokenServer) -> None:
    own.passkeys()
    own.page.locator("#make-passkey").click()
    token_id = shown_token_id(own.page)
    own.page.locator("#lock").click()
    own.page.locator("#locked").wait_for()
    assert shown_code(own.page) == ""
    own.page.reload()
    own.page.locator("#open-passkey").click()
    assert shown_token_id(own.page) == token_id
    oracle, now = server.oracle(token_id), time.time()
    assert shown_code(own.page) in {oracle.at(now, counter_offset=away) for away in (-1, 0, 1)}


def test_a_passkey_has_the_token_id_in_its_name_and_the_record_knows_where_it_is(own: Phone) -> None:
    passkeys = own.passkeys()
    own.page.locator("#make-passkey").click()
    token_id = shown_token_id(own.page)
    grouped = f"{token_id[:4]} {token_id[4:8]} {token_id[8:]}"
    (known,) = credentials(passkeys)
    assert known["userName"] == grouped and grouped in known["userDisplayName"]
    lock = own.page.evaluate(f"async () => (await (await {module('storage.js')}).readToken()).lock")
    assert (lock["transports"], lock["attachment"], lock["synced"]) == (["internal"], "platform", False)
    own.page.locator("#lock").click()
    expect(own.page.locator("#passkey-where")).to_have_text("パスキーは、この端末だけにあります。")


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ({"attachment": "cross-platform", "synced": True}, "別の機器にあります"),
        ({"attachment": "platform", "synced": True}, "ほかの端末にも同期されます"),
        ({"attachment": "platform", "synced": False}, "この端末だけにあります"),
        ({}, None),
    ],
)
def test_where_a_passkey_is_is_explained(own: Phone, lock: dict[str, Any], said: str | None) -> None:
    """Without any of it: a token of 0.1.0."""
    shown = own.page.evaluate(
        f"""async (lock) => {{
            const {{ whereText }} = await {module("passkey.js")};
            const {{ TEXTS }} = await {module("texts.js")};
            return TEXTS.ja[whereText(lock)] ?? null;
        }}""",
        lock,
    )
    assert (shown is None) if said is None else said in shown


def test_a_refused_passkey_opens_nothing_and_loses_nothing(own: Phone) -> None:
    session, authenticator = own.passkeys()
    own.page.locator("#make-passkey").click()
    own.page.locator("#token").wait_for()
    own.page.locator("#lock").click()
    session.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    own.page.locator("#open-passkey").click()
    expect(own.page.locator("#error")).to_contain_text("パスキーを確認できませんでした", timeout=SLOW_MS)
    own.page.reload()
    own.page.locator("#locked").wait_for()
    expect(own.page.locator("#open-passkey")).to_be_visible()


def test_a_passkey_that_gives_nothing_is_never_to_be_deleted(own: Phone) -> None:
    """Of a browser without the extension, or a phone's passkey through another computer: the token needs it still."""
    own.passkeys()
    own.page.locator("#make-passkey").click()
    token_id = shown_token_id(own.page)
    own.page.evaluate("PublicKeyCredential.prototype.getClientExtensionResults = () => ({ prf: {} })")
    own.page.locator("#change-lock").click()
    set_up_by_pin_anew(own.page)
    said = expect(own.page.locator("#error"))
    said.to_contain_text("パスキーもトークンも消さないでください", timeout=SLOW_MS)
    own.page.locator("#change-cancel").click()
    own.page.locator("#lock").click()
    own.page.locator("#open-passkey").click()
    said.to_contain_text("パスキーもトークンも消さないでください", timeout=SLOW_MS)
    own.page.reload()
    own.page.locator("#open-passkey").click()
    assert shown_token_id(own.page) == token_id


def set_up_by_pin_anew(page: Page) -> None:
    for field in ("#pin-new", "#pin-again"):
        page.locator(field).fill(PIN)
    page.locator("#make-pin button").click()


def test_the_second_passkey_of_a_token_has_another_name(own: Phone) -> None:
    """Both may be listed in the device's settings: whoever deletes one of them has to know which."""
    passkeys = own.passkeys()
    own.page.evaluate("delete PublicKeyCredential.signalUnknownCredential")
    own.page.locator("#make-passkey").click()
    token_id = shown_token_id(own.page)
    own.page.locator("#change-lock").click()
    own.page.locator("#make-passkey").click()
    assert shown_token_id(own.page) == token_id
    first, second = sorted((str(one["userName"]) for one in credentials(passkeys)), key=len)
    assert second.startswith(first + " (") and str(time.localtime().tm_year) in second


def test_a_passkey_that_was_created_and_refused_is_used_at_the_next_try(own: Phone, server: SoftTokenServer) -> None:
    before = len(server.issued())
    passkeys = own.passkeys()
    page = own.page
    refuse_get(page)
    for _ in range(3):
        page.locator("#make-passkey").click()
        expect(page.locator("#error")).to_contain_text("パスキーを確認できませんでした", timeout=SLOW_MS)
    assert len(credentials(passkeys)) == 1
    expect(page.locator("#passkey-pending")).to_contain_text("前に作ったパスキーがあります")
    assert axe(page) == [] and not overflows(page)
    screenshot(page, "token-passkey-pending-ja")
    page.reload()
    expect(page.locator("#passkey-pending")).to_contain_text("前に作ったパスキーがあります")
    page.locator("#make-passkey").click()
    shown_token_id(page)
    assert len(credentials(passkeys)) == 1
    assert len(server.issued()) == before + 1


def test_another_passkey_takes_the_place_of_the_useless_one(own: Phone) -> None:
    passkeys = own.passkeys()
    refuse_get(own.page)
    own.page.locator("#make-passkey").click()
    expect(own.page.locator("#error")).to_contain_text("パスキーを確認できませんでした", timeout=SLOW_MS)
    (useless,) = credentials(passkeys)
    own.page.reload()
    own.page.locator("#another-passkey").click()
    shown_token_id(own.page)
    (known,) = credentials(passkeys)
    assert known["credentialId"] != useless["credentialId"]


def test_a_passkey_without_prf_leads_to_a_pin_and_no_retry_makes_another(own: Phone, server: SoftTokenServer) -> None:
    before = len(server.issued())
    passkeys = own.passkeys(prf=False)
    page = own.page
    page.locator("#make-passkey").click()
    expect(page.locator("#error")).to_contain_text("暗証番号をお使いください", timeout=SLOW_MS)
    expect(page.locator("#make-passkey")).to_be_hidden()
    page.reload()
    expect(page.locator("#passkey-pending")).to_contain_text("暗証番号をお使いください")
    expect(page.locator("#make-passkey")).to_be_hidden()
    assert len(credentials(passkeys)) == 1
    set_up_by_pin(page)
    assert len(server.issued()) == before + 1


def test_a_browser_that_says_it_has_no_prf_is_asked_for_no_passkey(own: Phone) -> None:
    own.context.add_init_script(
        "PublicKeyCredential.getClientCapabilities = () => Promise.resolve({ 'extension:prf': false });"
    )
    own.page.reload()
    own.page.locator("#make-pin").wait_for()
    expect(own.page.locator("#passkey-way")).to_be_hidden()


def test_a_device_without_passkeys_of_its_own_says_that_another_is_needed_each_time(own: Phone) -> None:
    own.context.add_init_script(
        "PublicKeyCredential.getClientCapabilities = () => Promise.resolve("
        "{ 'extension:prf': true, userVerifyingPlatformAuthenticator: false, hybridTransport: true });"
    )
    own.page.reload()
    expect(own.page.locator("#passkey-away")).to_contain_text("開くたびにその機器が要ります")


def test_an_older_browser_that_tells_nothing_may_try(own: Phone) -> None:
    own.context.add_init_script("delete PublicKeyCredential.getClientCapabilities;")
    own.page.reload()
    expect(own.page.locator("#make-passkey")).to_be_visible()
    expect(own.page.locator("#passkey-away")).to_be_hidden()


def test_the_passkey_of_an_erased_token_is_given_back(own: Phone) -> None:
    own.page.evaluate(
        """() => {
            globalThis.told = [];
            PublicKeyCredential.signalUnknownCredential = async (one) => { told.push(one); };
        }"""
    )
    own.passkeys()
    own.page.locator("#make-passkey").click()
    own.page.locator("#token").wait_for()
    own.page.locator("#token [data-new-token]").click()
    own.page.locator("#new-confirm").click()
    own.page.locator("#setup").wait_for()
    (told,) = own.page.evaluate("told")
    assert told["rpId"] == "localhost" and told["credentialId"]
