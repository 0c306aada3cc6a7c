"""The server: which processes there are, and the life of each: start, signals, reload, drain. Who looks after them:
supervisor.py.

SIGTERM and SIGINT drain and end it, SIGHUP reloads the settings. It knows no door by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from otp_core import logs
from otp_core.doors import Door, Services
from otp_core.first_factor.failures import FailureTable
from otp_core.model import BackendSilent, StoreUnavailable
from otp_core.settings import ConfigProblems, Loaded, Problem
from otp_core.store.engines import one_process_only, store_file
from otp_core.store.lookup_task import LookupTask
from otp_core.store.loop_guard import loops_guarded
from otp_core.store.sqlite.outside import ended_in_turn
from sekisho.checkpointer import NAME as CHECKPOINTS
from sekisho.checkpointer import run_checkpointer
from sekisho.doors import NAMES, Process, door_problems, make_doors, processes, reload_doors
from sekisho.first_factors import relay_problems
from sekisho.heartbeat import Heartbeat, heartbeats
from sekisho.metrics.back_ends import BackEndWatch, back_ends
from sekisho.metrics.report import Reporter
from sekisho.metrics.roles import CheckpointCounts, Place, SealCounts, metrics_role, places
from sekisho.node import Node, enter, take_out
from sekisho.notify import Notifier
from sekisho.remark_writer import RemarkWriter
from sekisho.sealing_process import NAME as SEALS
from sekisho.sealing_process import run_sealer, seal_beside
from sekisho.settings import Settings, load
from sekisho.shadow import ShadowWriter
from sekisho.store_watch import STORE_STOPPED, end_with_store, put_store_right
from sekisho.supervisor import SIGNALS, WAITS, Role, supervise, take_no_more_signals
from sekisho.syslog_process import NAME as SYSLOG
from sekisho.syslog_process import run_syslog
from sekisho.wiring import open_application, open_failures

_log = structlog.get_logger("sekisho")
_ASKING = frozenset({"console", "api"})
"""Doors that ask the audit trail about customers and tokens; one process has them."""

_NICENESS = 5
"""Of the pages: a third of the processor where a gateway's logins want it too."""

_RESTART_SECTIONS = (
    "store", "node", "login", "password", "throttle", "upstreams", "first_factors", "verifiers", "notices", "audit",
    "syslog", "webhooks", "metrics", "log",
)  # fmt: skip
"""Sections that a reload does not apply. The doors' own sections: see ``Door.reload``."""


class Configuration:
    """Where the settings come from, so that a reload can read them again. ``path``: the file, None for none."""

    def __init__(self, path: Path | None, secrets_dir: Path | None, environment: Mapping[str, str]) -> None:
        self.path, self._secrets_dir, self._environment = path, secrets_dir, environment

    def read(self) -> Loaded[Settings]:
        """Read and check the settings. Raises ConfigProblems, including problems that only a door can find."""
        loaded = load(self.path, environment=self._environment, secrets_dir=self._secrets_dir)
        if problems := door_problems(loaded.settings) + relay_problems(loaded.settings):
            raise ConfigProblems(problems)
        return loaded


def run(configuration: Configuration, *, trust_clock: bool = False, doors: Collection[str] = NAMES) -> int:
    """Serve until a signal ends it; returns the exit code. ``trust_clock``: accept a clock behind the audit trail.
    ``doors``: which ones, of NAMES.

    Raises ConfigProblems, StoreProblem, KeyProblem, StoreUnavailable and OSError if it cannot start."""
    # Blocked until somebody takes them: SIGHUP without a handler would end the process.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        loaded = configuration.read()
        logs.configure(loaded.settings.log.level, loaded.settings.log.format)
        logs.name_node(loaded.settings.node.called)
        with logs.everything():
            return _run(configuration, loaded, doors, trust_clock=trust_clock)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(
    configuration: Configuration, loaded: Loaded[Settings], asked_for: Collection[str], *, trust_clock: bool
) -> int:
    settings = loaded.settings
    for warning in loaded.warnings:
        _log.warning("settings", warning=str(warning))
    put_store_right(settings, trust_clock=trust_clock)
    fault, file = one_process_only(settings.store.address), store_file(settings.store.address)
    apart = fault is None
    if fault is not None:
        _log.warning("store", warning=fault)
    plan = processes(settings, asked_for, apart=apart)
    if not plan:
        raise ConfigProblems([Problem("", "serve --doors", f"the settings have no section for {', '.join(asked_for)}")])
    asyncio.run(_try_store(settings, trust_clock=trust_clock))
    node = enter(settings, len(plan))
    failures = open_failures(settings)
    doors = make_doors(settings, {name for process in plan for name in process.doors})
    for door in doors.values():
        door.bind()
    sealed = apart and settings.audit is not None
    relieved = apart and file is not None
    shown = bool(back_ends(settings)) and any("console" in process.doors for process in plan)
    given = places(settings, len(plan) + relieved + sealed, shown=shown)
    roles = [
        _role(configuration, settings, doors, process, failures, place, node, number)
        for number, (process, place) in enumerate(zip(plan, given, strict=False))
    ]
    if relieved:
        roles.append(_checkpoints(settings, given[len(plan)]))
    if sealed:
        roles.append(_seals(settings, given[-1]))
    if settings.syslog is not None:
        roles.append(Role(SYSLOG, lambda life, _: run_syslog(settings, life), essential=False))
    if settings.webhooks:
        roles.append(Role("webhooks", lambda life, _: _run_webhooks(settings, life), essential=False))
    if file is None:
        roles = [role._replace(work=_waiting(role)) for role in roles]
    beats = heartbeats(len(roles) + 1)
    if (role := metrics_role(settings, roles, given, beats, lambda: node.board.read().name)) is not None:
        roles.append(role)
    was_ended = partial(_was_ended, file)
    leave_start_out_of_collections()  # before the fork too: a collection in each process would copy all of it
    code = supervise(roles, Notifier(os.environ), was_ended=was_ended, beats=beats[: len(roles)])
    if code == 0:
        take_out(settings, node)
    return code


def _waiting(role: Role) -> Callable[[Heartbeat, bool], int]:
    """The work of a role, for a store that another machine has: while it is away, the process is tried again."""

    def work(life: Heartbeat, reload_first: bool) -> int:
        try:
            return role.work(life, reload_first)
        except StoreUnavailable as cause:
            _log.error("a process waits for the store", role=role.name, cause=str(cause))
            return WAITS

    return work


def _was_ended(store: Path | None, pid: int) -> bool:
    return store is not None and pid in ended_in_turn(str(store))


def _run_webhooks(settings: Settings, life: Heartbeat) -> int:
    from sekisho.webhooks_process import run_webhooks  # its HTTP client is in no other process

    return run_webhooks(settings, life)


def _checkpoints(settings: Settings, place: Place | None) -> Role:
    def work(life: Heartbeat, _: bool) -> int:
        if place is None:
            return run_checkpointer(settings, life)
        return run_checkpointer(settings, life, CheckpointCounts(place.slot))

    return Role(CHECKPOINTS, work, essential=False)


def _seals(settings: Settings, place: Place | None) -> Role:
    def work(life: Heartbeat, _: bool) -> int:
        if place is None:
            return run_sealer(settings, life)
        return run_sealer(settings, life, SealCounts(place.slot))

    return Role(SEALS, work, essential=False)


def _role(
    configuration: Configuration,
    settings: Settings,
    doors: Mapping[str, Door[Any]],
    process: Process,
    failures: FailureTable,
    place: Place | None,
    node: Node,
    number: int,
) -> Role:
    own = {name: doors[name] for name in process.doors}

    def work(heartbeat: Heartbeat, reload_first: bool) -> int:
        if not process.essential:
            _give_way()
        server = ServerProcess(process.name, configuration, settings, own, heartbeat, failures, node, number, place)
        return asyncio.run(server.serve(reload_first=reload_first))

    return Role(process.name, work, process.essential)


def _give_way() -> None:
    """The pages have a lower priority than gateways, where there are some; so has each thread that is begun later.
    Where it may not be changed, it stays."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)


class ServerProcess:
    """One process with some of the doors. ``name``: in the log. ``node``: the server that it is the ``number``-th of.
    ``place``: where it writes its figures."""

    def __init__(
        self,
        name: str,
        configuration: Configuration,
        settings: Settings,
        doors: dict[str, Door[Any]],
        heartbeat: Heartbeat,
        failures: FailureTable,
        node: Node,
        number: int,
        place: Place | None = None,
    ) -> None:
        self._name, self._configuration, self._settings = name, configuration, settings
        self._doors, self._heartbeat, self._failures, self._place = doors, heartbeat, failures, place
        self._node, self._number = node, number

    async def serve(self, *, reload_first: bool) -> int:
        """From opening to the end of draining; returns the exit code. ``reload_first``: the settings were reloaded
        after ``settings`` were read, so it reloads them at once."""
        application = open_application(self._settings, failures=self._failures, tag=self._node.tag(self._number))
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        chores = [
            loop.create_task(self._heartbeat.keep()),
            loop.create_task(application.services.health.sweep()),
            loop.create_task(application.timekeeper.run()),
            loop.create_task(end_with_store(application.services.store, stop)),
            loop.create_task(application.services.desk.looks.run()),
            loop.create_task(self._node.keeper(application, self._number).run()),
        ]
        chores.append(loop.create_task(application.watch.run()))
        services = application.services
        remarks = RemarkWriter(services.store, services.verdict_log.remarks, application.clock.now)
        chores.append(loop.create_task(remarks.run()))
        if services.shadow is not None:
            chores.append(loop.create_task(ShadowWriter(services.store, services.shadow.comparison).run()))
        if self._place is not None:
            reporter = Reporter(self._place.board, self._place.slot, application, self._doors)
            chores.append(loop.create_task(reporter.run()))
            if "console" in self._doors and (named := back_ends(self._settings)):
                watch = BackEndWatch(self._place.board.slots, named)
                chores.append(loop.create_task(watch.run()))
                services = replace(services, back_ends=watch)
        if self._settings.audit is not None and one_process_only(self._settings.store.address) is not None:
            chores.append(loop.create_task(seal_beside(self._settings)))
        if self._doors.keys() & _ASKING and any(getattr(self._settings, name) is not None for name in _ASKING):
            lookup = LookupTask(application.services.store, application.clock.now)
            chores.append(loop.create_task(lookup.run()))
        if application.teller is not None:
            chores.append(loop.create_task(application.teller.run()))
        if application.sender is not None:
            chores.append(loop.create_task(application.sender.run()))
        try:
            with loops_guarded(services.store.database.waits):
                await self._answer(services, chores, stop, reload_first=reload_first)
        finally:
            remarks.write()
            with contextlib.suppress(BackendSilent):
                services.desk.looks.write()
            code = STORE_STOPPED if application.services.store.has_to_stop() else 0
            await application.close()
            take_no_more_signals()
        _log.info("stopped", role=self._name)
        return code

    async def _answer(
        self, services: Services, chores: list[asyncio.Task[None]], stop: asyncio.Event, *, reload_first: bool
    ) -> None:
        """From the opening of the doors until they are closed, and the ``chores`` have ended."""
        try:
            await services.health.look()
            for door in self._doors.values():
                await door.open(services, shared=self._name != "web")
            if reload_first:
                self._reload()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            leave_start_out_of_collections()
            self._heartbeat.is_ready()
            _log.info("ready", role=self._name, pid=os.getpid())
            await stop.wait()
            _log.info("draining", role=self._name)
        finally:
            for door in self._doors.values():
                await door.close()
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)

    def _reload(self) -> None:
        try:
            loaded = self._configuration.read()
        except ConfigProblems as problems:
            _log.error("not reloaded: the old settings stay in force", problems=str(problems))
        else:
            reload_doors(self._doors, loaded.settings)
            for name in _RESTART_SECTIONS:
                if getattr(loaded.settings, name) != getattr(self._settings, name):
                    _log.warning("a changed section waits for a restart", section=name)
            _log.info("reloaded", role=self._name, file=str(self._configuration.path))
        self._heartbeat.has_reloaded()


def leave_start_out_of_collections() -> None:
    """What the start has made stays until the end: a hundred thousand objects, which Python's collector of cycles would
    look through again and again, and keep all logins waiting meanwhile."""
    gc.collect()
    gc.freeze()


async def _try_store(settings: Settings, *, trust_clock: bool) -> None:
    """Open everything but the doors once, before there are processes: what is wrong with the store ends the start."""
    await open_application(settings, trust_clock=trust_clock).close()
