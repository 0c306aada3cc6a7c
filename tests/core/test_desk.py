"""Every act of the counter and of the customer's own pages: in every state, one transaction, with its audit row."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from otp_core.accounts import IssuedToken, Receipt, Refusal, ReissuePermit, permissions
from otp_core.accounts.lifecycle import CUSTOMER, Move
from otp_core.audit import Event
from otp_core.clock import ClockSetBack
from otp_core.login.table import Finding
from otp_core.model import (
    Accept,
    OtpUse,
    StoreUnavailable,
    TokenState,
)
from otp_core.sealing import KeyProblem
from tests.core.at_the_desk import ME, NEW, behind_its_back, login, reason, refused, signed_in, wrong
from tests.core.bank import NOON, STAFF, Bank, Holder

# Every act in every state.

Act = Callable[[Bank, Holder, Holder], object]
ACTS: dict[Move, Act] = {
    Move.ENROL: lambda bank, taro, new: bank.desk.enrolment.enrol("taro", new.token_id, new.code(), ME),
    Move.SUSPEND: lambda bank, taro, new: bank.desk.enrolment.suspend("taro", taro.code(), ME),
    Move.RESUME: lambda bank, taro, new: bank.desk.enrolment.resume("taro", STAFF),
    Move.CHANGE_DEVICE: lambda bank, taro, new: bank.desk.devices.change(
        "taro", taro.code(), new.token_id, new.code(), ME
    ),
    Move.CHANGE_BY_PERMIT: lambda bank, taro, new: bank.desk.enrolment.change_by_permit(
        "taro", bank.permit, new.token_id, new.code(), ME
    ),
    Move.REPORT_LOST: lambda bank, taro, new: bank.desk.enrolment.report_lost("taro", STAFF),
    Move.PERMIT_REISSUE: lambda bank, taro, new: bank.desk.enrolment.permit_reissue("taro", STAFF),
}
"""Those of a customer with several tokens are in test_several_tokens.py."""
ASKED = {
    Move.ENROL: "enrol",
    Move.SUSPEND: "suspend",
    Move.RESUME: "resume",
    Move.CHANGE_DEVICE: "change the device",
    Move.CHANGE_BY_PERMIT: "change the device by a reissue permit",
    Move.REPORT_LOST: "report a token lost",
    Move.PERMIT_REISSUE: "permit a reissue",
}
"""What the row of a refused act calls it."""
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


@pytest.mark.parametrize("move", list(ACTS))
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
        assert (row.event, row.customer, row.reason) == (Event.REFUSED, "taro", f"{ASKED[move]}: {refusal}")
        return
    ACTS[move](bank, taro, new)
    *before_it, row = bank.audit()[len(trail) :]
    assert (row.event, row.customer) == (DONE[move], "taro")
    retired = [(Event.TOKEN_RETIRED, row.actor, "taro", "VSMT00000001")] if (use, move) in RETIRING else []
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
        bank.desk.enrolment.resynchronise("taro", taro.code(50), taro.code(51), STAFF)
        assert (bank.own_token().last_step, bank.own_token().drift) == (taro.step(51), 51)
        return
    refusal = refused(lambda: bank.desk.enrolment.resynchronise("taro", taro.code(50), taro.code(51), STAFF))
    assert refusal.refusal is Refusal.NOT_NOW
    assert bank.rows() == before


@pytest.mark.parametrize("use", list(OtpUse))
def test_everybody_can_be_locked_and_unlocked(tmp_path: Path, use: OtpUse) -> None:
    bank = Bank(tmp_path)
    taro = bank.in_state(use)
    assert refused(lambda: bank.desk.customers.unlock("taro", STAFF)).refusal is Refusal.NOT_NOW
    bank.desk.customers.lock("taro", STAFF)
    assert bank.login_record().locked_at == int(NOON * 1000)
    assert refused(lambda: bank.desk.customers.lock("taro", STAFF)).refusal is Refusal.NOT_NOW
    assert reason(login(bank, taro, "123456")) == Finding.LOCKED
    bank.desk.customers.unlock("taro", STAFF)
    assert (bank.login_record().locked_at, bank.login_record().failures, bank.login_record().otp_use) == (None, 0, use)


@pytest.mark.parametrize(
    "act",
    [
        *(lambda bank, act=act: act(bank, bank.token(), bank.token(NEW)) for act in ACTS.values()),
        lambda bank: bank.desk.enrolment.resynchronise("taro", "123456", "123457", STAFF),
        lambda bank: bank.desk.customers.lock("taro", STAFF),
        lambda bank: bank.desk.customers.unlock("taro", STAFF),
    ],
)
def test_every_act_on_an_unknown_customer_is_refused_and_leaves_a_row(
    tmp_path: Path, act: Callable[[Bank], object]
) -> None:
    bank = Bank(tmp_path)
    assert refused(lambda: act(bank)).refusal is Refusal.UNKNOWN_CUSTOMER
    fingerprint = bank.store.sealer.name_fingerprint("taro")
    (row,) = bank.audit(event=Event.REFUSED)
    act_, _, why = row.reason.partition(": ")
    assert (row.customer, why) == (fingerprint, "there is no such customer")
    assert act_ in list(permissions.Act)


# Who did it, where from and why.


def test_a_row_says_who_acted_where_from_and_why_and_the_receipt_names_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    receipt = bank.desk.enrolment.suspend("taro", taro.code(), ME)
    row = bank.audit()[-1]
    assert row[1:7] == ("otp.suspended", "taro himself", "taro", "VSMT00000001", "198.51.100.9", "portal")
    assert receipt == Receipt(row.id, "taro", "VSMT00000001")


def test_a_device_change_tells_what_the_old_token_was(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, new, newer = bank.customer(), bank.token(NEW), bank.token("VSMT00000098")
    bank.desk.devices.change("taro", taro.code(), NEW, new.code(), replace(ME, reason=""))
    bank.desk.devices.change("taro", new.code(1), newer.token_id, newer.code(), ME)
    assert [row.reason for row in bank.audit(event="otp.device-changed")] == [
        "was VSMT00000001",
        f"portal; was {NEW}",
    ]


def test_a_contract_id_is_written_down_as_it_is_kept_however_it_was_typed(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.desk.customers.add("ｔａｒｏ０１ ", STAFF)
    token = bank.token()
    wide = "　ｔａｒｏ０１"
    receipts = [
        bank.desk.enrolment.enrol(wide, token.token_id, token.code(), signed_in("taro01")),
        bank.desk.enrolment.suspend(wide, None, STAFF),
    ]
    receipts += [
        bank.desk.enrolment.resume(wide, STAFF),
        bank.desk.customers.lock(wide, STAFF),
        bank.desk.customers.unlock(wide, STAFF),
    ]
    refused(lambda: bank.desk.enrolment.resume(wide, STAFF))
    refused(lambda: bank.desk.customers.lock("ｎｏｂｏｄｙ", STAFF))
    assert {receipt.customer for receipt in receipts} == {"taro01"}
    assert {row.customer for row in bank.audit()} == {None, "taro01", bank.store.sealer.name_fingerprint("nobody")}


def test_nothing_secret_is_written_down_or_shown(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.in_state(OtpUse.REISSUE_PERMITTED), bank.token(NEW)
    issued, permit = bank.desk.tokens.issue(STAFF), bank.desk.enrolment.permit_reissue("taro", STAFF)
    shown: list[object] = [issued, permit]
    shown.append(refused(lambda: bank.desk.enrolment.change_by_permit("taro", bank.permit, NEW, new.code(), ME)))
    shown.append(bank.desk.enrolment.change_by_permit("taro", permit.text, NEW, new.code(1), ME))
    shown.append(refused(lambda: bank.desk.enrolment.suspend("taro", wrong(new), ME)))
    words = [permit.text, bank.permit, issued.secret, issued.uri, new.code(), new.code(1), wrong(new), taro.seed.hex()]
    text = repr(shown) + "".join(map(str, shown)) + repr(bank.audit())
    assert [word for word in words if word in text] == []
    seeds = [taro.seed, base64.b32decode(issued.secret + "=" * (-len(issued.secret) % 8))]
    kept = [*seeds, permit.text.encode(), permit.text.replace("-", "").encode()]
    files = b"".join(file.read_bytes() for file in tmp_path.glob("bank.db*"))
    assert [one for one in kept if one in files] == []


# Trouble.


def test_a_clock_that_was_set_back_stops_the_desk_and_nothing_is_written(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.guarded.now()
    before, trail = bank.rows(), bank.audit()
    bank.clock.now -= 3600
    with pytest.raises(ClockSetBack):
        bank.desk.enrolment.suspend("taro", taro.code(), ME)
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_what_keeps_customers_safe_can_be_done_while_the_clock_is_not_believed(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    bank.customer("hana", "VSMT00000002")
    bank.guarded.now()
    bank.clock.now -= 3600
    bank.desk.customers.lock("taro", STAFF)
    bank.desk.enrolment.report_lost("hana", STAFF)
    assert bank.login_record("taro").locked_at is not None
    assert bank.login_record("hana").otp_use == OtpUse.LOST
    bank.desk.customers.unlock("taro", STAFF)


def test_a_seed_that_does_not_open_stops_the_act_and_nothing_is_written(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    token = bank.token()
    behind_its_back(bank, "UPDATE token SET seed = substr(seed, 1, 1)")
    before, trail = bank.rows(), bank.audit()
    with pytest.raises(KeyProblem, match="VSMT00000001"):
        bank.desk.enrolment.enrol("taro", token.token_id, token.code(), ME)
    assert (bank.rows(), bank.audit()) == (before, trail)


# Somebody else was faster: SQLite's write lock forbids it, but not every database does.

_IGNORED = """
CREATE FUNCTION faster() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER faster BEFORE UPDATE OF {column} ON {table} FOR EACH ROW EXECUTE FUNCTION faster()
"""
"""In PostgreSQL; in SQLite by RAISE(IGNORE)."""


@pytest.mark.parametrize(
    ("table", "column", "act"),
    [
        (
            "token",
            "state",
            lambda bank, taro, new: bank.desk.devices.change("taro", taro.code(), NEW, new.code(), ME),
        ),
        ("token", "last_step", lambda bank, taro, new: bank.desk.enrolment.suspend("taro", taro.code(), ME)),
        ("customer", "otp_use", lambda bank, taro, new: bank.desk.enrolment.suspend("taro", taro.code(), ME)),
        (
            "customer",
            "otp_use",
            lambda bank, taro, new: bank.desk.devices.change("taro", taro.code(), NEW, new.code(), ME),
        ),
    ],
)
def test_an_act_that_somebody_else_was_faster_than_leaves_nothing_behind(
    tmp_path: Path, table: str, column: str, act: Act
) -> None:
    bank = Bank(tmp_path)
    taro, new = bank.customer(), bank.token(NEW)
    before, trail = bank.rows(), bank.audit()
    if bank.store.database.file is None:
        behind_its_back(bank, _IGNORED.format(column=column, table=table))
    else:
        ignored = "BEGIN SELECT RAISE(IGNORE); END"
        behind_its_back(bank, f"CREATE TRIGGER faster BEFORE UPDATE OF {column} ON {table} {ignored}")
    with pytest.raises(StoreUnavailable, match="by somebody else just now: try again"):
        act(bank, taro, new)
    assert (bank.rows(), bank.audit()) == (before, trail)
    behind_its_back(bank, "DROP TRIGGER faster" + (f" ON {table}" if bank.store.database.file is None else ""))
    act(bank, taro, new)


def test_a_hash_is_renewed_only_over_the_one_it_was_made_from(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer(password_hash="set anew meanwhile")
    before, trail = bank.rows(), bank.audit()
    bank.desk.customers.renew_password_hash("taro", "old", "old, but dearer")
    assert (bank.rows(), bank.audit()) == (before, trail)
    bank.desk.customers.renew_password_hash("taro", "set anew meanwhile", "dearer")
    assert [row[1] for row in bank.rows()["profile"]] == ["dearer"]
    assert bank.audit()[-1].event == Event.PASSWORD_REHASHED


def test_words_at_the_desk_show_nothing_of_what_they_carry() -> None:
    assert "SECRET" not in repr(IssuedToken("SKSO00000001", "SECRET", "otpauth://totp/SECRET"))
    assert "SECRET" not in repr(ReissuePermit("SECRET", 0))
