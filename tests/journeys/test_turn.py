"""A worker that is stopped in its turn to write: it is ended, logins go on, none is lost and none counts twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from otp_core.store.queries import read_meta
from otp_core.store.sqlite.turn import Turn
from tests.journeys.test_faults_crash import Login, check_books, running_sekisho, send
from tests.radius_peer import ACCEPT, Peers
from tests.sekisho import Sekisho

pytestmark = pytest.mark.sqlite_files

_CROWD, _WAVE = 1500, 32


@dataclass
class Load:
    """Logins in waves, from a thread. ``asked``: those that were sent; ``answered_at``: when a wave heard an Accept."""

    logins: list[Login]
    asked: list[Login] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def send_all(self, peers: Peers) -> None:
        for first in range(0, len(self.logins), _WAVE):
            wave = self.logins[first : first + _WAVE]
            if self.enough.is_set():
                return
            self.asked += wave
            if ACCEPT in send(peers, wave, [login.ask() for login in wave], wait=0.5):
                self.answered_at.append(time.monotonic())


@contextlib.contextmanager
def under_load(sekisho: Sekisho, peers: Peers) -> Iterator[Load]:
    load = Load([Login(one, one.code()) for one in sekisho.crowd(_CROWD)])
    thread = threading.Thread(target=load.send_all, args=[peers])
    thread.start()
    try:
        yield load
    finally:
        load.enough.set()
        thread.join()


def stop_in_turn(sekisho: Sekisho) -> int:
    """Stop a worker at a moment in which it has the turn; its process ID."""
    end = time.monotonic() + 20
    with contextlib.closing(Turn(str(sekisho.database))) as turn:
        with turn:
            pass  # opens it
        while time.monotonic() < end:
            holder = turn.holder()
            if holder is None:
                continue
            os.kill(holder.process, signal.SIGSTOP)
            while not holder.is_stopped():
                pass
            if turn.holder() == holder:
                return holder.process
            os.kill(holder.process, signal.SIGCONT)
    raise AssertionError("no worker was ever found in its turn")


def test_a_worker_that_is_stopped_in_its_turn_is_ended_and_logins_go_on(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, workers=2) as sekisho, Peers(sekisho.where, 16) as peers:
        with under_load(sekisho, peers) as load:
            while not load.answered_at:
                time.sleep(0.001)
            victim = stop_in_turn(sekisho)
            stopped = time.monotonic()
            ended = sekisho.wait_for_log("it is ended, so that others go on")
            assert f" pid={victim}" in next(line for line in ended.splitlines() if "it is ended" in line)
            while not (later := [at for at in load.answered_at if at > stopped]) and time.monotonic() < stopped + 30:
                time.sleep(0.01)
        assert later and later[0] - stopped < 5, "about a second on a machine that has nothing else to do"
        sekisho.wait_for_log("ready", times=3)
        assert victim not in sekisho.workers_pids and len(sekisho.workers_pids) == 2
        check_books(sekisho, peers, load.asked[-400:])
        assert sekisho.stop() == 0


_COMMAND = """
import sys, time
from pathlib import Path
from sekisho.settings import load
from sekisho.wiring import open_store
with open_store(load(Path(sys.argv[1]), environment={}).settings).work() as work:
    work.put_meta("half", b"done")
    print("in its turn", flush=True)
    time.sleep(600)
"""


def test_a_command_that_is_stopped_in_its_turn_holds_up_nobody(tmp_path: Path) -> None:
    """By a terminal, for instance. What it had not committed is not there."""
    with running_sekisho(tmp_path, workers=1) as sekisho, Peers(sekisho.where, 4) as peers:
        login = [Login(one, one.code()) for one in sekisho.crowd(1)]
        command = [sys.executable, "-c", _COMMAND, str(sekisho.config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "in its turn\n"
            process.send_signal(signal.SIGSTOP)
            assert send(peers, login, [login[0].ask()], wait=10) == [ACCEPT]
            assert process.wait(10) == -signal.SIGKILL
        with sekisho.store.read() as connection:
            assert read_meta(connection, "half") is None
