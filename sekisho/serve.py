"""The life of one server process: start, signals, reload, drain. Several workers: supervisor.py.

SIGTERM and SIGINT drain and end it, SIGHUP reloads the settings. It knows no door by name.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from otp_core import logs
from otp_core.doors import Door
from otp_core.settings import ConfigProblems, Loaded
from otp_core.store.sqlite import driver
from sekisho.doors import door_problems, make_doors, reload_doors
from sekisho.settings import Settings, load
from sekisho.supervisor import SIGNALS, supervise
from sekisho.wiring import open_application

_log = structlog.get_logger("sekisho")
_RESTART_SECTIONS = ("store", "login", "password", "throttle", "notices", "log")
"""Sections that a reload does not apply. The doors' own sections: see ``Door.reload``."""


class Configuration:
    """Where the settings come from, so that a reload can read them again. ``path``: the file, None for none."""

    def __init__(self, path: Path | None, secrets_dir: Path | None, environment: Mapping[str, str]) -> None:
        self.path, self._secrets_dir, self._environment = path, secrets_dir, environment

    def read(self) -> Loaded[Settings]:
        """Read and check the settings. Raises ConfigProblems, including problems that only a door can find."""
        loaded = load(self.path, environment=self._environment, secrets_dir=self._secrets_dir)
        if problems := door_problems(loaded.settings):
            raise ConfigProblems(problems)
        return loaded


def run(configuration: Configuration, *, trust_clock: bool = False) -> int:
    """Serve until a signal ends it; returns the exit code. ``trust_clock``: accept a clock behind the audit trail.

    Raises ConfigProblems, StoreProblem, KeyProblem, StoreUnavailable and OSError if it cannot start."""
    # Blocked until their handlers are there: SIGHUP without a handler would end the process.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return _run(configuration, trust_clock=trust_clock)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(configuration: Configuration, *, trust_clock: bool) -> int:
    loaded = configuration.read()
    settings = loaded.settings
    logs.configure(settings.log.level, settings.log.format)
    with logs.everything():
        return _run_logged(configuration, loaded, trust_clock=trust_clock)


def _run_logged(configuration: Configuration, loaded: Loaded[Settings], *, trust_clock: bool) -> int:
    settings = loaded.settings
    for warning in loaded.warnings:
        _log.warning("settings", warning=str(warning))
    workers = _workers(settings)
    doors = make_doors(settings)
    if workers == 1:
        return asyncio.run(_serve(configuration, settings, doors, trust_clock=trust_clock, shared=False))
    asyncio.run(_try_once(settings, trust_clock=trust_clock))
    for door in doors.values():
        door.bind()

    def worker(reload_first: bool) -> int:
        return asyncio.run(
            _serve(configuration, settings, doors, trust_clock=False, shared=True, reload_first=reload_first)
        )

    return supervise(workers, worker)


def _workers(settings: Settings) -> int:
    """How many workers serve: one where several would not be safe for the store, which is said."""
    if not driver.resets_safely():
        _log.warning("store", warning=driver.FAULT)
        return 1
    return settings.radius.workers or os.cpu_count() or 1


async def _serve(
    configuration: Configuration,
    settings: Settings,
    doors: dict[str, Door[Any]],
    *,
    trust_clock: bool,
    shared: bool,
    reload_first: bool = False,
) -> int:
    """One server process, from opening to the end of draining; returns the exit code. ``shared``: it is one of several
    workers. ``reload_first``: the settings were reloaded after ``settings`` were read, so it reloads them at once."""
    application = open_application(settings, trust_clock=trust_clock)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, configuration, settings, doors)
    chores = [
        loop.create_task(application.services.health.sweep()),
        loop.create_task(application.timekeeper.run()),
        loop.create_task(application.watch.run()),
    ]
    if application.sender is not None:
        chores.append(loop.create_task(application.sender.run()))
    try:
        for door in doors.values():
            await door.open(application.services, shared=shared)
        if reload_first:
            _reload(configuration, settings, doors)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        _log.info("ready", pid=os.getpid())
        await stop.wait()
        _log.info("draining")
    finally:
        for door in doors.values():
            await door.close()
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        await application.close()
    _log.info("stopped")
    return 0


def _reload(configuration: Configuration, started: Settings, doors: dict[str, Door[Any]]) -> None:
    try:
        loaded = configuration.read()
    except ConfigProblems as problems:
        _log.error("not reloaded: the old settings stay in force", problems=str(problems))
        return
    reload_doors(doors, loaded.settings)
    for name in _RESTART_SECTIONS:
        if getattr(loaded.settings, name) != getattr(started, name):
            _log.warning("a changed section waits for a restart", section=name)
    _log.info("reloaded", file=str(configuration.path))


async def _try_once(settings: Settings, *, trust_clock: bool) -> None:
    """Open everything once without sharing ports: a worker, which shares its ports, would not notice another program
    that has them."""
    application = open_application(settings, trust_clock=trust_clock)
    doors = make_doors(settings).values()
    try:
        for door in doors:
            await door.open(application.services, shared=False)
    finally:
        for door in doors:
            await door.close()
        await application.close()
