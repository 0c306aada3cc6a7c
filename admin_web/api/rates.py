"""How many requests each key may make: a bucket of tokens for each, in memory. Pure, given the time."""

from __future__ import annotations

import math
from typing import NamedTuple


class Rate(NamedTuple):
    """Where a key stands. ``limit``: requests a second; ``remaining``: that it could make at once; ``reset``: whole
    seconds until it has all of them again. ``wait``: seconds until a request that is over the rate is told so."""

    is_over: bool
    limit: int
    remaining: int
    reset: int
    wait: float = 0.0

    @property
    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-06 has them, and Retry-After (RFC 9110 section 10.2.3)."""
        found = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return {**found, "Retry-After": "1"} if self.is_over else found


LONGEST_WAIT = 1.0
"""Seconds for which somebody is kept waiting who is told that they ask too much."""


class RateLimiter:
    """Of one process. ``most``: keys that are remembered; one that is left out begins anew.

    A key gets no more refusals a second than answers, or one for each of its connections if those are more: whoever
    asks ten times as much waits for them, and the process has its time for the others. (A refusal costs what any
    request of HTTP costs, and the look for the key.)"""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buckets: dict[int, tuple[float, float, float]] = {}
        """By key: what was left, and when (seconds, monotonic); and when the next refusal may go out."""

    def take(self, key: int, per_second: int, now: float) -> Rate:
        """Count one request of a key at ``now``, unless it is over its rate. The bucket holds a second's worth."""
        left, at, refusal_at = self._buckets.pop(key, (float(per_second), now, now))
        left = min(float(per_second), left + (now - at) * per_second)
        is_over, wait = left < 1.0, 0.0
        if is_over:
            wait = min(max(0.0, refusal_at - now), LONGEST_WAIT)
            refusal_at = now + wait + 1.0 / per_second
        else:
            left -= 1.0
        while len(self._buckets) >= self._most:
            del self._buckets[next(iter(self._buckets))]  # whose last request was the longest ago
        self._buckets[key] = left, now, refusal_at
        return Rate(is_over, per_second, int(left), math.ceil((per_second - left) / per_second), wait)
