"""Failures that several processes count together, in a file that may go wrong without harm."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otp_core.first_factor import failures
from otp_core.first_factor.failures import NONE, Failures, FailureTable


def one_more(found: Failures) -> Failures:
    return Failures(found.number + 1, 5.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db-failures"


def test_two_processes_see_one_count_and_a_restart_keeps_it(path: Path) -> None:
    first, second = FailureTable(100, path), FailureTable(100, path)
    assert first.change(7, one_more) == Failures(1, 5.0)
    assert second.change(7, one_more) == Failures(2, 5.0)
    assert first.recent(7) == Failures(2, 5.0) and first.recent(8) == NONE
    for table in (first, second):
        table.close()
    again = FailureTable(100, path)
    assert again.recent(7) == Failures(2, 5.0)
    assert again.change(7, lambda _: NONE) == NONE and again.recent(7) == NONE
    again.close()
    assert path.stat().st_mode & 0o777 == 0o600


COUNT = """
import sys
from pathlib import Path
from otp_core.first_factor import failures
from otp_core.first_factor.failures import Failures, FailureTable
failures._LOCK_TRIES = 100_000
table = FailureTable(100, Path(sys.argv[1]))
for _ in range(3000):
    table.change(7, lambda found: Failures(found.number + 1, 5.0))
"""


def test_no_failure_is_lost_between_processes(path: Path) -> None:
    """As long as each has the lock: on a busy machine one may be kept from running for longer than the others wait."""
    children = [subprocess.Popen([sys.executable, "-c", COUNT, str(path)]) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    table = FailureTable(100, path)
    assert table.recent(7).number == 9000
    table.close()


def test_forked_processes_share_it_also_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_LOCK_TRIES", 100_000)
    table = FailureTable(100)
    pid = os.fork()
    if not pid:
        for _ in range(1000):
            table.change(-7, one_more)
        os._exit(0)
    for _ in range(1000):
        table.change(-7, one_more)
    assert os.waitpid(pid, 0)[1] == 0
    assert table.recent(-7).number == 2000
    table.close()


def test_it_never_grows_and_the_oldest_delay_makes_room(path: Path) -> None:
    table = FailureTable(16, path)
    size = path.stat().st_size
    for digest in range(1, 1001):
        table.change(digest, lambda _, at=digest: Failures(1, float(at)))  # type: ignore[misc]
    kept = [digest for digest in range(1, 1001) if table.recent(digest) != NONE]
    assert kept == list(range(985, 1001))
    assert path.stat().st_size == size
    table.close()


def test_who_is_stopped_while_it_counts_holds_nobody_up(path: Path) -> None:
    table = FailureTable(100, path)
    hold = "import fcntl, os, sys, time; fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX); time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(path)])
    try:
        end = time.monotonic() + 30
        while True:
            try:
                with path.open("rb+") as file:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                assert time.monotonic() < end
                time.sleep(0.01)
            except BlockingIOError:
                break
        holder.send_signal(signal.SIGSTOP)
        assert table.change(7, one_more) == Failures(1, 5.0)
        assert table.recent(7) == Failures(1, 5.0)
    finally:
        holder.kill()
        holder.wait()
    table.close()


@pytest.mark.parametrize("octets", [b"", b"rubbish", b"x" * 5000])
def test_a_file_that_is_none_of_ours_is_begun_anew(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)
    table = FailureTable(100, path)
    assert table.recent(7) == NONE
    assert table.change(7, one_more) == Failures(1, 5.0)
    table.close()


def test_counts_of_another_boot_are_begun_anew(path: Path) -> None:
    table = FailureTable(100, path)
    table.change(7, one_more)
    table.close()
    octets = bytearray(path.read_bytes())
    octets[40] ^= 1  # of the boot's id
    path.write_bytes(octets)
    table = FailureTable(100, path)
    assert table.recent(7) == NONE
    table.close()


def test_a_file_that_is_cut_short_or_gone_while_it_is_used_forgets_and_goes_on(path: Path) -> None:
    table = FailureTable(100, path)
    table.change(7, one_more)
    os.truncate(path, 10)
    assert table.recent(7) == NONE
    assert table.change(7, one_more) == Failures(1, 5.0)
    path.unlink()
    assert table.change(7, one_more) == Failures(2, 5.0)
    table.close()


def test_a_place_where_no_file_can_be_made_is_done_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = FailureTable(100, tmp_path / "no such folder" / "s.db-failures")
    assert table.change(7, one_more) == Failures(1, 5.0)
    assert "the file cannot be used" in capsys.readouterr().out
    table.close()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    path.symlink_to(target)
    table = FailureTable(100, path)
    assert table.change(7, one_more) == Failures(1, 5.0)
    assert target.read_text() == "precious"
    table.close()


def test_a_disk_that_fails_later_is_done_without(path: Path) -> None:
    table = FailureTable(100, path)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, table._descriptor)
    os.close(full)
    assert table.change(7, one_more) == Failures(1, 5.0)
    assert table.change(7, one_more) == Failures(2, 5.0)
    table.close()
