"""Signs of life in memory that the server's processes share: each writes its own, the supervisor reads them.

It judges nothing: standstill.py does.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import time

BEAT_SECONDS = 0.5
"""Between two signs of life."""

_SLOT = struct.Struct("=dIII")
"""When it beat last (time.monotonic(), the same for all processes of a machine), whether it is ready, reloads,
starts."""


class Heartbeat:
    """Of one process and of those that take its place. ``memory``: made before fork(); ``slot``: its number there."""

    def __init__(self, memory: mmap.mmap, slot: int) -> None:
        self._memory, self._at = memory, slot * _SLOT.size

    def begin(self) -> None:
        """By the parent, before each fork: it has just shown life, and is not ready."""
        _SLOT.pack_into(self._memory, self._at, time.monotonic(), False, 0, self.starts + 1)

    def beat(self) -> None:
        """By the process itself, at least every few seconds."""
        struct.pack_into("=d", self._memory, self._at, time.monotonic())

    def is_ready(self) -> None:
        """By the process itself: it serves now."""
        struct.pack_into("=I", self._memory, self._at + 8, True)
        self.beat()

    def has_reloaded(self) -> None:
        """By the process itself: it has read the settings again, for better or worse."""
        struct.pack_into("=I", self._memory, self._at + 12, self.reloads + 1)

    @property
    def at(self) -> float:
        """When it beat last (time.monotonic())."""
        return float(_SLOT.unpack_from(self._memory, self._at)[0])

    @property
    def ready(self) -> bool:
        return bool(_SLOT.unpack_from(self._memory, self._at)[1])

    @property
    def reloads(self) -> int:
        return int(_SLOT.unpack_from(self._memory, self._at)[2])

    @property
    def starts(self) -> int:
        """How many processes have had it so far."""
        return int(_SLOT.unpack_from(self._memory, self._at)[3])

    async def keep(self) -> None:
        """Beat from the loop, until cancelled: a loop that stands still beats no more."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_SECONDS)


def heartbeats(number: int) -> list[Heartbeat]:
    """So many, in new shared memory."""
    memory = mmap.mmap(-1, max(mmap.PAGESIZE, number * _SLOT.size))
    return [Heartbeat(memory, slot) for slot in range(number)]
