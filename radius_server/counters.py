"""What the door counts, and rate-limited warnings about it: one log line per cause and source in ten seconds.

Neither counts nor log lines hold a secret or a customer.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from otp_core.radius.codec import DropReason, PacketCode

QUIET_SECONDS = 10.0
"""Seconds in which a warning is not repeated."""

MAX_LINES = 50
"""Log lines of one cause in QUIET_SECONDS, from all sources together: source addresses can be forged."""

MAX_STRANGERS = 200
"""Sources and causes that are remembered until somebody reads them."""

_MAX_REMEMBERED: Final = 1000
_MAX_CAUSES, _OTHER_CAUSES = 50, "other causes"

NO_CLIENT = "no client has this address: is it missing in [[radius.clients]]?"
NO_IDENTIFIER = "no client of this network has this NAS-Identifier"
WAITED = "waited too long to be read: the server stood still, or cannot keep up"
TOO_MANY = "too many requests in flight"
OWN_ERROR = "an error of our own"
STATUS_RATE = "more Status-Server than status_rate"
UNHEALTHY = "Status-Server while logins cannot be answered"
CAME_BACK = (
    "a request that this server has sent to an upstream has come back: that upstream leads here, so nobody checks the "
    "password; name the server that knows it"
)
UNREACHABLE = "Status-Server while nobody can check the client's passwords: its upstream does not answer"
DROP_CODES: dict[str, str] = {
    NO_CLIENT: "unknown-client",
    NO_IDENTIFIER: "unknown-nas-identifier",
    WAITED: "waited-too-long",
    TOO_MANY: "too-many-in-flight",
    OWN_ERROR: "own-error",
    STATUS_RATE: "status-rate",
    UNHEALTHY: "unhealthy",
    UNREACHABLE: "upstream-unreachable",
    CAME_BACK: "came-back",
    **{reason.value: reason.name.lower().replace("_", "-") for reason in DropReason},
}
"""Of the causes that are known beforehand, for the metrics."""

WRONG_SECRET = "wrong secret likely"
"""Of a password without Message-Authenticator that nobody can have typed."""

STRANGE_CAUSES: dict[str, str] = {
    cause: DROP_CODES.get(cause, "wrong-secret")
    for cause in (NO_CLIENT, NO_IDENTIFIER, DropReason.WRONG_MESSAGE_AUTHENTICATOR.value, WRONG_SECRET)
}
"""Why a datagram is no client's, or is made with another secret: the code of each cause."""

NO_VERDICT = "no-verdict"
"""For every other cause: its text may name a token or an attribute."""

_log = structlog.get_logger("radius")


class Counters:
    """Counts by name, and rate-limited warnings. ``clock``: seconds, of a clock that is never set back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.counts: Counter[object] = Counter()
        """By PacketCode for replies, by text for everything else."""
        self.strangers: Counter[tuple[str, str]] = Counter()
        """Datagrams by source and code of the cause (STRANGE_CAUSES); whoever reads it empties it."""
        self.drops: Counter[str] = Counter()
        """Dropped datagrams, by DROP_CODES."""
        self.protected: Counter[str] = Counter()
        self.unprotected: Counter[str] = Counter()
        self.by_secret: Counter[tuple[str, str]] = Counter()
        """Verified requests of the clients with two secrets, by name and "present" or "next"."""
        self._warned: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        """By cause and source: when it was logged last, and how many were left out since then."""
        self._since, self._lines = clock(), Counter[str]()
        """Log lines by cause since the beginning of the current QUIET_SECONDS."""
        self._drops = Counter[str]()
        """Dropped datagrams by cause since the last ``report_drops``."""

    def dropped(self, cause: str, *, source: str = "", client: str = "") -> None:
        """Count a datagram that is answered with silence, and warn. ``source``: its address, ``client``: the name of
        the client whose it is, as far as they are known."""
        self.counts[f"dropped: {cause}"] += 1
        self.drops[DROP_CODES.get(cause, NO_VERDICT)] += 1
        self._drops[cause if len(self._drops) < _MAX_CAUSES or cause in self._drops else _OTHER_CAUSES] += 1
        if cause in STRANGE_CAUSES:
            self.strange(source, cause)
        self._warn(cause, source, client)

    def strange(self, source: str, cause: str) -> None:
        """Remember a datagram for one of STRANGE_CAUSES. Of too many sources, the first ones."""
        key = (source, STRANGE_CAUSES[cause])
        if len(self.strangers) < MAX_STRANGERS or key in self.strangers:
            self.strangers[key] += 1

    def report_drops(self) -> None:
        """Log how many datagrams were dropped since the last call, by cause; nothing if there were none."""
        if self._drops:
            _log.warning("dropped in the last minute", door="radius", drops=dict(self._drops))
            self._drops = Counter()

    def _warn(self, cause: str, source: str, client: str) -> None:
        left_out = self.left_out(cause, source or client)
        if left_out is not None:
            about = {"client": client, "source": source, "left_out": left_out}
            _log.warning("dropped", door="radius", reason=cause, **{name: one for name, one in about.items() if one})

    def left_out(self, cause: str, whose: str) -> int | None:
        """Whether there may be a log line about this cause and source: None if one was logged less than QUIET_SECONDS
        ago, otherwise how many were left out since then."""
        now = self._clock()
        last, left_out = self._warned.pop((cause, whose), (-QUIET_SECONDS, 0))
        quiet = now < last + QUIET_SECONDS or self._too_many_lines(cause, now)
        self._warned[cause, whose] = (last, left_out + 1) if quiet else (now, 0)
        if len(self._warned) > _MAX_REMEMBERED:
            self._warned.popitem(last=False)
        return None if quiet else left_out

    def _too_many_lines(self, cause: str, now: float) -> bool:
        if now >= self._since + QUIET_SECONDS:
            self._since, self._lines = now, Counter()
        self._lines[cause] += 1
        return self._lines[cause] > MAX_LINES

    def named(self) -> dict[str, int]:
        """All counts by name; replies by the names of their packet codes."""
        return {key.title if isinstance(key, PacketCode) else str(key): count for key, count in self.counts.items()}

    def verified(self, client: str, *, protected: bool) -> None:
        """Count a client's verified request. ``protected``: it carried a Message-Authenticator."""
        counter = self.protected if protected else self.unprotected
        counter[client] += 1

    def share_protected(self, client: str) -> float:
        """The share of a client's requests that carried a Message-Authenticator, 0 to 1; 0 if it sent none."""
        protected, unprotected = self.protected[client], self.unprotected[client]
        return protected / (protected + unprotected) if protected + unprotected else 0.0
