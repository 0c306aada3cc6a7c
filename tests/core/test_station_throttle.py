"""Wrong passwords of a station over all customers, and of one customer at several processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from otp_core.first_factor.failures import FailureTable
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.login.policy import Delays
from tests.core.test_password_throttle import DELAYS, guess
from tests.fakes import HandClock, HandLoop, fingerprint

# Of a station, over all customers.


def make_stations(clock: Callable[[], float], delays: Delays = DELAYS) -> StationThrottle:
    return StationThrottle(delays, clock, FailureTable(100), fingerprint)


def test_a_right_password_to_ones_own_account_buys_no_guesses_at_others() -> None:
    """Two guesses, one sign-in of one's own, again and again: once 261 of 261 were looked at without a delay."""
    clock = HandClock(1000.0)

    async def scene() -> None:
        stations = make_stations(clock)
        seen = 0
        for _ in range(20):
            for name in ("somebody", "else", "the thief"):
                if await stations.enter(name, "here", 0.0):
                    seen += name != "the thief"
                    if name == "the thief":
                        stations.passed(name, "here")
                    stations.leave(name, "here")
        assert seen == DELAYS.free + 1
        assert await stations.enter("somebody", "there", 0.0)

    asyncio.run(scene())


def test_who_passes_takes_back_what_they_added_and_no_more() -> None:
    clock = HandClock(1000.0)

    async def scene() -> None:
        stations = make_stations(clock)
        for _ in range(3):
            stations.failed("", "here")
        clock.now += 1.0
        assert await stations.enter("", "here", 0.0)
        assert stations.failures("", "here") == 4
        stations.passed("", "here")
        stations.leave("", "here")
        assert stations.failures("", "here") == 3
        assert await stations.enter("", "here", 0.0), "the delay that it began is taken back too"

    asyncio.run(scene())


def test_many_right_ones_from_one_address_wait_for_nobody() -> None:
    async def scene(loop: HandLoop) -> None:
        stations = make_stations(loop.time)

        async def one() -> None:
            assert await stations.enter("", "an office", 5.0)
            await asyncio.sleep(0.02)
            stations.passed("", "an office")
            stations.leave("", "an office")

        await asyncio.gather(*(one() for _ in range(100)))
        assert loop.time() < 4.0
        assert stations.failures("", "an office") == 0

    loop = HandLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scene(loop))


def test_failures_of_a_station_fade_one_by_one() -> None:
    clock = HandClock(1000.0)
    stations = make_stations(clock, Delays(free=10, first=1.0, longest=60.0))
    for _ in range(5):
        stations.failed("", "here")
    for left in (4, 3):
        clock.now += 60
        assert stations.failures("", "here") == left
    stations.failed("", "here")
    assert stations.failures("", "here") == 4
    clock.now += 4 * 60
    assert stations.failures("", "here") == 0


def test_a_failure_a_minute_adds_up_to_nothing() -> None:
    clock = HandClock(1000.0)
    stations = make_stations(clock, Delays(free=10, first=1.0, longest=60.0))
    for _ in range(5):
        stations.failed("", "here")
    for _ in range(120):
        clock.now += 60
        stations.failed("", "here")
        assert stations.failures("", "here") == 5


@pytest.mark.parametrize("throttle", [PasswordThrottle, StationThrottle])
@pytest.mark.parametrize(("ahead", "counted"), [(3 * 3600 - 1, 1), (3 * 3600, 0)])
def test_what_ends_in_three_hours_or_later_was_written_by_another_clock(
    throttle: type[PasswordThrottle], ahead: float, counted: int
) -> None:
    clock = HandClock(100_000.0)
    made = throttle(DELAYS, clock, FailureTable(100), fingerprint)
    made.failed("taro", "here")
    clock.now -= ahead
    assert made.failures("taro", "here") == counted


def test_a_guesser_gains_nothing_by_the_fading() -> None:
    """Whoever asks as soon as it is allowed, for an hour."""
    clock = HandClock(1000.0)
    stations = make_stations(clock, Delays(free=30, first=1.0, longest=60.0))

    async def scene() -> int:
        seen = 0
        while clock.now < 1000.0 + 3600:
            if await stations.enter("", "here", 0.0):
                stations.leave("", "here")
                seen += 1
            clock.now += 1.0
        return seen

    assert asyncio.run(scene()) < 30 + 6 + 60 + 1


# Several processes.


def test_two_processes_give_a_guesser_no_more_than_one() -> None:
    async def scene(loop: HandLoop) -> None:
        table = FailureTable(100)
        processes = [PasswordThrottle(DELAYS, loop.time, table, fingerprint) for _ in range(4)]
        began, seen = loop.time(), 0
        found = await asyncio.gather(*(guess(one, max_wait=10.0) for one in processes for _ in range(10)))
        seen = found.count(True)
        assert seen == 6 and loop.time() - began <= 10.0, "as in one: at 0, 0, 0, 1, 3 and 7 seconds"
        processes[0].passed("taro", "here")
        assert processes[3].failures("taro", "here") == 0

    loop = HandLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scene(loop))


def test_who_waits_at_one_process_hears_of_a_success_at_another() -> None:
    async def scene(loop: HandLoop) -> None:
        table = FailureTable(100)
        here, there = (PasswordThrottle(DELAYS, loop.time, table, fingerprint) for _ in range(2))
        for _ in range(4):
            here.failed("taro", "here")
        waiting = asyncio.ensure_future(here.enter("taro", "here", 60.0))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        there.passed("taro", "here")
        assert await waiting
        assert loop.time() < 1.0

    loop = HandLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scene(loop))


def test_a_delay_that_another_clock_wrote_keeps_nobody_out() -> None:
    clock = HandClock(1e9)
    table = FailureTable(100)
    PasswordThrottle(DELAYS, clock, table, fingerprint).failed("taro", "here")
    clock.now = 1000.0
    assert PasswordThrottle(DELAYS, clock, table, fingerprint).failures("taro", "here") == 0
    assert StationThrottle(DELAYS, clock, table, fingerprint).failures("taro", "here") == 0
