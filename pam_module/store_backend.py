"""The dialogue's Backend on the machine that holds the store: the authenticator that all doors share.

It writes audit rows alone; everything else that a login changes is the authenticator's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import date

from otp_core.accounts.typed_names import customer_to_keep
from otp_core.audit import Event
from otp_core.doors import Services
from otp_core.inline_task import Deferred
from otp_core.model import Attempt, OtpUse, Verdict
from otp_core.store.retry import retry_while_busy
from pam_module.frames import ResultCode
from pam_module.profiles import BY_NAME, Profile

_NO_TOKEN = (OtpUse.NONE, OtpUse.SUSPENDED)


class StoreBackend:
    """Verdicts of this process's authenticator."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def answer(self, attempt: Attempt) -> Awaitable[Verdict]:
        """The verdict, once the login batch with it is committed."""
        deferred: Deferred[Verdict] = Deferred()
        time = asyncio.get_running_loop().time
        begun = time()

        def on_verdict(verdict: Verdict) -> None:
            deferred.resolve(verdict)
            self._services.tally.verdict("pam", attempt.client, verdict, time() - begun)
            self._services.verdict_log.write("pam", attempt, verdict, time() - begun, nas=attempt.source)

        self._services.authenticator.admit(attempt, on_verdict)
        return deferred

    async def account(self, customer: str, profile: Profile, today: date, *, exempt: bool) -> tuple[ResultCode, str]:
        """The rules of a login that need no answer: a customer who could not log in has no session either. Raises
        StoreUnavailable."""
        record = await self._services.login_reader.login_record(customer)
        if record is None:
            return ResultCode.USER_UNKNOWN, "unknown customer"
        if record.locked_at is not None:
            return ResultCode.PERM_DENIED, "locked"
        use = OtpUse(record.otp_use)
        if use is OtpUse.ACTIVE or use in profile.policy(today).password_only or (exempt and use in _NO_TOKEN):
            return ResultCode.SUCCESS, ""
        grace_is_over = use is OtpUse.NONE and profile.enrol_until is not None
        return ResultCode.ACCT_EXPIRED if grace_is_over else ResultCode.PERM_DENIED, f"no active token: {use}"

    async def audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        """Write one audit row. Waits while another process holds the write lock. Raises StoreUnavailable."""
        await retry_while_busy(lambda: self._write_audit(event, attempt, reason))

    def _write_audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        store, name = self._services.store, attempt.customer
        with store.work() as work:
            work.audit(
                event,
                actor=attempt.client,
                source=attempt.calling_station_id or attempt.source,
                reason=reason,
                customer=name if reason in BY_NAME else customer_to_keep(work, store.sealer, name),
            )

    async def never_enrolled(self, customer: str) -> bool:
        """Whether the customer is known and has never had a token. Raises StoreUnavailable."""
        record = await self._services.login_reader.login_record(customer)
        return record is not None and record.otp_use == OtpUse.NONE
