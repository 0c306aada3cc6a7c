"""Every route of the console: what it belongs to, who may ask for it, and what a forged or repeated form comes to.

The routes come from the site's own table, so a new one is held to this without a change here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from admin_web.console.approval_pages import REQUEST_PAGES
from admin_web.console.customer_acts import BY_NAME
from admin_web.console.customers import PATH
from admin_web.console.routes import DANGEROUS, Form, Open, Page, Route, Upload
from admin_web.console.settings import ApprovedAct, ConsoleSettings
from admin_web.console.site import ConsoleSite
from admin_web.console.words import NEXT_STEPS, OBSTACLES, REASONS
from otp_core.accounts import Act, PrincipalKind
from otp_core.accounts.approval_kinds import KINDS
from otp_core.accounts.permissions import TABLE
from otp_core.login.next_step import NEXT_STEP_TEXT, NextStep
from otp_core.login.obstacles import OBSTACLE_TEXT
from otp_core.login.table import FINDING_TEXT
from otp_core.model import Role
from otp_core.store.find import keys_of, keys_of_tokens
from sekisho.wiring import open_application
from tests.sekisho import STAFF, free_port
from tests.web.console import Console, ConsoleClient, console
from tests.web.sign_on import RunningProvider

OPEN = {
    ("GET", "/static/{version}/{name}"),
    ("GET", "/favicon.ico"),
    ("GET", "/language/{language}"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/sign-in/passkey"),
    ("POST", "/sign-in/passkey"),
    ("GET", "/sign-in/code"),
    ("POST", "/sign-in/code"),
    ("GET", "/sign-in/oidc"),
    ("GET", "/sign-in/oidc/return"),
    ("GET", "/sign-in/oidc/finish"),
    ("GET", "/sign-in/oidc/leave"),
    ("GET", "/sign-in/oidc/left"),
    ("GET", "/welcome/{secret}"),
    ("POST", "/welcome/{secret}"),
}
"""What is open to everybody, written out a second time."""


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """With an OpenID provider that nobody runs."""
    folder, nobody = tmp_path_factory.mktemp("console"), RunningProvider(free_port())
    with console(folder, more="approvals = []", other=nobody.tables(folder)) as running:
        yield running


NO_PAGES = {"/audit/file", "/confirm/oidc", "/me/sign-on/new"}
"""A file, and what leads on to the provider."""


@pytest.fixture(scope="module")
def site(bank: Console) -> ConsoleSite:
    """The same site once more, for its table."""

    async def made() -> ConsoleSite:
        application = open_application(bank.sekisho.settings)
        found = ConsoleSite(application.services, ConsoleSettings)
        await application.close()
        return found

    return asyncio.run(made())


def known(route: Route) -> tuple[str, str]:
    match route:
        case Open():
            return route.method, re.sub(r":[^}]+\}+", "}", route.path)
        case Page():
            return "GET", re.sub(r":\[[^\]]+\]\{[^}]*\}", "", route.path)
        case Form() | Upload():
            return "POST", re.sub(r":\[[^\]]+\]\{[^}]*\}", "", route.path)


def test_every_route_of_the_application_is_in_the_table(site: ConsoleSite) -> None:
    """One that was added past the table has no act, and this finds it."""
    served = set()
    for route in site.application().router.routes():
        assert route.resource is not None
        served.add((route.method, route.resource.canonical))
    assert served == {known(route) for route in site.routes()}


def test_what_is_open_is_written_out_and_nothing_else_is(site: ConsoleSite) -> None:
    assert {known(route) for route in site.routes() if isinstance(route, Open)} == OPEN
    for route in site.routes():
        if not isinstance(route, Open):
            assert isinstance(route.act, Act)
            assert any(kind is PrincipalKind.STAFF and route.act in acts for (kind, _), acts in TABLE.items())


def test_every_page_is_in_the_tour(site: ConsoleSite) -> None:
    tour = (Path(__file__).parents[2] / "docs" / "tour.md").read_text(encoding="utf-8")
    pages = {
        re.sub(r"\{(\w+):[^/]+\}(?=/|$)", r"{\1}", route.path) for route in site.routes() if isinstance(route, Page)
    }
    assert sorted(path for path in pages - NO_PAGES if f"`{path}`" not in tour) == []


def test_every_form_that_changes_a_customer_belongs_to_the_act_that_it_calls(site: ConsoleSite) -> None:
    """An act of the desk is asked again by the desk itself; here the page says the same."""
    forms = [route for route in site.routes() if isinstance(route, Form)]
    of_customers = {route.path.removeprefix(f"{PATH}/"): route.act for route in forms if route.path.startswith(PATH)}
    assert of_customers == {
        "enrol": Act.ENROL,
        "suspend": Act.SUSPEND_WITHOUT_CODE,
        "resume": Act.RESUME,
        "change-device": Act.CHANGE_DEVICE,
        "add-token": Act.ADD_TOKEN,
        "remove-token": Act.REMOVE_TOKEN_WITHOUT_CODE,
        "report-lost": Act.REPORT_LOST,
        "permit-reissue": Act.PERMIT_REISSUE,
        "unlock": Act.UNLOCK,
        "resync": Act.RESYNCHRONISE,
        "end-sessions": Act.END_SESSIONS_OF,
        "edit": Act.EDIT_CUSTOMER,
        "enrol/new": Act.ISSUE_FOR_CUSTOMER,
        "enrol/code": Act.ENROL,
        "change-device/new": Act.ISSUE_FOR_CUSTOMER,
        "change-device/code": Act.CHANGE_DEVICE,
        "add-token/new": Act.ISSUE_FOR_CUSTOMER,
        "add-token/code": Act.ADD_TOKEN,
    }


def test_a_number_that_no_row_can_have_is_not_found(clients: dict[Role, ConsoleClient], site: ConsoleSite) -> None:
    client, paths = clients[Role.ADMINISTRATOR], []
    for route in site.routes():
        if isinstance(route, Page) and "[0-9]" in route.path and not route.path.startswith("/api-keys"):
            paths.append(re.sub(r"\{\w+(:\[0-9\]\{1,19\})?\}", "9" * 19, route.path))
    assert len(paths) > 10
    assert {path: client.ask("GET", path, None).status for path in paths} == dict.fromkeys(paths, 404)
    for path in ("/approvals", "/imports", "/audit"):
        assert client.ask("GET", f"{path}?before={'9' * 19}", None).status == 400
        assert client.ask("GET", f"{path}?before={'9' * 18}", None).status == 200


def place(route: Page | Form | Upload, bank: Console) -> str:
    """A path of the route, about a customer and a member of staff that there are."""
    with bank.sekisho.store.read() as connection:
        keys = keys_of(connection, [bank.accounts[Role.AUDITOR].contract_id])
        tokens = keys_of_tokens(connection, [bank.accounts[Role.AUDITOR].token_id])
    values = {
        "customer": str(*keys.values()),
        "token": str(*tokens.values()),
        "request": "1",
        "api_key": "1",
        "file": "1",
        "session": "1",
        "name": "auditor",
    }
    return re.sub(r"\{(\w+):[^/]*\}(?=/|$)", lambda found: values[found[1]], route.path)


@pytest.fixture(scope="module")
def clients(bank: Console) -> dict[Role, ConsoleClient]:
    return {role: bank.client(role) for role in Role}


def test_what_a_role_may_not_do_is_refused_by_the_server_route_by_route(
    bank: Console, site: ConsoleSite, clients: dict[Role, ConsoleClient]
) -> None:
    before = bank.sekisho.acts()
    for route, role in product(site.routes(), Role):
        if isinstance(route, Open) or route.act in TABLE[PrincipalKind.STAFF, role]:
            continue
        method = "GET" if isinstance(route, Page) else "POST"
        answer = clients[role].ask(method, place(route, bank), {} if method == "POST" else None)
        assert answer.status == 403, (role, route.path, answer.status)
    assert bank.sekisho.acts() == before


def test_what_a_role_may_see_is_shown_to_it(
    bank: Console, site: ConsoleSite, clients: dict[Role, ConsoleClient]
) -> None:
    for route, role in product(site.routes(), Role):
        if isinstance(route, Page) and route.act in TABLE[PrincipalKind.STAFF, role]:
            answer = clients[role].ask("GET", place(route, bank), None)
            assert answer.status in (200, 303, 404), (role, route.path, answer.status)
            may_be_gone = ("{request", "{file", "{api_key")
            assert answer.status != 404 or any(one in route.path for one in may_be_gone)
            assert len(answer.text.encode()) < 100_000


def test_without_a_session_every_route_leads_to_the_sign_in(bank: Console, site: ConsoleSite) -> None:
    stranger = bank.client()
    for route in site.routes():
        if not isinstance(route, Open):
            method = "GET" if isinstance(route, Page) else "POST"
            answer = stranger.ask(method, place(route, bank), {} if method == "POST" else None)
            assert (answer.status, answer.headers["Location"].partition("?")[0]) == (303, "/sign-in"), route.path


def test_a_forged_form_is_refused_route_by_route(
    bank: Console, site: ConsoleSite, clients: dict[Role, ConsoleClient]
) -> None:
    """From another origin, without a key, with a key of another path, and with somebody else's."""
    administrator, other = clients[Role.ADMINISTRATOR], clients[Role.SUPERVISOR]
    administrator.get("/me")
    other.get("/me")
    mine, others = administrator.key("/leave"), other.key("/leave")
    before = bank.sekisho.acts()
    for route in site.routes():
        if not isinstance(route, Form | Upload):
            continue
        path = place(route, bank)
        forged = [
            administrator.ask("POST", path, {"key": mine}, Sec_Fetch_Site="cross-site"),
            administrator.ask("POST", path, {"key": mine}, Sec_Fetch_Site="same-site"),
            administrator.ask("POST", path, {"key": mine}, Origin="http://evil.example"),
            administrator.ask("POST", path, {}),
            administrator.ask("POST", path, {"key": others}),
            administrator.ask("POST", path, {"key": "é" * 40}),
        ]
        if path != "/leave":
            forged.append(administrator.ask("POST", path, {"key": mine}))
        assert {answer.status for answer in forged} == {403}, path
    assert bank.sekisho.acts() == before


def test_every_page_is_framed_by_nobody_and_kept_by_no_cache(
    bank: Console, site: ConsoleSite, clients: dict[Role, ConsoleClient]
) -> None:
    for route in site.routes():
        if isinstance(route, Page):
            answer = clients[Role.ADMINISTRATOR].ask("GET", place(route, bank), None)
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"


def test_a_role_that_was_taken_away_is_gone_with_the_next_click(
    bank: Console, clients: dict[Role, ConsoleClient]
) -> None:
    new = bank.sekisho.customer("kari-no-aikotoba")
    bank.sekisho.desk.staff.add("temporary", Role.SUPERVISOR, STAFF, account=new.contract_id)
    client = bank.client()
    client.post("/sign-in", name="temporary", how="code")
    client.post("/sign-in/code", password=new.password, code=new.code())
    assert client.get("/me").status == 200
    bank.sekisho.desk.staff.disable("temporary", STAFF)
    assert client.get("/me").title.startswith("Sign in")


def test_nobody_ends_anothers_session_by_its_number(bank: Console, clients: dict[Role, ConsoleClient]) -> None:
    victim = bank.sekisho.desk.staff.named("administrator")
    assert victim is not None
    (session,) = bank.sekisho.desk.staff_sessions.of(victim)
    auditor = clients[Role.AUDITOR]
    auditor.get("/me")
    path = f"/me/sessions/{session.key}/end"
    assert auditor.ask("POST", path, {"key": auditor.key("/leave")}).status == 403
    assert [one.key for one in bank.sekisho.desk.staff_sessions.of(victim)] == [session.key]


def test_every_reason_of_a_login_is_said_in_the_words_of_the_catalogue() -> None:
    assert set(FINDING_TEXT.values()) <= REASONS


def test_every_next_step_is_said_in_the_words_of_the_catalogue() -> None:
    assert set(NEXT_STEP_TEXT.values()) == NEXT_STEPS


def test_every_kind_of_request_has_its_words_and_its_row_in_the_settings() -> None:
    assert REQUEST_PAGES.keys() == KINDS.keys()
    assert KINDS.keys() <= set(get_args(ApprovedAct))


def test_every_obstacle_is_said_in_the_words_of_the_catalogue() -> None:
    assert {text for words in OBSTACLE_TEXT.values() for text in words} == OBSTACLES


def test_a_next_step_that_is_an_act_of_the_console_has_the_acts_name() -> None:
    acts = {step.value for step in NextStep} & BY_NAME.keys()
    assert acts == {"unlock", "resync", "enrol", "resume", "report-lost", "permit-reissue"}


@pytest.mark.parametrize("act", sorted(DANGEROUS))
def test_a_dangerous_act_asks_for_a_confirmation(act: Act, site: ConsoleSite) -> None:
    assert any(not isinstance(route, Open) and route.act is act for route in site.routes())
