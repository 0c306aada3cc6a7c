"""What the commands of the smaller benchmarks have in common: their options, a throw-away folder, results in a file."""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import Unusable, workplace
from benchmarks.sekisho import Product

Results = dict[str, Any]


def parser(name: str, description: str | None, *, rounds: int, seconds: float) -> argparse.ArgumentParser:
    """Of ``python -m benchmarks.NAME``. ``rounds``, ``seconds``: what is taken where nothing is said."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    made.add_argument("--rounds", type=int, default=rounds, metavar="N", help=f"rounds ({rounds})")
    made.add_argument("--seconds", type=float, default=seconds, metavar="S", help=f"of each run ({seconds:g})")
    made.add_argument("--out", type=Path, default=Path(__file__).with_name("out"), metavar="DIR", help="for results")
    made.add_argument("--sekisho", type=_program, metavar="FILE", help="the product's command (default: this Python's)")
    return made


def _program(text: str) -> Path:
    if shutil.which(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text} is no program; `make compiled` leaves one in build/compiled/bin/sekisho"
        )
    return Path(text)


def carry_out(name: str, options: argparse.Namespace, measure: Callable[[Path, Product], Results]) -> Results | None:
    """``measure`` in a folder of its own, its results in OUT/NAME.json; None, with a line that says why, if something
    that it needs is not here or does not start."""
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with workplace(options.out) as folder:
            results = measure(folder, Product(folder, options.sekisho))
    except Unusable as problem:
        print(f"{name}: not measured: {problem}", file=sys.stderr)
        return None
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    return results


def exit_code(results: Results | None) -> int:
    """0: the bar is met; 1: missed; 2: nothing was measured."""
    return 2 if results is None else 0 if results["met"] else 1
