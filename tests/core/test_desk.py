"""Every act of the counter and of the customer's own pages: in every state, one transaction, with its audit row."""

from __future__ import annotations

import base64
import sqlite3
import threading
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyotp
import pytest

from otp_core.accounts import Desk, IssuedToken, Principal, Receipt, Refusal, Refused, ReissuePermit
from otp_core.accounts.lifecycle import CUSTOMER, Move
from otp_core.audit import Event
from otp_core.clock import ClockSetBack
from otp_core.login.policy import Delays
from otp_core.login.requests import LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import (
    Accept,
    Algorithm,
    Attempt,
    Kind,
    Language,
    OtpUse,
    Reject,
    StoreUnavailable,
    TokenSpec,
    TokenState,
)
from otp_core.sealing import KeyProblem
from otp_core.store.queries import customer_line
from otp_core.store.unit_of_work import NewCustomer
from tests.core.bank import CODE, NOON, STAFF, Bank, Holder, rules

ME = Principal("taro himself", "198.51.100.9", "portal")
NEW = "VSMT00000099"


def refused(act: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value


def wrong(*holders: Holder) -> str:
    """A code that none of these shows now."""
    shown = {holder.code(away) for holder in holders for away in range(-3, 4)}
    return next(text for text in map("{:06d}".format, range(900_000, 900_100)) if text not in shown)


def login(bank: Bank, holder: Holder, code: str | None = None, fingerprint: int = 0) -> object:
    """The verdict on a code alone, by the login batch as every door uses it."""
    text = holder.code() if code is None else code
    case = LoginRequest(
        Attempt(holder.contract_id, text, CODE, "gateway", fingerprint=fingerprint), Stage.CODE, code=text
    )
    login_batch = bank.store.login_batch()
    try:
        decision = login_batch.run(
            [holder.contract_id],
            [],
            lambda facts: bank.evaluator.evaluate([case], facts, bank.guarded.now(), bank.store.ids),
        )
    finally:
        login_batch.close()
    return decision.verdicts[0]


def reason(verdict: object) -> str:
    assert isinstance(verdict, Reject), verdict
    return verdict.reason


# Every act in every state.

Act = Callable[[Bank, Holder, Holder], object]
ACTS: dict[Move, Act] = {
    Move.ENROL: lambda bank, taro, new: bank.desk.enrol("taro", new.token_id, new.code(), ME),
    Move.SUSPEND: lambda bank, taro, new: bank.desk.suspend("taro", taro.code(), ME),
    Move.RESUME: lambda bank, taro, new: bank.desk.resume("taro", STAFF),
    Move.CHANGE_DEVICE: lambda bank, taro, new: bank.desk.change_device(
        "taro", taro.code(), new.token_id, new.code(), ME
    ),
    Move.CHANGE_BY_PERMIT: lambda bank, taro, new: bank.desk.change_by_permit(
        "taro", bank.permit, new.token_id, new.code(), ME
    ),
    Move.REPORT_LOST: lambda bank, taro, new: bank.desk.report_lost("taro", STAFF),
    Move.PERMIT_REISSUE: lambda bank, taro, new: bank.desk.permit_reissue("taro", STAFF),
}
DONE: dict[Move, Event] = {
    Move.ENROL: Event.ENROLLED,
    Move.SUSPEND: Event.SUSPENDED,
    Move.RESUME: Event.RESUMED,
    Move.CHANGE_DEVICE: Event.DEVICE_CHANGED,
    Move.CHANGE_BY_PERMIT: Event.DEVICE_CHANGED,
    Move.REPORT_LOST: Event.REPORTED_LOST,
    Move.PERMIT_REISSUE: Event.REISSUE_PERMITTED,
}
NEW_TOKEN_IN_HAND = (Move.ENROL, Move.CHANGE_DEVICE, Move.CHANGE_BY_PERMIT)
RETIRING = ((OtpUse.ACTIVE, Move.CHANGE_DEVICE), (OtpUse.SUSPENDED, Move.ENROL))
"""Where the customer's old token dies by it, and leaves a row of its own."""


@pytest.mark.parametrize("move", list(Move))
@pytest.mark.parametrize("use", list(OtpUse))
def test_an_act_is_carried_out_where_the_table_allows_it_and_refused_everywhere_else(
    tmp_path: Path, use: OtpUse, move: Move
) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.in_state(use), bank.token(NEW)
    after = CUSTOMER.get((use, move))
    before, trail = bank.rows(), bank.audit()
    if after is None:
        refusal = refused(lambda: ACTS[move](bank, taro, new))
        assert refusal.refusal is Refusal.NOT_NOW
        assert f"cannot {move}" in refusal.detail
        assert bank.rows() == before
        (row,) = bank.audit()[len(trail) :]
        assert (row.event, row.customer, row.reason) == (Event.REFUSED, "taro", str(refusal))
        return
    ACTS[move](bank, taro, new)
    *before_it, row = bank.audit()[len(trail) :]
    assert (row.event, row.customer) == (DONE[move], "taro")
    retired = [(Event.TOKEN_RETIRED, "desk", "taro", "VSMT00000001")] if (use, move) in RETIRING else []
    assert [(one.event, one.actor, one.customer, one.token) for one in before_it] == retired
    assert not retired or row.reason == "portal; was VSMT00000001"
    record = bank.login_record()
    assert record.otp_use == after
    assert record.token_id == (NEW if move in NEW_TOKEN_IN_HAND else before_token(use))
    if move in NEW_TOKEN_IN_HAND:
        new.contract_id = "taro"
        assert bank.token_line(NEW).state == TokenState.BOUND
        assert reason(login(bank, new)) == Finding.REUSED, "the code that enrolled cannot log in"
        assert login(bank, new, new.code(1)) == Accept()


def before_token(use: OtpUse) -> str | None:
    return None if use is OtpUse.NONE else "VSMT00000001"


@pytest.mark.parametrize("use", list(OtpUse))
def test_a_token_is_resynchronised_where_it_is_active_and_nowhere_else(tmp_path: Path, use: OtpUse) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(use)
    before = bank.rows()
    if use is OtpUse.ACTIVE:
        bank.desk.resynchronise("taro", taro.code(50), taro.code(51), STAFF)
        assert (bank.login_record().last_step, bank.login_record().drift) == (taro.step(51), 51)
        return
    refusal = refused(lambda: bank.desk.resynchronise("taro", taro.code(50), taro.code(51), STAFF))
    assert refusal.refusal is Refusal.NOT_NOW
    assert bank.rows() == before


@pytest.mark.parametrize("use", list(OtpUse))
def test_everybody_can_be_locked_and_unlocked(tmp_path: Path, use: OtpUse) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(use)
    assert refused(lambda: bank.desk.unlock("taro", STAFF)).refusal is Refusal.NOT_NOW
    bank.desk.lock("taro", STAFF)
    assert bank.login_record().locked_at == int(NOON * 1000)
    assert refused(lambda: bank.desk.lock("taro", STAFF)).refusal is Refusal.NOT_NOW
    assert reason(login(bank, taro, "123456")) == Finding.LOCKED
    bank.desk.unlock("taro", STAFF)
    assert (bank.login_record().locked_at, bank.login_record().failures, bank.login_record().otp_use) == (None, 0, use)


@pytest.mark.parametrize(
    "act",
    [
        *(lambda bank, act=act: act(bank, bank.token(), bank.token(NEW)) for act in ACTS.values()),
        lambda bank: bank.desk.resynchronise("taro", "123456", "123457", STAFF),
        lambda bank: bank.desk.lock("taro", STAFF),
        lambda bank: bank.desk.unlock("taro", STAFF),
    ],
)
def test_every_act_on_an_unknown_customer_is_refused_and_leaves_a_row(
    tmp_path: Path, act: Callable[[Bank], object]
) -> None:
    bank = Bank(tmp_path)
    assert refused(lambda: act(bank)).refusal is Refusal.UNKNOWN_CUSTOMER
    assert [(row.event, row.customer) for row in bank.audit()][-1] == (Event.REFUSED, "taro")


# Who did it, where from and why.


def test_a_row_says_who_acted_where_from_and_why_and_the_receipt_names_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    receipt = bank.desk.suspend("taro", taro.code(), ME)
    row = bank.audit()[-1]
    assert row[1:] == ("otp.suspended", "taro himself", "taro", "VSMT00000001", "198.51.100.9", "portal")
    assert receipt == Receipt(row.id, "taro", "VSMT00000001")


def test_a_device_change_tells_what_the_old_token_was(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, new, newer = bank.customer(), bank.token(NEW), bank.token("VSMT00000098")
    bank.desk.change_device("taro", taro.code(), NEW, new.code(), Principal("taro"))
    bank.desk.change_device("taro", new.code(1), newer.token_id, newer.code(), ME)
    assert [row.reason for row in bank.audit(event="otp.device-changed")] == [
        "was VSMT00000001",
        f"portal; was {NEW}",
    ]


def test_a_contract_id_is_written_down_as_it_is_kept_however_it_was_typed(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.desk.add_customer("ｔａｒｏ０１ ", STAFF)
    token = bank.token()
    wide = "　ｔａｒｏ０１"
    receipts = [bank.desk.enrol(wide, token.token_id, token.code(), ME), bank.desk.suspend(wide, None, STAFF)]
    receipts += [bank.desk.resume(wide, STAFF), bank.desk.lock(wide, STAFF), bank.desk.unlock(wide, STAFF)]
    refused(lambda: bank.desk.resume(wide, STAFF))
    refused(lambda: bank.desk.lock("ｎｏｂｏｄｙ", STAFF))
    assert {receipt.customer for receipt in receipts} == {"taro01"}
    assert {row.customer for row in bank.audit()} == {None, "taro01", "nobody"}


def test_nothing_secret_is_written_down_or_shown(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.in_state(OtpUse.REISSUE_PERMITTED), bank.token(NEW)
    issued, permit = bank.desk.issue_token(STAFF), bank.desk.permit_reissue("taro", STAFF)
    shown: list[object] = [issued, permit]
    shown.append(refused(lambda: bank.desk.change_by_permit("taro", bank.permit, NEW, new.code(), ME)))
    shown.append(bank.desk.change_by_permit("taro", permit.text, NEW, new.code(1), ME))
    shown.append(refused(lambda: bank.desk.suspend("taro", wrong(new), ME)))
    words = [permit.text, bank.permit, issued.secret, issued.uri, new.code(), new.code(1), wrong(new), taro.seed.hex()]
    text = repr(shown) + "".join(map(str, shown)) + repr(bank.audit())
    assert [word for word in words if word in text] == []
    seeds = [taro.seed, base64.b32decode(issued.secret + "=" * (-len(issued.secret) % 8))]
    kept = [*seeds, permit.text.encode(), permit.text.replace("-", "").encode()]
    files = b"".join(file.read_bytes() for file in tmp_path.glob("bank.db*"))
    assert [one for one in kept if one in files] == []


# Customers.


def test_a_customer_is_added_with_what_is_known_of_them_and_without_a_token(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.desk.add_customer(
        " taro ",
        STAFF,
        password_hash="a hash",
        name="山田 太郎",
        email="taro@example.jp",
        language=Language.EN,
        attributes={"Filter-Id": "gold"},
    )
    with bank.store.read() as connection:
        line = customer_line(connection, "taro")
    assert line is not None
    assert line == (
        "taro",
        OtpUse.NONE,
        None,
        None,
        None,
        0,
        "山田 太郎",
        "taro@example.jp",
        "en",
        '{"Filter-Id": "gold"}',
        True,
        None,
    )


def test_a_contract_id_is_given_once(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.desk.add_customer("taro", STAFF)
    before = bank.rows()
    assert refused(lambda: bank.desk.add_customer("ｔａｒｏ", STAFF)).refusal is Refusal.CUSTOMER_EXISTS
    assert bank.rows() == before
    bank.desk.add_customer("Taro", STAFF)


def test_imported_customers_come_with_their_tokens_active_all_or_none(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    token = bank.token()
    with bank.store.work() as work:
        record = work.token(token.token_id)
    assert record is not None
    new = [NewCustomer("taro", "a hash", token_key=record.key), NewCustomer("jiro", None)]
    bank.desk.import_customers(new, [token.token_id, None], STAFF)
    token.contract_id = "taro"
    assert login(bank, token) == Accept()
    assert [(row.event, row.customer, row.token) for row in bank.audit()[1:-1]] == [
        (Event.ENROLLED, "taro", "VSMT00000001"),
        (Event.CUSTOMER_ADDED, "jiro", None),
    ]
    before, trail = bank.rows(), bank.audit()
    again = [NewCustomer("saburo", None), NewCustomer("shiro", None, token_key=record.key)]
    with pytest.raises(StoreUnavailable, match="was bound by somebody else"):
        bank.desk.import_customers(again, [None, token.token_id], STAFF)
    assert (bank.rows(), bank.audit()) == (before, trail)


# Journey 2: enrol.


def test_enrolling_binds_the_token_and_learns_its_drift(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    token = bank.token()
    bank.desk.enrol("taro", "vsmt-0000 0001", token.code(1), ME)
    line = bank.token_line()
    assert (line.state, line.contract_id, line.last_step, line.drift) == (TokenState.BOUND, "taro", token.step(1), 1)
    assert line.last_at == int(NOON * 1000)


@pytest.mark.parametrize("spec", [TokenSpec(Kind.HOTP), TokenSpec(algorithm=Algorithm.SHA256, digits=8, period=60)])
def test_every_kind_of_token_can_be_enrolled(tmp_path: Path, spec: TokenSpec) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    token = bank.token(spec=spec)
    bank.desk.enrol("taro", token.token_id, token.code(1), ME)
    token.contract_id = "taro"
    assert reason(login(bank, token, token.code(1))) == Finding.REUSED
    assert login(bank, token, token.code(2)) == Accept()


def test_an_unknown_token_somebody_elses_and_a_wrong_code_are_one_refusal_and_each_counts(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    mine = bank.token()
    theirs, gone, retired = (bank.customer(f"jiro{n}", f"VSMT0000001{n}") for n in range(3))
    bank.desk.report_lost("jiro1", STAFF)
    other = bank.token(NEW)
    bank.desk.change_device("jiro2", retired.code(), NEW, other.code(), STAFF)
    tries = [
        ("VSMT77777777", "123456", "is not in the inventory"),
        (theirs.token_id, theirs.code(), "is bound"),
        (gone.token_id, gone.code(), "is lost"),
        (retired.token_id, retired.code(1), "is retired"),
        (mine.token_id, wrong(mine), "wrong code"),
    ]
    for count, (token_id, code, detail) in enumerate(tries, 1):
        refusal = refused(partial(bank.desk.enrol, "taro", token_id, code, ME))
        assert refusal.refusal is Refusal.TOKEN_OR_CODE
        assert detail in refusal.detail
        assert bank.login_record().failures == count
    assert bank.token_line(theirs.token_id).contract_id == "jiro0"
    bank.desk.enrol("taro", mine.token_id, mine.code(), ME)
    assert bank.login_record().failures == 0


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef"])
def test_what_is_no_code_enrols_nobody_and_does_not_count(tmp_path: Path, code: str) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    token = bank.token()
    before = bank.rows()
    assert refused(lambda: bank.desk.enrol("taro", token.token_id, code, ME)).refusal is Refusal.TOKEN_OR_CODE
    assert bank.rows() == before


def test_a_code_that_was_used_enrols_nobody_and_does_not_count(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.desk.suspend("taro", taro.code(), ME)
    refusal = refused(lambda: bank.desk.enrol("taro", taro.token_id, taro.code(), ME))
    assert (refusal.refusal, refusal.detail) == (Refusal.TOKEN_OR_CODE, "reused code of token VSMT00000001")
    assert bank.login_record().failures == 0


def test_who_was_suspended_comes_back_with_their_own_token(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(OtpUse.SUSPENDED)
    bank.desk.enrol("taro", taro.token_id, taro.code(), ME)
    assert bank.login_record().otp_use == OtpUse.ACTIVE
    assert bank.token_line().state == TokenState.BOUND
    assert login(bank, taro, taro.code(1)) == Accept()


def test_who_was_suspended_may_come_back_with_another_token_and_the_old_one_dies(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.SUSPENDED)
    new = bank.token(NEW)
    bank.desk.enrol("taro", NEW, new.code(), ME)
    assert bank.token_line("VSMT00000001").state == TokenState.RETIRED
    assert bank.token_line(NEW).contract_id == "taro"


def test_nobody_enrols_with_the_token_of_somebody_who_is_suspended(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(OtpUse.SUSPENDED)
    bank.customer("jiro", None)
    refusal = refused(lambda: bank.desk.enrol("jiro", taro.token_id, taro.code(), ME))
    assert refusal.refusal is Refusal.TOKEN_OR_CODE


# Journey 3: suspend.


def test_suspending_spends_the_code_and_login_is_password_only_again(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.desk.suspend("taro", taro.code(), ME)
    assert login(bank, taro, "the gateway has checked the password") == Accept()
    bank.desk.resume("taro", STAFF)
    assert reason(login(bank, taro)) == Finding.REUSED
    assert login(bank, taro, taro.code(1)) == Accept()


def test_staff_suspends_without_a_code_even_a_locked_customer(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    bank.desk.lock("taro", STAFF)
    bank.desk.suspend("taro", None, STAFF)
    assert (bank.login_record().otp_use, bank.login_record().last_step) == (OtpUse.SUSPENDED, -1)


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
    assert refused(lambda: bank.desk.suspend("taro", text, ME)).refusal is refusal
    assert (bank.login_record().otp_use, bank.login_record().failures) == (OtpUse.ACTIVE, failures)
    assert bank.audit()[-1].event == Event.REFUSED


def test_no_request_may_claim_a_code_that_was_spent_at_the_desk(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    assert login(bank, taro, taro.code(), fingerprint=7) == Accept()
    bank.desk.suspend("taro", taro.code(1), ME)
    bank.desk.resume("taro", STAFF)
    assert reason(login(bank, taro, taro.code(1), fingerprint=7)) == Finding.REUSED


# Journey 4: device change.


def test_the_old_token_works_until_the_moment_in_which_the_new_one_lives(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.customer(), bank.token(NEW)
    new.contract_id = "taro"
    refused(lambda: bank.desk.change_device("taro", taro.code(), NEW, wrong(new), ME))
    assert reason(login(bank, new)) == Finding.WRONG
    assert login(bank, taro) == Accept(), "the code of the attempt that failed was not used up"
    bank.desk.change_device("taro", taro.code(1), NEW, new.code(), ME)
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
    found = refused(lambda: bank.desk.change_device("taro", codes[old], NEW, news[new], ME))
    assert found.refusal is refusal
    assert without_counts(bank) == before
    assert bank.login_record().failures == failures


def without_counts(bank: Bank) -> dict[str, Any]:
    """Everything, except how many wrong codes there were and when."""
    record = replace(bank.login_record(), failures=0, failed_at=0, failed_fingerprint=0)
    return {**{name: rows for name, rows in bank.rows().items() if name != "customer"}, "taro": record}


def test_the_old_tokens_code_proves_nothing_of_a_new_token_that_is_not_free(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    refusal = refused(lambda: bank.desk.change_device("taro", taro.code(), jiro.token_id, jiro.code(), ME))
    assert refusal.refusal is Refusal.TOKEN_OR_CODE
    refusal = refused(lambda: bank.desk.change_device("taro", taro.code(), taro.token_id, taro.code(), ME))
    assert refusal.refusal is Refusal.TOKEN_OR_CODE
    assert bank.token_line("VSMT00000001").state == TokenState.BOUND


def test_a_device_change_to_the_token_in_hand_is_refused_even_where_tokens_are_shared(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    taro = bank.customer()
    refused(lambda: bank.desk.change_device("taro", taro.code(), taro.token_id, taro.code(1), ME))
    assert bank.token_line().state == TokenState.BOUND
    assert login(bank, taro) == Accept()


# Journey 5: lost, and the permit.


def test_a_lost_token_is_refused_everywhere_from_that_moment(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.customer("jiro", None)
    bank.desk.report_lost("taro", STAFF)
    assert reason(login(bank, taro)) == Finding.LOST
    assert bank.token_line().state == TokenState.LOST
    for act in (
        lambda: bank.desk.suspend("taro", taro.code(), ME),
        lambda: bank.desk.change_device("taro", taro.code(), NEW, "123456", ME),
        lambda: bank.desk.resynchronise("taro", taro.code(), taro.code(1), ME),
        lambda: bank.desk.enrol("taro", taro.token_id, taro.code(), ME),
        lambda: bank.desk.enrol("jiro", taro.token_id, taro.code(), ME),
        lambda: bank.desk.retire_token(taro.token_id, STAFF),
    ):
        refused(act)
    assert bank.token_line().state == TokenState.LOST


def test_a_permit_takes_the_place_of_the_old_tokens_code_once(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new, newer = bank.token(NEW), bank.token("VSMT00000098")
    bank.desk.change_by_permit("taro", bank.permit, NEW, new.code(), ME)
    assert bank.rows()["permit"] == []
    assert bank.token_line("VSMT00000001").state == TokenState.LOST, "a lost token stays lost"
    bank.desk.report_lost("taro", STAFF)
    bank.desk.permit_reissue("taro", STAFF)
    found = refused(lambda: bank.desk.change_by_permit("taro", bank.permit, newer.token_id, newer.code(), ME))
    assert found.refusal is Refusal.WRONG_PERMIT, "an old permit opens nothing"


def test_a_permit_may_be_typed_in_any_request_width_and_grouping(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    assert len(bank.permit.replace("-", "")) == 12
    wide = "".join(chr(ord(sign) + 0xFEE0) if sign != "-" else "ー" for sign in bank.permit.lower())
    bank.desk.change_by_permit("taro", f" {wide} ", NEW, new.code(), ME)


def test_a_permit_expires(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(permit_hours=72))
    bank.in_state(OtpUse.LOST)
    permit = bank.desk.permit_reissue("taro", STAFF)
    assert permit.expires_at == int(NOON * 1000) + 72 * 3_600_000
    new = bank.token(NEW)
    bank.clock.now += 72 * 3600
    found = refused(lambda: bank.desk.change_by_permit("taro", permit.text, NEW, new.code(), ME))
    assert found.refusal is Refusal.WRONG_PERMIT
    assert bank.login_record().otp_use == OtpUse.REISSUE_PERMITTED


def test_a_permit_is_good_until_the_last_moment(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(permit_hours=72))
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    bank.clock.now += 72 * 3600 - 0.5
    bank.desk.change_by_permit("taro", bank.permit, NEW, new.code(), ME)


@pytest.mark.parametrize("permit", ["", "AAAA-AAAA-AAAA", "a book " * 20_000])
def test_a_wrong_permit_is_refused_counted_and_uses_nothing_up(tmp_path: Path, permit: str) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    before = without_counts(bank)
    found = refused(lambda: bank.desk.change_by_permit("taro", permit, NEW, new.code(), ME))
    assert found.refusal is Refusal.WRONG_PERMIT
    assert without_counts(bank) == before
    assert bank.login_record().failures == 1
    bank.desk.change_by_permit("taro", bank.permit, NEW, new.code(), ME)


def test_a_wrong_code_of_the_new_token_does_not_use_the_permit_up(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    refused(lambda: bank.desk.change_by_permit("taro", bank.permit, NEW, wrong(new), ME))
    bank.desk.change_by_permit("taro", bank.permit, NEW, new.code(), ME)


def test_a_permit_is_for_its_own_customer(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    taros = bank.permit
    bank.in_state(OtpUse.REISSUE_PERMITTED, "jiro", "VSMT00000002")
    new = bank.token(NEW)
    assert (
        refused(lambda: bank.desk.change_by_permit("jiro", taros, NEW, new.code(), ME)).refusal is Refusal.WRONG_PERMIT
    )


def test_a_second_permit_replaces_the_first(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    new = bank.token(NEW)
    second = bank.desk.permit_reissue("taro", STAFF)
    refused(lambda: bank.desk.change_by_permit("taro", bank.permit, NEW, new.code(), ME))
    bank.desk.change_by_permit("taro", second.text, NEW, new.code(), ME)


def test_a_permit_dies_when_the_token_is_reported_lost_again(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    bank.desk.report_lost("taro", STAFF)
    assert bank.rows()["permit"] == []
    assert bank.login_record().otp_use == OtpUse.LOST


def test_no_two_permits_are_the_same(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.LOST)
    permits = {bank.desk.permit_reissue("taro", STAFF).text for _ in range(20)}
    assert len(permits) == 20
    assert not set("".join(permits)) & set("01ILO"), "letters and digits that nobody confuses"


# Resynchronisation.


def test_a_resynchronised_token_logs_in_again_and_its_two_codes_do_not(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    assert reason(login(bank, taro, taro.code(50))) == Finding.WRONG
    bank.desk.resynchronise("taro", taro.code(50), taro.code(51), STAFF)
    assert bank.login_record().failures == 0
    assert reason(login(bank, taro, taro.code(50))) == Finding.REUSED
    assert reason(login(bank, taro, taro.code(51))) == Finding.REUSED
    assert login(bank, taro, taro.code(52)) == Accept()


def test_a_counter_token_is_resynchronised_ahead_of_its_counter(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(spec=TokenSpec(Kind.HOTP))
    bank.desk.resynchronise("taro", taro.code(700), taro.code(701), STAFF)
    assert (bank.login_record().last_step, bank.login_record().drift) == (701, 0)
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
    assert refused(lambda: bank.desk.resynchronise("taro", codes[0], codes[1], STAFF)).refusal is refusal
    assert without_counts(bank) == before
    assert bank.login_record().failures == failures


# Wrong codes at the desk count as at every door.


def by_hand(bank: Bank, holder: Holder, new: Holder) -> dict[str, Callable[[], object]]:
    """Acts that ask for a code, each with a wrong one."""
    bad = wrong(holder, new)
    return {
        "suspend": lambda: bank.desk.suspend("taro", bad, ME),
        "change device": lambda: bank.desk.change_device("taro", bad, NEW, new.code(), ME),
        "change device, new code": lambda: bank.desk.change_device("taro", holder.code(), NEW, bad, ME),
        "resynchronise": lambda: bank.desk.resynchronise("taro", bad, bad, ME),
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
    assert (row.actor, row.customer, row.reason) == ("desk", "taro", "5 wrong codes in a row")
    assert row.token == "VSMT00000001"
    assert [line.event for line in bank.audit()][-2:] == ["customer.locked", "act.refused"]
    assert reason(login(bank, taro)) == Finding.LOCKED


@pytest.mark.parametrize("name", ["suspend", "change device", "change device, new code", "resynchronise"])
def test_a_locked_customer_can_do_nothing_that_asks_for_a_code(tmp_path: Path, name: str) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.customer(), bank.token(NEW)
    bank.desk.lock("taro", STAFF)
    before = bank.rows()
    assert refused(by_hand(bank, taro, new)[name]).refusal is Refusal.LOCKED
    assert bank.rows() == before


def test_a_locked_customer_can_neither_enrol_nor_use_a_permit(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    bank.customer("jiro", None)
    new = bank.token(NEW)
    bank.desk.lock("taro", STAFF)
    bank.desk.lock("jiro", STAFF)
    assert (
        refused(lambda: bank.desk.change_by_permit("taro", bank.permit, NEW, new.code(), ME)).refusal is Refusal.LOCKED
    )
    assert refused(lambda: bank.desk.enrol("jiro", NEW, new.code(), ME)).refusal is Refusal.LOCKED


def test_after_wrong_codes_the_next_act_must_wait_too(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(code_delays=Delays(free=1, first=4.0, longest=8.0)))
    taro = bank.customer()
    for _ in range(2):
        refused(lambda: bank.desk.suspend("taro", wrong(taro), ME))
    bank.clock.now += 3.5
    assert refused(lambda: bank.desk.suspend("taro", taro.code(), ME)).refusal is Refusal.TOO_SOON
    assert bank.login_record().failures == 2
    bank.clock.now += 0.5
    bank.desk.suspend("taro", taro.code(), ME)
    assert bank.login_record().failures == 0


def test_unlocking_forgives_the_wrong_codes(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=2))
    taro = bank.customer()
    for _ in range(2):
        login(bank, taro, wrong(taro))
    bank.desk.unlock("taro", STAFF)
    assert (bank.login_record().failures, bank.login_record().locked_at) == (0, None)
    assert reason(login(bank, taro, wrong(taro))) == Finding.WRONG
    assert bank.login_record().locked_at is None
    assert login(bank, taro) == Accept()


def test_staffs_lock_keeps_the_count_of_wrong_codes(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    login(bank, taro, wrong(taro))
    bank.desk.lock("taro", STAFF)
    assert bank.login_record().failures == 1


# The inventory.


@pytest.mark.parametrize(
    ("algorithm", "octets"), [(Algorithm.SHA1, 20), (Algorithm.SHA256, 32), (Algorithm.SHA512, 64)]
)
def test_an_issued_token_shows_its_seed_once_and_an_app_can_use_it(
    tmp_path: Path, algorithm: Algorithm, octets: int
) -> None:
    bank = Bank(tmp_path)
    issued = bank.desk.issue_token(STAFF, spec=TokenSpec(algorithm=algorithm, digits=8), issuer="当金庫")
    app = pyotp.parse_uri(issued.uri)
    assert isinstance(app, pyotp.TOTP)
    assert len(app.byte_secret()) == octets
    assert (app.name, app.issuer, app.secret) == (issued.token_id, "当金庫", issued.secret)
    bank.customer("taro", None)
    bank.desk.enrol("taro", issued.token_id, app.at(int(bank.clock.now)), ME)
    (row,) = bank.audit(event="token.issued")
    assert (row.token, row.actor) == (issued.token_id, "staff")


def test_a_counter_token_is_issued_with_its_counter(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    issued = bank.desk.issue_token(STAFF, spec=TokenSpec(Kind.HOTP))
    app = pyotp.parse_uri(issued.uri)
    assert isinstance(app, pyotp.HOTP)
    assert urllib.parse.urlsplit(issued.uri).netloc == "hotp"
    bank.customer("taro", None)
    bank.desk.enrol("taro", issued.token_id, app.at(0), ME)


def test_issued_tokens_have_ids_of_their_own(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    ids = {bank.desk.issue_token(STAFF).token_id for _ in range(20)}
    assert len(ids) == 20
    assert all(token_id.startswith("SKSO") and len(token_id) == 12 for token_id in ids)


def test_an_id_that_is_taken_is_not_issued_again(tmp_path: Path) -> None:
    """The one ID that is drawn first is in the inventory already."""
    bank = Bank(tmp_path)
    bank.token("SKSO00000007")
    draws = iter([7, 7, 8])
    desk = Desk(bank.store, bank.evaluator, bank.guarded.now, lambda _: next(draws))
    assert desk.issue_token(STAFF).token_id == "SKSO00000008"


def test_a_token_in_the_inventory_can_be_retired_and_is_never_bound_again(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    token = bank.token()
    bank.customer("taro", None)
    bank.desk.retire_token("ｖｓｍｔ 0000-0001", STAFF)
    assert bank.token_line().state == TokenState.RETIRED
    assert refused(lambda: bank.desk.retire_token(token.token_id, STAFF)).refusal is Refusal.NOT_NOW
    assert refused(lambda: bank.desk.enrol("taro", token.token_id, token.code(), ME)).refusal is Refusal.TOKEN_OR_CODE


def test_a_token_that_a_customer_holds_is_not_retired(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    refusal = refused(lambda: bank.desk.retire_token("VSMT00000001", STAFF))
    assert refusal.refusal is Refusal.NOT_NOW
    assert "bound to taro" in refusal.detail
    assert refused(lambda: bank.desk.retire_token("VSMT77777777", STAFF)).refusal is Refusal.UNKNOWN_TOKEN


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
    bank.desk.enrol("saburo", taro.token_id, taro.code(), ME)
    assert bank.login_record("saburo").token_id == taro.token_id
    assert reason(login(bank, taro)) == Finding.REUSED


@pytest.mark.parametrize("state", [TokenState.LOST, TokenState.RETIRED])
def test_a_dead_token_is_enrolled_by_nobody_even_where_tokens_are_shared(tmp_path: Path, state: TokenState) -> None:
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    taro, new = bank.customer(), bank.token(NEW)
    bank.customer("saburo", None)
    if state is TokenState.LOST:
        bank.desk.report_lost("taro", STAFF)
    else:
        bank.desk.change_device("taro", taro.code(), NEW, new.code(), ME)
    bank.clock.now += 60
    refusal = refused(lambda: bank.desk.enrol("saburo", taro.token_id, taro.code(), ME))
    assert (refusal.refusal, refusal.detail) == (Refusal.TOKEN_OR_CODE, f"token VSMT00000001 is {state}")
    assert bank.token_line().state == state


def test_a_shared_token_lives_on_until_the_last_one_changes(tmp_path: Path) -> None:
    bank, taro, jiro = shared(tmp_path)
    new, newer = bank.token(NEW), bank.token("VSMT00000098")
    bank.desk.change_device("taro", taro.code(), NEW, new.code(), ME)
    assert bank.token_line().state == TokenState.BOUND
    assert reason(login(bank, jiro)) == Finding.REUSED, "the code that changed the device cannot log in anybody"
    assert login(bank, jiro, jiro.code(1)) == Accept()
    bank.clock.now += 60
    bank.desk.change_device("jiro", jiro.code(), newer.token_id, newer.code(), ME)
    assert bank.token_line().state == TokenState.RETIRED


def test_a_shared_token_that_one_reports_lost_is_refused_from_all(tmp_path: Path) -> None:
    bank, _, jiro = shared(tmp_path)
    new = bank.token(NEW)
    bank.desk.report_lost("taro", STAFF)
    assert reason(login(bank, jiro)) == Finding.LOST
    before = bank.rows()
    for act in (
        lambda: bank.desk.suspend("jiro", jiro.code(), ME),
        lambda: bank.desk.change_device("jiro", jiro.code(), NEW, new.code(), ME),
        lambda: bank.desk.resynchronise("jiro", jiro.code(), jiro.code(1), ME),
    ):
        assert refused(act).refusal is Refusal.NOT_NOW
    assert bank.rows() == before
    bank.desk.report_lost("jiro", STAFF)
    permit = bank.desk.permit_reissue("jiro", STAFF)
    bank.desk.change_by_permit("jiro", permit.text, NEW, new.code(), ME)
    new.contract_id = "jiro"
    assert login(bank, new, new.code(1)) == Accept()


# Trouble.


def test_a_clock_that_was_set_back_stops_the_desk_and_nothing_is_written(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.guarded.now()
    before, trail = bank.rows(), bank.audit()
    bank.clock.now -= 3600
    with pytest.raises(ClockSetBack):
        bank.desk.suspend("taro", taro.code(), ME)
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_a_seed_that_does_not_open_stops_the_act_and_nothing_is_written(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    token = bank.token()
    in_the_file(bank, "UPDATE token SET seed = x'00'")
    before, trail = bank.rows(), bank.audit()
    with pytest.raises(KeyProblem, match="VSMT00000001"):
        bank.desk.enrol("taro", token.token_id, token.code(), ME)
    assert (bank.rows(), bank.audit()) == (before, trail)


# Somebody else was faster: SQLite's write lock forbids it, but not every database does.


@pytest.mark.parametrize(
    ("table", "column", "act"),
    [
        ("token", "state", lambda bank, taro, new: bank.desk.change_device("taro", taro.code(), NEW, new.code(), ME)),
        ("token", "last_step", lambda bank, taro, new: bank.desk.suspend("taro", taro.code(), ME)),
        ("customer", "otp_use", lambda bank, taro, new: bank.desk.suspend("taro", taro.code(), ME)),
        (
            "customer",
            "otp_use",
            lambda bank, taro, new: bank.desk.change_device("taro", taro.code(), NEW, new.code(), ME),
        ),
    ],
)
def test_an_act_that_somebody_else_was_faster_than_leaves_nothing_behind(
    tmp_path: Path, table: str, column: str, act: Act
) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.customer(), bank.token(NEW)
    before, trail = bank.rows(), bank.audit()
    in_the_file(bank, f"CREATE TRIGGER faster BEFORE UPDATE OF {column} ON {table} BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(StoreUnavailable, match="by somebody else just now: try again"):
        act(bank, taro, new)
    assert (bank.rows(), bank.audit()) == (before, trail)
    in_the_file(bank, "DROP TRIGGER faster")
    act(bank, taro, new)


def in_the_file(bank: Bank, statement: str) -> None:
    """Something done behind the store's back."""
    connection = sqlite3.connect(bank.database)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_hash_is_renewed_only_over_the_one_it_was_made_from(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer(password_hash="set anew meanwhile")
    before, trail = bank.rows(), bank.audit()
    bank.desk.renew_password_hash(bank.login_record(), "old", "old, but dearer")
    assert (bank.rows(), bank.audit()) == (before, trail)
    bank.desk.renew_password_hash(bank.login_record(), "set anew meanwhile", "dearer")
    assert [row[1] for row in bank.rows()["profile"]] == ["dearer"]
    assert bank.audit()[-1].event == Event.PASSWORD_REHASHED


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
        acts.append(partial(desk.enrol, who, token.token_id, token.code(), ME))
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
            lambda: one.suspend("taro", taro.code(), ME),
            lambda: other.change_device("taro", taro.code(), NEW, new.code(), ME),
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
        lambda: desk.resynchronise("taro", taro.code(), taro.code(1), ME),
    ]
    found = race(acts)
    assert [isinstance(one, Refused | Reject) for one in found].count(True) == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_one_permit_lets_one_token_in(tmp_path: Path, round_: int) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.REISSUE_PERMITTED)
    tokens = [bank.token(NEW), bank.token("VSMT00000098")]
    acts = [
        partial(desk.change_by_permit, "taro", bank.permit, token.token_id, token.code(), ME)
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
    race([partial(refused, partial(desk.suspend, "taro", bad, ME)) for desk in (one, other) * 5])
    assert bank.login_record().failures == 10


def test_words_at_the_desk_show_nothing_of_what_they_carry() -> None:
    assert "SECRET" not in repr(IssuedToken("SKSO00000001", "SECRET", "otpauth://totp/SECRET"))
    assert "SECRET" not in repr(ReissuePermit("SECRET", 0))
