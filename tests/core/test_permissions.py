"""Who may do what at the desk: every pair, written out a second time and carried out by the real services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from otp_core.accounts import Act, Desk, Principal, PrincipalKind, Refusal, Refused
from otp_core.accounts.permissions import TABLE, Table, is_allowed
from otp_core.audit import Event
from otp_core.model import Role, Scope
from tests.core.bank import Bank
from tests.core.desk_acts import CALLS, LIMITS, NOBODY, SWEEP, TARO, WITHOUT_PRINCIPAL, Scene, scene

COMMAND = Principal("root", PrincipalKind.COMMAND, "192.0.2.1")
STAFF_WITHOUT_ROLE = Principal("clerk", PrincipalKind.STAFF, "192.0.2.1")
API_KEY = Principal("a program", PrincipalKind.API_KEY, "192.0.2.1")

STAFF_OF = {str(role): Principal(f"{role}-1", PrincipalKind.STAFF, "192.0.2.1", role=role) for role in Role}
PROGRAM_OF = {str(scope): Principal(f"api:{scope}", PrincipalKind.API_KEY, "192.0.2.1", role=scope) for scope in Scope}
EVERYBODY = {"customer": TARO, "command": COMMAND, "system": SWEEP, "anonymous": NOBODY, **STAFF_OF, **PROGRAM_OF}
COUNTER = "operator supervisor administrator"
PROGRAM = "customers:write"
EXPECTED: dict[Act, str] = {
    Act.ADD_CUSTOMER: "command",
    Act.IMPORT_CUSTOMERS: "command supervisor administrator",
    Act.RENAME_CUSTOMER: "command",
    Act.EDIT_CUSTOMER: f"command {COUNTER}",
    Act.LOCK: "command",
    Act.UNLOCK: f"command {COUNTER} {PROGRAM}",
    Act.RENEW_PASSWORD_HASH: "system",
    Act.ACCEPT_TERMS: "customer",
    Act.IMPORT_TOKENS: "command supervisor administrator",
    Act.ISSUE_TOKEN: "command",
    Act.RETIRE_TOKEN: f"command {COUNTER} tokens:write",
    Act.RETIRE_TOKENS: "supervisor administrator",
    Act.FIND_TOKEN: COUNTER,
    Act.ENROL: f"customer command {COUNTER} {PROGRAM}",
    Act.SUSPEND: f"customer command {PROGRAM}",
    Act.SUSPEND_WITHOUT_CODE: f"command {COUNTER} {PROGRAM}",
    Act.RESUME: f"command {COUNTER} {PROGRAM}",
    Act.CHANGE_DEVICE: f"customer command {COUNTER} {PROGRAM}",
    Act.GIVE_OLD_CODE: "customer",
    Act.CHANGE_BY_PROOF: "customer",
    Act.ADD_TOKEN: f"customer command {COUNTER}",
    Act.ADD_BY_PROOF: "customer",
    Act.REMOVE_TOKEN: "customer command",
    Act.REMOVE_TOKEN_WITHOUT_CODE: f"command {COUNTER}",
    Act.NAME_TOKEN: "customer command",
    Act.CHECK_PERMIT: "customer",
    Act.CHANGE_BY_PERMIT: f"customer command {PROGRAM}",
    Act.REPORT_LOST: f"command {COUNTER} {PROGRAM}",
    Act.PERMIT_REISSUE: f"command {COUNTER} {PROGRAM}",
    Act.RESYNCHRONISE: f"customer command {COUNTER} {PROGRAM}",
    Act.RESYNCHRONISE_TOKEN: "command",
    Act.ASK_CHANGE: "command",
    Act.ISSUE_FOR_CUSTOMER: f"customer {COUNTER}",
    Act.BEGIN_SESSION: "customer",
    Act.END_SESSION: "customer",
    Act.END_SESSIONS_OF: f"command {COUNTER}",
    Act.EXPIRE_SESSIONS: "system",
    Act.RECORD_FAILED_SIGN_IN: "anonymous",
    Act.ISSUE_UNCLAIMED: "anonymous",
    Act.RETIRE_UNCLAIMED: "system",
    Act.MANAGE_STAFF: "command administrator",
    Act.MANAGE_API_KEYS: "command administrator",
    Act.USE_CONSOLE: f"auditor {COUNTER}",
    Act.ASK_APPROVAL: f"{COUNTER} {PROGRAM}",
    Act.APPROVE: "supervisor administrator",
}
PAIRS = [(act, name) for act in Act for name in EVERYBODY if act not in WITHOUT_PRINCIPAL]


def test_the_expectation_and_the_calls_name_every_act() -> None:
    assert set(EXPECTED) == set(CALLS) == set(Act)


def test_the_table_is_the_expectation() -> None:
    found = {act: {role or str(kind) for (kind, role), acts in TABLE.items() if act in acts} for act in Act}
    assert found == {act: set(names.split()) for act, names in EXPECTED.items()}
    assert {role for kind, role in TABLE if kind is PrincipalKind.STAFF} == set(Role)


def carried_out(at: Scene, desk: Desk, act: Act, principal: Principal) -> bool:
    """Whether the act was; if not, it has left an ``act.refused`` row and nothing else."""
    before, trail, refused = at.bank.rows(), at.bank.audit(), None
    try:
        CALLS[act](desk, at, principal)
    except Refused as error:
        refused = error
    if refused is None:
        return True
    assert refused.refusal is Refusal.NOT_PERMITTED
    assert at.bank.rows() == before
    (row,) = at.bank.audit()[len(trail) :]
    assert (row.event, row.actor, row.source) == (Event.REFUSED, principal.name, principal.source)
    assert str(refused) == f"not permitted: {principal.role or principal.kind} may not {act}"
    assert row.reason == f"{act}: {refused}"
    return False


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Act], Scene]:
    """The scene of an act for all who are refused, which changes nothing in it: ``carried_out`` looks."""
    return cache(lambda act: scene(tmp_path_factory.mktemp("scene"), act))


@pytest.mark.parametrize(("act", "name"), PAIRS, ids=lambda value: str(value).replace(" ", "-"))
def test_an_act_is_carried_out_for_whom_the_table_names_and_refused_to_everybody_else(
    tmp_path: Path, scenes: Callable[[Act], Scene], act: Act, name: str
) -> None:
    allowed = name in EXPECTED[act].split()
    at = scene(tmp_path, act) if allowed else scenes(act)
    assert carried_out(at, at.bank.desk, act, EVERYBODY[name]) == allowed


@pytest.mark.parametrize("principal", [STAFF_WITHOUT_ROLE, API_KEY, replace(COMMAND, role="operator")])
def test_a_kind_or_role_that_has_no_row_may_do_nothing(principal: Principal) -> None:
    assert not any(is_allowed(principal, act, customer) for act in Act for customer in (None, "taro"))


@pytest.mark.parametrize("act", sorted(TABLE[PrincipalKind.CUSTOMER, ""]))
def test_a_customer_acts_on_themselves_only(act: Act) -> None:
    assert is_allowed(TARO, act, "taro")
    assert not is_allowed(TARO, act, "jiro")
    assert not is_allowed(TARO, act, None)
    assert not is_allowed(replace(TARO, customer=None), act, "taro")


def test_a_customer_does_nothing_to_another_and_it_is_recorded(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    jiro = bank.customer("jiro")
    with pytest.raises(Refused) as caught:
        bank.desk.enrolment.suspend("ｊｉｒｏ ", jiro.code(), TARO)
    assert caught.value.refusal is Refusal.NOT_PERMITTED
    row = bank.audit()[-1]
    assert (row.event, row.actor, row.customer) == (Event.REFUSED, "web", "jiro")
    assert bank.own_token("jiro").last_step == -1
    bank.desk.enrolment.suspend("ｊｉｒｏ ", jiro.code(), replace(TARO, customer="jiro"))


def test_nobody_signs_in_for_a_customer_without_being_that_customer(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    for principal in (NOBODY, replace(TARO, customer="jiro")):
        with pytest.raises(Refused) as caught:
            bank.desk.sessions.begin(b"n" * 32, "taro", {}, LIMITS, principal)
        assert caught.value.refusal is Refusal.NOT_PERMITTED
    assert bank.rows()["session"] == []


# Roles are rows of the same table: other ones.

WITH_ROLES: Table = {
    (PrincipalKind.STAFF, "auditor"): frozenset(),
    (PrincipalKind.STAFF, "operator"): frozenset({Act.LOCK, Act.UNLOCK, Act.REPORT_LOST}),
    (PrincipalKind.API_KEY, "branch system"): frozenset({Act.ADD_CUSTOMER}),
}


@pytest.mark.parametrize("act", [act for act in Act if act not in WITHOUT_PRINCIPAL])
@pytest.mark.parametrize(("kind", "role"), [row for row in WITH_ROLES if row[1]])
def test_a_role_is_one_more_row_of_the_table(tmp_path: Path, kind: PrincipalKind, role: str, act: Act) -> None:
    at = scene(tmp_path, act)
    desk = Desk(at.bank.store, at.bank.evaluator, at.bank.guarded.now, permissions=WITH_ROLES)
    principal = Principal("hanako", kind, "192.0.2.1", role=role)
    if kind is PrincipalKind.STAFF:
        at.bank.desk.staff.add("hanako", Role(role), COMMAND)
    assert carried_out(at, desk, act, principal) == (act in WITH_ROLES[kind, role])


def test_an_operator_locks_and_permits_no_reissue(tmp_path: Path) -> None:
    at = scene(tmp_path, Act.PERMIT_REISSUE)
    desk = Desk(at.bank.store, at.bank.evaluator, at.bank.guarded.now, permissions=WITH_ROLES)
    at.bank.desk.staff.add("hanako", Role.OPERATOR, COMMAND)
    operator = Principal("hanako", PrincipalKind.STAFF, "192.0.2.1", "ticket 8", role="operator")
    with pytest.raises(Refused, match="operator may not permit a reissue"):
        desk.enrolment.permit_reissue("taro", operator)
    desk.customers.lock("taro", operator)
    assert at.bank.login_record().locked_at is not None
    row = at.bank.audit(event="customer.locked")[0]
    assert (row.actor, row.source, row.reason) == ("hanako", "192.0.2.1", "ticket 8")


# A role is the one of now, not the one that a session began with.


def test_a_role_that_was_taken_away_in_the_middle_of_an_act_does_nothing(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro")
    for name in ("lowered", "disabled", "unknown", "raised"):
        if name != "unknown":
            bank.desk.staff.add(name, Role.AUDITOR if name == "raised" else Role.OPERATOR, COMMAND)
        principal = Principal(
            name, PrincipalKind.STAFF, "192.0.2.1", role=Role.AUDITOR if name == "raised" else Role.OPERATOR
        )
        if name == "lowered":
            bank.desk.staff.set_role(name, Role.AUDITOR, COMMAND)
        elif name == "disabled":
            bank.desk.staff.disable(name, COMMAND)
        elif name == "raised":  # what their session may do is what it began with, as by single sign-on
            bank.desk.staff.set_role(name, Role.ADMINISTRATOR, COMMAND)
        before = bank.rows()["customer"]
        with pytest.raises(Refused) as caught:
            bank.desk.customers.unlock("taro", principal)
        assert caught.value.refusal is Refusal.NOT_PERMITTED
        assert (bank.audit()[-1].event, bank.audit()[-1].actor) == (Event.REFUSED, name)
        assert bank.rows()["customer"] == before
