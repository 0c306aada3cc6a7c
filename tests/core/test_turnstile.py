"""Wrong passwords are slowed down: by growing delays that end by themselves, and never by a lock."""

from __future__ import annotations

from otp_core.first_factor.turnstile import FORGET_SECONDS, Turnstile
from otp_core.policy import Delays
from tests.fakes import HandClock

DELAYS = Delays(free=2, first=1.0, longest=8.0)


def turnstile(clock: HandClock, delays: Delays = DELAYS, max_tracked: int = 100) -> Turnstile:
    return Turnstile(delays, clock, max_tracked)


# How long a delay is.


def test_delays_begin_after_the_free_ones_and_double_up_to_the_longest() -> None:
    assert [DELAYS.after(failures) for failures in range(9)] == [0, 0, 0, 1, 2, 4, 8, 8, 8]


def test_a_delay_after_very_many_failures_is_the_longest_and_no_error() -> None:
    assert Delays().after(1_000_000) == 30.0


def test_no_free_failures_means_that_the_first_one_costs() -> None:
    assert [Delays(free=0, first=0.5).after(failures) for failures in (0, 1, 2)] == [0, 0.5, 1.0]


# Who waits.


def test_nobody_waits_who_passes_every_time() -> None:
    gate = turnstile(HandClock(1000.0))
    for _ in range(100):
        assert gate.wait("taro", "here") == 0.0
        gate.passed("taro", "here")


def test_whoever_is_let_through_counts_as_failed_until_they_have_passed() -> None:
    gate = turnstile(HandClock(1000.0))
    for failures in (1, 2, 3):
        assert gate.wait("taro", "here") == 0.0
        assert gate.failures("taro", "here") == failures
    gate.passed("taro", "here")
    assert gate.failures("taro", "here") == 0


def test_a_burst_gains_no_more_than_the_free_failures() -> None:
    """All at once, before any of them is known to be wrong."""
    gate = turnstile(HandClock(1000.0))
    assert [gate.wait("taro", "here") for _ in range(8)] == [0.0, 0.0, 0.0, 1.0, 3.0, 7.0, None, None]
    assert gate.failures("taro", "here") == 6


def test_the_free_failures_cost_nothing() -> None:
    gate = turnstile(HandClock(1000.0))
    assert [gate.wait("taro", "here") for _ in range(3)] == [0.0] * 3


def test_a_failure_without_a_wait_counts_as_one_more() -> None:
    gate = turnstile(HandClock(1000.0))
    for failures in range(1, 4):
        gate.failed("taro", "here")
        assert gate.failures("taro", "here") == failures
    assert gate.wait("taro", "here") == 1.0


def test_waits_grow_with_every_failure() -> None:
    clock = HandClock(1000.0)
    gate, waits = turnstile(clock), []
    for _ in range(8):
        wait = gate.wait("taro", "here")
        assert wait is not None
        waits.append(wait)
        clock.now += wait
    assert waits == [0, 0, 0, 1, 2, 4, 8, 8]


def test_a_wait_ends_by_itself() -> None:
    clock = HandClock(1000.0)
    gate = turnstile(clock)
    for _ in range(3):
        gate.failed("taro", "here")
    clock.now += 0.75
    assert gate.wait("taro", "here") == 0.25


def test_asking_later_than_the_delay_costs_nothing() -> None:
    clock = HandClock(1000.0)
    gate = turnstile(clock)
    for _ in range(3):
        gate.failed("taro", "here")
    clock.now += 1.0
    assert gate.wait("taro", "here") == 0.0


def test_many_at_once_gain_nothing_and_stand_in_line() -> None:
    gate = turnstile(HandClock(1000.0))
    for _ in range(4):
        gate.failed("taro", "here")  # delays of 1 s and 2 s
    assert [gate.wait("taro", "here") for _ in range(3)] == [3.0, 7.0, None]


def test_too_long_a_line_is_told_so_at_once_and_that_ends_too() -> None:
    clock = HandClock(1000.0)
    gate = turnstile(clock)
    while gate.wait("taro", "here") is not None:
        pass  # the last one let through waited 7 s, and leaves a delay of 8 s
    failures = gate.failures("taro", "here")
    assert gate.wait("taro", "here") is None, "nobody who was sent away makes the line longer"
    assert gate.failures("taro", "here") == failures
    clock.now += 7.0
    assert gate.wait("taro", "here") == 8.0


def test_who_has_no_patience_is_sent_away_and_makes_the_line_no_longer() -> None:
    clock = HandClock(1000.0)
    gate = turnstile(clock)
    for _ in range(4):
        gate.failed("taro", "here")  # delays of 1 s and 2 s
    for patience in (2.9, 0.0, -5.0):
        assert gate.wait("taro", "here", patience) is None
    assert gate.failures("taro", "here") == 4
    assert gate.wait("taro", "here", 3.0) == 3.0
    assert gate.wait("jiro", "here", -5.0) == 0.0, "no wait, no patience needed"


def test_passing_clears_the_way() -> None:
    gate = turnstile(HandClock(1000.0))
    for _ in range(9):
        gate.failed("taro", "here")
    gate.passed("taro", "here")
    assert gate.failures("taro", "here") == 0
    assert gate.wait("taro", "here") == 0.0


def test_nobody_waits_for_what_a_stranger_did_elsewhere() -> None:
    gate = turnstile(HandClock(1000.0))
    for _ in range(9):
        gate.failed("taro", "the stranger's phone")
    assert gate.wait("taro", "here") == 0.0
    assert gate.wait("hanako", "the stranger's phone") == 0.0


def test_failures_of_long_ago_are_forgotten() -> None:
    clock = HandClock(1000.0)
    gate = turnstile(clock)
    for _ in range(3):
        gate.failed("taro", "here")
    clock.now += 1.0 + FORGET_SECONDS - 0.5
    assert gate.failures("taro", "here") == 3
    clock.now += 0.5
    assert gate.failures("taro", "here") == 0
    gate.failed("taro", "here")
    assert gate.failures("taro", "here") == 1


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    clock = HandClock(1000.0)
    gate = turnstile(clock, max_tracked=3)
    for name in ("a", "b", "c", "a", "d"):
        clock.now += 1
        gate.failed(name, "here")
    assert [gate.failures(name, "here") for name in "abcd"] == [2, 0, 1, 1]


def test_who_passed_is_not_remembered() -> None:
    gate = turnstile(HandClock(1000.0), max_tracked=2)
    gate.failed("taro", "here")
    for number in range(10):
        gate.wait(f"somebody {number}", "here")
        gate.failures(f"somebody {number}", "here")
        gate.passed(f"somebody {number}", "here")
    gate.failed("jiro", "here")
    assert gate.failures("taro", "here") == 1


def test_passing_without_a_failure_is_no_error() -> None:
    turnstile(HandClock()).passed("taro", "here")
