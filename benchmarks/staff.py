"""Code logins by RADIUS with ten members of staff clicking beside them, and without.

`python -m benchmarks.staff [--sekisho build/compiled/bin/sekisho]`. In every other run ten members of staff, of each
role in turn, open a page of the console every two seconds each: a search, a customer, lists, the audit trail, the
clients. As many logins as the server takes, in pairs of runs. The bar: five logins of a hundred fewer at the most.
"""

import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks import experiment, machine, signed_in, tokens
from benchmarks.http_load import Heard, Stream, run
from benchmarks.load import Aim, Credential, LoadGenerator
from benchmarks.meter import Customers, Progress, Sample, measure
from benchmarks.processes import Unusable, free_port
from benchmarks.sekisho import Product, Serving
from otp_core.model import Role
from otp_core.store.sqlite import driver
from sekisho.settings import load

STAFF, EVERY_SECONDS = 10, 2.0
LEAST_SHARE = 0.95
_CUSTOMERS = 60_000
_MOST_A_SECOND = 40_000
_WARM_UP_SECONDS = 1.0


class Pair(NamedTuple):
    """Two runs, one behind the other."""

    alone: Sample
    beside: Sample
    staff: Heard

    @property
    def share(self) -> float:
        """Logins a second beside staff, of those without."""
        return self.beside.rate / self.alone.rate

    @property
    def page_ms(self) -> list[float]:
        """From when a page was asked for until it was whole."""
        return [seconds * 1e3 for seconds in self.staff.times]


def main(words: Sequence[str] | None = None) -> int:
    options = experiment.parser("staff", __doc__, rounds=7, seconds=4.0).parse_args(words)
    return experiment.exit_code(
        experiment.carry_out(
            "staff", options, lambda folder, product: _measure(folder, product, options.rounds, options.seconds)
        )
    )


def _measure(folder: Path, product: Product, rounds: int, seconds: float) -> dict[str, object]:
    facts, generator, store = machine.facts(folder), LoadGenerator(folder), product.store(_CUSTOMERS)
    port = free_port()
    served = folder / "served"
    served.mkdir(mode=0o700)
    more = f'[console]\nlisten = "127.0.0.1:{port}"\npublic_origin = "http://localhost:{port}"\n'
    found: dict[int, list[Pair]] = {64: [], 256: []}
    progress, customers = Progress(len(found) * rounds), Customers(range(_CUSTOMERS))
    with (
        product.serve(store, served, more, workers=2) as serving,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client,
    ):
        clicks = _clicks(served, port)
        for number in range(-1, rounds):  # the first one is not counted: it warms up
            for outstanding, pairs in found.items():
                pair = _pair(generator, client, serving, customers, port, clicks, outstanding, seconds, number % 2 == 0)
                if number >= 0:
                    pairs.append(pair)
                    progress.done(_said(outstanding, pair))
    return _results(facts, found)


def _clicks(served: Path, port: int) -> Iterator[bytes]:
    """One request behind another, of each member of staff in turn."""
    cookies = signed_in.cookies(load(served / "sekisho.toml", environment={}).settings)
    with closing(driver.connect(served / "s.db")) as connection:
        customers = [row[0] for row in connection.execute("SELECT key FROM customer LIMIT 500")]
        held = [row[0] for row in connection.execute("SELECT key FROM token LIMIT 500")]
    drawn = random.Random(12)

    def paths() -> Iterator[str]:
        while True:
            somebody = drawn.randrange(_CUSTOMERS)
            yield "/"
            yield f"/?q={tokens.contract_id(somebody)[:3]}"
            yield f"/customers/{drawn.choice(customers)}"
            yield "/customers"
            yield f"/tokens/{drawn.choice(held)}"
            yield "/audit"
            yield f"/audit?customer={tokens.contract_id(somebody)}"
            yield "/clients"

    for path, role in zip(paths(), cycle(islice(cycle(Role), STAFF)), strict=False):
        yield b"GET %s HTTP/1.1\r\nHost: localhost:%d\r\nCookie: %s\r\n\r\n" % (
            path.encode(),
            port,
            cookies[role].encode(),
        )


def _pair(
    generator: LoadGenerator,
    client: ProcessPoolExecutor,
    serving: Serving,
    customers: Customers,
    port: int,
    clicks: Iterator[bytes],
    outstanding: int,
    seconds: float,
    staff_first: bool,
) -> Pair:
    aim = Aim(serving.doors["code"], outstanding=outstanding, seconds=seconds)

    def measured() -> Sample:
        most = min(_CUSTOMERS, int(_MOST_A_SECOND * seconds))
        return measure(generator, serving.process, customers, _credential, aim, most)

    samples: dict[bool, Sample] = {}
    heard: Heard | None = None
    for beside in (staff_first, not staff_first):
        if not beside:
            samples[beside] = measured()
            continue
        # The logins may have to wait for a new step: staff is at work before and behind them too.
        wait = tokens.STEP_SECONDS + seconds + _WARM_UP_SECONDS
        rate = STAFF / EVERY_SECONDS
        asking = client.submit(
            run, port, [Stream("staff", [*islice(clicks, int(wait * rate))], rate, connections=STAFF)]
        )
        samples[beside] = measured()
        (heard,) = asking.result(timeout=wait + 60)
    assert heard is not None
    if wrong := heard.statuses.total() - len(heard.times):
        raise Unusable(f"{wrong} pages of the console were not answered with 200")
    return Pair(samples[False], samples[True], heard)


def _credential(number: int, step: int) -> Credential:
    return Credential(tokens.contract_id(number), tokens.code(tokens.seed(number), step))


def _said(outstanding: int, pair: Pair) -> str:
    return (
        f"{outstanding:3} under way: {pair.alone.rate:,.0f} a second without staff, {pair.beside.rate:,.0f} beside; "
        f"a page {statistics.median(pair.page_ms):.0f} ms"
    )


def _results(facts: dict[str, object], found: dict[int, list[Pair]]) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    met = True
    for outstanding, pairs in found.items():
        alone, beside = (statistics.median(one.rate for one in kind) for kind in zip(*_samples(pairs), strict=True))
        share = statistics.median(one.share for one in pairs)
        page_ms = statistics.median(ms for one in pairs for ms in one.page_ms)
        print(
            f"{outstanding:3} under way: {alone:,.0f} logins a second without staff, {beside:,.0f} beside ten: "
            f"{share:.3f}; a page of the console {page_ms:.0f} ms"
        )
        rows.append({"outstanding": outstanding, "alone": alone, "beside": beside, "share": share, "page_ms": page_ms})
        met = met and share >= LEAST_SHARE
    print(f"target: {LEAST_SHARE} of the logins or more: {'met' if met else 'missed'}")
    return {"machine": facts, "rows": rows, "target": LEAST_SHARE, "met": met}


def _samples(pairs: Sequence[Pair]) -> list[tuple[Sample, Sample]]:
    return [(one.alone, one.beside) for one in pairs]


if __name__ == "__main__":
    sys.exit(main())
