"""Minutes of mixed load, first in peace and then with kills, restarts, reloads and locks: the invariants hold all the
while, and memory and files do not grow. SEKISHO_SOAK_SECONDS makes it longer.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from otp_core.store.sqlite import driver
from tests.radius_peer import ACCEPT, CHALLENGE, Packet, Peers, access_request, names, status_server
from tests.sekisho import PASSWORD, SECRET, Customer, Sekisho, client_table, free_port

SECONDS = float(os.environ.get("SEKISHO_SOAK_SECONDS", "240"))
MODES = {"code": "127.0.1.1", "challenge": "127.0.2.1", "append": "127.0.3.1", "auto": "127.0.4.1"}
CLIENTS = "".join(client_table(mode, at, mode) for mode, at in MODES.items())
WARM = 0.45
"""The share of the peaceful half after which memory must have found its level: replies are kept for half a minute."""


@dataclass
class Books:
    """Who was let in with which code, by which different requests; and what was tried."""

    accepted: defaultdict[tuple[str, str], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    tried: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    heard: Counter[str] = field(default_factory=Counter)

    def note(self, one: Customer, code: str, packet: Packet, name: str) -> None:
        self.tried[one.contract_id].add(code)
        self.heard[name] += 1
        if name == ACCEPT:
            self.accepted[one.contract_id, code].add(packet.octets)
            assert len(self.accepted[one.contract_id, code]) == 1, f"{one.contract_id} got in twice with one code"


@dataclass
class Load:
    """Everybody who logs in, and the gateways they come by."""

    sekisho: Sekisho
    peers: dict[str, Peers]
    crowd: list[Customer]
    known: list[Customer]
    chance: random.Random
    books: Books = field(default_factory=Books)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.with_codes()
            self.with_challenges()
            self.with_both(self.chance.choice(["append", "auto"]))

    def with_codes(self) -> None:
        """Two different requests with each code, the first of them sent twice; here and there a wrong code."""
        for_whom, packets = [], []
        for one in self.chance.sample(self.crowd, 100):
            code = one.code() if self.chance.random() > 0.05 else "000000"
            first, second = (access_request(one.contract_id, code, secret=SECRET) for _ in range(2))
            for packet in (first, second, first):
                for_whom.append((one, code))
                packets.append(packet)
        for (one, code), packet, name in zip(for_whom, packets, self.ask("code", packets), strict=True):
            self.books.note(one, code, packet, name)

    def with_challenges(self) -> None:
        people = self.chance.sample(self.known, 3)
        opening = [access_request(one.contract_id, PASSWORD, secret=SECRET) for one in people]
        replies = self.peers["challenge"].ask_all(opening, wait=0.4)
        for one, first in zip(people, replies, strict=True):
            if first is None or first.name != CHALLENGE:
                continue
            code = one.code()
            packets = [access_request(one.contract_id, code, secret=SECRET, state=first.state) for _ in range(2)]
            for packet, name in zip(packets, self.ask("challenge", packets), strict=True):
                self.books.note(one, code, packet, name)

    def with_both(self, mode: str) -> None:
        (one,) = self.chance.sample(self.known, 1)
        code = one.code()
        packets = [access_request(one.contract_id, PASSWORD + code, secret=SECRET) for _ in range(2)]
        for packet, name in zip(packets, self.ask(mode, packets), strict=True):
            self.books.note(one, code, packet, name)

    def ask(self, mode: str, packets: list[Packet]) -> list[str]:
        return names(self.peers[mode].ask_all(packets, wait=0.4))


@contextmanager
def a_load(folder: Path) -> Iterator[Load]:
    sekisho = Sekisho(folder, CLIENTS, listen=(f"127.0.0.1:{free_port()}",), workers=2)
    chance = random.Random(4711)
    with contextlib.ExitStack() as stack:
        stack.callback(sekisho.close)
        crowd, known = sekisho.crowd(2000), [sekisho.customer() for _ in range(30)]
        sekisho.start()
        peers = {mode: stack.enter_context(Peers(sekisho.where, 8, at)) for mode, at in MODES.items()}
        yield Load(sekisho, peers, crowd, known, chance)


@pytest.mark.soak
def test_minutes_of_load_with_kills_and_restarts(tmp_path: Path) -> None:
    with a_load(tmp_path) as load:
        sekisho = load.sekisho
        load.run(SECONDS / 2 * WARM)
        memory, files = sekisho.resident_kib(), open_files(sekisho)
        load.run(SECONDS / 2 * (1 - WARM))
        assert sekisho.resident_kib() < memory * 1.1 + 4096
        assert open_files(sekisho) <= files
        assert load.books.heard["silence"] < sum(load.books.heard.values()) / 100
        end, restarts = time.monotonic() + SECONDS / 2, 0
        while time.monotonic() < end:
            load.run(3)
            cause = load.chance.choice(TROUBLES)
            cause(sekisho)
            restarts += 1
        load.run(3)
        with Peers(sekisho.where, 1, MODES["code"]) as peers:
            assert peers.ask(status_server(secret=SECRET)) is not None
        assert sekisho.stop() == 0
        assert restarts > 3 and load.books.heard["silence"] > 0
        check_books(sekisho, load.books)


def check_books(sekisho: Sekisho, books: Books) -> None:
    """Everything acknowledged is in the audit trail; nothing is there that was not tried; the file is sound."""
    acknowledged = Counter(contract for contract, _ in books.accepted)
    assert sum(acknowledged.values()) > 1000
    with contextlib.closing(driver.connect(sekisho.database)) as store:
        written = dict(store.execute("SELECT customer, count(*) FROM audit WHERE event = 'login.accepted' GROUP BY 1"))
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for contract, times in acknowledged.items():
        assert times <= written[contract] <= len(books.tried[contract] - {"000000"})
    assert sekisho.traceback() == ""


def open_files(sekisho: Sekisho) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in sekisho.workers_pids)


def kill_everything(sekisho: Sekisho) -> None:
    sekisho.kill()
    sekisho.start()


def restart(sekisho: Sekisho) -> None:
    assert sekisho.stop() == 0
    sekisho.start()


def kill_a_worker(sekisho: Sekisho) -> None:
    since = len(sekisho.log_text())
    os.kill(sekisho.workers_pids[0], signal.SIGKILL)
    sekisho.wait_for_log("ready", since=since)


def reload(sekisho: Sekisho) -> None:
    since = len(sekisho.log_text())
    assert sekisho.process is not None
    sekisho.process.send_signal(signal.SIGHUP)
    sekisho.wait_for_log("reloaded", times=2, since=since)


def lock_the_store(sekisho: Sekisho) -> None:
    with contextlib.closing(driver.connect(sekisho.database, isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(1)


TROUBLES: list[Callable[[Sekisho], None]] = [kill_everything, restart, kill_a_worker, reload, lock_the_store]
