"""A server with a gateway in front, and what holds in every fault: silence, a line in the log, recovery."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from otp_core.store.sqlite import driver
from tests.radius_peer import ACCEPT, REJECT, Packet, Peers, access_request, names, status_server
from tests.sekisho import SECRET, Customer, Sekisho, client_table

CODE, CHALLENGING, AUTO = "127.0.1.1", "127.0.2.1", "127.0.3.1"
_MODES = ((CODE, "code"), (CHALLENGING, "challenge"), (AUTO, "auto"))
CLIENTS = "request_seconds = 3.0\n" + "".join(client_table(mode, at, mode) for at, mode in _MODES)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting, chattr and another user take root")
SILENT = "silence"


@contextmanager
def running_sekisho(folder: Path, **options: object) -> Iterator[Sekisho]:
    """Not started. It must end without a traceback in its log."""
    sekisho = Sekisho(folder, **{"clients": CLIENTS, **options})  # type: ignore[arg-type]
    try:
        yield sekisho
        assert sekisho.traceback() == ""
    finally:
        sekisho.close()


@contextmanager
def sekisho_and_peers(folder: Path, **options: object) -> Iterator[tuple[Sekisho, Peers]]:
    """Started, with a gateway that sends codes."""
    with running_sekisho(folder, **options) as sekisho, Peers(sekisho.start().where, 4, CODE) as peers:
        (first,) = sekisho.crowd(1)
        assert names([peers.ask(ask(first, first.code()))]) == [ACCEPT]
        assert comes_back(peers)
        yield sekisho, peers
        assert sekisho.process is None or sekisho.stop() == 0


@dataclass(frozen=True)
class Asked:
    customer: Customer
    code: str
    packet: Packet


def ask(customer: Customer, code: str) -> Packet:
    return access_request(customer.contract_id, code, secret=SECRET)


def answers_status(peers: Peers) -> bool:
    return peers.ask(status_server(secret=SECRET), wait=0.4) is not None


def comes_back(peers: Peers, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answers_status(peers):
            return True
        time.sleep(0.1)
    return False


def check_trouble(
    sekisho: Sekisho, peers: Peers, customers: list[Customer], line: str, *, bears: float = 0.0
) -> list[Asked]:
    """Logins hear nothing, the log says why, the processor rests, and Status-Server is silent, which may bear it for
    some seconds. What was asked."""
    since = len(sekisho.log_text())
    asked = [Asked(one, one.code(), ask(one, one.code())) for one in customers]
    assert names(peers.ask_all([one.packet for one in asked], wait=0.4)) == [SILENT] * len(asked)
    sekisho.wait_for_log(line, since=since)
    sekisho.wait_for_log("no login can be answered", since=since)
    assert sekisho.cpu_share(1.5) < 0.5  # those who asked still wait: they are tried again and again
    time.sleep(bears)
    assert not answers_status(peers)
    sekisho.wait_for_log("not healthy", since=since)
    assert len(sekisho.log_text()[since:].splitlines()) < 20
    return asked


def check_recovery(sekisho: Sekisho, peers: Peers, asked: list[Asked]) -> None:
    """Without a restart: what was asked is accepted now, and each code once only."""
    since = len(sekisho.log_text())
    assert comes_back(peers)
    assert names(peers.ask_all([one.packet for one in asked])) == [ACCEPT] * len(asked)
    assert "logins are answered again" in sekisho.wait_for_log("logins are answered again")[since:]
    assert names(peers.ask_all([ask(one.customer, one.code) for one in asked])) == [REJECT] * len(asked)
    for one in asked:
        assert len(sekisho.audit(one.customer.contract_id, "login.accepted")) == 1


@contextmanager
def log_kept(sekisho: Sekisho) -> Iterator[None]:
    """Somebody reads: no checkpoint lets the log begin anew, so every commit needs room of its own."""
    with contextlib.closing(driver.connect(sekisho.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM customer").fetchone()
        yield
        reader.execute("ROLLBACK")


def check_stop(sekisho: Sekisho, peers: Peers, customers: list[Customer], since: int) -> None:
    """Logins hear nothing; a flush has failed, so all of the server ends and says why. ``since``: where the log was
    before the disk failed."""
    packets = [ask(one, one.code()) for one in customers]
    assert names(peers.ask_all(packets, wait=0.4)) == [SILENT] * len(packets)
    sekisho.wait_for_log("nothing is acknowledged any more", since=since)
    assert sekisho.process is not None
    assert sekisho.process.wait(20) == 5
    sekisho.process = None
    assert sekisho.traceback(since) == ""
    assert len(sekisho.log_text()[since:].splitlines()) < 30


def refuses_to_start(sekisho: Sekisho, *lines: str) -> None:
    """It ends at once, with the exit code for what cannot be used now, and one line that says why."""
    since = len(sekisho.log_text())
    code = sekisho.spawn().wait(20)
    sekisho.process = None
    said = sekisho.log_text()[since:]
    assert code == 4, f"exit code {code}: {said}"
    for line in lines:
        assert line in said, said
    assert "Traceback" not in said


def command(sekisho: Sekisho, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """``sekisho …`` in a process of its own, where the server is. ``more``: of its environment."""
    line = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), *words]
    environment = {**os.environ, **sekisho.environment, **more}
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
