"""The dialogue's Backend on a host without the store: verdicts of RADIUS servers, or of the offline verifier.

It holds no customers, no seeds and no audit trail: each login is a line in the log, and a row in the audit trail of the
server that decided.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import date

import structlog

from otp_core.audit import Event
from otp_core.model import Accept, Attempt, Mode, Reject, Silence, Verdict
from otp_core.radius.client import RadiusClient
from otp_core.verdict_log import VerdictLog
from pam_module.agent_settings import AgentSettings
from pam_module.frames import ResultCode
from pam_module.offline.verifier import OfflineVerifier
from pam_module.profiles import BY_NAME, Profile

SESSION_SECONDS = 300.0
"""How long after a login the account phase may follow (pam_acct_mgmt, which RADIUS does not have)."""

_MAX_SESSIONS = 4096
_log = structlog.get_logger("agent")


class RadiusBackend:
    """Verdicts of RADIUS servers, and of the offline verifier while no server answers."""

    def __init__(
        self, servers: RadiusClient, offline: OfflineVerifier, verdict_log: VerdictLog, now: Callable[[], float]
    ) -> None:
        """``now``: seconds, monotonic."""
        self._servers, self._offline, self._verdict_log, self._now = servers, offline, verdict_log, now
        self._offline_clients: frozenset[str] = frozenset()
        self._accepted_at: OrderedDict[str, float] = OrderedDict()

    def reload(self, agent: AgentSettings) -> None:
        """Use the settings' profiles from the next login on."""
        self._offline_clients = frozenset(f"pam:{one.name}" for one in agent.profiles if one.offline == "codes")

    def answer(self, attempt: Attempt) -> Awaitable[Verdict]:
        """The verdict. A Task: the RADIUS client uses asyncio.timeout, which an InlineTask cannot run."""
        return asyncio.get_running_loop().create_task(self._answer(attempt))

    async def _answer(self, attempt: Attempt) -> Verdict:
        begun = self._now()
        verdict = await self._servers.answer(attempt)
        if self._offline_clients and isinstance(verdict, Accept):
            # Under any profile: a code accepted under one must not be good offline under another.
            self._offline.accepted_online(attempt.customer, attempt.user_password)
        offline = attempt.client in self._offline_clients and attempt.policy.mode is Mode.CODE
        if offline and isinstance(verdict, Silence):
            _log.error("no server answers: using the offline cache", client=attempt.client, cause=verdict.reason)
            accepted = await self._offline.accepts(
                attempt.customer, attempt.user_password, attempt.calling_station_id or attempt.source
            )
            verdict = Accept() if accepted else Reject("offline", attempt.policy.language)
        if isinstance(verdict, Accept):
            self._remember(attempt.customer)
        self._verdict_log.write("pam-agent", attempt, verdict, self._now() - begun, nas=attempt.source)
        return verdict

    def _remember(self, customer: str) -> None:
        self._accepted_at[customer] = self._now()
        self._accepted_at.move_to_end(customer)
        if len(self._accepted_at) > _MAX_SESSIONS:
            self._accepted_at.popitem(last=False)

    async def account(self, customer: str, profile: Profile, today: date, *, exempt: bool) -> tuple[ResultCode, str]:
        """SUCCESS within SESSION_SECONDS of an accepted login. RADIUS has no account phase, so nothing is known of
        other customers."""
        if self._now() - self._accepted_at.get(customer, float("-inf")) <= SESSION_SECONDS:
            return ResultCode.SUCCESS, ""
        return ResultCode.UNAVAILABLE, "no login through this agent just before"

    async def audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        """Write a line to the log: the agent has no audit trail."""
        _log.warning(
            event.value,
            door="pam-agent",
            client=attempt.client,
            source=attempt.calling_station_id or attempt.source,
            customer=self._verdict_log.name(attempt.customer, is_known=reason in BY_NAME),
            reason=reason,
        )

    async def never_enrolled(self, customer: str) -> bool:
        """Always False: enrolment is not known here."""
        return False
