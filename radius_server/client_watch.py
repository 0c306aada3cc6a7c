"""What each client has asked since the last look, from the counts that the door keeps anyway. It keeps the difference
until it was written; it counts nothing itself, and holds no customer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from otp_core.model import StoreUnavailable
from otp_core.store.client_use import Asked
from otp_core.store.retry import aside
from otp_core.tally import VerdictKey
from radius_server.counters import Counters

Write = Callable[[Sequence[Asked], Mapping[tuple[str, str], int]], None]
"""Adds to what is known of the clients, and of strangers by source and cause. Raises StoreUnavailable."""

_VERDICTS = frozenset({"accepted", "challenged", "rejected", "silent"})
_Key = tuple[str, str]
"""A client's name, and a field of Asked."""


class ClientWatch:
    """Of one worker. ``verdicts``: the tally's, which only grow."""

    def __init__(self, counters: Counters, verdicts: Mapping[VerdictKey, int], write: Write) -> None:
        self._counters, self._verdicts, self._write = counters, verdicts, write
        self._before = self._counts()

    async def look(self) -> None:
        """Write what is new. What cannot be written now is written the next time. One look at a time."""
        counts, strangers = self._counts(), self._counters.strangers.copy()
        new = [*self._new(counts)]
        if not new and not strangers:
            return
        try:
            await aside(lambda: self._write(new, strangers))
        except StoreUnavailable:
            return
        self._before = counts
        self._counters.strangers.subtract(strangers)
        for one in strangers:
            if not self._counters.strangers[one]:
                del self._counters.strangers[one]

    def _new(self, counts: Counter[_Key]) -> Iterator[Asked]:
        by_client: dict[str, dict[str, int]] = {}
        for (client, field), number in (counts - self._before).items():
            by_client.setdefault(client, {})[field] = number
        for client, numbers in sorted(by_client.items()):
            yield Asked(client, **numbers)

    def _counts(self) -> Counter[_Key]:
        counters, found = self._counters, Counter[_Key]()
        for client, number in counters.protected.items():
            found[client, "requests"] += number
        for client, number in counters.unprotected.items():
            found[client, "requests"] += number
            found[client, "unprotected"] += number
        for (client, which), number in counters.by_secret.items():
            found[client, f"with_{which}"] += number
        for (door, client, verdict, _), number in self._verdicts.items():
            if door == "radius" and verdict in _VERDICTS:
                found[client, verdict] += number
        return found
