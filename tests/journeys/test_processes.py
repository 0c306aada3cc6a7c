"""The server as a family of processes: none outlives the others, and none waits for whoever reads the log."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.faults import CODE, ask
from tests.radius_peer import ACCEPT, Peers, names, status_server
from tests.sekisho import SECRET, Sekisho, client_table, free_port

CLIENTS = client_table("gateway", "127.0.0.0/8", "code")


@contextmanager
def prepared(folder: Path, **options: object) -> Iterator[Sekisho]:
    """Not started; on a fixed port."""
    sekisho = Sekisho(folder, CLIENTS, listen=(f"127.0.0.1:{free_port()}",), **options)  # type: ignore[arg-type]
    try:
        yield sekisho
    finally:
        sekisho.close()


def asking(sekisho: Sekisho) -> Peers:
    """Gateways of a server whose log says nothing."""
    host, _, port = sekisho.listen[0].rpartition(":")
    return Peers((host, int(port)), 4, CODE)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """A process that has ended, and that nobody has waited for, runs no more: not every container's init waits."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def answers(peers: Peers) -> bool:
    return peers.ask(status_server(secret=SECRET), wait=0.3) is not None


@pytest.mark.parametrize("workers", [1, 2])
def test_when_the_first_process_is_killed_the_others_end_and_a_new_start_finds_its_ports(
    tmp_path: Path, workers: int
) -> None:
    with prepared(tmp_path, workers=workers) as sekisho:
        sekisho.start()
        children = sekisho.workers_pids
        assert sekisho.process is not None
        os.kill(sekisho.process.pid, signal.SIGKILL)
        sekisho.process.wait(10)
        until(lambda: not any(runs(pid) for pid in children))
        sekisho.process = None
        sekisho.start()
        with Peers(sekisho.where, 4, CODE) as peers:
            (one,) = sekisho.crowd(1)
            assert names([peers.ask(ask(one, one.code()))]) == [ACCEPT]


def test_a_log_reader_that_stands_still_stops_no_login_and_no_shutdown(tmp_path: Path) -> None:
    out, into = os.pipe()
    size = fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    os.write(into, b"." * size)
    with prepared(tmp_path, workers=2) as sekisho, asking(sekisho) as peers:
        crowd = sekisho.crowd(20)
        process = sekisho.spawn(stderr=into)
        until(lambda: answers(peers))
        assert names(peers.ask_all([ask(one, one.code()) for one in crowd])) == [ACCEPT] * 20
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        sekisho.process = None
    os.close(into)
    os.close(out)


@pytest.mark.parametrize("how", ["2>&-", "2>/dev/full", "0<&- 1>&- 2>&-"])
def test_a_server_without_a_log_serves(tmp_path: Path, how: str) -> None:
    prefix = ("sh", "-c", f'exec "$@" {how}', "sh")
    with prepared(tmp_path, prefix=prefix) as sekisho, asking(sekisho) as peers:
        crowd = sekisho.crowd(4)
        sekisho.spawn()
        until(lambda: answers(peers))
        assert names(peers.ask_all([ask(one, one.code()) for one in crowd])) == [ACCEPT] * 4
        for pid in sekisho.workers_pids:
            assert all("s.db" not in os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3))
        assert sekisho.stop() == 0
