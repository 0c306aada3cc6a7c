"""Codes at the desk: resynchronisation, wrong codes that count as at every door, tokens of several customers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otp_core.accounts import Refusal
from otp_core.login.policy import Delays
from otp_core.login.table import Finding
from otp_core.model import (
    Accept,
    Kind,
    OtpUse,
    TokenSpec,
    TokenState,
)
from tests.core.at_the_desk import ME, NEW, login, reason, refused, signed_in, without_counts, wrong
from tests.core.bank import NOON, STAFF, Bank, Holder, rules

# Resynchronisation.


def test_a_resynchronised_token_logs_in_again_and_its_two_codes_do_not(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    assert reason(login(bank, taro, taro.code(50))) == Finding.WRONG
    bank.desk.enrolment.resynchronise("taro", taro.code(50), taro.code(51), STAFF)
    assert bank.login_record().failures == 0
    assert reason(login(bank, taro, taro.code(50))) == Finding.REUSED
    assert reason(login(bank, taro, taro.code(51))) == Finding.REUSED
    assert login(bank, taro, taro.code(52)) == Accept()


def test_a_counter_token_is_resynchronised_ahead_of_its_counter(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(spec=TokenSpec(Kind.HOTP))
    bank.desk.enrolment.resynchronise("taro", taro.code(700), taro.code(701), STAFF)
    assert (bank.own_token().last_step, bank.own_token().drift) == (701, 0)
    assert login(bank, taro, taro.code(702)) == Accept()


@pytest.mark.parametrize(
    ("first", "second", "refusal", "failures"),
    [
        (50, 52, Refusal.WRONG_CODE, 1),
        (51, 50, Refusal.WRONG_CODE, 1),
        (500, 501, Refusal.WRONG_CODE, 1),
        ("", "", Refusal.NOT_A_CODE, 0),
        (50, "12345", Refusal.NOT_A_CODE, 0),
        ("", 51, Refusal.NOT_A_CODE, 0),
    ],
)
def test_codes_that_do_not_follow_one_another_resynchronise_nothing(
    tmp_path: Path, first: int | str, second: int | str, refusal: Refusal, failures: int
) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    codes = [one if isinstance(one, str) else taro.code(one) for one in (first, second)]
    before = without_counts(bank)
    assert refused(lambda: bank.desk.enrolment.resynchronise("taro", codes[0], codes[1], STAFF)).refusal is refusal
    assert without_counts(bank) == before
    assert bank.login_record().failures == failures


# Wrong codes at the desk count as at every door.


def by_hand(bank: Bank, holder: Holder, new: Holder) -> dict[str, Callable[[], object]]:
    """Acts that ask for a code, each with a wrong one."""
    bad = wrong(holder, new)
    return {
        "suspend": lambda: bank.desk.enrolment.suspend("taro", bad, ME),
        "change device": lambda: bank.desk.devices.change("taro", bad, NEW, new.code(), ME),
        "change device, new code": lambda: bank.desk.devices.change("taro", holder.code(), NEW, bad, ME),
        "resynchronise": lambda: bank.desk.enrolment.resynchronise("taro", bad, bad, ME),
    }


def test_wrong_codes_at_the_desk_and_at_a_door_lock_together(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=5))
    taro, new = bank.customer(), bank.token(NEW)
    assert reason(login(bank, taro, wrong(taro))) == Finding.WRONG
    for count, act in enumerate(by_hand(bank, taro, new).values(), 2):
        refused(act)
        record = bank.login_record()
        assert (record.failures, record.failed_at, record.failed_fingerprint) == (count, int(NOON * 1000), 0)
    assert bank.login_record().locked_at == int(NOON * 1000)
    (row,) = bank.audit(event="customer.locked")
    assert (row.actor, row.customer, row.reason) == ("sekisho", "taro", "5 wrong codes in a row")
    assert row.token == "VSMT00000001"
    assert [line.event for line in bank.audit()][-2:] == ["customer.locked", "act.refused"]
    assert reason(login(bank, taro)) == Finding.LOCKED


@pytest.mark.parametrize("name", ["suspend", "change device", "change device, new code", "resynchronise"])
def test_a_locked_customer_can_do_nothing_that_asks_for_a_code(tmp_path: Path, name: str) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.customer(), bank.token(NEW)
    bank.desk.customers.lock("taro", STAFF)
    before = bank.rows()
    assert refused(by_hand(bank, taro, new)[name]).refusal is Refusal.LOCKED
    assert bank.rows() == before


def test_a_locked_customer_can_neither_enrol_nor_use_a_permit(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    bank.customer("jiro", None)
    new = bank.token(NEW)
    bank.desk.customers.lock("taro", STAFF)
    bank.desk.customers.lock("jiro", STAFF)
    assert (
        refused(lambda: bank.desk.enrolment.change_by_permit("taro", bank.permit, NEW, new.code(), ME)).refusal
        is Refusal.LOCKED
    )
    assert (
        refused(lambda: bank.desk.enrolment.enrol("jiro", NEW, new.code(), signed_in("jiro"))).refusal is Refusal.LOCKED
    )


def test_after_wrong_codes_the_next_act_must_wait_too(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(code_delays=Delays(free=1, first=4.0, longest=8.0)))
    taro = bank.customer()
    for _ in range(2):
        refused(lambda: bank.desk.enrolment.suspend("taro", wrong(taro), ME))
    bank.clock.now += 3.5
    assert refused(lambda: bank.desk.enrolment.suspend("taro", taro.code(), ME)).refusal is Refusal.TOO_SOON
    assert bank.login_record().failures == 2
    bank.clock.now += 0.5
    bank.desk.enrolment.suspend("taro", taro.code(), ME)
    assert bank.login_record().failures == 0


def test_unlocking_forgives_the_wrong_codes(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=2))
    taro = bank.customer()
    for _ in range(2):
        login(bank, taro, wrong(taro))
    bank.desk.customers.unlock("taro", STAFF)
    assert (bank.login_record().failures, bank.login_record().locked_at) == (0, None)
    assert reason(login(bank, taro, wrong(taro))) == Finding.WRONG
    assert bank.login_record().locked_at is None
    assert login(bank, taro) == Accept()


def test_staffs_lock_keeps_the_count_of_wrong_codes(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    login(bank, taro, wrong(taro))
    bank.desk.customers.lock("taro", STAFF)
    assert bank.login_record().failures == 1


# Where a token may belong to several customers.


def shared(folder: Path) -> tuple[Bank, Holder, Holder]:
    bank = Bank(folder, rules(one_customer_per_token=False))
    return bank, bank.customer("taro"), bank.customer("jiro")


def test_a_shared_token_serves_all_and_each_code_one(tmp_path: Path) -> None:
    bank, taro, jiro = shared(tmp_path)
    assert login(bank, taro) == Accept()
    assert reason(login(bank, jiro)) == Finding.REUSED
    assert login(bank, jiro, jiro.code(1)) == Accept()


def test_a_bound_token_may_be_enrolled_once_more_where_that_is_allowed(tmp_path: Path) -> None:
    bank, taro, _ = shared(tmp_path)
    bank.customer("saburo", None)
    bank.desk.enrolment.enrol("saburo", taro.token_id, taro.code(), signed_in("saburo"))
    assert bank.login_record("saburo").token_id == taro.token_id
    assert reason(login(bank, taro)) == Finding.REUSED


@pytest.mark.parametrize("state", [TokenState.LOST, TokenState.RETIRED])
def test_a_dead_token_is_enrolled_by_nobody_even_where_tokens_are_shared(tmp_path: Path, state: TokenState) -> None:
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    taro, new = bank.customer(), bank.token(NEW)
    bank.customer("saburo", None)
    if state is TokenState.LOST:
        bank.desk.enrolment.report_lost("taro", STAFF)
    else:
        bank.desk.devices.change("taro", taro.code(), NEW, new.code(), ME)
    bank.clock.now += 60
    refusal = refused(lambda: bank.desk.enrolment.enrol("saburo", taro.token_id, taro.code(), signed_in("saburo")))
    assert (refusal.refusal, refusal.detail) == (Refusal.TOKEN_OR_CODE, f"token VSMT00000001 is {state}")
    assert bank.token_line().state == state


def test_a_shared_token_lives_on_until_the_last_one_changes(tmp_path: Path) -> None:
    bank, taro, jiro = shared(tmp_path)
    new, newer = bank.token(NEW), bank.token("VSMT00000098")
    bank.desk.devices.change("taro", taro.code(), NEW, new.code(), ME)
    assert bank.token_line().state == TokenState.BOUND
    assert reason(login(bank, jiro)) == Finding.REUSED, "the code that changed the device cannot log in anybody"
    assert login(bank, jiro, jiro.code(1)) == Accept()
    bank.clock.now += 60
    bank.desk.devices.change("jiro", jiro.code(), newer.token_id, newer.code(), signed_in("jiro"))
    assert bank.token_line().state == TokenState.RETIRED


def test_a_shared_token_that_one_reports_lost_is_refused_from_all(tmp_path: Path) -> None:
    bank, _, jiro = shared(tmp_path)
    new = bank.token(NEW)
    bank.desk.enrolment.report_lost("taro", STAFF)
    assert reason(login(bank, jiro)) == Finding.LOST
    before = bank.rows()
    for act in (
        lambda: bank.desk.enrolment.suspend("jiro", jiro.code(), signed_in("jiro")),
        lambda: bank.desk.devices.change("jiro", jiro.code(), NEW, new.code(), signed_in("jiro")),
        lambda: bank.desk.enrolment.resynchronise("jiro", jiro.code(), jiro.code(1), signed_in("jiro")),
    ):
        assert refused(act).refusal is Refusal.NOT_NOW
    assert bank.rows() == before
    bank.desk.enrolment.report_lost("jiro", STAFF)
    permit = bank.desk.enrolment.permit_reissue("jiro", STAFF)
    bank.desk.enrolment.change_by_permit("jiro", permit.text, NEW, new.code(), signed_in("jiro"))
    new.contract_id = "jiro"
    assert login(bank, new, new.code(1)) == Accept()
