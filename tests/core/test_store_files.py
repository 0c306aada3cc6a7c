"""The files of a store: one name, and the same ones for as long as logins are answered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from otp_core.audit import Ids
from otp_core.login.requests import Decision
from otp_core.model import Accept, AuditRow, StoreProblem, StoreUnavailable
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.connection import SharedCommits
from otp_core.store.sqlite.database import file_of
from otp_core.store.sqlite.files import LOST_SECONDS
from otp_core.store.sqlite.state import SIZE
from otp_core.store.store import Store
from tests.core.bank import STAFF, Bank
from tests.core.batches import code_request, completed, login_batch_of, reader_of, run_batch

pytestmark = pytest.mark.sqlite_files

# One name


@pytest.mark.parametrize("kind", ["the file", "its folder", "a chain", "relative"])
def test_a_store_that_is_reached_by_a_link_is_flushed_where_sqlite_writes(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    bank = Bank(real)
    taro = bank.customer()
    url = f"sqlite:///{_link(tmp_path, bank.database, kind)}"
    monkeypatch.chdir(tmp_path)
    store = Store(url, bank.key_file, ids=Ids(), busy_seconds=1)
    monkeypatch.chdir("/")
    login_batch = store.login_batch()
    assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]
    opened = {os.readlink(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd") if _is_link(one)}
    assert f"{bank.database}-wal" in opened
    assert not any(one.startswith(f"{tmp_path}/other") for one in opened), "nothing beside the link"
    login_batch.close()


def _link(folder: Path, database: Path, kind: str) -> str:
    if kind == "its folder":
        (folder / "other").symlink_to(database.parent)
        return str(folder / "other" / database.name)
    (folder / "other.db").symlink_to(database)
    if kind == "a chain":
        (folder / "another.db").symlink_to("other.db")
        return str(folder / "another.db")
    return "other.db" if kind == "relative" else str(folder / "other.db")


def _is_link(number: str) -> bool:
    try:
        return bool(os.readlink(f"/proc/self/fd/{number}"))
    except OSError:
        return False


def test_the_file_of_a_url_is_absolute_and_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert file_of("sqlite:///link/s.db") == tmp_path / "real" / "s.db"


def test_a_link_that_leads_elsewhere_while_logins_are_answered_is_noticed(tmp_path: Path) -> None:
    """Commands would work on the other store, and the server on this one."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    link = tmp_path / "link.db"
    link.symlink_to(bank.database)
    login_batch = Store(f"sqlite:///{link}", bank.key_file, ids=Ids(), busy_seconds=1).login_batch()
    assert run_batch(bank, login_batch, [code_request(taro, taro.code(-1))]) == [Accept()]
    shutil.copy(bank.database, tmp_path / "copy.db")
    link.unlink()
    link.symlink_to(tmp_path / "copy.db")
    with pytest.raises(StoreUnavailable, match="leads elsewhere since the server was started"):
        run_batch(bank, login_batch, [code_request(taro, taro.code())])
    login_batch.close()


def test_a_store_with_two_names_is_refused(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    os.link(bank.database, tmp_path / "other.db")
    with pytest.raises(StoreProblem, match=r"has 2 names \(hard links\).* -inum"):
        bank.open_store()
    (tmp_path / "other.db").unlink()
    bank.open_store()


def test_a_journal_that_is_not_the_stores_own_is_not_played_into_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    journal = Path(f"{bank.database}-journal")
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    before = bank.database.read_bytes()
    with pytest.raises(StoreProblem, match="move that file away"):
        bank.open_store()
    assert (bank.database.read_bytes(), journal.stat().st_size) == (before, 512)
    journal.write_bytes(b"")  # left behind by a switch of modes: nothing is in it
    bank.open_store()


# The same files


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


@pytest.mark.parametrize("change", [delete, replace])
@pytest.mark.parametrize("ending", ["-wal", "-shm", ".state"])
def test_a_file_that_is_lost_while_logins_are_answered_is_noticed_by_everybody(
    tmp_path: Path, ending: str, change: Callable[[Path], None]
) -> None:
    """By the next login before it is told, by a reader, by the desk of the server and of a command."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    command = bank.open_desk(bank.open_store())[1]
    with login_batch_of(bank) as login_batch, reader_of(bank) as login_reader:
        assert run_batch(bank, login_batch, [code_request(taro, taro.code(-1))]) == [Accept()]
        change(Path(f"{bank.database}{ending}"))
        noticed = pytest.raises(StoreUnavailable, match=f"{ending} was deleted or replaced")
        with noticed:
            bank.desk.customers.lock("taro", STAFF)
        if ending == ".state":
            stopped = [bank.store.has_to_stop()]
            time.sleep(LOST_SECONDS + 0.05)
            stopped.append(bank.store.has_to_stop())
            assert stopped == [False, True], "it is looked at from time to time"
            return
        with noticed:
            run_batch(bank, login_batch, [code_request(taro, taro.code())])
        with noticed:
            completed(login_reader.login_record("taro"))
        with noticed:
            command.customers.lock("taro", STAFF)


@pytest.mark.parametrize("octets", [b"", b"Sekisho1", b"\xff" * SIZE], ids=["zeros", "new", "ones"])
def test_a_state_that_is_overwritten_while_logins_are_answered_stops_everybody_and_loses_nothing(
    tmp_path: Path, octets: bytes
) -> None:
    """A folder of a backup is copied over a live one."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    command = bank.open_desk(bank.open_store())[1]
    with login_batch_of(bank) as login_batch:
        assert run_batch(bank, login_batch, [code_request(taro, taro.code(-1))]) == [Accept()]
        with bank.database.with_name("bank.db.state").open("r+b") as state:
            state.write(octets.ljust(SIZE, b"\0"))
        with pytest.raises(StoreUnavailable, match="was overwritten"):
            command.customers.lock("taro", STAFF)
        with suppress(StoreUnavailable):
            run_batch(bank, login_batch, [code_request(taro, taro.code())])
        bank.store.has_to_stop()
        time.sleep(LOST_SECONDS + 0.05)
        assert bank.store.has_to_stop()
    with closing(driver.connect(bank.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT last_step FROM token").fetchone()[0] >= taro.step(-1)


@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_nobody_is_told_of_what_was_written_into_a_file_that_was_lost_meanwhile(tmp_path: Path, ending: str) -> None:
    """The file vanishes after the last look and before the commit: noticed behind the flush."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        assert run_batch(bank, login_batch, [code_request(taro, taro.code(-1))]) == [Accept()]
        lost = Path(f"{bank.database}{ending}")
        with pytest.raises(StoreUnavailable, match=r"was deleted or replaced|is gone"):
            run_batch(bank, login_batch, [code_request(taro, taro.code())], meanwhile=lost.unlink)


@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_after_a_batch_that_was_not_told_nothing_more_is_written_into_a_lost_file(tmp_path: Path, ending: str) -> None:
    """A batch looks at the files behind its flush only; once it has seen a loss, the next one looks first."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        run_batch(bank, login_batch, [code_request(taro, taro.code(-1))])
        kept = Path(f"{bank.database}{ending}").rename(tmp_path / "kept")
        lost = pytest.raises(StoreUnavailable, match=r"was deleted or replaced|is gone")
        with lost:
            run_batch(bank, login_batch, [code_request(taro, taro.code())])
        for _ in range(2):
            with lost:
                run_batch(bank, login_batch, [], meanwhile=lambda: pytest.fail("evaluated"))
        kept.rename(f"{bank.database}{ending}")
        assert run_batch(bank, login_batch, [code_request(taro, taro.code(1))]) == [Accept()]


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_an_act_of_the_desk_that_was_written_into_a_lost_file_is_not_done(tmp_path: Path, ending: str) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    with reader_of(bank) as login_reader:
        completed(login_reader.login_record("taro"))
        for store in (bank.store, bank.open_store()):
            lost = Path(f"{bank.database}{ending}")
            with pytest.raises(StoreUnavailable, match="was deleted or replaced"), store.work():
                kept = lost.rename(tmp_path / "kept")
            kept.rename(lost)


def test_a_process_that_comes_later_does_not_serve_other_files_than_the_first(tmp_path: Path) -> None:
    """SQLite in another process makes a new log and a new index, and sees nothing of what the first one commits."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    later = bank.open_store()
    with login_batch_of(bank) as login_batch:
        assert run_batch(bank, login_batch, [code_request(taro, taro.code(-1))]) == [Accept()]
        for ending in ("-wal", "-shm"):
            Path(f"{bank.database}{ending}").unlink()
        _read_elsewhere(bank.database)
        commits = SharedCommits(later.engine)
        with pytest.raises(StoreUnavailable, match="-wal was deleted or replaced"), commits.guarded():
            raise AssertionError("it was opened")
        commits.close()


def _read_elsewhere(database: Path) -> None:
    """Another program opens the store, writes, and dies: its log stays."""
    text = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.execute(\"INSERT INTO meta VALUES ('elsewhere', '')\"); c.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", text, str(database)], check=True)


def test_the_log_stays_the_same_however_often_a_connection_begins_afresh(tmp_path: Path) -> None:
    """SQLite removes the log when the last connection closes; that must not look like a loss."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    before = bank.rows()
    with login_batch_of(bank) as login_batch:
        assert run_batch(bank, login_batch, [code_request(taro, taro.code(-1))]) == [Accept()]
        log = Path(f"{bank.database}-wal").stat().st_ino
        with pytest.raises(StoreUnavailable, match="UNIQUE constraint failed"):
            completed(login_batch.run(["taro"], [], lambda _: _twice(bank)))
        assert Path(f"{bank.database}-wal").stat().st_ino == log
        assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]
    assert not Path(f"{bank.database}-wal").exists(), "after the last one SQLite has put everything into the store"
    assert before != bank.rows()


def _twice(bank: Bank) -> Decision:
    row = AuditRow(bank.store.ids.next(), "login.rejected", "gateway", None, None, "", "")
    return Decision(audit=[row, row])


def test_the_state_is_one_whole_block_of_the_owners_alone(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    state = bank.database.with_name("bank.db.state")
    found = state.stat()
    assert (found.st_size, found.st_mode & 0o777) == (SIZE, 0o600)
    assert found.st_blocks * 512 >= SIZE, "allocated, so that a full disk cannot refuse it"


# The log itself


def cut(log: Path) -> None:
    os.truncate(log, 0)


def cut_half(log: Path) -> None:
    os.truncate(log, log.stat().st_size // 2)


def cut_the_last_frame(log: Path) -> None:
    os.truncate(log, log.stat().st_size - 4096 - 24)


def write_over(log: Path) -> None:
    with log.open("r+b") as file:
        file.write(b"shopping list: rice, soy sauce, tea")


@pytest.mark.parametrize("desk", [False, True])
@pytest.mark.parametrize("damage", [cut, cut_half, cut_the_last_frame, write_over])
def test_a_log_that_was_cut_or_written_over_is_noticed_before_anybody_is_told(
    tmp_path: Path, damage: Callable[[Path], None], desk: bool
) -> None:
    """It keeps its name, and SQLite goes on behind the hole, up to which the next start would read."""
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    log = Path(f"{bank.database}-wal")
    with login_batch_of(bank) as login_batch:
        for away in (-1, 0):
            assert run_batch(bank, login_batch, [code_request(taro, taro.code(away))]) == [Accept()]
        noticed = pytest.raises(StoreUnavailable, match=r"-wal was cut or written over|malformed|disk I/O error")
        if desk:
            damage(log)
            with noticed:
                bank.desk.customers.lock("taro", STAFF)
        else:
            with noticed:
                run_batch(bank, login_batch, [code_request(jiro, jiro.code())], meanwhile=lambda: damage(log))
        with noticed:
            run_batch(bank, login_batch, [code_request(jiro, jiro.code())])


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_of_whatever_kind_is_no_damage(tmp_path: Path, mode: str) -> None:
    bank = Bank(tmp_path)
    holders = [bank.customer(f"taro{one}", f"VSMT0000000{one}") for one in range(6)]
    with login_batch_of(bank) as login_batch:
        for one in holders:
            assert run_batch(bank, login_batch, [code_request(one, one.code(-1))]) == [Accept()]
            _checkpoint(bank.database, mode)
            bank.desk.customers.lock(one.contract_id, STAFF)
            _checkpoint(bank.database, mode)
            bank.desk.customers.unlock(one.contract_id, STAFF)
            assert run_batch(bank, login_batch, [code_request(one, one.code())]) == [Accept()]
        assert not bank.store.has_to_stop()


def _checkpoint(database: Path, mode: str) -> None:
    with closing(driver.connect(str(database))) as connection:
        assert connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0


def test_a_file_system_without_locks_is_refused(tmp_path: Path) -> None:
    """As some network file systems are mounted: every lock is granted, to everybody."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc makes the file system without locks, and is not here")
    library = tmp_path / "no_locks.so"
    source = "int flock(int fd, int operation) { return 0; }"
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"], input=source.encode(), check=True)
    bank = Bank(tmp_path)
    text = (
        "import os, sys; sys.path.append(os.getcwd()); from pathlib import Path; from tests.core.bank import Bank;"
        "\ntry: Bank(Path(sys.argv[1])).store.hold()"
        "\nexcept Exception as problem: sys.exit(f'{type(problem).__name__}: {problem}')"
    )
    command = [sys.executable, "-c", text, str(tmp_path)]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, check=True, capture_output=True).returncode == 0
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"StoreProblem: store: locks do not work on the file system of {bank.database}" in done.stderr


@pytest.mark.parametrize("by", ["the end of the server", "a command after a kill", "a start after a kill"])
def test_the_log_of_a_store_that_was_replaced_is_not_played_into_the_new_one(tmp_path: Path, by: str) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    backup = tmp_path / "backup"
    with closing(driver.connect(str(bank.database))) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    if by == "the end of the server":
        with login_batch_of(bank) as login_batch:
            assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]
            backup.rename(bank.database)
    else:
        _log_in_and_die(tmp_path, "VSMT00000009")
        backup.rename(bank.database)
        later = bank.open_store()
        later.hold() if by == "a start after a kill" else later.read().__enter__()
    assert len(list(tmp_path.glob("bank.db.replaced-*-wal"))) == 1, "it is kept"
    assert bank.audit(event="login.accepted") == []
    with closing(driver.connect(str(bank.database))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _log_in_and_die(folder: Path, token_id: str) -> None:
    text = (
        "import os, sys; sys.path.append(os.getcwd()); from pathlib import Path; from tests.core.bank import Bank;"
        "from tests.core.batches import code_request, run_batch; bank = Bank(Path(sys.argv[1]));"
        "jiro = bank.customer('jiro', sys.argv[2]);"
        "run_batch(bank, bank.store.login_batch(), [code_request(jiro, jiro.code())]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", text, str(folder), token_id], check=True, cwd=Path(__file__).parents[2])
