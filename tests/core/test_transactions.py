"""Transactions of the store: kept as a whole or not at all, whatever fails; conditions in the SQL."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from otp_core.audit import Event
from otp_core.model import (
    OtpUse,
    StoreBusy,
    StoreUnavailable,
    TokenSpec,
    TokenState,
)
from otp_core.store.queries import newest_audit_id
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.database import damage, transaction, unavailable
from otp_core.store.unit_of_work import NewToken
from tests.core.bank import STAFF, Bank
from tests.core.faulty import full, no_way_back, read_only

_BUSY_SNAPSHOT = 517
"""An extended code, which Python's own driver reports (https://sqlite.org/rescode.html)."""

# What the database itself would refuse, whatever the code above it does.


@pytest.mark.sqlite_files
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE token SET state = 'lent'",
        "UPDATE customer SET otp_use = 'perhaps'",
        "UPDATE binding SET token_key = 12345",
        "UPDATE binding SET customer_key = 12345",
        "INSERT INTO binding SELECT customer_key, token_key, NULL, 0 FROM binding",
        "DELETE FROM token",
        "INSERT INTO customer (key, contract_id, otp_use) VALUES (1, 'taro', 'none')",
        "INSERT INTO token (key, token_id, seed, kind, algorithm, digits, period, state) "
        "VALUES (1, 'VSMT00000001', x'00', 'totp', 'sha1', 6, 30, 'available')",
        "INSERT INTO permit (customer_key, digest, expires_at) VALUES (1, 1, 1)",
        "INSERT INTO profile (customer_key) VALUES (1)",
        "UPDATE audit SET reason = NULL",
    ],
)
def test_rows_that_make_no_sense_are_refused(tmp_path: Path, statement: str) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    before = bank.rows()
    with (
        bank.store.engine.connect() as connection,
        pytest.raises(IntegrityError, match="constraint failed"),
        transaction(connection),
    ):
        connection.exec_driver_sql(statement)
    assert bank.rows() == before


# Transactions.


def test_a_transaction_is_kept_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    before, trail = bank.rows(), bank.audit()

    def fail_in_the_middle() -> None:
        with bank.store.work() as work:
            work.add_tokens([NewToken("VSMT00000009", b"sealed", TokenSpec())])
            work.audit(Event.TOKEN_IMPORTED, actor="staff", token="VSMT00000009")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in_the_middle()
    assert (bank.rows(), bank.audit()) == (before, trail)


@pytest.mark.sqlite_files
def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.05)
    other = bank.open_store()
    with bank.store.work() as work:
        work.audit(Event.CLOCK_TRUSTED, actor="one")
        with pytest.raises(StoreUnavailable, match="another process holds its write lock"), other.work():
            raise AssertionError("nobody gets in here")
        with other.read() as connection:
            assert newest_audit_id(connection) == 0, "readers need not wait, and do not see what is not committed"
    bank.clock.now += 1
    with other.work() as work:
        work.audit(Event.CLOCK_TRUSTED, actor="other")
    assert [row.actor for row in bank.audit()] == ["one", "other"]


@pytest.mark.sqlite_files
def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    event.listen(bank.store.engine, "connect", read_only)
    with pytest.raises(StoreUnavailable, match="cannot be written: check owner, rights and mount options"):
        bank.desk.customers.lock("nobody", STAFF)


@pytest.mark.sqlite_files
def test_a_full_disk_says_so_and_nothing_is_half_written(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    before = bank.rows()
    event.listen(bank.store.engine, "connect", full)
    with pytest.raises(StoreUnavailable, match="the disk is full: make room"):
        bank.desk.tokens.import_rows([(f"VSMT{n:08d}", bytes(1000), TokenSpec()) for n in range(1000)], STAFF)
    event.remove(bank.store.engine, "connect", full)
    assert bank.rows() == before


@pytest.mark.sqlite_files
def test_a_store_whose_file_is_gone_says_so(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(StoreUnavailable, match="cannot be opened: check the path"), bank.store.work():
        pass
    with pytest.raises(StoreUnavailable, match="cannot be opened"), bank.store.read():
        pass


@pytest.mark.sqlite_files
def test_a_reader_of_a_damaged_store_is_told_so(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with pytest.raises(StoreUnavailable, match="no such table"), bank.store.read() as connection:
        connection.execute(text("SELECT * FROM nowhere"))


@pytest.mark.parametrize("code", [driver.SQLITE_BUSY, _BUSY_SNAPSHOT, driver.SQLITE_FULL])
def test_a_busy_store_is_told_apart_from_any_other_trouble(code: int) -> None:
    error = driver.OperationalError("as the driver has it")
    error.sqlite_errorcode = code
    assert (type(unavailable(error)) is StoreBusy) == (code != driver.SQLITE_FULL)


def test_trouble_that_nobody_foresaw_keeps_its_text() -> None:
    assert str(unavailable(None)) == "store: None; see the text before"
    assert str(unavailable(driver.DatabaseError("odd"))) == "store: odd; see the text before"


def test_a_desk_that_cannot_roll_back_lets_the_connection_go(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    before = bank.rows()
    event.listen(bank.store.engine, "connect", no_way_back)

    def fail_in_the_middle() -> None:
        with bank.store.work() as work:
            work.add_tokens([NewToken("VSMT00000009", b"sealed", TokenSpec())])
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in_the_middle()
    event.remove(bank.store.engine, "connect", no_way_back)
    assert bank.rows() == before
    with bank.open_store(0.01).work():
        pass  # the write lock is free again


@pytest.mark.sqlite_files
def test_damage_in_the_middle_of_a_transaction_is_the_stores_trouble(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    with bank.store.read() as connection:
        (root,) = connection.execute(text("SELECT rootpage FROM sqlite_master WHERE name = 'token'")).one()
        (size,) = connection.execute(text("PRAGMA page_size")).one()
    with bank.database.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 200)
    with pytest.raises(StoreUnavailable, match="damaged: stop the server"):
        bank.desk.tokens.retire("VSMT00000001", STAFF)


@pytest.mark.sqlite_files
def test_damage_is_found_and_a_sound_store_has_none(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with bank.store.read() as connection:
        assert damage(connection) == []
    with bank.database.open("r+b") as file:
        file.seek(36)  # "Total number of freelist pages", sqlite.org/fileformat2.html section 1.3
        file.write((7).to_bytes(4, "big"))
    with bank.store.read() as connection:
        (found,) = damage(connection)
        assert "freelist" in found.lower()


# Conditions in the SQL: two nodes cannot both win.


def test_a_step_is_spent_once_and_only_forwards(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    key = bank.own_token().key
    with bank.store.work() as work:
        assert work.spend_step(key, 10, 1, 1000)
        assert not work.spend_step(key, 10, 1, 1000)
        assert not work.spend_step(key, 9, 1, 1000)
        assert work.spend_step(key, 11, -2, 2000)
    own = bank.own_token()
    assert (own.last_step, own.drift, own.last_at, own.last_fingerprint) == (11, -2, 2000, 0)


def test_a_customer_and_a_token_move_only_from_where_they_are(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    record = bank.login_record()
    with bank.store.work() as work:
        token = record.tokens[0].key
        assert not work.set_otp_use(replace(record, otp_use=OtpUse.SUSPENDED), OtpUse.LOST)
        assert work.set_otp_use(record, OtpUse.SUSPENDED)
        assert not work.set_token_state(token, TokenState.AVAILABLE, TokenState.RETIRED)
        assert work.set_token_state(token, TokenState.BOUND, TokenState.RETIRED)


def test_a_password_hash_is_renewed_only_over_the_one_it_was_made_from(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer(password_hash="old")
    key = bank.login_record().customer_key
    with bank.store.work() as work:
        assert not work.set_password_hash(key, "older", "new")
        assert work.set_password_hash(key, "old", "new")
        assert work.profile(key).password_hash == "new"
