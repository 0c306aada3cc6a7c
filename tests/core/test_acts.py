"""The journal of acts beside the store: on disk before an act is answered, bounded, without secrets."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import structlog

from otp_core.accounts import Principal, PrincipalKind, Quota
from otp_core.audit import Event
from otp_core.model import AuditRow, OtpUse
from otp_core.store import acts as room
from otp_core.store.acts import ActsJournal, KnownAct, enter_again, is_entered, of_rows
from tests.core.at_the_desk import ME
from tests.core.bank import STAFF, Bank, rules
from tests.core.batches import code_request, login_batch_of, run_batch


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def journal(bank: Bank) -> ActsJournal:
    return ActsJournal(bank.store.beside)


def row(number: int, event: str = "otp.reported-lost", **more: str) -> AuditRow:
    values = {"actor": "hanako", "customer": f"c{number}", "token": f"T{number}", "source": "cli", "reason": "", **more}
    return AuditRow(id=number, event=event, **values)


def test_each_act_of_staff_and_customers_is_noted_with_its_audit_row(bank: Bank) -> None:
    taro = bank.customer()
    new = bank.token("VSMT00000002")
    bank.desk.enrolment.suspend("taro", None, STAFF)
    bank.desk.enrolment.resume("taro", STAFF)
    bank.desk.devices.change("taro", taro.code(), new.token_id, new.code(), ME)
    bank.desk.customers.lock("taro", STAFF)
    bank.desk.customers.unlock("taro", STAFF)
    bank.desk.enrolment.report_lost("taro", STAFF)
    bank.desk.enrolment.permit_reissue("taro", STAFF)
    noted = journal(bank).known()
    rows = {one.id: one for one in bank.audit()}
    assert [one.event for one in noted] == [
        *("token.imported", "otp.enrolled", "token.imported", "otp.suspended", "otp.resumed"),
        *("token.retired", "otp.device-changed", "customer.locked", "customer.unlocked"),
        *("otp.reported-lost", "otp.reissue-permitted"),
    ]
    for one in noted:
        there = rows[one.id]
        assert (one.event, one.actor, one.customer, one.token) == (
            there.event,
            there.actor,
            there.customer,
            there.token,
        )
    assert stat.S_IMODE(journal(bank).path.stat().st_mode) == 0o600


def test_a_lock_after_too_many_wrong_codes_at_a_door_is_noted_before_it_is_told(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=2))
    taro = bank.customer()
    told: list[list[str]] = []
    with login_batch_of(bank) as login_batch:
        for number in (1, 2):
            run_batch(bank, login_batch, [code_request(taro, "000000", number)])
            told.append([one.event for one in journal(bank).known()])
    assert told == [["token.imported", "otp.enrolled"], ["token.imported", "otp.enrolled", "customer.locked"]]
    (*_, act) = journal(bank).known()
    assert (act.actor, enter_again(act)) == ("gateway", "sekisho customer lock taro")


def test_a_token_that_a_user_called_sekisho_retires_is_noted_and_what_nobody_confirmed_is_not(bank: Bank) -> None:
    token = bank.token()
    bank.desk.tokens.retire(token.token_id, Principal("sekisho", PrincipalKind.COMMAND, "cli"))
    app = Principal("soft token", PrincipalKind.ANONYMOUS, "192.0.2.7")
    bank.desk.issuance.issue_unclaimed(app, Quota(10, 10))
    assert bank.desk.issuance.retire_unclaimed(-1, Principal("soft token", PrincipalKind.SYSTEM)) == 1
    assert [one.actor for one in journal(bank).known() if one.event == "token.retired"] == ["sekisho"]


def test_what_was_rolled_back_is_not_noted(bank: Bank) -> None:
    bank.customer()
    before = journal(bank).known()
    with pytest.raises(ZeroDivisionError):
        fail_after(bank)
    assert journal(bank).known() == before


def fail_after(bank: Bank) -> None:
    with bank.store.work() as work:
        work.audit(Event.REPORTED_LOST, actor="hanako", customer="taro")
        raise ZeroDivisionError


def test_it_is_on_disk_before_the_act_is_answered(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.customer()
    flushed: list[bytes] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        flushed.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())

    monkeypatch.setattr(os, "fsync", watched)
    bank.desk.enrolment.report_lost("taro", STAFF)
    assert b"otp.reported-lost" in flushed[-1]


def test_logins_and_sessions_are_not_noted(bank: Bank) -> None:
    noted = [event for event in Event if event.startswith(("login.", "session.", "pages.", "notice."))]
    assert not room.JOURNALED & set(noted)


def test_an_import_is_one_line_for_each_event(bank: Bank) -> None:
    journal(bank).add([row(number, Event.CUSTOMER_ADDED) for number in range(1, 1001)])
    (act,) = journal(bank).known()
    assert (act.id, act.number) == (1000, 1000)
    assert enter_again(act) == "sekisho customer import FILE.csv"


def test_two_files_of_a_megabyte_are_the_most_there_is(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_OCTETS", 10_000)
    kept = journal(bank)
    for number in range(1, 500):
        kept.add([row(number, reason="x" * 5000)])
    sizes = [path.stat().st_size for path in sorted(bank.folder.glob(f"{bank.store.beside.name}.acts*"))]
    assert len(sizes) == 2 and all(size < 11_000 for size in sizes)
    ids = [one.id for one in kept.known()]
    assert ids == list(range(500 - len(ids), 500)) and len(ids) > 20, "the newest, without a gap"
    assert kept.latest()[-1] == 499
    assert [one.id for one in kept.known(after=490)] == list(range(491, 500))


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"{}",
        b"[1]",
        b'"text"',
        b"\xff\xfe\x00",
        json.dumps({**KnownAct(9, "e", "a", None, None, "")._asdict(), "id": "9"}).encode(),
        json.dumps({**KnownAct(9, "e", "a", None, None, "")._asdict(), "customer": 7}).encode(),
        json.dumps({**KnownAct(9, "e", "a", None, None, "")._asdict(), "more": 7}).encode(),
        json.dumps(KnownAct(9, "e", "a", None, None, "")._asdict())[:-9].encode(),
    ],
)
def test_a_damaged_line_is_left_out_and_the_others_are_read(bank: Bank, line: bytes) -> None:
    kept = journal(bank)
    kept.add([row(1)])
    with kept.path.open("ab") as file:
        file.write(line + b"\n")
    kept.add([row(2)])
    assert [one.id for one in kept.known()] == [1, 2]
    with kept.path.open("ab") as file:
        file.write(line)
    assert list(kept.latest()) == [1, 2]


def test_an_act_that_cannot_be_noted_is_done_all_the_same(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    bank.customer()
    journal(bank).path.unlink()
    journal(bank).path.mkdir()
    bank.desk.enrolment.report_lost("taro", STAFF)
    assert bank.login_record().otp_use == OtpUse.LOST
    said = capsys.readouterr()
    if not structlog.is_configured():
        assert said.out == "" and "an act is missing in the journal beside the store" in said.err


@pytest.mark.parametrize(
    ("act", "command"),
    [
        (row(1), "sekisho report-lost c1"),
        (row(1, "customer.locked"), "sekisho customer lock c1"),
        (row(1, "customer.unlocked"), "sekisho customer unlock c1"),
        (row(1, "customer.renamed", reason="was c0"), "sekisho customer rename c0 c1"),
        (row(1, "customer.renamed", reason="ticket 1; was c 0"), "sekisho customer rename 'c 0' c1"),
        (row(1, "customer.renamed", reason="x" * 1000 + "; was c0"), "sekisho customer rename c0 c1"),
        (row(1, "customer.edited", reason="name, email; ticket 1"), "sekisho customer edit c1"),
        (row(1, "otp.suspended"), "sekisho suspend c1"),
        (row(1, "otp.resumed"), "sekisho resume c1"),
        (row(1, "otp.enrolled"), "sekisho enrol c1 T1"),
        (row(1, "otp.device-changed"), "sekisho report-lost c1"),
        (row(1, "otp.device-changed", reason="moved; was T0"), "sekisho report-lost c1 --token T0"),
        (row(1, "otp.device-changed", reason="was T0, T2"), "sekisho report-lost c1"),
        (row(1, "otp.reissue-permitted"), "sekisho permit-reissue c1"),
        (row(1, "token.resynchronised"), "sekisho resync c1 --token T1"),
        (row(1, "token.resynchronised")._replace(customer=None), "sekisho token resync T1"),
        (row(1, "customer.added"), "sekisho customer add c1"),
        (row(1, "token.imported"), "sekisho token import FILE.csv"),
        (row(1, "offline.issued", source="web1"), "sekisho pam-offline issue --host HOST --user c1"),
        (row(1, "token.retired"), None),
        (row(1, "token.retired")._replace(customer=None), "sekisho token retire T1"),
        (row(1, "otp.suspended", customer="a b;rm"), "sekisho suspend 'a b;rm'"),
        (
            row(1, "staff.disabled", reason="sato: 1 sessions ended")._replace(customer=None),
            "sekisho staff disable sato",
        ),
        (row(1, "login.accepted"), None),
        (row(1, "no.such.event"), None),
    ],
)
def test_each_act_has_the_command_that_enters_it_again(act: AuditRow, command: str | None) -> None:
    assert [enter_again(known) for known in of_rows([act])] == ([] if act.event not in room.JOURNALED else [command])


@pytest.mark.parametrize(
    ("lost", "done", "entered"),
    [
        (("otp.one-reported-lost", "T1", ""), ("otp.one-reported-lost", "T1"), True),
        (("otp.one-reported-lost", "T1", ""), ("otp.one-reported-lost", "T2"), False),
        (("otp.one-reported-lost", "T1", ""), ("otp.reported-lost", "T1"), True),
        (("otp.token-added", "T1", ""), ("otp.token-added", "T2"), False),
        (("otp.token-removed", "T1", ""), ("otp.token-removed", "T2"), False),
        (("otp.token-removed", "T1", ""), ("otp.one-reported-lost", "T1"), True),
        (("token.resynchronised", "T1", ""), ("token.resynchronised", "T1"), True),
        (("token.resynchronised", "T1", ""), ("token.resynchronised", "T2"), False),
        (("token.resynchronised", "T1", ""), ("token.retired", "T1"), True),
        (("otp.device-changed", "T1", "was T0"), ("otp.one-reported-lost", "T0"), True),
        (("otp.device-changed", "T1", "was T0"), ("otp.one-reported-lost", "T2"), False),
        (("otp.device-changed", "T1", "was T0"), ("otp.reported-lost", "T2"), True),
        (("otp.reported-lost", "T1", ""), ("otp.reported-lost", "T2"), True),
        (("otp.reported-lost", "T1", ""), ("otp.one-reported-lost", "T1"), True),
        (("otp.reported-lost", "T1", ""), ("otp.one-reported-lost", "T2"), False),
    ],
)
def test_an_act_on_one_of_several_tokens_is_open_until_that_one_is_entered(
    lost: tuple[str, str, str], done: tuple[str, str], entered: bool
) -> None:
    event, token, reason = lost
    act = KnownAct(1, event, "a", "c", token, reason)
    assert is_entered(act, {(done[0], "c", done[1], "")}) is entered
    assert not is_entered(act, {(done[0], "another", done[1], "")})


def test_every_event_that_is_noted_has_its_command_or_is_a_part_of_another() -> None:
    for event in room.JOURNALED:
        act = KnownAct(1, event, "a", None if event is Event.TOKEN_RETIRED else "c", "T", "")
        assert enter_again(act)


def test_who_writes_at_the_same_time_loses_no_line(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_OCTETS", 3_000)
    kept, other = journal(bank), journal(bank)
    for number in range(1, 41):
        (kept if number % 2 else other).add([row(number)])
    ids = [one.id for one in kept.known()]
    assert ids == list(range(41 - len(ids), 41))
