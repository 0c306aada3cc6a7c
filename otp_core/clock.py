"""The hour, and whether it can be trusted. A clock that goes back would make old codes fit again."""

from __future__ import annotations

from collections.abc import Callable

from otp_core.model import BackendSilent

TOLERANCE = 30.0
"""Seconds that a clock may step back without notice: one step of most tokens, more than any time service slews."""


class ClockSetBack(BackendSilent):
    """The clock stands before a moment that has already been. The text says what to do, and stays the same until the
    clock is right: it is a cause that is logged and counted."""


class GuardedClock:
    """Milliseconds since the epoch, refused while the clock stands behind the latest moment known. ``latest_ms`` comes
    from the store's newest audit row, so that a restart does not forget it."""

    def __init__(self, clock: Callable[[], float], latest_ms: int = 0) -> None:
        self._clock = clock
        self._latest = latest_ms
        self._found_back = 0

    def now(self) -> int:
        """The moment. Raises ClockSetBack; recovers by itself when the clock is right again."""
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
