"""``sekisho pam-agent``: the socket of the PAM door on a host without the store. RADIUS servers decide; this carries.

The life of the process, and the dialogue's House. It holds no customer, no seed and no audit trail: who came in is told
in its log, and in the trail of whoever decided.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import date

import structlog

from otp_core import logs
from otp_core.audit import Event
from otp_core.model import Accept, Attempt, Mode, Reject, Silence, Verdict
from otp_core.radius.client import RadiusServers, RetryPolicy
from otp_core.settings import ConfigProblems
from pam_module.agent_settings import AgentSettings, LoadedAgent
from pam_module.frames import ResultCode
from pam_module.frontend import PamFrontend
from pam_module.offline.verifier import OfflineVerifier
from pam_module.profiles import Profile, profiles_of

SESSION_SECONDS = 300.0
"""How long after a login the account phase may follow."""

_MAX_SESSIONS = 4096
_AT_START = (
    "socket",
    "allow_all_users",
    "servers",
    "nas_identifier",
    "timeout",
    "retries",
    "dead_seconds",
    "offline_folder",
)
_log = structlog.get_logger("agent")


class RadiusBackend:
    """The dialogue's House where the store is elsewhere."""

    def __init__(self, servers: RadiusServers, offline: OfflineVerifier, now: Callable[[], float]) -> None:
        self._servers, self._offline, self._now = servers, offline, now
        self._offline_for: frozenset[str] = frozenset()
        self._let_in: OrderedDict[str, float] = OrderedDict()

    def use(self, agent: AgentSettings) -> None:
        self._offline_for = frozenset(f"pam:{one.name}" for one in agent.profiles if one.offline == "codes")

    def answer(self, attempt: Attempt) -> Awaitable[Verdict]:
        """A Task, since the exchange with a server has time-outs of its own."""
        return asyncio.get_running_loop().create_task(self._answer(attempt))

    async def _answer(self, attempt: Attempt) -> Verdict:
        verdict = await self._servers.answer(attempt)
        if self._offline_for and isinstance(verdict, Accept):
            self._offline.accepted_online(attempt.customer, attempt.user_password)  # by whatever profile
        offline = attempt.client in self._offline_for and attempt.policy.mode is Mode.CODE
        if offline and isinstance(verdict, Silence):
            _log.error("no server answers: the offline cache is asked", user=attempt.customer, cause=verdict.reason)
            known = await self._offline.accepts(
                attempt.customer, attempt.user_password, attempt.calling_station_id or attempt.source
            )
            verdict = Accept() if known else Reject("offline", attempt.policy.language)
        if isinstance(verdict, Accept):
            self._remember(attempt.customer)
        _log.info("login", user=attempt.customer, client=attempt.client, verdict=type(verdict).__name__)
        return verdict

    def _remember(self, customer: str) -> None:
        self._let_in[customer] = self._now()
        self._let_in.move_to_end(customer)
        if len(self._let_in) > _MAX_SESSIONS:
            self._let_in.popitem(last=False)

    def account(self, customer: str, profile: Profile, today: date) -> tuple[ResultCode, str]:
        """RADIUS has no such question: whoever has just been let in has an account, of others nothing is known."""
        if self._now() - self._let_in.get(customer, float("-inf")) <= SESSION_SECONDS:
            return ResultCode.SUCCESS, ""
        return ResultCode.UNAVAILABLE, "no login through this agent just before"

    def audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        _log.warning(
            event.value, user=attempt.customer, client=attempt.client, source=attempt.calling_station_id, reason=reason
        )

    def never_enrolled(self, customer: str) -> bool:
        return False


def run(read: Callable[[], LoadedAgent]) -> int:
    """Serve until a signal ends it. Raises ConfigProblems, OSError."""
    loaded = read()
    logs.configure(loaded.log.level, loaded.log.format)
    for warning in loaded.warnings:
        _log.warning("settings", warning=str(warning))
    return asyncio.run(_serve(read, loaded.agent))


async def _serve(read: Callable[[], LoadedAgent], agent: AgentSettings) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    servers = RadiusServers(
        agent.servers,
        agent.secret.get_secret_value(),
        RetryPolicy(agent.timeout, agent.retries, agent.dead_seconds),
        agent.nas_identifier,
    )
    offline = OfflineVerifier(agent.offline_folder, agent.nas_identifier, lambda: int(time.time() * 1000))
    backend = RadiusBackend(servers, offline, loop.time)
    backend.use(agent)
    frontend = PamFrontend(agent, profiles_of(agent.profiles), backend)

    def reload() -> None:
        try:
            now = read().agent
        except ConfigProblems as problems:
            _log.error("not reloaded: the old settings stay in force", problems=str(problems))
            return
        for name in _AT_START:
            if getattr(now, name) != getattr(agent, name):
                _log.warning("a changed setting waits for a restart", setting=f"agent.{name}")
        servers.secret = now.secret.get_secret_value()
        backend.use(now)
        frontend.reload(now, profiles_of(now.profiles))
        _log.info("reloaded")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await frontend.open()
    _log.info("listening", door="pam-agent", address=str(agent.socket), servers=", ".join(map(str, agent.servers)))
    _log.info("ready", pid=os.getpid())
    try:
        await stop.wait()
    finally:
        await frontend.close()
        await servers.close()
        offline.close()
    _log.info("stopped")
    return 0
