"""The console in Chromium: passkeys by a virtual authenticator, every page examined by axe and looked at, both
languages, light and dark, desk and phone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, CDPSession, Page

from otp_core.login.obstacles import Obstacle, Old, Part
from otp_core.model import Role
from otp_core.store.approvals import approval_lines
from otp_core.store.find import keys_of, keys_of_tokens
from otp_core.store.nodes import nodes, put
from otp_core.store.schema import outbox
from otp_core.store.shadow_logins import Compared, note
from otp_core.store.unit_of_work import NewCustomer
from tests.sekisho import SECRET, STAFF, Customer, client_table, free_port
from tests.upstreams.raw import RawUpstream
from tests.upstreams.test_trouble import tables
from tests.web.browser import axe, browser_page, overflows, screenshot
from tests.web.console import Console, console


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    old = f'[[upstreams]]\nname = "old"\nservers = ["192.0.2.30:1812"]\nsecret = "{SECRET}"\nstatus_server = false\n'
    moved = client_table("ib-gateway", "192.0.2.9", "challenge", shadow='"old"')
    gone = '[[first_factors]]\nname = "directory"\ntype = "ldap"\nurls = ["ldap://127.0.0.1:1"]\nbase = "o=bank"\n'
    with RawUpstream() as core:
        asking = gone + tables(core.port, free_port(), name="core")
        for name, factor in (("head-office", "core-passwords"), ("branch", "directory")):
            asking += client_table(
                name, "127.0.0.0/8", "challenge", nas_identifier=f'"{name}"', first_factor=f'"{factor}"'
            )
        with console(tmp_path_factory.mktemp("console"), other=old + asking + moved) as running:
            yield running


def with_authenticator(page: Page, *, verified: bool = True) -> tuple[CDPSession, str]:
    """An authenticator that presses its own button; ``verified``: and knows its user."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": verified,
        "automaticPresenceSimulation": True,
    }
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session, made["authenticatorId"]


def sign_in(page: Page, bank: Console, role: Role) -> None:
    """By password and code."""
    account = bank.accounts[role]
    page.goto(f"{bank.origin}/sign-in")
    page.locator("#name").fill(str(role))
    page.locator("button[value=code]").click()
    page.locator("#password").fill(account.password)
    page.locator("#code").fill(bank.code(role))
    page.locator("form:has(#code) button").click()
    page.wait_for_url(f"{bank.origin}/")


def key_of(bank: Console, one: Customer) -> int:
    with bank.sekisho.store.read() as connection:
        return keys_of(connection, [one.contract_id])[one.contract_id]


def token_key_of(bank: Console, one: Customer) -> int:
    with bank.sekisho.store.read() as connection:
        return keys_of_tokens(connection, [one.token_id])[one.token_id]


def test_the_first_passkey_comes_by_the_link_and_signs_in_from_then_on(bank: Console, chromium: Browser) -> None:
    link = bank.sekisho.desk.staff.add("sato", Role.ADMINISTRATOR, STAFF)
    with browser_page(chromium, phone=False, language="en") as page:
        with_authenticator(page)
        page.goto(f"{bank.origin}/welcome/{link.secret}")
        screenshot(page, "console-welcome")
        assert axe(page) == []
        page.get_by_role("button", name="Make a passkey").click()
        page.wait_for_url(f"{bank.origin}/")
        assert bank.sekisho.desk.staff.of_link(link.secret) is None
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{bank.origin}/sign-in")
        page.locator("#name").fill("sato")
        page.get_by_role("button", name="With a passkey").click()
        screenshot(page, "console-passkey")
        page.get_by_role("button", name="Use the passkey").click()
        page.wait_for_url(f"{bank.origin}/")
        page.goto(f"{bank.origin}/confirm?to=/staff")
        page.get_by_role("button", name="Use the passkey").click()
        page.wait_for_url(f"{bank.origin}/staff")
        page.goto(f"{bank.origin}/welcome/{link.secret}")
        assert "There is no such page" in page.title()
    events = [row.event for row in bank.sekisho.audit() if row.actor == "sato"]
    assert events == ["staff.passkey-added", "staff.entered", "staff.session-ended", "staff.entered", "staff.confirmed"]


def test_a_passkey_without_its_users_finger_or_pin_is_not_enough(bank: Console, chromium: Browser) -> None:
    link = bank.sekisho.desk.staff.add("ito", Role.OPERATOR, STAFF)
    with browser_page(chromium, phone=False, language="en") as page:
        session, authenticator = with_authenticator(page)
        page.goto(f"{bank.origin}/welcome/{link.secret}")
        page.get_by_role("button", name="Make a passkey").click()
        page.wait_for_url(f"{bank.origin}/")
        session.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
        page.context.clear_cookies()
        page.goto(f"{bank.origin}/sign-in")
        page.locator("#name").fill("ito")
        page.get_by_role("button", name="With a passkey").click()
        page.get_by_role("button", name="Use the passkey").click()
        page.get_by_text("The browser made no passkey answer").wait_for()
        assert not [one for one in page.context.cookies() if one.get("name") == "console"]


def test_a_passkey_of_somebody_else_is_not_theirs(bank: Console, chromium: Browser) -> None:
    links = {name: bank.sekisho.desk.staff.add(name, Role.OPERATOR, STAFF) for name in ("mori", "kondo")}
    with browser_page(chromium, phone=False, language="en") as page:
        with_authenticator(page)
        page.goto(f"{bank.origin}/welcome/{links['mori'].secret}")
        page.get_by_role("button", name="Make a passkey").click()
        page.wait_for_url(f"{bank.origin}/")
        page.context.clear_cookies()
        page.goto(f"{bank.origin}/sign-in")
        page.locator("#name").fill("kondo")
        page.get_by_role("button", name="With a passkey").click()
        page.get_by_role("button", name="Use the passkey").click()
        page.get_by_text("The browser made no passkey answer").wait_for()


PAGES = (
    "/",
    "/?q=nobody-at-all",
    "/customers",
    "/tokens",
    "/audit",
    "/clients",
    "/clients/shadow?client=ib-gateway",
    "/dashboard",
    "/approvals",
    "/staff",
    "/api-keys",
    "/me",
    "/help",
    "/confirm?to=/me",
)


def with_other_nodes(bank: Console) -> None:
    """One whose clock is wrong, and one that is gone."""
    with bank.sekisho.store.derive() as connection:
        (own, *_) = nodes(connection)
        put(connection, own._replace(name="web2", run=2, beat=3000, silent="its clock"))
        put(connection, own._replace(name="web3.example.jp", run=3, seen_at=own.seen_at - 4_000_000))


def waits_for_permit_and_mail(bank: Console) -> None:
    """Somebody who has a permit, and whose mail was not delivered."""
    one = bank.sekisho.customer()
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    bank.sekisho.desk.enrolment.permit_reissue(one.contract_id, STAFF)
    with bank.sekisho.store.work() as work:
        key, now = keys_of(work.connection, [one.contract_id])[one.contract_id], bank.sekisho.store.ids.next()
        row = {"key": now, "customer_key": key, "event": "otp.reported-lost", "email": "nobody@example.jp"}
        work.connection.execute(outbox.insert().values(**row, state="failed", error="550 mailbox unknown"))


def asks_back_ends(bank: Console) -> None:
    """One that answers, and one that does not."""
    for client in ("head-office", "branch"):
        bank.sekisho.radclient(f'User-Name="x",User-Password="y",NAS-Identifier="{client}"', "-t", "1")


def compared_with_an_old_server(bank: Console, one: Customer) -> None:
    """Logins of a client in shadow mode."""
    yes = Compared("ib-gateway", one.contract_id, int(time.time() * 1000), Old.ACCEPTED, Part.WHOLE, None, known=True)
    others = [(f"kaiin{at:03}", found) for at, found in enumerate((*Obstacle, None))]
    stored = [found for found in others if found[1] not in (Obstacle.ONE_LOGIN, Obstacle.NO_LOGIN)]
    with bank.sekisho.store.work_aside() as work:
        note(work.connection, [yes, yes], 10)
        note(work.connection, [yes._replace(customer=name, obstacle=found) for name, found in stored], 100)


@pytest.mark.parametrize(
    ("language", "scheme", "phone"), [("ja", "light", False), ("en", "dark", False), ("ja", "dark", True)]
)
def test_every_page_is_sound_in_both_languages_light_and_dark_at_desk_and_phone(
    bank: Console, chromium: Browser, language: str, scheme: str, phone: bool
) -> None:
    desk, one = bank.sekisho.desk, bank.sekisho.customer()
    desk.customers.add(
        f"hanako-{language}-{'phone' if phone else 'desk'}", STAFF, name="信金 花子", email="hanako@example.jp"
    )
    locked, lost = bank.sekisho.customer(), bank.sekisho.customer()
    fresh = bank.sekisho.customer(enrolled=False)
    state = bank.sekisho.login(locked.contract_id, locked.password).split()[1]
    bank.sekisho.login(locked.contract_id, locked.code(-7), state=state)
    desk.customers.lock(locked.contract_id, STAFF)
    bank.sekisho.login(locked.contract_id, locked.password)
    desk.enrolment.report_lost(lost.contract_id, STAFF)
    waits_for_permit_and_mail(bank)
    with_other_nodes(bank)
    asks_back_ends(bank)
    compared_with_an_old_server(bank, one)
    bank.sekisho.login(one.contract_id, "wrong")
    bank.sekisho.radclient("User-Name=x,User-Password=y", "-t", "1", secret="another-secret-0123")
    role = {("ja", "light"): Role.OPERATOR, ("en", "dark"): Role.SUPERVISOR}.get((language, scheme), Role.ADMINISTRATOR)
    if phone:
        role = Role.ADMINISTRATOR
    place = f"/customers/{key_of(bank, one)}"
    pages = {
        **{path: path.strip("/?").partition("?")[0].replace("=", "-").replace("/", "-") or "find" for path in PAGES},
        place: "customer",
        f"/customers/{key_of(bank, locked)}": "locked",
        f"/customers/{key_of(bank, lost)}/permit-reissue": "permit-reissue",
        f"{place}/edit": "edit",
        "/tokens/find": "find-token",
        f"/tokens/{token_key_of(bank, one)}": "token",
        f"/tokens/{token_key_of(bank, fresh)}/retire": "token-retire",
        f"/customers/{key_of(bank, locked)}/unlock": "unlock",
        f"{place}/suspend": "suspend",
        f"{place}/resync": "resync",
        f"/customers/{key_of(bank, fresh)}/enrol": "enrol",
        f"/customers/{key_of(bank, fresh)}/enrol/new": "new-token",
        "/me/passkeys/new": "new-passkey",
        f"{place}/report-lost": "report-lost",
        f"{place}/change-device": "change-device",
    }
    name = f"console-{{}}-{language}-{scheme}{'-phone' if phone else ''}"
    with browser_page(chromium, phone=phone, language=language, scheme=scheme) as page:  # type: ignore[arg-type]
        page.goto(f"{bank.origin}/sign-in")
        screenshot(page, name.format("sign-in"))
        assert axe(page) == []
        page.locator("#name").fill(str(role))
        page.locator("button[value=code]").click()
        page.locator("#password").wait_for()
        screenshot(page, name.format("sign-in-code"))
        sign_in(page, bank, role)
        for path, title in pages.items():
            shown = page.goto(f"{bank.origin}{path}")
            assert shown is not None and shown.status == 200, path
            screenshot(page, name.format(title))
            assert axe(page) == [], path
            assert not overflows(page), path
            assert not phone or page.evaluate(_UNLABELLED) == [], path
            if title == "new-token":
                a_token_is_made_in_the_browser(page, name)


def a_token_is_made_in_the_browser(page: Page, name: str) -> None:
    """From the page that asks why; the QR code is gone after Back, without a question to the server."""
    page.locator("#identity-document").check()
    page.locator("#reason").fill("came without an app")
    page.locator("form:has(#reason) button").click()
    page.locator("img.qr").wait_for()
    screenshot(page, name.format("new-token-code"))
    assert axe(page) == [] and not overflows(page)
    page.goto("about:blank")
    page.go_back()
    page.locator("#code").wait_for()
    assert page.locator("img.qr").count() == 0


_UNLABELLED = """() => [...document.querySelectorAll("td")].filter(one => one.offsetHeight > 0
  && !getComputedStyle(one, "::before").content.slice(1, -1)).map(one => one.outerHTML)"""
"""Cells of tables that a phone shows without their heading."""


def test_the_keys_reach_the_search_and_the_help_and_leave_fields_alone(bank: Console, chromium: Browser) -> None:
    with browser_page(chromium, phone=False, language="en") as page:
        sign_in(page, bank, Role.AUDITOR)
        page.goto(f"{bank.origin}/customers")
        page.locator("#after").focus()
        page.keyboard.type("a/b?")
        assert page.locator("#after").input_value() == "a/b?" and page.url.endswith("/customers")
        page.locator("h1").click()
        page.keyboard.press("/")
        page.wait_for_url(f"{bank.origin}/")
        page.locator("h1").click()
        page.keyboard.press("/")
        page.keyboard.type("nobody/at all?")
        assert page.locator("#q").input_value() == "nobody/at all?"
        page.locator("h1").click()
        page.keyboard.press("Control+/")
        page.keyboard.press("?")
        page.wait_for_url(f"{bank.origin}/help")
        page.get_by_label("Use / and ? in this browser").uncheck()
        page.goto(f"{bank.origin}/customers")
        page.locator("h1").click()
        page.keyboard.press("?")
        page.wait_for_timeout(200)
        assert page.url.endswith("/customers"), "who wants no keys has none"


def test_a_request_is_approved_by_keyboard_alone_and_the_permit_is_printed_once(
    bank: Console, chromium: Browser
) -> None:
    lost = bank.sekisho.customer()
    bank.sekisho.desk.enrolment.report_lost(lost.contract_id, STAFF)
    with browser_page(chromium, phone=False, script=False) as page:
        sign_in(page, bank, Role.OPERATOR)
        page.goto(f"{bank.origin}/customers/{key_of(bank, lost)}/permit-reissue")
        page.locator("#identity-callback").focus()
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.type("phone lost")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{bank.origin}/approvals")
        with bank.sekisho.store.read() as connection:
            (request, *_) = approval_lines(connection)
        with browser_page(chromium, phone=False, script=False) as other:
            sign_in(other, bank, Role.SUPERVISOR)
            other.goto(f"{bank.origin}/approvals/{request.key}")
            screenshot(other, "console-approval")
            other.locator("#reason").focus()
            other.keyboard.type("called back")
            other.keyboard.press("Enter")
            other.get_by_text("承認しました。").wait_for()
        page.goto(f"{bank.origin}/approvals/{request.key}")
        page.get_by_role("button", name="実行する").press("Enter")
        page.locator(".permit").wait_for()
        screenshot(page, "console-permit")
        page.reload()
        assert page.locator(".permit").count() == 0


@pytest.mark.parametrize(("language", "said"), [("en", "codes verified by vip"), ("ja", "コードの照合先：vip")])
def test_a_token_that_is_verified_elsewhere_says_so(bank: Console, chromium: Browser, language: str, said: str) -> None:
    token_id = f"SYMC{ord(language[0]):08d}"
    bank.sekisho.desk.tokens.import_elsewhere([token_id], "vip", STAFF)
    with bank.sekisho.store.work() as work:
        record = work.token(token_id)
    assert record is not None
    holder = NewCustomer(f"vip-{language}", None, token_key=record.key)
    bank.sekisho.desk.customers.import_rows([holder], [token_id], STAFF)
    with browser_page(chromium, phone=language == "ja", language=language) as page:
        sign_in(page, bank, Role.AUDITOR)
        with bank.sekisho.store.read() as connection:
            key = keys_of(connection, [holder.contract_id])[holder.contract_id]
        page.goto(f"{bank.origin}/customers/{key}")
        assert said in page.inner_text("main")
        assert axe(page) == []
        assert not overflows(page)
        screenshot(page, f"console-verifier-{language}")
