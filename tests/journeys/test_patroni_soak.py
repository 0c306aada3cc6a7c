"""Three machines with Patroni, as docs/postgresql.md sets them up, and every fault of its table, under load. For root:
network namespaces. `make soak` kills the primary 20 times; SEKISHO_KILLS makes it fewer or more.

What has to hold through all of it: no code is accepted twice, no acknowledged login is lost, nobody is refused, nothing
is restarted. How long there was silence is printed, and written into build/patroni-soak.txt.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from otp_core.audit import Ids
from otp_core.store.postgresql.address import with_files
from otp_core.store.store import initialise
from tests.patroni import PASSWORDS, PROGRAMS, Machine, Machines, machines
from tests.postgresql import programs
from tests.radius_peer import ACCEPT, REJECT, Peers, access_request, names
from tests.sekisho import SECRET, Customer, Sekisho, client_table

KILLS = int(os.environ.get("SEKISHO_KILLS", "20"))
CODE = "127.0.1.1"
CLIENTS = "request_seconds = 3.0\n" + client_table("code", CODE, "code")
GATEWAYS, CUSTOMERS, PAUSE = 8, 2400, 0.1
"""Threads, each with its share of the customers; seconds between two logins of one."""
TRIED_AGAIN = 60
"""Codes of around each fault that are tried by another request."""
GIVE_UP = 28.0
"""Seconds: before a code is too old."""
WITHIN = 3.0
"""Seconds behind the database's own recovery until logins are answered again."""
REPORT = Path(__file__).parent.parent.parent / "build/patroni-soak.txt"
WITHOUT_STANDBYS, WITHOUT_ETCD = 5.0, 60.0
"""Seconds."""


@dataclass(frozen=True)
class Login:
    customer: Customer
    code: str
    verdict: str
    at: float
    """When it was answered, by time.monotonic()."""


@dataclass
class Load:
    """Gateways that go on all the while. Each asks the one node, and the other one where that is silent."""

    nodes: list[Sekisho]
    customers: list[Customer]
    answered: list[Login] = field(default_factory=list)
    unknown: list[Customer] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    """Customers whose codes were tried again: they log in no more, because that is counted."""
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(GATEWAYS)]

    def __enter__(self) -> Load:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for one in self._threads:
            one.join(60)

    def _run(self, number: int) -> None:
        mine, used = self.customers[number::GATEWAYS], dict[str, str]()
        order = self.nodes if number % 2 else self.nodes[::-1]
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(Peers(node.where, 1, CODE)) for node in order]
            while True:
                for customer in mine:
                    if self.ended.wait(PAUSE):
                        return
                    code = customer.code()
                    if customer.contract_id in self.left or used.get(customer.contract_id) == code:
                        continue
                    used[customer.contract_id] = code
                    self._log_in(peers, customer, code)

    def _log_in(self, peers: list[Peers], customer: Customer, code: str) -> None:
        packet, end, tries = access_request(customer.contract_id, code, secret=SECRET), time.monotonic() + GIVE_UP, 0
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                reply = peers[tries // 2 % 2].ask(packet, wait=1.0)
                if reply is not None:
                    self.answered.append(Login(customer, code, reply.name, reply.at))
                    return
            tries += 1
        self.unknown.append(customer)


@dataclass
class Soak:
    machines: Machines
    nodes: list[Sekisho]
    load: Load
    lines: list[str] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def fault(
        self, name: str, *, heal: Callable[[], object] = lambda: None, primary_fails: bool = True
    ) -> Iterator[None]:
        """What happens inside takes the primary away; at the end the database and the logins are back. ``heal``: then
        what had failed comes back."""
        self._answered_until(time.monotonic() + 1.0)
        begun = time.monotonic()
        with FirstWrite(self.machines) as write:
            yield
            recovered = write.at() if primary_fails else begun
        first = self._answered_until(max(recovered, time.monotonic()) if primary_fails else begun + 3.0)
        times = sorted(one.at for one in self.load.answered if one.at > begun - 1.0)
        silence = max(later - earlier for earlier, later in itertools.pairwise(times))
        first = min(one for one in times if one > recovered)
        self.lags.append(first - recovered)
        self.silences.append(silence)
        self._say(
            f"{name}: {silence:.1f} s without an answer; the database was back after {recovered - begun:.1f} s, and "
            f"the next login was answered {first - recovered:.1f} s later"
        )
        heal()
        self._try_again(begun - 2.0)

    def _say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def wait_for_silence(self) -> None:
        """Until nobody has been answered for two seconds."""
        end = time.monotonic() + 120
        while time.monotonic() < self.load.answered[-1].at + 2:
            assert time.monotonic() < end, "logins go on"
            time.sleep(0.1)

    def _answered_until(self, until: float) -> float:
        """Wait for an answer behind this moment."""
        end = time.monotonic() + 60
        while True:
            if self.load.answered and (at := self.load.answered[-1].at) > until:
                return at
            assert time.monotonic() < end, "\n".join(node.log_text()[-2000:] for node in self.nodes)
            time.sleep(0.02)

    def _try_again(self, since: float) -> None:
        """Codes that were accepted around a fault, by other requests at both nodes."""
        logins = [
            one for one in self.load.answered if one.at > since and one.customer.contract_id not in self.load.left
        ]
        logins = logins[:TRIED_AGAIN]
        self.load.left |= {one.customer.contract_id for one in logins}
        for node in self.nodes:
            again = [access_request(one.customer.contract_id, one.code, secret=SECRET) for one in logins]
            verdicts, end = set[str](), time.monotonic() + GIVE_UP
            with Peers(node.where, 4, CODE) as peers:
                while REJECT not in verdicts and time.monotonic() < end:  # one of the two may be silent for longer
                    verdicts |= set(names(peers.ask_all(again, wait=20)))
            assert REJECT in verdicts and ACCEPT not in verdicts, f"a code is accepted once: {verdicts}"


class FirstWrite:
    """When the database takes a write again, and replicates it: asked of all machines, without Sekisho."""

    def __init__(self, at: Machines) -> None:
        self._machines, self._ended, self._written = at.all, threading.Event(), list[float]()
        self._found = threading.Event()

    def __enter__(self) -> FirstWrite:
        self._before = time.monotonic()
        return self

    def at(self) -> float:
        """Ask, until one has it."""
        for one in self._machines:
            threading.Thread(target=self._ask, args=(one,), daemon=True).start()
        assert self._found.wait(120), "the database does not come back"
        return min(self._written)

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _ask(self, machine: Machine) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(psycopg.Error):
                machine.ask("CREATE TABLE IF NOT EXISTS asked (at timestamptz); INSERT INTO asked VALUES (now())")
                self._written.append(time.monotonic())
                self._found.set()
                return
            self._ended.wait(0.05)


@pytest.fixture
def soak(tmp_path: Path) -> Iterator[Soak]:
    assert os.geteuid() == 0, "network namespaces take root"
    assert PROGRAMS.exists(), "make build/patroni/bin/patroni"
    assert programs().parts[4] == "15", "docs/postgresql.md names the programs of 15"
    with machines() as at, contextlib.ExitStack() as stack:
        nodes = [opened(tmp_path / f"node{number}", at) for number in (1, 2)]
        for node in nodes:
            stack.callback(node.close)
            node.spawn()
            node.wait_for_log("serving", seconds=90)
        children = [node.children for node in nodes]
        with Load(nodes, nodes[0].crowd(CUSTOMERS)) as load:
            made = Soak(at, nodes, load)
            yield made
        for node, before in zip(nodes, children, strict=True):
            assert node.children == before, f"restarted: {node.log_text()[-4000:]}"
        assert [node.traceback() for node in nodes] == ["", ""]
        _compare(made)


def opened(folder: Path, at: Machines) -> Sekisho:
    """A node, and with the first one the store: made by the role that owns it, served by one that can change no
    table."""
    folder.mkdir()
    addresses = {}
    for user, name in (("sekisho_owner", "OWNER-PASSWORD"), ("sekisho", "SERVING-PASSWORD")):
        (folder / user).write_text(PASSWORDS[name])
        (folder / user).chmod(0o600)
        addresses[user] = with_files(at.url(user), folder / user, at.authority.file)
    key = folder.with_name("node1") / "master.key"
    if folder.name == "node1":
        initialise(addresses["sekisho_owner"], key, ids=Ids(), say=lambda _: None)
    else:
        shutil.copy(key, folder)
    return Sekisho(folder, CLIENTS, workers=2, database_url=addresses["sekisho"])


def _compare(soak: Soak) -> None:
    """What was told with what is stored."""
    load = soak.load
    told = Counter(one.customer.contract_id for one in load.answered if one.verdict == ACCEPT)
    kept = Counter(row.customer for row in soak.nodes[0].audit(event="login.accepted"))
    unknown = Counter(one.contract_id for one in load.unknown)
    lost = {name: number for name, number in told.items() if kept[name] < number}
    twice = {name: number for name, number in kept.items() if number > told[name or ""] + unknown[name or ""]}
    refused = [one for one in load.answered if one.verdict != ACCEPT]
    soak._say(
        f"{len(load.answered)} logins answered, {len(lost)} acknowledged ones lost, {len(twice)} codes accepted twice, "
        f"{len(refused)} refused, {len(load.unknown)} given up; longest silence {max(soak.silences):.1f} s, longest "
        f"time behind the database's own recovery {max(soak.lags):.1f} s"
    )
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join(soak.lines) + "\n")
    assert (lost, twice, refused) == ({}, {}, [])
    assert max(soak.lags) < WITHIN


@pytest.mark.soak
def test_no_fault_of_three_machines_has_a_code_accepted_twice_or_a_login_lost(soak: Soak) -> None:
    at = soak.machines
    for number in range(KILLS):
        leader = at.wait_until_whole()
        with soak.fault(f"primary killed ({number + 1})" + ("" if number else ", its lock lapses by itself")):
            leader.kill()
            if number:
                at.forget_leader()
        leader.start_patroni()

    leader = at.wait_until_whole()
    standby = next(one for one in at.all if one is not leader)
    with soak.fault("standby killed", primary_fails=False):
        standby.kill()
    standby.start_patroni()

    leader = at.wait_until_whole()
    first, second = (one for one in at.all if one is not leader)
    with soak.fault("both standbys killed, one back after a while"):
        first.kill()
        second.kill()
        soak.wait_for_silence()
        answered = len(soak.load.answered)
        time.sleep(WITHOUT_STANDBYS)
        assert len(soak.load.answered) == answered, "acknowledged on one disk alone"
        first.start_patroni()
    second.start_patroni()

    leader = at.wait_until_whole()
    with soak.fault("etcd gone for a minute", primary_fails=False, heal=at.start_etcd):
        at.stop_etcd()
        time.sleep(WITHOUT_ETCD)
        assert leader.role == "primary", "failsafe_mode: it reaches both standbys"
    assert soak.silences[-1] < WITHIN

    leader = at.wait_until_whole()
    paused: list[int] = []
    with soak.fault("primary paused", heal=lambda: leader.wake(paused)):
        paused += leader.pause()

    leader = at.wait_until_whole()
    with contextlib.ExitStack() as cut, soak.fault("primary cut off from everybody", heal=cut.close):
        cut.enter_context(leader.cut_off())

    leader = at.wait_until_whole()
    others = [one.address for one in at.all if one is not leader]
    with contextlib.ExitStack() as cut, soak.fault("primary cut off from the others, not from Sekisho", heal=cut.close):
        cut.enter_context(leader.cut_off(*others))

    leader = at.wait_until_whole()
    with soak.fault("disk of the primary full"), leader.full_disk():
        soak.wait_for_silence()
    at.wait_until_whole()
