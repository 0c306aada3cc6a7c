"""Acts with the codes of a token that is verified elsewhere: asked for between two runs, spent in the second. A tiny
service stands for VIP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from otp_core.accounts import Desk, Refusal, Refused, VerificationNeeded, VerifiedCode, verified
from otp_core.accounts.verification import Code
from otp_core.audit import Event
from otp_core.model import BackendSilent, OtpUse, TokenSpec, TokenState
from otp_core.otp import Fit
from otp_core.store.unit_of_work import NewToken
from otp_core.verifier import CodeFinding, CodeQuestion
from tests.core.bank import STAFF, Bank, rules
from tests.core.desk_acts import TARO
from tests.core.test_desk_conflicts import failing, on

VIP, VIP_NEW = "VSMT11111111", "VSMT22222222"
T = TypeVar("T")


@dataclass
class Service:
    """Knows which codes of which token are right; each is good once. ``step``: some services tell it."""

    codes: dict[str, set[str]] = field(default_factory=lambda: {VIP: {"246802", "135791"}, VIP_NEW: {"975310"}})
    silent: bool = False
    step: int | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    async def verify(self, question: CodeQuestion) -> CodeFinding:
        token_id, code = question.token_id, question.code
        self.asked.append((token_id, code))
        await asyncio.sleep(0)
        if self.silent:
            raise BackendSilent("the service does not answer")
        if code not in self.codes[token_id]:
            return CodeFinding(token_id, Fit.WRONG)
        fit = Fit.REUSED if code in self.used else Fit.FITS
        self.used.add(code)
        return CodeFinding(token_id, fit, self.step)

    enrol = verify


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 30))


def begin(folder: Path) -> tuple[Bank, Service]:
    """A customer without a token, and two tokens in the inventory whose codes the service knows."""
    bank = Bank(folder, rules(lock_after=100))
    bank.customer("taro", None)
    with bank.store.work() as work:
        work.add_tokens([NewToken(token_id, None, TokenSpec(), "vip") for token_id in (VIP, VIP_NEW)])
    return bank, Service()


def enrolled(folder: Path) -> tuple[Bank, Service]:
    """And one of them is taro's; the code 246802 is used up."""
    bank, service = begin(folder)
    run(verified(enrol(bank.desk), ("246802",), {"vip": service}))
    service.asked.clear()
    return bank, service


def enrol(desk: Desk) -> Callable[[Code], object]:
    return lambda code: desk.enrolment.enrol("taro", VIP, code, TARO)


def suspend(desk: Desk) -> Callable[[Code], object]:
    return lambda code: desk.enrolment.suspend("taro", code, TARO)


def change(desk: Desk, new: str) -> Callable[[Code, Code], object]:
    return lambda old_code, code: desk.devices.change("taro", old_code, new, code, TARO)


def refusal(work: Coroutine[Any, Any, object]) -> Refusal:
    with pytest.raises(Refused) as caught:
        run(work)
    return caught.value.refusal


def test_without_a_finding_an_act_says_whom_to_ask_and_leaves_nothing(tmp_path: Path) -> None:
    bank, _ = begin(tmp_path)
    before, trail = bank.rows(), bank.audit()
    with pytest.raises(VerificationNeeded) as caught:
        enrol(bank.desk)("246 802")
    needed = caught.value
    assert (needed.token_id, needed.verifier, needed.code, needed.given) == (VIP, "vip", "246802", "246 802")
    assert "246802" not in str(needed)
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_a_token_is_enrolled_by_a_code_that_its_verifier_knows(tmp_path: Path) -> None:
    bank, service = begin(tmp_path)
    run(verified(enrol(bank.desk), ("２４６ 802",), {"vip": service}))
    assert service.asked == [(VIP, "246802")]
    record = bank.login_record()
    assert (record.otp_use, record.token_id, record.tokens[0].verifier, record.tokens[0].seed) == (
        OtpUse.ACTIVE,
        VIP,
        "vip",
        None,
    )
    assert (record.tokens[0].last_step, record.tokens[0].drift, record.failures) == (0, 0, 0), (
        "the first code is spent here too"
    )
    assert bank.audit()[-1].event == Event.ENROLLED


def test_a_right_code_suspends_and_is_spent(tmp_path: Path) -> None:
    bank, service = enrolled(tmp_path)
    run(verified(suspend(bank.desk), ("135791",), {"vip": service}))
    assert service.asked == [(VIP, "135791")]
    assert (bank.login_record().otp_use, bank.own_token().last_step) == (OtpUse.SUSPENDED, 1)


def test_a_wrong_code_is_counted_and_a_used_one_is_not(tmp_path: Path) -> None:
    bank, service = enrolled(tmp_path)
    assert refusal(verified(suspend(bank.desk), ("000000",), {"vip": service})) is Refusal.WRONG_CODE
    assert refusal(verified(suspend(bank.desk), ("246802",), {"vip": service})) is Refusal.REUSED_CODE
    assert (bank.login_record().otp_use, bank.login_record().failures) == (OtpUse.ACTIVE, 1)
    run(verified(suspend(bank.desk), ("135791",), {"vip": service}))
    assert bank.login_record().failures == 0


def test_a_new_token_is_not_enrolled_by_a_wrong_code_which_is_counted(tmp_path: Path) -> None:
    bank, service = begin(tmp_path)
    assert refusal(verified(enrol(bank.desk), ("000000",), {"vip": service})) is Refusal.TOKEN_OR_CODE
    assert bank.login_record().failures == 1
    assert bank.token_line(VIP).state == TokenState.AVAILABLE


@pytest.mark.parametrize("code", ["", "12345", "abcdef"])
def test_nobody_is_asked_about_what_is_no_code(tmp_path: Path, code: str) -> None:
    bank, service = enrolled(tmp_path)
    assert refusal(verified(suspend(bank.desk), (code,), {"vip": service})) is Refusal.NOT_A_CODE
    assert service.asked == []
    assert bank.login_record().failures == 0


def test_nobody_is_asked_for_a_customer_who_is_locked(tmp_path: Path) -> None:
    bank, service = enrolled(tmp_path)
    bank.desk.customers.lock("taro", STAFF)
    assert refusal(verified(suspend(bank.desk), ("135791",), {"vip": service})) is Refusal.LOCKED
    assert service.asked == []


def test_a_silent_verifier_changes_nothing(tmp_path: Path) -> None:
    bank, service = enrolled(tmp_path)
    service.silent = True
    before, trail = bank.rows(), bank.audit()
    with pytest.raises(BackendSilent, match="does not answer"):
        run(verified(suspend(bank.desk), ("135791",), {"vip": service}))
    with pytest.raises(BackendSilent, match="'vip' of token VSMT11111111 is not configured"):
        run(verified(suspend(bank.desk), ("135791",), {}))
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_a_verifier_that_answers_about_another_token_is_not_believed(tmp_path: Path) -> None:
    bank, _ = enrolled(tmp_path)

    class Confused:
        async def verify(self, question: CodeQuestion) -> CodeFinding:
            return CodeFinding(VIP_NEW, Fit.FITS)

        enrol = verify

    with pytest.raises(BackendSilent, match="answered about another token"):
        run(verified(suspend(bank.desk), ("135791",), {"vip": Confused()}))
    assert bank.login_record().otp_use == OtpUse.ACTIVE


def test_a_finding_about_another_token_is_worth_nothing(tmp_path: Path) -> None:
    bank, _ = enrolled(tmp_path)
    with pytest.raises(VerificationNeeded):
        suspend(bank.desk)(VerifiedCode("975310", (CodeFinding(VIP_NEW, Fit.FITS),)))
    assert "975310" not in repr(VerifiedCode("975310", (CodeFinding(VIP_NEW, Fit.FITS),)))


def test_a_device_changes_between_tokens_of_every_kind(tmp_path: Path) -> None:
    """Elsewhere to elsewhere, to a token that is verified here, and back."""
    bank, service = enrolled(tmp_path)
    here, verifiers = bank.token("VSMT00000099"), {"vip": service}
    run(verified(change(bank.desk, VIP_NEW), ("135791", "975310"), verifiers))
    assert service.asked == [(VIP, "135791"), (VIP_NEW, "975310")]
    assert (bank.login_record().token_id, bank.token_line(VIP).state) == (VIP_NEW, TokenState.RETIRED)
    service.codes[VIP_NEW].add("864202")
    run(verified(change(bank.desk, here.token_id), ("864202", here.code()), verifiers))
    assert (bank.login_record().token_id, bank.own_token().last_step) == (here.token_id, here.step())
    third = "VSMT33333333"
    service.codes[third] = {"112233"}
    with bank.store.work() as work:
        work.add_tokens([NewToken(third, None, TokenSpec(), "vip")])
    run(verified(change(bank.desk, third), (here.code(1), "112233"), verifiers))
    assert bank.login_record().token_id == third
    assert bank.token_line(here.token_id).state == TokenState.RETIRED


def test_two_equal_codes_of_two_tokens_are_each_asked_for_once(tmp_path: Path) -> None:
    bank, service = enrolled(tmp_path)
    here = bank.token("VSMT00000099")
    run(verified(change(bank.desk, here.token_id), ("135791", here.code()), {"vip": service}))
    service.asked.clear()
    text = here.code(1)
    service.codes[VIP_NEW] = {text}
    run(verified(change(bank.desk, VIP_NEW), (text, text), {"vip": service}))
    assert service.asked == [(VIP_NEW, text)]
    assert bank.login_record().token_id == VIP_NEW


def test_an_old_code_that_is_right_is_not_spent_here_if_the_new_one_is_wrong(tmp_path: Path) -> None:
    bank, service = enrolled(tmp_path)
    work = verified(change(bank.desk, VIP_NEW), ("135791", "000000"), {"vip": service})
    assert refusal(work) is Refusal.TOKEN_OR_CODE
    record = bank.login_record()
    assert (record.token_id, record.tokens[0].last_step, record.failures) == (VIP, 0, 1)


def test_a_verifier_is_asked_once_however_often_the_act_is_run(tmp_path: Path) -> None:
    bank, service = enrolled(tmp_path)
    store = failing(bank, conflicts=2)
    run(verified(suspend(on(store, bank)), ("135791",), {"vip": service}))
    assert store.runs == 3
    assert service.asked == [(VIP, "135791")]
    assert bank.login_record().otp_use == OtpUse.SUSPENDED


def test_a_step_that_the_verifier_tells_is_spent_and_never_twice(tmp_path: Path) -> None:
    bank, service = enrolled(tmp_path)
    service.step = 500
    run(verified(suspend(bank.desk), ("135791",), {"vip": service}))
    assert bank.own_token().last_step == 500
    bank.desk.enrolment.resume("taro", STAFF)
    service.codes[VIP].add("864202")
    assert refusal(verified(suspend(bank.desk), ("864202",), {"vip": service})) is Refusal.REUSED_CODE
    assert bank.login_record().failures == 0


def test_a_token_that_is_verified_elsewhere_is_not_resynchronised_here(tmp_path: Path) -> None:
    bank, _ = enrolled(tmp_path)
    with pytest.raises(Refused, match="vip verifies this token's codes") as caught:
        bank.desk.enrolment.resynchronise("taro", "135791", "246802", STAFF)
    assert caught.value.refusal is Refusal.NOT_NOW
