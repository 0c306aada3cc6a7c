"""Counts, and how often a warning is logged; the clock is the test's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from otp_core.radius.codec import PacketCode
from radius_server.counters import MAX_LINES, QUIET_SECONDS, Counters
from tests.fakes import collections_of


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_line_a_cause_and_source_and_then_how_many_were_left_out() -> None:
    clock = Clock()
    counters = Counters(clock)
    with capture_logs() as lines:
        for _ in range(100):
            counters.dropped("cause", source="source")
        clock.now += QUIET_SECONDS - 0.1
        counters.dropped("cause", source="source")
        assert len(lines) == 1
        clock.now += 0.1
        counters.dropped("cause", source="source")
        clock.now += QUIET_SECONDS
        counters.dropped("cause", source="source")
    assert [line.get("left_out") for line in lines] == [None, 100, None]
    assert counters.counts["dropped: cause"] == 103


def test_causes_and_sources_do_not_silence_one_another() -> None:
    counters = Counters(Clock())
    with capture_logs() as lines:
        for cause in ("one", "other"):
            for source in ("here", "there"):
                counters.dropped(cause, source=source)
    assert [(line["reason"], line["source"]) for line in lines] == [
        ("one", "here"), ("one", "there"), ("other", "here"), ("other", "there"),
    ]  # fmt: skip


def test_one_cause_from_a_thousand_sources_leaves_room_for_another() -> None:
    clock = Clock()
    counters = Counters(clock)
    with capture_logs() as lines:
        for number in range(5000):
            counters.dropped("forged", source=str(number))
        counters.dropped("another", source="somebody")
    assert len([line for line in lines if line["reason"] == "forged"]) == MAX_LINES
    assert lines[-1]["reason"] == "another"
    assert counters.counts["dropped: forged"] == 5000
    clock.now += QUIET_SECONDS
    with capture_logs() as lines:
        counters.dropped("forged", source="4999")
    assert [line["left_out"] for line in lines] == [1]


def test_what_is_remembered_is_bounded() -> None:
    counters = Counters(Clock())
    with capture_logs():
        for number in range(5000):
            counters.dropped("forged", source=str(number))
    assert max(collections_of(counters)) <= 1000


def test_replies_are_named_as_the_rfc_names_them() -> None:
    counters = Counters(Clock())
    for code in (
        PacketCode.ACCESS_ACCEPT,
        PacketCode.ACCESS_REJECT,
        PacketCode.ACCESS_CHALLENGE,
        PacketCode.ACCESS_ACCEPT,
    ):
        counters.counts[code] += 1
    counters.counts["Status-Server answered"] += 1
    assert counters.named() == {
        "Access-Accept": 2, "Access-Reject": 1, "Access-Challenge": 1, "Status-Server answered": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("signed", "bare", "share"), [(0, 0, 0.0), (3, 1, 0.75), (0, 5, 0.0), (5, 0, 1.0)])
def test_the_share_of_signed_requests_is_each_clients_own(signed: int, bare: int, share: float) -> None:
    counters = Counters(Clock())
    for protected in [True] * signed + [False] * bare:
        counters.verified("client", protected=protected)
    counters.verified("another", protected=True)
    assert counters.share_protected("client") == share
