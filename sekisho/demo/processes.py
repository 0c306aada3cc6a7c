"""The demo's processes: each is started with a log file, waited for, and ended when the demo ends."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import typer

from sekisho.child import end_with

_START_SECONDS = 60.0
_END_SECONDS = 15.0


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process while the body runs. It has a session of its own, so that ^C at the terminal reaches only the demo,
    which then ends it; it does not outlive a demo that was killed."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, preexec_fn=partial(end_with, os.getpid())
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_udp(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the process has bound this UDP port of 127.0.0.1. Raises typer.Exit if it does not."""

    def taken() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return True
        return False

    _wait(process, taken, log)


def wait_for_tcp(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the process accepts connections at this TCP port of 127.0.0.1. Raises typer.Exit if it does not."""

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    _wait(process, answers, log)


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if ready():
            return
        time.sleep(0.05)
    typer.echo(f"a server of the demo did not start; its log, {log}, says why", err=True)
    raise typer.Exit(1)
