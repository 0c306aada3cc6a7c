"""Instructions a login, counted by valgrind: a figure that a busy machine does not change.

`python -m benchmarks.instructions OLD/bin/sekisho NEW/bin/sekisho` serves codes with one worker under callgrind and
counts what the processes of the server execute meanwhile, the kernel's share left out, and what they execute in as many
seconds without logins taken off: under valgrind a second holds a fiftieth of the logins. (What a server does in one
second is 3 % of 400 logins with one under way: differences as small as that say little there.) `--keep FOLDER`
keeps the counts: `callgrind_annotate FILE` tells them by function. It says nothing of the time spent waiting: for that,
see `benchmarks.run`. What the processor does in one instruction and valgrind in many (AES, SHA) counts for many.
`--relay` counts logins whose password is asked of a RADIUS server behind, which is FreeRADIUS and not counted: a bare
relay, or with `--relay append` the code behind the password too.
`--each 3` gives every customer three tokens and has codes of them sent in turn.
"""

import argparse
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from benchmarks import proxy, tokens
from benchmarks.load import Aim, Credential, Door, LoadGenerator, build
from benchmarks.processes import Process, Unusable, free_port
from benchmarks.sekisho import Product, Store

_WARM_UP = 300  # logins
_IDLE_SECONDS = 10
_LOAD_SECONDS = 20  # longer than any of the loads takes
_LOGINS = {1: 400, 64: 2400}  # by the number of requests under way
_RELAYED = {1: 300, 16: 1200}
_PATIENCE = 60.0  # seconds for a login and for the server behind: under valgrind, on a machine that others use
WRITE_SECONDS = 60.0  # for all processes of a server to write their counts
_COMMAND = """#!/bin/sh
case "$*" in
*serve*) {environment} exec {valgrind} "{python}" "{program}" "$@" ;;
*) exec "{program}" "$@" ;;
esac
"""


class Counting:
    """Counts what programs execute. ``folder``: an empty one, in which the counts stay. Raises Unusable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "counting.so"
        source = Path(__file__).with_name("counting.c")
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(source)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode != 0 or shutil.which("valgrind") is None:
            raise Unusable(f"valgrind and its headers are needed: {built.stderr}")

    @property
    def environment(self) -> dict[str, str]:
        """What the program needs in its environment. (Names have the same hashes each time.)"""
        return {"LD_PRELOAD": str(self._library), "PYTHONHASHSEED": "0"}

    @property
    def valgrind(self) -> list[str]:
        """What stands in front of the program and its arguments."""
        return ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self._folder}/counts.%p"]

    def lap(self, process: Process) -> int:
        """Instructions that the processes of a program with an event loop have executed since the last call. The first
        call begins."""
        pids = [pid for pid in process.family() if _has_loop(pid)]
        before = {pid: len(self._dumps(pid)) for pid in pids}
        for pid in pids:
            os.kill(pid, signal.SIGUSR2)
        end = time.monotonic() + WRITE_SECONDS
        total = 0
        for pid in pids:
            while (found := self._new_total(pid, before[pid])) is None:
                process.check()
                if time.monotonic() > end:
                    raise Unusable(f"process {pid} does not say what it has executed: {process.tail()}")
                time.sleep(0.05)
            total += found
        return total

    def _dumps(self, pid: int) -> list[Path]:
        return list(self._folder.glob(f"counts.{pid}.*"))

    def _new_total(self, pid: int, before: int) -> int | None:
        dumps = self._dumps(pid)
        if len(dumps) == before:
            return None
        newest = max(dumps, key=lambda path: int(path.suffix[1:]))
        found = re.search(r"^totals: (\d+)$", newest.read_text(), re.MULTILINE)  # its last line
        return None if found is None else int(found[1])


def _has_loop(pid: int) -> bool:
    links = Path(f"/proc/{pid}/fd").iterdir()
    return any(os.readlink(link) == "anon_inode:[eventpoll]" for link in links)


def instructions(program: Path, folder: Path, *, relay: str | None = None, each: int = 1) -> dict[int, float]:
    """Instructions a login by the number of requests under way. ``folder``: an empty one. ``relay``: the mode in which
    passwords are asked behind. ``each``: a customer's tokens. Raises Unusable."""
    counting = Counting(folder)
    command = folder / "sekisho"
    environment = " ".join(f'{name}="{value}"' for name, value in counting.environment.items())
    valgrind = " ".join(f'"{word}"' for word in counting.valgrind)
    python = program.with_name("python")
    command.write_text(_COMMAND.format(environment=environment, valgrind=valgrind, python=python, program=program))
    command.chmod(0o755)
    product = Product(folder / "stores", command)
    amounts = _RELAYED if relay else _LOGINS
    store = product.store(_WARM_UP + sum(amounts.values()), each=each)
    generator, customers, found = LoadGenerator(folder), count(), {}
    with _relay(product, store, folder, relay) if relay else _codes(product, store, folder, each) as served:
        counting.lap(served.process)
        _log_in(generator, served, customers, max(amounts), _WARM_UP)
        idle = _measured(counting, served.process, lambda: time.sleep(_IDLE_SECONDS))
        for level, logins in amounts.items():
            work = partial(_log_in, generator, served, customers, level, logins)
            busy = _measured(counting, served.process, work)
            found[level] = (busy.total - idle.a_second * busy.seconds) / logins
    return found


class _Served(NamedTuple):
    """A server, one of its doors, and what is right there: for a customer in a time step."""

    process: Process
    door: Door
    credential: Callable[[int, int], Credential]


@contextmanager
def _codes(product: Product, store: Store, folder: Path, each: int) -> Iterator[_Served]:
    with product.serve(store, folder / "serving") as serving:
        yield _Served(serving.process, serving.doors["code"], partial(_code, each))


@contextmanager
def _relay(product: Product, store: Store, folder: Path, mode: str) -> Iterator[_Served]:
    behind = Door(free_port(), "127.0.0.1", secrets.token_hex(16).encode())
    relay = Door(0, "127.0.0.21", secrets.token_hex(16).encode())
    more = proxy.upstream(behind, timeout=_PATIENCE / 2) + proxy.client(mode, relay)
    (folder / "behind").mkdir(mode=0o700)
    with (
        proxy.running(folder / "behind", proxy.BEHIND, behind),
        product.serve(store, folder / "serving", more, request_seconds=_PATIENCE) as serving,
    ):
        door = Door(serving.doors["code"].port, relay.source, relay.secret)
        yield _Served(serving.process, door, proxy.both if mode == "append" else proxy.password)


def _code(each: int, number: int, step: int) -> Credential:
    token = tokens.of_customer(number, each)[number % each]
    return Credential(tokens.contract_id(number), tokens.code(tokens.seed(token), step))


class _Measured(NamedTuple):
    total: int
    seconds: float

    @property
    def a_second(self) -> float:
        return self.total / self.seconds


def _measured(counting: Counting, process: Process, work: Callable[[], None]) -> _Measured:
    """The instructions that a program executes while ``work`` is done, and until the second is full: what a server does
    once a second is then in it as often as there are seconds."""
    counting.lap(process)
    begun = time.monotonic()
    work()
    time.sleep(-(time.monotonic() - begun) % 1.0)
    return _Measured(counting.lap(process), time.monotonic() - begun)


def _log_in(generator: LoadGenerator, served: _Served, customers: Iterator[int], level: int, logins: int) -> None:
    step, at = tokens.step_with_room(_LOAD_SECONDS)  # a code of the step before would cost another HMAC
    time.sleep(max(0.0, at - time.time()))
    credentials = [served.credential(number, step) for number in islice(customers, logins)]
    aim = Aim(served.door, outstanding=level, seconds=120, timeout=_PATIENCE)
    load, _ = generator.start(aim, build(aim, credentials)).finish()
    if load.accepted != logins or load.repeated:
        raise Unusable(f"{load.accepted} of {logins} right logins were accepted, {load.repeated} sent again")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the programs; the ratio is to the first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("program", nargs="+", type=Path, help="a sekisho command, in the bin of its environment")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an empty folder for the counts")
    parser.add_argument(
        "--relay", nargs="?", const="password", choices=("password", "append"), help="ask a server behind"
    )
    parser.add_argument("--each", type=int, default=1, metavar="N", help="tokens of one customer (1)")
    options = parser.parse_args(arguments)
    first: dict[int, float] = {}
    for number, program in enumerate(options.program):
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = instructions(program.absolute(), Path(folder), relay=options.relay, each=options.each)
            except Unusable as problem:
                print(f"{program}: {problem}", file=sys.stderr)
                return 1
            for path in Path(folder).glob("counts.*") if options.keep else ():
                (options.keep / str(number)).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, options.keep / str(number))
        first = first or found
        for level, one in found.items():
            print(
                f"{program}  {level:3} under way  {one:9,.0f} instructions a login  {one / first[level]:.3f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
