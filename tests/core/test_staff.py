"""The console's staff at the desk: links, passkeys, sessions, and requests that a second person approves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from otp_core.accounts import (
    NewPasskey,
    PasskeyAnswer,
    Principal,
    PrincipalKind,
    Refusal,
    Refused,
    ReissuePermit,
    SignOnAnswer,
    StaffSession,
    StaffSessionLimits,
)
from otp_core.accounts.lifecycle import Move
from otp_core.model import Role, Scope
from otp_core.store.approvals import Approval
from otp_core.store.staff import StaffRecord, staff_lines
from tests.core.at_the_desk import refused
from tests.core.bank import STAFF, Bank

LIMITS = StaffSessionLimits(idle=900, longest=28_800)
HERE = "192.0.2.7"
KEY = NewPasskey(b"credential", b"public key", 0)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def somebody(bank: Bank, name: str = "sato", role: Role = Role.OPERATOR) -> StaffRecord:
    bank.desk.staff.add(name, role, STAFF)
    record = bank.desk.staff.named(name)
    assert record is not None
    return record


def acting(name: str, role: Role, reason: str = "") -> Principal:
    return Principal(name, PrincipalKind.STAFF, HERE, reason, role=role)


# Links


def test_a_link_is_looked_at_as_often_as_one_likes_and_used_once(bank: Bank) -> None:
    link = bank.desk.staff.add("sato", Role.ADMINISTRATOR, STAFF)
    for _ in range(3):
        found = bank.desk.staff.of_link(link.secret)
        assert found is not None and (found.name, found.role) == ("sato", "administrator")
    bank.desk.staff.use_link(link.secret, KEY, HERE)
    assert bank.desk.staff.of_link(link.secret) is None
    assert refused(lambda: bank.desk.staff.use_link(link.secret, replace(KEY, credential_id=b"other"), HERE))
    record = bank.desk.staff.named("sato")
    assert record is not None and [one.credential_id for one in bank.desk.staff.passkeys(record)] == [b"credential"]


def test_a_link_ends_after_an_hour(bank: Bank) -> None:
    link = bank.desk.staff.add("sato", Role.OPERATOR, STAFF)
    bank.clock.now += 3599
    assert bank.desk.staff.of_link(link.secret)
    bank.desk.staff_sessions.expire(LIMITS)
    assert bank.desk.staff.of_link(link.secret)
    bank.clock.now += 1
    assert bank.desk.staff.of_link(link.secret) is None
    assert refused(lambda: bank.desk.staff.use_link(link.secret, KEY, HERE)).refusal is Refusal.NOT_NOW
    bank.desk.staff_sessions.expire(LIMITS)
    record = bank.desk.staff.named("sato")
    assert record is not None and not record.has_link, "what it is known by is deleted"


def test_neither_store_nor_audit_trail_holds_a_link(bank: Bank) -> None:
    link = bank.desk.staff.add("sato", Role.OPERATOR, STAFF)
    assert link.secret not in repr(link)
    assert link.secret not in repr(bank.rows()) + repr(bank.audit())
    assert link.secret.encode() not in b"".join(one.read_bytes() for one in bank.folder.glob("bank.db*"))


@pytest.mark.parametrize("name", ["", "Sato", "sato yoko", "root", "web", "-sato", "s" * 33, "sato\n", "佐藤"])
def test_a_name_of_staff_is_one_plain_word(bank: Bank, name: str) -> None:
    assert refused(lambda: bank.desk.staff.add(name, Role.OPERATOR, STAFF)).refusal is Refusal.NOT_NOW
    assert bank.rows()["staff"] == []


def test_a_name_and_an_account_are_one_persons(bank: Bank) -> None:
    bank.customer("clerk-1")
    bank.desk.staff.add("sato", Role.OPERATOR, STAFF, account="clerk-1")
    assert "reset sato" in str(refused(lambda: bank.desk.staff.add("sato", Role.AUDITOR, STAFF)))
    again: Callable[[], object] = lambda: bank.desk.staff.add("ito", Role.AUDITOR, STAFF, account="clerk-1")  # noqa: E731
    assert "sato signs in as clerk-1" in str(refused(again))
    nobody: Callable[[], object] = lambda: bank.desk.staff.add("ito", Role.AUDITOR, STAFF, account="none")  # noqa: E731
    assert refused(nobody).refusal is Refusal.UNKNOWN_CUSTOMER


# Sessions


def test_a_session_ends_without_use_and_in_any_case(bank: Bank) -> None:
    record = somebody(bank)
    bank.desk.staff_sessions.begin(b"i" * 32, record, HERE, LIMITS, "code")
    bank.clock.now += 899
    session = bank.desk.staff_sessions.find(b"i" * 32, LIMITS)
    assert session is not None and session.staff.name == "sato"
    bank.clock.now += 1
    assert bank.desk.staff_sessions.find(b"i" * 32, LIMITS) is None
    bank.clock.now -= 1
    for _ in range(36):
        session = bank.desk.staff_sessions.find(b"i" * 32, LIMITS)
        assert session is not None
        bank.desk.staff_sessions.update(session, lambda data: {**data, "seen": 1})
        bank.clock.now += 777
    assert bank.desk.staff_sessions.find(b"i" * 32, LIMITS) is None
    bank.clock.now += 900
    assert bank.desk.staff_sessions.expire(LIMITS) == 1
    assert bank.rows()["staff_session"] == []


def test_who_is_disabled_is_out_at_once_and_a_reset_begins_anew(bank: Bank) -> None:
    link = bank.desk.staff.add("sato", Role.OPERATOR, STAFF)
    record = bank.desk.staff.use_link(link.secret, KEY, HERE)
    bank.desk.staff_sessions.begin(b"i" * 32, record, HERE, LIMITS, "code")
    bank.desk.staff.disable("sato", STAFF)
    assert bank.desk.staff_sessions.find(b"i" * 32, LIMITS) is None
    with pytest.raises(Refused, match="sato is disabled"):
        bank.desk.staff_sessions.begin(b"j" * 32, record, HERE, LIMITS, "code")
    again = bank.desk.staff.reset("sato", STAFF)
    with bank.store.read() as connection:
        ((now, passkeys, _, _),) = staff_lines(connection)
    assert (now.disabled_at, passkeys) == (None, 0)
    assert bank.desk.staff.of_link(again.secret)
    assert [(row.event, row.actor, row.reason) for row in bank.audit(event="staff")][-2:] == [
        ("staff.disabled", "staff", "sato: 1 sessions ended, ticket 7"),
        ("staff.reset", "staff", "sato: 1 passkeys gone, 0 sessions ended, ticket 7"),
    ]


def test_an_answer_of_a_passkey_signs_in_once(bank: Bank) -> None:
    link = bank.desk.staff.add("sato", Role.OPERATOR, STAFF)
    record = bank.desk.staff.use_link(link.secret, KEY, HERE)
    (passkey,) = bank.desk.staff.passkeys(record)
    bank.clock.now += 60
    answer = PasskeyAnswer(passkey, 1, int(bank.clock.now * 1000) - 5)
    bank.desk.staff_sessions.begin(b"i" * 32, record, HERE, LIMITS, answer)
    with pytest.raises(Refused, match="used before"):
        bank.desk.staff_sessions.begin(b"j" * 32, record, HERE, LIMITS, answer)
    earlier = replace(answer, challenge_at=answer.challenge_at - 1)
    with pytest.raises(Refused, match="used before"):
        bank.desk.staff_sessions.begin(b"j" * 32, record, HERE, LIMITS, earlier)
    assert bank.desk.staff_sessions.find(b"j" * 32, LIMITS) is None


def test_nobody_ends_anothers_session_but_who_manages_staff(bank: Bank) -> None:
    record = somebody(bank)
    somebody(bank, "ito")
    bank.desk.staff_sessions.begin(b"i" * 32, record, HERE, LIMITS, "code")
    (session,) = bank.desk.staff_sessions.of(record)
    ito = acting("ito", Role.SUPERVISOR)
    assert refused(lambda: bank.desk.staff_sessions.end(record, session.key, ito)).refusal is Refusal.NOT_PERMITTED
    assert bank.desk.staff_sessions.find(b"i" * 32, LIMITS)
    bank.desk.staff.set_role("ito", Role.ADMINISTRATOR, STAFF)
    assert bank.desk.staff_sessions.end(record, session.key, acting("ito", Role.ADMINISTRATOR))
    assert bank.desk.staff_sessions.find(b"i" * 32, LIMITS) is None


def test_a_password_in_the_name_field_is_not_kept(bank: Bank) -> None:
    bank.desk.staff_sessions.audit_failed_sign_in("correct horse battery", "no such passkey", HERE)
    (row,) = bank.audit(event="staff.refused")
    assert "horse" not in repr(row)
    assert row.reason == f"{bank.store.sealer.name_fingerprint('correct horse battery')}: no such passkey"


# Two people

ASK = acting("sato", Role.OPERATOR, "lost phone, passport seen")
DECIDE = acting("kato", Role.SUPERVISOR, "called back")


@pytest.fixture
def two(bank: Bank) -> Bank:
    somebody(bank)
    somebody(bank, "kato", Role.SUPERVISOR)
    bank.customer()
    bank.desk.enrolment.report_lost("taro", STAFF)
    return bank


def test_what_one_asks_for_and_another_approves_is_carried_out_once_by_the_first(two: Bank) -> None:
    request = two.desk.approvals.ask("permit-reissue", "taro", ASK)
    assert refused(lambda: two.desk.carry_out(request, ASK)).refusal is Refusal.NOT_NOW
    two.desk.approvals.decide(request, DECIDE, approve=True)
    assert refused(lambda: two.desk.carry_out(request, DECIDE)).refusal is Refusal.NOT_PERMITTED
    done = two.desk.carry_out(request, ASK)
    assert done.about.subject == "taro" and isinstance(done.made, ReissuePermit)
    assert refused(lambda: two.desk.carry_out(request, ASK)).refusal is Refusal.NOT_NOW
    assert [(row.event, row.actor, row.reason) for row in two.audit(event="approval")] == [
        ("approval.asked", "sato", "permit-reissue: lost phone, passport seen"),
        ("approval.given", "kato", "permit-reissue for sato: called back"),
    ]


def test_nobody_approves_what_they_ask_for(two: Bank) -> None:
    asker = acting("kato", Role.SUPERVISOR, "why")
    request = two.desk.approvals.ask("permit-reissue", "taro", asker)
    assert "somebody else has to" in str(refused(lambda: two.desk.approvals.decide(request, DECIDE, approve=True)))


def test_a_request_is_void_after_a_day_a_refusal_a_withdrawal_or_a_change(two: Bank) -> None:
    desk = two.desk.approvals
    late = desk.ask("permit-reissue", "taro", ASK)
    assert "waits" in str(refused(lambda: desk.ask("permit-reissue", "taro", ASK)))
    two.clock.now += 24 * 3600
    assert refused(lambda: desk.decide(late, DECIDE, approve=True)).refusal is Refusal.NOT_NOW
    no = desk.ask("permit-reissue", "taro", ASK)
    desk.decide(no, DECIDE, approve=False)
    assert refused(lambda: two.desk.carry_out(no, ASK)).refusal is Refusal.NOT_NOW
    back = desk.ask("permit-reissue", "taro", ASK)
    desk.withdraw(back, ASK)
    assert refused(lambda: desk.decide(back, DECIDE, approve=True)).refusal is Refusal.NOT_NOW
    changed = desk.ask("permit-reissue", "taro", ASK)
    desk.decide(changed, DECIDE, approve=True)
    two.desk.enrolment.permit_reissue("taro", STAFF)
    assert "has changed" in str(refused(lambda: two.desk.carry_out(changed, ASK)))
    assert desk.ask("permit-reissue", "taro", acting("kato", Role.SUPERVISOR, "asks anew")) != changed
    assert refused(lambda: two.desk.carry_out(changed, ASK)).refusal is Refusal.NOT_NOW


def test_who_was_disabled_meanwhile_neither_asks_nor_approves(two: Bank) -> None:
    request = two.desk.approvals.ask("permit-reissue", "taro", ASK)
    two.desk.staff.disable("kato", STAFF)
    approve: Callable[[], object] = lambda: two.desk.approvals.decide(request, DECIDE, approve=True)  # noqa: E731
    assert refused(approve).refusal is Refusal.NOT_PERMITTED


def test_an_approval_is_taken_back_until_it_is_carried_out(two: Bank) -> None:
    desk = two.desk.approvals
    first = desk.ask("permit-reissue", "taro", ASK)
    desk.decide(first, DECIDE, approve=True)
    assert refused(lambda: desk.decide(first, DECIDE, approve=True)).refusal is Refusal.NOT_NOW
    desk.decide(first, DECIDE, approve=False)
    assert refused(lambda: two.desk.carry_out(first, ASK)).refusal is Refusal.NOT_NOW
    assert [row.event for row in two.audit(event="approval")][-2:] == ["approval.given", "approval.refused"]
    again = desk.ask("permit-reissue", "taro", ASK)
    desk.decide(again, DECIDE, approve=True)
    two.desk.carry_out(again, ASK)
    assert refused(lambda: desk.decide(again, DECIDE, approve=False)).refusal is Refusal.NOT_NOW


def test_what_was_asked_or_approved_by_somebody_who_is_disabled_or_reset_is_withdrawn(two: Bank) -> None:
    approved = two.desk.approvals.ask("permit-reissue", "taro", ASK)
    two.desk.approvals.decide(approved, DECIDE, approve=True)
    two.desk.staff.disable("kato", STAFF)
    assert two.audit(event="staff.disabled")[-1].reason == "kato: 0 sessions ended, 1 requests withdrawn, ticket 7"
    assert refused(lambda: two.desk.carry_out(approved, ASK)).refusal is Refusal.NOT_NOW
    two.desk.approvals.ask("permit-reissue", "taro", ASK)
    two.desk.staff.reset("sato", STAFF)
    assert "1 requests withdrawn" in two.audit(event="staff.reset")[-1].reason
    assert ask(two).state == "asked", "nobody else has to wait a day for what nobody can carry out"


# Two people, one of them a program

CRM = Principal("api:crm", PrincipalKind.API_KEY, HERE, "call 4711", role=Scope.CUSTOMERS_WRITE)


def ask(bank: Bank, principal: Principal = CRM) -> Approval:
    return bank.desk.approvals.ask_or_use("permit-reissue", "taro", principal, Move.PERMIT_REISSUE)


def test_a_program_asks_until_somebody_has_approved_and_then_once_more(two: Bank) -> None:
    first = ask(two)
    assert (first.state, first.asked_by, first.reason) == ("asked", "api:crm", "call 4711")
    assert ask(two) == first, "the same request, however often it asks"
    two.desk.approvals.decide(first.key, DECIDE, approve=True)
    used = ask(two)
    assert (used.key, used.state, used.decided_by) == (first.key, "approved", "kato")
    assert ask(two).key != first.key, "it was used up"
    assert [(row.event, row.actor, row.reason) for row in two.audit(event="approval")][:2] == [
        ("approval.asked", "api:crm", "permit-reissue: call 4711"),
        ("approval.given", "kato", "permit-reissue for api:crm: called back"),
    ]


def test_a_program_neither_uses_nor_repeats_what_somebody_else_has_asked_for(two: Bank) -> None:
    request = two.desk.approvals.ask("permit-reissue", "taro", ASK)
    assert "somebody else" in str(refused(lambda: ask(two)))
    two.desk.approvals.decide(request, DECIDE, approve=True)
    assert "somebody else" in str(refused(lambda: ask(two)))


def test_a_program_is_refused_before_it_asks_where_the_state_does_not_allow_it(two: Bank) -> None:
    two.customer("jiro", "VSMT00000002")
    many = lambda: two.desk.approvals.ask_or_use("permit-reissue", "jiro", CRM, Move.PERMIT_REISSUE)  # noqa: E731
    assert refused(many).refusal is Refusal.NOT_NOW
    assert two.rows()["approval"] == []


def test_a_request_of_a_program_is_void_when_the_customer_has_changed(two: Bank) -> None:
    first = ask(two)
    two.desk.approvals.decide(first.key, DECIDE, approve=True)
    two.desk.enrolment.permit_reissue("taro", STAFF)
    again = ask(two)
    assert (again.state, again.key != first.key) == ("asked", True), "it does not stand in the way for a day"
    assert (
        two.audit(event="approval.withdrawn")[-1].reason == "permit-reissue for api:crm: the customer has changed since"
    )
    two.desk.approvals.decide(again.key, DECIDE, approve=True)
    assert ask(two).key == again.key


def test_a_revoked_key_leaves_no_request_behind_for_the_next_of_its_name(two: Bank) -> None:
    two.desk.api_keys.create("crm", [Scope.CUSTOMERS_WRITE], STAFF)
    first = ask(two)
    two.desk.approvals.decide(first.key, DECIDE, approve=True)
    two.desk.api_keys.revoke("crm", STAFF)
    two.desk.api_keys.create("crm", [Scope.CUSTOMERS_WRITE], STAFF)
    assert ask(two).state == "asked"
    assert two.audit(event="api-key.revoked")[-1].reason == "crm: 1 requests withdrawn, ticket 7"


# Single sign-on


def answer(subject: str = "sub-1", asked_at: int = 10, *, fresh: bool = True, role: Role | None = None) -> SignOnAnswer:
    return SignOnAnswer("https://id.example", subject, asked_at, fresh, f"{subject}@bank.example", role)


def why(act: Callable[[], object]) -> str:
    return str(refused(act))


def linked(bank: Bank, name: str = "sato", role: Role = Role.SUPERVISOR) -> StaffRecord:
    record = somebody(bank, name, role)
    bank.desk.sign_on.link(record, answer(), acting(name, role))
    return record


def begun(bank: Bank, record: StaffRecord, by: SignOnAnswer, id_: bytes = b"i" * 32) -> StaffSession | None:
    bank.desk.staff_sessions.begin(id_, record, HERE, LIMITS, by)
    return bank.desk.staff_sessions.find(id_, LIMITS)


def test_an_identity_is_one_persons_and_each_links_their_own(bank: Bank) -> None:
    record, other = linked(bank), somebody(bank, "ito")
    assert "linked to sato" in why(lambda: bank.desk.sign_on.link(other, answer(), acting("ito", Role.OPERATOR)))
    assert refused(lambda: bank.desk.sign_on.link(other, answer("sub-2"), acting("sato", Role.ADMINISTRATOR)))
    assert refused(lambda: bank.desk.sign_on.link(other, answer("sub-2", fresh=False), acting("ito", Role.OPERATOR)))
    found = bank.desk.sign_on.staff_of(answer())
    assert found is not None and found.name == record.name
    assert bank.desk.sign_on.staff_of(answer("sub-2")) is None
    elsewhere = SignOnAnswer("https://id.example/", "sub-1", 10, True)
    assert bank.desk.sign_on.staff_of(elsewhere) is None, "the same name at another provider is another person"


@pytest.mark.parametrize("own", Role)
@pytest.mark.parametrize("given", [*Role, None])
def test_a_session_by_single_sign_on_has_the_least_of_both_roles(bank: Bank, own: Role, given: Role | None) -> None:
    session = begun(bank, linked(bank, role=own), answer(asked_at=11, role=given))
    order = list(Role)
    assert session is not None
    assert order.index(Role(session.staff.role)) == min(order.index(own), order.index(given or own))


def test_an_answer_is_used_once_and_an_earlier_one_never_after_it(bank: Bank) -> None:
    record = linked(bank)
    assert begun(bank, record, answer(asked_at=20))
    for late in (20, 19, 10):
        again = partial(begun, bank, record, answer(asked_at=late), b"x" * 32)
        assert "was used before" in why(again)
    assert "not linked to them" in why(lambda: begun(bank, record, answer("sub-2", 30), b"x" * 32))


def test_a_sign_in_of_earlier_at_the_provider_confirms_nothing(bank: Bank) -> None:
    record = linked(bank)
    found = begun(bank, record, answer(asked_at=20, fresh=False))
    assert found is not None and found.confirmed_at == 0
    first, service = found, bank.desk.staff_sessions
    assert "for this request" in why(lambda: service.confirm(first, HERE, answer(asked_at=21, fresh=False)))
    service.confirm(first, HERE, answer(asked_at=22, role=Role.AUDITOR))
    session = service.find(b"i" * 32, LIMITS)
    assert session is not None and session.confirmed_at > 0 and session.staff.role == "auditor"
    service.confirm(session, HERE, answer(asked_at=23, role=Role.ADMINISTRATOR))
    session = service.find(b"i" * 32, LIMITS)
    assert session is not None and session.staff.role == "auditor", "never widened"
    narrowed = session.staff
    assert "auditor only" in why(lambda: bank.desk.staff.add_passkey(narrowed, KEY, HERE))


def test_unlinked_disabled_and_reset_let_nobody_in(bank: Bank) -> None:
    record = linked(bank)
    bank.desk.staff.disable("sato", STAFF)
    assert bank.desk.sign_on.staff_of(answer()) is None
    assert refused(lambda: begun(bank, record, answer(asked_at=20)))
    bank.desk.staff.reset("sato", STAFF)
    assert bank.desk.sign_on.of(record) is None, "a reset begins anew"
    bank.desk.sign_on.link(record, answer(), acting("sato", Role.SUPERVISOR))
    assert begun(bank, record, answer(asked_at=20))
    assert refused(lambda: bank.desk.sign_on.unlink("sato", acting("ito", Role.SUPERVISOR)))
    bank.desk.sign_on.unlink("sato", STAFF)
    assert bank.desk.staff_sessions.find(b"i" * 32, LIMITS) is None
    assert refused(lambda: bank.desk.sign_on.unlink("sato", STAFF))
