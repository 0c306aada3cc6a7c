"""Logins through the API beside logins by RADIUS, and beside a program that asks more than its key may.

`python -m benchmarks.api [--sekisho build/compiled/bin/sekisho]`. Ten programs with a key each ask for 100 code logins
a second, all together 1,000, while a gateway makes as many by RADIUS. In every other run an eleventh program asks ten
times what a key may. Each login is another customer's; latencies of the API count from when a request was due. The
programs and the gateway take their share of the same cores. The bars: p99 under 50 ms, none lost, none refused.
"""

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks import experiment, machine, tokens
from benchmarks.http_load import Heard, Stream, run
from benchmarks.load import Aim, Credential, Load, LoadGenerator, build
from benchmarks.meter import Customers, Progress
from benchmarks.processes import Unusable, free_port
from benchmarks.sekisho import Product, Serving

P99_MS = 50
PROGRAMS, EACH = 10, 100
LIMIT = 120
"""Requests a second that a key may make."""
GREEDY = 10 * LIMIT
_RADIUS = 1000
_CUSTOMERS = 40_000
_ALONE, _BESIDE = "ten programs", "beside a greedy one"


class Found(NamedTuple):
    """One run."""

    radius: Load
    programs: list[Heard]
    greedy: Heard | None

    def percentile(self, share: float) -> float:
        """Milliseconds, of all logins of the ten programs."""
        times = sorted(seconds for one in self.programs for seconds in one.times)
        return times[min(len(times) - 1, int(len(times) * share))] * 1e3 if times else float("inf")

    @property
    def refused(self) -> Counter[int]:
        """What the ten programs were answered instead of 200."""
        found = sum((one.statuses for one in self.programs), Counter[int]())
        return Counter({status: number for status, number in found.items() if status != 200})


def main(words: Sequence[str] | None = None) -> int:
    options = experiment.parser("api", __doc__, rounds=5, seconds=5.0).parse_args(words)
    return experiment.exit_code(
        experiment.carry_out(
            "api", options, lambda folder, product: _measure(folder, product, options.rounds, options.seconds)
        )
    )


def _measure(folder: Path, product: Product, rounds: int, seconds: float) -> dict[str, object]:
    facts, generator, port = machine.facts(folder), LoadGenerator(folder), free_port()
    served = folder / "served"
    served.mkdir(mode=0o700)
    more = f'[api]\nlisten = "127.0.0.1:{port}"\nrequests_per_second = {LIMIT}\n'
    found: dict[str, list[Found]] = {_ALONE: [], _BESIDE: []}
    progress, customers = Progress(2 * rounds), Customers(range(_CUSTOMERS))
    with (
        product.serve(product.store(_CUSTOMERS), served, more, workers=2) as serving,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client,
    ):
        keys = [_key(product, served, f"program-{number}") for number in range(PROGRAMS + 1)]
        for number in range(-1, rounds):  # the first one is not counted: it warms up
            for kind in (_ALONE, _BESIDE) if number % 2 == 0 else (_BESIDE, _ALONE):
                one = _run(generator, client, serving, customers, port, keys[: PROGRAMS + (kind == _BESIDE)], seconds)
                if number >= 0:
                    found[kind].append(one)
                    progress.done(_said(kind, one))
        serving.process.check()
    return _results(facts, found)


def _key(product: Product, served: Path, name: str) -> str:
    command = [str(product.program), "--config", str(served / "sekisho.toml"), "api-key", "create", name]
    done = subprocess.run([*command, "--scope", "check:code"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unusable(f"sekisho api-key create failed: {done.stderr.strip()}")
    return done.stdout.split()[-1]


def _run(
    generator: LoadGenerator,
    client: ProcessPoolExecutor,
    serving: Serving,
    customers: Customers,
    port: int,
    keys: Sequence[str],
    seconds: float,
) -> Found:
    rates = [EACH] * PROGRAMS + [GREEDY] * (len(keys) - PROGRAMS)
    by_radius = int(_RADIUS * seconds)
    taken, step, _ = customers.take(by_radius + int(sum(rates) * seconds), 2 * seconds)
    aim = Aim(serving.doors["code"], rate=_RADIUS, seconds=seconds + 5, timeout=2.0, tries=2)
    credentials = [
        Credential(tokens.contract_id(one), tokens.code(tokens.seed(one), step)) for one in taken[:by_radius]
    ]
    streams, left = [], iter(taken[by_radius:])
    for number, (key, rate) in enumerate(zip(keys, rates, strict=True)):
        asked = [_request(key, one, step) for _, one in zip(range(int(rate * seconds)), left, strict=False)]
        streams.append(Stream(f"program-{number}", asked, rate, connections=32 if rate == GREEDY else 4))
    datagrams = build(aim, credentials)
    heard = client.submit(run, port, streams)
    radius, _ = generator.start(aim, datagrams).finish()
    programs = heard.result(timeout=seconds + 60)
    return Found(radius, programs[:PROGRAMS], programs[PROGRAMS] if len(programs) > PROGRAMS else None)


def _request(key: str, customer: int, step: int) -> bytes:
    body = json.dumps(
        {"contract_id": tokens.contract_id(customer), "code": tokens.code(tokens.seed(customer), step).decode()}
    ).encode()
    return (
        b"POST /api/v1/check HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    ) % (key.encode(), len(body), body)


def _said(kind: str, one: Found) -> str:
    accepted = sum(len(heard.times) for heard in one.programs)
    greedy = "" if one.greedy is None else f"; greedy: {dict(one.greedy.statuses)}"
    return (
        f"{kind:19} API {accepted} accepted, p50 {one.percentile(0.5):.1f}, p99 {one.percentile(0.99):.1f} ms"
        f"{f', not accepted {dict(one.refused)}' if one.refused else ''}; RADIUS {one.radius.accepted} of "
        f"{one.radius.sent}, p99 {one.radius.p99_us / 1000:.1f} ms{greedy}"
    )


def _results(facts: dict[str, object], found: dict[str, list[Found]]) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    met = True
    for kind, runs in found.items():
        p50, p99 = (statistics.median(one.percentile(share) for one in runs) for share in (0.5, 0.99))
        by_radius = statistics.median(one.radius.p99_us for one in runs) / 1e3
        refused = sum(one.refused.total() for one in runs)
        lost = sum(one.radius.sent - one.radius.accepted for one in runs)
        print(
            f"{kind:19} API p50 {p50:.1f}, p99 {p99:.1f} ms, {refused} not accepted; "
            f"RADIUS p99 {by_radius:.1f} ms, {lost} not accepted"
        )
        rows.append(
            {
                "kind": kind,
                "api_p50_ms": p50,
                "api_p99_ms": p99,
                "api_not_accepted": refused,
                "radius_p99_ms": by_radius,
                "radius_not_accepted": lost,
            }
        )
        met = met and max(p99, by_radius) < P99_MS and not refused and not lost
    print(f"target: p99 under {P99_MS} ms, every login accepted: {'met' if met else 'missed'}")
    return {"machine": facts, "rows": rows, "target_ms": P99_MS, "met": met}


if __name__ == "__main__":
    sys.exit(main())
