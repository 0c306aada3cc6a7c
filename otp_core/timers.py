"""Many timers of one event loop, nearly all of which are cancelled before their time: one of the loop's own for all.

The loop's keep a handle each and compare them in Python, which for a login costs more than sending it. No thread.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable

_KEPT = 512
"""Cancelled timers that are kept, at least, before all of them are thrown out."""


class Timer:
    """One of them. ``act`` is called once, unless it is cancelled before."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[], object]) -> None:
        self.act: Callable[[], object] | None = act


class Timers:
    """Belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Timer]] = []
        self._made = self._cancelled = 0
        self._handle: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def at(self, when: float, act: Callable[[], object]) -> Timer:
        """Call ``act`` at this time of the loop, not before."""
        timer = Timer(act)
        self._made += 1  # tells apart what is due at one time
        heapq.heappush(self._heap, (when, self._made, timer))
        if when < self._rings_at:
            self._ring_at(when)
        return timer

    def cancel(self, timer: Timer) -> None:
        """It is not called any more; of one that was called, or cancelled, nothing."""
        if timer.act is None:
            return
        timer.act = None
        self._cancelled += 1
        if self._cancelled > _KEPT and 2 * self._cancelled > len(self._heap):
            self._heap = [one for one in self._heap if one[2].act is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def _ring_at(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._rings_at, self._handle = when, self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        """Call what is due. What one of them raises goes to the loop, and the others are called all the same."""
        self._rings_at, self._handle = math.inf, None
        now = self._loop.time()
        try:
            while self._heap:
                when, _, timer = self._heap[0]
                act = timer.act
                if act is not None and when > now:
                    break
                heapq.heappop(self._heap)
                if act is None:
                    self._cancelled -= 1
                else:
                    timer.act = None
                    act()
        finally:
            if self._heap and self._heap[0][0] < self._rings_at:
                self._ring_at(self._heap[0][0])
