"""The back ends on the dashboard: a row for each, with a link to where one looks further. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple
from urllib.parse import urlencode

from otp_core.back_ends import BackEnd, Line, Report, within

MOST_ROWS, MOST_NAMES = 20, 4
"""That the page has room for; of rows, those first that somebody has to look at."""


class Row(NamedTuple):
    """``link``: the list to look at. ``users``: what asks it, where that is called otherwise. ``median`` and ``slow``
    (95 of 100 answers): as text; empty where there was no answer. ``servers``: addresses, and whether each answers."""

    line: Line
    link: str
    users: str
    median: str
    slow: str
    servers: tuple[tuple[str, bool], ...]


class Shown(NamedTuple):
    """``since``: when counting began (ms). ``more``: back ends that are not shown."""

    rows: tuple[Row, ...]
    since: int
    more: int


def shown(report: Report, now: int) -> Shown:
    """``now``: ms."""
    lines = report.lines
    if len(lines) > MOST_ROWS:
        lines = tuple(sorted(lines, key=lambda one: one.is_well))
    rows = tuple(_row(one) for one in lines[:MOST_ROWS])
    return Shown(rows, now - int(report.seconds * 1000), len(lines) - len(rows))


def _row(line: Line) -> Row:
    one, answered = line.back_end, line.lately.answered
    asking = [name for name in (*one.first_factors, *one.verifiers, *one.shadowed) if name != one.name]
    return Row(
        line,
        link_of(one),
        _some(asking),
        time_of(within(answered, 0.5)),
        time_of(within(answered, 0.95)),
        tuple((address, not down) for address, down in sorted(line.now.servers, key=lambda one: not one[1]))[
            :MOST_NAMES
        ],
    )


def link_of(one: BackEnd) -> str:
    """Where one looks further: the tokens of a verifier, what its only client asked, or all clients."""
    if one.verifiers and not one.first_factors and not one.shadowed:
        return f"/tokens?{urlencode({'verifier': one.verifiers[0]})}"
    if len(one.actors) == 1:
        return f"/audit?{urlencode({'actor': one.actors[0]})}"
    return "/clients"


def time_of(seconds: float | None) -> str:
    """No more than so long, in units that anybody reads: ``≤ 25 ms``."""
    if seconds is None:
        return ""
    if math.isinf(seconds):
        return "> 10 s"
    return f"≤ {seconds * 1000:g} ms" if seconds < 1 else f"≤ {seconds:g} s"


def _some(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")
