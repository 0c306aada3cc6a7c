"""The first process: who is replaced, who is left alone, when it gives up, and what systemd is told."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sekisho.notify import Notifier
from sekisho.standstill import Standstill, excuse, processor_seconds
from tests.sekisho import Sekisho, client_table, mounted

PROGRAM = """
import fcntl, os, signal, sys, time
from otp_core import logs
from sekisho import supervisor
from sekisho.notify import Notifier
from sekisho.supervisor import SIGNALS, Role, supervise

folder = sys.argv[1]

def well(heartbeat, reload_first):
    heartbeat.is_ready()
    while signal.SIGTERM not in signal.sigpending():
        heartbeat.beat()
        time.sleep(0.02)
    return 0

def blocked(heartbeat, reload_first):
    heartbeat.is_ready()
    while True:
        sum(range(10_000))

def lazy(heartbeat, reload_first):
    heartbeat.is_ready()
    time.sleep(60)
    return 0

def locked(heartbeat, reload_first):
    heartbeat.is_ready()
    fcntl.flock(os.open(folder + "/lock", os.O_RDWR), fcntl.LOCK_EX)
    heartbeat.beat()
    return well(heartbeat, reload_first)

def ends(heartbeat, reload_first):
    return 3

def waits(heartbeat, reload_first):
    if os.path.exists(folder + "/begun"):
        return supervisor.WAITS
    heartbeat.is_ready()
    while not os.path.exists(folder + "/begun"):
        time.sleep(0.02)
    return 3

supervisor.RESTART_SECONDS = float(os.environ.get("RESTART_SECONDS", supervisor.RESTART_SECONDS))
logs.configure("info", "text")
kinds = {"well": well, "blocked": blocked, "lazy": lazy, "locked": locked, "ends": ends, "waits": waits}
roles = [Role(name.rstrip("?"), kinds[name.rstrip("?")], not name.endswith("?")) for name in sys.argv[3:]]
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
sys.exit(supervise(roles, Notifier(os.environ), stands_still=float(sys.argv[2])))
"""


class Family:
    """A supervisor whose processes do what their names say; one with ``?`` is one that the others can do without."""

    def __init__(self, folder: Path, *roles: str, stands_still: float = 1.0) -> None:
        self.log = folder / "log"
        with self.log.open("w") as log:
            command = [sys.executable, "-c", PROGRAM, str(folder), str(stands_still), *roles]
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True)

    def wait_for(self, text: str, times: int = 1, seconds: float = 60) -> str:
        end = time.monotonic() + seconds
        while self.log.read_text().count(text) < times:
            assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        return self.log.read_text()

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


Start = Callable[..., Family]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    families: list[Family] = []

    def begin(*roles: str, **options: float) -> Family:
        families.append(Family(tmp_path, *roles, **options))
        return families[-1]

    yield begin
    for family in families:
        if family.process.poll() is None:
            os.killpg(family.process.pid, signal.SIGCONT)
            family.process.kill()
        family.process.wait(20)


@pytest.mark.parametrize("kind", ["blocked", "lazy"])
def test_standing_still_is_no_reason_to_give_up(start: Start, kind: str) -> None:
    """Killed and replaced more often than workers may end; the others keep their processes."""
    family = start(kind, "well", stands_still=0.5)
    family.wait_for("serving")
    (well,) = [pid for pid in family.children() if Path(f"/proc/{pid}/comm").read_text() == "sekisho well\n"]
    family.wait_for("a process stood still: killed, and another takes its place", times=8)
    assert well in family.children()
    family.process.send_signal(signal.SIGTERM)
    assert family.process.wait(30) == 0


def test_a_whole_family_that_was_stopped_is_not_judged_for_it(start: Start) -> None:
    """A suspended or stunned machine: the supervisor did not run either."""
    family = start("well", "well", stands_still=1.0)
    family.wait_for("serving")
    children = family.children()
    for _ in range(2):
        os.killpg(family.process.pid, signal.SIGSTOP)
        time.sleep(2.5)
        os.killpg(family.process.pid, signal.SIGCONT)
        time.sleep(1.5)
    assert "still" not in family.log.read_text()
    assert family.children() == children


def test_who_waits_for_a_lock_is_told_of_and_left_alone(start: Start, tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    holder = subprocess.Popen(["flock", str(tmp_path / "lock"), "sleep", "600"], start_new_session=True)
    try:
        family = start("locked")
        family.wait_for("a process waits for another process's lock")
        time.sleep(1.5)
        assert "stood still" not in family.log.read_text()
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
    family.wait_for("a process goes on")
    family.process.send_signal(signal.SIGTERM)
    assert family.process.wait(30) == 0


def test_who_the_others_can_do_without_does_not_end_them(start: Start) -> None:
    """Pages that cannot start, or that a request brings down each time: gateways are answered on."""
    family = start("well", "ends?")
    log = family.wait_for("another takes its place", times=6)
    assert re.findall(r"seconds=([\d.]+)", log)[-6:] == ["1.0"] * 5 + ["30.0"]
    assert "serving" in log
    family.process.send_signal(signal.SIGTERM)
    assert family.process.wait(30) == 0


def test_what_waits_for_something_that_is_away_is_tried_until_it_can(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has begun once, so its settings are right; a database may be away for minutes."""
    monkeypatch.setenv("RESTART_SECONDS", "0.02")
    family = start("well", "waits")
    family.wait_for("serving")
    (tmp_path / "begun").touch()
    pids, end = set[int](), time.monotonic() + 60
    while len(pids) < 12:
        assert time.monotonic() < end and family.process.poll() is None, family.log.read_text()
        pids |= set(family.children())
    family.process.send_signal(signal.SIGTERM)
    assert family.process.wait(30) == 0
    assert family.log.read_text().count("a worker ended") == 1


def test_an_essential_one_that_keeps_ending_ends_the_server_with_a_failure(start: Start) -> None:
    family = start("well", "ends")
    assert family.process.wait(60) == 1
    assert "workers keep ending: the lines before say why" in family.log.read_text()


# Excuses.


@pytest.fixture
def cat() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def fresh(pid: int, now: float) -> Standstill:
    return Standstill(now, processor_seconds(pid))


def test_who_is_stopped_has_an_excuse_and_who_sleeps_has_none(cat: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while excuse(cat.pid, fresh(cat.pid, 0.0), 5.0):  # it has yet to begin
        assert time.monotonic() < end
    cat.send_signal(signal.SIGSTOP)
    os.waitpid(cat.pid, os.WUNTRACED)
    assert "SIGSTOP" in excuse(cat.pid, fresh(cat.pid, 0.0), 5.0)
    cat.send_signal(signal.SIGCONT)


def test_who_gets_no_processor_has_an_excuse_and_who_uses_it_has_none() -> None:
    """This very process runs, and so is in state R."""
    pid = os.getpid()
    found = fresh(pid, 0.0)
    assert "overloaded" in excuse(pid, found, 1e6)
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert excuse(pid, found, 0.5) == ""


def test_who_is_gone_has_ended() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert excuse(process.pid, Standstill(0.0, 0.0), 5.0) == "has ended"


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system that stands still takes root")
def test_who_waits_for_the_disk_has_an_excuse(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
        writer = subprocess.Popen(["touch", str(disk / "file")])
        try:
            end = time.monotonic() + 30
            while excuse(writer.pid, fresh(writer.pid, 0.0), 5.0) != "waits for the disk":
                assert time.monotonic() < end
                time.sleep(0.01)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(disk)], check=True)
            assert writer.wait(30) == 0


# systemd.


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


def heard(manager: socket.socket, word: str) -> str:
    """The next thing that it is told and that begins so."""
    while not (text := manager.recv(4096).decode()).startswith(word):
        assert text == "WATCHDOG=1", text
    return text


def test_systemd_is_told_when_all_are_ready_that_it_lives_reloads_and_stops(
    tmp_path: Path, manager: socket.socket
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
    sekisho = Sekisho(tmp_path, client_table("gateway", "127.0.0.1", "code"), environment=environment, workers=2)
    try:
        sekisho.start()
        heard(manager, "READY=1")
        sekisho.wait_for_log("ready ", times=2, seconds=1.0)  # a line is written a moment after what it tells of
        heard(manager, "WATCHDOG=1")
        assert sekisho.process is not None
        sekisho.process.send_signal(signal.SIGHUP)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", heard(manager, "RELOADING=1"))
        heard(manager, "READY=1")
        sekisho.wait_for_log("reloaded", times=2, seconds=1.0)
        sekisho.config.write_text("wrong")
        sekisho.process.send_signal(signal.SIGHUP)
        heard(manager, "RELOADING=1")
        heard(manager, "READY=1")
        assert sekisho.stop() == 0
        heard(manager, "STOPPING=1")
    finally:
        sekisho.close()


def test_an_abstract_socket_is_told_too_and_one_that_is_full_is_not_waited_for() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"sekisho-test-{os.getpid()}"
        manager.bind(f"\0{name}")
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
        for _ in range(10_000):
            notifier.ready()
        assert manager.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_said() -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "/nobody/there", "WATCHDOG_USEC": "soon"}):
        notifier = Notifier(environment)
        notifier.ready()
        notifier.alive(0.0)


def test_the_watchdog_hears_three_times_as_often_as_it_asks(tmp_path: Path, manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"})
    for now in (0.0, 0.5, 1.0, 1.5, 2.0):
        notifier.alive(now)
    manager.setblocking(False)
    assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    with pytest.raises(BlockingIOError):
        manager.recv(100)
