"""The time, guarded: a clock that is set back is refused, because codes of the past would be valid again.

It reads no store; the latest moment known is an argument.
"""

from __future__ import annotations

from collections.abc import Callable

from otp_core.model import BackendSilent

TOLERANCE = 30.0
"""Seconds that a clock may step back: one time step of most tokens, and more than a time service corrects at once."""


class ClockSetBack(BackendSilent):
    """The clock shows a time before one that has already been seen. The text says what to do. It stays the same until
    the clock is right again, because causes are logged and counted by their texts."""


class GuardedClock:
    """The time in ms since the epoch, unless it is before the latest moment known. ``clock``: seconds since the epoch.
    ``latest_ms``: the time of the store's newest audit row, so that a restart does not forget it."""

    def __init__(self, clock: Callable[[], float], latest_ms: int = 0) -> None:
        self._clock = clock
        self._latest = latest_ms
        self._found_back = 0

    def now(self) -> int:
        """The time in ms since the epoch. Raises ClockSetBack while the clock is behind; recovers when it is right
        again."""
        now = int(self._clock() * 1000)
        if now < self._latest - TOLERANCE * 1000:
            self._found_back = self._found_back or self._latest - now
            raise ClockSetBack(
                f"the clock was set back: it stands {self._found_back / 1000:.0f} s before the newest entry of the "
                "audit trail, and codes of the past would fit again. No login is answered until it is right. Check the "
                "time service; if it was wrong before and is right now, restart with `sekisho serve --trust-clock`"
            )
        self._latest, self._found_back = max(self._latest, now), 0
        return now
