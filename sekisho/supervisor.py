"""Runs several worker processes: forks them, passes signals on, replaces those that end, gives up if they keep ending.

It knows no doors and opens no store: a worker is a function that returns an exit code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable

import structlog

from otp_core import logs
from otp_core.model import BackendSilent, StoreProblem
from otp_core.sealing import KeyProblem
from sekisho.parent import end_with

_log = structlog.get_logger("sekisho")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
RESTART_SECONDS = 1.0
GIVE_UP_AFTER, GIVE_UP_SECONDS = 5, 60.0
"""Give up when GIVE_UP_AFTER workers more than there are of them have ended within GIVE_UP_SECONDS."""


def supervise(workers: int, work: Callable[[bool], int]) -> int:
    """Fork ``workers`` processes, replace those that end, and return when all have ended after a signal. ``work`` is
    called in each; its argument says whether SIGHUP came before this worker was started. Returns the exit code."""
    stopping = failed = reloaded = False
    running: set[int] = set()

    def pass_on(number: int, _frame: object) -> None:
        nonlocal stopping, reloaded
        stopping = stopping or number != signal.SIGHUP
        reloaded = reloaded or number == signal.SIGHUP
        for pid in running:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(pid, number)

    for number in SIGNALS:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    while not stopping and len(running) < workers:
        _fork(work, running, reload_first=lambda: reloaded)
    _log.info("workers started", workers=sorted(running))
    deaths: deque[float] = deque(maxlen=workers + GIVE_UP_AFTER)
    while running:
        pid, status = os.wait()
        running.discard(pid)
        if not stopping:
            deaths.append(time.monotonic())
            if len(deaths) == deaths.maxlen and deaths[-1] < deaths[0] + GIVE_UP_SECONDS:
                _log.error("workers keep ending: the lines before say why", deaths=len(deaths))
                pass_on(signal.SIGTERM, None)
                failed = True
            else:
                _log.error("a worker ended: another takes its place", pid=pid, status=status)
                time.sleep(RESTART_SECONDS)
        if not stopping:  # which may have changed during the sleep
            _fork(work, running, reload_first=lambda: reloaded)
    return 1 if failed else 0


def _fork(work: Callable[[bool], int], running: set[int], *, reload_first: Callable[[], bool]) -> None:
    """Start one worker. Signals are blocked until its process ID is in ``running``, so that each is passed on to it.
    ``reload_first`` is asked in the worker, after every signal that was not passed on to it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        running.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return
    code = 1
    try:
        end_with(parent)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # still blocked: the worker unblocks them when it is ready
        code = work(reload_first())
    except (StoreProblem, KeyProblem, BackendSilent, OSError) as problem:
        _log.error("a worker could not go on", problem=str(problem))
    except Exception:
        _log.exception("a worker could not go on")
    finally:
        logs.flush()
        os._exit(code)
