"""What `sekisho doctor` says about backups and about a store that was put back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from otp_core.checks import CheckState
from otp_core.model import Kind, TokenSpec
from otp_core.store.backup import note
from sekisho.cli.doctor_backup import examine_backups
from tests.core.bank import STAFF, Bank
from tests.core.test_put_back import copied, put_back, served


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def serve(bank: Bank) -> None:
    with served(bank):
        pass


def found(bank: Bank, check: str) -> list[tuple[CheckState, str]]:
    return [(one.state, one.text) for one in examine_backups(bank.store) if one.check == check]


@pytest.mark.sqlite_files
@pytest.mark.parametrize(("hours", "state"), [(0, CheckState.OK), (25.9, CheckState.OK), (26.1, CheckState.WARN)])
def test_the_newest_backups_age(bank: Bank, tmp_path: Path, hours: float, state: CheckState) -> None:
    ((never, text),) = found(bank, "backup")
    assert never is CheckState.WARN and "none was ever made: `sekisho backup FILE`" in text
    bank.clock.now = time.time() - hours * 3600
    file = tmp_path / "one.db"
    file.write_bytes(b"rows")
    note(bank.store, file, actor="root", source="cli", reason="")
    ((now, text),) = found(bank, "backup")
    assert now is state and f"made {hours:.1f} hours ago: {file}" in text


@pytest.mark.sqlite_files
def test_a_backup_that_is_gone_or_empty_is_not_called_well(bank: Bank, tmp_path: Path) -> None:
    file = tmp_path / "one.db"
    note(bank.store, file, actor="root", source="cli", reason="")
    ((state, text),) = found(bank, "backup")
    assert state is CheckState.WARN and "cannot be looked at (No such file or directory)" in text
    file.touch()
    ((state, text),) = found(bank, "backup")
    assert state is CheckState.FAIL and "is empty: make another" in text


@pytest.mark.sqlite_files
def test_a_store_that_was_put_back_fails_until_it_was_treated(bank: Bank) -> None:
    assert found(bank, "put back") == [], "never served"
    bank.customer()
    serve(bank)
    assert found(bank, "put back") == [(CheckState.OK, "the store is the one that was served last")]
    copy = copied(bank)
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    serve(bank)
    put_back(bank, copy)
    before = {one.name: one.read_bytes() for one in bank.folder.iterdir() if one.is_file() and "-shm" not in one.name}
    ((state, text),) = found(bank, "put back")
    assert state is CheckState.FAIL and "is missing: it was put back; the next start voids" in text
    for name, octets in before.items():
        assert (bank.folder / name).read_bytes() == octets, name
    serve(bank)
    assert found(bank, "put back")[0][0] is CheckState.OK


@pytest.mark.sqlite_files
def test_a_lost_act_is_listed_until_it_was_entered_again(bank: Bank) -> None:
    bank.customer()
    serve(bank)
    copy = copied(bank)
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    put_back(bank, copy)
    assert found(bank, "lost act") == []
    serve(bank)
    ((state, text),) = found(bank, "lost act")
    assert state is CheckState.WARN and text.endswith(": sekisho report-lost taro") and "by staff" in text
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    assert found(bank, "lost act") == []


def test_a_journal_that_cannot_be_written_fails(bank: Bank) -> None:
    bank.customer()
    assert found(bank, "journal of acts") == []
    journal = bank.store.beside.with_name(f"{bank.store.beside.name}.acts")
    journal.unlink()
    journal.mkdir()
    ((state, text),) = found(bank, "journal of acts")
    assert state is CheckState.FAIL and "cannot be written" in text


@pytest.mark.sqlite_files
def test_counter_tokens_that_wait_are_counted(bank: Bank) -> None:
    taro = bank.customer(spec=TokenSpec(Kind.HOTP))
    serve(bank)
    copy = copied(bank)
    bank.clock.now += 60
    bank.desk.customers.lock("taro", STAFF)
    put_back(bank, copy)
    assert found(bank, "counter tokens") == []
    serve(bank)
    ((state, text),) = found(bank, "counter tokens")
    assert state is CheckState.WARN and text.startswith("1 counter tokens")
    assert f"`sekisho resync taro --token {taro.token_id}`" in text
    bank.desk.enrolment.resynchronise("taro", taro.code(30), taro.code(31), STAFF)
    assert found(bank, "counter tokens") == []


@pytest.mark.sqlite_files
def test_of_several_counter_tokens_that_wait_the_command_names_one(bank: Bank) -> None:
    bank.customer()
    mine, spare = bank.another_token("VSMT00000003", spec=TokenSpec(Kind.HOTP)), "VSMT00000002"
    bank.token(spare, TokenSpec(Kind.HOTP))
    serve(bank)
    copy = copied(bank)
    bank.clock.now += 60
    bank.desk.customers.lock("taro", STAFF)
    put_back(bank, copy)
    serve(bank)
    ((_, text),) = found(bank, "counter tokens")
    assert text.startswith("2 counter tokens") and f"`sekisho resync taro --token {mine.token_id}`" in text
    bank.desk.enrolment.resynchronise("taro", mine.code(30), mine.code(31), STAFF, token_id=mine.token_id)
    ((_, text),) = found(bank, "counter tokens")
    assert text.startswith("1 counter tokens") and f"`sekisho token resync {spare}`" in text
