"""The dashboard's picture and its table, from figures of periods."""

from __future__ import annotations

from datetime import timedelta, timezone

from admin_web.console.dashboard import Bar, Hour, Node, hours_of, nodes_of, picture_of
from otp_core.store.client_use import DAY_MS, PERIOD_MS, Period
from otp_core.store.nodes import NodeLine

TOKYO = timezone(timedelta(hours=9))
NOW = 1_800_000_000_000 - 1_800_000_000_000 % PERIOD_MS
"""2027-01-15 17:00 in Tokyo, the beginning of a period."""


def period(ago: int, accepted: int = 0, rejected: int = 0, silent: int = 0) -> Period:
    return Period(NOW - ago * PERIOD_MS, accepted, 0, rejected, silent)


def test_the_newest_bar_stands_at_the_right_and_the_highest_is_as_high_as_the_picture() -> None:
    picture = picture_of([period(287, accepted=10), period(1, 20, 20), period(0, 5, 5)], NOW + 1000, TOKYO)
    first, before, last = picture.bars
    assert (first.x, before.x, last.x) == (0, picture.width - 8, picture.width - 4)
    assert before == Bar(before.x, 80.0, 80.0) and before.accepted + before.refused == picture.height
    assert picture.most == 8.0


def test_what_lies_outside_of_the_day_has_no_bar_and_nothing_is_no_division_by_nought() -> None:
    assert picture_of([period(288, 1), period(-1, 1)], NOW, TOKYO).bars == ()
    assert picture_of([], NOW, TOKYO).most == 0.2


def test_the_axis_names_every_third_hour_of_the_banks_clock() -> None:
    marks = picture_of([], NOW, TOKYO).marks
    assert [text for _, text in marks] == ["21:00", "00:00", "03:00", "06:00", "09:00", "12:00", "15:00"]
    assert all(0 <= x < 1152 for x, _ in marks) and marks[1][0] - marks[0][0] == 36 * 4


def test_the_table_has_the_sums_of_hours_the_newest_first() -> None:
    rows = hours_of([period(13, 1), period(12, 2, 3, 4), period(1, 5), period(0, 7)], TOKYO)
    assert rows == [
        Hour("2027-01-15 17:00", 7, 0, 0),
        Hour("2027-01-15 16:00", 7, 3, 4),
        Hour("2027-01-15 15:00", 1, 0, 0),
    ]
    assert DAY_MS // PERIOD_MS == 288


def test_nodes_are_shown_where_there_are_several_and_by_the_newest_sign_of_life() -> None:
    def line(name: str, ago: int = 0, left: int | None = None, silent: str | None = None) -> NodeLine:
        return NodeLine(name, name, "", 1, "1", "0022", "0022", 0, NOW - ago * 1000, left, 5, 0, 0, silent)

    assert nodes_of([line("web1"), line("web2", left=NOW)]) == []
    assert nodes_of([line("web1", 3), line("web2", 5, silent="its clock"), line("web3", 60)]) == [
        Node("web1", "serving", 0),
        Node("web2", "silent", 2),
        Node("web3", "not seen", 57),
    ]
