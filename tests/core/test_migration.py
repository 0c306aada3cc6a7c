"""A store of version 0.1.0 (schema 0004), as it wrote it: after the migration everything in it goes on, down to the
codes, challenges, sessions and permits that were under way.

``store_0_1_0/`` was made by 0.1.0's own code, with the clock at NOON. taro has logged in; jiro holds a permit; hana has
given the old token's code on the pages and been issued a new token; kenji has typed one wrong code and been asked for
another; one soft token is unclaimed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command, op
from alembic.config import Config

from otp_core.accounts import Principal, PrincipalKind, Quota, Refusal, Refused, SessionLimits
from otp_core.audit import Ids
from otp_core.login.requests import LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import Accept, Attempt, Language, OtpUse, Reject, StoreProblem, TokenSpec
from otp_core.otp import code_at, step_at
from otp_core.store.approvals import approval_of
from otp_core.store.queries import customer_line, customers
from otp_core.store.schema import REVISION
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.database import open_engine, transaction
from otp_core.store.store import Store, initialise
from tests.core.bank import CODE, NOON, Bank, Holder, rules
from tests.core.batches import login_batch_of, run_batch, second_round

pytestmark = pytest.mark.sqlite_files

_OLD = Path(__file__).parent / "store_0_1_0"
_STATE = bytes.fromhex("a4d55b70ae8b3e1b6c2f7cdfa67d352c")
_PERMIT = "TDWQ-82XR-JGWP"
_SESSION_ID = b"an id that only the browser kept"
_ISSUED, _UNCLAIMED = "SKSO11719526", "SKSO68740810"
_DAY = 86400
_LIMITS = SessionLimits(600, 1800, 1000)
_HANA = Principal("hana", PrincipalKind.CUSTOMER, "192.0.2.7", customer="hana")


def _old_store(folder: Path) -> Path:
    """The store of 0.1.0, not yet migrated."""
    database = folder / "bank.db"
    with closing(driver.connect(database)) as connection:
        connection.executescript((_OLD / "store.sql").read_text())
    shutil.copy(_OLD / "master.key", folder)
    (folder / "master.key").chmod(0o600)
    return database


def _migrate(folder: Path) -> None:
    initialise(f"sqlite:///{folder}/bank.db", folder / "master.key", ids=Ids(), say=lambda _: None)


def _migrated(folder: Path) -> Bank:
    _old_store(folder)
    _migrate(folder)
    bank = Bank(folder)
    bank.clock.now = NOON + 1  # ids of these tests come after those in the store
    return bank


def _holder(bank: Bank, contract_id: str, token_id: str) -> Holder:
    return Holder(contract_id, token_id, token_id.encode() * 2, TokenSpec(), bank.clock)


def _dump(database: Path) -> list[str]:
    """As SQL, by Python's own SQLite in another process: pysqlite3 cannot dump."""
    program = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).iterdump(), sep=chr(0), end='')"
    words = [sys.executable, "-c", program, str(database)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split("\0")


def test_the_audit_trail_is_untouched(tmp_path: Path) -> None:
    before = [line for line in _dump(_old_store(tmp_path)) if line.startswith('INSERT INTO "audit"')]
    _migrate(tmp_path)
    after = [line for line in _dump(tmp_path / "bank.db") if line.startswith('INSERT INTO "audit"')]
    assert after == [line.replace(");", ",NULL);") for line in before], "nobody knows which node wrote it"
    assert len(before) == 17


def test_the_code_that_was_spent_stays_spent_and_its_retransmission_stays_accepted(tmp_path: Path) -> None:
    bank = _migrated(tmp_path)
    taro = _holder(bank, "taro", "VSMT00000001")

    def asked(fingerprint: int) -> LoginRequest:
        attempt = Attempt("taro", taro.code(), CODE, "gateway", "192.0.2.1", fingerprint=fingerprint)
        return LoginRequest(attempt, Stage.CODE, code=taro.code())

    with login_batch_of(bank) as login_batch:
        assert run_batch(bank, login_batch, [asked(4711)]) == [Accept()]
        assert run_batch(bank, login_batch, [asked(1)]) == [Reject(Finding.REUSED, Language.JA)]


def test_an_open_challenge_is_answered(tmp_path: Path) -> None:
    bank = _migrated(tmp_path)
    kenji = _holder(bank, "kenji", "VSMT00000004")
    assert bank.login_record("kenji").failures == 1
    with login_batch_of(bank) as login_batch:
        assert run_batch(bank, login_batch, [second_round(kenji, _STATE, kenji.code())]) == [Accept()]
    assert bank.login_record("kenji").failures == 0


def test_a_permit_lets_a_new_token_in_once(tmp_path: Path) -> None:
    bank = _migrated(tmp_path)
    new = bank.token("VSMT00000009")
    jiro = Principal("jiro", PrincipalKind.CUSTOMER, "192.0.2.8", customer="jiro")
    with pytest.raises(Refused) as refused:
        bank.desk.enrolment.change_by_permit("jiro", "AAAA-AAAA-AAAA", "VSMT00000009", new.code(), jiro)
    assert refused.value.refusal is Refusal.WRONG_PERMIT
    bank.desk.enrolment.change_by_permit("jiro", _PERMIT, "VSMT00000009", new.code(), jiro)
    assert bank.login_record("jiro").otp_use == OtpUse.ACTIVE


def test_a_session_goes_on_where_it_was_with_its_proof_and_its_reserved_token(tmp_path: Path) -> None:
    bank = _migrated(tmp_path)
    session = bank.desk.sessions.find(_SESSION_ID, _LIMITS)
    assert session is not None and session.customer == "hana" and session.proof_until is not None
    assert session.data["stage"] == "/enrol/old-code" and session.data["key"] == "k" * 16
    with bank.store.work() as work:
        token = work.token(_ISSUED)
    assert token is not None and token.seed is not None
    seed = bank.store.sealer.unseal(token.seed, _ISSUED)
    code = code_at(seed, step_at(int(bank.clock.now * 1000), 30), TokenSpec())
    bank.desk.devices.change_by_proof("hana", session, _ISSUED, code, _HANA)
    assert bank.login_record("hana").token_id == _ISSUED
    assert bank.token_line("VSMT00000003").state == "retired"


def test_an_unclaimed_token_counts_for_its_address_and_is_retired_in_time(tmp_path: Path) -> None:
    bank = _migrated(tmp_path)
    app = Principal("soft token", PrincipalKind.ANONYMOUS, "192.0.2.9")
    with pytest.raises(Refused, match=r"192\.0\.2\.9"):
        bank.desk.issuance.issue_unclaimed(app, Quota(1, 100))
    bank.clock.now += 15 * _DAY
    assert bank.desk.issuance.retire_unclaimed(14, Principal("sekisho", PrincipalKind.SYSTEM)) == 1
    assert bank.token_line(_UNCLAIMED).state == "retired"


def test_a_migration_that_is_interrupted_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its worst moment: the old table is gone, the new one has not got its name yet."""
    database = _old_store(tmp_path)
    before = _dump(database)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(op, "rename_table", killed)
    with pytest.raises(KeyboardInterrupt):
        _migrate(tmp_path)
    assert _dump(database) == before
    monkeypatch.undo()
    _migrate(tmp_path)
    Store(f"sqlite:///{database}", tmp_path / "master.key", ids=Ids(), busy_seconds=1.0)


def test_a_row_that_refers_to_nothing_is_named_and_the_store_left_as_it_was(tmp_path: Path) -> None:
    database = _old_store(tmp_path)
    with closing(driver.connect(database)) as connection:
        connection.execute("INSERT INTO handout VALUES (4711, '192.0.2.9')")
        connection.commit()
    before = _dump(database)
    with pytest.raises(StoreProblem, match="unclaimed_token has a row that refers to nothing"):
        _migrate(tmp_path)
    assert _dump(database) == before


def test_the_schema_is_the_newest(tmp_path: Path) -> None:
    _old_store(tmp_path)
    _migrate(tmp_path)
    assert f"INSERT INTO \"alembic_reached\" VALUES('{REVISION}');" in _dump(tmp_path / "bank.db")


# From 0.2.0 (schema 0006), in which each customer had one token, named in their own row.


def _store_0_2_0(folder: Path) -> Path:
    """The store of 0.1.0 as 0.2.0 migrated it, with a customer who shares kenji's token and one who has none."""
    database = _old_store(folder)
    config = Config()
    config.set_main_option("script_location", "otp_core.store:migrations")
    with open_engine(f"sqlite:///{database}", busy_seconds=1.0).connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        config.attributes["connection"] = connection
        with transaction(connection):
            command.upgrade(config, "0006")
            for statement in (
                "INSERT INTO customer (key, contract_id, otp_use, token_key, failures, language, attributes)"
                " SELECT 1, 'saburo', 'suspended', token_key, 3, 'en', '{}' FROM customer WHERE contract_id = 'kenji'",
                "INSERT INTO customer (key, contract_id, otp_use) VALUES (2, 'shiro', 'none')",
                "INSERT INTO profile (customer_key) VALUES (1), (2)",
            ):
                connection.exec_driver_sql(statement)
    return database


def test_everybody_has_the_token_that_they_had_and_all_else_that_was_known_of_them(tmp_path: Path) -> None:
    database = _store_0_2_0(tmp_path)
    with closing(driver.connect(database)) as connection:
        before = connection.execute(
            "SELECT c.contract_id, c.otp_use, c.locked_at, c.failures, c.failed_at, c.failed_fingerprint, c.language,"
            " c.attributes, t.token_id FROM customer AS c LEFT JOIN token AS t ON t.key = c.token_key ORDER BY 1"
        ).fetchall()
    _migrate(tmp_path)
    bank = Bank(tmp_path)
    with bank.store.read() as connection:
        lines = customers(connection).rows
    records = [bank.login_record(line.contract_id) for line in lines]
    assert [
        (
            *(one.contract_id, one.otp_use, one.locked_at, one.failures, one.failed_at, one.failed_fingerprint),
            *(one.language, one.attributes, one.token_id),
        )
        for one in records
    ] == before
    assert [[held.token_id for held in line.tokens] for line in lines] == [
        [row[-1]] if row[-1] else [] for row in before
    ]
    assert {one.bound_at for line in lines for one in line.tokens} == {0}, "it was not noted"
    assert len(before) == 6 and sum(row[-1] is None for row in before) == 1


def test_a_customer_of_0_2_0_brings_a_second_token(tmp_path: Path) -> None:
    _store_0_2_0(tmp_path)
    _migrate(tmp_path)
    bank = Bank(tmp_path, rules(tokens_per_customer=2))
    bank.clock.now = NOON + 31
    old, new = _holder(bank, "taro", "VSMT00000001"), bank.token("VSMT00000009")
    taro = Principal("taro", PrincipalKind.CUSTOMER, "192.0.2.8", customer="taro")
    bank.desk.devices.add("taro", old.code(), new.token_id, new.code(), taro, name="新しいスマホ")
    with bank.store.read() as connection:
        line = customer_line(connection, "taro")
    assert line is not None
    assert [(held.token_id, held.name, held.bound_at) for held in line.tokens] == [
        ("VSMT00000001", None, 0),
        ("VSMT00000009", "新しいスマホ", int(bank.clock.now * 1000)),
    ]


def test_the_migration_of_0_2_0_that_is_interrupted_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = _store_0_2_0(tmp_path)
    before = _dump(database)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(op, "rename_table", killed)
    with pytest.raises(KeyboardInterrupt):
        _migrate(tmp_path)
    assert _dump(database) == before


def test_requests_of_before_programs_could_ask_are_as_they_were(tmp_path: Path) -> None:
    """From schema 0009, in which members of staff alone asked."""
    database = _old_store(tmp_path)
    config = Config()
    config.set_main_option("script_location", "otp_core.store:migrations")
    with open_engine(f"sqlite:///{database}", busy_seconds=1.0).connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        config.attributes["connection"] = connection
        with transaction(connection):
            command.upgrade(config, "0009")
            for statement in (
                "INSERT INTO staff (key, name, role) VALUES (1, 'sato', 'operator'), (2, 'kato', 'supervisor')",
                "INSERT INTO approval (key, act, customer_key, asked_by, reason, seen, state, decided_by, expires_at)"
                " SELECT 7, 'permit-reissue', key, 1, 'lost phone', '{}', 'approved', 2, 99 FROM customer"
                " WHERE contract_id = 'taro'",
            ):
                connection.exec_driver_sql(statement)
    _migrate(tmp_path)
    with Bank(tmp_path).store.read() as opened:
        found = approval_of(opened, 7)
    known = (7, "permit-reissue", "taro", "", "sato", "lost phone", None, "{}", "approved", "kato", 99, None)
    assert found == known
