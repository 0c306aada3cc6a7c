"""What the processes of one node share: its name, why it is silent, and how many logins each process has accepted. In
memory that is made before the fork; nobody waits for anybody.

The text is written by one process, and read by all: a text whose checksum is not right is being written just now.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import NamedTuple

_HEAD = struct.Struct("=II")
"""Length and checksum (CRC-32) of the text."""
_COUNT = struct.Struct("=Q")
_MOST = 2048
"""Octets of the text."""
_BETWEEN = "\n"


class Told(NamedTuple):
    """``name``: of the node. ``silent``: why no login may be answered because of its clock, and ``short``: the same
    without the advice; empty: it may."""

    name: str
    silent: str = ""
    short: str = ""


class NodeBoard:
    """``processes``: how many have a place for what they count."""

    def __init__(self, name: str, processes: int) -> None:
        self._memory = mmap.mmap(-1, _HEAD.size + _MOST + processes * _COUNT.size)
        self._processes = processes
        self._last = Told(name)
        self.tell(self._last)

    def tell(self, told: Told) -> None:
        """Let all processes know."""
        text = _BETWEEN.join(one.replace(_BETWEEN, " ") for one in told).encode()[:_MOST]
        self._memory[_HEAD.size : _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, 0, len(text), zlib.crc32(text))

    def read(self) -> Told:
        """What was told last."""
        length, checksum = _HEAD.unpack_from(self._memory, 0)
        text = self._memory[_HEAD.size : _HEAD.size + min(length, _MOST)]
        if zlib.crc32(text) == checksum:
            self._last = Told(*text.decode(errors="replace").split(_BETWEEN))
        return self._last

    def counted(self, place: int) -> int:
        """The logins that the process in this place has accepted, and those before it."""
        return int(_COUNT.unpack_from(self._memory, self._at(place))[0])

    def count(self, place: int, logins: int) -> None:
        """Write that number."""
        _COUNT.pack_into(self._memory, self._at(place), logins)

    @property
    def logins(self) -> int:
        """Of all processes together."""
        return sum(self.counted(place) for place in range(self._processes))

    def _at(self, place: int) -> int:
        return _HEAD.size + _MOST + place * _COUNT.size
