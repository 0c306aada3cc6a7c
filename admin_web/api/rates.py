"""How many requests each key may make: a bucket of tokens for each, in memory. Pure, given the time."""

from __future__ import annotations

import math
from typing import NamedTuple


class Rate(NamedTuple):
    """Where a key stands. ``limit``: requests a second; ``remaining``: that it could make at once; ``reset``: whole
    seconds until it has all of them again."""

    is_over: bool
    limit: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-06 has them, and Retry-After (RFC 9110 section 10.2.3)."""
        found = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return {**found, "Retry-After": "1"} if self.is_over else found


class RateLimiter:
    """Of one process. ``most``: keys that are remembered; one that is left out begins anew."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buckets: dict[int, tuple[float, float]] = {}
        """By key: what was left, and when (seconds, monotonic)."""

    def take(self, key: int, per_second: int, now: float) -> Rate:
        """Count one request of a key at ``now``, unless it is over its rate. The bucket holds a second's worth."""
        left, at = self._buckets.pop(key, (float(per_second), now))
        left = min(float(per_second), left + (now - at) * per_second)
        is_over = left < 1.0
        if not is_over:
            left -= 1.0
        while len(self._buckets) >= self._most:
            del self._buckets[next(iter(self._buckets))]  # whose last request was the longest ago
        self._buckets[key] = left, now
        return Rate(is_over, per_second, int(left), math.ceil((per_second - left) / per_second))
