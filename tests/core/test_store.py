"""The store: how it is made and opened, what it says when it cannot be, transactions as a whole, lists page by page."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import IntegrityError

from otp_core.audit import Event, Ids, id_at, ms_of
from otp_core.desk import Actor
from otp_core.judge import Case, Facts, Ruling
from otp_core.login import Finding, Stage
from otp_core.model import (
    Accept,
    Attempt,
    Challenge,
    Language,
    OpenChallenge,
    OtpUse,
    Reject,
    StoreBusy,
    StoreUnavailable,
    TokenSpec,
    TokenState,
    Verdict,
)
from otp_core.sealing import KeyProblem, create_master_key
from otp_core.store.driver import SharedCommits
from otp_core.store.engine import StoreProblem, file_of, open_engine, transaction, unavailable
from otp_core.store.ledger import Enquiries, LedgerConflict, SqliteLedger
from otp_core.store.lists import (
    AuditFilter,
    audit_rows,
    counts,
    customer_line,
    customers,
    damage,
    known_contracts,
    known_tokens,
    newest_audit_id,
    token_line,
    tokens,
)
from otp_core.store.schema import REVISION, metadata
from otp_core.store.store import Store, initialise
from otp_core.store.work import NewCustomer, NewToken
from tests.core.bank import CHALLENGE, CODE, NOON, STAFF, Bank, Holder, rules


def init(folder: Path) -> list[str]:
    """What `sekisho init` would say."""
    said: list[str] = []
    initialise(f"sqlite:///{folder}/s.db", folder / "master.key", ids=Ids(), say=said.append)
    return said


def opened(folder: Path) -> Store:
    return Store(f"sqlite:///{folder}/s.db", folder / "master.key", ids=Ids(), busy_seconds=0.05)


def sql(folder: Path, statement: str, *values: object) -> list[Any]:
    """Something done to the file behind the store's back."""
    connection = sqlite3.connect(folder / "s.db", isolation_level=None)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


# Making one.


def test_init_makes_a_store_and_its_key_for_their_owner_alone(tmp_path: Path) -> None:
    said = init(tmp_path / "new")
    assert len(said) == 2
    assert "created the master key file" in said[0] and "back it up" in said[0]
    assert said[1].startswith("created the store")
    for name in ("s.db", "master.key"):
        assert stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) == 0o600
    opened(tmp_path / "new")


def test_store_and_key_may_be_kept_apart(tmp_path: Path) -> None:
    key = tmp_path / "etc" / "master.key"
    url = f"sqlite:///{tmp_path}/var/lib/s.db"
    initialise(url, key, ids=Ids(), say=lambda _: None)
    Store(url, key, ids=Ids(), busy_seconds=1)


def test_init_may_be_repeated_and_changes_nothing(tmp_path: Path) -> None:
    init(tmp_path)
    key = (tmp_path / "master.key").read_bytes()
    with opened(tmp_path).work() as work:
        work.add_tokens([NewToken("VSMT00000001", b"sealed", TokenSpec())])
    rows = sql(tmp_path, "SELECT * FROM meta UNION ALL SELECT token_id, seed FROM token")
    assert init(tmp_path) == [f"checked the store {tmp_path}/s.db"]
    assert (tmp_path / "master.key").read_bytes() == key
    assert sql(tmp_path, "SELECT * FROM meta UNION ALL SELECT token_id, seed FROM token") == rows


def test_init_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """A key without a store; then a file without tables."""
    create_master_key(tmp_path / "master.key")
    (tmp_path / "s.db").touch()
    assert init(tmp_path) == [f"checked the store {tmp_path}/s.db"]
    opened(tmp_path)


def test_init_never_makes_a_new_key_for_an_old_store(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").unlink()
    with pytest.raises(KeyProblem, match="restore the key from your backup"):
        init(tmp_path)
    assert not (tmp_path / "master.key").exists()


def test_init_finds_out_that_the_key_is_another_stores(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").unlink()
    create_master_key(tmp_path / "master.key")
    with pytest.raises(KeyProblem, match="is not the master key of the store"):
        init(tmp_path)


def test_init_touches_nothing_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("Dear diary, " * 100)
    with pytest.raises(StoreProblem, match="no SQLite database"):
        init(tmp_path)
    assert (tmp_path / "s.db").read_text().startswith("Dear diary")


def test_init_of_a_newer_store_says_so_and_leaves_it_alone(tmp_path: Path) -> None:
    init(tmp_path)
    sql(tmp_path, "UPDATE alembic_version SET version_num = '9999'")
    rows = sql(tmp_path, "SELECT * FROM sqlite_master")
    with pytest.raises(StoreProblem, match=r"schema is not one that this version knows: .*'9999'"):
        init(tmp_path)
    assert sql(tmp_path, "SELECT * FROM sqlite_master") == rows


def test_init_in_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    create_master_key(tmp_path / "master.key")
    with pytest.raises(StoreProblem, match="cannot create the store"):
        initialise(f"sqlite:///{tmp_path}/occupied/s.db", tmp_path / "master.key", ids=Ids(), say=print)


def test_the_migrations_lead_to_the_schema_of_the_code(tmp_path: Path) -> None:
    """Otherwise a store that was upgraded would differ from a new one."""
    init(tmp_path)
    with opened(tmp_path).read() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION


def test_the_migrated_tables_hold_the_same_constraints_as_the_codes(tmp_path: Path) -> None:
    """Alembic does not compare CHECK constraints and defaults: the database's own words do."""
    init(tmp_path)
    fresh = open_engine(f"sqlite:///{tmp_path}/fresh.db", busy_seconds=1)
    metadata.create_all(fresh)

    def described(engine: Engine) -> dict[str, object]:
        with engine.connect() as connection:
            rows = connection.execute(
                text("SELECT type || ' ' || name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
            )
            return {name: sorted(clauses(words or "")) for name, words in rows if "alembic" not in name}

    assert described(fresh) == described(opened(tmp_path).engine)
    fresh.dispose()


def clauses(words: str) -> list[str]:
    """The lines of a CREATE statement, in no order, with a default's brackets off."""
    lines = words.replace("DEFAULT (-1)", "DEFAULT -1").replace('"', "").splitlines()
    return [" ".join(line.strip().rstrip(",").split()) for line in lines if line.strip()]


# Opening one.


def test_a_missing_store_says_to_make_one(tmp_path: Path) -> None:
    create_master_key(tmp_path / "master.key")
    with pytest.raises(StoreProblem, match=r"there is no store .*run `sekisho init`"):
        opened(tmp_path)
    assert not (tmp_path / "s.db").exists(), "looking for it must not make it"


def test_an_empty_file_says_to_make_a_store(tmp_path: Path) -> None:
    create_master_key(tmp_path / "master.key")
    (tmp_path / "s.db").touch()
    with pytest.raises(StoreProblem, match="the store is empty: run `sekisho init`"):
        opened(tmp_path)


def test_a_missing_key_is_a_problem_of_the_key(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").unlink()
    with pytest.raises(KeyProblem, match="there is no master key file"):
        opened(tmp_path)


def test_another_key_is_found_out_before_anything_is_done(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").unlink()
    create_master_key(tmp_path / "master.key")
    with pytest.raises(KeyProblem, match=r"is not the master key of the store .*restore the key that belongs to it"):
        opened(tmp_path)


def test_a_store_without_its_key_check_is_not_trusted(tmp_path: Path) -> None:
    init(tmp_path)
    sql(tmp_path, "DELETE FROM meta")
    with pytest.raises(KeyProblem, match="is not the master key"):
        opened(tmp_path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").chmod(0o644)
    with pytest.raises(KeyProblem, match="chmod 600"):
        opened(tmp_path)


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_a_store_of_another_revision_is_refused(tmp_path: Path, revision: str) -> None:
    init(tmp_path)
    sql(tmp_path, "UPDATE alembic_version SET version_num = ?", revision)
    with pytest.raises(StoreProblem, match=f"schema is {revision}, this version works with {REVISION}"):
        opened(tmp_path)


def test_a_file_that_is_no_database_is_told_apart(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "s.db").write_text("Dear diary, " * 100)
    with pytest.raises(StoreUnavailable, match="no SQLite database: restore the newest backup"):
        opened(tmp_path)


def test_a_damaged_store_is_told_so(tmp_path: Path) -> None:
    init(tmp_path)
    (page_size,) = sql(tmp_path, "PRAGMA page_size")[0]
    content = bytearray((tmp_path / "s.db").read_bytes())
    for page in range(1, len(content) // page_size):
        content[page * page_size : page * page_size + 100] = b"\xff" * 100
    (tmp_path / "s.db").write_bytes(content)
    with pytest.raises(
        (StoreProblem, StoreUnavailable), match="damaged: stop the server and restore the newest backup"
    ):
        opened(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://somebody:hunter2@db/sekisho",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://db/sekisho",
        "nonsense",
        "",
        "sqlite:/only/one/slash.db",
    ],
)
def test_a_url_that_cannot_be_served_is_told_the_right_form(url: str) -> None:
    with pytest.raises(StoreProblem, match=r"write sqlite:////absolute/path/file\.db$") as caught:
        open_engine(url, busy_seconds=1)
    assert "hunter2" not in str(caught.value)


def test_the_file_of_a_url_is_its_path() -> None:
    assert file_of("sqlite:////var/lib/sekisho/s.db") == Path("/var/lib/sekisho/s.db")


def test_a_store_is_durable_and_minds_its_keys(tmp_path: Path) -> None:
    """What "once" rests on: every commit waits for the disk (synchronous 2 is FULL)."""
    init(tmp_path)
    with opened(tmp_path).read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 50}


# What the database itself would refuse, whatever the code above it does.


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE token SET state = 'lent'",
        "UPDATE customer SET otp_use = 'perhaps'",
        "UPDATE customer SET token_key = NULL",
        "UPDATE customer SET token_key = 12345",
        "DELETE FROM token",
        "INSERT INTO customer (key, contract_id, otp_use) VALUES (1, 'taro', 'none')",
        "INSERT INTO token (key, token_id, seed, kind, algorithm, digits, period, state) "
        "VALUES (1, 'VSMT00000001', x'00', 'totp', 'sha1', 6, 30, 'available')",
        "INSERT INTO permit (customer_key, mark, expires_at) VALUES (1, 1, 1)",
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
            work.record(Event.TOKEN_IMPORTED, actor="staff", token="VSMT00000009")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in_the_middle()
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.05)
    other = bank.open_store()
    with bank.store.work() as work:
        work.record(Event.CLOCK_TRUSTED, actor="one")
        with pytest.raises(StoreUnavailable, match="another process holds its write lock"), other.work():
            raise AssertionError("nobody gets in here")
        with other.read() as connection:
            assert newest_audit_id(connection) == 0, "readers need not wait, and do not see what is not committed"
    bank.clock.now += 1
    with other.work() as work:
        work.record(Event.CLOCK_TRUSTED, actor="other")
    assert [row.actor for row in bank.audit()] == ["one", "other"]


def read_only(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA query_only = ON")


def full(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA max_page_count = 1")


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    event.listen(bank.store.engine, "connect", read_only)
    with pytest.raises(StoreUnavailable, match="cannot be written: check owner, rights and mount options"):
        bank.desk.lock("nobody", STAFF)


def test_a_full_disk_says_so_and_nothing_is_half_written(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    before = bank.rows()
    event.listen(bank.store.engine, "connect", full)
    with pytest.raises(StoreUnavailable, match="the disk is full: make room"):
        bank.desk.import_tokens([(f"VSMT{n:08d}", bytes(1000), TokenSpec()) for n in range(1000)], STAFF)
    event.remove(bank.store.engine, "connect", full)
    assert bank.rows() == before


def test_a_store_whose_file_is_gone_says_so(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(StoreUnavailable, match="cannot be opened: check the path"), bank.store.work():
        pass
    with pytest.raises(StoreUnavailable, match="cannot be opened"), bank.store.read():
        pass


def test_a_reader_of_a_damaged_store_is_told_so(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with pytest.raises(StoreUnavailable, match="no such table"), bank.store.read() as connection:
        connection.execute(text("SELECT * FROM nowhere"))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_FULL])
def test_a_busy_store_is_told_apart_from_any_other_trouble(code: int) -> None:
    error = sqlite3.OperationalError("as the driver has it")
    error.sqlite_errorcode = code
    assert (type(unavailable(error)) is StoreBusy) == (code != sqlite3.SQLITE_FULL)


def test_trouble_that_nobody_foresaw_keeps_its_text() -> None:
    assert str(unavailable(None)) == "store: None; see the text before"
    assert str(unavailable(sqlite3.DatabaseError("odd"))) == "store: odd; see the text before"


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
        bank.desk.retire_token("VSMT00000001", STAFF)


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
    key = bank.standing().token_key
    assert key is not None
    with bank.store.work() as work:
        assert work.spend_step(key, 10, 1, 1000)
        assert not work.spend_step(key, 10, 1, 1000)
        assert not work.spend_step(key, 9, 1, 1000)
        assert work.spend_step(key, 11, -2, 2000)
    standing = bank.standing()
    assert (standing.last_step, standing.drift, standing.last_at, standing.last_mark) == (11, -2, 2000, 0)


def test_a_customer_and_a_token_move_only_from_where_they_are(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    standing = bank.standing()
    assert standing.token_key is not None
    with bank.store.work() as work:
        who, token = standing.customer_key, standing.token_key
        assert not work.set_otp_use(who, OtpUse.SUSPENDED, OtpUse.LOST, token)
        assert work.set_otp_use(who, OtpUse.ACTIVE, OtpUse.SUSPENDED, token)
        assert not work.set_token_state(token, TokenState.AVAILABLE, TokenState.RETIRED)
        assert work.set_token_state(token, TokenState.BOUND, TokenState.RETIRED)


def test_a_password_hash_is_renewed_only_over_the_one_it_was_made_from(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer(password_hash="old")
    key = bank.standing().customer_key
    with bank.store.work() as work:
        assert not work.set_password_hash(key, "older", "new")
        assert work.set_password_hash(key, "old", "new")
        assert work.profile(key).password_hash == "new"


# Lists.


def filled(folder: Path) -> Bank:
    """Seven customers, four of them with tokens, and two tokens more."""
    bank = Bank(folder)
    for number in range(7):
        token_id = f"VSMT0000000{number}" if number < 4 else None
        bank.customer(f"taro{number}", token_id)
    bank.token("VSMT00000008")
    bank.token("VSMT00000009")
    return bank


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_customers_come_page_by_page_and_none_is_left_out_or_comes_twice(tmp_path: Path, limit: int) -> None:
    with filled(tmp_path).store.read() as connection:
        found, after = [], ""
        while page := customers(connection, after=after, limit=limit):
            assert len(page) <= limit
            found += [line.contract_id for line in page]
            after = page[-1].contract_id
    assert found == [f"taro{number}" for number in range(7)]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_tokens_come_page_by_page_and_none_is_left_out_or_comes_twice(tmp_path: Path, limit: int) -> None:
    with filled(tmp_path).store.read() as connection:
        found, after = [], ""
        while page := tokens(connection, after=after, limit=limit):
            found += [line.token_id for line in page]
            after = page[-1].token_id
    assert found == [f"VSMT0000000{number}" for number in (0, 1, 2, 3, 8, 9)]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_shared_token_is_one_line_of_the_list(tmp_path: Path, limit: int) -> None:
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    for who in ("taro", "jiro", "saburo"):
        bank.customer(who)
    bank.customer("shiro", "VSMT00000002")
    with bank.store.read() as connection:
        found, after = [], ""
        while page := tokens(connection, after=after, limit=limit):
            found += [line.token_id for line in page]
            after = page[-1].token_id
    assert found == ["VSMT00000001", "VSMT00000002"]


@pytest.mark.parametrize("limit", [1, 4, 1000])
@pytest.mark.parametrize("newest_first", [False, True])
def test_the_audit_trail_comes_page_by_page_in_both_directions(tmp_path: Path, limit: int, newest_first: bool) -> None:
    with filled(tmp_path).store.read() as connection:
        found: list[int] = []
        wanted = AuditFilter()
        while page := audit_rows(connection, wanted, limit=limit, newest_first=newest_first):
            found += [row.id for row in page]
            wanted = AuditFilter(before=found[-1]) if newest_first else AuditFilter(after=found[-1])
        everything = [row.id for row in audit_rows(connection, AuditFilter())]
    assert len(everything) == 6 + 7
    assert found == sorted(everything, reverse=newest_first)


def test_customers_are_found_by_a_part_of_what_they_are_called(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    bank.desk.add_customer("100%", STAFF, name="山田 花子")

    def search(words: str) -> list[str]:
        with bank.store.read() as connection:
            return [line.contract_id for line in customers(connection, search=words)]

    assert search("aro3") == ["taro3"]
    assert search("花子") == ["100%"]
    assert search("VSMT00000002") == ["taro2"]
    assert search("%") == ["100%"], "a sign is a sign, and not a pattern"
    assert search("_") == []


def test_customers_are_found_by_their_state(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    bank.desk.suspend("taro1", None, STAFF)
    bank.desk.lock("taro5", STAFF)
    with bank.store.read() as connection:
        assert [line.contract_id for line in customers(connection, use=OtpUse.SUSPENDED)] == ["taro1"]
        assert [line.contract_id for line in customers(connection, locked=True)] == ["taro5"]
        assert [line.contract_id for line in customers(connection, use=OtpUse.ACTIVE)] == ["taro0", "taro2", "taro3"]


def test_tokens_are_found_by_a_part_and_by_their_state(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    bank.desk.retire_token("VSMT00000009", STAFF)
    with bank.store.read() as connection:
        assert [line.token_id for line in tokens(connection, search="0003")] == ["VSMT00000003"]
        assert [line.token_id for line in tokens(connection, state=TokenState.AVAILABLE)] == ["VSMT00000008"]
        assert [line.token_id for line in tokens(connection, state=TokenState.RETIRED)] == ["VSMT00000009"]


def test_one_customer_and_one_token_are_shown_with_what_belongs_to_them(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer(password_hash="a hash")
    with bank.store.read() as connection:
        line = customer_line(connection, "taro")
        assert line is not None
        assert (line.otp_use, line.token_id, line.token_state, line.password_held) == (
            OtpUse.ACTIVE,
            "VSMT00000001",
            TokenState.BOUND,
            True,
        )
        token = token_line(connection, "VSMT00000001")
        assert token is not None
        assert (token.contract_id, token.state, token.last_step, token.digits) == ("taro", TokenState.BOUND, -1, 6)
        assert customer_line(connection, "nobody") is None
        assert token_line(connection, "VSMT99999999") is None


def test_the_audit_trail_is_asked_for_by_whom_what_who_and_when(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro")
    bank.clock.now += 3600
    bank.customer("jiro", "VSMT00000002")
    bank.desk.suspend("jiro", None, Actor("the counter"))
    later = id_at(int((NOON + 3600) * 1000))

    def asked(**wanted: Any) -> list[tuple[str, str | None]]:
        return [(row.event, row.customer) for row in bank.audit(**wanted)]

    assert asked(customer="jiro") == [("otp.enrolled", "jiro"), ("otp.suspended", "jiro")]
    assert asked(token="VSMT00000001") == [("token.imported", None), ("otp.enrolled", "taro")]
    assert asked(event="otp") == [("otp.enrolled", "taro"), ("otp.enrolled", "jiro"), ("otp.suspended", "jiro")]
    assert asked(event="otp.suspended") == [("otp.suspended", "jiro")]
    assert asked(actor="the counter") == [("otp.suspended", "jiro")]
    assert asked(before=later) == [("token.imported", None), ("otp.enrolled", "taro")]
    assert len(asked(after=later)) == 3
    assert asked(customer="jiro", event="token") == []


def test_the_newest_row_tells_the_latest_moment(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with bank.store.read() as connection:
        assert newest_audit_id(connection) == 0
    bank.customer()
    with bank.store.read() as connection:
        assert ms_of(newest_audit_id(connection)) == int(NOON * 1000)


def test_everything_is_counted(tmp_path: Path) -> None:
    with filled(tmp_path).store.read() as connection:
        assert counts(connection) == {"customer": 7, "token": 6, "audit": 13}


def test_what_a_file_brings_is_compared_with_what_is_there(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    with bank.store.read() as connection:
        assert set(known_contracts(connection, ["taro1", "hanako", "taro6"])) == {"taro1", "taro6"}
        assert set(known_tokens(connection, ["VSMT00000003", "VSMT00000007"])) == {"VSMT00000003"}


def test_rows_that_were_added_meanwhile_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    """Two imports of one file at once."""
    bank = filled(tmp_path)
    before, trail = bank.rows(), bank.audit()
    new = [("VSMT00000007", b"seed", TokenSpec()), ("VSMT00000003", b"seed", TokenSpec())]
    with pytest.raises(StoreUnavailable, match="a token of the same ID was added by somebody else"):
        bank.desk.import_tokens(new, STAFF)
    with pytest.raises(StoreUnavailable, match="a customer of the same ID was added by somebody else"):
        bank.desk.import_customers([NewCustomer("hanako", None), NewCustomer("taro1", None)], [None, None], STAFF)
    assert (bank.rows(), bank.audit()) == (before, trail)


# The ledger: a batch of logins as one transaction.


def code_case(holder: Holder, typed: str, fingerprint: int = 0) -> Case:
    attempt = Attempt(holder.contract_id, typed, CODE, "gateway", "192.0.2.1", fingerprint=fingerprint)
    return Case(attempt, Stage.CODE, code=typed)


def first_round(holder: Holder) -> Case:
    return Case(Attempt(holder.contract_id, "(a password)", CHALLENGE, "gateway"), Stage.FIRST_ROUND, password_mark=77)


def second_round(holder: Holder, state: bytes, typed: str) -> Case:
    attempt = Attempt(holder.contract_id, typed, CHALLENGE, "gateway", challenge=state, fingerprint=5)
    return Case(attempt, Stage.SECOND_ROUND, code=typed)


def rule(bank: Bank, ledger: SqliteLedger, cases: list[Case], facts: list[Facts] | None = None) -> list[Verdict]:
    """As the docket does it. ``facts`` keeps what the judge knew at the end."""

    def judge(known: Facts) -> Ruling:
        if facts is not None:
            facts.append(known)
        return bank.judge.judge(cases, known, bank.guarded.now(), bank.store.ids)

    states = [case.attempt.challenge for case in cases if case.attempt.challenge is not None]
    return ledger.rule([case.attempt.customer for case in cases], states, judge).verdicts


@contextmanager
def ledger_of(bank: Bank) -> Iterator[SqliteLedger]:
    ledger = bank.store.ledger()
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def enquiries_of(bank: Bank) -> Iterator[Enquiries]:
    enquiries = bank.store.enquiries()
    try:
        yield enquiries
    finally:
        enquiries.close()


def test_a_batch_writes_what_was_ruled_and_nothing_else(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=2))
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    now = int(NOON * 1000)
    with ledger_of(bank) as ledger:
        verdicts = rule(
            bank, ledger, [code_case(taro, taro.code(1), 99), code_case(jiro, "000000", 88), first_round(jiro)]
        )
    assert [type(verdict) for verdict in verdicts] == [Accept, Reject, Challenge]
    one, other = bank.standing("taro"), bank.standing("jiro")
    assert (one.last_step, one.drift, one.last_mark, one.last_at) == (taro.step(1), 1, 99, now)
    assert (other.failures, other.failed_at, other.failed_mark, other.locked_at) == (1, now, 88, None)
    assert isinstance(verdicts[2], Challenge)
    assert bank.rows()["challenge"] == [(verdicts[2].state, other.customer_key, "gateway", now + 120_000, 3, 77)]
    assert [row[1:] for row in bank.audit(actor="gateway")] == [
        ("login.accepted", "gateway", "taro", "VSMT00000001", "192.0.2.1", "right code"),
        ("login.rejected", "gateway", "jiro", "VSMT00000002", "192.0.2.1", "wrong code"),
        ("login.challenged", "gateway", "jiro", "VSMT00000002", "", "password right, code not given yet"),
    ]


def test_a_challenge_is_taken_out_by_its_answer(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with ledger_of(bank) as ledger:
        (asked,) = rule(bank, ledger, [first_round(taro)])
        assert isinstance(asked, Challenge)
        assert rule(bank, ledger, [second_round(taro, asked.state, taro.code())]) == [Accept()]
    assert bank.rows()["challenge"] == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["taro", "jiro", "saburo"]),
                st.sampled_from(["code", "code", "first", "second"]),
                st.sampled_from([0, 0, 1, -1, 9]),
            ),
            min_size=1,
            max_size=6,
        ),
        max_size=6,
    )
)
def test_what_the_judge_believes_after_a_batch_is_what_the_store_knows(
    batches: list[list[tuple[str, str, int]]],
) -> None:
    """So the next batch is judged as if it had been part of this one."""
    with tempfile.TemporaryDirectory() as folder:
        bank = Bank(Path(folder), rules(lock_after=3, one_customer_per_token=False))
        holders = {who: bank.customer(who, "VSMT00000002" if who != "taro" else "VSMT00000001") for who in BORN}
        states = [b"none"]
        with ledger_of(bank) as ledger:
            for batch in batches:
                cases = []
                for who, kind, away in batch:
                    one = holders[who]
                    match kind:
                        case "code":
                            cases.append(code_case(one, one.code(away)))
                        case "first":
                            cases.append(first_round(one))
                        case _:
                            cases.append(second_round(one, states[-1], one.code(away)))
                facts: list[Facts] = []
                verdicts = rule(bank, ledger, cases, facts)
                states += [verdict.state for verdict in verdicts if isinstance(verdict, Challenge)]
                for who, believed in facts[0].standings.items():
                    known = bank.standing(who)
                    if not known.failures:
                        believed = replace(believed, failed_at=0, failed_mark=0)
                    assert believed == known
                bank.clock.now += 20
        assert len(bank.audit(actor="gateway")) == sum(map(len, batches)) + len(bank.audit(event="customer.locked"))


BORN = ["taro", "jiro", "saburo"]


def test_a_ruling_that_the_store_refuses_is_not_kept_in_any_part(tmp_path: Path) -> None:
    """Another node spent one of the codes: the others' changes must not stay either."""
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    with ledger_of(bank) as ledger:
        (asked,) = rule(bank, ledger, [first_round(taro)])
        assert isinstance(asked, Challenge)
        before, trail = bank.rows(), bank.audit()

        def spent_elsewhere(facts: Facts) -> Ruling:
            cases = [code_case(jiro, "000000"), second_round(taro, asked.state, taro.code()), first_round(jiro)]
            ruling = bank.judge.judge(cases, facts, bank.guarded.now(), bank.store.ids)
            ruling.spent = [*ruling.spent, *ruling.spent]
            return ruling

        with pytest.raises(LedgerConflict):
            ledger.rule(["taro", "jiro"], [asked.state], spent_elsewhere)
        assert (bank.rows(), bank.audit()) == (before, trail)
        assert rule(bank, ledger, [second_round(taro, asked.state, taro.code())]) == [Accept()], (
            "and the ledger goes on"
        )


@pytest.mark.parametrize("state", [TokenState.LOST, TokenState.RETIRED])
def test_no_code_of_a_token_that_is_not_bound_is_ever_spent(tmp_path: Path, state: TokenState) -> None:
    """Whatever was ruled: the condition stands in the statement itself."""
    bank = Bank(tmp_path)
    bank.customer()
    key = bank.standing().token_key
    assert key is not None
    with bank.store.work() as work:
        work.set_token_state(key, TokenState.BOUND, state)
    before = bank.rows()
    with ledger_of(bank) as ledger, pytest.raises(LedgerConflict):
        ledger.rule(["taro"], [], lambda _: Ruling(spent=[(10, 0, 0, 0, key, 10)]))
    assert bank.rows() == before


def test_a_judge_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before, trail = bank.rows(), bank.audit()

    def fail(facts: Facts) -> Ruling:
        raise RuntimeError("poison")

    with ledger_of(bank) as ledger:
        with pytest.raises(RuntimeError, match="poison"):
            ledger.rule(["taro"], [], fail)
        assert (bank.rows(), bank.audit()) == (before, trail)
        with bank.open_store(0.01).work():
            pass  # the write lock is free again
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_a_batch_that_the_database_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before, trail = bank.rows(), bank.audit()

    def twice(facts: Facts) -> Ruling:
        ruling = bank.judge.judge([code_case(taro, taro.code())], facts, bank.guarded.now(), bank.store.ids)
        ruling.audit = [*ruling.audit, *ruling.audit]
        return ruling

    with ledger_of(bank) as ledger:
        with pytest.raises(StoreUnavailable, match="UNIQUE constraint failed"):
            ledger.rule(["taro"], [], twice)
        assert (bank.rows(), bank.audit()) == (before, trail)
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_the_ledger_waits_for_no_lock_longer_than_it_may(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.02)
    taro = bank.customer()
    with ledger_of(bank) as ledger:
        with bank.store.work(), pytest.raises(StoreUnavailable, match="another process holds its write lock"):
            rule(bank, ledger, [code_case(taro, taro.code())])
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_the_ledger_begins_afresh_after_trouble(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before = bank.rows()
    event.listen(bank.store.engine, "connect", read_only)
    with ledger_of(bank) as ledger:
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            rule(bank, ledger, [code_case(taro, taro.code())])
        event.remove(bank.store.engine, "connect", read_only)
        assert bank.rows() == before
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_a_store_that_was_deleted_while_it_was_open_is_noticed_at_the_next_use(tmp_path: Path) -> None:
    """What is written into a file without a name is lost."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    with ledger_of(bank) as ledger, enquiries_of(bank) as enquiries:
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]
        enquiries.probe(1)
        bank.database.unlink()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="cannot be opened"):
                rule(bank, ledger, [code_case(taro, taro.code(1))])
            with pytest.raises(StoreUnavailable, match="cannot be opened"):
                enquiries.probe(2)
    assert not bank.database.exists(), "nor is an empty one made in its place"


def test_a_file_that_is_empty_for_the_moment_of_a_restore_is_not_written_to(tmp_path: Path) -> None:
    """Whoever copies a backup over the file empties it first: a page of ours in it would spoil the copy."""
    bank = Bank(tmp_path)
    enquiries = bank.store.enquiries()
    bank.database.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="no complete store: is a restore under way"):
            enquiries.credentials("taro")
        assert bank.database.read_bytes() == b""
    enquiries.close()


def test_a_store_that_was_replaced_while_it_was_open_is_not_touched_until_a_restart(tmp_path: Path) -> None:
    """SQLite would play the write-ahead log of the old file over the new one."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    backup = tmp_path / "backup.db"
    with contextlib.closing(sqlite3.connect(bank.database)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    with ledger_of(bank) as ledger, enquiries_of(bank) as enquiries:
        assert rule(bank, ledger, [code_case(taro, taro.code(-1))]) == [Accept()]
        assert enquiries.credentials("taro") is not None
        backup.replace(bank.database)
        before = bank.database.read_bytes()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="was replaced while the server runs; stop the server, remove"):
                rule(bank, ledger, [code_case(taro, taro.code())])
            with pytest.raises(StoreUnavailable, match="was replaced"):
                enquiries.credentials("taro")
        assert bank.database.read_bytes() == before


def test_a_login_is_on_disk_before_anybody_hears_of_it(tmp_path: Path) -> None:
    """Commit and flush are two steps; a disk that refuses the second one refuses the login."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    commits = SharedCommits(bank.store.engine)
    ledger = SqliteLedger(commits)
    rule(bank, ledger, [code_case(taro, taro.code(-1))])
    with commits.guarded() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,), "COMMIT itself does not wait"
    (log,) = [int(one) for one in os.listdir("/proc/self/fd") if _opened_as(one) == f"{bank.database}-wal:r"]
    read_end, write_end = os.pipe()
    os.dup2(read_end, log)  # a pipe cannot be flushed
    with pytest.raises(StoreUnavailable, match="its log cannot be flushed: Invalid argument; check the disk"):
        rule(bank, ledger, [code_case(taro, taro.code())])
    for end in (read_end, write_end):
        os.close(end)
    ledger.close()


def _opened_as(number: str) -> str:
    """``FILE:r`` for a file that is open for reading alone."""
    try:
        flags = Path(f"/proc/self/fdinfo/{number}").read_text().split("flags:")[1].split()[0]
        name = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""
    return f"{name}:r" if int(flags, 8) & os.O_ACCMODE == os.O_RDONLY else name


def test_a_copy_in_another_journal_mode_waits_for_the_disk_in_its_commits(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.store.engine.dispose()
    with contextlib.closing(sqlite3.connect(bank.database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    commits = SharedCommits(bank.store.engine)
    assert rule(bank, SqliteLedger(commits), [code_case(taro, taro.code())]) == [Accept()]
    with commits.guarded() as driver:
        assert driver.execute("PRAGMA synchronous").fetchone() == (2,)
    commits.close()


def test_of_two_ledgers_on_one_store_one_is_at_work(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    mine, others = SharedCommits(bank.store.engine), SharedCommits(bank.open_store().engine)
    order = []

    def wait_for_my_turn() -> None:
        with others.guarded(), others.turn():
            order.append("other")

    with mine.guarded(), mine.turn():
        waiting = threading.Thread(target=wait_for_my_turn)
        waiting.start()
        waiting.join(0.2)
        order.append("mine")
    waiting.join(20)
    assert order == ["mine", "other"]
    mine.close()
    others.close()


def no_way_back(connection: sqlite3.Connection, _record: object) -> None:
    """A database so broken that it cannot even roll back."""

    def allow(action: int, first: str | None, *_more: str | None) -> int:
        return (
            sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION and first == "ROLLBACK" else sqlite3.SQLITE_OK
        )

    connection.set_authorizer(allow)


def test_a_ledger_that_cannot_roll_back_lets_the_connection_go(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before = bank.rows()

    def fail(facts: Facts) -> Ruling:
        raise RuntimeError("poison")

    event.listen(bank.store.engine, "connect", no_way_back)
    with ledger_of(bank) as ledger:
        with pytest.raises(RuntimeError, match="poison"):
            ledger.rule(["taro"], [], fail)
        event.remove(bank.store.engine, "connect", no_way_back)
        assert bank.rows() == before
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


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


def test_closing_a_ledger_that_was_never_used_is_no_error(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    ledger = bank.store.ledger()
    ledger.close()
    ledger.close()


# Enquiries: what is asked between the batches.


def test_a_customer_is_known_with_their_hash_and_without_a_lock(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    bank.customer("taro", password_hash="a hash")
    bank.customer("jiro", None)
    with enquiries_of(bank) as enquiries, bank.store.work():
        assert enquiries.credentials("taro") == (bank_standing(enquiries, "taro"), "a hash")
        known = enquiries.credentials("jiro")
        assert known is not None and known[1] is None and known[0].token_key is None
        assert enquiries.credentials("nobody") is None


def bank_standing(enquiries: Enquiries, contract_id: str) -> object:
    known = enquiries.credentials(contract_id)
    assert known is not None
    return known[0]


def test_the_ledger_and_the_desk_know_a_customer_by_the_same_facts(tmp_path: Path) -> None:
    """Two statements for one record: they must not drift apart."""
    bank = Bank(tmp_path)
    for number, use in enumerate(OtpUse):
        bank.in_state(use, f"taro{number}", f"VSMT0000000{number}")
    with enquiries_of(bank) as enquiries:
        for number, _ in enumerate(OtpUse):
            known = enquiries.credentials(f"taro{number}")
            assert known is not None
            assert known[0] == bank.standing(f"taro{number}")


@pytest.mark.parametrize(
    "name",
    [
        "taro\0",
        "taro\0evil",
        "TARO",
        "taro ",
        "ta%",
        "'taro'",
        '"taro"',
        "[taro]",
        "",
        "9" * 5000,
        '{"a": 1}',
    ],
)
def test_a_name_is_a_name_and_nothing_else(tmp_path: Path, name: str) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    stranger = Holder(name, taro.token_id, taro.seed, taro.spec, taro.clock)
    with enquiries_of(bank) as enquiries:
        assert enquiries.credentials(name) is None
    with ledger_of(bank) as ledger:
        verdicts = rule(bank, ledger, [code_case(stranger, taro.code()), code_case(taro, taro.code())])
    assert verdicts == [Reject(Finding.UNKNOWN_CUSTOMER, Language.JA), Accept()]


def test_of_one_customers_open_challenges_the_newest_five_are_kept(tmp_path: Path) -> None:
    """So that nobody who has one password fills everybody's places."""
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    states: list[bytes] = []
    with ledger_of(bank) as ledger:
        (others,) = rule(bank, ledger, [first_round(jiro)])
        assert isinstance(others, Challenge)
        for _ in range(7):
            bank.clock.now += 1
            (asked,) = rule(bank, ledger, [first_round(taro)])
            assert isinstance(asked, Challenge)
            states.append(asked.state)
        assert {row[0] for row in bank.rows()["challenge"]} == {*states[2:], others.state}
        (gone,) = rule(bank, ledger, [second_round(taro, states[1], taro.code())])
        assert gone == Reject(Finding.CHALLENGE_GONE, Language.JA)
        assert rule(bank, ledger, [second_round(taro, states[2], taro.code())]) == [Accept()]


def test_of_one_customers_challenges_of_one_batch_five_are_kept(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with ledger_of(bank) as ledger:
        rule(bank, ledger, [first_round(taro)] * 300)
    assert len(bank.rows()["challenge"]) == 5


def test_expired_challenges_are_forgotten_and_open_ones_counted(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with ledger_of(bank) as ledger, enquiries_of(bank) as enquiries:
        assert enquiries.open_challenges() == 0
        rule(bank, ledger, [first_round(taro)] * 3)
        bank.clock.now += 60
        rule(bank, ledger, [first_round(taro)])
        end = int((NOON + 120) * 1000)
        assert (enquiries.expire(end), enquiries.open_challenges()) == (0, 4)
        assert (enquiries.expire(end + 1), enquiries.open_challenges()) == (3, 1)
        assert (enquiries.expire(end + 60_001), enquiries.open_challenges()) == (1, 0)


def test_at_most_a_thousand_challenges_are_forgotten_at_once(tmp_path: Path) -> None:
    """So that no login waits long for it."""
    bank = Bank(tmp_path)
    with ledger_of(bank) as ledger, enquiries_of(bank) as enquiries:
        opened_ = [OpenChallenge(n.to_bytes(16, "big"), n, "gateway", int(NOON * 1000), 3, None) for n in range(1001)]
        ledger.rule([], [], lambda _: Ruling(opened=opened_))
        later = int((NOON + 500) * 1000)
        assert [enquiries.expire(later) for _ in range(3)] == [1000, 1, 0]


def test_nothing_is_written_where_nothing_is_to_be_forgotten(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    with enquiries_of(bank) as enquiries, bank.store.work():
        assert enquiries.expire(int(NOON * 1000)) == 0


def test_a_probe_writes(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    with enquiries_of(bank) as enquiries:
        enquiries.probe(1)
        enquiries.probe(2)
        with bank.store.work(), pytest.raises(StoreBusy, match="write lock"):
            enquiries.probe(3)
        enquiries.probe(4)
    assert ("probe", (4).to_bytes(8, "big")) in bank.rows()["meta"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda enquiries: enquiries.credentials("taro"),
        lambda enquiries: enquiries.expire(0),
        lambda enquiries: enquiries.open_challenges(),
        lambda enquiries: enquiries.probe(0),
    ],
)
def test_every_enquiry_of_a_store_that_is_gone_says_so(tmp_path: Path, ask: Callable[[Enquiries], object]) -> None:
    bank = Bank(tmp_path)
    shutil.rmtree(tmp_path)
    with enquiries_of(bank) as enquiries, pytest.raises(StoreUnavailable, match="cannot be opened"):
        ask(enquiries)
