"""What the seals of the audit trail cost a login, and how long the verification of a long trail takes.

    .venv/bin/python -m benchmarks.seals [--sekisho COMPILED] [--rows 1000000]

Two servers over copies of one store, one with [audit] and one without, take turns; the server's processor time until a
moment after the last reply is compared, because a busy machine leaves it nearly as it is.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import packets, tokens
from benchmarks.load import Aim, LoadGenerator, build
from benchmarks.meter import LOOKED_AT, Customers, Progress, check_replies
from benchmarks.sekisho import Product, Sekisho, Serving
from otp_core.audit import TAG_BITS
from otp_core.store.sqlite import driver

CUSTOMERS, ROUNDS, SECONDS, MOST = 40_000, 8, 2.0, 15_000
UNDER_WAY = 64
_AFTERWARDS = 1.6
"""Seconds in which the last rows of a run are sealed."""
_SECTION = '[audit]\nseal_key_file = "audit.key"\nseal_copy = "{folder}/seals"\n'


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sekisho", type=Path, default=None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sekisho-seals-") as name:
        folder = Path(name)
        product = Product(folder, options.sekisho)
        logins(product, folder)
        verification(product, folder, options.rows)


def logins(product: Product, folder: Path) -> None:
    """Pairs of runs: with seals, and without."""
    progress, sekisho, store = Progress(2 * ROUNDS), Sekisho(product), product.store(CUSTOMERS)
    generator = LoadGenerator(folder)
    cpu: dict[str, list[float]] = {"without": [], "with": []}
    rates: dict[str, list[float]] = {"without": [], "with": []}
    with ExitStack() as stack:
        servers: dict[str, tuple[Serving, Customers]] = {}
        for kind in cpu:
            place = folder / kind
            place.mkdir()
            more = _SECTION.format(folder=place) if kind == "with" else ""
            if more:
                _make_key(place)
            serving = stack.enter_context(product.serve(store, place, more, workers=2))
            servers[kind] = serving, Customers(range(CUSTOMERS))
        for number in range(ROUNDS):
            for kind in ("without", "with") if number % 2 == 0 else ("with", "without"):
                rate, micros = _run(generator, *servers[kind], sekisho)
                cpu[kind].append(micros)
                rates[kind].append(rate)
                progress.done(f"{kind} seals: {rate:,.0f}/s, {micros:.1f} us CPU a login")
    for kind in cpu:
        print(f"{kind}: {statistics.median(rates[kind]):,.0f}/s, {statistics.median(cpu[kind]):.1f} us CPU a login")
    costs = [one - other for one, other in zip(cpu["with"], cpu["without"], strict=True)]
    base = statistics.median(cpu["without"])
    print(f"seals cost {statistics.median(costs):.2f} us a login ({100 * statistics.median(costs) / base:.1f} %)")


def _run(generator: LoadGenerator, serving: Serving, customers: Customers, sekisho: Sekisho) -> tuple[float, float]:
    aim = Aim(serving.doors["code"], outstanding=UNDER_WAY, seconds=SECONDS)
    taken, step, at = customers.take(MOST, SECONDS)
    datagrams = build(aim, [sekisho.credential(number, step) for number in taken])
    time.sleep(max(0.2, at - time.time()))
    before = serving.process.cpu_seconds()
    load, replies = generator.start(aim, datagrams, keep=LOOKED_AT).finish()
    time.sleep(_AFTERWARDS)
    cpu = serving.process.cpu_seconds() - before
    check_replies(replies, datagrams, aim.door, {packets.ACCEPT, packets.REJECT})
    return load.accepted / load.elapsed_s, cpu * 1e6 / load.accepted


def _make_key(place: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(place / "audit.key")]
    subprocess.run(command, check=True, capture_output=True)
    (place / "audit.key").chmod(0o600)


def verification(product: Product, folder: Path, rows: int) -> None:
    """A trail of so many rows, sealed by a server at its first start."""
    place = folder / "long"
    place.mkdir()
    _make_key(place)
    store = product.store(1000)
    with driver.connect(str(store.folder / "s.db")) as connection:
        begin = int(time.time() * 1e6) - rows * 1000
        connection.execute("DELETE FROM audit")
        connection.executemany(
            "INSERT INTO audit (id, event, actor, customer, token, source, reason)"
            " VALUES (?, 'login.accepted', 'gateway', ?, ?, '192.0.2.10', 'correct code')",
            ((begin + n * 1000 << TAG_BITS | 5, tokens.contract_id(n), tokens.token_id(n)) for n in range(rows)),
        )
    connection.close()
    with product.serve(store, place, _SECTION.format(folder=place)) as serving:
        begun = time.monotonic()
        trail = driver.connect(f"file:{place / 's.db'}?mode=ro", uri=True)
        while trail.execute("SELECT coalesce(max(until_id), 0) < ? FROM seal", (begin << TAG_BITS,)).fetchone()[0]:
            time.sleep(0.05)
        total = "SELECT coalesce(sum(json_extract(body, '$.rows')), 0) FROM seal"
        while (done := trail.execute(total).fetchone()[0]) < rows:
            time.sleep(0.2)
        print(f"sealed {done:,} rows of before in {time.monotonic() - begun:.1f} s")
        trail.close()
        command = [str(product.program), "--config", str(place / "sekisho.toml"), "audit"]
        exported, public = str(place / "trail.jsonl"), place / "audit.pub"
        public.write_bytes(subprocess.run([*command, "public-key"], check=True, capture_output=True).stdout)
        for what, words in (
            ("verified", ["verify"]),
            ("exported", ["export", exported]),
            ("verified over the export", ["verify", "--export", exported, "--public-key", str(public)]),
        ):
            begun = time.monotonic()
            subprocess.run([*command, *words], check=True, capture_output=True)
            print(f"{what} in {time.monotonic() - begun:.1f} s")
        serving.process.check()


if __name__ == "__main__":
    main()
