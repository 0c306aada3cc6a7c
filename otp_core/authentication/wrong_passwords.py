"""What the throttles hear of a login: wrong passwords are counted for a customer at a station, and for a station over
all customers. It checks no password and gives no verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache

from otp_core.first_factor import FirstFactor
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.model import Attempt, BackendSilent, Overloaded
from otp_core.station import station_of


@lru_cache(maxsize=256)
def _gateway(source: str) -> str:
    """An address as a station: there are few gateways, and each of them sends many logins."""
    return station_of(source)


class Counted:
    """What the wrong passwords of an attempt are counted by, found out once. ``over_all``: the station whose failures
    count over all customers; empty where the gateway names none, or itself, and for pages."""

    __slots__ = ("customer", "over_all", "station")

    def __init__(self, customer: str, station: str, over_all: str) -> None:
        self.customer, self.station, self.over_all = customer, station, over_all


class WrongPasswords:
    """Both throttles. ``customers``: for a customer at a station; ``stations``: for a station over all customers. Every
    ``enter`` that lets through ends with one ``leave``."""

    def __init__(
        self, customers: PasswordThrottle, stations: StationThrottle, first_factors: Mapping[str, FirstFactor]
    ) -> None:
        self._customers, self._stations, self._first_factors = customers, stations, first_factors

    def counted(self, attempt: Attempt, *, of_a_page: bool = False) -> Counted:
        """The gateway's own address counts over nobody: behind it are all of the bank's customers. Nor does that of
        ``of_a_page``, where the caller counts it."""
        station = station_of(attempt.calling_station_id)
        over_all = "" if of_a_page or not station or station == _gateway(attempt.source) else station
        return Counted(self.counted_as(attempt), station or attempt.client, over_all)

    def counted_as(self, attempt: Attempt) -> str:
        """The name that wrong passwords are counted by. A server elsewhere may know a name in any case, so all of its
        spellings are one there: otherwise each of them would have its own free tries at that server. Here they are
        different customers, and one must not clear what is counted for another."""
        factor = self._first_factors.get(attempt.policy.first_factor)
        elsewhere = factor is not None and factor.one_reading
        return attempt.customer.casefold() if elsewhere else attempt.customer

    async def enter(self, counted: Counted, deadline: float) -> bool:
        """Wait until the throttles let this through, the station's first. ``deadline``: the loop's time. False and
        TimeoutError: see PasswordThrottle. Who is refused by the second one has not failed at the first."""
        loop, entered = asyncio.get_running_loop(), False
        station = counted.over_all
        if not station:
            return await self._customers.enter(counted.customer, counted.station, deadline - loop.time())
        if not await self._stations.enter("", station, deadline - loop.time()):
            return False
        try:
            entered = await self._customers.enter(counted.customer, counted.station, deadline - loop.time())
        finally:
            if not entered:
                self._stations.passed("", station)
                self._stations.leave("", station)
        return entered

    def leave(self, counted: Counted) -> None:
        """The counterpart of ``enter``."""
        self._customers.leave(counted.customer, counted.station)
        if counted.over_all:
            self._stations.leave("", counted.over_all)

    def not_looked_at(self, error: BackendSilent, counted: Counted) -> None:
        """An outage is nobody's wrong password. What strangers bring about by asking too much still is."""
        if not isinstance(error, Overloaded):
            self.take_back(counted)

    def take_back(self, counted: Counted) -> None:
        """Neither right nor wrong: as if it had not been."""
        self._customers.take_back(counted.customer, counted.station)
        if counted.over_all:
            self._stations.take_back("", counted.over_all)

    def passed(self, counted: Counted) -> None:
        """Right: what was counted before is forgotten."""
        self._customers.passed(counted.customer, counted.station)
        if counted.over_all:
            self._stations.passed("", counted.over_all)
