"""What a browser sends delays no gateway: the web doors have a process of their own, which is replaced when it stands
still."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys import slow_door
from tests.journeys.faults import CODE, ask
from tests.radius_peer import ACCEPT, Peers, names
from tests.sekisho import Sekisho, client_table, free_port

CLIENTS = client_table("gateway", "127.0.0.0/8", "code")


class Slow(Sekisho):
    """A server whose web door can be kept busy."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.web = ("127.0.0.1", free_port())
        (folder / "terms.txt").write_text("version: 1\nTerms.\n")
        self.busy = folder / "busy"
        web = f'[web]\nlisten = "127.0.0.1:{self.web[1]}"\nterms_file = "terms.txt"\n'
        super().__init__(folder, CLIENTS, web, **options)  # type: ignore[arg-type]

    @property
    def _program(self) -> list[str]:
        return [sys.executable, slow_door.__file__]

    def get(self) -> socket.socket:
        """One request to the web door."""
        connection = socket.create_connection(self.web, 30)
        connection.sendall(b"G")
        return connection

    def block(self) -> socket.socket:
        """One request that keeps the web door's loop busy; it is at it when this returns."""
        (pid,) = self.pids("web")
        before = processor_ticks(pid)
        self.busy.touch()
        connection = self.get()
        end = time.monotonic() + 30
        while processor_ticks(pid) < before + 10:
            assert time.monotonic() < end
            time.sleep(0.01)
        return connection


def processor_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


@contextmanager
def slow(folder: Path, **options: object) -> Iterator[Slow]:
    sekisho = Slow(folder, **options)
    try:
        sekisho.start()
        yield sekisho
    finally:
        sekisho.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_while_one_request_keeps_the_pages_busy_every_login_is_answered(tmp_path: Path, workers: int) -> None:
    with slow(tmp_path, workers=workers) as sekisho, Peers(sekisho.where, 4, CODE) as peers:
        assert len(sekisho.workers_pids) == workers
        crowd = sekisho.crowd(40)
        waiting = sekisho.block()
        assert names([peers.ask(ask(one, one.code())) for one in crowd[:20]]) == [ACCEPT] * 20
        assert names(peers.ask_all([ask(one, one.code()) for one in crowd[20:]])) == [ACCEPT] * 20
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(1)  # it was busy all the time
        sekisho.busy.unlink()
        waiting.setblocking(True)
        assert waiting.recv(4) == b"done"
        waiting.close()
        assert sekisho.stop() == 0


def test_a_process_that_stands_still_is_replaced_and_the_gateways_notice_nothing(tmp_path: Path) -> None:
    with slow(tmp_path) as sekisho, Peers(sekisho.where, 4, CODE) as peers:
        workers, (web,) = sekisho.workers_pids, sekisho.pids("web")
        with sekisho.block() as waiting:
            log = sekisho.wait_for_log("a process stood still: killed, and another takes its place", seconds=60)
            assert f"pid={web}" in log and "role=web" in log
            waiting.settimeout(30)
            assert waiting.recv(4) == b""
        sekisho.busy.unlink()
        sekisho.wait_for_log("ready", times=3, seconds=60)
        with sekisho.get() as again:
            assert again.recv(4) == b"done"
        assert sekisho.workers_pids == workers and sekisho.pids("web") != [web]
        (one,) = sekisho.crowd(1)
        assert names([peers.ask(ask(one, one.code()))]) == [ACCEPT]
        assert sekisho.stop() == 0


def test_the_pages_give_way_to_the_gateways(tmp_path: Path) -> None:
    """Strangers at the pages kept both cores busy, and the 99th percentile of logins was twice as long."""
    with slow(tmp_path, workers=2) as sekisho:
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        (web,) = sekisho.pids("web")
        threads = [int(one.name) for one in Path(f"/proc/{web}/task").iterdir()]
        assert {os.getpriority(os.PRIO_PROCESS, one) - mine for one in threads} == {5}
        assert {os.getpriority(os.PRIO_PROCESS, one) - mine for one in sekisho.workers_pids} == {0}


def test_sigterm_ends_a_process_that_stands_still(tmp_path: Path) -> None:
    with slow(tmp_path) as sekisho:
        sekisho.block().close()
        assert sekisho.stop() == 0
        assert "stood still" in sekisho.log_text()


def test_a_stopped_process_is_told_of_and_left_alone(tmp_path: Path) -> None:
    """By a debugger, or by an administrator's SIGSTOP."""
    with slow(tmp_path) as sekisho:
        (web,) = sekisho.pids("web")
        os.kill(web, signal.SIGSTOP)
        assert f"pid={web}" in sekisho.wait_for_log("a process is stopped (SIGSTOP, or a debugger)", seconds=60)
        os.kill(web, signal.SIGCONT)
        sekisho.wait_for_log("a process goes on", seconds=60)
        with sekisho.get() as connection:
            assert connection.recv(4) == b"done"
        assert "stood still" not in sekisho.log_text()
        assert sekisho.pids("web") == [web]


# Which doors a unit serves.


def listens(at: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(at) == 0


def test_two_units_on_one_machine_share_one_store(tmp_path: Path) -> None:
    listen = (f"127.0.0.1:{free_port()}",)
    sekisho = Slow(tmp_path, listen=listen)
    try:
        sekisho.start("--doors", "radius")
        gateways, sekisho.process = sekisho.process, None
        assert not listens(sekisho.web)
        sekisho.start("--doors", "web")
        assert listens(sekisho.web) and sekisho.workers_pids == []
        assert sekisho.stop() == 0
        sekisho.process = gateways
        with Peers(sekisho.where, 4, CODE) as peers:
            (one,) = sekisho.crowd(1)
            assert names([peers.ask(ask(one, one.code()))]) == [ACCEPT]
        assert sekisho.stop() == 0
    finally:
        sekisho.close()


@pytest.mark.parametrize(
    ("doors", "code", "line"),
    [
        ("radius,wbe", 2, "'wbe' is no door: write one or more of api, console, pam, radius, web"),
        (",", 2, "'' is no door"),
        ("", 2, "'' is no door"),
        ("pam", 3, "serve --doors: the settings have no section for pam"),
    ],
)
def test_a_door_that_there_is_not_is_named(tmp_path: Path, doors: str, code: int, line: str) -> None:
    sekisho = Sekisho(tmp_path, CLIENTS)
    try:
        assert sekisho.spawn("--doors", doors).wait(30) == code
        sekisho.process = None
        assert line in " ".join(sekisho.log_text().replace("│", " ").split())
    finally:
        sekisho.close()


def test_a_port_of_the_pages_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, CLIENTS)
    try:
        with socket.create_server(("127.0.0.1", 0)) as other:
            sekisho.more = f'[web]\nlisten = "127.0.0.1:{other.getsockname()[1]}"\n'
            sekisho.write_config()
            assert sekisho.spawn().wait(30) == 4
            sekisho.process = None
            assert f"cannot listen at 127.0.0.1:{other.getsockname()[1]}: Address already in use" in sekisho.log_text()
    finally:
        sekisho.close()
