"""Whether a process whose loop beats no more has to be killed, or has a reason that killing would not mend.

Looks into /proc (proc(5)); signals nobody.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

STANDS_STILL = 5.0
"""Seconds without a heartbeat after which a process stands still."""

START_SECONDS = 60.0
"""The same for one that is not ready yet: it opens the store, and makes a hash as costly as the settings want it."""

_STARVED = 0.02
"""A runnable process that got less of a processor than this is slow because the machine is."""

_TICKS = os.sysconf("SC_CLK_TCK")
_REASONS = {"D": "waits for the disk", "T": "is stopped (SIGSTOP, or a debugger)", "t": "is stopped by a debugger"}


@dataclass
class Standstill:
    """One process under suspicion. ``since``: when it was looked at first (seconds), ``cpu``: what it had used then."""

    since: float
    cpu: float
    looks: int = 0
    told: str = ""


def processor_seconds(pid: int) -> float:
    """What its main thread has used so far; 0 for a process that is gone."""
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def excuse(pid: int, found: Standstill, now: float) -> str:
    """Why it is not to be killed, in words for the log; empty: there is no reason."""
    fields = _fields(pid)
    if not fields:
        return "has ended"
    if reason := _REASONS.get(fields[0]):
        return reason
    if _waits_for_lock(pid):
        return "waits for another process's lock"
    if fields[0] == "R" and processor_seconds(pid) - found.cpu < _STARVED * (now - found.since):
        return "gets no processor: the machine is overloaded"
    return ""


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat of its main thread, from the state on."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _waits_for_lock(pid: int) -> bool:
    """Whether it waits for a flock or a POSIX lock: /proc/locks lists those who wait behind an arrow."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return False
    return any(str(pid) in line.split() for line in lines if "->" in line)
