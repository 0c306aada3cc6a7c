"""A store in a file copied into one in PostgreSQL: nothing is lost, nothing is accepted twice, and of the two stores
one at most is used at any moment."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, Table, Text, create_engine, func, insert, select, text

from otp_core.audit import Event, Ids
from otp_core.clock import ClockSetBack
from otp_core.login.requests import Decision, Facts
from otp_core.model import Accept, OtpUse, Reject, StoreProblem, Verdict
from otp_core.outwards.position import FilePosition
from otp_core.sealing import KeyProblem, create_master_key
from otp_core.store.copying import NOT_COPIED, TABLES, Copied, Order, chunks, copy, give_up
from otp_core.store.mark import MarkFile
from otp_core.store.moved import COPIED
from otp_core.store.schema import audit, meta
from otp_core.store.sqlite import driver
from otp_core.store.store import initialise
from sekisho.cli.store import _kept_beside
from tests import postgresql
from tests.core.bank import STAFF, Bank, Holder
from tests.core.batches import code_request, verdicts_of
from tests.core.sealed_trail import SealedTrail, close_all
from tests.core.settings_files import STORE, good, private
from tests.fakes import HandClock

pytestmark = pytest.mark.sqlite_files

CHOSEN: dict[str, dict[str, Any]] = {
    "staff": {"role": "auditor"},
    "approval": {"asked_by_program": None, "state": "asked", "subject": ""},
    "file_import": {"kind": "tokens", "state": "checked"},
    "outbox": {"state": "failed"},
    "verifier_task": {"act": "remove"},
}
"""Where any value will not do."""


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    (tmp_path / "source").mkdir()
    made = Bank(tmp_path / "source")
    yield made
    made.store.engine.dispose()


@pytest.fixture
def target(tmp_path: Path) -> str:
    """The URL of a store of its own, as `sekisho init` makes it: with a key that nobody needs any more."""
    (tmp_path / "target").mkdir()
    return postgresql.store_in(tmp_path / "target")


def order(bank: Bank, target: str, **changes: Any) -> Order:
    bank.store.engine.dispose()
    now = int(bank.clock.now * 1000) + 1000
    return replace(Order(bank.database, target, bank.key_file, now, "staff", "here", "ticket 7"), **changes)


def copied(
    bank: Bank, target: str, advance: Callable[[str, int, int], None] = lambda *_: None, **changes: Any
) -> Copied:
    return copy(order(bank, target, **changes), ids=Ids(bank.clock, 7), advance=advance)


def at_target(bank: Bank, target: str) -> Bank:
    """The same people at the new store."""
    return Bank(bank.folder, clock=bank.clock, database_url=target)


def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that both stores have to have."""
    is_file = url.startswith("sqlite:")
    engine = create_engine(
        url if is_file else url.replace(":", "+psycopg:", 1), module=driver.MODULE if is_file else None
    )
    with engine.connect() as connection:
        found = {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr) for table in (*TABLES, meta)
        }
    engine.dispose()
    found["audit"] = [row for row in found["audit"] if row[1] != Event.STORE_COPIED]
    found["meta"] = [row for row in found["meta"] if row[0] not in (*NOT_COPIED, COPIED, "closed", "settled")]
    return found


def row_of(connection: Any, table: Table) -> dict[str, Any]:
    """Any row that the table takes."""
    values: dict[str, Any] = {}
    for column in table.columns:
        if column.foreign_keys:
            (key,) = column.foreign_keys
            values[column.name] = connection.execute(select(func.min(key.column))).scalar_one()
        elif isinstance(column.type, LargeBinary):
            values[column.name] = b"\0\\x\n\xff"
        else:
            values[column.name] = "花\t\\N'\n" if isinstance(column.type, Text) else 2**15 - 1
    return {**values, **CHOSEN.get(table.name, {})}


def filled(bank: Bank) -> Holder:
    """Rows in every table: by acts of the desk, and by hand in the others."""
    taro = bank.customer("taro", "VSMT00000001", password_hash="hash", attributes='{"Class": ["gold"]}')
    bank.customer("花子", "VSMT00000002")
    bank.in_state(OtpUse.REISSUE_PERMITTED, "saburo", "VSMT00000003")
    with bank.store.work() as work:
        work.put_meta("clock trusted", b"1 2")
    with bank.store.database.write() as connection:
        for table in TABLES:
            if connection.execute(select(func.count()).select_from(table)).scalar_one() == 0:
                connection.execute(insert(table).values(row_of(connection, table)))
    return taro


def login(bank: Bank, holder: Holder, code: str) -> Verdict:
    batch = bank.store.login_batch()

    def evaluate(known: Facts) -> Decision:
        return bank.evaluator.evaluate([code_request(holder, code)], known, bank.guarded.now(), bank.store.ids)

    async def run() -> Verdict:
        with closing(batch):
            return verdicts_of(await batch.run([holder.contract_id], [], evaluate))[0]

    return asyncio.run(run())


def test_every_row_of_every_table_is_there_with_its_key(bank: Bank, target: str) -> None:
    filled(bank)
    before = everything(bank.url)
    assert all(before[table.name] for table in TABLES), "a table without rows shows nothing"
    done = copied(bank, target, values={"syslog": b"12345678"}, rows_at_once=2)
    after = everything(target)
    assert ("syslog", b"12345678") in after["meta"]
    after["meta"].remove(("syslog", b"12345678"))
    assert after == before
    assert done == Copied({name: len(rows) for name, rows in before.items() if name != "meta"}, 0)
    new = at_target(bank, target)
    (row,) = new.audit(event="store.copied")
    assert row.id == new.audit()[-1].id, "behind everything that was copied"
    assert row.reason == f"ticket 7; {bank.database}, {sum(done.rows.values())} rows"
    new.store.engine.dispose()


def test_a_code_that_was_used_stays_used_and_the_next_one_is_good(bank: Bank, target: str) -> None:
    taro = filled(bank)
    bank.clock.now += 60
    assert isinstance(login(bank, taro, taro.code()), Accept)
    copied(bank, target)
    new = at_target(bank, target)
    assert isinstance(login(new, taro, taro.code()), Reject)
    bank.clock.now += 30
    assert isinstance(login(new, taro, taro.code()), Accept)
    new.desk.enrolment.suspend("taro", None, STAFF)
    assert new.login_record("taro").otp_use == OtpUse.SUSPENDED
    new.store.engine.dispose()


def test_what_was_moved_is_not_used_again_by_anybody(bank: Bank, target: str) -> None:
    filled(bank)
    copied(bank, target)
    with pytest.raises(StoreProblem, match=r"was moved to s.* on /.*: name that one in store\.url"):
        bank.open_store()
    with pytest.raises(StoreProblem, match="was moved to"):
        initialise(bank.url, bank.key_file, ids=Ids(), say=lambda _: None)
    again = copied(bank, target)
    assert again.before and again.resumed == 0


def test_the_seals_hold_as_before(tmp_path: Path, target: str) -> None:
    (tmp_path / "sealed").mkdir()
    trail = SealedTrail(tmp_path / "sealed", stretches=3)
    try:
        close_all()
        copied(trail.bank, target)
        trail.bank = at_target(trail.bank, target)
        report = trail.verify()
        assert report.holds, report
        trail.sealer = trail.new_sealer()
        trail.stretch()
        assert trail.verify().holds
        with trail.bank.store.database.write() as connection:
            connection.execute(text("UPDATE audit SET actor = 'x' WHERE id = :id"), {"id": trail.ids()[1]})
        assert not trail.verify().holds
    finally:
        close_all()
        trail.bank.store.engine.dispose()


@pytest.mark.parametrize("at", [0, 3, 20], ids=["before the first row", "in the middle", "almost at the end"])
def test_an_interrupted_copy_goes_on_where_it_was(bank: Bank, target: str, at: int) -> None:
    filled(bank)
    before = everything(bank.url)
    calls: list[int] = []

    def interrupted(_stage: str, done: int, _total: int) -> None:
        calls.append(done)
        if len(calls) > at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied(bank, target, interrupted, rows_at_once=1)
    with pytest.raises(StoreProblem, match="is being moved to"):
        bank.open_store()
    with pytest.raises(StoreProblem, match=r"is not complete: run `sekisho store copy` again, which goes on with /"):
        at_target(bank, target)
    done = copied(bank, target)
    assert done.resumed == calls[-1] == at
    assert everything(target) == before


def test_a_copy_that_is_killed_goes_on_and_loses_nothing(tmp_path: Path, target: str) -> None:
    (tmp_path / "killed").mkdir()
    bank = Bank(tmp_path / "killed", clock=HandClock(time.time()))
    filled(bank)
    with bank.store.database.write() as connection:
        row = {"event": "login.accepted", "actor": "gateway", "source": "192.0.2.1", "reason": ""}
        connection.execute(insert(audit), [{"id": number, **row} for number in range(1, 30_001)])
    before = everything(bank.url)
    config = bank.folder / "sekisho.toml"
    config.write_text(f'[store]\nurl = "{target}"\nmaster_key_file = "{bank.key_file}"\n')
    bank.store.engine.dispose()
    command = [sys.executable, "-m", "sekisho", "-c", str(config), "store", "copy", "--from", bank.url]
    database = target.partition("@/")[2].partition("?")[0]
    with postgresql.server().connect(database) as other:
        other.execute("SELECT pg_advisory_lock(42)")
        other.execute(
            "CREATE FUNCTION stand() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END $$"
        )
        other.execute("CREATE TRIGGER stand BEFORE INSERT ON token FOR EACH ROW EXECUTE FUNCTION stand()")
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        while other.execute(waiting, (database,)).fetchone() is None:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        other.execute("SELECT pg_advisory_unlock(42)")
        other.execute("DROP FUNCTION stand CASCADE")
    with pytest.raises(StoreProblem, match="is being moved to"):
        bank.open_store()
    done = copied(bank, target)
    assert 30_000 < done.resumed < sum(done.rows.values())
    assert everything(target) == before


def test_a_copy_that_was_given_up_begins_anew_with_what_changed_since(bank: Bank, target: str) -> None:
    filled(bank)

    def interrupted(_stage: str, done: int, _total: int) -> None:
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied(bank, target, interrupted, rows_at_once=1)
    give_up(bank.database, target)
    with pytest.raises(StoreProblem, match="there is nothing to give up"):
        give_up(bank.database, target)
    bank.store = bank.open_store()
    bank.evaluator, bank.desk = bank.open_desk(bank.store)
    bank.customer("shiro", "VSMT00000004")
    before = everything(bank.url)
    with pytest.raises(StoreProblem, match="is not complete"):
        at_target(bank, target)
    assert copied(bank, target).resumed == 0
    assert everything(target) == before
    with pytest.raises(StoreProblem, match="which may be used: it is not taken back"):
        give_up(bank.database, target)


def test_a_kill_behind_the_release_cannot_be_given_up(bank: Bank, target: str) -> None:
    """The target may be served already: of two stores one must not be used."""
    filled(bank)
    copied(bank, target)
    with closing(driver.connect(str(bank.database), isolation_level=None)) as source:
        source.execute("UPDATE meta SET value = replace(value, 'done', 'under way') WHERE name = 'moved'")
    with pytest.raises(StoreProblem, match="which may be used: it is not taken back"):
        give_up(bank.database, target)
    with pytest.raises(StoreProblem, match="was moved to"):
        bank.open_store()


def test_a_store_with_rows_of_its_own_is_left_alone(bank: Bank, target: str) -> None:
    filled(bank)
    new = Bank(bank.folder.parent / "target", database_url=target)
    new.customer("another", "VSMT00000009")
    new.store.engine.dispose()
    rows = everything(target)
    with pytest.raises(StoreProblem, match=r"has rows of its own \(\w+\): a store is copied into an empty one"):
        copied(bank, target)
    assert everything(target) == rows
    bank.open_store().engine.dispose()  # and the source is used as before


def test_a_store_that_is_half_filled_from_another_one_is_left_alone(bank: Bank, target: str, tmp_path: Path) -> None:
    filled(bank)
    (tmp_path / "other").mkdir()
    other = Bank(tmp_path / "other")
    other.customer("taro")

    def interrupted(_stage: str, done: int, _total: int) -> None:
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied(other, target, interrupted, rows_at_once=1)
    with pytest.raises(StoreProblem, match=r"is half filled from .*other/bank\.db, which is another store"):
        copied(bank, target)
    bank.open_store().engine.dispose()


def test_another_key_is_refused_before_anything_is_done(bank: Bank, target: str) -> None:
    filled(bank)
    create_master_key(bank.folder / "other.key")
    with pytest.raises(KeyProblem, match=r"other\.key is not the master key of the store .*: put a copy of that"):
        copied(bank, target, key_file=bank.folder / "other.key")
    bank.open_store().engine.dispose()


def test_a_clock_that_is_behind_is_refused(bank: Bank, target: str) -> None:
    filled(bank)
    with bank.store.work() as work:
        work.audit(Event.SEALS_BEGUN, actor="test")
    with pytest.raises(ClockSetBack, match="before the source's newest entry: check the time service"):
        copied(bank, target, now_ms=1_000)


def test_a_store_that_is_served_or_open_is_not_copied(bank: Bank, target: str) -> None:
    filled(bank)
    serving = MarkFile(bank.database)
    serving.hold()
    with pytest.raises(StoreProblem, match="stop the server first"):
        copied(bank, target)
    serving.close()
    with closing(driver.connect(str(bank.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreProblem, match="the store is in use by"):
            copied(bank, target)
    assert not copied(bank, target).before


def test_a_store_that_somebody_has_open_is_not_copied_into(
    bank: Bank, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otp_core.store.postgresql.sessions._SECONDS_BETWEEN", 0.01)
    new = Bank(bank.folder.parent / "target", database_url=target)
    with new.store.read(), pytest.raises(StoreProblem, match=r"in use by 1 connections of Sekisho \(.*\): stop all"):
        copied(bank, target)
    new.store.engine.dispose()


def test_a_row_that_was_changed_on_the_way_is_found(bank: Bank, target: str) -> None:
    filled(bank)
    database = target.partition("@/")[2].partition("?")[0]

    def change(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("comparing", 0):
            with postgresql.server().connect(database) as other:
                other.execute("UPDATE token SET last_step = last_step + 1 WHERE token_id = 'VSMT00000002'")

    with pytest.raises(StoreProblem, match="differs from its source in the table token: the digests of its rows"):
        copied(bank, target, change)
    with pytest.raises(StoreProblem, match="is not complete"):
        at_target(bank, target)


def test_a_store_in_a_file_is_no_target(bank: Bank, target: str) -> None:
    with pytest.raises(StoreProblem, match="is moved by `sekisho backup` and `sekisho restore`"):
        copied(bank, f"sqlite:///{bank.folder}/new.db")


def test_a_text_that_postgresql_cannot_hold_is_copied_as_it_is_shown(bank: Bank, target: str) -> None:
    with bank.store.work() as work:
        work.audit(Event.SEALS_BEGUN, actor="a\0b")
    copied(bank, target)
    new = at_target(bank, target)
    assert new.audit(event="seals.begun")[0].actor == "a\ufffdb"
    new.store.engine.dispose()


def test_a_value_of_another_type_is_named_by_its_table(bank: Bank, target: str) -> None:
    filled(bank)
    bank.store.engine.dispose()
    with closing(driver.connect(str(bank.database), isolation_level=None)) as source:
        source.execute("UPDATE token SET last_at = 'long ago'")
    with pytest.raises(StoreProblem, match="the table token cannot be copied: invalid input syntax for type bigint"):
        copied(bank, target)


def test_chunks_are_bounded_in_rows_and_octets() -> None:
    assert [len(one) for one in chunks([(1,)] * 5, 2)] == [2, 2, 1]
    assert [len(one) for one in chunks([(b"x" * 3_000_000,)] * 4, 100)] == [3, 1]


def test_the_places_of_every_outlet_go_along(tmp_path: Path) -> None:
    webhook = '[[webhooks]]\nname = "desk"\nurl = "http://localhost:9"\nsecret_file = "desk.secret"\n'
    private(tmp_path / "desk.secret", f"whsec_{'QUFB' * 8}\n")
    settings = good(tmp_path, f"{STORE}[audit]\nseal_key_file = 'audit.key'\n{webhook}").settings
    source = tmp_path / "s.db"
    FilePosition(source, "syslog").write(7)
    FilePosition(source, "webhook-desk").write(9)
    assert {name: int.from_bytes(value, "big") for name, value in _kept_beside(source, settings).items()} == {
        "syslog": 7,
        "webhook-desk": 9,
    }
