"""A long audit trail: how quickly a customer's rows are found in it, and what logins notice while it is exported and
dropped.

    .venv/bin/python -m benchmarks.long_trail [--rows 20000000] [--engine sqlite|postgresql] [--folder FOLDER]

The rows are spread over two years and written into the table directly; seals and look-up tables are made by the
product's own code. Then a server with two workers serves; rounds of logins without and with a command beside them take
turns, because a machine that others use too slows both.
"""

import argparse
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import tokens
from benchmarks.load import Aim, Credential, Door, LoadGenerator, build
from benchmarks.sekisho import Product, Serving
from otp_core.audit import TAG_BITS, Event, Ids
from otp_core.seals.keys import create_seal_key
from otp_core.seals.sealer import Sealer
from otp_core.store.audit_lookup import look
from otp_core.store.lookup_task import LookupTask
from otp_core.store.queries import AuditFilter
from otp_core.store.sqlite import driver
from otp_core.store.store import Store
from tests.postgresql import Server

PEOPLE, DAYS = 100_000, 730
"""Whom the rows are about."""

CUSTOMERS, ROUNDS, LOGINS, UNDER_WAY = 20_000, 5, 2000, 64
"""Who is in the store, and logs in."""

TAIL = 60_000
"""Rows that no look-up table has yet: a minute of a thousand logins a second."""
_DATABASE = "sekisho"
_AT_ONCE = 100_000
_COLUMNS = "id, event, actor, customer, token, source, reason"
_SECTION = '[audit]\nseal_key_file = "audit.key"\n'


class Run(NamedTuple):
    """Logins a second, and how long they took."""

    rate: float
    p50_us: int
    p99_us: int


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sekisho", type=Path, default=Product.installed())
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--folder", type=Path, default=None, help="where there is room: 250 octets a row")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sekisho-trail-", dir=given.folder) as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        server = None
        if given.engine == "postgresql":
            (folder / "pg").mkdir()
            server = Server(folder / "pg", "shared_buffers=1GB", "max_wal_size=4GB").create().start()
            stack.callback(server.stop)
            server.create_database(_DATABASE)
        product = Product(folder, given.sekisho, None if server is None else server.url(_DATABASE))
        filled = product.store(CUSTOMERS)
        create_seal_key(filled.folder / "audit.key")
        url = f"sqlite:///{filled.folder / 's.db'}" if server is None else server.url(_DATABASE)
        fill(url, filled.folder, given.rows, server)
        find(url, filled.folder)
        serving = stack.enter_context(product.serve(filled, folder / "served", _SECTION, workers=2))
        beside(serving, [str(given.sekisho), "--config", str(folder / "served" / "sekisho.toml"), "audit"], folder)


def fill(url: str, folder: Path, rows: int, server: Server | None) -> None:
    """The trail, its seals and its look-up tables."""
    begun = time.monotonic()

    def said(what: str) -> None:
        print(f"{what} after {time.monotonic() - begun:,.0f} s", flush=True)

    written = trail(rows)
    if server is None:
        connection = driver.connect(str(folder / "s.db"), isolation_level=None)
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("DELETE FROM audit")
        while some := list(islice(written, _AT_ONCE)):
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", some)  # noqa: S608  constants
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    else:
        with server.connect(_DATABASE) as plain:
            plain.execute("DELETE FROM audit")
            with plain.cursor().copy(f"COPY audit ({_COLUMNS}) FROM STDIN") as copy:
                for row in written:
                    copy.write_row(row)
    said(f"{rows:,} rows")
    store = Store(url, folder / "master.key", ids=Ids(), busy_seconds=5.0)
    sealer = Sealer(store.seals(), folder / "audit.key", None, lambda: int(time.time() * 1000))
    while sealer.seal():
        pass
    sealer.close()
    said(f"{sealer.made:,} seals")
    task, now = LookupTask(store, lambda: 0), int(time.time() * 1000)
    while task.step(now):
        pass
    said("look-up tables")
    if server is not None:
        with server.connect(_DATABASE) as plain:
            plain.execute("VACUUM ANALYZE")
        said("vacuum")
    store.engine.dispose()


def trail(rows: int) -> Iterator[tuple[Any, ...]]:
    """Logins of two years up to now, evenly spread."""
    end, drawn = int(time.time() * 1_000_000), random.Random(7)
    apart = DAYS * 86_400_000_000 // rows
    people = [(tokens.contract_id(number), tokens.token_id(number)) for number in range(PEOPLE)]
    for number in range(rows):
        customer, token = people[int(drawn.random() * PEOPLE)]
        id_ = (end - (rows - number) * apart) << TAG_BITS | 5
        wrong = number % 16 == 0
        event, reason = ("login.rejected", "wrong code") if wrong else ("login.accepted", "correct code")
        yield id_, event, "gateway", customer, token, "192.0.2.10", reason


def find(url: str, folder: Path) -> None:
    """The newest page of a customer, and all that there is of them: with rows in the look-up tables alone, then with
    some behind them too."""
    store = Store(url, folder / "master.key", ids=Ids(), busy_seconds=5.0)
    customers = [tokens.contract_id(random.Random(number).randrange(PEOPLE)) for number in range(200)]
    for tail in (0, TAIL):
        if tail:
            with store.work() as work:
                for begin in range(0, tail, _AT_ONCE // 10):
                    rows = [
                        work.audit_row(
                            Event.LOGIN_ACCEPTED,
                            actor="gateway",
                            customer=customers[one % 200] if one % 300 == 0 else "x",
                        )
                        for one in range(begin, min(tail, begin + _AT_ONCE // 10))
                    ]
                    work.audit_all(rows)
        with store.read() as connection:
            for what, limit, names in (
                ("newest 50 of a customer", 50, customers),
                ("all of a customer", 100_000, customers),
                ("of somebody who is not there", 50, [f"nobody{number}" for number in range(50)]),
            ):
                took, found = [], 0
                for name in names:
                    begun = time.perf_counter()
                    found += len(look(connection, AuditFilter(customer=name), limit=limit, newest_first=True).rows)
                    took.append((time.perf_counter() - begun) * 1000)
                took.sort()
                print(
                    f"tail of {tail:,} rows: {what}: {found / len(names):.0f} rows, median "
                    f"{took[len(took) // 2]:.1f} ms, p99 {took[int(len(took) * 0.99)]:.1f} ms",
                    flush=True,
                )
    store.engine.dispose()


def beside(serving: Serving, command: list[str], folder: Path) -> None:
    """Logins without and with a command beside them."""
    generator, customers = LoadGenerator(folder), count()
    older = (datetime.now(UTC) - timedelta(days=DAYS - 30)).date()
    middle = (datetime.now(UTC) - timedelta(days=DAYS // 2)).date()
    door = serving.doors["code"]
    _run(generator, door, customers)

    def rounds(what: str, start: Callable[[], "subprocess.Popen[bytes]"]) -> None:
        found: dict[bool, list[Run]] = {False: [], True: []}
        for number in range(ROUNDS):
            for busy in (False, True) if number % 2 == 0 else (True, False):
                process = start() if busy else None
                if process is not None:
                    time.sleep(2)  # Python's start is not what is measured
                found[busy].append(_run(generator, door, customers))
                if process is not None:
                    print(f"{what}: under way still: {process.poll() is None}", flush=True)
                    process.send_signal(signal.SIGINT)
                    process.wait(60)
        for busy, runs in found.items():
            rate, p50, p99 = (statistics.median(column) for column in zip(*runs, strict=True))
            print(
                f"{'with   ' if busy else 'without'} {what}: {rate:,.0f} logins/s, p50 {p50 / 1000:.1f} ms, p99 "
                f"{p99 / 1000:.1f} ms",
                flush=True,
            )

    def started(*words: str) -> Callable[[], "subprocess.Popen[bytes]"]:
        pipe = subprocess.DEVNULL
        return lambda: subprocess.Popen([*command, *words], stdout=pipe, stderr=pipe)

    rounds("export", started("export", "--until", str(middle), str(folder / "half.jsonl.gz")))
    file = str(folder / "old.jsonl.gz")
    for number, until in enumerate((older, middle)):
        begun = time.monotonic()
        said = subprocess.run(
            [*command, "export", "--until", str(until), file, "--replace"], check=True, capture_output=True, text=True
        )
        print(f"exported in {time.monotonic() - begun:.0f} s: {said.stdout}", flush=True)
        print(f"{Path(file).stat().st_size / 1e6:,.0f} MB", flush=True)
        words = ("drop", "--until", str(until), "--export", file, "--yes")
        if number:
            rounds("drop", started(*words))
        begun = time.monotonic()
        said = subprocess.run([*command, *words], check=False, capture_output=True, text=True)
        print(f"dropped in {time.monotonic() - begun:.0f} s: {said.stdout} {said.stderr}", flush=True)
    begun = time.monotonic()
    said = subprocess.run([*command, "verify"], check=False, capture_output=True, text=True)
    print(f"verified in {time.monotonic() - begun:.0f} s: {said.stdout} {said.stderr}", flush=True)


def _run(generator: LoadGenerator, door: Door, customers: Iterator[int]) -> Run:
    left = tokens.STEP_SECONDS - time.time() % tokens.STEP_SECONDS
    if left < 8:
        time.sleep(left + 0.1)
    step = int(time.time() // tokens.STEP_SECONDS)
    credentials = [
        Credential(tokens.contract_id(one % CUSTOMERS), tokens.code(tokens.seed(one % CUSTOMERS), step))
        for one in islice(customers, LOGINS)
    ]
    aim = Aim(door, outstanding=UNDER_WAY, seconds=60, timeout=5)
    load, _ = generator.start(aim, build(aim, credentials)).finish()
    if load.accepted != LOGINS:
        raise SystemExit(f"{load.accepted:,} of {LOGINS:,} accepted: {load}")
    return Run(load.rate, load.p50_us, load.p99_us)


if __name__ == "__main__":
    main()
