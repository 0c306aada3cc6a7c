"""Code logins a second on SQLite and on PostgreSQL, and of FreeRADIUS on the same PostgreSQL, all in one run.

`python -m benchmarks.databases [--sekisho build/compiled/bin/sekisho]` takes Debian's PostgreSQL as it is, with fsync
on, on a socket in a folder of its own. All take turns at each level, so that a busy machine slows all of them. What the
processor does is counted for the processes of the contender and of the database together, and the log (WAL) for each
login. No contender is measured before radclient has seen it refuse what it must.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import experiment, machine, packets, probes
from benchmarks.contender import Contender, Running
from benchmarks.freeradius_postgresql import FreeRadiusPostgresql
from benchmarks.load import Aim, LoadGenerator, build
from benchmarks.meter import LOOKED_AT, Customers, Progress, check_replies
from benchmarks.processes import Unusable
from benchmarks.sekisho import Product, Sekisho
from tests.postgresql import Server

LEVELS = (1, 64, 256)  # requests under way
OF_SQLITE, OF_FREERADIUS, ALONE_MS = 0.35, 2.0, 5.0
"""The bars: of our own row on SQLite, of FreeRADIUS on PostgreSQL, and the median of a login that is alone."""
_DATABASE = "sekisho"
_MOST = {1: 2_000, 64: 20_000, 256: 20_000}


class SekishoPostgresql(Sekisho):
    """The product with its store on PostgreSQL."""

    name = "sekisho-postgresql"
    title = "Sekisho, PostgreSQL"
    lacks = "a round trip to the database for each statement of a batch"


class Run(NamedTuple):
    """`rate`: logins a second; `cpu_us`, `wal`: microseconds of processor and octets of log a login."""

    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float
    wal: float


class Lane(NamedTuple):
    """One contender that runs. ``database``: the server whose work counts with it."""

    contender: Contender
    running: Running
    customers: Customers
    database: Server | None


def main(words: Sequence[str] | None = None) -> int:
    parser = experiment.parser("databases", __doc__, rounds=5, seconds=2.0)
    parser.add_argument("--customers", type=int, default=100_000, metavar="N", help="customers and tokens (100000)")
    options = parser.parse_args(words)

    def measured(folder: Path, product: Product) -> dict[str, Any]:
        with ExitStack() as stack:
            facts = machine.facts(folder)
            lanes = _started(stack, folder, product.program, options.customers)
            return _results(facts, _measure(LoadGenerator(folder), lanes, options.rounds, options.seconds))

    results = experiment.carry_out("databases", options, measured)
    if results is not None:
        _print(results)
    return experiment.exit_code(results)


def _started(stack: ExitStack, folder: Path, program: Path, customers: int) -> list[Lane]:
    for place in (folder, folder.parent):
        place.chmod(0o755)  # the database runs as a user of its own
    (folder / "pg").mkdir()
    server = Server(folder / "pg").create().start()
    stack.callback(server.stop)
    server.create_database(_DATABASE)
    lanes = []
    for contender, database in (
        (Sekisho(_product(folder / "on-sqlite", program)), None),
        (SekishoPostgresql(_product(folder / "on-postgresql", program, server.url(_DATABASE))), server),
        (FreeRadiusPostgresql(server), server),
    ):
        place = folder / contender.name
        place.mkdir()
        running = stack.enter_context(contender.start(place, customers))
        probes.demand(contender, running.door, customers)
        lanes.append(Lane(contender, running, Customers(range(customers - probes.CUSTOMERS)), database))
        print(f"# {contender.title}: {customers:,} customers; answers every probe as it must", file=sys.stderr)
    return lanes


def _product(folder: Path, program: Path, url: str | None = None) -> Product:
    folder.mkdir()
    return Product(folder, program, url)


def _measure(
    generator: LoadGenerator, lanes: Sequence[Lane], rounds: int, seconds: float
) -> dict[str, dict[int, list[Run]]]:
    found: dict[str, dict[int, list[Run]]] = {lane.contender.title: {level: [] for level in LEVELS} for lane in lanes}
    progress = Progress(rounds * len(LEVELS) * len(lanes))
    for number in range(-1, rounds):  # the first one is not counted: it warms up
        for level in LEVELS:
            for lane in (*lanes[number % len(lanes) :], *lanes[: number % len(lanes)]):
                run = _run(generator, lane, level, seconds)
                if number >= 0:
                    found[lane.contender.title][level].append(run)
                    progress.done(
                        f"{level:3d} under way  {lane.contender.title}: {run.rate:,.0f}/s, {run.cpu_us:.0f} us CPU, "
                        f"p50 {run.p50_us / 1000:.2f} ms, p99 {run.p99_us / 1000:.2f} ms"
                    )
    return found


def _run(generator: LoadGenerator, lane: Lane, level: int, seconds: float) -> Run:
    taken, step, at = lane.customers.take(_MOST[level], seconds)
    aim = Aim(lane.running.door, outstanding=level, seconds=seconds, timeout=5.0)
    datagrams = build(aim, [lane.contender.credential(one, step) for one in taken])
    time.sleep(max(0.2, at - time.time()))
    cpu, wal = _cpu(lane), _wal(lane.database)
    load, replies = generator.start(aim, datagrams, keep=LOOKED_AT).finish()
    cpu, wal = _cpu(lane) - cpu, _wal(lane.database) - wal
    check_replies(replies, datagrams, aim.door, {packets.ACCEPT, packets.REJECT})
    if load.accepted < load.sent:
        raise Unusable(f"{lane.contender.title}: {load.accepted:,} of {load.sent:,} accepted")
    done = load.accepted
    return Run(done / load.elapsed_s, load.p50_us, load.p99_us, cpu / done * 1e6, wal / done)


def _cpu(lane: Lane) -> float:
    """Seconds of processor that the contender and its database have used so far."""
    pids = lane.database.pids if lane.database else []
    return lane.running.process.cpu_seconds() + sum(_seconds_of(pid) for pid in pids)


def _seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100


def _wal(server: Server | None) -> int:
    if server is None:
        return 0
    with server.connect("postgres") as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    return int(str(row[0])) if row else 0


def _results(facts: dict[str, Any], found: dict[str, dict[int, list[Run]]]) -> dict[str, Any]:
    rows = [
        {"contender": title, "under_way": level, **_medians(runs)._asdict()}
        for title, levels in found.items()
        for level, runs in levels.items()
    ]
    ours, peer, file = (found[one.title] for one in (SekishoPostgresql, FreeRadiusPostgresql, Sekisho))
    ratios = {
        level: {"of_sqlite": _ratio(ours[level], file[level]), "of_freeradius": _ratio(ours[level], peer[level])}
        for level in LEVELS
    }
    met = _medians(ours[1]).p50_us < ALONE_MS * 1000 and all(
        ratios[level]["of_sqlite"] >= OF_SQLITE and ratios[level]["of_freeradius"] >= OF_FREERADIUS
        for level in LEVELS
        if level > 1
    )
    return {"machine": facts, "rows": rows, "ratios": ratios, "met": met}


def _medians(runs: Sequence[Run]) -> Run:
    return Run(*(statistics.median(column) for column in zip(*runs, strict=True)))


def _ratio(runs: Sequence[Run], others: Sequence[Run]) -> float:
    return statistics.median(one.rate / other.rate for one, other in zip(runs, others, strict=True))


def _print(results: dict[str, Any]) -> None:
    print(f"{'':>24} {'under way':>9} {'logins/s':>9} {'p50 ms':>7} {'p99 ms':>7} {'CPU us':>7} {'WAL':>6}")
    for row in sorted(results["rows"], key=lambda row: int(row["under_way"])):
        print(
            f"{row['contender']:>24} {row['under_way']:>9} {row['rate']:>9,.0f} {row['p50_us'] / 1000:>7.2f}"
            f" {row['p99_us'] / 1000:>7.2f} {row['cpu_us']:>7.0f} {row['wal']:>6,.0f}"
        )
    for level, ratio in results["ratios"].items():
        print(f"{level:>4} under way: {ratio['of_sqlite']:.2f} of SQLite, {ratio['of_freeradius']:.2f} of FreeRADIUS")
    print(
        f"target: {OF_SQLITE} and {OF_FREERADIUS} with 64 and 256 under way, p50 alone under {ALONE_MS:.0f} ms: "
        f"{'met' if results['met'] else 'missed'}"
    )


if __name__ == "__main__":
    sys.exit(main())
