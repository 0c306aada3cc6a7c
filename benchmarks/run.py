"""Measures Sekisho beside other RADIUS servers on this machine. `python -m benchmarks.run --help` teaches the rest."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import codes, machine, passwords, plot, report, scale, summary
from benchmarks.contender import Contender
from benchmarks.freeradius import FreeRadiusSqlite, FreeRadiusStripped
from benchmarks.freeradius_debian import FreeRadiusDebian
from benchmarks.load import LoadGenerator
from benchmarks.meter import Progress
from benchmarks.processes import Unusable, in_memory, workplace
from benchmarks.pyrad_peer import PyradServer
from benchmarks.sekisho import Product, Sekisho, SekishoInterpreted

EXPERIMENTS = ("code", "password", "scale")
_Experiments = dict[str, tuple[int, Callable[[Progress], dict[str, Any]]]]
_BUSY_PERCENT = 10
CONTENDERS = (
    "sekisho",
    "sekisho-interpreted",
    "freeradius-totp-debian",
    "freeradius-totp-stripped",
    "freeradius-sqlite",
    "pyrad",
)

_TEACHES = """
Measures how many logins a second Sekisho answers and what each costs, beside FreeRADIUS and pyrad, on this machine,
with the load generator on the same cores. Everything stays on the loopback and below one throw-away folder.
"""

_LESSON = """
experiments:
  code       The gateway has checked the password and sends the code. Contenders: Sekisho with a durable SQLite store,
             and with --sekisho, this Python's own beside it;
             FreeRADIUS with rlm_totp, which remembers nothing, twice: added to the configuration that Debian ships,
             which a copy is made of, and in one stripped by hand to what this needs; FreeRADIUS, stripped too, with
             users and spent codes in SQLite; pyrad's own Server with static passwords. 1, 8, 64 and 256 requests
             under way. A contender that does not start is left out, and the results say so.
  password   Sekisho checks the password too (argon2id), by challenge and by code appended, against the rate at which
             the bare machine hashes; with and without a steady stream of code logins beside it.
  scale      Sekisho with 1,000, 100,000 and a million tokens: import, start, memory, CPU of a login.

how to read the figures:
  The contenders take turns within each round, so that a busy moment of the machine hits all of them. A figure is the
  median of the rounds, the brackets are the extremes, a ratio is taken within each round. A token logs in once in a
  step of 30 s; when a server has used up its fresh ones, the run waits for the next step. No contender is measured
  before radclient has seen it refuse a wrong code, an empty one and a password alone.

how long it takes:
  --quick    about 3 minutes: fewer levels and rounds, no million. A look, not a result.
  otherwise  under 20 minutes on two cores. Leave the machine alone meanwhile.

needs: cc, FreeRADIUS and radclient (Debian: freeradius freeradius-utils gcc), and 3 GB of disk, which must not be in
memory: set TMPDIR to choose it. Debian's configuration of FreeRADIUS can be read by root, or by members of the groups
freerad and ssl-cert.
exit status: 0 measured and every target met; 1 measured, a target missed; 2 could not measure all of it.
"""


def main(words: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that servers and folders are cleared away
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        results = _measure(options)
    except Unusable as problem:
        print(f"not measured: {problem}", file=sys.stderr)
        return 2
    _write(results, options.out)
    if options.publish:
        _write(results, options.publish)
    report.print_all(results)
    print(f"written to {options.out}/" + (f" and {options.publish}/" if options.publish else ""))
    if results["failed"]:
        return 2
    return 0 if all(target["met"] for target in results["summary"]["targets"]) else 1


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    wanted = options.only or list(EXPERIMENTS)
    with workplace(options.out) as folder:
        if in_memory(folder):
            print(
                "warning: the stores would be in memory, where a commit is free; set TMPDIR to a disk",
                file=sys.stderr,
            )
        product = Product(folder, options.sekisho)
        contenders = [one for one in _contenders(product) if one.name in (options.contender or CONTENDERS)]
        if all(one.name != "sekisho" for one in contenders):
            wanted = [name for name in wanted if name == "code"]
        generator = LoadGenerator(folder)
        experiments = _experiments(options, product, contenders, generator, folder)
        measured_on = machine.facts(folder)
        if measured_on["busy_before_percent"] > _BUSY_PERCENT:
            _warn(f"others use {measured_on['busy_before_percent']}% of this machine: the figures will be worth little")
        progress = Progress(sum(experiments[name][0] for name in wanted))
        done, failed = _attempt(wanted, experiments, progress)
        return {
            "machine": measured_on,
            "settings": {"rounds": _rounds(options), "quick": options.quick},
            "contenders": {
                one.name: {"title": one.title, "setup": one.setup, "lacks": one.lacks} for one in contenders
            },
            "experiments": done,
            "failed": failed,
            "summary": summary.summarise(done),
        }


def _attempt(
    wanted: Sequence[str], experiments: _Experiments, progress: Progress
) -> tuple[dict[str, Any], dict[str, str]]:
    """(what was measured, why the rest was not, by experiment or contender): one failure spoils nothing else."""
    done: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name in wanted:
        try:
            done[name] = experiments[name][1](progress)
            failed.update(done[name].get("absent", {}))
        except Unusable as problem:
            failed[name] = str(problem)
            _warn(f"{name} was not measured: {problem}")
    return done, failed


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _contenders(product: Product) -> list[Contender]:
    peers: list[Contender] = [FreeRadiusDebian(), FreeRadiusStripped(), FreeRadiusSqlite(), PyradServer()]
    here = Product.installed()
    ours: list[Contender] = [Sekisho(product)]
    if product.program.absolute() != here:
        ours.append(SekishoInterpreted(product.run_by(here)))
    return [*ours, *peers]


def _experiments(
    options: argparse.Namespace,
    product: Product,
    contenders: Sequence[Contender],
    generator: LoadGenerator,
    folder: Path,
) -> _Experiments:
    """Name -> (steps, how to run it). The store of 100,000 is filled once, for `code` and for `scale`."""
    quick, rounds = options.quick, _rounds(options)
    code = codes.Plan(
        levels=(1, 64) if quick else (1, 8, 64, 256),
        rounds=rounds,
        seconds=1.0 if quick else 2.0,
        customers=100_000,
        most=20_000 if quick else 45_000,
    )
    password = passwords.Plan(rounds=min(rounds, 2) if quick else rounds, seconds=2.0 if quick else 4.0, stream=200.0)
    size = scale.Plan(
        sizes=(1_000, 100_000) if quick else (1_000, 100_000, 1_000_000),
        rounds=rounds,
        seconds=1.0 if quick else 2.0,
        most=20_000 if quick else 40_000,
    )
    return {
        "code": (
            code.steps(len(contenders)),
            lambda progress: codes.run(contenders, code, generator, folder, progress),
        ),
        "password": (
            password.steps(),
            lambda progress: passwords.run(product, password, generator, folder, progress),
        ),
        "scale": (size.steps(), lambda progress: scale.run(product, size, generator, folder, progress)),
    }


def _rounds(options: argparse.Namespace) -> int:
    return int(options.runs or (3 if options.quick else 5))


def _write(results: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(report.markdown(results))
    if "code" in results["summary"]["experiments"]:
        plot.draw(results, folder / "performance.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=_TEACHES,
        epilog=_LESSON,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a look in about 3 minutes")
    parser.add_argument("--runs", type=_positive, metavar="N", help="rounds of each experiment (5; with --quick 3)")
    parser.add_argument("--only", action="append", choices=EXPERIMENTS, help="this experiment; may be repeated")
    parser.add_argument("--contender", action="append", choices=CONTENDERS, help="this server; may be repeated")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("out"), metavar="DIR", help="results go here"
    )
    parser.add_argument("--publish", type=Path, metavar="DIR", help="and a copy of table, JSON and picture here")
    parser.add_argument("--sekisho", type=Path, metavar="FILE", help="the product's command (default: this Python's)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
