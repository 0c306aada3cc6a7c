"""Staff and API keys on the console, by two people and by one: what is shown once, and what is wrong in a form."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otp_core.model import Role, Scope
from otp_core.store.approvals import approval_lines
from otp_core.store.staff import confirm_staff_session
from tests.sekisho import STAFF
from tests.web.console import Console, ConsoleClient, console
from tests.web.portal import Answer

WHY = {"reason": "joins the counter", "ticket": "4711"}
RECORDED = "joins the counter; ticket 4711"


@dataclass
class Two:
    """A console, and who asks and who approves."""

    console: Console
    administrator: ConsoleClient
    supervisor: ConsoleClient

    def ask(self, path: str, **fields: str) -> Answer:
        self.administrator.get(path)
        return self.administrator.post(path, **{**WHY, **fields})

    def newest(self) -> str:
        """The page of the newest request."""
        with self.console.sekisho.store.read() as connection:
            return f"/approvals/{approval_lines(connection, limit=1)[0].key}"

    def approve(self) -> str:
        request = self.newest()
        self.supervisor.get(request)
        assert "Approved." in self.supervisor.post(f"{request}/approve", reason="called back").text
        return request

    def carry_out(self, request: str) -> Answer:
        self.administrator.get(request)
        return self.administrator.post(f"{request}/carry-out")

    def secret(self, answer: Answer) -> str:
        (found,) = re.findall(r'<p class="id secret" data-once>([^<]+)</p>', answer.text)
        assert isinstance(found, str)
        return found


def two_of(bank: Console) -> Two:
    return Two(bank, bank.client(Role.ADMINISTRATOR), bank.client(Role.SUPERVISOR))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with console(tmp_path_factory.mktemp("console")) as running:
        yield two_of(running)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Two]:
    with console(tmp_path, more="approvals = []") as running:
        yield two_of(running)


def test_a_member_is_added_by_two_people_and_the_link_is_shown_once_to_the_asker(two: Two) -> None:
    asked = two.ask("/new-staff", name="mori", role="operator")
    assert asked.path == "/approvals" and "Add mori to the staff" in asked.text
    assert two.console.sekisho.desk.staff.named("mori") is None
    request = two.newest()
    page = two.supervisor.get(request).text
    assert "operator" in page and "none: passkeys alone" in page and RECORDED in page
    two.approve()
    assert f"{request}/carry-out" not in two.supervisor.get(request).text
    shown = two.carry_out(request)
    assert shown.path == "/staff/mori/link"
    secret = two.secret(shown)
    assert secret.startswith(f"{two.console.origin}/welcome/")
    assert two.administrator.get("/staff/mori/link").path == "/staff/mori", "a link is shown once"
    assert two.console.sekisho.desk.staff.of_link(secret.rpartition("/")[2])
    assert secret.rpartition("/")[2] not in two.console.log() + repr(two.console.sekisho.audit())
    (row,) = [row for row in two.console.sekisho.audit(event="staff.added") if row.actor == "administrator"]
    assert row.reason == f"mori: operator, {RECORDED}; approved by supervisor"


def test_another_role_disabling_and_a_reset_take_two_people(two: Two) -> None:
    two.console.sekisho.desk.staff.add("kondo", Role.OPERATOR, STAFF)
    page = two.administrator.get("/staff/kondo").text
    assert all(f"/staff/kondo/{do}" in page for do in ("role", "reset", "disable"))
    two.ask("/staff/kondo/role", role="supervisor")
    assert "Change the role of kondo" in two.administrator.get(two.newest()).text
    assert "Changed: the role of kondo" in two.carry_out(two.approve()).text
    two.ask("/staff/kondo/disable")
    assert "Disabled: kondo" in two.carry_out(two.approve()).text
    only = two.administrator.get("/staff/kondo").text
    assert "/staff/kondo/reset" in only and "/staff/kondo/role" not in only
    two.ask("/staff/kondo/reset")
    assert two.carry_out(two.approve()).path == "/staff/kondo/link"
    now = two.console.sekisho.desk.staff.named("kondo")
    assert now is not None and (now.role, now.disabled_at, now.has_link) == ("supervisor", None, True)


def test_a_key_is_made_and_revoked_by_two_people_and_shown_once(two: Two) -> None:
    fields = {"name": "call-centre", "scope-customers:read": "yes", "scope-check:code": "yes"}
    two.ask("/new-api-key", **fields, networks="10.1.2.0/24\r\n192.0.2.7")
    page = two.supervisor.get(two.newest()).text
    assert "Make an API key: call-centre" in page and "10.1.2.0/24 192.0.2.7/32" in page
    assert "read customers" in page and "check codes at a login" in page
    shown = two.carry_out(two.approve())
    secret = two.secret(shown)
    assert two.administrator.get(shown.path).path == "/api-keys", "a key is shown once"
    found = two.console.sekisho.desk.api_keys.of_secret(secret)
    assert found is not None and found.scopes == {Scope.CUSTOMERS_READ, Scope.CHECK_CODE}
    assert found.networks == ("10.1.2.0/24", "192.0.2.7/32")
    assert secret not in two.console.log() + repr(two.console.sekisho.audit())
    assert "call-centre" in two.supervisor.get("/api-keys").text
    assert "/revoke" not in two.supervisor.get("/api-keys").text
    two.ask(f"/api-keys/{found.key}/revoke")
    assert "Revoked: call-centre" in two.carry_out(two.approve()).text
    assert two.console.sekisho.desk.api_keys.of_secret(secret) is None


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/new-staff", {"name": "Sato Yoko", "role": "operator"}, "A name of staff is one word"),
        ("/new-staff", {"name": "auditor", "role": "operator"}, "somebody of this name already"),
        ("/new-staff", {"name": "yamada", "role": "root"}, "Choose the role"),
        ("/new-staff", {"name": "yamada", "role": "operator", "account": "nobody-at-all"}, "There is no such customer"),
        ("/new-staff", {"name": "yamada", "role": "operator", "reason": " "}, "Write the reason"),
        ("/staff/auditor/role", {"role": "auditor"}, "Choose the role"),
        ("/new-api-key", {"name": "call centre", "scope-audit:read": "yes"}, "The name of an API key is one word"),
        ("/new-api-key", {"name": "crm"}, "Choose what the key is for"),
        ("/new-api-key", {"name": "crm", "scope-audit:read": "yes", "networks": "10.1.2.3/24"}, "has host bits set"),
        (
            "/new-api-key",
            {"name": "crm", "scope-audit:read": "yes", "networks": " ".join(f"10.0.{n}.0/24" for n in range(17))},
            "Too many",
        ),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    two: Two, path: str, fields: dict[str, str], message: str
) -> None:
    answer = two.ask(path, **fields)
    assert answer.path == path and message in answer.text
    if name := fields.get("name"):
        assert f'value="{name}"' in answer.text
    assert "approval" not in [row.event.partition(".")[0] for row in two.console.sekisho.audit()[-1:]]


def test_an_account_is_one_persons(two: Two) -> None:
    account = two.console.accounts[Role.AUDITOR].contract_id
    answer = two.ask("/new-staff", name="yamada", role="operator", account=account)
    assert "signs in with this account" in answer.text


def test_nobody_does_anything_to_themselves(two: Two) -> None:
    page = two.administrator.get("/staff/administrator").text
    assert "/staff/administrator/disable" not in page
    assert two.administrator.get("/staff/administrator/disable").path == "/staff/administrator"


def test_what_is_asked_about_somebody_they_do_not_approve(two: Two) -> None:
    two.ask("/staff/supervisor/role", role="administrator")
    request = two.newest()
    two.supervisor.get(request)
    assert "You may not do this" in two.supervisor.post(f"{request}/approve", reason="myself").text
    two.administrator.get(request)
    assert "Withdrawn." in two.administrator.post(f"{request}/withdraw").text


def test_a_confirmation_is_asked_for_before_it_is_carried_out(two: Two) -> None:
    two.ask("/new-staff", name="nakata", role="auditor")
    request = two.approve()
    two.administrator.get(request)
    key = two.administrator.key(f"{request}/carry-out")
    sekisho = two.console.sekisho
    record = sekisho.desk.staff.named("administrator")
    assert record is not None
    for session in sekisho.desk.staff_sessions.of(record):
        with sekisho.store.work() as work:
            confirm_staff_session(work.connection, session.key, int((time.time() - 301) * 1000))
    answer = two.administrator.ask("POST", f"{request}/carry-out", {"key": key})
    assert answer.headers["Location"].startswith("/confirm?to=")
    assert sekisho.desk.staff.named("nakata") is None
    for session in sekisho.desk.staff_sessions.of(record):
        with sekisho.store.work() as work:
            confirm_staff_session(work.connection, session.key, int(time.time() * 1000))


def test_where_one_person_is_the_staff_it_is_done_at_once(alone: Two) -> None:
    assert alone.ask("/new-staff", name="mori", role="operator").path == "/staff/mori/link"
    assert "Changed: the role of mori" in alone.ask("/staff/mori/role", role="auditor").text
    assert "Disabled: mori" in alone.ask("/staff/mori/disable").text
    made = alone.ask("/new-api-key", name="crm", **{"scope-audit:read": "yes"})
    found = alone.console.sekisho.desk.api_keys.of_secret(alone.secret(made))
    assert found is not None
    assert "Revoked: crm" in alone.ask(f"/api-keys/{found.key}/revoke").text
    assert "Nobody has asked for anything" in alone.administrator.get("/approvals").text
