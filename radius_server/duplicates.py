"""Retransmissions (RFC 5080 section 2.2.2): new, in progress, or the reply to send again. No sockets, no clock.

Keyed by source, destination and identifier; the same key with another authenticator is a new request and replaces the
old one. Only packets whose Message-Authenticator was verified may come here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum, auto


class Admission(Enum):
    NEW = auto()
    NO_ROOM = auto()
    IN_PROGRESS = auto()


class _Entry:
    __slots__ = ("expires", "octets", "reply")

    def __init__(self, octets: bytes, expires: float) -> None:
        self.octets = octets
        self.expires = expires
        self.reply: bytes | None = None


class Duplicates:
    """``seconds`` that a reply is kept for, ``limit`` entries at most: the oldest give way."""

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds, self._limit = seconds, limit
        # Not a plain dict: its first entry is looked for among all that were deleted in front of it.
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def admit(self, key: Hashable, octets: bytes, now: float, *, room: bool = True) -> Admission | bytes:
        """NEW, IN_PROGRESS, or the octets of the reply that was sent. Without ``room``: NO_ROOM in the place of NEW."""
        entry = self._entries.get(key)
        if entry is not None and entry.octets == octets and entry.expires > now:
            return Admission.IN_PROGRESS if entry.reply is None else entry.reply
        if not room:
            return Admission.NO_ROOM
        self._entries.pop(key, None)
        self._entries[key] = _Entry(octets, now + self._seconds)
        self._shrink(now)
        return Admission.NEW

    def complete(self, key: Hashable, octets: bytes, reply: bytes) -> None:
        """Keep what was answered, unless a newer request took the place."""
        entry = self._entries.get(key)
        if entry is not None and entry.octets == octets:
            entry.reply = reply

    def forget(self, key: Hashable, octets: bytes) -> None:
        """No answer was given: let the retransmission be a new request."""
        entry = self._entries.get(key)
        if entry is not None and entry.octets == octets:
            del self._entries[key]

    def _shrink(self, now: float) -> None:
        # Entries stand in the order of their expiry, so that what is stale stands in front.
        for _ in range(2):
            key, entry = next(iter(self._entries.items()))
            if entry.expires > now and len(self._entries) <= self._limit:
                return
            del self._entries[key]
