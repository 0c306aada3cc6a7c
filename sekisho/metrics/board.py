"""Memory that the server's processes share: each writes its figures there, the metrics process reads them all.

Theory of operation
-------------------
*What is in it.* A slot for each process, made before the fork, and one time: when somebody asked last whether logins
can be answered. A slot has two halves that are written in turn, each with a number, its length and a checksum; the
half with the highest number whose checksum is right counts. So a reader never waits, and a process that is killed while
it writes leaves what it wrote before.

*The next process in a slot* begins with the counts of the one before it (``Figures.counts``), because a count that
falls looks like a restart of the whole server to whoever watches.

It knows no metric by name.
"""

from __future__ import annotations

import json
import mmap
import struct
import time
import zlib
from collections.abc import Mapping
from typing import NamedTuple

HALF = 512 * 1024
"""Octets of one half of a slot, for some thousand figures; memory that nobody writes costs nothing."""

_HEADER = struct.Struct("=QII")
"""Number, length, checksum (CRC-32) of what follows."""
_ASKED = struct.Struct("=d")

Key = tuple[str, ...]
"""The name of a metric, then the values of its labels."""


class Figures(NamedTuple):
    """``counts`` only grow: a number, or for a histogram its counts and then its sum. ``gauges``: as of now.
    ``probed_at``: when it was last tried whether a login could be answered (time.monotonic(), 0 for never);
    ``cause``: what was in the way, empty for nothing. ``written_at``: when (time.monotonic(); 0: not told)."""

    counts: dict[Key, list[float]]
    gauges: dict[Key, float]
    probed_at: float = 0.0
    cause: str = ""
    written_at: float = 0.0


NOTHING = Figures({}, {})


class Slot:
    """The place of one process, and of those that follow it."""

    def __init__(self, memory: mmap.mmap, at: int) -> None:
        self._memory, self._at, self._number = memory, at, 0

    def write(self, figures: Figures) -> bool:
        """For others to read. False if there is no room for so much: then what was written before stays."""
        counts = [[*key, value] for key, value in figures.counts.items()]
        gauges = [[*key, value] for key, value in figures.gauges.items()]
        whole = [counts, gauges, figures.probed_at, figures.cause, figures.written_at]
        octets = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
        if len(octets) > HALF - _HEADER.size:
            return False
        self._number = max(self._number, *(self._half(half)[0] for half in (0, 1))) + 1
        begin = self._at + self._number % 2 * HALF
        self._memory[begin + _HEADER.size : begin + _HEADER.size + len(octets)] = octets
        _HEADER.pack_into(self._memory, begin, self._number, len(octets), zlib.crc32(octets))
        return True

    def read(self) -> Figures:
        """What was written last; NOTHING if nothing was."""
        _, octets = max(self._half(0), self._half(1))
        if not octets:
            return NOTHING
        counts, gauges, probed_at, cause, written_at = json.loads(octets)
        return Figures(
            {tuple(row[:-1]): row[-1] for row in counts},
            {tuple(row[:-1]): row[-1] for row in gauges},
            probed_at,
            cause,
            written_at,
        )

    def _half(self, half: int) -> tuple[int, bytes]:
        """Its number and what it holds; (0, nothing) if it is empty or was not written to its end."""
        begin = self._at + half * HALF
        number, length, checksum = _HEADER.unpack_from(self._memory, begin)
        octets = self._memory[begin + _HEADER.size : begin + _HEADER.size + min(length, HALF - _HEADER.size)]
        return (number, octets) if number and zlib.crc32(octets) == checksum else (0, b"")


class Board:
    """Made before the fork, for so many processes."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + processes * 2 * HALF)
        self.slots = [Slot(self._memory, mmap.PAGESIZE + number * 2 * HALF) for number in range(processes)]

    def ask(self) -> float:
        """Ask every process whether a login could be answered. The time of the question (time.monotonic())."""
        now = time.monotonic()
        _ASKED.pack_into(self._memory, 0, now)
        return now

    @property
    def asked_at(self) -> float:
        """When somebody asked last; 0 for never."""
        return float(_ASKED.unpack_from(self._memory, 0)[0])


def added(some: Mapping[Key, list[float]], more: Mapping[Key, list[float]]) -> dict[Key, list[float]]:
    """Both together. A histogram whose bounds were others (of another number) counts no more."""
    total = dict(some)
    for key, values in more.items():
        before = total.get(key, [])
        same = len(before) == len(values)
        total[key] = [one + other for one, other in zip(before, values, strict=True)] if same else values
    return total
