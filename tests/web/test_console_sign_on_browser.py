"""Single sign-on in Chromium, which alone decides which cookies come along when another site sends it back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from otp_core.model import Role
from tests.web.browser import axe, browser_page, overflows, screenshot
from tests.web.console import Console, console
from tests.web.sign_on import RunningProvider, provider
from tests.web.test_console_browser import sign_in


@pytest.fixture(scope="module")
def at() -> Iterator[RunningProvider]:
    with provider() as running:
        yield running


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, at: RunningProvider) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("console")
    roles = 'roles_claim = "groups"\nroles = { counter = "operator" }'
    at.lie(groups=["counter"])
    with console(folder, other=at.tables(folder, roles)) as running:
        yield running


TEXTS = {
    "en": ("With the single sign-on", "Link the single sign-on", "Link it", "Unlink it", "Sign out", "Go on"),
    "ja": (
        "シングルサインオンで",
        "シングルサインオンを連携",
        "連携する",
        "連携を解除する",
        "ログアウト",
        "続ける",
    ),
}


def at_the_provider(page: Page, at: RunningProvider, subject: str) -> None:
    page.wait_for_url(f"{at.issuer}/authorize**")
    page.locator("input[name=sub]").fill(subject)
    page.locator("button[value=in]").click()


def sound(page: Page, name: str) -> None:
    screenshot(page, name)
    assert axe(page) == [], name
    assert not overflows(page), name


@pytest.mark.parametrize(("language", "scheme", "phone"), [("en", "dark", False), ("ja", "light", True)])
def test_one_links_signs_in_confirms_and_signs_out(
    bank: Console, at: RunningProvider, chromium: Browser, language: str, scheme: str, phone: bool
) -> None:
    """The whole life of a link, in both languages. The provider keeps its own session, and is asked anew to confirm."""
    by_it, to_link, link_it, unlink, sign_out, go_on = TEXTS[language]
    name, subject = f"console-{{}}-{language}-{scheme}{'-phone' if phone else ''}", f"op-{language}"
    with browser_page(chromium, phone=phone, language=language, scheme=scheme) as page:  # type: ignore[arg-type]
        sign_in(page, bank, Role.OPERATOR)
        page.goto(f"{bank.origin}/me")
        sound(page, name.format("own-unlinked"))
        page.get_by_role("link", name=to_link).click()
        at_the_provider(page, at, subject)
        page.get_by_role("button", name=link_it).wait_for()
        sound(page, name.format("sign-on-link"))
        page.get_by_role("button", name=link_it).click()
        page.wait_for_url(f"{bank.origin}/me")
        assert f"{subject}@bank.example" in page.content()
        sound(page, name.format("own-linked"))
        page.get_by_role("button", name=sign_out).click()
        page.wait_for_url(f"{bank.origin}/sign-in?why=left-here")
        sound(page, name.format("sign-in-oidc"))
        page.goto(f"{bank.origin}/me")
        page.get_by_role("link", name=by_it).click()
        page.wait_for_url(f"{bank.origin}/me")
        page.goto(f"{bank.origin}/confirm?to=/staff")
        sound(page, name.format("confirm-oidc"))
        page.get_by_role("link", name=by_it).click()
        at_the_provider(page, at, subject)
        page.get_by_role("button", name=go_on).wait_for()
        sound(page, name.format("sign-on-confirm"))
        page.get_by_role("button", name=go_on).click()
        page.wait_for_url(f"{bank.origin}/staff")
        page.goto(f"{bank.origin}/me")
        page.get_by_role("button", name=unlink).click()
        page.get_by_role("button", name=unlink).wait_for(state="detached")
    events = [row.event for row in bank.sekisho.audit() if row.actor == "operator" and row.event.startswith("staff.")]
    assert events[-6:] == [
        "staff.entered",
        "staff.sign-on-linked",
        "staff.session-ended",
        "staff.entered",
        "staff.confirmed",
        "staff.sign-on-unlinked",
    ]
