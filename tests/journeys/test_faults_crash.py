"""Killed in mid-load: no code is accepted twice, nothing acknowledged is lost, and who asks again hears the same."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.radius_peer import ACCEPT, REJECT, Packet, Peers, access_request, names, status_server
from tests.sekisho import SECRET, Customer, Sekisho, client_table, free_port, mounted

CLIENTS = client_table("gateway", "127.0.0.0/8", "code")
ROOT = os.geteuid() == 0
EXT4_IOC_SHUTDOWN, WITHOUT_FLUSHING = 0x8004587D, 2
CROWD = 400
"""So many customers that the load outlasts whoever waits for the moment to strike."""


@contextmanager
def running_sekisho(folder: Path, workers: int = 1, disk: Path | None = None) -> Iterator[Sekisho]:
    listen = (f"127.0.0.1:{free_port()}",)
    sekisho = Sekisho(folder, CLIENTS, listen=listen, workers=workers, disk=disk)
    try:
        yield sekisho.start()
        assert sekisho.traceback() == ""
    finally:
        sekisho.close()


@dataclass
class Login:
    """One customer, one code, several different requests with it, and what was answered to each, ever."""

    customer: Customer
    code: str
    packets: list[Packet] = field(default_factory=list)
    accepted: set[bytes] = field(default_factory=set)

    def ask(self) -> Packet:
        self.packets.append(access_request(self.customer.contract_id, self.code, secret=SECRET))
        return self.packets[-1]


def send(peers: Peers, logins: list[Login], packets: list[Packet], wait: float = 6.0) -> list[str]:
    """Ask, and note down what was accepted. ``logins``: to whom each packet belongs."""
    heard = names(peers.ask_all(packets, wait=wait))
    for login, packet, name in zip(logins, packets, heard, strict=True):
        if name == ACCEPT:
            login.accepted.add(packet.octets)
    return heard


def load_and(strike: Callable[[], None], sekisho: Sekisho, peers: Peers, logins: list[Login], *, after: int) -> None:
    """Two different requests with each code at once; ``strike`` when so many replies have come."""
    twice = logins * 2
    packets = [login.ask() for login in twice]
    heard: list[str] = []
    before = peers.heard

    thread = threading.Thread(target=lambda: heard.extend(send(peers, twice, packets, wait=0.7)))
    thread.start()
    while peers.heard < before + after and thread.is_alive():
        time.sleep(0.0005)
    assert thread.is_alive(), "the load was over before the blow"
    strike()
    thread.join()
    assert heard.count(ACCEPT) + heard.count(REJECT) >= after


def check_books(sekisho: Sekisho, peers: Peers, logins: list[Login]) -> None:
    """After the restart. Every code is worth one request, over all answers before and after; whoever was told so is in
    the audit trail, and hears it again; nobody else ever gets in with that code."""
    acknowledged = [login for login in logins if login.accepted]
    assert acknowledged
    assert {login.customer.contract_id for login in acknowledged} <= written(sekisho, logins).keys()
    again = [Packet(octets, SECRET.encode()) for login in acknowledged for octets in login.accepted]
    assert send(peers, acknowledged, again) == [ACCEPT] * len(again)
    anew = send(peers, logins, [login.ask() for login in logins])
    assert [name for login, name in zip(logins, anew, strict=True) if login in acknowledged] == [REJECT] * len(again)
    for at in range(2):  # what was never answered is asked again as it was: some of it had been accepted
        send(peers, logins, [login.packets[at] for login in logins])
    assert [len(login.accepted) for login in logins] == [1] * len(logins)
    assert written(sekisho, logins) == {login.customer.contract_id: 1 for login in logins}


def written(sekisho: Sekisho, logins: list[Login]) -> Counter[str | None]:
    """How many logins the audit trail has of each of these customers."""
    ours = {login.customer.contract_id for login in logins}
    return Counter(row.customer for row in sekisho.audit(event="login.accepted") if row.customer in ours)


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_in_mid_load_loses_nothing_and_lets_nobody_in_twice(tmp_path: Path, workers: int) -> None:
    with running_sekisho(tmp_path, workers) as sekisho:
        for after in (1, 25, 90):
            logins = [Login(one, one.code()) for one in sekisho.crowd(CROWD)]
            with Peers(sekisho.where, 16) as peers:
                load_and(sekisho.kill, sekisho, peers, logins, after=after)
            sekisho.start()
            with Peers(sekisho.where, 16) as peers:
                check_books(sekisho, peers, logins)


@pytest.mark.skipif(not ROOT, reason="mounting takes root")
def test_what_was_acknowledged_outlives_a_power_cut(tmp_path: Path) -> None:
    """A file system is shut down without writing back what it holds in memory (that is what a power cut leaves), and
    mounted again: what no fsync had brought to the disk is gone."""
    image = tmp_path / "disk.img"
    subprocess.run(["truncate", "-s", "24M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    disk = tmp_path / "disk"
    with a_house_on(image, disk, tmp_path) as sekisho:
        logins = [Login(one, one.code()) for one in sekisho.crowd(CROWD)]
        os.sync()

        def cut() -> None:
            # Worse than a real cut: the server goes on, and a flush that was under way may be told that it succeeded.
            cut_power(disk)
            sekisho.kill()

        with Peers(sekisho.where, 16) as peers:
            load_and(cut, sekisho, peers, logins, after=40)
        subprocess.run(["umount", str(disk)], check=True)
        # A copy: some other program's mount namespace (a browser's) may still have the first one, as it was shut down.
        shutil.copy(image, tmp_path / "after.img")
        subprocess.run(["mount", "-o", "loop", str(tmp_path / "after.img"), str(disk)], check=True)
        sekisho.start()
        with Peers(sekisho.where, 16) as peers:
            check_books(sekisho, peers, logins)


@contextmanager
def a_house_on(image: Path, disk: Path, folder: Path) -> Iterator[Sekisho]:
    with ExitStack() as stack:
        try:
            stack.enter_context(mounted(disk, "-o", "loop", str(image)))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine has no loop devices: {error.stderr.decode()}")
        yield stack.enter_context(running_sekisho(folder, disk=disk))


def cut_power(disk: Path) -> None:
    handle = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
    finally:
        os.close(handle)


def test_a_worker_killed_alone_is_replaced(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, workers=2) as sekisho:
        logins = [Login(one, one.code()) for one in sekisho.crowd(CROWD)]
        victim, survivor = sekisho.workers_pids
        with Peers(sekisho.where, 16) as peers:
            load_and(lambda: os.kill(victim, signal.SIGKILL), sekisho, peers, logins, after=25)
            sekisho.wait_for_log("a worker ended: another takes its place")
            sekisho.wait_for_log("ready", times=3)
            assert survivor in sekisho.workers_pids and victim not in sekisho.workers_pids
            assert len(sekisho.workers_pids) == 2
            check_books(sekisho, peers, logins)
        assert sekisho.stop() == 0


def test_while_a_worker_is_missing_the_others_answer(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, workers=2) as sekisho:
        asked = [access_request(one.contract_id, one.code(), secret=SECRET) for one in sekisho.crowd(8)]
        os.kill(sekisho.workers_pids[0], signal.SIGKILL)
        sekisho.wait_for_log("a worker ended")
        with Peers(sekisho.where, 8) as peers:
            assert names(peers.ask_all(asked, wait=0.8)) == [ACCEPT] * 8
        assert sekisho.log_text().count("ready") == 2, "the new worker was there already"


def test_sigterm_while_a_dead_worker_is_being_replaced_ends_everything(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, workers=2) as sekisho:
        os.kill(sekisho.workers_pids[0], signal.SIGKILL)
        sekisho.wait_for_log("a worker ended")
        assert sekisho.stop() == 0


def test_a_replaced_worker_has_the_settings_that_the_others_were_given_meanwhile(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, workers=2) as sekisho:
        sekisho.clients = client_table("gateway", "127.0.0.0/8", "code", secret='"correct-horse-battery-2"')
        sekisho.write_config()
        assert sekisho.process is not None
        sekisho.process.send_signal(signal.SIGHUP)
        sekisho.wait_for_log("reloaded", times=2)
        for pid in sekisho.workers_pids:
            os.kill(pid, signal.SIGKILL)
        sekisho.wait_for_log("ready", times=4)
        with Peers(sekisho.where, 8) as peers:
            asked = [status_server(secret="correct-horse-battery-2") for _ in range(8)]
            assert names(peers.ask_all(asked, wait=1)) == [ACCEPT] * 8


def test_a_worker_that_cannot_start_says_why_and_is_tried_again(tmp_path: Path) -> None:
    with running_sekisho(tmp_path, workers=2) as sekisho:
        key = tmp_path / "master.key"
        key.rename(tmp_path / "elsewhere")
        os.kill(sekisho.workers_pids[0], signal.SIGKILL)
        sekisho.wait_for_log("there is no master key file", times=2)
        assert sekisho.log_text().count("there is no master key file") == 2, "it is tried once a second"
        (tmp_path / "elsewhere").rename(key)
        sekisho.wait_for_log("ready", times=3)
        assert sekisho.stop() == 0
