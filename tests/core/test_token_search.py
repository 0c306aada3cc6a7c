"""Whose token shows these two codes: among the tokens that nobody holds, within a time, recorded, nothing spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.accounts import Principal, PrincipalKind, Refusal
from otp_core.audit import Event
from otp_core.model import Algorithm, Kind, OtpUse, Role, TokenSpec
from otp_core.otp import code_at
from tests.core.at_the_desk import refused
from tests.core.bank import STAFF, Bank

CLERK = Principal("sato", PrincipalKind.STAFF, "192.0.2.9", "found in a drawer", role=Role.OPERATOR)
SEED = bytes(range(20))


def with_clerk(folder: Path) -> Bank:
    bank = Bank(folder)
    bank.desk.staff.add("sato", Role.OPERATOR, STAFF)
    return bank


def imported(bank: Bank, token_id: str, seed: bytes = SEED, spec: TokenSpec | None = None) -> None:
    bank.desk.tokens.import_rows([(token_id, seed, spec or TokenSpec())], STAFF)


def to_the_end() -> bool:
    return True


def codes(bank: Bank, away: int = 0, spec: TokenSpec | None = None) -> tuple[str, str]:
    step = int(bank.clock.now // 30) + away
    return code_at(SEED, step, spec or TokenSpec()), code_at(SEED, step + 1, spec or TokenSpec())


def test_the_token_that_shows_both_is_found_however_late_it_is_and_nothing_is_spent(tmp_path: Path) -> None:
    bank = with_clerk(tmp_path)
    for number in range(600):
        imported(bank, f"VSMT{number:08d}", number.to_bytes(20, "big"))
    imported(bank, "VSMT00000300X")
    before = bank.rows()["token"]
    for away in (-10, 0, 10):
        found = bank.desk.token_search.find(codes(bank, away), "", to_the_end, CLERK)
        assert found.token_ids == ("VSMT00000300X",) and found.complete and found.looked == 601
    assert bank.desk.token_search.find(codes(bank, 12), "", to_the_end, CLERK).token_ids == ()
    first, second = codes(bank)
    assert bank.desk.token_search.find((second, first), "", to_the_end, CLERK).token_ids == ()
    assert bank.desk.token_search.find((first, second), "vsmt 0000-0300", to_the_end, CLERK).looked == 2
    assert bank.rows()["token"] == before


def test_what_was_looked_for_is_recorded_without_the_codes(tmp_path: Path) -> None:
    bank = with_clerk(tmp_path)
    imported(bank, "VSMT00000001")
    first, second = codes(bank)
    bank.desk.token_search.find((first, second), "", to_the_end, CLERK)
    bank.desk.token_search.find((second, first), "", to_the_end, CLERK)
    one, other = [row for row in bank.audit() if row.event == Event.TOKEN_FOUND]
    assert (one.actor, one.source, one.token) == ("sato", "192.0.2.9", "VSMT00000001")
    assert one.reason == "by two codes, among 1 available tokens: found in a drawer"
    assert (other.token, other.reason) == (None, "none by two codes, among 1 available tokens: found in a drawer")
    assert first not in repr(bank.audit()) and second not in repr(bank.audit())


@pytest.mark.parametrize("spec", [TokenSpec(digits=8), TokenSpec(period=60), TokenSpec(algorithm=Algorithm.SHA256)])
def test_every_kind_of_token_is_found(tmp_path: Path, spec: TokenSpec) -> None:
    bank = with_clerk(tmp_path)
    imported(bank, "VSMT00000001", SEED, spec)
    step = int(bank.clock.now // spec.period)
    shown = code_at(SEED, step, spec), code_at(SEED, step + 1, spec)
    assert bank.desk.token_search.find(shown, "", to_the_end, CLERK).token_ids == ("VSMT00000001",)


def test_a_counter_token_is_found_near_its_counter(tmp_path: Path) -> None:
    bank, spec = with_clerk(tmp_path), TokenSpec(kind=Kind.HOTP)
    bank.desk.tokens.import_rows([("VSMH1", SEED, spec)], STAFF, last_steps={"VSMH1": 99})
    near, far = [(code_at(SEED, at, spec), code_at(SEED, at + 1, spec)) for at in (110, 130)]
    assert bank.desk.token_search.find(near, "", to_the_end, CLERK).token_ids == ("VSMH1",)
    assert bank.desk.token_search.find(far, "", to_the_end, CLERK).token_ids == ()


def test_tokens_that_somebody_holds_or_held_are_never_found(tmp_path: Path) -> None:
    bank = with_clerk(tmp_path)
    taro = bank.in_state(OtpUse.ACTIVE)
    shown = taro.code(), taro.code(1)
    found = bank.desk.token_search.find(shown, "", to_the_end, CLERK)
    assert (found.token_ids, found.looked) == ((), 0)
    bank.desk.enrolment.report_lost("taro", STAFF)
    assert bank.desk.token_search.find(shown, "", to_the_end, CLERK).token_ids == ()


def test_it_ends_when_it_is_told_to_and_says_how_far_it_has_come(tmp_path: Path) -> None:
    bank = with_clerk(tmp_path)
    for number in range(200):
        imported(bank, f"VSMT{number:08d}", number.to_bytes(20, "big"))
    answers = iter((True, True, False))
    found = bank.desk.token_search.find(("123456", "654321"), "", lambda: next(answers), CLERK)
    assert (found.looked, found.complete) == (128, False)
    assert "the first 128 available tokens" in bank.audit()[-1].reason


@pytest.mark.parametrize("shown", [("", ""), ("12345", "12345"), ("123456", "1234567"), ("abcdef", "123456")])
def test_what_is_no_pair_of_codes_is_not_looked_for(tmp_path: Path, shown: tuple[str, str]) -> None:
    bank = with_clerk(tmp_path)
    assert refused(lambda: bank.desk.token_search.find(shown, "", to_the_end, CLERK)).refusal is Refusal.NOT_A_CODE
