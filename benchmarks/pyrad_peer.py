"""pyrad's `Server` as a contender: what a RADIUS server of a few lines of Python costs before it decides anything."""

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import tokens
from benchmarks.contender import ACCEPT, CODE_DEMANDED, Running
from benchmarks.load import Credential, Door
from benchmarks.processes import Process, free_port


class PyradServer:
    name = "pyrad"
    title = "pyrad Server, static passwords"
    setup = "users in memory; one process; a larger receive buffer, Message-Authenticator demanded and sent"
    lacks = "no codes at all, nothing stored, no duplicate detection, no lockout, no audit"
    answers: Mapping[str, str] = {**CODE_DEMANDED, "the same code again": ACCEPT}

    @contextmanager
    def start(self, folder: Path, customers: int) -> Iterator[Running]:
        door = Door(free_port(), "127.0.0.2", secrets.token_hex(16).encode())
        command = [sys.executable, "-m", "benchmarks.pyrad_server", str(door.port), str(customers)]
        root = Path(__file__).resolve().parents[1]
        with Process(command, folder / "pyrad.log", cwd=root, hello=door.secret + b"\n") as process:
            process.wait_for("ready")
            yield Running(process, door)

    def credential(self, number: int, step: int) -> Credential:
        return Credential(tokens.contract_id(number), tokens.password(number).encode())
