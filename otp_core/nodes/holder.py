"""Which process has a node's name, as a text that another process can judge: whether that one has ended for certain.

So a node that was killed gets its name back at once, and two that run side by side are told apart. It decides nothing.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")
_UNKNOWN = "-"


class Holder(NamedTuple):
    """A process. ``machine``: a digest of the machine's ID; ``boot``: of which boot; ``space``: in which PIDs are
    counted; ``started``: ticks since the boot. "-": not known."""

    machine: str
    boot: str
    space: str
    pid: str
    started: str

    @property
    def text(self) -> str:
        """As the store keeps it."""
        return " ".join(self)


def this_process() -> Holder:
    """The process that asks."""
    return Holder(machine(), _boot(), _space(), str(os.getpid()), _started(os.getpid()) or _UNKNOWN)


def machine() -> str:
    """A digest of the ID of this machine, which the ID itself cannot be told from (machine-id(5) asks for that)."""
    found = _read(_MACHINE_ID)
    return hashlib.sha256(b"sekisho node " + found.encode()).hexdigest()[:16] if found else _UNKNOWN


def has_ended(text: str) -> bool:
    """Whether the process of ``Holder.text`` has ended for certain. False: it has not, or nobody here can know: it is
    another machine's, or one of another container."""
    words = text.split(" ")
    if len(words) != len(Holder._fields):
        return False
    there = Holder(*words)
    if _UNKNOWN in there[:3] or there.machine != machine():
        return False
    if there.boot != _boot():
        return True
    return there.space == _space() and there.pid.isdecimal() and _started(int(there.pid)) != there.started


def _started(pid: int) -> str | None:
    """When a process was started; None: there is none. A zombie has ended."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return None if len(fields) < 20 or fields[0] == "Z" else fields[19]


def _boot() -> str:
    return _read(_PROC / "sys/kernel/random/boot_id") or _UNKNOWN


def _space() -> str:
    try:
        return (_PROC / "self/ns/pid").readlink().name.replace(" ", "")
    except OSError:
        return _UNKNOWN


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(100).decode("ascii", "replace").strip()
    except OSError:
        return ""
