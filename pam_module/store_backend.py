"""The dialogue's House where the store is: the authenticator that all doors share, and what a session asks."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import date

from otp_core.audit import Event
from otp_core.build import House
from otp_core.model import Attempt, OtpUse, Verdict
from pam_module.course import Told
from pam_module.frames import Code
from pam_module.profiles import Profile


class StoreHouse:
    """Logins of this machine, asked of this machine's store."""

    def __init__(self, house: House) -> None:
        self._house = house

    def answer(self, attempt: Attempt) -> Awaitable[Verdict]:
        verdict: Told[Verdict] = Told()
        self._house.authenticator.admit(attempt, verdict.tell)
        return verdict

    def account(self, customer: str, profile: Profile, today: date) -> tuple[Code, str]:
        """As at a login, short of asking anything: whoever could not log in has no session either."""
        found = self._house.enquiries.credentials(customer)
        if found is None:
            return Code.USER_UNKNOWN, "unknown customer"
        standing, _ = found
        if standing.locked_at is not None:
            return Code.PERM_DENIED, "locked"
        use = OtpUse(standing.otp_use)
        if use is OtpUse.ACTIVE or use in profile.policy(today).password_only:
            return Code.SUCCESS, ""
        grace_is_over = use is OtpUse.NONE and profile.enrol_until is not None
        return Code.ACCT_EXPIRED if grace_is_over else Code.PERM_DENIED, f"no active token: {use}"

    def record(self, event: Event, attempt: Attempt, reason: str) -> None:
        with self._house.store.work() as work:
            work.record(
                event,
                actor=attempt.client,
                source=attempt.station or attempt.source,
                reason=reason,
                customer=attempt.customer,
            )

    def never_enrolled(self, customer: str) -> bool:
        found = self._house.enquiries.credentials(customer)
        return found is not None and found[0].otp_use == OtpUse.NONE
