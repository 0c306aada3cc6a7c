"""Two desks at once on one store: of two acts that exclude one another, one is carried out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from otp_core.accounts import Desk, Receipt, Refused
from otp_core.model import (
    OtpUse,
    Reject,
    TokenState,
)
from tests.core.at_the_desk import ME, NEW, login, refused, signed_in, wrong
from tests.core.bank import Bank, rules

# Two desks at once.

Answer = TypeVar("Answer")


def race(acts: Sequence[Callable[[], Answer]]) -> list[Answer | Exception]:
    """All at once, each in a thread of its own; what each came to."""
    found: list[Answer | Exception | None] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def one(number: int) -> None:
        start.wait(10)
        try:
            found[number] = acts[number]()
        except Refused as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert None not in found
    return [answer for answer in found if answer is not None]


def two_desks(bank: Bank) -> tuple[Desk, Desk]:
    return bank.open_desk(bank.open_store(10.0))[1], bank.open_desk(bank.open_store(10.0))[1]


ROUNDS = range(8)


@pytest.mark.parametrize("round_", ROUNDS)
def test_of_two_who_enrol_one_token_at_once_one_gets_it(tmp_path: Path, round_: int) -> None:
    bank = Bank(tmp_path)
    token = bank.token()
    desks = two_desks(bank)
    acts = []
    for desk, who in zip(desks, ("taro", "jiro"), strict=True):
        bank.customer(who, None)
        acts.append(partial(desk.enrolment.enrol, who, token.token_id, token.code(), signed_in(who)))
    found = race(acts)
    assert sorted(type(one).__name__ for one in found) == ["Receipt", "Refused"]
    assert sorted((bank.login_record("taro").otp_use, bank.login_record("jiro").otp_use)) == ["active", "none"]
    (winner,) = [one for one in found if isinstance(one, Receipt)]
    assert bank.token_line().contract_id == winner.customer


@pytest.mark.parametrize("round_", ROUNDS)
def test_of_two_acts_with_one_code_at_once_one_is_carried_out(tmp_path: Path, round_: int) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.customer(), bank.token(NEW)
    one, other = two_desks(bank)
    found = race(
        [
            lambda: one.enrolment.suspend("taro", taro.code(), ME),
            lambda: other.devices.change("taro", taro.code(), NEW, new.code(), ME),
        ]
    )
    assert sorted(type(answer).__name__ for answer in found) == ["Receipt", "Refused"]
    changed = bank.audit(event="otp.device-changed")
    assert len(changed) + len(bank.audit(event="otp.suspended")) == 1
    assert bank.login_record().token_id == (NEW if changed else "VSMT00000001")


@pytest.mark.parametrize("round_", ROUNDS)
def test_one_code_is_a_login_or_an_act_never_both(tmp_path: Path, round_: int) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    desk = bank.open_desk(bank.open_store(10.0))[1]
    acts: list[Callable[[], object]] = [
        lambda: login(bank, taro),
        lambda: desk.enrolment.resynchronise("taro", taro.code(), taro.code(1), ME),
    ]
    found = race(acts)
    assert [isinstance(one, Refused | Reject) for one in found].count(True) == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_one_permit_lets_one_token_in(tmp_path: Path, round_: int) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    tokens = [bank.token(NEW), bank.token("VSMT00000098")]
    acts = [
        partial(desk.enrolment.change_by_permit, "taro", bank.permit, token.token_id, token.code(), ME)
        for desk, token in zip(two_desks(bank), tokens, strict=True)
    ]
    found = race(acts)
    assert sorted(type(answer).__name__ for answer in found) == ["Receipt", "Refused"]
    states = sorted(bank.token_line(token.token_id).state for token in tokens)
    assert states == [TokenState.AVAILABLE, TokenState.BOUND]


def test_wrong_codes_given_at_once_all_count(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=100))
    taro = bank.customer()
    one, other = two_desks(bank)
    bad = wrong(taro)
    race([partial(refused, partial(desk.enrolment.suspend, "taro", bad, ME)) for desk in (one, other) * 5])
    assert bank.login_record().failures == 10
