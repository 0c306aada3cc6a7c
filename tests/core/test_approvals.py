"""Requests of every kind that a second person approves: who may ask, decide and carry out, and what has to hold."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlalchemy import update

from otp_core.accounts import NewApiKey, NewPasskey, Principal, PrincipalKind, Receipt, Refusal, StaffLink
from otp_core.accounts.api_key_changes import ApiKeyChange
from otp_core.accounts.approval_kinds import KINDS, MOST_PAYLOAD
from otp_core.accounts.approvals import MOST_OPEN
from otp_core.accounts.lifecycle import Move
from otp_core.accounts.staff_changes import StaffChange, StaffDo
from otp_core.model import Role, Scope
from otp_core.store.approvals import Approval, approval_of
from otp_core.store.lost_time import void_codes_of_lost_time
from otp_core.store.schema import approval, customer
from tests.core.at_the_desk import refused
from tests.core.bank import STAFF, Bank

HERE = "192.0.2.7"


def acting(name: str, role: Role, reason: str = "") -> Principal:
    return Principal(name, PrincipalKind.STAFF, HERE, reason, role=role)


ADA = acting("ada", Role.ADMINISTRATOR, "ticket 4711")
BEN = acting("ben", Role.ADMINISTRATOR, "spoke with ada")
KATO = acting("kato", Role.SUPERVISOR, "called back")

CRM = ApiKeyChange("crm", (Scope.CUSTOMERS_WRITE,), (ip_network("10.1.2.0/24"),))


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """With two administrators and a supervisor who can sign in, and an operator."""
    bank = Bank(tmp_path)
    roles = {"ada": ADA.role, "ben": BEN.role, "kato": KATO.role, "sato": Role.OPERATOR}
    for name, role in roles.items():
        link = bank.desk.staff.add(name, Role(role), STAFF)
        bank.desk.staff.use_link(link.secret, NewPasskey(name.encode(), b"public key", 0), HERE)
    return bank


def ask(bank: Bank, change: StaffChange | ApiKeyChange, by: Principal = ADA) -> int:
    kind = "staff" if isinstance(change, StaffChange) else "api-key"
    return bank.desk.approvals.ask(kind, change.name, by, change.payload)


def approved(bank: Bank, change: StaffChange | ApiKeyChange, by: Principal = ADA) -> int:
    request = ask(bank, change, by)
    bank.desk.approvals.decide(request, KATO, approve=True)
    return request


def record(bank: Bank, request: int) -> Approval:
    with bank.store.read() as connection:
        found = approval_of(connection, request)
    assert found is not None
    return found


ADD = StaffChange("mori", StaffDo.ADD, Role.OPERATOR)
PROMOTE = StaffChange("sato", StaffDo.ROLE, Role.SUPERVISOR)
DISABLE = StaffChange("sato", StaffDo.DISABLE)
RESET = StaffChange("sato", StaffDo.RESET)
REVOKE = ApiKeyChange("crm")


def test_a_new_member_is_approved_by_another_and_the_link_is_for_the_asker_alone(bank: Bank) -> None:
    request = ask(bank, ADD)
    assert refused(lambda: bank.desk.carry_out(request, ADA)).refusal is Refusal.NOT_NOW
    bank.desk.approvals.decide(request, KATO, approve=True)
    assert refused(lambda: bank.desk.carry_out(request, BEN)).refusal is Refusal.NOT_PERMITTED
    made = bank.desk.carry_out(request, ADA).made
    assert isinstance(made, StaffLink) and made.secret not in repr(bank.rows()) + repr(bank.audit())
    added = bank.audit(event="staff.added")[-1]
    assert (added.actor, added.reason) == ("ada", "mori: operator, ticket 4711; approved by kato")
    assert (record(bank, request).state, record(bank, request).outcome) == ("done", added.id)
    assert refused(lambda: bank.desk.carry_out(request, ADA)).refusal is Refusal.NOT_NOW, "once"
    assert [(row.event, row.actor, row.reason) for row in bank.audit(event="approval")] == [
        ("approval.asked", "ada", "staff: add mori as operator: ticket 4711"),
        ("approval.given", "kato", "staff: add mori as operator for ada: called back"),
    ]


def test_role_disabling_and_reset_are_carried_out(bank: Bank) -> None:
    assert isinstance(bank.desk.carry_out(approved(bank, PROMOTE), ADA).made, Receipt)
    now = bank.desk.staff.named("sato")
    assert now is not None and now.role == Role.SUPERVISOR
    bank.desk.carry_out(approved(bank, DISABLE), ADA)
    now = bank.desk.staff.named("sato")
    assert now is not None and now.disabled_at
    assert isinstance(bank.desk.carry_out(approved(bank, RESET), ADA).made, StaffLink)
    now = bank.desk.staff.named("sato")
    assert now is not None and now.disabled_at is None and bank.desk.staff.passkeys(now) == []
    assert bank.audit(event="staff.role-changed")[-1].reason.startswith("sato: operator to supervisor, ticket 4711")


def test_an_api_key_is_made_and_revoked_by_two_people(bank: Bank) -> None:
    made = bank.desk.carry_out(approved(bank, CRM), ADA).made
    assert isinstance(made, NewApiKey)
    assert bank.desk.api_keys.of_secret(made.secret) == made.record
    assert made.record.networks == ("10.1.2.0/24",)
    assert bank.audit(event="approval.asked")[-1].reason == (
        "api-key: create crm for customers:write from 10.1.2.0/24: ticket 4711"
    )
    bank.desk.carry_out(approved(bank, REVOKE), ADA)
    assert bank.desk.api_keys.of_secret(made.secret) is None


@pytest.mark.parametrize("change", [ADD, CRM, DISABLE])
def test_whoever_asks_does_not_approve(bank: Bank, change: StaffChange | ApiKeyChange) -> None:
    request = ask(bank, change)
    own: Callable[[], object] = lambda: bank.desk.approvals.decide(request, ADA, approve=True)  # noqa: E731
    assert "somebody else has to" in str(refused(own))


def test_nobody_decides_about_themselves_and_nobody_asks_it(bank: Bank) -> None:
    request = ask(bank, StaffChange("kato", StaffDo.ROLE, Role.ADMINISTRATOR))
    for approve in (True, False):
        own: Callable[[], object] = lambda yes=approve: bank.desk.approvals.decide(request, KATO, approve=yes)  # type: ignore[misc]  # noqa: E731
        assert refused(own).refusal is Refusal.NOT_PERMITTED
    assert refused(lambda: ask(bank, StaffChange("ada", StaffDo.RESET))).refusal is Refusal.NOT_PERMITTED


def test_nobody_approves_a_permit_for_the_account_they_sign_in_with(bank: Bank) -> None:
    bank.customer("clerk-1")
    bank.desk.staff.add("ito", Role.SUPERVISOR, STAFF, account="clerk-1")
    bank.desk.enrolment.report_lost("clerk-1", STAFF)
    request = bank.desk.approvals.ask("permit-reissue", "clerk-1", ADA)
    ito = acting("ito", Role.SUPERVISOR, "why not")
    assert "account" in str(refused(lambda: bank.desk.approvals.decide(request, ito, approve=True)))


def test_an_account_that_became_staffs_meanwhile_is_an_administrators_to_act_on(bank: Bank) -> None:
    bank.customer("clerk-1")
    bank.desk.enrolment.report_lost("clerk-1", STAFF)
    sato = acting("sato", Role.OPERATOR, "phone lost")
    request = bank.desk.approvals.ask("permit-reissue", "clerk-1", sato)
    bank.desk.approvals.decide(request, KATO, approve=True)
    bank.desk.staff.add("ito", Role.ADMINISTRATOR, STAFF, account="clerk-1")
    assert "signs in with this account" in str(refused(lambda: bank.desk.carry_out(request, sato)))
    bank.desk.approvals.withdraw(request, sato)
    again = bank.desk.approvals.ask("permit-reissue", "clerk-1", ADA)
    bank.desk.approvals.decide(again, KATO, approve=True)
    bank.desk.carry_out(again, ADA)


def test_whoever_has_made_a_programs_key_does_not_approve_what_it_asks_for(bank: Bank) -> None:
    bank.desk.carry_out(approved(bank, CRM), ADA)
    bank.customer()
    bank.desk.enrolment.report_lost("taro", STAFF)
    program = Principal("api:crm", PrincipalKind.API_KEY, HERE, "call 1", role=Scope.CUSTOMERS_WRITE)
    found = bank.desk.approvals.ask_or_use("permit-reissue", "taro", program, Move.PERMIT_REISSUE)
    own: Callable[[], object] = lambda: bank.desk.approvals.decide(found.key, ADA, approve=True)  # noqa: E731
    assert "made the key of crm" in str(refused(own))
    bank.desk.approvals.decide(found.key, BEN, approve=True)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR, Role.SUPERVISOR])
@pytest.mark.parametrize("change", [ADD, CRM])
def test_only_who_may_do_it_asks_for_it(bank: Bank, role: Role, change: StaffChange | ApiKeyChange) -> None:
    bank.desk.staff.add("somebody", role, STAFF)
    assert refused(lambda: ask(bank, change, acting("somebody", role))).refusal is Refusal.NOT_PERMITTED
    assert bank.rows()["approval"] == []


@pytest.mark.parametrize("change", [ADD, CRM, DISABLE])
def test_a_request_is_over_after_a_day_approved_or_not(bank: Bank, change: StaffChange | ApiKeyChange) -> None:
    asked, request = ask(bank, change, BEN), approved(bank, StaffChange("other", StaffDo.ADD, Role.AUDITOR))
    bank.clock.now += 24 * 3600
    late: Callable[[], object] = lambda: bank.desk.approvals.decide(asked, KATO, approve=True)  # noqa: E731
    assert refused(late).refusal is Refusal.NOT_NOW
    assert refused(lambda: bank.desk.carry_out(request, ADA)).refusal is Refusal.NOT_NOW
    assert bank.desk.approvals.waiting() == 0


def test_a_role_that_was_lost_since_carries_nothing_out(bank: Bank) -> None:
    request = approved(bank, ADD)
    bank.desk.staff.set_role("ada", Role.SUPERVISOR, STAFF)
    assert refused(lambda: bank.desk.carry_out(request, ADA)).refusal is Refusal.NOT_NOW, "withdrawn with the role"
    assert record(bank, request).state == "withdrawn"
    fresh = ask(bank, ADD, BEN)
    stale: Callable[[], object] = lambda: bank.desk.approvals.decide(fresh, ADA, approve=True)  # noqa: E731
    assert "another role now" in str(refused(stale)), "a session's role of before counts for nothing"


def test_a_session_with_less_than_its_owners_role_does_what_that_role_may(bank: Bank) -> None:
    """By single sign-on, an administrator as a supervisor: approves, but asks for nothing that takes more."""
    narrowed = acting("ben", Role.SUPERVISOR, "by single sign-on")
    request = ask(bank, ADD)
    bank.desk.approvals.decide(request, narrowed, approve=True)
    assert isinstance(bank.desk.carry_out(request, ADA).made, StaffLink)
    assert refused(lambda: ask(bank, DISABLE, narrowed)).refusal is Refusal.NOT_PERMITTED


def test_what_somebody_approved_who_may_not_any_more_is_withdrawn(bank: Bank) -> None:
    request = approved(bank, ADD)
    bank.desk.staff.set_role("kato", Role.OPERATOR, STAFF)
    assert "1 requests withdrawn" in bank.audit(event="staff.role-changed")[-1].reason
    assert refused(lambda: bank.desk.carry_out(request, ADA)).refusal is Refusal.NOT_NOW


CHANGED: dict[str, tuple[StaffChange | ApiKeyChange, Callable[[Bank], object]]] = {
    "the name was taken": (ADD, lambda bank: bank.desk.staff.add("mori", Role.AUDITOR, STAFF)),
    "another role": (PROMOTE, lambda bank: bank.desk.staff.set_role("sato", Role.AUDITOR, STAFF)),
    "disabled": (DISABLE, lambda bank: bank.desk.staff.disable("sato", STAFF)),
    "begun anew": (RESET, lambda bank: bank.desk.staff.reset("sato", STAFF)),
    "the key's name was taken": (CRM, lambda bank: bank.desk.api_keys.create("crm", [Scope.AUDIT_READ], STAFF)),
}


@pytest.mark.parametrize("what", CHANGED)
def test_what_has_changed_since_is_not_carried_out(bank: Bank, what: str) -> None:
    change, meanwhile = CHANGED[what]
    request = approved(bank, change)
    meanwhile(bank)
    before = bank.rows()["staff"], bank.rows()["api_key"]
    assert refused(lambda: bank.desk.carry_out(request, ADA)).refusal is Refusal.NOT_NOW
    assert (bank.rows()["staff"], bank.rows()["api_key"]) == before
    assert record(bank, request).state == "approved"


def test_a_key_that_was_made_anew_is_not_revoked_in_the_place_of_the_old_one(bank: Bank) -> None:
    bank.desk.api_keys.create("crm", [Scope.AUDIT_READ], STAFF)
    request = approved(bank, REVOKE)
    bank.desk.api_keys.revoke("crm", STAFF)
    other = bank.desk.api_keys.create("crm", [Scope.AUDIT_READ], STAFF)
    assert "has changed" in str(refused(lambda: bank.desk.carry_out(request, ADA)))
    assert bank.desk.api_keys.of_secret(other.secret) == other.record


@pytest.mark.parametrize("do", [StaffDo.ROLE, StaffDo.DISABLE, StaffDo.RESET])
def test_the_last_administrator_who_can_sign_in_stays(bank: Bank, do: StaffDo) -> None:
    """ben was added, but has never signed in: an administrator on paper. Commands are exempt."""
    bank.desk.staff.reset("ben", STAFF)
    change = StaffChange("ada", do, Role.AUDITOR if do is StaffDo.ROLE else None)
    ghost = acting("ghost", Role.ADMINISTRATOR)
    bank.desk.staff.add("ghost", Role.ADMINISTRATOR, STAFF)
    assert "last administrator" in str(refused(lambda: ask(bank, change, ghost)))
    acts: dict[StaffDo, Callable[[Principal], object]] = {
        StaffDo.ROLE: lambda by: bank.desk.staff.set_role("ada", Role.AUDITOR, by),
        StaffDo.DISABLE: lambda by: bank.desk.staff.disable("ada", by),
        StaffDo.RESET: lambda by: bank.desk.staff.reset("ada", by),
    }
    assert "last administrator" in str(refused(lambda: acts[do](ghost)))
    acts[do](STAFF)


@pytest.mark.parametrize("state", [{"otp_use": "lost"}, {"otp_use": "suspended"}, {"locked_at": 1}])
def test_an_administrator_whose_account_lets_nobody_in_now_is_not_one_who_stays(
    bank: Bank, state: dict[str, object]
) -> None:
    """ben has no passkey, and signs in with an account: without its token, or locked, it lets nobody in."""
    bank.customer()
    bank.desk.staff.disable("ben", STAFF)
    bank.desk.staff.add("mori", Role.ADMINISTRATOR, STAFF, account="taro")
    mori, change = acting("mori", Role.ADMINISTRATOR), StaffChange("ada", StaffDo.DISABLE)
    request = ask(bank, change, mori)
    bank.desk.approvals.decide(request, KATO, approve=True)
    with bank.store.work() as work:
        work.connection.execute(update(customer).values(**state))
    assert "last administrator" in str(refused(lambda: bank.desk.carry_out(request, mori)))
    assert "last administrator" in str(refused(lambda: bank.desk.staff.disable("ada", mori)))
    bank.desk.staff.disable("ada", STAFF)


def test_two_administrators_cannot_lock_each_other_out(bank: Bank) -> None:
    one = approved(bank, StaffChange("ben", StaffDo.DISABLE), ADA)
    other = approved(bank, StaffChange("ada", StaffDo.DISABLE), BEN)
    bank.desk.carry_out(one, ADA)
    assert refused(lambda: bank.desk.carry_out(other, BEN))
    now = bank.desk.staff.named("ada")
    assert now is not None and now.disabled_at is None


def test_of_an_act_that_is_refused_the_refusal_is_recorded_and_the_request_is_as_it_was(bank: Bank) -> None:
    bank.customer()
    request = bank.desk.approvals.ask("permit-reissue", "taro", ADA)
    bank.desk.approvals.decide(request, KATO, approve=True)
    assert refused(lambda: bank.desk.carry_out(request, ADA)).refusal is Refusal.NOT_NOW, "nothing was lost"
    (row,) = bank.audit(event="act.refused")
    assert (row.actor, row.customer) == ("ada", "taro") and row.reason.startswith("permit a reissue: ")
    assert record(bank, request).state == "approved"


def test_one_request_about_somebody_waits_at_a_time(bank: Bank) -> None:
    ask(bank, DISABLE)
    assert "waits" in str(refused(lambda: ask(bank, DISABLE, BEN)))
    bank.desk.staff.set_role("sato", Role.AUDITOR, STAFF)
    ask(bank, DISABLE, BEN)
    assert bank.audit(event="approval.withdrawn")[-1].reason == (
        "staff: disable sato for ada: the member of staff has changed since"
    )


def test_what_is_to_be_done_is_sealed_bounded_and_bound_to_its_request(bank: Bank) -> None:
    first, second = ask(bank, CRM), ask(bank, ApiKeyChange("vpn", (Scope.CHECK_CODE,)))
    assert b"10.1.2.0" not in (record(bank, first).payload or b"")
    assert bank.desk.approvals.about(record(bank, first)).payload == CRM.payload
    with bank.store.work() as work:
        swapped = update(approval).where(approval.c.key == first).values(payload=record(bank, second).payload)
        work.connection.execute(swapped)
    swap: Callable[[], object] = lambda: bank.desk.approvals.about(record(bank, first))  # noqa: E731
    assert "cannot be opened" in str(refused(swap))
    bank.desk.approvals.decide(first, KATO, approve=True)
    assert "cannot be opened" in str(refused(lambda: bank.desk.carry_out(first, ADA)))
    long = {**ADD.payload, "account": None, "more": "x" * MOST_PAYLOAD}
    too_long: Callable[[], object] = lambda: bank.desk.approvals.ask("staff", "mori", ADA, long)  # noqa: E731
    assert refused(too_long).refusal is Refusal.TOO_MANY


def test_so_many_requests_of_one_asker_wait_and_no_more(bank: Bank) -> None:
    for number in range(MOST_OPEN):
        ask(bank, StaffChange(f"new-{number}", StaffDo.ADD, Role.AUDITOR))
    assert refused(lambda: ask(bank, ADD)).refusal is Refusal.TOO_MANY
    ask(bank, ADD, BEN)


def test_after_a_restore_nothing_that_was_approved_is_carried_out(bank: Bank) -> None:
    """It may have been, in the lost time."""
    request, waits = approved(bank, ADD), ask(bank, CRM)
    with bank.store.work() as work:
        now = int(bank.clock.now * 1000)
        void_codes_of_lost_time(work, now, window=1, actor="root", reason="ticket 9")
    assert refused(lambda: bank.desk.carry_out(request, ADA)).refusal is Refusal.NOT_NOW
    assert record(bank, waits).state == "withdrawn"


def test_every_kind_is_a_row_under_its_own_name() -> None:
    assert all(name == kind.name for name, kind in KINDS.items())
    assert {"permit-reissue", "staff", "api-key"} <= KINDS.keys()
