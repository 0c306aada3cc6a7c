"""What the figures were measured on. Nothing that names the machine or its owner."""

import os
import platform
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import freeradius, freeradius_debian
from benchmarks.processes import Unusable, file_system
from otp_core.store.sqlite import driver


def facts(store: Path) -> dict[str, Any]:
    """`store` is a folder on the disk that the databases live on."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gib": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
        "kernel": platform.release(),
        "file_system": file_system(store),
        "commit_to_disk_ms": round(commit_seconds(store) * 1e3, 3),
        "udp_receive_buffer_max": int(Path("/proc/sys/net/core/rmem_max").read_text()),
        "python": platform.python_version(),
        "sqlite": driver.NAME,
        "freeradius": _freeradius(),
        "debian_configuration_of_freeradius": freeradius_debian.package_version() or "not installed",
        "pyrad": version("pyrad"),
        "sekisho": version("sekisho"),
        "argon2-cffi": version("argon2-cffi"),
        "busy_before_percent": round(busy_share() * 100),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit_seconds(folder: Path, times: int = 200) -> float:
    """Median time of writing 4 KiB and having them on disk: the floor under every durable login that is alone."""
    path = folder / "commit-probe"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.monotonic()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append(time.monotonic() - begun)
    path.unlink()
    return statistics.median(took)


def busy_share(seconds: float = 1.0) -> float:
    """How much of all cores somebody else is using: the figures of a busy machine are worth little."""
    begun = _ticks()
    time.sleep(seconds)
    idle, total = (after - before for before, after in zip(begun, _ticks(), strict=True))
    return 1 - idle / total


def _ticks() -> tuple[int, int]:
    """(idle and waiting for the disk, all), summed over the cores."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _freeradius() -> str:
    try:
        return freeradius.version()
    except Unusable:
        return "not installed"
