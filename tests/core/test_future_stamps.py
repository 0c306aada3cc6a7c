"""A clock that stood in the future, and is right again: nobody stays refused, and no code is accepted twice."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from otp_core.accounts import (
    NewPasskey,
    PasskeyAnswer,
    Principal,
    PrincipalKind,
    Refusal,
    SessionLimits,
    SignOnAnswer,
    StaffSessionLimits,
    staff_principal,
)
from otp_core.accounts.approvals import APPROVAL_HOURS
from otp_core.accounts.file_imports import FileChoices
from otp_core.accounts.staff import LINK_SECONDS
from otp_core.audit import ms_of
from otp_core.clock import GuardedClock
from otp_core.imports.importers import ImportRules
from otp_core.imports.task import CLAIM_SECONDS, ImportTask
from otp_core.login.policy import Delays
from otp_core.login.table import Finding
from otp_core.model import NEVER, Accept, Kind, OtpUse, Role, TokenSpec, TokenState
from otp_core.otp import code_at
from otp_core.store.file_imports import claim
from otp_core.store.future_stamps import (
    LONGEST_APPROVAL_MS,
    LONGEST_FILE_CLAIM_MS,
    LONGEST_LINK_MS,
    Repaired,
    refused_by_stamps,
)
from otp_core.store.schema import (
    approval,
    challenge,
    file_import,
    outbox,
    permit,
    reservation,
    session,
    staff,
    token,
    verifier_task,
)
from otp_core.timekeeper import trust_present_time
from tests.core.at_the_desk import login, reason, refused, wrong
from tests.core.bank import STAFF, Bank, Holder, rules

HOUR = 3600.0
AHEAD = 9 * HOUR
LIMITS = SessionLimits(600, 1800, 1000)
STAFF_LIMITS = StaffSessionLimits(600, 36_000)
WEB = Principal("web", PrincipalKind.CUSTOMER, "192.0.2.9", customer="taro")


def bank_with(folder: Path, **changes: object) -> Bank:
    return Bank(folder, rules=rules(**changes))


def go_back(bank: Bank, seconds: float = AHEAD) -> None:
    """An hour later the clock is right again, and a server starts."""
    bank.clock.now += HOUR - seconds
    bank.guarded = GuardedClock(bank.clock)
    bank.store.ids.follow(bank.clock)
    bank.evaluator, bank.desk = bank.open_desk(bank.store)


def trust(bank: Bank) -> list[Repaired]:
    return trust_present_time(bank.store, bank.guarded, bank.rules, actor="operator", reason="--trust-clock")


def test_who_logged_in_ahead_logs_in_with_the_code_that_is_shown_now(tmp_path: Path) -> None:
    bank = bank_with(tmp_path)
    taro, hana = bank.customer(), bank.customer("hana", "VSMT00000002")
    bank.clock.now += AHEAD
    assert login(bank, taro) == Accept()
    go_back(bank)
    assert reason(login(bank, taro)) == Finding.REUSED, "as it was without the repair"
    (repaired,) = trust(bank)
    assert repaired[:2] == ("taro", "VSMT00000001") and "8.0 h ahead" in repaired.what
    assert login(bank, taro) == Accept()
    assert login(bank, hana) == Accept()
    (row,) = bank.audit(event="clock.repaired")
    assert (row.actor, row.customer, row.token, row.reason) == ("operator", "taro", "VSMT00000001", repaired.what)
    assert ms_of(row.id) == bank.clock.now * 1000
    bank.clock.now += 1  # ids of one moment differ by what was drawn, one in a thousand times not
    assert trust(bank) == [], "there is nothing left to do"


def test_no_code_that_was_accepted_is_accepted_again_when_its_time_comes(tmp_path: Path) -> None:
    bank = bank_with(tmp_path)
    taro = bank.customer()
    bank.clock.now += AHEAD
    spent = []
    for _ in range(3):
        spent.append((bank.clock.now, taro.code()))
        assert login(bank, taro) == Accept()
        bank.clock.now += 1200
    go_back(bank, AHEAD + HOUR)
    trust(bank)
    assert login(bank, taro) == Accept()
    for at, code in spent:
        bank.clock.now = at - 600
        assert login(bank, taro) == Accept(), "between them everything is as ever"
        bank.clock.now = at
        assert reason(login(bank, taro, code)) == Finding.REUSED
        bank.clock.now = at + 150
        assert login(bank, taro) == Accept()


def test_a_code_that_removed_a_shared_token_is_not_good_for_its_other_holder(tmp_path: Path) -> None:
    bank = bank_with(tmp_path, one_customer_per_token=False)
    taro, hana = bank.customer(), bank.customer("hana")
    bank.another_token("VSMT00000002")
    bank.clock.now += AHEAD
    at, code = bank.clock.now, taro.code()
    bank.desk.devices.remove("taro", code, taro.token_id, WEB)
    bank.clock.now += 1200
    assert login(bank, hana) == Accept()
    go_back(bank, AHEAD + HOUR)
    trust(bank)
    bank.clock.now = at
    assert reason(login(bank, hana, code)) == Finding.REUSED


def test_a_code_of_a_moment_ago_is_not_good_again(tmp_path: Path) -> None:
    bank = bank_with(tmp_path)
    taro = bank.customer()
    code = taro.code()
    assert login(bank, taro, code) == Accept()
    bank.clock.now += AHEAD + 5
    assert login(bank, taro) == Accept()
    go_back(bank, AHEAD + HOUR)
    trust(bank)
    assert reason(login(bank, taro, code)) == Finding.REUSED
    for _ in range(4):
        bank.clock.now += 30
        if login(bank, taro) == Accept():
            return
    raise AssertionError("not within two minutes")


@pytest.mark.parametrize("by_code", [False, True])
def test_an_import_took_no_code_and_an_enrolment_did(tmp_path: Path, by_code: bool) -> None:
    bank = bank_with(tmp_path)
    if by_code:
        bank.desk.customers.add("taro", STAFF)
        taro = bank.token()
        taro.contract_id = "taro"
        bank.desk.enrolment.enrol("taro", taro.token_id, taro.code(), STAFF)
    else:
        taro = bank.customer()
    bank.clock.now += AHEAD + 5
    assert login(bank, taro) == Accept()
    go_back(bank, AHEAD + HOUR)
    trust(bank)
    if by_code:
        assert reason(login(bank, taro)) == Finding.REUSED
    else:
        assert login(bank, taro) == Accept()


def test_a_wrong_code_of_the_future_counts_and_delays_nobody(tmp_path: Path) -> None:
    bank = bank_with(tmp_path, code_delays=Delays(free=0))
    taro = bank.customer()
    bank.clock.now += AHEAD
    reason(login(bank, taro, wrong(taro)))
    go_back(bank)
    assert bank.login_record().failures == 1
    assert login(bank, taro) == Accept(), "even before anybody repaired anything"


def test_failures_and_locks_of_the_future_are_taken_back_to_now(tmp_path: Path) -> None:
    bank = bank_with(tmp_path, lock_after=2)
    taro, hana = bank.customer(), bank.customer("hana", "VSMT00000002")
    bank.clock.now += AHEAD
    for _ in range(2):
        login(bank, taro, wrong(taro, hana))
    login(bank, hana, wrong(taro, hana))
    go_back(bank)
    assert {one.contract_id for one in trust(bank)} == {"taro", "hana"}
    record = bank.login_record("taro")
    assert (record.locked_at, record.failures) == (int(bank.clock.now * 1000), 2), "a lock stays a lock"
    assert (bank.login_record("hana").failed_at, bank.login_record("hana").failures) == (0, 1)


def test_a_request_of_the_future_is_not_recognised_for_hours(tmp_path: Path) -> None:
    """A gateway's repeated login would let the same code in again and again."""
    bank = bank_with(tmp_path)
    taro = bank.customer()
    bank.clock.now += AHEAD
    code = taro.code()
    assert login(bank, taro, code, fingerprint=7) == Accept()
    go_back(bank)
    assert reason(login(bank, taro, code, fingerprint=7)) == Finding.WRONG
    trust(bank)
    assert bank.own_token().last_fingerprint == 0
    assert reason(login(bank, taro, code, fingerprint=7)) == Finding.REPEATED_FAILURE


def test_what_staff_has_repairs_one_customer(tmp_path: Path) -> None:
    """Without the operator: the clock is believed, because it was trusted before the upgrade."""
    bank = bank_with(tmp_path)
    taro, hana = bank.customer(), bank.customer("hana", "VSMT00000002")
    bank.clock.now += AHEAD
    for one in (taro, hana):
        assert login(bank, one) == Accept()
    go_back(bank)
    with bank.store.read() as connection:
        assert refused_by_stamps(connection, bank.guarded.now(), bank.rules) == ["hana", "taro"]
    bank.desk.customers.unlock("taro", STAFF)
    assert login(bank, taro) == Accept()
    bank.desk.enrolment.resynchronise("hana", hana.code(), hana.code(1), STAFF)
    bank.clock.now += 60
    assert login(bank, hana) == Accept()
    assert [row.customer for row in bank.audit(event="clock.repaired")] == ["taro", "hana"]
    with bank.store.read() as connection:
        assert refused_by_stamps(connection, bank.guarded.now(), bank.rules) == []
    assert refused(lambda: bank.desk.customers.unlock("taro", STAFF)).refusal is Refusal.NOT_NOW


def test_unlock_forgives_wrong_codes_that_only_delay(tmp_path: Path) -> None:
    bank = bank_with(tmp_path, code_delays=Delays(free=0))
    taro = bank.customer()
    login(bank, taro, wrong(taro))
    assert reason(login(bank, taro)) == Finding.TOO_SOON
    bank.desk.customers.unlock("taro", STAFF)
    assert login(bank, taro) == Accept()


def test_a_token_that_several_share_is_repaired_once_and_everybody_is_named(tmp_path: Path) -> None:
    bank = bank_with(tmp_path, one_customer_per_token=False)
    taro, hana = bank.customer(), bank.customer("hana")
    bank.clock.now += AHEAD
    assert login(bank, taro) == Accept()
    go_back(bank)
    assert sorted(one.contract_id or "" for one in trust(bank)) == ["hana", "taro"]
    assert login(bank, hana) == Accept()
    assert reason(login(bank, taro)) == Finding.REUSED


def test_counters_and_right_tokens_are_left_alone(tmp_path: Path) -> None:
    bank = bank_with(tmp_path)
    counter = bank.customer("jiro", "VSMT00000003", spec=TokenSpec(Kind.HOTP))
    slow = bank.customer("hana", "VSMT00000002", spec=TokenSpec(period=60))
    assert login(bank, slow) == Accept()
    bank.clock.now += AHEAD
    assert login(bank, counter, counter.code(5)) == Accept()
    steps = [bank.token_line(one.token_id).last_step for one in (counter, slow)]
    go_back(bank)
    assert trust(bank) == []
    assert [bank.token_line(one.token_id).last_step for one in (counter, slow)] == steps


@pytest.mark.parametrize("state", [TokenState.RETIRED, TokenState.LOST])
def test_a_token_that_is_never_accepted_again_stays_as_it_is(tmp_path: Path, state: TokenState) -> None:
    bank = bank_with(tmp_path)
    taro = bank.customer()
    bank.clock.now += AHEAD
    assert login(bank, taro) == Accept()
    go_back(bank)
    with bank.store.work() as work:
        work.connection.execute(update(token).values(state=state))
    assert trust(bank) == []


def test_permits_challenges_sessions_and_notices_of_the_future_are_good_for_no_longer_than_others(
    tmp_path: Path,
) -> None:
    bank = bank_with(tmp_path)
    bank.customer()
    bank.in_state(OtpUse.LOST, "hana", "VSMT00000002")
    early = bank.desk.sessions.begin(b"e" * 32, "taro", {}, LIMITS, WEB)
    bank.clock.now += AHEAD
    bank.desk.enrolment.permit_reissue("hana", STAFF)
    late = bank.desk.sessions.begin(b"l" * 32, "taro", {}, LIMITS, WEB)
    issued = bank.desk.enrolment.issue_for("taro", late, "Bank", WEB)
    ahead = int(bank.clock.now * 1000)
    key = bank.login_record().customer_key
    with bank.store.work() as work:
        state = {"client": "gateway", "customer_key": key, "tries_left": 3}
        work.connection.execute(insert(challenge).values(state=b"late", expires_at=ahead + 120_000, **state))
        work.connection.execute(insert(challenge).values(state=b"now", expires_at=ahead - 8 * 3_600_000 + 1, **state))
        notice = {"customer_key": key, "event": "otp.enrolled", "email": "taro@example.com"}
        work.connection.execute(insert(outbox).values(key=1, claimed_until=ahead + 3_600_000, **notice))
        work.connection.execute(insert(outbox).values(key=2, next_at=ahead + 86_400_000, **notice))
    go_back(bank)
    trust(bank)
    now = int(bank.clock.now * 1000)
    with bank.store.read() as connection:
        (expires_at,) = connection.execute(select(permit.c.expires_at)).scalars()
        assert expires_at == now + bank.rules.permit_hours * 3_600_000
        assert connection.execute(select(challenge.c.state)).scalars().all() == [b"now"]
        assert connection.execute(select(session.c.key)).scalars().all() == [early.key]
        assert connection.execute(select(reservation.c.expires_at)).scalars().all() == [now]
        times = connection.execute(select(outbox.c.next_at, outbox.c.claimed_until).order_by(outbox.c.key)).all()
    assert [(one, until) for one, until in times] == [(0, 0), (now, 0)]
    bank.clock.now += 601
    bank.desk.sessions.expire(LIMITS)
    assert bank.token_line(issued.token_id).state == TokenState.RETIRED


def test_staff_whose_passkey_and_single_sign_on_answered_in_the_future_get_in(tmp_path: Path) -> None:
    """Otherwise every answer until that time would be an earlier one than the last."""
    bank = bank_with(tmp_path)
    bank.desk.staff.add("sato", Role.ADMINISTRATOR, STAFF)
    record = bank.desk.staff.named("sato")
    assert record is not None
    bank.desk.staff.add_passkey(record, NewPasskey(b"credential", b"public key", 0), "192.0.2.5")

    def answers() -> list[PasskeyAnswer | SignOnAnswer]:
        (own,), at = bank.desk.staff.passkeys(record), int(bank.clock.now * 1000) - 5
        return [PasskeyAnswer(own, 0, at), SignOnAnswer("https://issuer.example", "sub", at, fresh=True)]

    def enter(by: PasskeyAnswer | SignOnAnswer) -> None:
        bank.desk.staff_sessions.begin(b"s" * 31 + bytes((len(type(by).__name__),)), record, "x", STAFF_LIMITS, by)

    bank.clock.now += AHEAD
    _, by_sign_on = answers()
    assert isinstance(by_sign_on, SignOnAnswer)
    bank.desk.sign_on.link(record, by_sign_on, staff_principal(record, "x"))
    bank.clock.now += 10
    for one in answers():
        enter(one)
    go_back(bank)
    for one in answers():
        assert "used before" in refused(partial(enter, one)).detail, "as it was without the repair"
    trust(bank)
    bank.clock.now += 1
    for one in answers():
        enter(one)
    for one in answers():
        assert "used before" in refused(partial(enter, one)).detail, "each is good once"


def test_links_requests_and_files_of_the_future_are_as_those_of_now(tmp_path: Path) -> None:
    assert (LONGEST_LINK_MS, LONGEST_APPROVAL_MS) == (LINK_SECONDS * 1000, APPROVAL_HOURS * 3_600_000)
    assert LONGEST_FILE_CLAIM_MS == CLAIM_SECONDS * 1000
    bank = bank_with(tmp_path)
    bank.customer()
    bank.desk.staff.add("sato", Role.ADMINISTRATOR, STAFF)
    sato = bank.desk.staff.named("sato")
    assert sato is not None
    by = staff_principal(sato, "x", "order 12")
    bank.clock.now += AHEAD
    bank.desk.staff.reset("sato", STAFF)
    bank.desk.approvals.ask("staff", "hana", by, {"do": "add", "role": "auditor", "account": None})
    key = bank.desk.file_imports.keep("customers", "f", FileChoices(), io.BytesIO(b"contract_id\nx\n"), by)
    ahead = int(bank.clock.now * 1000)
    with bank.store.work_aside() as work:
        assert claim(work.connection, key, 1, ahead, ahead + CLAIM_SECONDS * 1000)
        values = {"verifier": "vip", "act": "add", "contract_id": "a", "token_id": "b", "next_at": ahead + 10**9}
        work.connection.execute(insert(verifier_task).values(key=1, **values))
    go_back(bank)
    assert not ImportTask(bank.store, bank.desk, ImportRules()).step()
    trust(bank)
    now = int(bank.clock.now * 1000)
    with bank.store.read() as connection:
        assert connection.execute(select(staff.c.link_until)).scalar_one() == now + LONGEST_LINK_MS
        assert connection.execute(select(approval.c.expires_at)).scalar_one() == now + LONGEST_APPROVAL_MS
        assert connection.execute(select(file_import.c.changed_at)).scalar_one() == now
        assert connection.execute(select(verifier_task.c.next_at)).scalar_one() == now
    assert ImportTask(bank.store, bank.desk, ImportRules()).step()


def test_a_store_without_stamps_of_the_future_is_changed_in_nothing_but_the_words(tmp_path: Path) -> None:
    bank = bank_with(tmp_path)
    taro: Holder = bank.customer()
    assert login(bank, taro) == Accept()
    before = {name: rows for name, rows in bank.rows().items() if name != "meta"}
    assert trust(bank) == []
    assert {name: rows for name, rows in bank.rows().items() if name != "meta"} == before
    assert bank.own_token().last_step != NEVER
    assert [row.event for row in bank.audit(event="clock.")] == ["clock.trusted"]


def test_a_code_that_fitted_two_tokens_is_spent_on_both_when_its_time_comes(tmp_path: Path) -> None:
    """The row of the login names one token; that of the other says that it lost a step, too."""
    bank = bank_with(tmp_path)
    taro = bank.customer()
    bank.clock.now += AHEAD
    code = taro.code()
    twin_id = "VSMT03370706"  # found by trying: a million token IDs have one whose seed shows this code at this step
    assert code_at(twin_id.encode() * 2, taro.step(), TokenSpec()) == code
    twin = bank.another_token(twin_id)
    assert login(bank, taro) == Accept()
    assert [row.token for row in bank.audit(event="token.code-spent")] == [twin_id]
    spent_at = bank.clock.now
    bank.clock.now += 1200
    assert login(bank, twin) == Accept()
    go_back(bank, AHEAD + HOUR)
    trust(bank)
    bank.desk.devices.remove("taro", None, taro.token_id, STAFF)
    bank.clock.now = spent_at
    assert reason(login(bank, twin)) == Finding.REUSED
