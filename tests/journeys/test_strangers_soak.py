"""Every attack at every door, and code logins beside them: none is lost, no code is accepted twice, and they are quick.

`make soak` runs ten minutes; SEKISHO_STRANGERS_SECONDS makes it shorter or longer. Logins that wait for a process which
was stopped on purpose (SIGSTOP) are counted apart: they may take longer, and are not lost either.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from otp_core.store.schema import audit
from otp_core.store.sqlite import driver
from tests.journeys import login_stream, strangers
from tests.journeys.attacked_bank import CODE, Bank
from tests.journeys.faults import command
from tests.postgresql import lacks_fsync_alone
from tests.radius_peer import ACCEPT, REJECT
from tests.sekisho import PASSWORD, SECRET, Customer

SECONDS = float(os.environ.get("SEKISHO_STRANGERS_SECONDS", "600"))
RATE = 100.0
CROWD = 4000
"""Nobody's turn comes again within a step of 30 s."""
SETTLE_SECONDS = 3.0
"""After a stopped process goes on, or another took its place, for logins that it had taken."""
ATTACKS = (
    *("slow connections", "handshakes left open", "forms with long names", "hostile links", "sessions"),
    *("soft tokens", "wrong passwords", "datagrams", "frames"),
)
MORE_FILES = 24
"""What threads of the processes open when they first need the store, and keep."""
WARM = 0.4
"""The share of the time after which memory must have found its level."""


@dataclass
class Troubles:
    """What an operator and a machine do meanwhile. ``stopped``: when a process stood still (time.time())."""

    bank: Bank
    seconds: float
    stopped: list[tuple[float, float]] = field(default_factory=list)
    commands: list[tuple[str, float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    flushes: list[float] = field(default_factory=list)
    """Seconds that the disk took for one page, without any server."""

    def start(self) -> None:
        all_of_them = (self.stop_some, self.command_some, self.read_slowly, self.flush_some)
        self.threads = [threading.Thread(target=one) for one in all_of_them]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(120)

    def stop_some(self) -> None:
        """One worker, later the process of the pages; 3 s each."""
        every, roles = min(30.0, self.seconds / 3), ["radius", "web"]
        while not self.over.wait(every):
            (pid, *_), begun = self.bank.pids(roles[0]) or [0], time.time()
            roles.reverse()
            if not pid:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(3)
                os.kill(pid, signal.SIGCONT)
            self.stopped.append((begun, time.time() + SETTLE_SECONDS))

    def command_some(self) -> None:
        number = 0
        while not self.over.wait(min(5.0, self.seconds / 10)):
            number += 1
            customers = self.bank.folder / f"new{number}.csv"
            customers.write_text("contract_id\n" + "".join(f"new{number}-{one}\n" for one in range(200)))
            copy = ["backup", str(self.bank.folder / f"backup{number}.db")]
            is_file = self.bank.store.database.file is not None
            for words in (
                copy if is_file else ["doctor", "--json"],
                ["customer", "list"],
                ["customer", "import", str(customers)],
            ):
                begun = time.time()
                done = command(self.bank, *words)
                self.commands.append((" ".join(words[: 1 if words[0] == "backup" else 2]), begun, time.time()))
                if done.returncode and not lacks_fsync_alone(done.stdout):
                    self.failed.append(f"{words}: {done.stdout[-500:]}{done.stderr[-500:]}")

    def flush_some(self) -> None:
        """What the disk itself takes meanwhile: no login can be quicker."""
        with (self.bank.folder / "probe").open("wb", buffering=0) as probe:
            while not self.over.wait(0.1):
                begun = time.perf_counter()
                os.pwrite(probe.fileno(), bytes(4096), len(self.flushes) % 256 * 4096)
                os.fdatasync(probe.fileno())
                self.flushes.append(time.perf_counter() - begun)

    def read_slowly(self) -> None:
        """Whoever reads the log stands still for 20 s, now and then."""
        still = min(20.0, self.seconds / 4)
        while not self.over.wait(still):
            self.bank.reading.clear()
            self.over.wait(still)
            self.bank.reading.set()


@dataclass(frozen=True)
class Sizes:
    memory_kib: int
    files: int
    log_octets: int


@dataclass
class Report:
    """What was seen. ``logins``: lines of the stream."""

    seconds: float
    logins: list[dict[str, Any]]
    troubles: Troubles
    sizes: list[Sizes]
    attacks: dict[str, int]
    turns: list[tuple[str, float, float]]
    left_open: Counter[str]

    @property
    def firsts(self) -> list[dict[str, Any]]:
        return [one for one in self.logins if not one["replay"]]

    @property
    def lost(self) -> list[dict[str, Any]]:
        return [one for one in self.firsts if one["verdict"] != ACCEPT]

    @property
    def doubled(self) -> list[dict[str, Any]]:
        return [one for one in self.logins if one["replay"] and one["verdict"] == ACCEPT]

    def beside_a_stop(self, one: dict[str, Any]) -> bool:
        return any(begun - 0.1 <= one["sent"] <= end for begun, end in self.troubles.stopped)

    def warm(self) -> Sizes:
        return self.sizes[int(len(self.sizes) * WARM)]

    def told(self) -> str:
        usual = sorted(one["latency"] for one in self.firsts if not self.beside_a_stop(one))
        stopped = sorted(one["latency"] for one in self.firsts if self.beside_a_stop(one))
        kinds = Counter(one["verdict"] for one in self.logins if one["replay"])
        first, warm, last = self.sizes[0], self.warm(), self.sizes[-1]
        return "\n".join(
            [
                f"{self.seconds:.0f} s, load average {os.getloadavg()}",
                f"logins {len(self.firsts)}, lost {len(self.lost)}, doubled {len(self.doubled)} of {dict(kinds)}",
                f"sent again {sum(one['tries'] > 1 for one in self.firsts)}, of these beside a stopped process "
                f"{sum(one['tries'] > 1 and self.beside_a_stop(one) for one in self.firsts)}",
                f"usual: {percentiles(usual)}",
                f"beside a stopped process ({len(self.troubles.stopped)} times): {percentiles(stopped)}",
                f"the disk alone: {percentiles(sorted(self.troubles.flushes), 'flushes')}",
                f"the stream itself was late: {percentiles(sorted(one['late'] for one in self.firsts))}",
                f"memory MiB: {first.memory_kib >> 10} at first, {warm.memory_kib >> 10} warm, "
                f"{max(one.memory_kib for one in self.sizes) >> 10} at most, {last.memory_kib >> 10} at last",
                f"files: {first.files} at first, {max(one.files for one in self.sizes)} at most, "
                f"{dict(self.left_open)} more at rest",
                f"log MiB: {max(one.log_octets for one in self.sizes) >> 20} at most",
                f"attacks {self.attacks}",
                *self.by_turn(),
            ]
        )

    def by_turn(self) -> Iterator[str]:
        """What the logins beside each attack and each command took."""
        took: defaultdict[str, list[float]] = defaultdict(list)
        for name, begun, end in [*self.turns, *self.troubles.commands]:
            took[name] += [
                one["latency"] for one in self.firsts if begun <= one["sent"] < end and not self.beside_a_stop(one)
            ]
        for name, latencies in took.items():
            yield f"  {name}: {percentiles(sorted(latencies))}"


def percentile(ordered: list[float], share: float) -> float:
    """0 for none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def percentiles(ordered: list[float], what: str = "logins") -> str:
    """Milliseconds."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    told = ", ".join(f"{name} {1000 * percentile(ordered, share):.1f}" for name, share in shares.items())
    return f"{len(ordered)} {what}: {told} ms"


@contextmanager
def program(module: Any, facts: object, out: Path) -> Iterator[subprocess.Popen[str]]:
    """A module of the tests as a process of its own, so that neither waits for this one."""
    with out.open("w") as into:
        line = [sys.executable, "-m", module.__name__]
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=into, text=True)
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(facts))
            process.stdin.close()
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(30)


def attacked(folder: Path, seconds: float) -> Report:
    """Logins for so long, with everything that there is beside them."""
    bank = Bank(folder)
    with contextlib.closing(bank):
        crowd, known = bank.crowd(CROWD), [bank.customer(enrolled=False) for _ in range(10)]
        bank.start()
        quiet, troubles = bank.open_files(), Troubles(bank, seconds)
        with (
            program(login_stream, plan(bank, crowd, seconds), folder / "logins") as stream,
            program(strangers, facts(bank, known, seconds), folder / "attacks") as attacks,
        ):
            sizes = list(sizes_until_the_end(bank, stream, troubles))
            attacks.terminate()
            assert (stream.returncode, attacks.wait(60)) == (0, 0)
        logins = [json.loads(line) for line in (folder / "logins").read_text().splitlines()]
        done = json.loads((folder / "attacks").read_text())
        left = left_open(bank, quiet)
        report = Report(seconds, logins, troubles, sizes, done["done"], done["turns"], left)
        print(report.told())
        check_books(bank, crowd, report)
        assert bank.stop() == 0
    assert bank.traceback() == ""
    return report


def sizes_until_the_end(bank: Bank, stream: subprocess.Popen[str], troubles: Troubles) -> Iterator[Sizes]:
    """One for each second in which logins are sent and troubles made."""
    troubles.start()
    try:
        while stream.poll() is None:
            yield Sizes(bank.memory_kib(), bank.open_files().total(), bank.log_octets())
            time.sleep(1)
    finally:
        troubles.end()


def plan(bank: Bank, crowd: list[Customer], seconds: float) -> login_stream.Plan:
    people = [(one.contract_id, login_stream.base32(one.seed)) for one in crowd]
    return {"server": bank.where, "source": CODE, "secret": SECRET, "rate": RATE, "seconds": seconds, "people": people}


def facts(bank: Bank, known: list[Customer], seconds: float) -> strangers.Facts:
    return {
        "radius": bank.where,
        "secret": SECRET,
        "portal": bank.portal,
        "soft_token": bank.soft_token,
        "pam": str(bank.socket),
        "people": [one.contract_id for one in known],
        "password": PASSWORD,
        "turn_seconds": min(5.0, seconds / 20),
    }


def left_open(bank: Bank, quiet: Counter[str]) -> Counter[str]:
    """The files that were not open before the attacks, as soon as they are few, or after some seconds."""
    end = time.monotonic() + 10
    while (more := bank.open_files() - quiet).total() > MORE_FILES and time.monotonic() < end:
        time.sleep(0.2)
    return more


def check_books(bank: Bank, crowd: list[Customer], report: Report) -> None:
    """The audit trail has one accepted login for each that the gateway was told of, and the store is whole."""
    told = Counter(one["customer"] for one in report.logins if one["verdict"] == ACCEPT)
    with bank.store.read() as connection:
        accepted = select(audit.c.customer, func.count()).where(audit.c.event == "login.accepted")
        rows = connection.execute(accepted.group_by(audit.c.customer))
        written = Counter({name: int(times) for name, times in rows})
    if bank.store.database.file is not None:
        with contextlib.closing(driver.connect(bank.database)) as store:
            assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    ours = {one.contract_id for one in crowd}
    assert {one: times for one, times in written.items() if one in ours} == told


def check(report: Report) -> None:
    """What holds however long it takes, and however busy the machine is."""
    assert not report.lost, report.lost[:10]
    assert not report.doubled, report.doubled[:10]
    assert not report.troubles.failed
    assert Counter(one["verdict"] for one in report.logins if one["replay"])[REJECT] > len(report.firsts) / 20
    assert report.left_open.total() <= MORE_FILES, report.left_open
    assert sum(report.attacks.values()) > 1000, report.attacks


def test_whatever_strangers_send_for_some_seconds_no_login_is_lost_and_none_doubled(tmp_path: Path) -> None:
    check(attacked(tmp_path, 20))


@pytest.mark.soak
def test_minutes_of_attacks_at_every_door_with_logins_beside_them(tmp_path: Path) -> None:
    report = attacked(tmp_path, SECONDS)
    check(report)
    assert set(ATTACKS) <= report.attacks.keys()
    usual = sorted(one["latency"] for one in report.firsts if not report.beside_a_stop(one))
    assert percentile(usual, 0.99) < 0.05, report.told()
    assert report.sizes[-1].memory_kib < report.warm().memory_kib * 1.15 + 8192, report.told()
