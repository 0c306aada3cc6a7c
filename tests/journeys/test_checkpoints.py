"""The process that makes the checkpoints: replaced when it ends, heard when it fails, and no login waits for it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otp_core.store.sqlite import driver
from otp_core.store.sqlite.checkpoints import status_of
from tests.journeys.faults import ask, sekisho_and_peers
from tests.radius_peer import ACCEPT, Peers, names
from tests.sekisho import Sekisho

pytestmark = [
    pytest.mark.sqlite_files,
    pytest.mark.skipif(not driver.resets_safely(), reason="never with a SQLite that has the WAL-reset fault"),
]


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def log_in(sekisho: Sekisho, peers: Peers, number: int = 4) -> None:
    asked = [ask(one, one.code()) for one in sekisho.crowd(number)]
    assert names(peers.ask_all(asked, wait=10)) == [ACCEPT] * number


def doctor(sekisho: Sekisho) -> str:
    command = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), "doctor"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


@pytest.mark.parametrize("workers", [1, 2])
def test_a_checkpointer_that_is_killed_is_replaced_and_logins_go_on(tmp_path: Path, workers: int) -> None:
    with sekisho_and_peers(tmp_path, workers=workers) as (sekisho, peers):
        (first,) = sekisho.checkpointers
        until(lambda: status_of(str(sekisho.database))[1])
        assert "ok    checkpoints: succeed" in doctor(sekisho)
        os.kill(first, signal.SIGKILL)
        sekisho.wait_for_log("a worker ended: another takes its place")
        assert "fail  checkpoints: are not made" in doctor(sekisho) or sekisho.checkpointers
        log_in(sekisho, peers)
        until(lambda: bool(sekisho.checkpointers) and status_of(str(sekisho.database))[1])
        assert sekisho.checkpointers != [first]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("library") / "failing_store_file.so"
    source = Path(__file__).with_name("failing_store_file.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_under_the_stores_file_alone_is_said_and_logins_go_on(
    tmp_path: Path, library: Path, number: int
) -> None:
    """What was answered is in the log. A write that failed, other than a flush, stops nobody."""
    fails = tmp_path / "fails"
    environment = {"LD_PRELOAD": str(library), "FAILS": str(fails), "FAILS_AT": str(tmp_path / "s.db")}
    with sekisho_and_peers(tmp_path, environment=environment) as (sekisho, peers):
        fails.write_text(str(number))
        log_in(sekisho, peers)
        sekisho.wait_for_log("a checkpoint failed: the store's log grows until one succeeds")
        log_in(sekisho, peers)
        assert "fail  checkpoints: fail, and the log grows: store: " in doctor(sekisho)
        fails.unlink()
        sekisho.wait_for_log("checkpoints succeed again")
        log_in(sekisho, peers)
        assert "nothing is acknowledged" not in sekisho.log_text()
