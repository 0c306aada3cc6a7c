"""What the processes of a store share: one failed flush stops all, and the next start puts the store right."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from otp_core.model import Accept, StoreProblem, StoreStopped, StoreUnavailable
from otp_core.store.sqlite import driver, repair
from otp_core.store.sqlite.files import files_of
from otp_core.store.sqlite.state import Stop, StoreState
from otp_core.store.sqlite.turn import Turn
from otp_core.store.store import initialise
from tests.core.bank import STAFF, Bank
from tests.core.batches import code_request, login_batch_of, maintenance_of, run_batch

pytestmark = pytest.mark.sqlite_files


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.fixture
def state(bank: Bank) -> Iterator[StoreState]:
    """As another process has it."""
    opened = StoreState(bank.database.with_name("bank.db.state"), bank.database)
    yield opened
    opened.close()


def stop(state: StoreState, why: Stop = Stop.FLUSH_FAILED) -> None:
    with state.exclusive():
        state.stop(why, "its log cannot be flushed: Input/output error; check the disk")


STOPPED = "its log cannot be flushed: Input/output error.*the next start of the server puts it right"


def test_a_flush_that_failed_elsewhere_stops_every_writer(bank: Bank, state: StoreState) -> None:
    taro = bank.customer()
    stopped = pytest.raises(StoreStopped, match=STOPPED)
    command = bank.open_desk(bank.open_store())[1]
    with login_batch_of(bank) as login_batch, maintenance_of(bank) as maintenance:
        run_batch(bank, login_batch, [code_request(taro, taro.code(-1))])
        assert not bank.store.has_to_stop()
        stop(state)
        assert bank.store.has_to_stop()
        with stopped:
            run_batch(bank, login_batch, [code_request(taro, taro.code())])
        with stopped:
            maintenance.probe(1)
        with stopped:
            bank.desk.customers.lock("taro", STAFF)
        with stopped:
            command.customers.lock("taro", STAFF)
    with stopped:
        bank.open_store().login_batch().run([], [], lambda _: pytest.fail("evaluated")).send(None)
    assert bank.audit(event="customer.locked") == [], "what is only read can still be read"


def test_init_beside_a_server_commits_nothing_into_a_stopped_store(bank: Bank, state: StoreState) -> None:
    bank.customer()
    stop(state)
    with pytest.raises(StoreStopped, match=STOPPED):
        initialise(bank.url, bank.key_file, ids=bank.store.ids, say=lambda _: None)


def test_a_batch_that_was_committed_when_another_flush_failed_is_not_told(bank: Bank, state: StoreState) -> None:
    """Its own flush would succeed: over pages that the other one's has lost."""
    taro = bank.customer()
    with login_batch_of(bank) as login_batch, pytest.raises(StoreStopped, match=STOPPED):
        run_batch(bank, login_batch, [code_request(taro, taro.code())], meanwhile=lambda: stop(state))
    assert len(bank.audit(event="login.accepted")) == 1, "it is written, and nobody was told"


def test_who_flushes_at_the_same_time_waits_for_the_outcome(bank: Bank, state: StoreState) -> None:
    """A's flush is under way, and fails; B has committed meanwhile: B may not flush and tell before that is known."""
    taro = bank.customer()
    outcomes: list[object] = []

    def log_in() -> None:
        with login_batch_of(bank) as login_batch:
            try:
                outcomes.append(run_batch(bank, login_batch, [code_request(taro, taro.code())]))
            except StoreStopped as told:
                outcomes.append(told)

    files = files_of(bank.store.engine)
    files.hold()  # so that the other one need not open them, under the same lock
    thread = threading.Thread(target=log_in)
    with state.exclusive():
        thread.start()
        _wait_until(lambda: bool(bank.audit(event="login.accepted")))
        time.sleep(0.1)
        assert outcomes == []
        state.stop(Stop.FLUSH_FAILED, "its log cannot be flushed: Input/output error; check the disk")
    thread.join(20)
    files.release()
    assert [type(one) for one in outcomes] == [StoreStopped]


def test_one_flush_serves_all_whose_commits_came_before_it(bank: Bank, state: StoreState) -> None:
    first, second = state.committed(7), state.committed(8)
    with state.exclusive(), state.flushing():
        third = state.committed(9)
    assert [state.is_flushed(one) for one in (first, second, third)] == [True, True, False]
    assert state.flushed_id == 8


def test_a_flush_that_failed_counts_for_nobody(bank: Bank, state: StoreState) -> None:
    number = state.committed(7)
    with pytest.raises(OSError), state.exclusive(), state.flushing():
        raise OSError(5, "Input/output error")
    assert not state.is_flushed(number) and state.flushed_id == 0 and state.left_behind is None


@pytest.fixture
def holding(bank: Bank) -> Iterator[None]:
    """This process answers logins."""
    files = files_of(bank.store.engine)
    files.hold()
    yield
    files.release()


@pytest.mark.usefixtures("holding")
def test_an_act_that_waits_for_the_disk_keeps_no_writer_waiting(
    bank: Bank, state: StoreState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its flush was within its turn: each look of staff and each sign-in cost all logins one wait for the disk."""
    bank.customer()
    at_the_disk, disk = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        at_the_disk.set()
        assert disk.wait(20)

    told: list[str] = []
    act = threading.Thread(target=lambda: told.append(str(bank.desk.customers.lock("taro", STAFF))))
    monkeypatch.setattr("os.fdatasync", slow)
    act.start()
    assert at_the_disk.wait(20)
    turn = Turn(str(bank.database), seconds=0.5)
    with turn:
        assert bank.audit(event="customer.locked") and told == []
    turn.close()
    disk.set()
    act.join(20)
    assert len(told) == 1
    assert state.is_flushed(state.commits)


@pytest.mark.usefixtures("holding")
def test_an_act_whose_flush_fails_is_not_told_and_stops_everybody(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    bank.customer()
    monkeypatch.setattr("os.fdatasync", fail)
    with pytest.raises(StoreStopped, match=STOPPED):
        bank.desk.customers.lock("taro", STAFF)
    assert bank.store.has_to_stop()


@pytest.mark.usefixtures("holding")
def test_an_act_that_is_committed_is_told_however_long_the_disk_takes(bank: Bank, state: StoreState) -> None:
    """A login is asked again by its gateway; who has locked a customer, and hears "busy", would do it again."""
    bank.customer()
    told: list[str] = []
    act = threading.Thread(target=lambda: told.append(str(bank.desk.customers.lock("taro", STAFF))))
    with state.exclusive():
        act.start()
        _wait_until(lambda: bool(bank.audit(event="customer.locked")))
        time.sleep(1.5)  # longer than anybody waits for a flush of somebody else's
        assert told == []
    act.join(20)
    assert len(told) == 1


@pytest.mark.usefixtures("holding")
def test_a_disk_that_never_answers_leaves_it_open_whether_an_act_is_done(
    bank: Bank, state: StoreState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otp_core.store.sqlite.files.PATIENCE_SECONDS", 0.0)
    bank.customer()
    heard: list[str] = []

    def lock() -> None:
        try:
            bank.desk.customers.lock("taro", STAFF)
        except StoreUnavailable as error:
            heard.append(str(error))

    act = threading.Thread(target=lock)
    with state.exclusive():
        act.start()
        act.join(20)
    assert heard == ["store: the disk does not answer, and what was asked for may be done: look before you ask again"]


@pytest.mark.usefixtures("holding")
def test_a_transaction_that_changes_nothing_tells_only_what_is_on_the_disk(bank: Bank, state: StoreState) -> None:
    """It may have seen what somebody else has committed just now; but it costs no flush of its own."""
    state.committed(7)
    with bank.store.work():
        pass
    assert state.is_flushed(state.commits)
    before = state.commits
    with bank.store.work():
        pass
    assert state.commits == before


def test_the_newest_row_that_is_on_disk_is_known_outside_the_store(bank: Bank) -> None:
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        run_batch(bank, login_batch, [code_request(taro, taro.code())])
        assert bank.store.flushed_id() == bank.audit(event="login.accepted")[0].id
    bank.desk.customers.lock("taro", STAFF)
    assert bank.store.flushed_id() == bank.audit(event="customer.locked")[0].id


# A process that is killed while it flushes


def killed_while_it_flushes(bank: Bank) -> None:
    text = (
        "import os, sys, time; from pathlib import Path; from otp_core.store.sqlite.state import StoreState;"
        "path = Path(sys.argv[1]); state = StoreState(path.with_name(path.name + '.state'), path);\n"
        "with state.exclusive(), state.flushing():\n  print('flushes', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", text, str(bank.database)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"flushes\n"
        process.send_signal(signal.SIGKILL)


def test_whoever_has_had_the_log_open_hears_what_became_of_a_killed_ones_flush(bank: Bank, state: StoreState) -> None:
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        run_batch(bank, login_batch, [code_request(taro, taro.code(-1))])
        killed_while_it_flushes(bank)
        assert state.left_behind is not None
        assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]
        assert state.left_behind is None
        killed_while_it_flushes(bank)
        assert not bank.store.has_to_stop() and state.left_behind is None


def test_whoever_has_opened_it_since_cannot_know_and_stops(bank: Bank, state: StoreState) -> None:
    taro = bank.customer()
    killed_while_it_flushes(bank)
    with login_batch_of(bank) as login_batch, pytest.raises(StoreStopped, match="ended while it flushed the log"):
        run_batch(bank, login_batch, [code_request(taro, taro.code())])


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# Putting it right


SERVED = """
import os, sys
from pathlib import Path
sys.path.append(os.getcwd())  # behind what is installed, which may be compiled
from otp_core.store.sqlite.state import Stop, StoreState
from otp_core.store.sqlite.turn import Turn
from tests.core.bank import Bank
from tests.core.batches import code_request, run_batch

bank = Bank(Path(sys.argv[1]))
taro = bank.customer()
run_batch(bank, bank.store.login_batch(), [code_request(taro, taro.code())])
state = StoreState(bank.database.with_name("bank.db.state"), bank.database)
with state.exclusive():
    %s
os._exit(0)
"""
"""A process that has answered a login, and ends without closing anything, so that the log stays."""

FLUSH_FAILED = "state.stop(Stop.FLUSH_FAILED, 'the disk said no')"
FILES_LOST = "state.stop(Stop.FILES_LOST, 'a file was lost')"
UNDER_WAY = "flushing = state.flushing(); flushing.__enter__()"


@pytest.fixture
def served(tmp_path: Path) -> Callable[[str], Path]:
    def serve(end: str) -> Path:
        text = SERVED % end
        subprocess.run([sys.executable, "-c", text, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])
        assert Path(f"{tmp_path}/bank.db-wal").stat().st_size
        return tmp_path / "bank.db"

    return serve


def test_a_store_that_needs_nothing_is_left_alone(bank: Bank, tmp_path: Path) -> None:
    before = bank.database.stat()
    assert repair.repair(bank.database, pytest.fail) is None
    assert repair.repair(tmp_path / "none.db", pytest.fail) is None
    assert bank.database.stat().st_ino == before.st_ino


def test_after_a_killed_ones_flush_the_next_start_writes_the_log_anew(served: Callable[[str], Path]) -> None:
    path = served(UNDER_WAY)
    log = Path(f"{path}-wal")
    octets, inode, said = log.read_bytes(), log.stat().st_ino, list[str]()
    assert repair.repair(path, said.append) is None
    assert (log.read_bytes(), log.stat().st_ino != inode) == (octets, True)
    assert said == ["a process was killed while it flushed the log: the log was written anew"]
    check_whole(path)
    assert repair.repair(path, pytest.fail) is None


@pytest.mark.parametrize(
    ("end", "lost"), [(FLUSH_FAILED, None), (FILES_LOST, "a file was lost, and nobody could copy what was in it")]
)
def test_a_store_is_written_anew_and_the_old_one_is_kept(
    served: Callable[[str], Path], end: str, lost: str | None
) -> None:
    path = served(end)
    inode, said = path.stat().st_ino, list[str]()
    done = repair.repair(path, said.append)
    assert done is not None and done.lost == lost and done.kept is not None
    assert (path.stat().st_ino != inode, done.kept.stat().st_ino) == (True, inode)
    assert Path(f"{done.kept}-wal").stat().st_size, "with its log, as it was"
    assert "the store was written anew" in said[-1] and str(done.kept) in said[-1]
    assert {file.stat().st_mode & 0o777 for file in path.parent.glob("bank.db*")} == {0o600}
    check_whole(path)
    if lost is None:
        assert repair.repair(path, pytest.fail) is None
    else:
        again = repair.repair(path, pytest.fail)
        assert again is not None and again.lost == lost, "until the codes of the lost time are void"
        repair.lost_time_is_void(path)
        assert repair.repair(path, pytest.fail) is None


@pytest.mark.parametrize("steps", range(4))
def test_a_start_that_is_killed_in_between_is_made_good_by_the_next(served: Callable[[str], Path], steps: int) -> None:
    """Behind the copy, behind each of the renamings."""
    path = served(FLUSH_FAILED)
    repair.copy(path, path.with_name("bank.db.repaired"))
    kept = f"{path}.failed-earlier"
    if steps > 0:
        Path(f"{path}-wal").rename(f"{kept}-wal")
    if steps > 1:
        path.rename(kept)
    if steps > 2:
        path.with_name("bank.db.repaired").rename(path)
    assert repair.repair(path, lambda _: None) is not None
    check_whole(path)
    assert repair.repair(path, pytest.fail) is None
    assert not path.with_name("bank.db.repaired").exists()


def test_a_copy_that_was_not_complete_is_made_anew(served: Callable[[str], Path]) -> None:
    path = served(FLUSH_FAILED)
    path.with_name("bank.db.repairing").write_bytes(b"half of it")
    assert repair.repair(path, lambda _: None) is not None
    check_whole(path)
    assert not path.with_name("bank.db.repairing").exists()


def test_a_store_that_cannot_be_copied_is_refused_and_stays_as_it_was(served: Callable[[str], Path]) -> None:
    path = served(FLUSH_FAILED)
    before = {file.name: file.read_bytes() for file in (path, Path(f"{path}-wal"))}
    limit = (16 * 4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    try:
        with pytest.raises(StoreProblem, match=r"cannot be put right.* put the newest backup in its place"):
            repair.repair(path, lambda _: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert before == {file.name: file.read_bytes() for file in (path, Path(f"{path}-wal"))}
    assert not list(path.parent.glob("bank.db.repair*"))
    assert repair.repair(path, lambda _: None) is not None, "and with room it is put right"
    check_whole(path)


def test_a_damaged_store_is_not_taken_for_a_good_one(served: Callable[[str], Path]) -> None:
    path = served(FLUSH_FAILED)
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096 * 8)
    with pytest.raises(StoreProblem, match="sekisho restore"):
        repair.repair(path, lambda _: None)
    assert Path(f"{path}-wal").exists() and not path.with_name("bank.db.repaired").exists()


def test_a_store_that_somebody_has_open_is_not_put_right_under_them(bank: Bank, state: StoreState) -> None:
    stop(state)
    with bank.store.read(), pytest.raises(StoreProblem, match="another process still has it open: stop it first"):
        repair.repair(bank.database, lambda _: None, wait_seconds=0.2)
    assert repair.repair(bank.database, lambda _: None) is not None


def check_whole(path: Path) -> None:
    """Sound, and the login that was acknowledged is in it."""
    with closing(driver.connect(str(path))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM audit WHERE event = 'login.accepted'").fetchone() == (1,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("known", [True, False], ids=["with the state", "without it"])
def test_a_copy_of_another_time_never_replaces_a_sound_store(bank: Bank, known: bool) -> None:
    """The state that asked for it was deleted. It would have been put in place by the next stop, weeks later."""
    if known:
        bank.customer()  # opens the store, and so makes the state
    else:
        bank.database.with_name("bank.db.state").unlink(missing_ok=True)
    copy = bank.database.with_name("bank.db.repaired")
    copy.write_bytes(b"of another time")
    said: list[str] = []
    assert repair.repair(bank.database, said.append) is None
    assert not copy.exists()
    (kept,) = bank.folder.glob("bank.db.failed-*-copy")
    assert kept.read_bytes() == b"of another time" and str(kept) in said[0]
    assert repair.repair(bank.database, pytest.fail) is None


def test_a_copy_that_could_not_be_made_leaves_no_older_one(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.database.with_name("bank.db.repaired").write_bytes(b"of another time")
    with closing(driver.connect(str(bank.database))) as connection, monkeypatch.context() as full:
        full.setattr("os.fsync", _no_room)
        with pytest.raises(OSError, match="no room"):
            repair.rescue(connection, bank.database)
    assert not bank.database.with_name("bank.db.repaired").exists()


def _no_room(_descriptor: int) -> None:
    raise OSError(28, "no room")
