"""The life of the server process: start, signals, reload, drain; and of several, where radius.workers asks for them.

SIGTERM and SIGINT drain, SIGHUP reads the settings again. It knows no door by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from otp_core import logs
from otp_core.build import Door, doors, open_house
from otp_core.model import BackendSilent
from otp_core.sealing import KeyProblem
from otp_core.settings import ConfigProblems, Loaded, Settings, load
from otp_core.store.engine import StoreProblem

_log = structlog.get_logger("sekisho")
RESTART_SECONDS = 1.0
GIVE_UP_AFTER, GIVE_UP_SECONDS = 5, 60.0
"""So many deaths beyond one of each worker, within so many seconds, are no accident."""

_WAIT_FOR_A_RESTART = ("store", "login", "password", "throttle", "notices", "log")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Configuration:
    """Where the settings come from, so that they can be read again."""

    def __init__(self, path: Path | None, secrets_dir: Path | None, environment: Mapping[str, str]) -> None:
        self.path, self._secrets_dir, self._environment = path, secrets_dir, environment

    def read(self) -> Loaded:
        """The settings as they are now. Raises ConfigProblems, those that only a door can find included."""
        loaded = load(self.path, environment=self._environment, secrets_dir=self._secrets_dir)
        problems = [problem for make in doors().values() for problem in make(loaded.settings).problems()]
        if problems:
            raise ConfigProblems(tuple(problems))
        return loaded


def run(configuration: Configuration, *, trust_clock: bool = False) -> int:
    """Serve until a signal ends it; the exit code. Raises ConfigProblems, StoreProblem, KeyProblem, OSError."""
    # Held back until somebody can take them: a reload that comes too early must not end the server.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return _run(configuration, trust_clock=trust_clock)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(configuration: Configuration, *, trust_clock: bool) -> int:
    loaded = configuration.read()
    settings = loaded.settings
    logs.configure(settings.log)
    for warning in loaded.warnings:
        _log.warning("settings", warning=str(warning))
    workers = settings.radius.workers or os.cpu_count() or 1
    made = [make(settings) for make in doors().values()]
    if workers == 1:
        return asyncio.run(_serve(configuration, settings, made, trust_clock=trust_clock, shared=False))
    asyncio.run(_try(settings, trust_clock=trust_clock))
    for door in made:
        door.bind()

    def work(late: bool) -> int:
        return asyncio.run(_serve(configuration, settings, made, trust_clock=False, shared=True, late=late))

    return _supervise(workers, work)


async def _serve(
    configuration: Configuration,
    settings: Settings,
    made: list[Door],
    *,
    trust_clock: bool,
    shared: bool,
    late: bool = False,
) -> int:
    """``shared``: one of several workers; ``late``: the others may have read the settings again meanwhile."""
    house = open_house(settings, trust_clock=trust_clock)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, configuration, settings, made)
    chores = [loop.create_task(house.health.sweep())]
    if house.sender is not None:
        chores.append(loop.create_task(house.sender.run()))
    try:
        for door in made:
            await door.open(house, shared=shared)
        if late:
            _reload(configuration, settings, made)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _log.info("ready", pid=os.getpid())
        await stop.wait()
        _log.info("draining")
    finally:
        for door in made:
            await door.close()
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        await house.close()
    _log.info("stopped")
    return 0


def _reload(configuration: Configuration, started: Settings, opened: list[Door]) -> None:
    try:
        loaded = configuration.read()
    except ConfigProblems as problems:
        _log.error("not reloaded: the old settings stay in force", problems=str(problems))
        return
    for door in opened:
        door.reload(loaded.settings)
    for name in _WAIT_FOR_A_RESTART:
        if getattr(loaded.settings, name) != getattr(started, name):
            _log.warning("a changed section waits for a restart", section=name)
    _log.info("reloaded", file=str(configuration.path))


async def _try(settings: Settings, *, trust_clock: bool) -> None:
    """Open everything once, alone: workers share their ports, so only this finds out that somebody else has them."""
    house = open_house(settings, trust_clock=trust_clock)
    opened = [make(settings) for make in doors().values()]
    try:
        for door in opened:
            await door.open(house, shared=False)
    finally:
        for door in opened:
            await door.close()
        await house.close()


def _supervise(workers: int, work: Callable[[bool], int]) -> int:
    """Fork ``workers`` processes, pass signals on, replace who dies, end when all have ended."""
    stopping = failed = reloaded = False
    running: set[int] = set()

    def pass_on(number: int, _frame: object) -> None:
        nonlocal stopping, reloaded
        stopping = stopping or number != signal.SIGHUP
        reloaded = reloaded or number == signal.SIGHUP
        for pid in running:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(pid, number)

    for number in _SIGNALS:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    while not stopping and len(running) < workers:
        _fork(work, running, late=lambda: reloaded)
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
            _fork(work, running, late=lambda: reloaded)
    return 1 if failed else 0


def _fork(work: Callable[[bool], int], running: set[int], *, late: Callable[[], bool]) -> None:
    """One more worker. No signal gets between the fork and its entry, or it would miss the worker. ``late``: asked in
    the worker, when every signal that was not passed on to it has been seen."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pid = os.fork()
    if pid:
        running.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return
    code = 1
    try:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # still held back: the worker lets them in when it can take them
        code = work(late())
    except (StoreProblem, KeyProblem, BackendSilent, OSError) as problem:
        _log.error("a worker could not go on", problem=str(problem))
    except Exception:
        _log.exception("a worker could not go on")
    finally:
        os._exit(code)
