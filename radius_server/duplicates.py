"""Detects retransmissions (RFC 5080 section 2.2.2). No sockets, no clock.

A request is known by a key (peer, local address, listener, identifier) and its octets. The same key with other
octets, for example another authenticator, is a new request and replaces the old one. Only requests whose
Message-Authenticator has been verified may be put in: otherwise a forged packet could replace a real one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum, auto


class Admission(Enum):
    """What to do with a request for which there is no reply to send again."""

    NEW = auto()
    """Handle it."""

    NO_ROOM = auto()
    """It is new, but there was no room: drop it."""

    IN_PROGRESS = auto()
    """A duplicate of one that is not answered yet: drop it."""


class _Entry:
    __slots__ = ("expires", "octets", "reply")

    def __init__(self, octets: bytes, expires: float) -> None:
        self.octets = octets
        self.expires = expires
        self.reply: bytes | None = None


class Duplicates:
    """The requests of the last ``seconds`` and their replies, at most ``limit``; over that the oldest are forgotten.

    All times (``now``) are seconds of one clock that is never set back.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds, self._limit = seconds, limit
        # Not a plain dict, whose first entry is searched for among the deleted ones before it.
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def __len__(self) -> int:
        """Requests remembered."""
        return len(self._entries)

    def admit(self, key: Hashable, octets: bytes, now: float, *, room: bool = True) -> Admission | bytes:
        """NEW, IN_PROGRESS, or the reply to send again. Without ``room`` a new request is NO_ROOM and not remembered;
        its duplicates are still recognised."""
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
        """Keep the reply for duplicates, unless a newer request has replaced this one."""
        entry = self._entries.get(key)
        if entry is not None and entry.octets == octets:
            entry.reply = reply

    def forget(self, key: Hashable, octets: bytes) -> None:
        """Forget a request that gets no reply, so that its retransmission is a new request."""
        entry = self._entries.get(key)
        if entry is not None and entry.octets == octets:
            del self._entries[key]

    def _shrink(self, now: float) -> None:
        """Delete up to two entries that have expired or exceed the limit. Entries are in the order of their expiry, so
        those are in front; two for each one added keep up with any rate."""
        for _ in range(2):
            key, entry = next(iter(self._entries.items()))
            if entry.expires > now and len(self._entries) <= self._limit:
                return
            del self._entries[key]
