"""An act at the desk that takes a code spends it on every token of the customer that it fits: the same digits let
nobody in by another one.

The tokens' IDs (their seeds) are chosen so that digits meet; ``meeting`` says how.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otp_core.accounts import Session, SessionLimits
from otp_core.audit import Event
from otp_core.login.table import Finding
from otp_core.model import Accept, OtpUse
from tests.core.at_the_desk import ME, login, reason
from tests.core.bank import STAFF, Bank, Holder, rules

PHONE, PC = "VSMT00000001", "VSMT00000002"
SHOWS_THE_NEXT_OF_PHONE = "VSMT00464483"
SHOWS_NEXT_WHAT_PHONE_SHOWS = "VSMT00292946"
SHOWS_WHAT_PHONE_SHOWS = "VSMT01913612"
SHOWS_STEP_50_OF_PHONE, SHOWS_STEP_51_OF_PHONE = "VSMT01642291", "VSMT00369044"
LIMITS = SessionLimits(idle=600, longest=1800, most=1000)


def opened(folder: Path) -> tuple[Bank, Holder, Holder]:
    """taro with two of three tokens."""
    bank = Bank(folder, rules(tokens_per_customer=3, one_customer_per_token=False))
    return bank, bank.customer(), bank.another_token(PC)


def meeting(one: Holder, away: int, other: Holder, other_away: int) -> str:
    """Digits that both tokens show, each so many steps from now."""
    assert one.code(away) == other.code(other_away)
    return one.code(away)


def spent(bank: Bank) -> list[str | None]:
    return [row.token for row in bank.audit(event=Event.CODE_SPENT)]


Act = Callable[[Bank, Holder, Holder], object]


def _session(bank: Bank, taro: Holder) -> Session:
    session = bank.desk.sessions.begin(b"t" * 32, "taro", {}, LIMITS, ME)
    bank.desk.devices.give_old_code("taro", taro.code(), session, 300, ME)
    return session


BRINGING: dict[str, Act] = {
    "add": lambda bank, taro, new: bank.desk.devices.add("taro", taro.code(), new.token_id, new.code(), ME),
    "change": lambda bank, taro, new: bank.desk.devices.change(
        "taro", taro.code(), new.token_id, new.code(), ME, goes=PC
    ),
    "add by proof": lambda bank, taro, new: bank.desk.devices.add_by_proof(
        "taro", _session(bank, taro), new.token_id, new.code(), ME
    ),
    "change by proof": lambda bank, taro, new: bank.desk.devices.change_by_proof(
        "taro", _session(bank, taro), new.token_id, new.code(), ME, goes=PC
    ),
}


@pytest.mark.parametrize("act", BRINGING)
def test_the_code_of_a_new_token_is_spent_on_the_others_that_it_fits(tmp_path: Path, act: str) -> None:
    bank, taro, _ = opened(tmp_path)
    new = bank.token(SHOWS_THE_NEXT_OF_PHONE)
    digits = meeting(new, 0, taro, 1)
    BRINGING[act](bank, taro, new)
    assert reason(login(bank, taro, digits)) == Finding.REUSED
    assert bank.token_line(PHONE).last_step == taro.step(1)
    assert spent(bank)[-1] == PHONE
    assert reason(login(bank, taro, taro.code(2))) == Finding.WRONG, "no drift is learnt from digits that fit by chance"
    bank.clock.now += 60
    assert login(bank, taro, taro.code()) == Accept()


@pytest.mark.parametrize("act", BRINGING)
def test_the_code_that_let_a_new_token_in_does_not_log_in_by_this_one(tmp_path: Path, act: str) -> None:
    bank, taro, _ = opened(tmp_path)
    new = bank.token(SHOWS_NEXT_WHAT_PHONE_SHOWS)
    digits = meeting(taro, 0, new, 1)
    BRINGING[act](bank, taro, new)
    assert reason(login(bank, taro, digits)) == Finding.REUSED
    assert bank.token_line(new.token_id).last_step == new.step(1)


def test_an_act_whose_two_codes_fit_one_token_is_carried_out(tmp_path: Path) -> None:
    bank, taro, _ = opened(tmp_path)
    new = bank.token(SHOWS_WHAT_PHONE_SHOWS)
    meeting(taro, 0, new, 0)
    bank.desk.devices.add("taro", taro.code(1), new.token_id, new.code(), ME)
    assert bank.token_line(PHONE).last_step == taro.step(1)
    assert bank.token_line(new.token_id).last_step == new.step()


def _two_of_which_one_meets(folder: Path, other: str) -> tuple[Bank, Holder, Holder]:
    bank = Bank(folder, rules(tokens_per_customer=3, one_customer_per_token=False))
    return bank, bank.customer(), bank.another_token(other)


def test_the_code_with_which_a_suspended_customer_comes_back_is_spent_on_all_tokens(tmp_path: Path) -> None:
    bank, taro, pc = _two_of_which_one_meets(tmp_path, SHOWS_THE_NEXT_OF_PHONE)
    digits = meeting(pc, 0, taro, 1)
    bank.desk.enrolment.suspend("taro", None, STAFF)
    bank.desk.enrolment.enrol("taro", pc.token_id, pc.code(), ME)
    assert reason(login(bank, taro, digits)) == Finding.REUSED
    assert spent(bank) == [PHONE]


def test_a_lost_token_of_a_suspended_customer_is_in_nobodys_way(tmp_path: Path) -> None:
    """A shared one that its other holder has reported lost."""
    bank, taro, pc = _two_of_which_one_meets(tmp_path, SHOWS_THE_NEXT_OF_PHONE)
    meeting(pc, 0, taro, 1)
    bank.customer("jiro", PHONE)
    bank.desk.enrolment.suspend("taro", None, STAFF)
    bank.desk.enrolment.report_lost("jiro", STAFF)
    bank.desk.enrolment.enrol("taro", pc.token_id, pc.code(), ME)
    assert bank.login_record().otp_use == OtpUse.ACTIVE
    assert (spent(bank), bank.token_line(PHONE).last_step) == ([], -1)


@pytest.mark.parametrize(("other", "away"), [(SHOWS_STEP_50_OF_PHONE, 50), (SHOWS_STEP_51_OF_PHONE, 51)])
def test_both_codes_of_a_resynchronisation_are_spent_on_the_other_tokens(tmp_path: Path, other: str, away: int) -> None:
    bank, taro, pc = _two_of_which_one_meets(tmp_path, other)
    digits = meeting(pc, 0, taro, away)
    bank.desk.enrolment.resynchronise("taro", taro.code(50), taro.code(51), STAFF, token_id=PHONE)
    assert reason(login(bank, pc, digits)) == Finding.REUSED
    assert spent(bank) == [pc.token_id]


@pytest.mark.parametrize("others", [0, 1])
def test_a_change_of_a_token_that_others_have_too_leaves_a_row_for_its_code(tmp_path: Path, others: int) -> None:
    """It is not retired, and goes on for them without that code: the trail has to tell why."""
    bank = Bank(tmp_path, rules(tokens_per_customer=2, one_customer_per_token=False))
    taro, new = bank.customer(), bank.token(PC)
    for number in range(others):
        bank.customer(f"other-{number}", PHONE)
    bank.desk.devices.change("taro", taro.code(), PC, new.code(), ME)
    named = [(row.event, row.token) for row in bank.audit() if row.token == PHONE and row.actor == ME.name]
    assert named == [(Event.CODE_SPENT if others else Event.TOKEN_RETIRED, PHONE)]
