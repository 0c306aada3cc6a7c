"""The dialogue's House where the store is: the authenticator that all doors share, and what a session asks."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import date

from otp_core.audit import Event
from otp_core.doors import Services
from otp_core.model import Attempt, OtpUse, Verdict
from pam_module.frames import ResultCode
from pam_module.inline_task import Deferred
from pam_module.profiles import Profile


class StoreBackend:
    """Logins of this machine, asked of this machine's store."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def answer(self, attempt: Attempt) -> Awaitable[Verdict]:
        verdict: Deferred[Verdict] = Deferred()
        self._services.authenticator.admit(attempt, verdict.resolve)
        return verdict

    def account(self, customer: str, profile: Profile, today: date) -> tuple[ResultCode, str]:
        """As at a login, short of asking anything: whoever could not log in has no session either."""
        found = self._services.login_reader.credentials(customer)
        if found is None:
            return ResultCode.USER_UNKNOWN, "unknown customer"
        record, _ = found
        if record.locked_at is not None:
            return ResultCode.PERM_DENIED, "locked"
        use = OtpUse(record.otp_use)
        if use is OtpUse.ACTIVE or use in profile.policy(today).password_only:
            return ResultCode.SUCCESS, ""
        grace_is_over = use is OtpUse.NONE and profile.enrol_until is not None
        return ResultCode.ACCT_EXPIRED if grace_is_over else ResultCode.PERM_DENIED, f"no active token: {use}"

    def audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        with self._services.store.work() as work:
            work.audit(
                event,
                actor=attempt.client,
                source=attempt.calling_station_id or attempt.source,
                reason=reason,
                customer=attempt.customer,
            )

    def never_enrolled(self, customer: str) -> bool:
        found = self._services.login_reader.credentials(customer)
        return found is not None and found[0].otp_use == OtpUse.NONE
