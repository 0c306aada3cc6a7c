"""The servers under test as processes: started, watched, weighed, ended by process id; and where they live.

Linux only: CPU and memory are read from /proc.
"""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_TICKS = os.sysconf("SC_CLK_TCK")
_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


class Unusable(Exception):
    """A server did not start, died, or does not do what the comparison demands of it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Mebibytes, added up over the server's processes (shared pages count once for each)."""

    now: float
    peak: float


class Process:
    """One server with its children. As a context manager it is ended on the way out, whatever happened."""

    def __init__(self, command: Sequence[str], log: Path, *, cwd: Path | None = None, hello: bytes = b"") -> None:
        """`hello` is what the process finds on its standard input."""
        self.log = log
        self._begun = time.monotonic()
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, cwd=cwd
            )
        assert self._child.stdin is not None
        with suppress(BrokenPipeError), self._child.stdin as mouth:
            mouth.write(hello)

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_for(self, words: str, seconds: float = 60) -> float:
        """Until the log holds these words; how many seconds that took since the process was started."""
        pattern = re.compile(rb"\b" + re.escape(words.encode()) + rb"\b")
        while time.monotonic() - self._begun < seconds:
            if pattern.search(self.log.read_bytes()):
                return time.monotonic() - self._begun
            self.check()
            time.sleep(0.005)
        raise Unusable(f"no {words!r} after {seconds:.0f} s; the log ends: {self.tail()}")

    def check(self) -> None:
        if self._child.poll() is not None:
            raise Unusable(f"{self._child.args!r} ended with status {self._child.returncode}: {self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def cpu_seconds(self) -> float:
        """User and system time of all threads, of living children, and of those already waited for."""
        return sum(_cpu_seconds(pid) for pid in self.family())

    def signal(self, number: signal.Signals) -> None:
        """Send it to the process itself."""
        self._child.send_signal(number)

    def memory(self) -> Memory:
        family = [_status(pid) for pid in self.family()]
        return Memory(
            now=sum(status.get("VmRSS", 0) for status in family) / 1024,
            peak=sum(status.get("VmHWM", 0) for status in family) / 1024,
        )

    def stop(self, seconds: float = 15) -> None:
        """End it; descendants that outlive it, or the time, are killed."""
        if self._child.poll() is not None:
            return
        with ExitStack() as held:
            family = list(_handles(self.family(), held))
            self._child.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
            for handle in family:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                ended = select.poll()
                ended.register(handle, select.POLLIN)
                ended.poll(seconds * 1000)
            self._child.wait()

    def family(self) -> list[int]:
        """Its process ID, and those of all its descendants that live."""
        found, todo = [], [self._child.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += _children(pid)
        return found


def free_port() -> int:
    """A UDP port of the loopback that is free at this moment."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many, no two the same."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A throw-away folder for stores and logs, on a real disk if there is one: an fsync to memory costs nothing."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=os.environ.get("TMPDIR") or parent)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_memory(folder: Path) -> bool:
    """Whether this folder is on a file system that forgets."""
    return file_system(folder) in _IN_MEMORY


def file_system(folder: Path) -> str:
    best, kind = Path("/"), "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, name, *_ = line.split()
        if folder.resolve().is_relative_to(where) and len(Path(where).parts) >= len(best.parts):
            best, kind = Path(where), name
    return kind


def _handles(pids: list[int], held: ExitStack) -> Iterator[int]:
    """Of processes, whose number may soon be somebody else's."""
    for pid in pids:
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            held.callback(os.close, handle)
            yield handle


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in path.read_text().split()]
        except OSError:
            continue  # the thread ended between the listing and the reading
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own, waited_for = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return max(own / _TICKS, _scheduled_seconds(pid)) + waited_for / _TICKS


def _scheduled_seconds(pid: int) -> float:
    """The same to the nanosecond, but without the threads that have ended; 0 where the kernel does not tell."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def _status(pid: int) -> dict[str, int]:
    """The fields of /proc/PID/status that are kibibytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    parts = [line.split() for line in lines]
    return {part[0].rstrip(":"): int(part[1]) for part in parts if len(part) == 3 and part[2] == "kB"}
