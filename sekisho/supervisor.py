"""The server's first process: starts the others, passes signals on, replaces those that end or stand still, gives up if
they keep ending.

It knows no doors and opens no store: what a process does is a function that returns an exit code. Nothing that a
process does or leaves undone can make it wait.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from otp_core import logs
from otp_core.model import BackendSilent, StoreProblem, StoreStopped
from otp_core.sealing import KeyProblem
from sekisho.child import be_called, end_with
from sekisho.heartbeat import Heartbeat, heartbeats
from sekisho.notify import Notifier
from sekisho.standstill import STANDS_STILL, START_SECONDS, Standstill, excuse, processor_seconds

_log = structlog.get_logger("sekisho")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Blocked in a process until it unblocks them."""
_HEARD = (*SIGNALS, signal.SIGCHLD)
RESTART_SECONDS = 1.0
ALL_END = 5
"""The exit code of a process after which none may go on: all of them end, and the server with that code."""
WAITS = 6
"""The exit code of a process that could not begin because something was away that comes back by itself: it is tried
again until it can, and that is no reason to give up. Not before all have begun once: then it is a wrong setting."""
GIVE_UP_AFTER, GIVE_UP_SECONDS = 5, 60.0
"""Give up when GIVE_UP_AFTER processes of one name more than there are of them have ended within GIVE_UP_SECONDS."""
PAUSE_SECONDS = 30.0
"""Instead of giving up: before the next try of a process that the others can do without."""
LOOKS = 5
"""How often it looks after the others within the time after which one stands still."""
_STARTING_SECONDS = 0.02
_RELOAD_SECONDS = 10.0
"""The longest that systemd is kept waiting for a reload to be over."""


def take_no_more_signals() -> None:
    """At the end of a process's loop: asyncio closes its own pipe before it lets go of the signals, and one that comes
    in between leaves a traceback."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


class Role(NamedTuple):
    """What one process does. ``name``: in the log and the list of processes; several may have the same one. ``work``:
    its whole life, called in the new process with SIGNALS blocked; it gets its heartbeat, and whether SIGHUP came
    before it was started; returns the exit code. ``essential``: the server is not worth running
    without it. ``beats``: ``work`` calls ``Heartbeat.beat`` all the time, so that silence means that it stands
    still. ``reloads``: it is sent SIGHUP, and calls ``Heartbeat.has_reloaded``."""

    name: str
    work: Callable[[Heartbeat, bool], int]
    essential: bool = True
    beats: bool = True
    reloads: bool = True


@dataclass
class _Child:
    """A role and the process that has it now (``pid`` 0: none, start one when it is ``due``)."""

    role: Role
    heartbeat: Heartbeat
    pid: int = 0
    due: float = 0.0
    failed: bool = False
    killed: bool = False
    standstill: Standstill | None = None
    reloads: int | None = None  # when a reload began that it has not finished


def supervise(
    roles: Sequence[Role],
    notifier: Notifier,
    *,
    stands_still: float = STANDS_STILL,
    was_ended: Callable[[int], bool] = lambda _: False,
    beats: Sequence[Heartbeat] | None = None,
) -> int:
    """Run every role in a process of its own until a signal ends them all; returns the exit code. ``stands_still``:
    seconds. ``was_ended``: whether the process with this ID was killed by another one that waited for it; such ends do
    not count towards giving up. ``beats``: one for each role, where others look at them too."""
    # Their numbers come through a pipe and are taken one after another. (Python's sigtimedwait gives a number that no
    # signal had when its process was stopped and goes on.)
    heard, said = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(said, warn_on_full_buffer=False)
    for number in _HEARD:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
    return _Supervisor(roles, beats or heartbeats(len(roles)), notifier, stands_still, heard, was_ended).run()


class _Supervisor:
    """``heard``: a pipe with the numbers of the signals that have come."""

    def __init__(
        self,
        roles: Sequence[Role],
        beats: Sequence[Heartbeat],
        notifier: Notifier,
        stands_still: float,
        heard: int,
        was_ended: Callable[[int], bool],
    ) -> None:
        self._heard, self._was_ended = heard, was_ended
        self._poll = select.poll()
        self._poll.register(heard, select.POLLIN)
        self._children = [_Child(role, heartbeat) for role, heartbeat in zip(roles, beats, strict=True)]
        self._notifier, self._stands_still, self._look_seconds = notifier, stands_still, stands_still / LOOKS
        names = Counter(role.name for role in roles)
        self._deaths: dict[str, deque[float]] = {name: deque(maxlen=n + GIVE_UP_AFTER) for name, n in names.items()}
        self._exit_code = 0
        self._stopping = self._reloaded = self._serving = False
        self._looked_at = self._fair_from = time.monotonic()
        self._reloading_until: float | None = None

    def run(self) -> int:
        """See ``supervise``."""
        while True:
            self._start(time.monotonic())
            if self._stopping and not any(child.pid for child in self._children):
                return self._exit_code
            self._poll.poll(self._pause(time.monotonic()) * 1000)
            with contextlib.suppress(BlockingIOError):
                for number in os.read(self._heard, 4096):
                    if number in SIGNALS:
                        self._pass_on(number)
            now = time.monotonic()
            self._reap(now)
            self._look(now)
            self._tell(now)

    def _pause(self, now: float) -> float:
        if not self._serving or self._reloading_until is not None:
            return _STARTING_SECONDS
        return max(0.0, min([self._look_seconds, *(child.due - now for child in self._children if not child.pid)]))

    def _start(self, now: float) -> None:
        if self._stopping:
            return
        for child in self._children:
            if not child.pid and now >= child.due:
                child.killed, child.standstill, child.reloads = False, None, None
                child.heartbeat.begin()
                child.pid = _fork(child, reload_first=self._reloaded)

    def _pass_on(self, number: int) -> None:
        """To the processes that there are. Those that are started later hear of a reload by ``reload_first``."""
        if number == signal.SIGHUP:
            self._reloaded, self._reloading_until = True, time.monotonic() + _RELOAD_SECONDS
            self._notifier.reloading()
            for child in self._children:
                child.reloads = child.heartbeat.reloads if child.pid and child.role.reloads else None
        elif not self._stopping:
            self._stopping = True
            self._notifier.stopping()
        for child in self._children:
            if child.pid and (child.role.reloads or number != signal.SIGHUP):
                with contextlib.suppress(ProcessLookupError):  # it ended just now
                    os.kill(child.pid, number)

    def _reap(self, now: float) -> None:
        for child in self._children:
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self._ended(child, status, now)

    def _ended(self, child: _Child, status: int, now: float) -> None:
        role, pid, child.pid = child.role, child.pid, 0
        code = os.waitstatus_to_exitcode(status)
        if code == ALL_END and self._exit_code != ALL_END:
            self._exit_code = ALL_END
            self._pass_on(signal.SIGTERM)
        if self._stopping or child.killed or self._was_ended(pid):
            child.due = now
            return
        if code == WAITS and self._serving:
            child.due = now + RESTART_SECONDS
            return
        child.failed = True
        deaths = self._deaths[role.name]
        deaths.append(now)
        keeps_ending = len(deaths) == deaths.maxlen and now < deaths[0] + GIVE_UP_SECONDS
        if keeps_ending and role.essential:
            _log.error("workers keep ending: the lines before say why", role=role.name, deaths=len(deaths))
            self._exit_code = 1
            self._pass_on(signal.SIGTERM)
            return
        pause = PAUSE_SECONDS if keeps_ending else RESTART_SECONDS
        child.due = now + pause
        _log.error("a worker ended: another takes its place", role=role.name, pid=pid, status=status, seconds=pause)

    # Who stands still

    def _look(self, now: float) -> None:
        """From time to time. A supervisor that could not look itself (a virtual machine that stood still, a stopped
        group of processes) gives the others time to show life before it judges."""
        if now < self._looked_at + self._look_seconds:
            return
        if now > self._looked_at + 3 * self._look_seconds:
            self._fair_from = now + self._stands_still
        self._looked_at = now
        for child in self._children:
            if child.pid and child.role.beats and not child.killed:
                self._look_after(child, now)

    def _look_after(self, child: _Child, now: float) -> None:
        silent = now - child.heartbeat.at
        found = child.standstill
        if silent < 2 * self._look_seconds:
            if found is not None and found.told:
                _log.warning("a process goes on", role=child.role.name, pid=child.pid)
            child.standstill = None
            return
        if found is None:
            child.standstill = Standstill(now, processor_seconds(child.pid))
            return
        if silent < (self._stands_still if child.heartbeat.ready else START_SECONDS) or now < self._fair_from:
            return
        reason = excuse(child.pid, found, now)
        if reason and not (self._stopping and "stopped" in reason):
            found.looks = 0
            if found.told != reason:
                found.told = reason
                _log.error(f"a process {reason}", role=child.role.name, pid=child.pid, seconds=round(silent, 1))
            return
        found.looks += 1
        if found.looks > 1:  # what waits for the disk again and again runs in between
            self._kill(child, silent)

    def _kill(self, child: _Child, silent: float) -> None:
        child.killed = True
        what = "killed" if self._stopping else "killed, and another takes its place"
        _log.error(f"a process stood still: {what}", role=child.role.name, pid=child.pid, seconds=round(silent, 1))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)

    # What others are told

    def _tell(self, now: float) -> None:
        self._notifier.alive(now)
        if not self._serving and not self._stopping and all(map(_has_begun, self._children)):
            self._serving = True
            _log.info("serving", processes={child.pid: child.role.name for child in self._children})
            self._notifier.ready()
        until = self._reloading_until
        if until is not None and (now >= until or all(map(_has_reloaded, self._children))):
            self._reloading_until = None
            self._notifier.ready()


def _has_begun(child: _Child) -> bool:
    """It serves; or it is one that the others can do without, and could not begin."""
    return child.heartbeat.ready or not child.role.beats or (child.failed and not child.role.essential)


def _has_reloaded(child: _Child) -> bool:
    return not child.pid or child.reloads is None or child.heartbeat.reloads != child.reloads


def _fork(child: _Child, *, reload_first: bool) -> int:
    """Start one process; its ID. SIGNALS are blocked in it until ``work`` unblocks them."""
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        return pid
    code = 1
    try:
        end_with(parent)
        be_called(f"sekisho {child.role.name}")
        os.close(signal.set_wakeup_fd(-1))
        for number in _HEARD:
            signal.signal(number, signal.SIG_DFL)  # SIG_IGN would throw away one that has come already
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        code = child.role.work(child.heartbeat, reload_first)
    except StoreStopped as problem:
        _log.error("a worker could not go on", role=child.role.name, problem=str(problem))
        code = ALL_END
    except (StoreProblem, KeyProblem, BackendSilent, OSError) as problem:
        _log.error("a worker could not go on", role=child.role.name, problem=str(problem))
    except BaseException:
        _log.exception("a worker could not go on", role=child.role.name)
    finally:
        logs.flush()
        os._exit(code)
