"""A clock that was set back would make old codes fit again: it is refused until it is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.clock import (
    Anchor,
    ClockSetAhead,
    ClockSetBack,
    ClockWrong,
    GuardedClock,
    read_anchor,
)
from tests.fakes import HandClock, HandKernel

NOON = 1_800_000_000.0
DAY = 86_400.0
TOLERANCE, SMALL_STEP, STEADY_SECONDS = 30.0, 90.0, 600.0
"""Seconds back and ahead with which logins go on, and after which a clock that stands so is taken for right."""


def test_the_moment_is_told_in_milliseconds() -> None:
    assert GuardedClock(HandClock(1_800_000_000.123)).now() == 1_800_000_000_123


def test_a_clock_may_step_back_by_one_time_step_and_no_further() -> None:
    hand = HandClock(NOON)
    clock = GuardedClock(hand)
    clock.now()
    hand.now = NOON - 30
    assert clock.now() == (NOON - 30) * 1000
    hand.now = NOON - 30.001
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


def test_a_clock_may_leap_ahead_where_nothing_tells_that_it_did() -> None:
    hand = HandClock(NOON)
    clock = GuardedClock(hand)
    clock.now()
    hand.now += 86_400 * 365
    assert clock.now() == hand.now * 1000


# The time since the boot


def stand(kernel: HandKernel, clock: GuardedClock, seconds: float) -> None:
    """Time passes, and somebody looks at the clock now and then, as a serving process does."""
    while seconds > 0:
        kernel.pass_time(min(seconds, 60))
        clock.now()
        seconds -= 60


def machine() -> tuple[HandKernel, GuardedClock]:
    kernel = HandKernel(HandClock(NOON))
    return kernel, GuardedClock(kernel.clock, kernel=kernel)


@pytest.mark.parametrize("seconds", [SMALL_STEP + 1, 9 * 3600, 15 * DAY, 365 * DAY])
def test_a_large_step_ahead_is_not_believed_until_it_is_right_again(seconds: float) -> None:
    kernel, clock = machine()
    clock.now()
    kernel.pass_time(3600)
    kernel.step(seconds)
    for _ in range(3):
        with pytest.raises(ClockSetAhead, match=f"stands {seconds:.0f} s after.*--trust-clock"):
            clock.now()
        kernel.pass_time(65)
    assert clock.best() == kernel.clock.now - seconds, "audit rows go on by the time since the boot"
    kernel.step(-seconds)
    assert clock.now() == kernel.clock.now * 1000, "nothing is left of it"


@pytest.mark.parametrize("seconds", [-TOLERANCE, -5, 2, 30, SMALL_STEP])
def test_a_small_step_lets_logins_go_on_and_sweeps_wait_until_it_is_steady(seconds: float) -> None:
    kernel, clock = machine()
    clock.now()
    assert clock.settled
    kernel.step(seconds)
    assert clock.now() == kernel.clock.now * 1000
    assert not clock.settled
    stand(kernel, clock, STEADY_SECONDS - 1)
    assert not clock.settled
    kernel.pass_time(1)
    assert clock.settled
    kernel.step(SMALL_STEP)
    clock.now()  # counted from the time that was steady


@pytest.mark.parametrize(("seconds", "settled"), [(0.999, True), (1, False), (-0.999, True), (-1, False)])
def test_a_step_of_less_than_a_second_is_none(seconds: float, settled: bool) -> None:
    """A leap second is smeared or corrected slowly; reading two clocks takes time."""
    kernel, clock = machine()
    clock.now()
    kernel.step(seconds)
    clock.now()
    assert clock.settled is settled


def test_small_steps_ahead_add_up() -> None:
    kernel, clock = machine()
    clock.now()
    for _ in range(3):
        kernel.step(30)
        clock.now()
        kernel.pass_time(60)
    kernel.step(30)
    with pytest.raises(ClockSetAhead):
        clock.now()


@pytest.mark.parametrize("seconds", [62, 9 * 3600, 15 * DAY])
def test_a_machine_that_slept_or_a_process_that_stood_still_is_no_step(seconds: float) -> None:
    kernel, clock = machine()
    clock.now()
    kernel.pass_time(seconds)
    assert clock.now() == kernel.clock.now * 1000
    assert clock.settled is (seconds <= SMALL_STEP), "the hardware clock has said how long it slept"
    stand(kernel, clock, STEADY_SECONDS)
    assert clock.settled


def test_a_pause_between_the_two_readings_is_no_step() -> None:
    kernel = HandKernel(HandClock(NOON))
    pauses = iter([0.0, 0.0, 0.0, 62.0])

    def paused() -> float:
        kernel.pass_time(next(pauses, 0.0))
        return kernel.clock.now

    clock = GuardedClock(paused, kernel=kernel)
    for _ in range(6):
        assert clock.now() == kernel.clock.now * 1000
        assert clock.settled


def test_a_step_back_is_told_by_the_time_since_the_boot_even_where_nothing_was_recorded_meanwhile() -> None:
    kernel, clock = machine()
    kernel.pass_time(7200)
    kernel.step(-3600)
    with pytest.raises(ClockSetBack, match="stands 3600 s before where the time since the boot"):
        clock.now()
    assert clock.best() == kernel.clock.now + 3600
    kernel.step(3600)
    clock.now()


@pytest.mark.parametrize("seconds", [15 * DAY, -3600])
def test_a_restart_in_the_same_boot_compares_with_what_was_kept(seconds: float) -> None:
    kernel, clock = machine()
    kept = read_anchor(clock.anchor().text)
    kernel.pass_time(60)
    kernel.step(seconds)
    with pytest.raises(ClockWrong):
        GuardedClock(kernel.clock, int(NOON * 1000) - 10**9, kernel=kernel, anchor=kept).now()


def test_over_a_reboot_nothing_is_compared_but_sweeps_wait() -> None:
    kernel, clock = machine()
    kept = clock.anchor()
    kernel.boot, kernel.up = "boot-2", 5.0
    kernel.step(15 * DAY)
    after = GuardedClock(kernel.clock, kept.at, kernel=kernel, anchor=kept)
    assert after.now() == kernel.clock.now * 1000
    assert not after.settled
    stand(kernel, after, STEADY_SECONDS)
    assert after.settled
    kernel.step(-15 * DAY)
    with pytest.raises(ClockSetBack):
        after.now()


@pytest.mark.parametrize(("away", "settled"), [(0, True), (DAY, True), (DAY + 1, False), (15 * DAY, False)])
def test_a_store_without_an_anchor_is_suspected_after_a_day_only(away: float, settled: bool) -> None:
    kernel = HandKernel(HandClock(NOON + away))
    assert GuardedClock(kernel.clock, int(NOON * 1000), kernel=kernel).settled is settled
    assert GuardedClock(kernel.clock, 0, kernel=kernel).settled


def test_who_trusts_the_clock_believes_it_from_then_on_and_others_can_follow() -> None:
    kernel, clock = machine()
    other = GuardedClock(kernel.clock, kernel=kernel)
    for seconds in (9 * 3600, -9 * 3600):
        kernel.step(seconds)
        for one in (clock, other):
            with pytest.raises(ClockWrong):
                one.now()
        stale = Anchor(kernel.boot, 0, 0)
        assert not other.follow(stale, 0)
        anchor = clock.trust()
        assert not other.follow(anchor, anchor.at + 31_000), "something later was recorded"
        assert other.follow(anchor, anchor.at)
        for one in (clock, other):
            assert one.now() == kernel.clock.now * 1000
            assert not one.settled, "a step is a step: what lasts waits"


def test_without_a_boot_nothing_of_earlier_is_compared_but_sweeps_wait() -> None:
    kernel = HandKernel(HandClock(NOON), boot="")
    first = GuardedClock(kernel.clock, kernel=kernel)
    kept = first.anchor()
    kernel.step(15 * DAY)
    clock = GuardedClock(kernel.clock, kept.at, kernel=kernel, anchor=kept)
    assert clock.now() == kernel.clock.now * 1000
    assert not clock.settled
    assert not clock.follow(kept, 0)


@pytest.mark.parametrize("text", ["", "a b c", "a 1", "a 1 2 3", "a -1 2", "a 1 ２", "a 1 " + "9" * 17])
def test_an_anchor_that_is_none_is_not_read(text: str) -> None:
    assert read_anchor(text) is None


@given(at=st.integers(0, 10**15), uptime=st.integers(0, 10**12), boot=st.sampled_from(["", "0aa-1"]))
def test_an_anchor_is_read_as_it_was_written(at: int, uptime: int, boot: str) -> None:
    anchor = Anchor(boot, uptime, at)
    assert read_anchor(anchor.text) == anchor


@given(moves=st.lists(st.tuples(st.sampled_from(["pass", "step"]), st.floats(-1e6, 1e6)), max_size=30))
def test_a_time_that_is_told_is_never_far_from_what_the_boot_says(moves: list[tuple[str, float]]) -> None:
    """Whatever is done to the clocks: it raises, or is within the bounds of the last time that was steady."""
    kernel, clock = machine()
    right = kernel.clock.now - kernel.up
    for move, seconds in moves:
        if move == "pass":
            kernel.pass_time(min(abs(seconds), STEADY_SECONDS / 2))
        else:
            kernel.step(seconds)
        try:
            now = clock.now() / 1000
            if clock.settled:
                right = now - kernel.up
        except ClockWrong:
            continue
        assert -TOLERANCE - 2 <= now - kernel.up - right <= SMALL_STEP + 2
