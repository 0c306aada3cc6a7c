"""The writers' turn: one at a time, nobody waits for ever, and only who is stopped in it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.model import StoreBusy
from otp_core.store.sqlite.connection import SharedCommits
from otp_core.store.sqlite.maintenance import SqliteMaintenance
from otp_core.store.sqlite.turn import OVERDUE, Turn, ended_in
from tests.core.bank import Bank

pytestmark = pytest.mark.sqlite_files

_HOLD = """
import sys, time
from otp_core.store.sqlite.turn import Turn
with Turn(sys.argv[1]):
    print("mine", flush=True)
    time.sleep(float(sys.argv[2]))
print("left", flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> str:
    file = tmp_path / "s.db"
    file.touch(0o600)
    return str(file)


@contextlib.contextmanager
def holder(store: str, seconds: float = 600) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has the turn."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, store, str(seconds)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "mine\n"
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def take(turn: Turn) -> None:
    with turn:
        pass


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    while state(process.pid) != "T":
        time.sleep(0.001)


def test_it_is_known_whose_turn_it_is_and_nobodys_afterwards(store: str) -> None:
    turn, other = Turn(store), Turn(store)
    take(other)
    with turn:
        assert (found := other.holder()) is not None and found.process == os.getpid()
    assert other.holder() is None
    with holder(store) as process:
        assert (found := other.holder()) is not None and found.process == process.pid
        process.kill()
        process.wait()
        assert other.holder() is None  # gone without giving it back
    turn.close()
    other.close()


def test_who_is_stopped_in_its_turn_is_ended_and_the_next_one_goes_on(store: str) -> None:
    with holder(store) as process, contextlib.closing(Turn(store)) as turn:
        stop(process)
        take(turn)
        assert process.wait(10) == -signal.SIGKILL
        assert ended_in(f"{store}-turn") == [process.pid]


def test_a_thread_ends_who_is_stopped_too(store: str) -> None:
    with holder(store) as process, contextlib.closing(Turn(store)) as turn:
        stop(process)
        waiting = threading.Thread(target=take, args=[turn])
        waiting.start()
        assert process.wait(30) == -signal.SIGKILL
        waiting.join(30)
        assert not waiting.is_alive()


def test_who_is_at_work_is_waited_for_and_not_ended(store: str) -> None:
    with holder(store) as process, contextlib.closing(Turn(store)) as turn:
        begun = time.monotonic()
        with pytest.raises(StoreBusy, match=f"process {process.pid} is still at work"):
            take(turn)
        assert time.monotonic() - begun >= OVERDUE
        assert process.poll() is None and ended_in(f"{store}-turn") == []
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_command_waits_longer_than_a_server(store: str) -> None:
    with holder(store, OVERDUE * 1.5) as process, contextlib.closing(Turn(store, seconds=60)) as turn:
        take(turn)
        assert process.wait(10) == 0


def test_another_process_with_the_holders_number_is_left_alone(store: str) -> None:
    """A number that was given to somebody else since: its start is not the one that was noted."""
    with holder(store) as process, contextlib.closing(Turn(store)) as turn:
        innocent = subprocess.Popen(["sleep", "600"], text=True)
        try:
            stop(innocent)
            with Path(f"{store}-turn").open("r+b") as file:
                file.write(struct.pack("=QQ", innocent.pid, 1))
            with pytest.raises(StoreBusy, match="which one is not known"):
                take(turn)
            assert innocent.poll() is None and process.poll() is None
        finally:
            innocent.kill()
            innocent.wait()


def test_a_stopped_process_whose_turn_it_is_not_is_left_alone(store: str) -> None:
    with contextlib.closing(Turn(store)) as turn:
        with holder(store, 0) as process:
            assert process.wait(10) == 0
        idle = subprocess.Popen(["sleep", "600"], text=True)
        try:
            stop(idle)
            take(turn)
            assert idle.poll() is None
        finally:
            idle.kill()
            idle.wait()


def test_a_child_has_a_turn_of_its_own(store: str) -> None:
    """flock belongs to the open file, which a fork shares."""
    turn = Turn(store)
    with turn:
        child = os.fork()
        if child == 0:
            try:
                take(turn)
            except StoreBusy:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    turn.close()


def test_an_exception_inside_gives_the_turn_back(store: str) -> None:
    turn, other = Turn(store), Turn(store)
    with pytest.raises(ZeroDivisionError), turn:
        raise ZeroDivisionError
    take(other)
    turn.close()
    other.close()


def test_the_file_is_allocated_and_as_private_as_the_store(store: str) -> None:
    take(turn := Turn(store))
    found = Path(f"{store}-turn").stat()
    assert found.st_size == 4096 and found.st_blocks and found.st_mode & 0o777 == 0o600
    assert found.st_uid == Path(store).stat().st_uid
    turn.close()


def test_where_no_file_can_be_made_writers_still_write(tmp_path: Path) -> None:
    take(turn := Turn(str(tmp_path / "nowhere" / "s.db")))
    turn.close()


# Every writer takes it.


def test_a_transaction_waits_for_its_turn_and_has_it_until_it_is_committed(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with bank.store.work(), contextlib.closing(Turn(str(bank.database))) as turn:
        with pytest.raises(StoreBusy):
            take(turn)
        assert (found := turn.holder()) is not None and found.process == os.getpid()
    with holder(str(bank.database)), pytest.raises(StoreBusy, match="is still at work"), bank.store.work():
        pass
    with bank.store.work() as work:
        work.put_meta("x", b"y")


def test_probes_and_sweeps_take_turns_too(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    maintenance = SqliteMaintenance(SharedCommits(bank.store.engine, trusting=False))
    with holder(str(bank.database)):
        with pytest.raises(StoreBusy):
            maintenance.probe(1)
        with pytest.raises(StoreBusy):
            maintenance.write_probe(["taro"])
    maintenance.probe(2)
    maintenance.write_probe(["taro"])
    maintenance.close()
