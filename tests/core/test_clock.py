"""A clock that was set back would make old codes fit again: it is refused until it is right."""

from __future__ import annotations

import pytest

from otp_core.clock import TOLERANCE, ClockSetBack, GuardedClock
from tests.fakes import HandClock

NOON = 1_800_000_000.0


def test_the_moment_is_told_in_milliseconds() -> None:
    assert GuardedClock(HandClock(1_800_000_000.123)).now() == 1_800_000_000_123


def test_a_clock_may_step_back_by_the_tolerance_and_no_further() -> None:
    hand = HandClock(NOON)
    clock = GuardedClock(hand)
    clock.now()
    hand.now = NOON - TOLERANCE
    assert clock.now() == (NOON - TOLERANCE) * 1000
    hand.now = NOON - TOLERANCE - 0.001
    with pytest.raises(ClockSetBack):
        clock.now()


def test_small_steps_back_do_not_add_up() -> None:
    """The tolerance is counted from the latest moment, not from the last one asked for."""
    hand = HandClock(NOON)
    clock = GuardedClock(hand)
    clock.now()
    hand.now -= 20
    clock.now()
    hand.now -= 20
    with pytest.raises(ClockSetBack):
        clock.now()


def test_it_recovers_by_itself_when_the_clock_is_right_again() -> None:
    hand = HandClock(NOON)
    clock = GuardedClock(hand)
    clock.now()
    hand.now = NOON - 3600
    for _ in range(3):
        with pytest.raises(ClockSetBack):
            clock.now()
    hand.now = NOON + 1
    assert clock.now() == (NOON + 1) * 1000


def test_the_latest_moment_is_remembered_over_a_restart() -> None:
    hand = HandClock(NOON - 100)
    with pytest.raises(ClockSetBack, match=r"stands 100 s before.*--trust-clock"):
        GuardedClock(hand, latest_ms=int(NOON * 1000)).now()
    assert GuardedClock(hand).now() == (NOON - 100) * 1000


def test_the_text_stays_the_same_until_the_clock_is_right_and_then_is_forgotten() -> None:
    """It is a cause that is logged once and counted."""
    hand = HandClock(NOON)
    clock = GuardedClock(hand)
    clock.now()
    for back in (100, 90, 1000):
        hand.now = NOON - back
        with pytest.raises(ClockSetBack, match="stands 100 s before"):
            clock.now()
    hand.now = NOON
    clock.now()
    hand.now = NOON - 1000
    with pytest.raises(ClockSetBack, match="stands 1000 s before"):
        clock.now()


def test_a_clock_may_leap_ahead() -> None:
    hand = HandClock(NOON)
    clock = GuardedClock(hand)
    clock.now()
    hand.now += 86_400 * 365
    assert clock.now() == hand.now * 1000
