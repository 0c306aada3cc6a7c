"""The dashboard: the logins of a day as a picture and as a table, and the numbers that somebody should look at, each a
link to its list. Read only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from aiohttp import web
from sqlalchemy import Connection

from admin_web.console.back_ends import shown
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Page
from admin_web.console.settings import ConsoleSettings
from otp_core.accounts import Act
from otp_core.back_ends import BackEnds
from otp_core.certificates import SOON_DAYS, NamedCertificate, next_to_end
from otp_core.nodes.state import state_of
from otp_core.settings.values import zone
from otp_core.store.approvals import count_waiting
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.client_use import DAY_MS, PERIOD_MS, Period, periods, strangers_seen
from otp_core.store.find import numbers_of_customers, numbers_of_tokens
from otp_core.store.nodes import NodeLine, nodes
from otp_core.store.outbox import numbers

_PERIODS = DAY_MS // PERIOD_MS
_WIDTH, _HEIGHT = 4, 160
"""Of one period's bar, and of the highest, in the picture's units."""
_MARGIN = 50
"""At both ends of the time axis, where a text would be cut off."""
_HOUR = 3_600_000


class Bar(NamedTuple):
    """One period: where its bar stands, and how high its two parts are."""

    x: int
    accepted: float
    refused: float


class Hour(NamedTuple):
    """One row of the table. ``time``: when it begins, as the bank's clocks show it."""

    time: str
    accepted: int
    refused: int
    silent: int


class Node(NamedTuple):
    """``state``: of NodeState; ``seconds``: since it was seen."""

    name: str
    state: str
    seconds: int


class Picture(NamedTuple):
    """``most``: what the highest bar stands for, a minute. ``marks``: places on the time axis, with their texts."""

    bars: tuple[Bar, ...]
    most: float
    marks: tuple[tuple[int, str], ...]
    width: int = _PERIODS * _WIDTH
    height: int = _HEIGHT


class DashboardPages:
    """The handlers. ``settings`` is asked for every page."""

    def __init__(
        self,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
        back_ends: BackEnds | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queries, self._renderer, self._settings, self._clock = queries, renderer, settings, clock
        self._back_ends = back_ends

    def routes(self) -> list[Page]:
        """The pages."""
        return [Page("/dashboard", Act.USE_CONSOLE, self.show)]

    async def show(self, call: Call) -> web.Response:
        """The last 24 hours, and what is waiting."""
        now, settings = int(self._clock() * 1000), self._settings()
        here = zone(settings.bank.time_zone)
        found = await self._queries.run(_read, now, settings.certificates)
        logins: Sequence[Period] = found.pop("periods")
        return self._renderer.render(
            call.request,
            "dashboard.html",
            call.session,
            picture=picture_of(logins, now, here),
            hours=hours_of(logins, here),
            at_risk=sum(not client.require_message_authenticator for client in settings.clients),
            clients=len(settings.clients),
            soon=SOON_DAYS,
            back_ends=self._back_ends and shown(self._back_ends.report(), now),
            **found,
        )


def _read(connection: Connection, now: int, certificates: tuple[NamedCertificate, ...]) -> dict[str, Any]:
    waiting, failed, _ = numbers(connection)
    ending = next_to_end(certificates)
    return {
        "certificate": ending,
        "days": ending and ending.days(datetime.fromtimestamp(now / 1000, UTC)),
        "periods": periods(connection, now),
        "customers": numbers_of_customers(connection),
        "tokens": numbers_of_tokens(connection),
        "approvals": count_waiting(connection, now),
        "notices": waiting,
        "undelivered": failed,
        "nodes": nodes_of(nodes(connection)),
        "strangers": sum(one.last_at > now - DAY_MS for one in strangers_seen(connection, 200)),
    }


def nodes_of(lines: Sequence[NodeLine]) -> list[Node]:
    """The nodes, where there are several; none for a single one. The newest sign of life is the present: of this node's
    own there is one every few seconds, and its clock may be the wrong one."""
    here = [one for one in lines if one.left_at is None]
    if len(here) < 2:
        return []
    now = max(one.seen_at for one in here)
    return [Node(one.name, state_of(one, now, lambda _: False), (now - one.seen_at) // 1000) for one in here]


def picture_of(logins: Sequence[Period], now: int, here: tzinfo) -> Picture:
    """The bars of the periods up to the present one. ``now``: ms."""
    last = now - now % PERIOD_MS
    highest = max((one.accepted + one.rejected for one in logins), default=0) or 1
    bars = []
    for one in logins:
        at = _PERIODS - 1 - (last - one.begins_at) // PERIOD_MS
        if 0 <= at < _PERIODS:
            accepted, refused = one.accepted * _HEIGHT / highest, one.rejected * _HEIGHT / highest
            bars.append(Bar(at * _WIDTH, round(accepted, 1), round(refused, 1)))
    first = last - (_PERIODS - 1) * PERIOD_MS
    edge = _MARGIN * PERIOD_MS // _WIDTH
    hours = range(first + -first % _HOUR, last + 1, _HOUR)
    whole = [at for at in hours if _clock_of(at, here).hour % 3 == 0 and first + edge < at < last - edge]
    marks = tuple(((at - first) // PERIOD_MS * _WIDTH, _clock_of(at, here).strftime("%H:%M")) for at in whole)
    return Picture(tuple(bars), highest * 60_000 / PERIOD_MS, marks)


def hours_of(logins: Sequence[Period], here: tzinfo) -> list[Hour]:
    """The sums of each hour in which there was something, the newest first."""
    found: dict[int, list[int]] = {}
    for one in logins:
        sums = found.setdefault(one.begins_at - one.begins_at % _HOUR, [0, 0, 0])
        for index, number in enumerate((one.accepted, one.rejected, one.silent)):
            sums[index] += number
    return [Hour(_clock_of(at, here).strftime("%Y-%m-%d %H:%M"), *found[at]) for at in sorted(found, reverse=True)]


def _clock_of(at_ms: int, here: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, here)
