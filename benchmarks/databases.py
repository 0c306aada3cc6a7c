"""Code logins a second on SQLite and on PostgreSQL, beside each other: the same command, two workers, one machine.

`python -m benchmarks.databases [--sekisho build/compiled/bin/sekisho]` takes Debian's PostgreSQL as it is, with fsync
on, on a socket in a folder of its own. Each level is run on both in turn, so that a busy machine slows both. What the
processor does is counted for all processes of the product and of the server together, and the log (WAL) for each login.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from benchmarks import tokens
from benchmarks.load import Aim, Credential, Door, LoadGenerator, build
from benchmarks.processes import Process
from benchmarks.sekisho import Product
from tests.postgresql import Server

_LEVELS = {1: 400, 64: 4000, 256: 4000}  # requests under way, logins of a run
_DATABASE = "sekisho"


class Run(NamedTuple):
    """`rate`: logins a second; `cpu_us`: microseconds of processor a login."""

    rate: float
    p50_us: int
    p99_us: int
    cpu_us: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sekisho", type=Path, default=Product.installed())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--customers", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sekisho-databases-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "pg").mkdir()
        server = Server(folder / "pg").create().start()
        stack.callback(server.stop)
        server.create_database(_DATABASE)
        generator, found = LoadGenerator(folder), dict[tuple[str, int], list[Run]]()
        serving = {}
        for engine, url in (("SQLite", None), ("PostgreSQL", server.url(_DATABASE))):
            (folder / engine).mkdir()
            product = Product(folder / engine, given.sekisho, url)
            store = product.store(given.customers)
            print(f"{engine}: {given.customers:,} customers imported in {store.customer_import_s:.0f} s", flush=True)
            serving[engine] = stack.enter_context(product.serve(store, folder / engine / "served", workers=2))
        customers = {engine: count() for engine in serving}
        octets, logins = _wal(server), 0
        for _ in range(given.runs):
            for level, number in _LEVELS.items():
                for engine, one in serving.items():
                    begun = _cpu(one.process, server)
                    run = _run(generator, one.doors["code"], customers[engine], level, number)
                    run = run._replace(cpu_us=(_cpu(one.process, server) - begun) / number * 1e6)
                    found.setdefault((engine, level), []).append(run)
                    logins += number if engine == "PostgreSQL" else 0
        print(f"{'':>12} {'under way':>9} {'logins/s':>9} {'p50 ms':>7} {'p99 ms':>7} {'CPU us':>7}")
        for (engine, level), runs in sorted(found.items(), key=lambda item: item[0][1]):
            rate, p50, p99, cpu = (statistics.median(column) for column in zip(*runs, strict=True))
            print(f"{engine:>12} {level:>9} {rate:>9,.0f} {p50 / 1000:>7.2f} {p99 / 1000:>7.2f} {cpu:>7.0f}")
        print(f"WAL: {(_wal(server) - octets) / logins:,.0f} octets a login")


def _run(generator: LoadGenerator, door: Door, customers: Iterator[int], level: int, number: int) -> Run:
    left = tokens.STEP_SECONDS - time.time() % tokens.STEP_SECONDS
    if left < 5:
        time.sleep(left + 0.1)
    step = int(time.time() // tokens.STEP_SECONDS)
    credentials = [
        Credential(tokens.contract_id(one), tokens.code(tokens.seed(one), step)) for one in islice(customers, number)
    ]
    aim = Aim(door, outstanding=level, seconds=60, timeout=5)
    load, _ = generator.start(aim, build(aim, credentials)).finish()
    if load.accepted != number:
        raise SystemExit(f"{load.accepted:,} of {number:,} accepted: {load}")
    return Run(load.rate, load.p50_us, load.p99_us, 0.0)


def _cpu(process: Process, server: Server) -> float:
    """Seconds of processor that the product and the server have used so far, those of ended processes included."""
    return process.cpu_seconds() + sum(_seconds_of(pid) for pid in server.pids)


def _seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100


def _wal(server: Server) -> int:
    with server.connect("postgres") as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    return int(str(row[0])) if row else 0


if __name__ == "__main__":
    main()
