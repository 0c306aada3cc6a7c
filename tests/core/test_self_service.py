"""What only the customers' own pages ask of the desk: sessions and their end, the proof, reserved tokens, terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyotp
import pytest

from otp_core.accounts import Desk, Principal, PrincipalKind, Refusal, Refused, Session, SessionLimits
from otp_core.accounts.sessions import MOST_OF_ONE_CUSTOMER
from otp_core.model import OtpUse
from otp_core.sealing import KeyProblem
from otp_core.store.schema import session
from otp_core.store.sessions import session_lines
from tests.core.bank import STAFF, Bank

BOUNDS = SessionLimits(idle=600, longest=1800, most=4)
WEB = Principal("web", PrincipalKind.CUSTOMER, "192.0.2.9", customer="taro")
NOBODY = Principal("web", PrincipalKind.ANONYMOUS, "192.0.2.9")
STAGE = "/a-stage-that-no-random-octets-are"
ID = b"i" * 32


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def begun(bank: Bank, contract_id: str = "taro", id_: bytes = ID) -> Session:
    return bank.desk.sessions.begin(id_, contract_id, {"stage": STAGE}, BOUNDS, replace(WEB, customer=contract_id))


def test_a_session_is_found_by_its_id_and_by_nothing_that_the_store_holds(bank: Bank) -> None:
    bank.customer()
    begun(bank)
    found = bank.desk.sessions.find(ID, BOUNDS)
    assert found is not None and found.customer == "taro" and found.data == {"stage": STAGE}
    assert bank.desk.sessions.find(b"j" * 32, BOUNDS) is None
    assert bank.desk.sessions.find(found.digest, BOUNDS) is None
    content = b"".join(file.read_bytes() for file in bank.folder.glob("bank.db*"))
    assert ID not in content and STAGE.encode() not in content
    assert ID.hex() not in repr(found) and STAGE not in repr(found)


def test_a_session_ends_when_nobody_clicks_and_at_the_latest_in_any_request(bank: Bank) -> None:
    bank.customer()
    session = begun(bank)
    for _ in range(3):
        bank.clock.now += 590
        assert bank.desk.sessions.find(ID, BOUNDS) is not None
        bank.desk.sessions.update(session, lambda data: data)
    bank.clock.now += 40
    assert bank.desk.sessions.find(ID, BOUNDS) is None  # half an hour in all
    begun(bank, id_=b"k" * 32)
    bank.clock.now += 601
    assert bank.desk.sessions.find(b"k" * 32, BOUNDS) is None


def test_what_a_session_remembers_opens_for_no_other_session(bank: Bank) -> None:
    bank.customer()
    begun(bank)
    begun(bank, id_=b"k" * 32)
    with bank.store.engine.begin() as connection:
        rows = connection.execute(session.select().order_by(session.c.key)).all()
        connection.execute(session.update().where(session.c.key == rows[1].key).values(data=rows[0].data))
    with pytest.raises(KeyProblem):
        bank.desk.sessions.find(b"k" * 32, BOUNDS)


def test_there_are_no_more_sessions_than_there_may_be_and_those_that_ended_do_not_count(bank: Bank) -> None:
    for name in ("taro", "hanako", "jiro", "saburo", "shiro"):
        bank.customer(name, None)
    for number, name in enumerate(("taro", "hanako", "jiro", "saburo")):
        begun(bank, name, bytes([number]) * 32)
    before = bank.rows()
    with pytest.raises(Refused) as caught:
        begun(bank, "shiro")
    assert caught.value.refusal is Refusal.TOO_MANY and bank.rows() == before
    bank.clock.now += 601  # nobody has swept
    begun(bank, "shiro")
    with bank.store.read() as connection:
        assert [line.contract_id for line in session_lines(connection)] == ["shiro"]


def test_one_customer_takes_no_places_from_the_others(bank: Bank) -> None:
    bank.customer("taro", None)
    bank.customer("hanako", None)
    limits, many = replace(BOUNDS, most=7), [bytes([number]) * 32 for number in range(20)]
    first = bank.desk.sessions.begin(b"f" * 32, "taro", {}, limits, WEB)
    issued = bank.desk.enrolment.issue_for("taro", first, "Bank", WEB)
    theirs = bank.desk.sessions.begin(ID, "hanako", {}, limits, replace(WEB, customer="hanako"))
    for id_ in many:
        bank.desk.sessions.begin(id_, "taro", {}, limits, WEB)
    found = [id_ for id_ in many if bank.desk.sessions.find(id_, limits)]
    assert found == many[-MOST_OF_ONE_CUSTOMER:] and bank.desk.sessions.find(b"f" * 32, limits) is None
    assert bank.desk.sessions.find(ID, limits) == theirs
    assert bank.token_line(issued.token_id).state == "retired", "it was for the session that ended"
    rows = bank.audit(event="session.ended")
    assert len(rows) == 21 - MOST_OF_ONE_CUSTOMER and {row.customer for row in rows} == {"taro"}


def test_a_session_of_nobody_that_an_older_version_began_is_none(bank: Bank) -> None:
    bank.customer()
    begun(bank)
    with bank.store.engine.begin() as connection:
        connection.execute(session.update().values(customer_key=None))
    assert bank.desk.sessions.find(ID, BOUNDS) is None


def test_the_old_code_is_spent_at_once_and_proves_for_a_while(bank: Bank) -> None:
    old, new = bank.customer(), bank.token("VSMT00000002")
    session = begun(bank)
    bank.desk.devices.give_old_code("taro", old.code(), session, 300, WEB)
    with pytest.raises(Refused) as caught:
        bank.desk.enrolment.suspend("taro", old.code(), WEB)
    assert caught.value.refusal is Refusal.REUSED_CODE
    bank.clock.now += 301
    before = bank.rows()
    with pytest.raises(Refused) as caught:
        bank.desk.devices.change_by_proof("taro", session, new.token_id, new.code(), WEB)
    assert caught.value.refusal is Refusal.NOT_NOW and bank.rows() == before
    bank.desk.devices.give_old_code("taro", old.code(), session, 300, WEB)
    bank.desk.devices.change_by_proof("taro", session, new.token_id, new.code(), WEB)
    assert bank.login_record().token_id == new.token_id
    assert bank.token_line(old.token_id).state == "retired"


def test_a_proof_changes_one_device_only(bank: Bank) -> None:
    old, new, third = bank.customer(), bank.token("VSMT00000002"), bank.token("VSMT00000003")
    session = begun(bank)
    bank.desk.devices.give_old_code("taro", old.code(), session, 300, WEB)
    bank.desk.devices.change_by_proof("taro", session, new.token_id, new.code(), WEB)
    with pytest.raises(Refused):
        bank.desk.devices.change_by_proof("taro", session, third.token_id, third.code(), WEB)
    assert bank.login_record().token_id == new.token_id


def test_a_proof_is_worth_nothing_for_another_token_or_in_another_session(bank: Bank) -> None:
    old, new, third = bank.customer(), bank.token("VSMT00000002"), bank.token("VSMT00000003")
    first, second = begun(bank), begun(bank, id_=b"k" * 32)
    bank.desk.devices.give_old_code("taro", old.code(), first, 900, WEB)
    with pytest.raises(Refused):
        bank.desk.devices.change_by_proof("taro", second, new.token_id, new.code(), WEB)
    bank.desk.devices.change("taro", old.code(1), third.token_id, third.code(), STAFF)
    with pytest.raises(Refused):
        bank.desk.devices.change_by_proof("taro", first, new.token_id, new.code(), WEB)
    assert bank.login_record().token_id == third.token_id


def test_a_wrong_new_code_leaves_the_proof_and_the_old_token_as_they_were(bank: Bank) -> None:
    old, new = bank.customer(), bank.token("VSMT00000002")
    session = begun(bank)
    bank.desk.devices.give_old_code("taro", old.code(), session, 300, WEB)
    with pytest.raises(Refused):
        bank.desk.devices.change_by_proof("taro", session, new.token_id, old.code(), WEB)
    assert bank.login_record().failures == 1 and bank.login_record().token_id == old.token_id
    bank.desk.devices.change_by_proof("taro", session, new.token_id, new.code(), WEB)


def test_an_issued_token_waits_for_its_customer_and_is_retired_with_the_session(bank: Bank) -> None:
    bank.customer("taro", None)
    bank.customer("hanako", None)
    session = begun(bank)
    issued = bank.desk.enrolment.issue_for("taro", session, "Bank", WEB)
    code = pyotp.TOTP(issued.secret).at(bank.clock.now)
    with pytest.raises(Refused) as caught:
        bank.desk.enrolment.enrol("hanako", issued.token_id, code, replace(WEB, customer="hanako"))
    assert caught.value.refusal is Refusal.TOKEN_OR_CODE
    bank.clock.now += 700
    bank.desk.sessions.expire(BOUNDS)
    assert bank.token_line(issued.token_id).state == "retired"
    assert bank.desk.sessions.expire(BOUNDS) == 0


def test_an_issued_token_that_was_confirmed_stays_when_the_session_ends(bank: Bank) -> None:
    bank.customer("taro", None)
    session = begun(bank)
    issued = bank.desk.enrolment.issue_for("taro", session, "Bank", WEB)
    bank.desk.enrolment.enrol("taro", issued.token_id, pyotp.TOTP(issued.secret).at(bank.clock.now), WEB)
    assert bank.desk.sessions.end(session, WEB) == 1
    assert bank.token_line(issued.token_id).state == "bound"


def test_a_permit_is_looked_at_without_being_used_up_and_wrong_ones_count(bank: Bank) -> None:
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token("VSMT00000002")
    with pytest.raises(Refused) as caught:
        bank.desk.enrolment.check_permit("taro", "AAAA-AAAA-AAAA", WEB)
    assert caught.value.refusal is Refusal.WRONG_PERMIT and bank.login_record().failures == 1
    for _ in range(2):
        bank.desk.enrolment.check_permit("taro", bank.permit, WEB)
    bank.desk.enrolment.change_by_permit("taro", bank.permit, new.token_id, new.code(), WEB)
    with pytest.raises(Refused):
        bank.desk.enrolment.check_permit("taro", bank.permit, WEB)


def test_terms_are_accepted_once_a_version(bank: Bank) -> None:
    bank.customer()
    for version in ("1", "1", "2"):
        bank.desk.customers.accept_terms("taro", version, WEB)
    assert [bank.desk.customers.has_accepted_terms(bank.login_record(), one) for one in ("1", "2", "3")] == [
        True,
        True,
        False,
    ]


def test_sessions_are_listed_and_revoked(bank: Bank) -> None:
    bank.customer()
    bank.customer("hanako", None)
    begun(bank)
    begun(bank, "hanako", b"k" * 32)
    with bank.store.read() as connection:
        lines = session_lines(connection)
        assert [line.contract_id for line in lines] == ["taro", "hanako"]
        assert [line.key for line in session_lines(connection, after=lines[0].key)] == [lines[1].key]
        assert len(session_lines(connection, contract_id="taro")) == 1
    assert bank.desk.sessions.end_of("taro", STAFF) == 1
    assert bank.desk.sessions.find(ID, BOUNDS) is None
    assert bank.audit(event="session.ended")[-1].customer == "taro"


@pytest.mark.parametrize("act", [lambda desk: desk.customers.lock, lambda desk: desk.enrolment.report_lost])
def test_what_shuts_a_customer_out_ends_their_sessions_and_nobody_elses(
    bank: Bank, act: Callable[[Desk], Callable[[str, Principal], object]]
) -> None:
    bank.customer()
    bank.customer("hanako", None)
    session = begun(bank)
    begun(bank, "hanako", b"h" * 32)
    issued = bank.desk.enrolment.issue_for("taro", session, "Bank", WEB)
    act(bank.desk)("taro", STAFF)
    assert bank.desk.sessions.find(ID, BOUNDS) is None
    assert bank.desk.sessions.find(b"h" * 32, BOUNDS) is not None
    assert bank.token_line(issued.token_id).state == "retired", "it was for the session that ended"
    (row,) = bank.audit(event="session.ended")
    assert (row.actor, row.customer) == (STAFF.name, "taro")


def test_a_changed_device_ends_every_session_but_the_one_that_changed_it(bank: Bank) -> None:
    old, new, third = bank.customer(), bank.token("VSMT00000002"), bank.token("VSMT00000003")
    session, others = begun(bank), (b"k" * 32, b"l" * 32)
    for other in others:
        begun(bank, id_=other)
    bank.desk.devices.give_old_code("taro", old.code(), session, 300, WEB)
    bank.desk.devices.change_by_proof("taro", session, new.token_id, new.code(), WEB)
    assert bank.desk.sessions.find(ID, BOUNDS) is not None
    assert [bank.desk.sessions.find(other, BOUNDS) for other in others] == [None, None]
    bank.desk.devices.change("taro", new.code(1), third.token_id, third.code(), STAFF)
    assert bank.desk.sessions.find(ID, BOUNDS) is None, "it was changed at the counter"


def test_a_device_changed_by_permit_ends_every_session_but_its_own(bank: Bank) -> None:
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new, session = bank.token("VSMT00000002"), begun(bank)
    begun(bank, id_=b"k" * 32)
    bank.desk.enrolment.change_by_permit("taro", bank.permit, new.token_id, new.code(), WEB, session=session.key)
    assert bank.desk.sessions.find(ID, BOUNDS) is not None
    assert bank.desk.sessions.find(b"k" * 32, BOUNDS) is None


def test_only_a_known_contract_id_is_written_down_when_a_password_was_wrong(bank: Bank) -> None:
    bank.customer()
    bank.desk.sessions.audit_failed_sign_in("taro", "wrong", NOBODY)
    bank.desk.sessions.audit_failed_sign_in("my-password", "wrong", NOBODY)
    fingerprint = bank.store.sealer.name_fingerprint("my-password")
    assert [row.customer for row in bank.audit(event="pages.refused")] == ["taro", fingerprint]
    assert "my-password" not in str(bank.audit())


def test_no_session_ends_because_of_its_age_before_the_clock_has_settled(bank: Bank) -> None:
    bank.customer()
    begun(bank)
    desk = Desk(bank.store, bank.evaluator, bank.guarded.now, settled=lambda: False)
    bank.clock.now += 7 * 86_400
    assert desk.sessions.expire(BOUNDS) == 0
    assert bank.desk.sessions.expire(BOUNDS) == 1
