"""Instructions a login, counted by valgrind: a figure that a busy machine does not change.

`python -m benchmarks.instructions OLD/bin/sekisho NEW/bin/sekisho` serves codes with one worker under callgrind and
counts what all processes of the server execute between two moments, the kernel's share left out. Twice the same program
differs by 0.2 %. It says nothing of the time spent waiting: for that, see `benchmarks.run`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

from benchmarks import tokens
from benchmarks.load import Aim, Credential, Door, LoadGenerator, build
from benchmarks.processes import Process, Unusable
from benchmarks.sekisho import Product

_WARM_UP = 300  # logins
_LOGINS = {1: 400, 64: 1200}  # by the number of requests under way
_SERVE = """#!/bin/sh
case "$*" in
*serve*) exec valgrind --tool=callgrind --callgrind-out-file={folder}/%p "{python}" "{program}" "$@" ;;
*) exec "{program}" "$@" ;;
esac
"""


def instructions(program: Path, folder: Path) -> dict[int, float]:
    """Instructions a login by the number of requests under way. ``folder``: an empty one. Raises Unusable."""
    counts = folder / "counts"
    counts.mkdir()
    command = folder / "sekisho"
    command.write_text(_SERVE.format(folder=counts, python=program.with_name("python"), program=program))
    command.chmod(0o755)
    product = Product(folder / "stores", command)
    store = product.store(_WARM_UP + sum(_LOGINS.values()))
    generator, customers, found = LoadGenerator(folder), count(), {}
    with product.serve(store, folder / "serving", workers=1) as serving:
        _log_in(generator, serving.doors["code"], customers, 64, _WARM_UP)
        for level, logins in _LOGINS.items():
            _control(serving.process, "--zero")
            _log_in(generator, serving.doors["code"], customers, level, logins)
            _control(serving.process, "--dump")
            found[level] = sum(map(_total, _newest(counts))) / logins
    return found


def _log_in(generator: LoadGenerator, door: Door, customers: Iterator[int], level: int, logins: int) -> None:
    step = int(time.time() // tokens.STEP_SECONDS)
    credentials = [
        Credential(tokens.contract_id(number), tokens.code(tokens.seed(number), step))
        for number in islice(customers, logins)
    ]
    aim = Aim(door, outstanding=level, seconds=120, timeout=30)
    load, _ = generator.start(aim, build(aim, credentials)).finish()
    if load.accepted != logins or load.repeated:
        raise Unusable(f"{load.accepted} of {logins} right codes were accepted, {load.repeated} sent again")


def _control(process: Process, order: str) -> None:
    for pid in process.family():
        done = subprocess.run(["callgrind_control", order, str(pid)], check=True, capture_output=True, text=True)
        if "not detected" in done.stdout + done.stderr:  # forked without exec: valgrind gives it no ear
            raise Unusable(f"process {pid} of the server cannot be asked for its count, so there is no sum")


def _newest(counts: Path) -> list[Path]:
    """The last dump of each process: ``PID.1``, ``PID.2``, …"""
    dumps: dict[str, Path] = {}
    for path in sorted(counts.glob("*.*"), key=lambda path: int(path.suffix[1:])):
        dumps[path.stem] = path
    return list(dumps.values())


def _total(dump: Path) -> int:
    found = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    if found is None:
        raise Unusable(f"{dump.name} has no total")
    return int(found[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the programs; the ratio is to the first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("program", nargs="+", type=Path, help="a sekisho command, in the bin of its environment")
    first: dict[int, float] = {}
    for program in parser.parse_args(arguments).program:
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = instructions(program.absolute(), Path(folder))
            except Unusable as problem:
                print(f"{program}: {problem}", file=sys.stderr)
                return 1
        first = first or found
        for level, one in found.items():
            print(
                f"{program}  {level:3} under way  {one:9,.0f} instructions a login  {one / first[level]:.3f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
