"""Staff and API keys by two people in Chromium, both languages, desk and phone: each page examined by axe and looked
at, the link opened by the new member, the key used by its program."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from otp_core.model import Role
from otp_core.store.approvals import approval_lines
from tests.sekisho import STAFF, free_port
from tests.web.browser import axe, browser_page, overflows, screenshot
from tests.web.console import Console, console
from tests.web.test_console_browser import sign_in, with_authenticator


@pytest.fixture(scope="module")
def api_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, api_port: int) -> Iterator[Console]:
    api = f'[api]\nlisten = "127.0.0.1:{api_port}"\npublic_origin = "http://localhost:{api_port}"\n'
    with console(tmp_path_factory.mktemp("console"), other=api) as running:
        yield running


def sound(page: Page, name: str) -> None:
    """Looked at, and examined."""
    screenshot(page, name)
    assert axe(page) == [], name
    assert not overflows(page), name


def newest(bank: Console) -> int:
    with bank.sekisho.store.read() as connection:
        return approval_lines(connection, limit=1)[0].key


def approved(bank: Console, supervisor: Page, asker: Page, name: str) -> None:
    """The supervisor approves the newest request on its page, and its asker carries it out."""
    request = f"{bank.origin}/approvals/{newest(bank)}"
    supervisor.goto(f"{bank.origin}/approvals")
    sound(supervisor, name.format("approvals"))
    supervisor.goto(request)
    sound(supervisor, name.format("request"))
    supervisor.locator("#reason").fill("called back")
    supervisor.locator("form[action$='/approve'] button").click()
    supervisor.locator(".box.good").wait_for()
    asker.goto(request)
    sound(asker, name.format("approved"))
    asker.locator("form[action$='/carry-out'] button").click()


@pytest.mark.parametrize(("language", "scheme", "phone"), [("ja", "light", False), ("en", "dark", True)])
def test_staff_and_keys_by_two_people(
    bank: Console, chromium: Browser, api_port: int, language: str, scheme: str, phone: bool
) -> None:
    look = {"phone": phone, "language": language, "scheme": scheme}
    name = f"console-{{}}-{language}-{scheme}{'-phone' if phone else ''}"
    member, program = f"mori-{language}", f"call-centre-{language}"
    with browser_page(chromium, **look) as page, browser_page(chromium, **look) as other:  # type: ignore[arg-type]
        sign_in(page, bank, Role.ADMINISTRATOR)
        sign_in(other, bank, Role.SUPERVISOR)

        page.goto(f"{bank.origin}/staff")
        sound(page, name.format("staff-list"))
        page.locator("a[href='/new-staff']").click()
        sound(page, name.format("staff-new"))
        page.locator("form:has(#reason) button").click()
        page.locator(".box.bad[role=alert]").wait_for()
        sound(page, name.format("staff-new-wrong"))
        page.locator("#name").fill(member)
        page.locator("#role-operator").check()
        page.locator("#reason").fill("joins the counter")
        page.locator("form:has(#reason) button").click()
        page.wait_for_url(f"{bank.origin}/approvals")
        approved(bank, other, page, name.format("staff-{}"))
        page.wait_for_url(f"{bank.origin}/staff/{member}/link")
        sound(page, name.format("staff-link"))
        link = page.locator(".secret").inner_text()
        page.reload()
        assert page.locator(".secret").count() == 0 and page.url.endswith(f"/staff/{member}")
        sound(page, name.format("staff-member"))
        for act in ("role", "reset", "disable"):
            page.goto(f"{bank.origin}/staff/{member}/{act}")
            sound(page, name.format(f"staff-{act}"))

        with browser_page(chromium, phone=False, language=language) as theirs:
            with_authenticator(theirs)
            theirs.goto(link)
            theirs.locator("main button").click()
            theirs.wait_for_url(f"{bank.origin}/")

        page.goto(f"{bank.origin}/api-keys")
        sound(page, name.format("api-keys-none"))
        page.locator("a[href='/new-api-key']").click()
        sound(page, name.format("api-key-new"))
        page.locator("#name").fill(program)
        page.get_by_label("tokens:read").check()
        page.locator("#networks").fill("127.0.0.0/8\n10.1.2.0/24")
        page.locator("#reason").fill("the call centre's new system")
        page.locator("form:has(#reason) button").click()
        page.wait_for_url(f"{bank.origin}/approvals")
        approved(bank, other, page, name.format("api-key-{}"))
        page.wait_for_url("**/key")
        sound(page, name.format("api-key"))
        key = page.locator(".secret").inner_text()
        page.reload()
        assert page.locator(".secret").count() == 0 and page.url.endswith("/api-keys")
        sound(page, name.format("api-keys"))
        asked = urllib.request.Request(
            f"http://127.0.0.1:{api_port}/api/v1/tokens", headers={"Authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
            assert json.load(answer)["items"]
        page.locator("tr", has_text=program).get_by_role("link").click()
        sound(page, name.format("api-key-revoke"))
        bank.sekisho.desk.api_keys.revoke(program, STAFF)
