"""The clock and the store: what is kept, what one process tells the others, and when the kernel's word is taken."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from otp_core.clock import ClockSetAhead, ClockSetBack, ClockWrong, GuardedClock
from otp_core.kernel_clock import KernelClock, kernel_time
from otp_core.timekeeper import KEEP_MS, Timekeeper, trust_present_time
from tests.core.bank import Bank
from tests.fakes import HandKernel

DAY = 86_400.0


class Machine:
    """A bank on a machine whose clocks are moved by hand, and one process that serves."""

    def __init__(self, folder: Path) -> None:
        self.bank = Bank(folder)
        self.kernel = HandKernel(self.bank.clock)
        self.clock, self.keeper = self.process()

    def process(self) -> tuple[GuardedClock, Timekeeper]:
        """Another one, as it starts."""
        store = self.bank.open_store()
        with store.read() as connection:
            known = store.time.known(connection)
        clock = GuardedClock(self.bank.clock, known.latest_ms, kernel=self.kernel, anchor=known.anchor)
        store.ids.follow(clock.best)
        return clock, Timekeeper(store, clock, self.kernel, self.bank.rules)

    def look(self, seconds: float = 1.0) -> None:
        self.kernel.pass_time(seconds)
        self.keeper.look()


def test_the_anchor_is_kept_once_a_minute_and_only_while_the_time_is_right(tmp_path: Path) -> None:
    machine = Machine(tmp_path)

    def kept() -> int:
        with machine.bank.store.read() as connection:
            anchor = machine.bank.store.time.known(connection).anchor
        return anchor.at if anchor is not None else 0

    machine.look()
    first = kept()
    assert first == machine.clock.now()
    machine.look(KEEP_MS / 1000 - 1)
    assert kept() == first
    machine.look()
    second = kept()
    assert second == first + KEEP_MS
    machine.kernel.step(15 * DAY)
    machine.look(65)
    assert kept() == second
    machine.kernel.step(-15 * DAY + 60)
    machine.look(65)
    assert kept() == second, "nor before it has been steady for a while"


def test_a_step_ahead_is_believed_when_the_kernel_says_that_it_is_synchronised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    machine.look()
    machine.kernel.step(3600)
    machine.look()
    assert "the clock was set ahead: it stands 3600 s after" in capsys.readouterr().out
    machine.look()
    assert capsys.readouterr().out == "", "it is told once"
    with pytest.raises(ClockSetAhead):
        machine.clock.now()
    machine.kernel.held = True
    machine.look()
    assert machine.clock.now() == machine.bank.clock.now * 1000
    assert "believed again" in capsys.readouterr().out
    (row,) = machine.bank.audit(event="clock.trusted")
    assert "synchronised; the clock was set ahead: it stands 3600 s" in row.reason
    assert not machine.clock.settled


def test_it_says_again_every_ten_minutes_that_nobody_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    machine.kernel.step(3600)
    for _ in range(3):
        machine.look(601)
        assert "nothing expires" in capsys.readouterr().out


def test_a_step_back_over_time_that_was_right_is_not_believed_by_the_kernels_word(tmp_path: Path) -> None:
    """Who holds the time service must not make old codes fit again."""
    machine = Machine(tmp_path)
    machine.look()
    machine.kernel.held = True
    for _ in range(60):
        machine.look(60)
    machine.kernel.step(-1800)
    machine.look()
    with pytest.raises(ClockSetBack):
        machine.clock.now()


def test_a_machine_that_started_nine_hours_ahead_is_believed_when_its_time_service_has_set_it_back(
    tmp_path: Path,
) -> None:
    """A hardware clock in Japan's time, taken for UTC: nobody has to come."""
    machine = Machine(tmp_path)
    machine.look()
    machine.kernel.boot, machine.kernel.up = "boot-2", 10.0
    machine.kernel.step(9 * 3600 + 600)
    machine.clock, machine.keeper = machine.process()
    for _ in range(20):
        machine.look()
    machine.kernel.step(-9 * 3600)
    machine.look()
    with pytest.raises(ClockSetBack):
        machine.clock.now()
    machine.kernel.held = True
    machine.look()
    assert machine.clock.now() == machine.bank.clock.now * 1000


def test_what_one_process_is_told_the_others_and_the_next_start_believe(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    other, keeper = machine.process()
    machine.look()
    for seconds in (9 * 3600, -9 * 3600):
        machine.kernel.step(seconds)
        machine.look()
        keeper.look()
        for clock in (machine.clock, other):
            with pytest.raises(ClockWrong):
                clock.now()
        trust_present_time(machine.bank.store, other, machine.bank.rules, actor="staff", reason="the wall")
        machine.look()
        for clock in (machine.clock, other, machine.process()[0]):
            assert clock.now() == machine.bank.clock.now * 1000


def test_a_start_far_ahead_of_the_stores_last_entry_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path)
    machine.bank.customer()
    for days, told in (30, False), (0.0001, True):
        machine.kernel.boot, machine.kernel.up = f"boot {days}", 10.0
        machine.kernel.step(days * DAY)
        machine.process()[1].warn_of_a_long_absence()
        assert ("far ahead of the last entry" in capsys.readouterr().out) is told


def test_an_empty_store_has_no_past_to_be_far_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Machine(tmp_path).keeper.warn_of_a_long_absence()
    assert capsys.readouterr().out == ""


def test_a_store_that_is_gone_is_not_the_timekeepers_to_report(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.bank.store_away():
        machine.look(KEEP_MS)
        machine.kernel.step(3600)
        machine.look()


def test_the_kernels_own_clock_is_read_as_it_is() -> None:
    read = kernel_time()
    assert read is not None
    seconds, synchronised = read
    assert abs(seconds - time.time()) < 5
    assert KernelClock().synchronised() is synchronised
    assert KernelClock().uptime() > 0
    assert KernelClock().boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
