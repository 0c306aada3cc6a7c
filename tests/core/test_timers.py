"""Timers that cost little: what is due is called once and in order, what was cancelled never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from otp_core.timers import Timer, Timers


class HandLoop:
    """A loop whose clock is turned by hand. ``calls``: what waits in it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, act: Callable[[], object]) -> Handle:
        self.calls.append((when, act))
        return Handle(self, self.calls[-1])

    def turn_to(self, now: float) -> None:
        self.now = now
        due = [one for one in self.calls if one[0] <= now]
        self.calls = [one for one in self.calls if one[0] > now]
        for _, act in sorted(due, key=lambda one: one[0]):
            act()


class Handle:
    def __init__(self, loop: HandLoop, call: tuple[float, Callable[[], object]]) -> None:
        self._loop, self._call = loop, call

    def cancel(self) -> None:
        if self._call in self._loop.calls:
            self._loop.calls.remove(self._call)


@pytest.fixture
def loop() -> HandLoop:
    return HandLoop()


@pytest.fixture
def timers(loop: HandLoop) -> Timers:
    return Timers(loop)  # type: ignore[arg-type]


def test_what_is_due_is_called_once_in_order_and_nothing_before_its_time(loop: HandLoop, timers: Timers) -> None:
    told: list[str] = []
    for when, name in ((103.0, "third"), (101.0, "first"), (102.0, "second"), (102.0, "second again")):
        timers.at(when, lambda name=name: told.append(name))  # type: ignore[misc]
    loop.turn_to(100.9)
    assert told == []
    loop.turn_to(102.0)
    assert told == ["first", "second", "second again"]
    loop.turn_to(103.0)
    loop.turn_to(200.0)
    assert told == ["first", "second", "second again", "third"]
    assert loop.calls == []


def test_one_timer_of_the_loop_serves_all(loop: HandLoop, timers: Timers) -> None:
    for when in range(900, 100, -1):
        timers.at(when, list)
    assert len(loop.calls) == 1


def test_what_is_cancelled_is_never_called_and_not_kept(loop: HandLoop, timers: Timers) -> None:
    told: list[int] = []
    kept = timers.at(150.0, lambda: told.append(1))
    for _ in range(5000):
        timers.cancel(timers.at(102.0, lambda: told.append(2)))
    assert len(timers._heap) < 1500
    timers.cancel(kept)
    timers.cancel(kept)
    loop.turn_to(1000.0)
    assert told == []
    assert timers._heap == []


def test_a_timer_may_set_and_cancel_others(loop: HandLoop, timers: Timers) -> None:
    told: list[str] = []
    others: list[Timer] = []

    def act() -> None:
        told.append("act")
        timers.cancel(others[0])
        timers.at(loop.now, lambda: told.append("at once"))
        timers.at(105.0, lambda: told.append("later"))

    timers.at(101.0, act)
    others.append(timers.at(101.5, lambda: told.append("cancelled")))
    loop.turn_to(102.0)
    loop.turn_to(105.0)
    assert told == ["act", "at once", "later"]


def test_one_that_fails_keeps_none_of_the_others_from_their_time() -> None:
    async def scene() -> None:
        running, told = asyncio.get_running_loop(), asyncio.Event()
        failures: list[object] = []
        running.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        timers, now = Timers(running), running.time()

        def fail() -> None:
            raise RuntimeError("a fault")

        timers.at(now, fail)
        timers.at(now, told.set)
        await asyncio.wait_for(told.wait(), 30)
        assert [str(one) for one in failures] == ["a fault"]

    asyncio.run(scene())
