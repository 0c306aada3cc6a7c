"""How far this machine's clock is ahead of the store's: asked a few times, each answer dated at half of its way."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_low

SAMPLES = 3


def offset_ms(ask: Callable[[], int], clock: Callable[[], float]) -> int:
    """Milliseconds that ``clock`` (seconds since the epoch) is ahead of what ``ask`` answers (ms). The median: one
    answer that came late, or a clock that was set in the middle, decides nothing. Raises what ``ask`` raises."""
    return median_low(_sample(ask, clock) for _ in range(SAMPLES))


def _sample(ask: Callable[[], int], clock: Callable[[], float]) -> int:
    before = clock()
    there = ask()
    return int((before + clock()) / 2 * 1000) - there
