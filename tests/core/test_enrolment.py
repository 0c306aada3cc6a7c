"""The customer's journeys at the desk: enrol, suspend, change the device, lost and reissue."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from otp_core.accounts import Refusal
from otp_core.audit import Event
from otp_core.login.table import Finding
from otp_core.model import (
    Accept,
    Algorithm,
    Kind,
    OtpUse,
    TokenSpec,
    TokenState,
)
from tests.core.at_the_desk import ME, NEW, login, reason, refused, signed_in, without_counts, wrong
from tests.core.bank import NOON, STAFF, Bank, rules

# Journey 2: enrol.


def test_enrolling_binds_the_token_and_learns_its_drift(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    token = bank.token()
    bank.desk.enrolment.enrol("taro", "vsmt-0000 0001", token.code(1), ME)
    line = bank.token_line()
    assert (line.state, line.contract_id, line.last_step, line.drift) == (TokenState.BOUND, "taro", token.step(1), 1)
    assert line.last_at == int(NOON * 1000)


@pytest.mark.parametrize("spec", [TokenSpec(Kind.HOTP), TokenSpec(algorithm=Algorithm.SHA256, digits=8, period=60)])
def test_every_kind_of_token_can_be_enrolled(tmp_path: Path, spec: TokenSpec) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    token = bank.token(spec=spec)
    bank.desk.enrolment.enrol("taro", token.token_id, token.code(1), ME)
    token.contract_id = "taro"
    assert reason(login(bank, token, token.code(1))) == Finding.REUSED
    assert login(bank, token, token.code(2)) == Accept()


def test_an_unknown_token_somebody_elses_and_a_wrong_code_are_one_refusal_and_each_counts(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    mine = bank.token()
    theirs, gone, retired = (bank.customer(f"jiro{n}", f"VSMT0000001{n}") for n in range(3))
    bank.desk.enrolment.report_lost("jiro1", STAFF)
    other = bank.token(NEW)
    bank.desk.devices.change("jiro2", retired.code(), NEW, other.code(), STAFF)
    tries = [
        ("VSMT77777777", "123456", "is not in the inventory"),
        (theirs.token_id, theirs.code(), "is bound"),
        (gone.token_id, gone.code(), "is lost"),
        (retired.token_id, retired.code(1), "is retired"),
        (mine.token_id, wrong(mine), "wrong code"),
    ]
    for count, (token_id, code, detail) in enumerate(tries, 1):
        refusal = refused(partial(bank.desk.enrolment.enrol, "taro", token_id, code, ME))
        assert refusal.refusal is Refusal.TOKEN_OR_CODE
        assert detail in refusal.detail
        assert bank.login_record().failures == count
    assert bank.token_line(theirs.token_id).contract_id == "jiro0"
    bank.desk.enrolment.enrol("taro", mine.token_id, mine.code(), ME)
    assert bank.login_record().failures == 0


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef"])
def test_what_is_no_code_enrols_nobody_and_does_not_count(tmp_path: Path, code: str) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    token = bank.token()
    before = bank.rows()
    assert refused(lambda: bank.desk.enrolment.enrol("taro", token.token_id, code, ME)).refusal is Refusal.TOKEN_OR_CODE
    assert bank.rows() == before


def test_a_code_that_was_used_enrols_nobody_and_does_not_count(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.desk.enrolment.suspend("taro", taro.code(), ME)
    refusal = refused(lambda: bank.desk.enrolment.enrol("taro", taro.token_id, taro.code(), ME))
    assert (refusal.refusal, refusal.detail) == (Refusal.TOKEN_OR_CODE, "reused code of token VSMT00000001")
    assert bank.login_record().failures == 0


def test_who_was_suspended_comes_back_with_their_own_token(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(OtpUse.SUSPENDED)
    bank.desk.enrolment.enrol("taro", taro.token_id, taro.code(), ME)
    assert bank.login_record().otp_use == OtpUse.ACTIVE
    assert bank.token_line().state == TokenState.BOUND
    assert login(bank, taro, taro.code(1)) == Accept()


def test_who_was_suspended_may_come_back_with_another_token_and_the_old_one_dies(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.SUSPENDED)
    new = bank.token(NEW)
    bank.desk.enrolment.enrol("taro", NEW, new.code(), ME)
    assert bank.token_line("VSMT00000001").state == TokenState.RETIRED
    assert bank.token_line(NEW).contract_id == "taro"


def test_nobody_enrols_with_the_token_of_somebody_who_is_suspended(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(OtpUse.SUSPENDED)
    bank.customer("jiro", None)
    refusal = refused(lambda: bank.desk.enrolment.enrol("jiro", taro.token_id, taro.code(), signed_in("jiro")))
    assert refusal.refusal is Refusal.TOKEN_OR_CODE


# Journey 3: suspend.


def test_suspending_spends_the_code_and_login_is_password_only_again(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.desk.enrolment.suspend("taro", taro.code(), ME)
    assert login(bank, taro, "the gateway has checked the password") == Accept()
    bank.desk.enrolment.resume("taro", STAFF)
    assert reason(login(bank, taro)) == Finding.REUSED
    assert login(bank, taro, taro.code(1)) == Accept()


def test_staff_suspends_without_a_code_even_a_locked_customer(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    bank.desk.customers.lock("taro", STAFF)
    bank.desk.enrolment.suspend("taro", None, STAFF)
    assert (bank.login_record().otp_use, bank.own_token().last_step) == (OtpUse.SUSPENDED, -1)


@pytest.mark.parametrize(
    ("code", "refusal", "failures"),
    [
        ("", Refusal.NOT_A_CODE, 0),
        ("12345", Refusal.NOT_A_CODE, 0),
        ("wrong", Refusal.WRONG_CODE, 1),
        ("used", Refusal.REUSED_CODE, 0),
    ],
)
def test_nobody_suspends_without_a_fresh_code(tmp_path: Path, code: str, refusal: Refusal, failures: int) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    login(bank, taro)
    text = {"wrong": wrong(taro), "used": taro.code()}.get(code, code)
    assert refused(lambda: bank.desk.enrolment.suspend("taro", text, ME)).refusal is refusal
    assert (bank.login_record().otp_use, bank.login_record().failures) == (OtpUse.ACTIVE, failures)
    assert bank.audit()[-1].event == Event.REFUSED


def test_no_request_may_claim_a_code_that_was_spent_at_the_desk(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    assert login(bank, taro, taro.code(), fingerprint=7) == Accept()
    bank.desk.enrolment.suspend("taro", taro.code(1), ME)
    bank.desk.enrolment.resume("taro", STAFF)
    assert reason(login(bank, taro, taro.code(1), fingerprint=7)) == Finding.REUSED


# Journey 4: device change.


def test_the_old_token_works_until_the_moment_in_which_the_new_one_lives(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.customer(), bank.token(NEW)
    new.contract_id = "taro"
    refused(lambda: bank.desk.devices.change("taro", taro.code(), NEW, wrong(new), ME))
    assert reason(login(bank, new)) == Finding.WRONG
    assert login(bank, taro) == Accept(), "the code of the attempt that failed was not used up"
    bank.desk.devices.change("taro", taro.code(1), NEW, new.code(), ME)
    bank.clock.now += 60
    assert reason(login(bank, taro)) in (Finding.WRONG, Finding.NOT_A_CODE)
    assert login(bank, new) == Accept()
    assert bank.token_line("VSMT00000001").state == TokenState.RETIRED


@pytest.mark.parametrize(
    ("old", "new", "refusal", "failures"),
    [
        ("wrong", "right", Refusal.WRONG_CODE, 1),
        ("used", "right", Refusal.REUSED_CODE, 0),
        ("", "right", Refusal.NOT_A_CODE, 0),
        ("right", "wrong", Refusal.TOKEN_OR_CODE, 1),
        ("right", "", Refusal.TOKEN_OR_CODE, 0),
        ("right", "of the old token", Refusal.TOKEN_OR_CODE, 1),
    ],
)
def test_a_device_change_that_fails_changes_nothing_but_the_count(
    tmp_path: Path, old: str, new: str, refusal: Refusal, failures: int
) -> None:
    bank = Bank(tmp_path)
    taro, token = bank.customer(), bank.token(NEW)
    login(bank, taro, taro.code(-1))
    bank.clock.now += 30
    codes = {"right": taro.code(), "wrong": wrong(taro, token), "used": taro.code(-2), "": ""}
    news = {"right": token.code(), "wrong": wrong(taro, token), "of the old token": taro.code(), "": ""}
    login(bank, taro, codes["used"])
    before = without_counts(bank)
    found = refused(lambda: bank.desk.devices.change("taro", codes[old], NEW, news[new], ME))
    assert found.refusal is refusal
    assert without_counts(bank) == before
    assert bank.login_record().failures == failures


def test_the_old_tokens_code_proves_nothing_of_a_new_token_that_is_not_free(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    refusal = refused(lambda: bank.desk.devices.change("taro", taro.code(), jiro.token_id, jiro.code(), ME))
    assert refusal.refusal is Refusal.TOKEN_OR_CODE
    refusal = refused(lambda: bank.desk.devices.change("taro", taro.code(), taro.token_id, taro.code(), ME))
    assert refusal.refusal is Refusal.TOKEN_OR_CODE
    assert bank.token_line("VSMT00000001").state == TokenState.BOUND


def test_a_device_change_to_the_token_in_hand_is_refused_even_where_tokens_are_shared(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    taro = bank.customer()
    refused(lambda: bank.desk.devices.change("taro", taro.code(), taro.token_id, taro.code(1), ME))
    assert bank.token_line().state == TokenState.BOUND
    assert login(bank, taro) == Accept()


# Journey 5: lost, and the permit.


def test_a_lost_token_is_refused_everywhere_from_that_moment(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.customer("jiro", None)
    bank.desk.enrolment.report_lost("taro", STAFF)
    assert reason(login(bank, taro)) == Finding.LOST
    assert bank.token_line().state == TokenState.LOST
    for act in (
        lambda: bank.desk.enrolment.suspend("taro", taro.code(), ME),
        lambda: bank.desk.devices.change("taro", taro.code(), NEW, "123456", ME),
        lambda: bank.desk.enrolment.resynchronise("taro", taro.code(), taro.code(1), ME),
        lambda: bank.desk.enrolment.enrol("taro", taro.token_id, taro.code(), ME),
        lambda: bank.desk.enrolment.enrol("jiro", taro.token_id, taro.code(), signed_in("jiro")),
        lambda: bank.desk.tokens.retire(taro.token_id, STAFF),
    ):
        refused(act)
    assert bank.token_line().state == TokenState.LOST


def test_a_permit_takes_the_place_of_the_old_tokens_code_once(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new, newer = bank.token(NEW), bank.token("VSMT00000098")
    bank.desk.enrolment.change_by_permit("taro", bank.permit, NEW, new.code(), ME)
    assert bank.rows()["permit"] == []
    assert bank.token_line("VSMT00000001").state == TokenState.LOST, "a lost token stays lost"
    bank.desk.enrolment.report_lost("taro", STAFF)
    bank.desk.enrolment.permit_reissue("taro", STAFF)
    found = refused(lambda: bank.desk.enrolment.change_by_permit("taro", bank.permit, newer.token_id, newer.code(), ME))
    assert found.refusal is Refusal.WRONG_PERMIT, "an old permit opens nothing"


def test_a_permit_may_be_typed_in_any_request_width_and_grouping(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    assert len(bank.permit.replace("-", "")) == 12
    wide = "".join(chr(ord(sign) + 0xFEE0) if sign != "-" else "ー" for sign in bank.permit.lower())
    bank.desk.enrolment.change_by_permit("taro", f" {wide} ", NEW, new.code(), ME)


def test_a_permit_expires(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(permit_hours=72))
    bank.in_state(OtpUse.LOST)
    permit = bank.desk.enrolment.permit_reissue("taro", STAFF)
    assert permit.expires_at == int(NOON * 1000) + 72 * 3_600_000
    new = bank.token(NEW)
    bank.clock.now += 72 * 3600
    found = refused(lambda: bank.desk.enrolment.change_by_permit("taro", permit.text, NEW, new.code(), ME))
    assert found.refusal is Refusal.WRONG_PERMIT
    assert bank.login_record().otp_use == OtpUse.REISSUE_PERMITTED


def test_a_permit_is_good_until_the_last_moment(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(permit_hours=72))
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    bank.clock.now += 72 * 3600 - 0.5
    bank.desk.enrolment.change_by_permit("taro", bank.permit, NEW, new.code(), ME)


@pytest.mark.parametrize("permit", ["", "AAAA-AAAA-AAAA", "a book " * 20_000])
def test_a_wrong_permit_is_refused_counted_and_uses_nothing_up(tmp_path: Path, permit: str) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    before = without_counts(bank)
    found = refused(lambda: bank.desk.enrolment.change_by_permit("taro", permit, NEW, new.code(), ME))
    assert found.refusal is Refusal.WRONG_PERMIT
    assert without_counts(bank) == before
    assert bank.login_record().failures == 1
    bank.desk.enrolment.change_by_permit("taro", bank.permit, NEW, new.code(), ME)


def test_a_wrong_code_of_the_new_token_does_not_use_the_permit_up(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    refused(lambda: bank.desk.enrolment.change_by_permit("taro", bank.permit, NEW, wrong(new), ME))
    bank.desk.enrolment.change_by_permit("taro", bank.permit, NEW, new.code(), ME)


def test_a_permit_is_for_its_own_customer(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    taros = bank.permit
    bank.in_state(OtpUse.REISSUE_PERMITTED, "jiro", "VSMT00000002")
    new = bank.token(NEW)
    assert (
        refused(lambda: bank.desk.enrolment.change_by_permit("jiro", taros, NEW, new.code(), signed_in("jiro"))).refusal
        is Refusal.WRONG_PERMIT
    )


def test_a_second_permit_replaces_the_first(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    second = bank.desk.enrolment.permit_reissue("taro", STAFF)
    refused(lambda: bank.desk.enrolment.change_by_permit("taro", bank.permit, NEW, new.code(), ME))
    bank.desk.enrolment.change_by_permit("taro", second.text, NEW, new.code(), ME)


def test_a_permit_dies_when_the_token_is_reported_lost_again(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    bank.desk.enrolment.report_lost("taro", STAFF)
    assert bank.rows()["permit"] == []
    assert bank.login_record().otp_use == OtpUse.LOST


def test_no_two_permits_are_the_same(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.LOST)
    permits = {bank.desk.enrolment.permit_reissue("taro", STAFF).text for _ in range(20)}
    assert len(permits) == 20
    assert not set("".join(permits)) & set("01ILO"), "letters and digits that nobody confuses"
