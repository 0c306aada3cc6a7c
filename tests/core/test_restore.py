"""`sekisho restore` at the level of files: what it puts in place, keeps, refuses and lists."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otp_core.audit import Event
from otp_core.clock import ClockSetBack
from otp_core.login.table import Finding
from otp_core.model import Accept, Kind, OtpUse, StoreProblem, StoreUnavailable, TokenSpec
from otp_core.sealing import KeyProblem, create_master_key
from otp_core.store.acts import enter_again
from otp_core.store.backup import back_up
from otp_core.store.mark import MarkFile
from otp_core.store.put_back import LOST_TIME, PutBackWatch, lost_acts, lost_time
from otp_core.store.restore import Order, Restored, restore
from otp_core.store.revisions import read_revisions
from otp_core.store.schema import REVISION
from otp_core.store.sqlite import driver
from tests.core.at_the_desk import ME, login, reason
from tests.core.bank import NOON, STAFF, Bank, rules
from tests.core.batches import code_request, login_batch_of, run_batch
from tests.sekisho import mounted

pytestmark = pytest.mark.sqlite_files

HOTP = TokenSpec(Kind.HOTP)
OLD_STORE = Path(__file__).parent / "store_0_1_0"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    folder = tmp_path / "bank"
    folder.mkdir()
    return Bank(folder)


def backup_of(bank: Bank, name: str = "backup.db") -> Path:
    target = bank.folder.parent / name
    back_up(bank.database, target, bank.store.sealer, keep=(), replace=True, advance=lambda octets: None)
    return target


def restored(bank: Bank, backup: Path, *, replace: bool = True, **more: Any) -> Restored:
    order = Order(backup, bank.database, bank.key_file, int(bank.clock.now * 1000), bank.rules.window, "hanako", "cli")
    order = dataclasses.replace(order, replace=replace, **more)
    return restore(order, ids=bank.store.ids, advance=lambda stage, done, total: None)


def files_in(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def test_where_no_store_is(bank: Bank, tmp_path: Path) -> None:
    taro = bank.customer()
    assert login(bank, taro) == Accept()
    backup = backup_of(bank)
    (tmp_path / "new").mkdir()
    shutil.copy(bank.key_file, tmp_path / "new")
    order = Order(
        backup, tmp_path / "new" / "bank.db", tmp_path / "new" / "master.key", int(NOON * 1000), 1, "h", "cli"
    )
    done = restore(order, ids=bank.store.ids, advance=lambda stage, done, total: None)
    assert done.kept is None and done.acts == [] and not done.read
    assert sorted(files_in(tmp_path / "new")) == ["bank.db", "bank.db.mark", "master.key"]
    assert stat.S_IMODE((tmp_path / "new" / "bank.db").stat().st_mode) == 0o600
    new = Bank(tmp_path / "new")
    assert reason(login(new, taro)) == Finding.REUSED
    (row,) = new.audit(event="store.restored")
    assert (row.actor, row.source) == ("h", "cli")
    assert str(backup) in row.reason


def test_an_old_store_is_kept_and_the_codes_of_the_lost_time_are_void(bank: Bank) -> None:
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMH00000002", spec=HOTP)
    backup = backup_of(bank)
    bank.clock.now += 3600
    assert login(bank, taro) == Accept()
    for counter in range(300):
        assert login(bank, jiro, jiro.code(counter)) == Accept()
    before = len(bank.audit())
    done = restored(bank, backup)
    assert done.kept is not None and done.read and done.kept.name.startswith("bank.db.replaced-20")
    with closing(driver.connect(f"file:{done.kept}?immutable=1", uri=True)) as old:
        assert old.execute("SELECT count(*) FROM audit").fetchone() == (before,)
    assert reason(login(bank, taro)) == Finding.REUSED
    for counter in range(301):
        assert reason(login(bank, jiro, jiro.code(counter))) == Finding.RESYNC_NEEDED
    bank.clock.now += 60
    assert login(bank, taro) == Accept()


def test_the_counter_reserve_is_the_operators(bank: Bank) -> None:
    bank.customer(spec=HOTP)
    backup = backup_of(bank)
    restored(bank, backup, counter_reserve=500)
    assert bank.token_line().last_step == 499


def test_an_old_store_that_can_be_read_tells_counters_and_drifts_beyond_the_reserve(bank: Bank) -> None:
    """Two codes in a row that somebody saw in the lost time would otherwise resynchronise the counter."""
    taro, jiro = bank.customer(spec=HOTP), bank.customer("jiro", "VSMT00000002")
    backup = backup_of(bank)
    for counter in range(60):
        login(bank, taro, taro.code(counter))
    bank.desk.enrolment.resynchronise("jiro", jiro.code(50), jiro.code(51), STAFF)
    restored(bank, backup)
    assert bank.token_line().last_step == 59
    bank.clock.now += 50 * 30
    assert reason(login(bank, jiro, jiro.code(0))) == Finding.REUSED, "it was spent, 25 minutes before its time"


def test_codes_that_were_spent_ahead_of_their_time_stay_spent(bank: Bank) -> None:
    taro = bank.customer()
    backup = backup_of(bank)
    with bank.store.work() as work:
        work.connection.exec_driver_sql("UPDATE token SET spent_ahead = '70000000-70000001'")
    restored(bank, backup)
    with bank.store.work() as work:
        record = work.token(taro.token_id)
    assert record is not None and record.spent_ahead == "70000000-70000001"


def test_a_step_of_a_wrong_clock_is_not_taken_over(bank: Bank) -> None:
    taro = bank.customer()
    backup = backup_of(bank)
    with bank.store.work() as work:
        record = work.token(taro.token_id)
        assert record is not None and work.spend_step(record.key, taro.step(1_000_000), 0, 1)
    restored(bank, backup)
    assert bank.token_line().last_step == taro.step(1)


def test_what_was_done_since_is_listed_with_its_commands(bank: Bank) -> None:
    for name, token in (("taro", 1), ("jiro", 2), ("saburo", 3), ("shiro", 4)):
        bank.customer(name, f"VSMT0000000{token}")
    spare = bank.token("VSMT00000009")
    backup = backup_of(bank)
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    bank.desk.enrolment.permit_reissue("taro", STAFF)
    bank.desk.customers.lock("jiro", STAFF)
    bank.desk.enrolment.suspend("saburo", None, STAFF)
    bank.desk.contract_ids.rename("shiro", "shiro-2", STAFF)
    holder = bank.customer("goro", "VSMT00000005")
    bank.desk.devices.change(
        "goro", holder.code(), spare.token_id, spare.code(), dataclasses.replace(ME, customer="goro")
    )
    done = restored(bank, backup)
    assert [enter_again(one) for one in done.acts] == [
        "sekisho report-lost taro",
        "sekisho permit-reissue taro",
        "sekisho customer lock jiro",
        "sekisho suspend saburo",
        "sekisho customer rename shiro shiro-2",
        "sekisho token import FILE.csv",
        "sekisho enrol goro VSMT00000005",
        "sekisho report-lost goro --token VSMT00000005",
    ]
    assert all(one.actor in ("staff", "taro himself") for one in done.acts)
    assert bank.login_record("taro").otp_use == OtpUse.ACTIVE, "nothing is done again by itself"


def test_the_journal_tells_what_a_lost_store_cannot(tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    bank = Bank(tmp_path / "bank", rules(lock_after=1))
    bank.customer()
    jiro = bank.customer("jiro", "VSMT00000002")
    backup = backup_of(bank)
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    with login_batch_of(bank) as login_batch:
        run_batch(bank, login_batch, [code_request(jiro, "000000")])
    bank.database.write_bytes(b"This is no database any more.")
    for end in ("-wal", "-shm"):
        Path(f"{bank.database}{end}").unlink(missing_ok=True)
    done = restored(bank, backup)
    assert not done.read and [one.event for one in done.acts] == ["otp.reported-lost", "customer.locked"]
    assert done.kept is not None and done.kept.read_bytes() == b"This is no database any more."


def test_what_only_the_old_store_knew_is_in_the_journal_afterwards(bank: Bank) -> None:
    bank.customer()
    backup = backup_of(bank)
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    for file in bank.folder.glob("bank.db.acts*"):
        file.unlink()
    restored(bank, backup)
    with bank.store.read() as connection:
        lost = lost_time(connection)
        assert lost is not None
        assert [one.event for one in lost_acts(connection, lost, bank.store.acts)] == ["otp.reported-lost"]


def test_a_restored_store_is_not_taken_for_one_that_was_put_back(bank: Bank) -> None:
    bank.customer()
    serve(bank)
    backup = backup_of(bank)
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    serve(bank)
    restored(bank, backup)
    serve(bank)
    assert len(bank.audit(event="store.lost-time-voided")) == 1


def serve(bank: Bank) -> None:
    watch = PutBackWatch(bank.open_store(), window=1, now_ms=lambda: int(bank.clock.now * 1000))
    watch.begin()
    watch.close()


def test_the_log_of_an_old_store_is_kept_with_it_and_never_played_over_the_new_one(bank: Bank) -> None:
    bank.customer()
    backup = backup_of(bank)
    bank.database.unlink()
    for end in ("-wal", "-journal"):
        Path(f"{bank.database}{end}").write_bytes(b"old pages")
    done = restored(bank, backup)
    assert done.kept is None
    kept = sorted(name for name in files_in(bank.folder) if "replaced" in name)
    assert [name.rpartition("-")[2] for name in kept] == ["journal", "wal"]
    assert not Path(f"{bank.database}-wal").exists()
    assert bank.login_record().contract_id == "taro"


def test_an_older_schema_is_brought_up_to_date(bank: Bank, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with closing(driver.connect(str(old))) as connection:
        connection.executescript((OLD_STORE / "store.sql").read_text())
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert revision < REVISION
    before = old.read_bytes()
    bank.key_file.unlink()
    shutil.copy(OLD_STORE / "master.key", bank.key_file)
    bank.key_file.chmod(0o600)
    done = restored(bank, old, trust_clock=True)
    assert done.contents.revision == revision and old.read_bytes() == before
    with bank.store.read() as connection:
        assert read_revisions(connection).reached == REVISION


@pytest.mark.parametrize("octets", [b"", b"shopping list\n" * 99, b"SQLite format 3\0" + b"\0" * 5000])
def test_a_file_that_is_no_backup_changes_nothing(bank: Bank, tmp_path: Path, octets: bytes) -> None:
    bank.customer()
    (tmp_path / "other").write_bytes(octets)
    check_refused(bank, tmp_path / "other", StoreProblem, "no backup of a store|damaged")


def check_refused(bank: Bank, backup: Path, kind: type[Exception], why: str, **more: Any) -> None:
    before, rows = files_in(bank.folder), bank.rows()
    with pytest.raises(kind, match=why):
        restored(bank, backup, **more)
    assert sorted(name for name in files_in(bank.folder) if not name.endswith(("-wal", "-shm"))) == sorted(
        name for name in before if not name.endswith(("-wal", "-shm"))
    )
    assert bank.rows() == rows


def test_a_database_that_is_no_store_changes_nothing(bank: Bank, tmp_path: Path) -> None:
    with closing(driver.connect(str(tmp_path / "other.db"))) as connection:
        connection.execute("CREATE TABLE letters (text)")
    check_refused(bank, tmp_path / "other.db", StoreProblem, "is a database, but no backup of a store")


def test_a_damaged_backup_changes_nothing(bank: Bank) -> None:
    bank.customer()
    backup = backup_of(bank)
    octets = bytearray(backup.read_bytes())
    for page in range(2, len(octets) // 4096):
        octets[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    backup.write_bytes(octets)
    check_refused(bank, backup, StoreProblem, "damaged")
    backup.write_bytes(octets[: len(octets) // 2])
    check_refused(bank, backup, StoreProblem, "damaged")


@pytest.mark.parametrize("revision", ["9999", "", "abcd", "٩٩٩٩"])
def test_a_backup_of_another_version_changes_nothing(bank: Bank, revision: str) -> None:
    backup = backup_of(bank)
    with closing(driver.connect(str(backup), isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    check_refused(bank, backup, StoreProblem, "has the schema .*, and this version knows up to")


def test_a_wrong_key_changes_nothing(bank: Bank) -> None:
    backup = backup_of(bank)
    right = bank.key_file.read_bytes()
    bank.key_file.unlink()
    create_master_key(bank.key_file)
    with pytest.raises(KeyProblem, match="is not the master key of the backup"):
        restored(bank, backup)
    bank.key_file.unlink()
    with pytest.raises(KeyProblem, match="there is no master key file"):
        restored(bank, backup)
    bank.key_file.write_bytes(right)
    bank.key_file.chmod(0o600)
    check_refused(bank, backup, StoreProblem, "there is a store", replace=False)


def test_a_clock_before_the_backup_changes_nothing_unless_it_is_trusted(bank: Bank) -> None:
    bank.customer()
    backup = backup_of(bank)
    bank.clock.now -= 3600
    check_refused(bank, backup, ClockSetBack, "3600 s before the backup's newest entry.*add --trust-clock")
    restored(bank, backup, trust_clock=True)


def test_a_clock_before_the_store_that_is_replaced_changes_nothing(bank: Bank) -> None:
    bank.customer()
    backup = backup_of(bank)
    bank.clock.now += 3600
    bank.desk.enrolment.report_lost("taro", STAFF)
    bank.clock.now = NOON + 60
    check_refused(bank, backup, ClockSetBack, "before the newest entry of the store that is replaced")


def test_a_store_that_is_served_or_open_is_left_alone(bank: Bank) -> None:
    bank.customer()
    backup = backup_of(bank)
    serving = MarkFile(bank.database)
    serving.hold()
    check_refused(bank, backup, StoreProblem, "the store is in use by .*: stop the server first")
    serving.close()
    with closing(driver.connect(str(bank.database))) as other:  # a program that knows no mark
        other.execute("SELECT * FROM customer").fetchall()
        check_refused(bank, backup, StoreProblem, "the store is in use by .*: end it first")
    restored(bank, backup)


@pytest.mark.parametrize("end", ["", "-wal"])
def test_the_store_itself_is_no_backup_of_it(bank: Bank, end: str) -> None:
    path = Path(f"{bank.database}{end}")
    path.touch()
    with pytest.raises(StoreProblem, match="is the store itself, or a part of it"):
        restored(bank, path)


def test_files_that_are_none_are_named(bank: Bank, tmp_path: Path) -> None:
    for path, why in ((tmp_path / "no.db", "there is no file"), (tmp_path, "is no file: name the file")):
        check_refused(bank, path, StoreProblem, why)
    backup = backup_of(bank)
    order = Order(backup, tmp_path / "no" / "s.db", bank.key_file, int(NOON * 1000), 1, "h", "cli")
    with pytest.raises(StoreProblem, match="there is no folder"):
        restore(order, ids=bank.store.ids, advance=lambda stage, done, total: None)


def test_a_backup_with_its_log_beside_it_is_read_whole(bank: Bank, tmp_path: Path) -> None:
    """Somebody has copied `s.db` and `s.db-wal` of a store that was served."""
    with closing(driver.connect(str(bank.database), isolation_level=None)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("PRAGMA wal_autocheckpoint=0")
        bank.customer()
        for end in ("", "-wal"):
            shutil.copy(f"{bank.database}{end}", tmp_path / f"copy.db{end}")
    assert restored(bank, tmp_path / "copy.db").contents.customers == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_leaves_the_store_to_its_user(bank: Bank) -> None:
    backup = backup_of(bank)
    os.chown(bank.database, 12345, 12345)
    restored(bank, backup)
    for name in ("bank.db", "bank.db.mark"):
        assert (bank.folder / name).stat().st_uid == 12345


def test_what_fails_on_the_way_leaves_the_store_as_it_was(bank: Bank) -> None:
    bank.customer()
    backup = backup_of(bank)
    before = bank.rows()

    def fail(stage: str, done: int, total: int) -> None:
        if stage == "voiding codes":
            raise KeyboardInterrupt

    order = Order(backup, bank.database, bank.key_file, int(bank.clock.now * 1000), 1, "h", "cli", replace=True)
    with pytest.raises(KeyboardInterrupt):
        restore(order, ids=bank.store.ids, advance=fail)
    assert bank.rows() == before
    assert not [name for name in files_in(bank.folder) if "restoring" in name or "replaced" in name]
    with bank.store.work() as work:
        assert work.meta(LOST_TIME) is None
        work.audit(Event.CLOCK_TRUSTED, actor="the store works")


@pytest.mark.parametrize("at", range(2))
def test_a_name_that_cannot_be_given_leaves_the_store_as_it_was(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    bank.customer()
    backup = backup_of(bank)
    before, rename, calls = bank.rows(), os.rename, iter(range(99))

    def fail_once(source: Path, target: Path) -> None:
        if next(calls) == at:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(PermissionError):
        restored(bank, backup)
    monkeypatch.undo()
    assert bank.rows() == before
    assert not [name for name in files_in(bank.folder) if "restoring" in name or "replaced" in name]
    assert restored(bank, backup).contents.customers == 1


def test_what_a_killed_restore_left_behind_is_not_played_over_the_next(bank: Bank) -> None:
    bank.customer()
    backup = backup_of(bank)
    for end in ("", "-wal", "-shm", "-journal", ".state"):
        (bank.folder / f".bank.db.restoring{end}").write_bytes(b"half of it" * 999)
    assert restored(bank, backup).contents.customers == 1
    assert not [name for name in files_in(bank.folder) if "restoring" in name]
    assert bank.login_record().contract_id == "taro"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which root may")
def test_a_disk_that_is_full_at_any_stage_leaves_the_store_as_it_was(bank: Bank, tmp_path: Path) -> None:
    """The store's own file system: room for the copy, but not for voiding; and for neither."""
    with closing(driver.connect(str(bank.database), isolation_level=None)) as store:
        store.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO token "
            "(key, token_id, seed, verifier, kind, algorithm, digits, period, state, last_step) "
            "SELECT i, 'T' || i, zeroblob(40), 'local', 'totp', 'sha1', 6, 30, 'available', 1 FROM n"
        )
    backup = backup_of(bank)
    outcomes = set()
    size = backup.stat().st_size // 1024
    for number, more in enumerate((size // 2, size + 200, size + size // 2, 3 * size, 6 * size)):
        options = ("-t", "tmpfs", "-o", f"size={size + more}k", "none")
        with mounted(tmp_path / f"full{number}", *options) as full:
            shutil.copy(bank.key_file, full)
            shutil.copy(backup, full / "bank.db")
            small = Bank(full)
            before = small.rows()
            problem = problem_of(small, backup)
            if problem:
                assert "full" in problem or "No space" in problem
                assert small.rows() == before
            outcomes.add("refused" if problem else "done")
            assert not [name for name in files_in(full) if "restoring" in name]
            small.store.engine.dispose()
    assert outcomes == {"done", "refused"}


def problem_of(bank: Bank, backup: Path) -> str:
    try:
        restored(bank, backup)
    except (StoreProblem, StoreUnavailable, OSError) as problem:
        return str(problem)
    return ""
