"""What the door counts, and how often it may say so: one log line a cause and source in ten seconds, with what it left
out. Counts carry no secret and no customer."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import structlog

from otp_core.radius.codec import PacketCode

QUIET_SECONDS = 10.0
MOST_LINES = 50
"""Lines of one cause in QUIET_SECONDS: a datagram's source can be forged, another one for each."""

_MOST_REMEMBERED = 1000
_log = structlog.get_logger("radius")


class Counters:
    """Counts by name, and rate-limited log lines."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.counts: Counter[object] = Counter()
        self.protected: Counter[str] = Counter()
        self.unprotected: Counter[str] = Counter()
        self._said: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._since, self._lines = clock(), Counter[str]()

    def dropped(self, cause: str, source: str, **fields: Any) -> None:
        """A datagram that is answered with silence."""
        self.counts[f"dropped: {cause}"] += 1
        self.say("dropped", cause, source, **fields)

    def say(self, event: str, cause: str, source: str, **fields: Any) -> None:
        """A warning, unless the same was said a moment ago."""
        now = self._clock()
        last, left_out = self._said.pop((cause, source), (-QUIET_SECONDS, 0))
        if now < last + QUIET_SECONDS or self._too_many_lines(cause, now):
            self._said[cause, source] = (last, left_out + 1)
        else:
            if left_out:
                fields["left_out"] = left_out
            _log.warning(event, cause=cause, source=source, **fields)
            self._said[cause, source] = (now, 0)
        if len(self._said) > _MOST_REMEMBERED:
            self._said.popitem(last=False)

    def _too_many_lines(self, cause: str, now: float) -> bool:
        if now >= self._since + QUIET_SECONDS:
            self._since, self._lines = now, Counter()
        self._lines[cause] += 1
        return self._lines[cause] > MOST_LINES

    def named(self) -> dict[str, int]:
        """All counts by their names; replies by those of their codes."""
        return {key.title if isinstance(key, PacketCode) else str(key): count for key, count in self.counts.items()}

    def authenticated(self, client: str, *, protected: bool) -> None:
        """Whether a client's request carried a Message-Authenticator."""
        counted = self.protected if protected else self.unprotected
        counted[client] += 1

    def share_protected(self, client: str) -> float:
        """The share of a client's requests that carried a Message-Authenticator, 0 to 1."""
        protected, bare = self.protected[client], self.unprotected[client]
        return protected / (protected + bare) if protected + bare else 0.0
