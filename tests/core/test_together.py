"""Several acts of the desk in one transaction: all or nothing, refusals kept, and run again as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.accounts import Act, Desk, Refusal, Refused, rerun_on_conflict
from otp_core.model import Conflict, OtpUse, StoreBusy
from otp_core.store.unit_of_work import Work
from tests.core.at_the_desk import NEW, wrong
from tests.core.bank import STAFF, Bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path)
    made.customer()
    return made


def test_two_acts_are_done_together(bank: Bank) -> None:
    with bank.desk.together() as (desk, work):
        desk.enrolment.report_lost("taro", STAFF)
        permit = desk.enrolment.permit_reissue("taro", STAFF)
        assert [row.event for row in work.recorded] == ["otp.reported-lost", "otp.reissue-permitted"]
        assert bank.desk.customers.login_record("taro").otp_use == OtpUse.ACTIVE, "nobody else sees it yet"
    assert bank.login_record().otp_use == OtpUse.REISSUE_PERMITTED
    new = bank.token(NEW)
    bank.desk.enrolment.change_by_permit("taro", permit.text, NEW, new.code(), STAFF)


def test_what_fails_leaves_nothing_of_what_went_before(bank: Bank) -> None:
    before, trail = bank.rows(), bank.audit()

    def failing() -> None:
        with bank.desk.together() as (desk, _):
            desk.enrolment.report_lost("taro", STAFF)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_what_a_refused_act_has_counted_and_recorded_stays(bank: Bank) -> None:
    new = bank.token(NEW)
    with bank.desk.together() as (desk, _):
        with pytest.raises(Refused) as refused:
            desk.devices.change("taro", wrong(new), NEW, new.code(), STAFF)
        assert refused.value.refusal is Refusal.WRONG_CODE
        desk.enrolment.suspend("taro", None, STAFF)
    assert bank.login_record().failures == 1
    assert [row.event for row in bank.audit()][-2:] == ["act.refused", "otp.suspended"]


def test_who_was_overtaken_begins_anew_with_all_of_it(bank: Bank) -> None:
    """The customer changes under the act's hands: what was read does not hold when it is written. The act is not run
    again by itself, because what went before it is in the same transaction."""
    before, runs = bank.rows(), []

    @rerun_on_conflict
    def overtaken(desk: Desk, work: Work) -> None:
        runs.append(1)
        transactions = desk.enrolment._transactions
        with transactions.act(Act.SUSPEND_WITHOUT_CODE, STAFF, customer="taro") as same:
            record = transactions.login_record(same, "taro")
            same.set_otp_use(record, OtpUse.LOST)
            transactions.set_use(same, record, OtpUse.SUSPENDED)

    def all_of_it() -> None:
        with bank.desk.together() as (desk, work):
            desk.customers.lock("taro", STAFF)
            overtaken(desk, work)

    with pytest.raises(StoreBusy, match="changed by somebody else"):
        all_of_it()
    assert runs == [1]
    assert bank.rows() == before


def test_what_is_overtaken_at_its_end_begins_anew_too(bank: Bank) -> None:
    def overtaken() -> None:
        with bank.desk.together():
            raise Conflict("somebody else was faster")

    with pytest.raises(StoreBusy, match="faster"):
        overtaken()
