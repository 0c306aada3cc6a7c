"""Counting instructions, of a small server that forks as the product does."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.instructions import Counting
from benchmarks.processes import Process, Unusable

FORKED = """
import asyncio, os, signal

async def serve():
    def work():
        sum(range(1_000_000))
        print("worked", flush=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, work)
    print("ready", flush=True)
    while True:
        await asyncio.sleep(0.2)

if os.fork() == 0:
    asyncio.run(serve())
elif os.fork() == 0:
    asyncio.run(serve())
else:
    signal.pause()
"""


def working(process: Process, counting: Counting, pids: list[int]) -> int:
    """What it executes while these processes of it work once each."""
    before = process.log.read_text().count("worked")
    counting.lap(process)
    for pid in pids:
        os.kill(pid, signal.SIGHUP)
    end = time.monotonic() + 30
    while process.log.read_text().count("worked") < before + len(pids):
        assert time.monotonic() < end
        time.sleep(0.01)
    return counting.lap(process)


def test_forked_processes_are_counted_and_the_same_work_counts_the_same(tmp_path: Path) -> None:
    counting = Counting(tmp_path)
    environment = [f"{name}={value}" for name, value in counting.environment.items()]
    command = ["env", *environment, *counting.valgrind, sys.executable, "-c", FORKED]
    with Process(command, tmp_path / "log") as process:
        process.wait_for("ready")
        while process.log.read_text().count("ready") < 2:
            time.sleep(0.01)
        _, *workers = process.family()
        nothing = working(process, counting, [])
        one = working(process, counting, workers[:1])
        both = working(process, counting, workers)
        again = working(process, counting, workers)
        assert one > 10 * nothing
        assert both == pytest.approx(2 * one, rel=0.1)
        assert again == pytest.approx(both, rel=0.02)
    assert not [pid for pid in workers if command_line(pid)], "descendants end with it"


def command_line(pid: int) -> bytes:
    """Empty for one that has ended, whether or not somebody has waited for it."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_program_that_does_not_answer_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.instructions.WRITE_SECONDS", 0.5)
    counting = Counting(tmp_path)
    program = (
        "import select, signal; signal.signal(signal.SIGUSR2, signal.SIG_IGN); loop = select.epoll(); "
        "print('ready', flush=True); loop.poll(60)"
    )
    with Process([sys.executable, "-c", program], tmp_path / "log") as process:
        process.wait_for("ready")
        with pytest.raises(Unusable, match="does not say"):
            counting.lap(process)
