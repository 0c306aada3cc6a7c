"""One hung upstream of three: what the logins of the other two feel of it.

`python -m benchmarks.hung`. Three clients, each with a RADIUS server of its own behind Sekisho (mode password, the bare
relay), are asked at a steady rate, all at once. A round has three short runs, in another order each time. In one of
them the third one's server is stopped by SIGSTOP: its socket takes requests and nobody answers. Behind each run comes a
moment that is not counted, in which a server that was stopped works off what has piled up.

Compared are medians over all rounds of the 99th percentile of the other two, hung against well; nothing of theirs may
be lost. Well against well, by the third run, tells what the machine does by itself. How far chance moves both ratios is
told by drawing the rounds anew (bootstrap, 90 %): if the bar lies between the ends, this machine cannot tell.
"""

from __future__ import annotations

import itertools
import random
import secrets
import signal
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import experiment, machine, tokens
from benchmarks.load import Aim, Credential, Door, Load, LoadGenerator, build
from benchmarks.processes import Process, free_port
from benchmarks.proxy import BEHIND, PASSWORD, running
from benchmarks.sekisho import Product

TARGET = 1.10
"""How much longer the others' 99th percentile may be: the ratio of medians over the rounds."""

DRAWS, _ENDS = 2_000, (0.05, 0.95)
"""How often the rounds are drawn anew, and between which shares of that the ratio lies."""

_REST_SECONDS = 0.4
_CUSTOMERS = 6_000
_WELL, _HUNG, _AGAIN = "all three answer", "the third hangs", "they answer again"
_RUNS = (_WELL, _HUNG, _AGAIN)
_ORDERS = tuple(itertools.permutations(_RUNS))
MET, MISSED, UNTOLD = "met", "missed", "cannot be told on this machine now: more rounds, or fewer neighbours"


class Ratio(NamedTuple):
    """One median by another, and between what chance moves it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(upper: Sequence[float], lower: Sequence[float], seed: int = 1) -> Ratio:
    """The median of one by that of the other. Both are of the same rounds, which are drawn together."""
    pairs, drawn = list(zip(upper, lower, strict=True)), random.Random(seed)
    found = sorted(_of_medians(drawn.choices(pairs, k=len(pairs))) for _ in range(DRAWS))
    low, high = (found[int(share * (DRAWS - 1))] for share in _ENDS)
    return Ratio(_of_medians(pairs), low, high)


def _of_medians(pairs: Sequence[tuple[float, float]]) -> float:
    return statistics.median(one for one, _ in pairs) / statistics.median(other for _, other in pairs)


def outcome(hung: Ratio, control: Ratio, lost: int) -> str:
    """What the ratios of one door say. A machine whose own ratio goes past the bar says nothing in either direction."""
    if lost:
        return MISSED
    if control.low > TARGET or control.high < 1 / TARGET:
        return UNTOLD
    if hung.high <= TARGET:
        return MET
    return MISSED if hung.low > TARGET else UNTOLD


class Arrangement(NamedTuple):
    """Three doors of one Sekisho, in order, and the server behind the third."""

    doors: list[Door]
    third: Process


def main(words: Sequence[str] | None = None) -> int:
    parser = experiment.parser("hung", __doc__, rounds=40, seconds=1.0)
    parser.add_argument("--rate", type=float, default=200.0, metavar="R", help="logins a second at each door (200)")
    options = parser.parse_args(words)

    def measured(folder: Path, product: Product) -> dict[str, Any]:
        with _arranged(folder, product) as arranged:
            return _measure(folder, arranged, options.rounds, options.seconds, options.rate)

    results = experiment.carry_out("hung", options, measured)
    if results is None:
        return 2
    _print(results)
    return {MET: 0, MISSED: 1}.get(results["outcome"], 2)


def _measure(folder: Path, arranged: Arrangement, rounds: int, seconds: float, rate: float) -> dict[str, Any]:
    facts, generator = machine.facts(folder), LoadGenerator(folder)
    found: dict[str, list[list[Load]]] = {name: [] for name in _RUNS}
    _run(generator, arranged, seconds, rate)  # not counted: it warms up
    for number in range(rounds):
        for name in _ORDERS[number % len(_ORDERS)]:
            with _stopped(arranged.third) if name == _HUNG else ExitStack():
                loads = _run(generator, arranged, seconds, rate)
            found[name].append(loads)
            _run(generator, arranged, _REST_SECONDS, rate)
            said = ", ".join(f"{one.accepted} of {one.sent}, p99 {one.p99_us / 1000:.1f} ms" for one in loads)
            print(f"{name:18} {said}", file=sys.stderr)
    return _results(facts, found)


def _results(facts: dict[str, Any], found: dict[str, list[list[Load]]]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for door in (0, 1):
        well, hung, again = ([loads[door] for loads in found[name]] for name in _RUNS)
        p99_well, p99_hung, p99_again = ([float(one.p99_us) for one in runs] for runs in (well, hung, again))
        of_hung, control = ratio(p99_hung, p99_well), ratio(p99_again, p99_well)
        lost = sum(one.sent - one.accepted for one in (*well, *hung, *again))
        rows.append(
            {
                "door": door + 1,
                "well_p99_us": statistics.median(p99_well),
                "hung_p99_us": statistics.median(p99_hung),
                "ratio": of_hung,
                "control": control,
                "well_p50_us": statistics.median(one.p50_us for one in well),
                "hung_p50_us": statistics.median(one.p50_us for one in hung),
                "lost": lost,
                "outcome": outcome(of_hung, control, lost),
            }
        )
    answered = sum(loads[2].accepted for loads in found[_HUNG])
    said = {row["outcome"] for row in rows} | ({MISSED} if answered else set())
    whole = MISSED if MISSED in said else UNTOLD if UNTOLD in said else MET
    return {
        "machine": facts,
        "rows": rows,
        "rounds": len(found[_WELL]),
        "accepted_while_hung": answered,
        "target": TARGET,
        "outcome": whole,
    }


def _run(generator: LoadGenerator, arranged: Arrangement, seconds: float, rate: float) -> list[Load]:
    aims = [Aim(door, rate=rate, seconds=seconds, timeout=2.0, tries=2) for door in arranged.doors]
    wanted = min(int(rate * seconds), _CUSTOMERS // 3)
    packets = [
        build(aim, [Credential(tokens.contract_id(3 * one + at), PASSWORD) for one in range(wanted)])
        for at, aim in enumerate(aims)
    ]
    underway = [generator.start(aim, load) for aim, load in zip(aims, packets, strict=True)]
    return [one.finish()[0] for one in underway]


@contextmanager
def _stopped(process: Process) -> Iterator[None]:
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


@contextmanager
def _arranged(folder: Path, product: Product) -> Iterator[Arrangement]:
    behind = [Door(free_port(), "127.0.0.1", secrets.token_hex(16).encode()) for _ in range(3)]
    doors = [Door(0, f"127.0.0.{31 + at}", secrets.token_hex(16).encode()) for at in range(3)]
    more = "".join(_tables(at, there, door) for at, (there, door) in enumerate(zip(behind, doors, strict=True)))
    (folder / "sekisho").mkdir(mode=0o700)
    with ExitStack() as stack:
        servers = []
        for at, there in enumerate(behind):
            own = folder / f"behind-{at}"
            own.mkdir(mode=0o700)
            servers.append(stack.enter_context(running(own, BEHIND, there)))
        store = product.store(_CUSTOMERS)
        serving = stack.enter_context(product.serve(store, folder / "sekisho", more, workers=2))
        port = serving.doors["code"].port
        yield Arrangement([Door(port, one.source, one.secret) for one in doors], servers[2])


def _tables(at: int, there: Door, door: Door) -> str:
    return f"""
[[upstreams]]
name = "behind-{at}"
servers = ["127.0.0.1:{there.port}"]
secret = "{there.secret.decode()}"
[[first_factors]]
name = "behind-{at}"
type = "radius"
upstream = "behind-{at}"
[[radius.clients]]
name = "door-{at}"
network = "{door.source}/32"
secret = "{door.secret.decode()}"
mode = "password"
reject_delay = 0
first_factor = "behind-{at}"
"""


def _print(results: dict[str, Any]) -> None:
    print(
        f"{'':8}{'p99 well, ms':>14}{'hung, ms':>10}{'hung by well':>24}{'well by well':>24}{'p50s, ms':>14}{'lost':>6}"
    )
    for row in results["rows"]:
        print(
            f"door {row['door']:<3}{row['well_p99_us'] / 1000:>14.2f}{row['hung_p99_us'] / 1000:>10.2f}"
            f"{row['ratio']!s:>24}{row['control']!s:>24}"
            f"{row['well_p50_us'] / 1000:>7.2f}{row['hung_p50_us'] / 1000:>7.2f}{row['lost']:>6}  {row['outcome']}"
        )
    print(f"{results['rounds']} rounds; at most {TARGET}, nothing lost: {results['outcome']}")


if __name__ == "__main__":
    sys.exit(main())
