"""A backup: everything that was committed at one moment in one file of one's own, or nothing and a clear word."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otp_core.audit import ms_of
from otp_core.model import Accept, StoreProblem
from otp_core.sealing import KeyProblem, Sealer, create_master_key, read_master_key
from otp_core.store.backup import back_up, last_backup, note
from otp_core.store.schema import REVISION
from otp_core.store.sqlite import backup as files
from otp_core.store.sqlite import driver
from tests.core.at_the_desk import login
from tests.core.bank import Bank
from tests.sekisho import mounted

pytestmark = pytest.mark.sqlite_files


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    folder = tmp_path / "bank"
    folder.mkdir()
    bank = Bank(folder)
    bank.customer()
    return bank


def made(bank: Bank, target: Path, *, replace: bool = False, **more: Any) -> files.Contents:
    values = {"keep": (bank.key_file,), "advance": lambda octets: None, **more}
    return back_up(bank.database, target, bank.store.sealer, replace=replace, **values)


def fill(bank: Bank, rows: int) -> None:
    with closing(driver.connect(str(bank.database), isolation_level=None)) as store:
        store.execute(
            "CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "SELECT i, randomblob(100) AS a FROM n",
            (rows,),
        )


def left_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_backup_is_one_file_for_its_owner_and_says_what_it_holds(bank: Bank, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    old = os.umask(0)
    try:
        contents = made(bank, out / "one.db")
    finally:
        os.umask(old)
    assert left_in(out) == ["one.db"]
    assert stat.S_IMODE((out / "one.db").stat().st_mode) == 0o600
    assert (contents.customers, contents.tokens, contents.audit_rows) == (1, 1, 2)
    assert contents.newest_id == bank.audit()[-1].id and contents.octets == (out / "one.db").stat().st_size
    with closing(driver.connect(f"file:{out / 'one.db'}?immutable=1", uri=True)) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",), "complete without a log beside it"
        assert copy.execute("SELECT contract_id FROM customer").fetchall() == [("taro",)]


def test_what_stands_in_the_log_alone_is_in_the_backup(bank: Bank, tmp_path: Path) -> None:
    """The mistake that `cp s.db` makes: the file alone misses everything since the last checkpoint."""
    with closing(driver.connect(str(bank.database), isolation_level=None)) as other:  # keeps the log from being folded
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("PRAGMA wal_autocheckpoint=0")
        bank.customer("jiro", "VSMT00000002")
        shutil.copy(bank.database, tmp_path / "alone.db")
        assert files.examine(tmp_path / "alone.db").customers == 1
        assert made(bank, tmp_path / "one.db").customers == 2


def test_a_backup_under_load_is_one_moment_and_ends(bank: Bank, tmp_path: Path) -> None:
    """Two customers a transaction, so half of one would be seen. The command `.backup` does not end under load."""
    fill(bank, 20_000)
    stop, commits = threading.Event(), [0]

    def write() -> None:
        number = 10
        while not stop.is_set():
            with closing(driver.connect(str(bank.database), isolation_level=None, timeout=10)) as store:
                store.execute("BEGIN IMMEDIATE")
                for one in (number, number + 1):
                    store.execute(
                        "INSERT INTO customer (key, contract_id, otp_use) VALUES (?, ?, 'none')", (one, f"c{one}")
                    )
                store.execute("COMMIT")
            number, commits[0] = number + 2, commits[0] + 1

    during: list[int] = []

    def wait_for_another(octets: int) -> None:
        before, end = commits[0], time.monotonic() + 30
        while len(during) < 5 and commits[0] == before and time.monotonic() < end:
            time.sleep(0.001)
        during.append(commits[0])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        contents = made(bank, tmp_path / "one.db", advance=wait_for_another)
    finally:
        stop.set()
        writer.join()
    assert during[4] > during[0], "others wrote meanwhile"
    assert contents.customers % 2 == 1, "taro, and pairs"
    assert contents.customers <= 1 + 2 * (during[0] + 1), "as of its beginning"


def test_an_earlier_backup_is_replaced_only_when_asked_and_in_one_moment(bank: Bank, tmp_path: Path) -> None:
    target = tmp_path / "one.db"
    made(bank, target)
    before = target.read_bytes()
    bank.customer("jiro", "VSMT00000002")
    with pytest.raises(StoreProblem, match=r"is there already: name another file, or add --replace"):
        made(bank, target)
    assert target.read_bytes() == before
    seen: list[bool] = []
    made(bank, target, replace=True, advance=lambda octets: seen.append(target.read_bytes() == before))
    assert all(seen)
    assert files.examine(target).customers == 2
    assert left_in(tmp_path) == ["bank", "one.db"]


def a_folder(at: Path) -> Path:
    (at / "folder").mkdir()
    return at / "folder"


def a_link(at: Path) -> Path:
    (at / "link.db").symlink_to(at / "elsewhere.db")
    return at / "link.db"


def a_pipe(at: Path) -> Path:
    os.mkfifo(at / "pipe")
    return at / "pipe"


def a_letter(at: Path) -> Path:
    (at / "letter.txt").write_text("Dear customer")
    return at / "letter.txt"


def a_hard_link(at: Path) -> Path:
    os.link(at / "bank" / "bank.db", at / "same.db")
    return at / "same.db"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (a_folder, "is a folder: name a file in it"),
        (a_link, "is a symbolic link: name the file itself"),
        (a_pipe, "is no file"),
        (a_letter, "is no backup: --replace replaces an earlier backup, and no other file"),
        (a_hard_link, "is bank.db, which Sekisho needs"),
        (lambda at: at / "bank" / "bank.db", "is bank.db, which Sekisho needs"),
        (lambda at: at / "bank" / "bank.db-wal", "is bank.db-wal, which Sekisho needs"),
        (lambda at: at / "bank" / "bank.db.mark", "is bank.db.mark, which Sekisho needs"),
        (lambda at: at / "bank" / "bank.db.acts", "is bank.db.acts, which Sekisho needs"),
        (lambda at: at / "bank" / "master.key", "is master.key, which Sekisho needs"),
        (lambda at: at / "nowhere" / "one.db", "there is no folder .*nowhere: make it first"),
        (lambda at: at / ("x" * 250), "cannot be written: File name too long"),
        (lambda at: at / "caf\udce9.db", "the file's name is not UTF-8"),
        (lambda at: Path("/proc/sekisho.db"), "cannot be written"),
    ],
)
@pytest.mark.parametrize("replace", [True, False])
def test_a_bad_target_is_named_and_nothing_is_left(
    bank: Bank, tmp_path: Path, target: Callable[[Path], Path], why: str, replace: bool
) -> None:
    path = target(tmp_path)
    before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    names = left_in(tmp_path)
    if not replace and "--replace" in why:
        why = "is there already"
    with pytest.raises(StoreProblem, match=why):
        made(bank, path, replace=replace)
    assert left_in(tmp_path) == names
    assert {
        one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file() and not one.name.endswith("-shm")
    } == {one: octets for one, octets in before.items() if not one.name.endswith("-shm")}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which root may")
def test_a_full_disk_leaves_nothing_behind(bank: Bank, tmp_path: Path) -> None:
    with closing(driver.connect(str(bank.database), isolation_level=None)) as store:
        store.execute("CREATE TABLE filler AS SELECT randomblob(3000000)")
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", "size=1m", "none") as full:
        with pytest.raises(StoreProblem, match=r"one\.db cannot be written: the disk is full; nothing is left of it"):
            made(bank, full / "one.db")
        assert left_in(full) == []


def test_a_damaged_store_gives_no_backup(bank: Bank, tmp_path: Path) -> None:
    with closing(driver.connect(str(bank.database), isolation_level=None)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = store.execute("SELECT rootpage FROM sqlite_master WHERE name = 'token'").fetchone()
    with bank.database.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreProblem, match="damaged"):
        made(bank, tmp_path / "one.db")
    assert left_in(tmp_path) == ["bank"]


def test_a_row_that_refers_to_nothing_gives_no_backup(bank: Bank, tmp_path: Path) -> None:
    with closing(driver.connect(str(bank.database), isolation_level=None)) as store:
        store.execute("DELETE FROM token")
    with pytest.raises(StoreProblem, match="table binding has a row that refers to nothing"):
        made(bank, tmp_path / "one.db")
    assert left_in(tmp_path) == ["bank"]


def test_a_wrong_key_gives_no_backup(bank: Bank, tmp_path: Path) -> None:
    create_master_key(tmp_path / "other.key")
    other = Sealer(read_master_key(tmp_path / "other.key"))
    with pytest.raises(KeyProblem, match="the master key is not the one of the store"):
        back_up(bank.database, tmp_path / "one.db", other, keep=(), replace=False, advance=lambda octets: None)
    assert left_in(tmp_path) == ["bank", "other.key"]


def test_no_store_gives_no_backup_and_no_store(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(StoreProblem, match="there is no store"):
        back_up(tmp_path / "no.db", tmp_path / "one.db", bank.store.sealer, keep=(), replace=False, advance=print)
    assert left_in(tmp_path) == ["bank"]


def test_who_interrupts_it_leaves_nothing_behind(bank: Bank, tmp_path: Path) -> None:
    fill(bank, 20_000)

    def interrupt(octets: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(bank, tmp_path / "one.db", advance=interrupt)
    assert left_in(tmp_path) == ["bank"]


def test_what_a_killed_one_left_behind_is_no_hindrance(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / ".one.db.partial").write_bytes(b"half of a backup")
    made(bank, tmp_path / "one.db")
    assert left_in(tmp_path) == ["bank", "one.db"]


def test_two_at_once_do_not_meet_in_one_file(bank: Bank, tmp_path: Path) -> None:
    busy = pytest.raises(StoreProblem, match="is being written by another process")
    with files.new_file(tmp_path / "one.db", "partial"), busy:
        made(bank, tmp_path / "one.db")
    made(bank, tmp_path / "one.db")


def test_a_backup_is_noted_in_the_store_with_who_made_it(bank: Bank, tmp_path: Path) -> None:
    with bank.store.read() as connection:
        assert last_backup(connection) is None
    bank.clock.now += 86_400
    note(bank.store, tmp_path / "one.db", actor="hanako", source="cli", reason="before the upgrade")
    with bank.store.read() as connection:
        found = last_backup(connection)
    assert found is not None and found.file == str(tmp_path / "one.db")
    assert abs(found.at_ms - int(bank.clock.now * 1000)) < 10
    (row,) = bank.audit(event="store.backed-up")
    assert (row.actor, row.source, row.reason) == ("hanako", "cli", f"before the upgrade; {tmp_path / 'one.db'}")
    assert abs(ms_of(row.id) - found.at_ms) < 10


def test_a_store_of_an_older_version_is_backed_up_before_its_upgrade(tmp_path: Path) -> None:
    """As the message says that such a store gets: back it up and run `sekisho init`."""
    old = Path(__file__).parent / "store_0_1_0"
    with closing(driver.connect(str(tmp_path / "s.db"))) as connection:
        connection.executescript((old / "store.sql").read_text())
    shutil.copy(old / "master.key", tmp_path)
    (tmp_path / "master.key").chmod(0o600)
    sealer = Sealer(read_master_key(tmp_path / "master.key"))
    contents = back_up(
        tmp_path / "s.db", tmp_path / "one.db", sealer, keep=(), replace=False, advance=lambda octets: None
    )
    assert contents.revision < REVISION and contents.customers > 0


@pytest.mark.parametrize("name", ["a b?c#d%20.db", "file:x.db", "日本.db", "'; DROP TABLE token; --.db"])
def test_a_name_of_any_kind_is_a_name(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert made(bank, Path(name)).customers == 1
    assert left_in(tmp_path) == sorted(["bank", name])
    assert files.examine(Path(name)).customers == 1


def test_logins_go_on_behind_a_backup(bank: Bank, tmp_path: Path) -> None:
    bank.customer("jiro", "VSMT00000002")
    made(bank, tmp_path / "one.db")
    jiro = bank.customer("saburo", "VSMT00000003")
    assert login(bank, jiro) == Accept()


def test_a_copy_is_read_without_a_file_beside_it(bank: Bank, tmp_path: Path) -> None:
    """A backup may lie on a medium that cannot be written."""
    made(bank, tmp_path / "one.db")
    (tmp_path / "one.db").chmod(0o400)
    assert files.examine(tmp_path / "one.db").customers == 1
    assert left_in(tmp_path) == ["bank", "one.db"]
