"""Runs the load generator: packets in, one `Load` of counts and latencies out. Compiles it first, once."""

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import packets
from benchmarks.processes import Unusable

SOCKETS = 8


@dataclass(frozen=True, slots=True)
class Door:
    """Where a server listens, and the gateway as which it knows us: an address of the loopback and its secret."""

    port: int
    source: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """What one Access-Request carries."""

    user: str
    password: bytes
    state: bytes | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator saw. Latencies in microseconds, retransmissions included."""

    sent: int
    accepted: int
    challenged: int
    rejected: int
    other: int
    lost: int
    repeated: int
    stray: int
    late: int
    elapsed_s: float
    rate: float
    p50_us: int
    p95_us: int
    p99_us: int
    max_us: int
    cpu_s: float

    def summary(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a load goes, and with how many requests under way (or at which rate a second)."""

    door: Door
    outstanding: int = 1
    rate: float = 0.0
    seconds: float = 2.0
    timeout: float = 1.0
    tries: int = 3
    sockets: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sockets", SOCKETS if self.rate else min(SOCKETS, self.outstanding))

    def arguments(self) -> list[str]:
        pace = ["--rate", str(self.rate)] if self.rate else ["--outstanding", str(self.outstanding)]
        return [
            *(
                "--to",
                f"127.0.0.1:{self.door.port}",
                "--from",
                self.door.source,
                "--sockets",
                str(self.sockets),
            ),
            *("--seconds", str(self.seconds), "--timeout", str(self.timeout), "--tries", str(self.tries)),
            *pace,
        ]


def build(aim: Aim, credentials: Sequence[Credential]) -> list[bytes]:
    """Datagrams in the order in which the load generator expects them: their identifiers depend on the sockets."""
    authenticators = os.urandom(16 * len(credentials))
    nas = socket.inet_aton(aim.door.source)
    return [
        packets.access_request(
            credential.user.encode(),
            credential.password,
            identifier=packets.identifier_of(place, aim.sockets),
            authenticator=authenticators[16 * place : 16 * place + 16],
            secret=aim.door.secret,
            nas=nas,
            state=credential.state,
        )
        for place, credential in enumerate(credentials)
    ]


class LoadGenerator:
    """The compiled program in its folder; every load gets files of its own there."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "loadgen"
        self._folder = folder
        self._runs = 0
        source = Path(__file__).with_name("loadgen.c")
        built = subprocess.run(
            ["cc", "-O2", "-o", str(self.program), str(source)], capture_output=True, text=True, check=False
        )
        if built.returncode != 0:
            raise Unusable(f"loadgen.c does not compile: {built.stderr}")

    def start(self, aim: Aim, load: Sequence[bytes], *, keep: int = 0) -> "Underway":
        """Begins to send at once. `keep`: how many replies to keep."""
        self._runs += 1
        sent, kept = self._folder / f"{self._runs}.packets", self._folder / f"{self._runs}.replies"
        packets.write_load(sent, list(load))
        command = [str(self.program), *aim.arguments(), "--packets", str(sent)]
        if keep:
            command += ["--replies", str(kept), "--replies-max", str(keep)]
        return Underway(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), sent, kept
        )


@dataclass
class Underway:
    """A load on its way; `finish` waits for its end."""

    process: "subprocess.Popen[str]"
    _sent: Path
    _kept: Path

    def finish(self) -> tuple[Load, list[tuple[int, bytes]]]:
        """(counts, the kept replies with the number of their packet)."""
        try:
            out, error = self.process.communicate(timeout=180)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        if self.process.returncode != 0:
            raise Unusable(error.strip())
        replies = list(packets.read_replies(self._kept)) if self._kept.exists() else []
        self._sent.unlink(missing_ok=True)
        self._kept.unlink(missing_ok=True)
        return Load(**json.loads(out)), replies
