"""Reads the past page by page, and lets a forecast be made of it. Blocking: for a command, or a thread. It writes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection

from otp_core.forecast.asking import Asking, ClientChange, Person
from otp_core.forecast.counting import Counting
from otp_core.forecast.outcome import Forecast, Note
from otp_core.forecast.past import Happened, TokenKind
from otp_core.login.policy import Rules
from otp_core.model import OtpUse
from otp_core.store.past_logins import (
    PastRow,
    acts_since,
    customers_of,
    pages,
    protection_of,
    steps_since,
    tokens_of,
    use_before,
)

DAY_MS = 86_400_000
MOST_DAYS = 7
"""As long as it is kept how codes missed, and how requests were protected."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """``since``, ``until``: ms. ``is_over``: asked between pages, whether to stop before the end. ``advance``: told how
    far the work has come, in ms since ``since``."""

    since: int
    until: int
    is_over: Callable[[], bool] = lambda: False
    advance: Callable[[int], object] = lambda _done: None


@dataclass(slots=True)
class _People:
    """Customers as they were: as they are now, and for those who were enrolled, suspended and so on since, by the audit
    trail. ``page``: those who may be asked for."""

    connection: Connection
    acts: dict[str, list[tuple[int, str]]]
    page: dict[str, Person] = field(default_factory=dict)
    earlier: dict[str, OtpUse] = field(default_factory=dict)

    def look_up(self, contract_ids: Collection[str]) -> None:
        """Those of one page."""
        found = customers_of(self.connection, contract_ids)
        self.page = {name: Person(OtpUse(row.use), row.held) for name, row in found.items()}

    def person(self, contract_id: str, row: int) -> Person | None:
        """See ``asking.People``."""
        now = self.page.get(contract_id)
        if now is None:
            now = self._looked_up(contract_id)
        acts = self.acts.get(contract_id)
        if now is None or acts is None:
            return now
        before = [use for at, use in acts if at < row]
        return Person(OtpUse(before[-1]) if before else self._earlier(contract_id, acts[0][0]), now.held)

    def _looked_up(self, contract_id: str) -> Person | None:
        found = customers_of(self.connection, [contract_id]).get(contract_id)
        return None if found is None else Person(OtpUse(found.use), found.held)

    def _earlier(self, contract_id: str, row: int) -> OtpUse:
        if contract_id not in self.earlier:
            self.earlier[contract_id] = OtpUse(use_before(self.connection, contract_id, row))
        return self.earlier[contract_id]


def forecast_client(connection: Connection, change: ClientChange, rules: Rules, bounds: Bounds) -> Forecast:
    """What a client's logins would have been answered. ``rules``: those in force."""
    forecast = Forecast(bounds.since, bounds.until)
    people = _People(connection, acts_since(connection, bounds.since))
    asking = Asking(change, rules, forecast, people, protection_of(connection, change.client, bounds.since))
    for page in pages(connection, bounds.since, bounds.until, change.client):
        people.look_up({row.customer for row in page if row.customer is not None})
        for row in page:
            asking.take(Happened(*row))
        if _stopped(forecast, page, bounds):
            break
    asking.end()
    return forecast


def forecast_rules(
    connection: Connection, was: Rules, would: Rules, bounds: Bounds, *, misses_kept: bool = True
) -> Forecast:
    """What all logins would have been answered under other rules. ``misses_kept``: whether the log's settings let it be
    kept how wrong codes miss."""
    forecast = Forecast(bounds.since, bounds.until)
    if would.window > was.window and not misses_kept:
        forecast.say(Note.NO_VERDICT_LINES)
    counting = Counting(was, would, forecast, steps_since(connection))
    for page in pages(connection, bounds.since, bounds.until):
        known = tokens_of(connection, {row.token for row in page if row.token is not None})
        kinds = {name: TokenKind(*row) for name, row in known.items()}
        for row in page:
            counting.take(Happened(*row), kinds)
        if _stopped(forecast, page, bounds):
            break
    counting.end()
    return forecast


def _stopped(forecast: Forecast, page: list[PastRow], bounds: Bounds) -> bool:
    """Count the page; whether the time is up."""
    at = Happened(*page[-1]).at
    forecast.rows += len(page)
    bounds.advance(at - bounds.since)
    if not bounds.is_over():
        return False
    forecast.until, forecast.complete = at, False
    return True
