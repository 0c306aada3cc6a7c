"""The process of ``sekisho pam-agent``: the socket for PAM modules on a host without the store. It puts parts together,
and decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from otp_core import logs
from otp_core.audit import Ids
from otp_core.radius.client import RadiusClient, RetryPolicy
from otp_core.sealing import Sealer
from otp_core.settings import ConfigProblems, LogSettings
from otp_core.settings.reload import take_over
from otp_core.verdict_log import VerdictLog
from pam_module.agent_settings import AgentSettings, LoadedAgent
from pam_module.frontend import PamFrontend
from pam_module.offline.verifier import OfflineVerifier
from pam_module.profiles import profiles_of
from pam_module.radius_backend import RadiusBackend

_RESTART_KEYS = (
    "socket",
    "allow_all_users",
    "servers",
    "nas_identifier",
    "timeout",
    "retries",
    "dead_seconds",
    "offline_folder",
)
_ALIVE_SECONDS = 0.25
"""How often the loop says that it goes round."""
_log = structlog.get_logger("agent")


class ServiceManager(Protocol):
    """What is told of the agent (sekisho/notify.py)."""

    def ready(self) -> None: ...
    def reloading(self) -> None: ...
    def stopping(self) -> None: ...
    def alive(self, now: float) -> None: ...


def run(read: Callable[[], LoadedAgent], manager: ServiceManager) -> int:
    """Serve until SIGTERM or SIGINT. ``read`` reads the settings: now, and again at SIGHUP. Returns the exit code.
    Raises ConfigProblems or OSError."""
    loaded = read()
    logs.configure(loaded.log.level, loaded.log.format)
    with logs.everything():
        for warning in loaded.warnings:
            _log.warning("settings", warning=str(warning))
        return asyncio.run(_serve(read, loaded.agent, _verdict_log(loaded.log), manager))


def _servers_of(agent: AgentSettings) -> RadiusClient:
    return RadiusClient(
        agent.servers,
        agent.secret.get_secret_value(),
        RetryPolicy(agent.timeout, agent.retries, agent.dead_seconds),
        agent.nas_identifier,
    )


def _verdict_log(log: LogSettings) -> VerdictLog:
    """All verdicts, unless the settings say otherwise: there is no audit trail on this host. Fingerprints of names are
    this process's own, because the host has no key of the store."""
    wanted = log.verdicts if "verdicts" in log.model_fields_set else "all"
    fingerprints = Sealer(os.urandom(32))
    return VerdictLog(wanted, fingerprints.name_fingerprint, Ids().next)


async def _serve(
    read: Callable[[], LoadedAgent], agent: AgentSettings, verdict_log: VerdictLog, manager: ServiceManager
) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    servers = _servers_of(agent)
    offline = OfflineVerifier(agent.offline_folder, agent.nas_identifier, lambda: int(time.time() * 1000))
    backend = RadiusBackend(servers, offline, verdict_log, loop.time)
    backend.reload(agent)
    frontend = PamFrontend(agent, profiles_of(agent.profiles), backend)

    def reload() -> None:
        manager.reloading()
        read_again()
        manager.ready()

    def read_again() -> None:
        try:
            after = take_over("agent", agent, read().agent, _RESTART_KEYS)
        except ConfigProblems as problems:
            _log.error("not reloaded: the old settings stay in force", problems=str(problems))
            return
        servers.secret = after.secret.get_secret_value()
        backend.reload(after)
        frontend.reload(after, profiles_of(after.profiles))
        _log.info("reloaded")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await frontend.open()
    _log.info("listening", door="pam-agent", address=str(agent.socket), servers=", ".join(map(str, agent.servers)))
    _log.info("ready", pid=os.getpid())
    manager.ready()
    try:
        await _live_until(stop, manager)
    finally:
        manager.stopping()
        await frontend.close()
        await servers.close()
        offline.close()
        # asyncio closes its own pipe before it lets go of the signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    _log.info("stopped")
    return 0


async def _live_until(stop: asyncio.Event, manager: ServiceManager) -> None:
    """Say from this loop that it goes round."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        manager.alive(loop.time())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _ALIVE_SECONDS)
