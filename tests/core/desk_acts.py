"""Every act of the desk, ready to be carried out: for tests that must hold for each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from otp_core.accounts import Act, Desk, Principal, PrincipalKind, Quota, Session, SessionLimits
from otp_core.model import OtpUse, Role, Scope, TokenSpec
from otp_core.store.staff import StaffRecord
from otp_core.store.unit_of_work import Details, NewCustomer
from tests.core.bank import STAFF, Bank, Holder, rules

NEW, OTHER = "VSMT00000099", "VSMT00000098"
LIMITS = SessionLimits(idle=600, longest=1800, most=1000)
TARO = Principal("web", PrincipalKind.CUSTOMER, "192.0.2.9", customer="taro")
NOBODY = Principal("web", PrincipalKind.ANONYMOUS, "192.0.2.9")
SWEEP = Principal("sekisho", PrincipalKind.SYSTEM)
DAY = 24 * 3600.0

WITHOUT_PRINCIPAL = frozenset({Act.RENEW_PASSWORD_HASH, Act.EXPIRE_SESSIONS})
"""Sekisho's own acts: nobody else can ask for them."""

_USE = {
    Act.ENROL: OtpUse.NONE,
    Act.RESUME: OtpUse.SUSPENDED,
    Act.CHECK_PERMIT: OtpUse.REISSUE_PERMITTED,
    Act.CHANGE_BY_PERMIT: OtpUse.REISSUE_PERMITTED,
    Act.PERMIT_REISSUE: OtpUse.LOST,
}


@dataclass
class Scene:
    """A bank in which an act succeeds: customer taro, a token in their hand, a new token, their session."""

    bank: Bank
    taro: Holder
    new: Holder
    session: Session
    request: int = 0


def scene(folder: Path, act: Act) -> Scene:
    """What has to be there before ``act`` on taro."""
    folder.mkdir(exist_ok=True)
    bank = Bank(folder, rules(lock_after=100, tokens_per_customer=2))
    use = _USE.get(act, OtpUse.ACTIVE)
    taro = bank.customer(password_hash="old") if use is OtpUse.ACTIVE else bank.in_state(use)
    new, sessions, devices = bank.token(NEW), bank.desk.sessions, bank.desk.devices
    session = sessions.begin(b"t" * 32, "taro", {}, LIMITS, TARO)
    for role in Role:
        bank.desk.staff.add(f"{role}-1", role, STAFF)
    if act is Act.UNLOCK:
        bank.desk.customers.lock("taro", STAFF)
    if act in (Act.REMOVE_TOKEN, Act.REMOVE_TOKEN_WITHOUT_CODE):
        bank.another_token(OTHER)
    if act in (Act.CHANGE_BY_PROOF, Act.ADD_BY_PROOF):
        devices.give_old_code("taro", taro.code(), session, 300, TARO)
    if act is Act.EXPIRE_SESSIONS:
        bank.clock.now += 700
    if act is Act.RETIRE_UNCLAIMED:
        bank.desk.issuance.issue_unclaimed(NOBODY, Quota(10, 10))
        bank.clock.now += 15 * DAY
    request = _request(bank) if act in (Act.ASK_APPROVAL, Act.APPROVE) else 0
    return Scene(bank, taro, new, session, request)


def _request(bank: Bank) -> int:
    """A request of somebody else's, about another customer."""
    bank.desk.staff.add("asker", Role.OPERATOR, STAFF)
    bank.customer("jiro", None)
    return bank.desk.approvals.ask(
        "permit-reissue", "jiro", Principal("asker", PrincipalKind.STAFF, role=Role.OPERATOR)
    )


Call = Callable[[Desk, Scene, Principal], object]


def _oneself(desk: Desk, who: Principal) -> StaffRecord:
    """A record under the name of who acts."""
    return StaffRecord(1, who.name, who.role, None, None, has_link=False, link_until=0)


CALLS: dict[Act, Call] = {
    Act.ADD_CUSTOMER: lambda desk, at, who: desk.customers.add("hanako", who),
    Act.IMPORT_CUSTOMERS: lambda desk, at, who: desk.customers.import_rows([NewCustomer("hanako", None)], [None], who),
    Act.RENAME_CUSTOMER: lambda desk, at, who: desk.contract_ids.rename("taro", "hanako", who),
    Act.EDIT_CUSTOMER: lambda desk, at, who: desk.customers.edit(
        "taro", Details(None, None, None, None, None), Details("太郎", None, None, None, None), who
    ),
    Act.LOCK: lambda desk, at, who: desk.customers.lock("taro", who),
    Act.UNLOCK: lambda desk, at, who: desk.customers.unlock("taro", who),
    Act.RENEW_PASSWORD_HASH: lambda desk, at, who: desk.customers.renew_password_hash("taro", "old", "new"),
    Act.ACCEPT_TERMS: lambda desk, at, who: desk.customers.accept_terms("taro", "1", who),
    Act.IMPORT_TOKENS: lambda desk, at, who: desk.tokens.import_rows([("VSMT00000042", b"seed" * 5, TokenSpec())], who),
    Act.ISSUE_TOKEN: lambda desk, at, who: desk.tokens.issue(who),
    Act.RETIRE_TOKEN: lambda desk, at, who: desk.tokens.retire(NEW, who),
    Act.RETIRE_TOKENS: lambda desk, at, who: desk.tokens.retire_available([NEW], who),
    Act.FIND_TOKEN: lambda desk, at, who: desk.token_search.find(
        (at.new.code(), at.new.code(1)), "", lambda: True, who
    ),
    Act.ENROL: lambda desk, at, who: desk.enrolment.enrol("taro", NEW, at.new.code(), who),
    Act.SUSPEND: lambda desk, at, who: desk.enrolment.suspend("taro", at.taro.code(), who),
    Act.SUSPEND_WITHOUT_CODE: lambda desk, at, who: desk.enrolment.suspend("taro", None, who),
    Act.RESUME: lambda desk, at, who: desk.enrolment.resume("taro", who),
    Act.CHANGE_DEVICE: lambda desk, at, who: desk.devices.change("taro", at.taro.code(), NEW, at.new.code(), who),
    Act.GIVE_OLD_CODE: lambda desk, at, who: desk.devices.give_old_code("taro", at.taro.code(), at.session, 300, who),
    Act.CHANGE_BY_PROOF: lambda desk, at, who: desk.devices.change_by_proof(
        "taro", at.session, NEW, at.new.code(), who
    ),
    Act.ADD_TOKEN: lambda desk, at, who: desk.devices.add("taro", at.taro.code(), NEW, at.new.code(), who),
    Act.ADD_BY_PROOF: lambda desk, at, who: desk.devices.add_by_proof("taro", at.session, NEW, at.new.code(), who),
    Act.REMOVE_TOKEN: lambda desk, at, who: desk.devices.remove("taro", at.taro.code(), OTHER, who),
    Act.REMOVE_TOKEN_WITHOUT_CODE: lambda desk, at, who: desk.devices.remove("taro", None, OTHER, who),
    Act.NAME_TOKEN: lambda desk, at, who: desk.devices.rename("taro", at.taro.token_id, "my phone", who),
    Act.CHECK_PERMIT: lambda desk, at, who: desk.enrolment.check_permit("taro", at.bank.permit, who),
    Act.CHANGE_BY_PERMIT: lambda desk, at, who: desk.enrolment.change_by_permit(
        "taro", at.bank.permit, NEW, at.new.code(), who
    ),
    Act.REPORT_LOST: lambda desk, at, who: desk.enrolment.report_lost("taro", who),
    Act.PERMIT_REISSUE: lambda desk, at, who: desk.enrolment.permit_reissue("taro", who),
    Act.RESYNCHRONISE: lambda desk, at, who: desk.enrolment.resynchronise(
        "taro", at.taro.code(50), at.taro.code(51), who
    ),
    Act.RESYNCHRONISE_TOKEN: lambda desk, at, who: desk.enrolment.resynchronise_free(
        NEW, at.new.code(50), at.new.code(51), who
    ),
    Act.ASK_CHANGE: lambda desk, at, who: desk.leaving.ask("local", who, again_after=timedelta(days=1), limit=10),
    Act.ISSUE_FOR_CUSTOMER: lambda desk, at, who: desk.enrolment.issue_for("taro", at.session, "Bank", who),
    Act.BEGIN_SESSION: lambda desk, at, who: desk.sessions.begin(b"n" * 32, "taro", {}, LIMITS, who),
    Act.END_SESSION: lambda desk, at, who: desk.sessions.end(at.session, who),
    Act.END_SESSIONS_OF: lambda desk, at, who: desk.sessions.end_of("taro", who),
    Act.EXPIRE_SESSIONS: lambda desk, at, who: desk.sessions.expire(LIMITS),
    Act.RECORD_FAILED_SIGN_IN: lambda desk, at, who: desk.sessions.audit_failed_sign_in("taro", "wrong", who),
    Act.ISSUE_UNCLAIMED: lambda desk, at, who: desk.issuance.issue_unclaimed(who, Quota(10, 10)),
    Act.RETIRE_UNCLAIMED: lambda desk, at, who: desk.issuance.retire_unclaimed(14, who),
    Act.MANAGE_STAFF: lambda desk, at, who: desk.staff.add("yamada", Role.OPERATOR, who),
    Act.MANAGE_API_KEYS: lambda desk, at, who: desk.api_keys.create("vpn", [Scope.CHECK_CODE], who),
    Act.ASK_APPROVAL: lambda desk, at, who: desk.approvals.ask("permit-reissue", "taro", who),
    Act.APPROVE: lambda desk, at, who: desk.approvals.decide(at.request, who, approve=True),
    Act.USE_CONSOLE: lambda desk, at, who: desk.staff_sessions.end(_oneself(desk, who), 1, who),
}
