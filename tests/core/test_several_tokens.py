"""Several tokens of one customer at the desk: added while there is room, changed, removed, named, lost one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from otp_core.accounts import Refusal, SessionLimits
from otp_core.accounts.lifecycle import CUSTOMER, Move
from otp_core.audit import Event
from otp_core.login.table import Finding
from otp_core.model import Accept, Kind, OtpUse, TokenSpec, TokenState
from otp_core.store.bindings import HeldToken, held_tokens
from otp_core.store.queries import customer_line
from tests.core.at_the_desk import ME, NEW, login, reason, refused, wrong
from tests.core.bank import NOON, STAFF, Bank, Holder, rules

PHONE, PC = "VSMT00000001", "VSMT00000002"
LIMITS = SessionLimits(idle=600, longest=1800, most=1000)


def opened(folder: Path, most: int = 2, **more: int) -> Bank:
    return Bank(folder, rules(tokens_per_customer=most, lock_after=100, **more))


def two(folder: Path, most: int = 2) -> tuple[Bank, Holder, Holder]:
    """taro with two active tokens."""
    bank = opened(folder, most)
    return bank, bank.customer(), bank.another_token(PC)


def held(bank: Bank, contract_id: str = "taro") -> list[str]:
    with bank.store.read() as connection:
        return [one.token_id for one in held_tokens(connection, [contract_id]).get(contract_id, [])]


def states(bank: Bank, *token_ids: str) -> list[str]:
    return [bank.token_line(one).state for one in token_ids]


# One more


def test_a_token_is_added_by_a_code_of_the_one_that_there_is_and_both_let_in(tmp_path: Path) -> None:
    bank = opened(tmp_path)
    taro, new = bank.customer(), bank.token(NEW)
    receipt = bank.desk.devices.add("taro", taro.code(), NEW, new.code(), ME, name="  my\u3000 phone ")
    new.contract_id = "taro"
    assert (receipt.customer, receipt.token) == ("taro", NEW)
    assert states(bank, PHONE, NEW) == [TokenState.BOUND] * 2
    for holder in (taro, new):
        assert reason(login(bank, holder)) == Finding.REUSED, "the codes that were asked for are spent"
        assert login(bank, holder, holder.code(1)) == Accept()
    with bank.store.read() as connection:
        line = customer_line(connection, "taro")
    assert line is not None
    assert line.tokens[1] == HeldToken(NEW, TokenState.BOUND, "my phone", int(NOON * 1000), int(NOON * 1000))
    assert [(row.event, row.token) for row in bank.audit(customer="taro")][1:3] == [
        (Event.CODE_SPENT, PHONE),
        (Event.TOKEN_ADDED, NEW),
    ]


def test_the_code_of_any_token_that_there_is_lets_another_in(tmp_path: Path) -> None:
    bank, _, pc = two(tmp_path, 3)
    new = bank.token(NEW)
    bank.desk.devices.add("taro", pc.code(), NEW, new.code(), ME)
    assert set(held(bank)) == {PHONE, PC, NEW}


@pytest.mark.parametrize("most", [1, 2, 5])
def test_there_is_room_for_as_many_as_the_setting_says(tmp_path: Path, most: int) -> None:
    bank = opened(tmp_path, most)
    taro = bank.customer()
    for number in range(1, most):
        new = bank.token(f"VSMT0000001{number}")
        bank.desk.devices.add("taro", taro.code(), new.token_id, new.code(), ME)
        bank.clock.now += 90
    one_more, before = bank.token(NEW), bank.rows()
    refusal = refused(lambda: bank.desk.devices.add("taro", taro.code(), NEW, one_more.code(), ME))
    assert refusal.refusal is Refusal.NO_ROOM and f"{most} of {most}" in refusal.detail
    assert bank.rows() == before, "no code is spent and none counted"
    assert bank.audit()[-1].event == Event.REFUSED


def test_a_token_is_the_customers_only_once(tmp_path: Path) -> None:
    bank, taro, pc = two(tmp_path, 3)
    before = bank.rows()
    refusal = refused(lambda: bank.desk.devices.add("taro", taro.code(), "vsmt 0000 0002", pc.code(), ME))
    assert refusal.refusal is Refusal.HELD_ALREADY
    assert bank.rows() == before


def test_a_token_with_the_seed_of_one_that_there_is_is_no_second_token(tmp_path: Path) -> None:
    bank = opened(tmp_path)
    taro = bank.customer()
    bank.desk.tokens.import_rows([(NEW, taro.seed, taro.spec)], STAFF)
    code, devices = taro.code(), bank.desk.devices
    for act in (
        lambda: devices.add("taro", code, NEW, code, ME),
        lambda: devices.change("taro", code, NEW, code, ME),
    ):
        refusal = refused(act)
        assert refusal.refusal is Refusal.TOKEN_OR_CODE and "seed" in refusal.detail
    assert held(bank) == [PHONE] and bank.login_record().failures == 0
    assert login(bank, taro, code) == Accept(), "nothing was spent"


def test_a_token_of_somebody_else_is_not_told_from_an_unknown_one_and_counts_as_a_wrong_code(tmp_path: Path) -> None:
    bank = opened(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", PC)
    found = []
    for number, token_id in enumerate((PC, "VSMT99999999"), 1):
        given = (taro.code(), token_id, jiro.code())
        found.append(refused(partial(bank.desk.devices.add, "taro", *given, ME)).refusal)
        assert bank.login_record().failures == number
    assert found == [Refusal.TOKEN_OR_CODE] * 2
    assert (held(bank), held(bank, "jiro")) == ([PHONE], [PC])
    assert login(bank, taro) == Accept(), "the old token's code is not spent"


@pytest.mark.parametrize(
    ("old", "refusal"), [("wrong", Refusal.WRONG_CODE), ("used", Refusal.REUSED_CODE), ("none", Refusal.NOT_A_CODE)]
)
def test_without_a_code_of_an_old_token_nothing_is_added(tmp_path: Path, old: str, refusal: Refusal) -> None:
    bank, taro, pc = two(tmp_path, 3)
    new = bank.token(NEW)
    assert login(bank, taro) == Accept()
    code = {"wrong": wrong(taro, pc), "used": taro.code(), "none": "1"}[old]
    assert refused(lambda: bank.desk.devices.add("taro", code, NEW, new.code(), ME)).refusal is refusal
    assert NEW not in held(bank) and states(bank, NEW) == [TokenState.AVAILABLE]


@pytest.mark.parametrize("use", [use for use in OtpUse if use is not OtpUse.ACTIVE])
@pytest.mark.parametrize("move", [Move.ADD_TOKEN, Move.REMOVE_TOKEN])
def test_only_an_active_customer_adds_and_removes_tokens(tmp_path: Path, use: OtpUse, move: Move) -> None:
    bank = opened(tmp_path)
    taro, new = bank.in_state(use), bank.token(NEW)
    before = bank.rows()
    acts: dict[Move, Callable[[], object]] = {
        Move.ADD_TOKEN: lambda: bank.desk.devices.add("taro", taro.code(), NEW, new.code(), ME),
        Move.REMOVE_TOKEN: lambda: bank.desk.devices.remove("taro", taro.code(), PHONE, ME),
    }
    refusal = refused(acts[move])
    assert refusal.refusal is Refusal.NOT_NOW and f"cannot {move}" in refusal.detail
    assert (use, move) not in CUSTOMER
    assert bank.rows() == before


def test_with_a_lower_setting_the_tokens_that_there_are_go_on_working(tmp_path: Path) -> None:
    two(tmp_path)[0].store.engine.dispose()
    bank = opened(tmp_path, 1)
    taro, pc = (Holder("taro", one, one.encode() * 2, TokenSpec(), bank.clock) for one in (PHONE, PC))
    assert [login(bank, one) for one in (taro, pc)] == [Accept(), Accept()]
    new = bank.token(NEW)
    assert refused(lambda: bank.desk.devices.add("taro", taro.code(1), NEW, new.code(), ME)).refusal is Refusal.NO_ROOM


# On the pages, in two steps


def test_on_the_pages_a_token_is_added_by_the_proof_that_an_old_code_was_given(tmp_path: Path) -> None:
    bank, _, pc = two(tmp_path, 3)
    new, session = bank.token(NEW), bank.desk.sessions.begin(b"t" * 32, "taro", {}, LIMITS, ME)
    other = bank.desk.sessions.begin(b"o" * 32, "taro", {}, LIMITS, ME)
    assert (
        refused(lambda: bank.desk.devices.add_by_proof("taro", session, NEW, new.code(), ME)).refusal is Refusal.NOT_NOW
    )
    bank.desk.devices.give_old_code("taro", pc.code(), session, 300, ME)
    assert bank.audit()[-1].token == PC
    bank.desk.devices.add_by_proof("taro", session, NEW, new.code(), ME, name="spare")
    assert set(held(bank)) == {PHONE, PC, NEW}
    assert bank.desk.sessions.find(b"t" * 32, LIMITS) is not None and other is not None
    assert bank.desk.sessions.find(b"o" * 32, LIMITS) is None, "the customer's other sessions end"
    more = bank.token("VSMT00000098")
    refusal = refused(lambda: bank.desk.devices.add_by_proof("taro", session, more.token_id, more.code(), ME))
    assert refusal.refusal is Refusal.NO_ROOM


def test_a_proof_by_a_token_that_is_lost_by_now_is_worth_nothing(tmp_path: Path) -> None:
    bank, _, pc = two(tmp_path, 3)
    new, session = bank.token(NEW), bank.desk.sessions.begin(b"t" * 32, "taro", {}, LIMITS, ME)
    bank.desk.devices.give_old_code("taro", pc.code(), session, 300, ME)
    bank.desk.enrolment.report_lost("taro", STAFF, token_id=PC)
    session = bank.desk.sessions.begin(b"t" * 32, "taro", {}, LIMITS, ME)
    assert (
        refused(lambda: bank.desk.devices.add_by_proof("taro", session, NEW, new.code(), ME)).refusal is Refusal.NOT_NOW
    )


def test_a_proof_by_a_token_that_was_removed_since_is_worth_nothing(tmp_path: Path) -> None:
    bank, _, pc = two(tmp_path)
    new, session = bank.token(NEW), bank.desk.sessions.begin(b"t" * 32, "taro", {}, LIMITS, ME)
    bank.desk.devices.give_old_code("taro", pc.code(), session, 300, ME)
    bank.desk.devices.remove("taro", None, PC, STAFF, session=session.key)
    refusal = refused(lambda: bank.desk.devices.add_by_proof("taro", session, NEW, new.code(), ME))
    assert refusal.refusal is Refusal.NOT_NOW and "too long ago" in refusal.detail


# One in the place of another


def test_a_change_names_the_token_that_goes_and_the_other_goes_on(tmp_path: Path) -> None:
    bank, taro, pc = two(tmp_path)
    new = bank.token(NEW)
    new.contract_id = "taro"
    bank.desk.devices.change("taro", taro.code(), NEW, new.code(), ME, goes="vsmt-0000-0002", name="PC 2")
    assert set(held(bank)) == {PHONE, NEW}
    assert states(bank, PHONE, PC, NEW) == [TokenState.BOUND, TokenState.RETIRED, TokenState.BOUND]
    assert bank.audit()[-1].reason == f"portal; was {PC}"
    assert reason(login(bank, taro)) == Finding.REUSED, "its code let the new one in"
    assert reason(login(bank, pc)) == Finding.WRONG
    assert [login(bank, one, one.code(1)) for one in (taro, new)] == [Accept(), Accept()]
    spent = [(row.event, row.token) for row in bank.audit(customer="taro") if row.event == Event.CODE_SPENT]
    assert spent == [(Event.CODE_SPENT, PHONE)]


@pytest.mark.parametrize(
    ("goes", "refusal"),
    [(None, Refusal.WHICH_TOKEN), (NEW, Refusal.UNKNOWN_TOKEN), ("VSMT77777777", Refusal.UNKNOWN_TOKEN)],
)
def test_a_change_that_does_not_name_one_of_several_changes_nothing(
    tmp_path: Path, goes: str | None, refusal: Refusal
) -> None:
    bank, taro, _ = two(tmp_path)
    new = bank.token(NEW)
    before = bank.rows()
    found = refused(lambda: bank.desk.devices.change("taro", taro.code(), NEW, new.code(), ME, goes=goes))
    assert found.refusal is refusal
    assert bank.rows() == before


def test_a_token_of_somebody_else_cannot_be_made_to_go(tmp_path: Path) -> None:
    bank = opened(tmp_path)
    taro, _, new = bank.customer(), bank.customer("jiro", PC), bank.token(NEW)
    found = refused(lambda: bank.desk.devices.change("taro", taro.code(), NEW, new.code(), ME, goes=PC))
    assert found.refusal is Refusal.UNKNOWN_TOKEN
    assert (held(bank), held(bank, "jiro")) == ([PHONE], [PC])


# One less


@pytest.mark.parametrize("by", [PHONE, PC])
def test_a_token_is_removed_by_a_code_of_any(tmp_path: Path, by: str) -> None:
    bank, taro, pc = two(tmp_path)
    code = taro.code() if by == PHONE else pc.code()
    bank.desk.devices.remove("taro", code, PC, ME)
    assert (held(bank), states(bank, PHONE, PC)) == ([PHONE], [TokenState.BOUND, TokenState.RETIRED])
    assert (bank.audit()[-1].event, bank.audit()[-1].token) == (Event.TOKEN_REMOVED, PC)
    assert reason(login(bank, pc, pc.code(1))) == Finding.WRONG
    assert login(bank, taro, taro.code(1)) == Accept()


def test_the_only_token_is_not_removed(tmp_path: Path) -> None:
    bank = opened(tmp_path)
    bank.customer()
    before = bank.rows()
    assert refused(lambda: bank.desk.devices.remove("taro", None, PHONE, STAFF)).refusal is Refusal.NOT_NOW
    assert bank.rows() == before


# Lost


@pytest.mark.parametrize("use", [OtpUse.ACTIVE, OtpUse.SUSPENDED])
def test_who_loses_one_of_several_keeps_the_others(tmp_path: Path, use: OtpUse) -> None:
    bank, taro, pc = two(tmp_path)
    if use is OtpUse.SUSPENDED:
        bank.desk.enrolment.suspend("taro", None, STAFF)
    bank.desk.sessions.begin(b"t" * 32, "taro", {}, LIMITS, ME)
    receipt = bank.desk.enrolment.report_lost("taro", STAFF, token_id=PC)
    assert (receipt.token, bank.audit()[-1].event) == (PC, Event.ONE_REPORTED_LOST)
    assert bank.login_record().otp_use == use
    assert (held(bank), states(bank, PHONE, PC)) == ([PHONE], [TokenState.BOUND, TokenState.LOST])
    assert bank.desk.sessions.find(b"t" * 32, LIMITS) is None
    if use is OtpUse.ACTIVE:
        assert reason(login(bank, pc)) == Finding.WRONG
        assert login(bank, taro) == Accept()


def test_who_loses_the_last_one_is_lost_as_ever(tmp_path: Path) -> None:
    bank, taro, _ = two(tmp_path)
    bank.desk.enrolment.report_lost("taro", STAFF, token_id=PC)
    bank.desk.enrolment.report_lost("taro", STAFF)
    assert bank.login_record().otp_use == OtpUse.LOST
    assert bank.audit()[-1].event == Event.REPORTED_LOST
    assert reason(login(bank, taro)) == Finding.LOST
    permit = bank.desk.enrolment.permit_reissue("taro", STAFF).text
    new = bank.token(NEW)
    bank.desk.enrolment.change_by_permit("taro", permit, NEW, new.code(), ME)
    assert (held(bank), bank.login_record().otp_use) == ([NEW], OtpUse.ACTIVE)


def test_who_loses_the_last_one_that_works_is_lost_though_another_is_theirs(tmp_path: Path) -> None:
    """A shared token that its other holder has reported lost is no token to go on with."""
    bank = Bank(tmp_path, rules(tokens_per_customer=2, one_customer_per_token=False))
    bank.customer()
    bank.customer("jiro", PC)
    with bank.store.work() as work:
        record, shared = work.login_record("taro"), work.token(PC)
        assert record is not None and shared is not None
        work.bind(record.customer_key, shared.key, 0)
    bank.desk.enrolment.suspend("taro", None, STAFF)
    bank.desk.enrolment.report_lost("jiro", STAFF)
    bank.desk.enrolment.report_lost("taro", STAFF, token_id=PHONE)
    assert bank.login_record().otp_use == OtpUse.LOST


def test_which_of_several_is_lost_has_to_be_said(tmp_path: Path) -> None:
    bank, _, _ = two(tmp_path)
    before = bank.rows()
    refusal = refused(lambda: bank.desk.enrolment.report_lost("taro", STAFF))
    assert (refusal.refusal, refusal.detail) == (Refusal.WHICH_TOKEN, f"{PHONE}, {PC}")
    assert (
        refused(lambda: bank.desk.enrolment.report_lost("taro", STAFF, token_id=NEW)).refusal is Refusal.UNKNOWN_TOKEN
    )
    assert bank.rows() == before


@pytest.mark.parametrize("use", [OtpUse.NONE, OtpUse.LOST, OtpUse.REISSUE_PERMITTED])
def test_one_of_several_is_lost_only_where_others_work(use: OtpUse) -> None:
    assert (use, Move.REPORT_ONE_LOST) not in CUSTOMER


# Suspended


def test_a_suspension_concerns_the_customer_and_a_resumption_brings_all_tokens_back(tmp_path: Path) -> None:
    bank, taro, pc = two(tmp_path)
    bank.desk.enrolment.suspend("taro", pc.code(), ME)
    assert (bank.audit()[-1].token, bank.login_record().otp_use) == (PC, OtpUse.SUSPENDED)
    bank.desk.enrolment.resume("taro", STAFF)
    assert [login(bank, taro), login(bank, pc, pc.code(1))] == [Accept(), Accept()]


def test_who_comes_back_with_a_token_they_had_has_all_of_them_again(tmp_path: Path) -> None:
    bank, taro, pc = two(tmp_path)
    bank.desk.enrolment.suspend("taro", None, STAFF)
    bank.desk.enrolment.enrol("taro", PC, pc.code(), ME)
    assert [login(bank, taro), login(bank, pc, pc.code(1))] == [Accept(), Accept()]


def test_who_comes_back_with_a_new_token_begins_anew(tmp_path: Path) -> None:
    """A suspended customer needs no code of a token they had: whoever knows the password adds none beside these."""
    bank, _, _ = two(tmp_path, 3)
    new = bank.token(NEW)
    bank.desk.enrolment.suspend("taro", None, STAFF)
    bank.desk.enrolment.enrol("taro", NEW, new.code(), ME)
    assert (held(bank), states(bank, PHONE, PC)) == ([NEW], [TokenState.RETIRED] * 2)
    assert bank.audit()[-1].reason == f"portal; was {PHONE}, {PC}"


# Staff's other acts


def test_a_resynchronisation_names_the_token(tmp_path: Path) -> None:
    bank, taro, pc = two(tmp_path)
    codes = (pc.code(50), pc.code(51))
    assert refused(lambda: bank.desk.enrolment.resynchronise("taro", *codes, STAFF)).refusal is Refusal.WHICH_TOKEN
    receipt = bank.desk.enrolment.resynchronise("taro", *codes, STAFF, token_id=PC)
    assert receipt.token == PC
    assert bank.token_line(PC).last_step == pc.step(51)
    assert login(bank, taro) == Accept()
    assert login(bank, pc, pc.code(52)) == Accept()


def test_an_unlock_takes_back_what_stands_ahead_on_every_token(tmp_path: Path) -> None:
    bank, taro, pc = two(tmp_path)
    with bank.store.work() as work:
        for own in work.login_record("taro").tokens:  # type: ignore[union-attr]
            work.spend_step(own.key, taro.step(2000), 0, int(NOON * 1000))
    assert reason(login(bank, taro)) == Finding.REUSED
    bank.desk.customers.unlock("taro", STAFF)
    assert [login(bank, taro, taro.code(2)), login(bank, pc, pc.code(2))].count(Accept()) in (0, 2)
    assert [row.token for row in bank.audit(event=Event.CLOCK_REPAIRED)] == [PHONE, PC]


def test_tokens_of_every_kind_stand_side_by_side_at_the_desk(tmp_path: Path) -> None:
    bank = opened(tmp_path, 3)
    bank.customer()
    counter = bank.another_token(PC, spec=TokenSpec(Kind.HOTP, digits=8))
    new = bank.token(NEW)
    bank.desk.devices.add("taro", counter.code(0), NEW, new.code(), ME)
    assert len(held(bank)) == 3 and bank.token_line(PC).last_step == 0


# Names


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("my phone", "my phone"),
        ("  仕事用　スマホ ", "仕事用 スマホ"),
        ("cafe\u0301", "café"),
        ("📱", "📱"),
        ("x" * 40, "x" * 40),
        ("", None),
        ("   ", None),
        ("\u00a0\u2003", None),
        ("my\u00a0\u2009phone", "my phone"),
        (None, None),
    ],
)
def test_a_token_is_called_what_the_customer_types(tmp_path: Path, typed: str | None, kept: str | None) -> None:
    bank, _, _ = two(tmp_path)
    bank.desk.devices.rename("taro", "vsmt 00000002", typed, ME)
    assert [one.name for one in bank.desk.devices.of("taro")] == [None, kept]
    row = bank.audit()[-1]
    assert (row.event, row.token) == (Event.TOKEN_NAMED, PC)
    assert not kept or kept not in row.reason


@pytest.mark.parametrize(
    "typed",
    [
        "a\nb",
        "a\tb",
        "\x00",
        "a\x1b[31m",
        "a\u202eb",
        "a\u200bb",
        "a\u2028b",
        "\u3164",
        "\u2800",
        "a\u115fb",
        "\ud800",
        "\ufdd0",
        "x" * 41,
        "x" * 10**6,
    ],
)
def test_a_name_that_is_none_changes_nothing_at_any_act(tmp_path: Path, typed: str) -> None:
    bank, taro, _ = two(tmp_path, 3)
    new, before = bank.token(NEW), None
    session = bank.desk.sessions.begin(b"t" * 32, "taro", {}, LIMITS, ME)
    bank.desk.devices.give_old_code("taro", taro.code(), session, 300, ME)
    before = bank.rows()
    devices = bank.desk.devices
    for act in (
        lambda: devices.rename("taro", PC, typed, ME),
        lambda: devices.add("taro", taro.code(1), NEW, new.code(), ME, name=typed),
        lambda: devices.add_by_proof("taro", session, NEW, new.code(), ME, name=typed),
        lambda: devices.change("taro", taro.code(1), NEW, new.code(), ME, goes=PC, name=typed),
        lambda: devices.change_by_proof("taro", session, NEW, new.code(), ME, goes=PC, name=typed),
    ):
        refusal = refused(act)
        assert refusal.refusal is Refusal.BAD_NAME
        assert typed not in str(refusal)
        assert bank.rows() == before


def test_nobody_names_the_token_of_somebody_else(tmp_path: Path) -> None:
    bank, _, _ = two(tmp_path)
    bank.customer("jiro", NEW)
    before = bank.rows()
    assert refused(lambda: bank.desk.devices.rename("taro", NEW, "mine", ME)).refusal is Refusal.UNKNOWN_TOKEN
    assert bank.rows() == before
