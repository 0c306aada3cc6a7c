"""Log lines about what strangers can cause as often as they like: one in a while, with how many there were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog


class RareLog:
    """Warns of each thing at most once in ``interval`` seconds. ``clock``: seconds, monotonic. The things are few and
    fixed: they are kept for ever."""

    def __init__(self, door: str, clock: Callable[[], float], interval: float) -> None:
        self._log = structlog.get_logger(door)
        self._clock, self._interval = clock, interval
        self._said: dict[str, tuple[float, int]] = {}

    def warn(self, thing: str, **fields: Any) -> None:
        """Log ``thing`` with these fields and ``times``, how often it happened since the last line about it."""
        said_at, unsaid = self._said.get(thing, (float("-inf"), 0))
        now = self._clock()
        if now < said_at + self._interval:
            self._said[thing] = said_at, unsaid + 1
            return
        self._log.warning(thing, times=unsaid + 1, **fields)
        self._said[thing] = now, 0
