"""Wrong passwords are slowed down: by growing delays that end by themselves, and never by a lock."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from otp_core.first_factor.failures import FailureTable
from otp_core.first_factor.throttle import (
    PasswordThrottle,
)
from otp_core.login.policy import Delays
from tests.fakes import HandClock, HandLoop, fingerprint

DELAYS = Delays(free=2, first=1.0, longest=8.0)


def make_throttle(clock: Callable[[], float], delays: Delays = DELAYS, max_tracked: int = 100) -> PasswordThrottle:
    return PasswordThrottle(delays, clock, FailureTable(max_tracked), fingerprint)


# How long a delay is.


def test_delays_begin_after_the_free_ones_and_double_up_to_the_longest() -> None:
    assert [DELAYS.after(failures) for failures in range(9)] == [0, 0, 0, 1, 2, 4, 8, 8, 8]


def test_a_delay_after_very_many_failures_is_the_longest_and_no_error() -> None:
    assert Delays().after(1_000_000) == 30.0


def test_no_free_failures_means_that_the_first_one_costs() -> None:
    assert [Delays(free=0, first=0.5).after(failures) for failures in (0, 1, 2)] == [0, 0.5, 1.0]


# Who waits.


def run(scene: Callable[[PasswordThrottle, HandLoop], Coroutine[Any, Any, None]], delays: Delays = DELAYS) -> None:
    """A scene at a throttle, on a loop whose time leaps to the next timer when nothing else can run."""
    loop = HandLoop()

    async def bounded() -> None:
        await scene(make_throttle(loop.time, delays), loop)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(bounded())


async def guess(
    throttle: PasswordThrottle, customer: str = "taro", calling_station_id: str = "here", max_wait: float = math.inf
) -> bool:
    """A wrong password: whether it was looked at."""
    seen = await throttle.enter(customer, calling_station_id, max_wait)
    if seen:
        throttle.leave(customer, calling_station_id)
    return seen


def test_nobody_waits_who_passes_every_time() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for _ in range(300):  # the places in line are given back
            assert await throttle.enter("taro", "here")
            throttle.passed("taro", "here")
            throttle.leave("taro", "here")
        assert loop.time() == 0.0

    run(scene)


def test_whoever_is_let_through_counts_as_failed_until_they_have_passed() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for failures in (1, 2, 3):
            assert await throttle.enter("taro", "here")
            assert throttle.failures("taro", "here") == failures
        throttle.passed("taro", "here")
        assert throttle.failures("taro", "here") == 0

    run(scene)


@pytest.mark.parametrize("slow", [0.0, 0.3])
def test_many_wrong_ones_at_once_gain_no_more_than_one_after_another(slow: float) -> None:
    """Whether they are known to be wrong at once or later. Who would wait too long is told so, and not looked at."""

    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        seen: list[float] = []

        async def one() -> bool:
            if not await throttle.enter("taro", "here", 10.0):
                return False
            seen.append(loop.time())
            await asyncio.sleep(slow)
            throttle.leave("taro", "here")
            return True

        found = await asyncio.gather(*(one() for _ in range(40)))
        assert seen == [0.0, 0.0, 0.0, 1.0, 3.0, 7.0]
        assert found == [True] * 6 + [False] * 34
        assert throttle.failures("taro", "here") == 6

    run(scene)


def test_many_right_ones_at_once_all_pass_as_fast_as_those_before_them() -> None:
    """An account that many share, or a monitor: nobody is refused, and nobody waits for a delay."""

    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        most = inside = 0

        async def one() -> bool:
            nonlocal most, inside
            assert await throttle.enter("taro", "here", 5.0)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.02)
            inside -= 1
            throttle.passed("taro", "here")
            throttle.leave("taro", "here")
            return True

        assert all(await asyncio.gather(*(one() for _ in range(200))))
        assert loop.time() < 4.0
        assert most <= 2 * (DELAYS.free + 1)

    run(scene)


def test_wrong_ones_behind_a_right_one_have_what_anybody_has_after_it() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        async def right() -> None:
            assert await throttle.enter("taro", "here")
            await asyncio.sleep(0.5)
            throttle.passed("taro", "here")
            throttle.leave("taro", "here")

        found = await asyncio.gather(right(), *(guess(throttle, max_wait=0.9) for _ in range(20)))
        assert found.count(True) == 2 + 3

    run(scene)


def test_who_runs_out_of_patience_in_a_line_that_moves_is_not_refused_for_it() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for _ in range(4):
            assert await throttle.enter("taro", "here")
        with pytest.raises(TimeoutError):
            await throttle.enter("taro", "here", 0.5)
        assert throttle.failures("taro", "here") == 4

    run(scene)


def test_a_line_has_room_for_256_and_no_more() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for _ in range(3):
            assert await throttle.enter("taro", "here")
        line = [asyncio.ensure_future(throttle.enter("taro", "here", 0.9)) for _ in range(256)]
        await asyncio.sleep(0)
        assert not any(one.done() for one in line)
        assert not await throttle.enter("taro", "here", 0.9)
        assert await throttle.enter("hanako", "here", 0.9)
        await asyncio.gather(*line, return_exceptions=True)

    run(scene)


def test_a_failure_without_a_wait_counts_as_one_more() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for failures in range(1, 4):
            throttle.failed("taro", "here")
            assert throttle.failures("taro", "here") == failures
        assert await guess(throttle)
        assert loop.time() == 1.0

    run(scene)


def test_waits_grow_with_every_failure() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        waits = []
        for _ in range(8):
            began = loop.time()
            assert await guess(throttle)
            waits.append(loop.time() - began)
        assert waits == [0, 0, 0, 1, 2, 4, 8, 8]

    run(scene)


def test_a_wait_ends_by_itself_and_asking_later_costs_nothing() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for _ in range(3):
            throttle.failed("taro", "here")
        await asyncio.sleep(0.75)
        assert await guess(throttle)
        assert loop.time() == 1.0
        await asyncio.sleep(2.5)
        assert await guess(throttle)
        assert loop.time() == 3.5

    run(scene)


def test_who_has_no_patience_is_sent_away_and_makes_the_line_no_longer() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for _ in range(4):
            throttle.failed("taro", "here")  # delays of 1 s and 2 s
        for max_wait in (2.9, 0.0, -5.0):
            assert not await guess(throttle, max_wait=max_wait)
        assert throttle.failures("taro", "here") == 4
        assert await guess(throttle, "jiro", max_wait=-5.0), "no wait, no patience needed"
        assert loop.time() == 0.0
        assert await guess(throttle, max_wait=3.25)
        assert loop.time() == 3.0

    run(scene)


def test_who_gives_up_leaves_the_line_to_the_others() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for _ in range(3):
            throttle.failed("taro", "here")
        first, second = (asyncio.ensure_future(guess(throttle)) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()
        assert await second
        assert loop.time() == 1.0

    run(scene)


def test_passing_clears_the_way() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for _ in range(9):
            throttle.failed("taro", "here")
        throttle.passed("taro", "here")
        assert throttle.failures("taro", "here") == 0
        assert await guess(throttle)
        assert loop.time() == 0.0

    run(scene)


def test_nobody_waits_for_what_a_stranger_did_elsewhere() -> None:
    async def scene(throttle: PasswordThrottle, loop: HandLoop) -> None:
        for _ in range(9):
            throttle.failed("taro", "the stranger's phone")
        assert await guess(throttle)
        assert await guess(throttle, "hanako", "the stranger's phone")
        assert loop.time() == 0.0

    run(scene)


def test_failures_of_long_ago_are_forgotten() -> None:
    clock = HandClock(1000.0)
    throttle = make_throttle(clock)
    for _ in range(3):
        throttle.failed("taro", "here")
    clock.now += 1.0 + 3600 - 0.5
    assert throttle.failures("taro", "here") == 3
    clock.now += 0.5
    assert throttle.failures("taro", "here") == 0
    throttle.failed("taro", "here")
    assert throttle.failures("taro", "here") == 1


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    clock = HandClock(1000.0)
    throttle = make_throttle(clock, max_tracked=3)
    for name in ("a", "b", "c", "a", "d"):
        clock.now += 1
        throttle.failed(name, "here")
    assert [throttle.failures(name, "here") for name in "abcd"] == [2, 0, 1, 1]


def test_who_passed_is_not_remembered() -> None:
    async def scene() -> None:
        throttle = make_throttle(HandClock(1000.0), max_tracked=2)
        throttle.failed("taro", "here")
        for number in range(10):
            assert await throttle.enter(f"somebody {number}", "here")
            throttle.passed(f"somebody {number}", "here")
            throttle.leave(f"somebody {number}", "here")
        throttle.failed("jiro", "here")
        assert throttle.failures("taro", "here") == 1

    asyncio.run(scene())


def test_passing_without_a_failure_is_no_error() -> None:
    make_throttle(HandClock()).passed("taro", "here")
