"""What `sekisho doctor` says about the certificates that the doors show: how long they are good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState

if TYPE_CHECKING:
    from sekisho.settings import Settings


def examine_certificates(settings: Settings) -> Iterator[CheckResult]:
    """Those of the doors; what a verifier is shown is examined with the verifier."""
    from otp_core.certificates import SOON_DAYS, lifetime_of

    for named in settings.certificates:
        if named.setting.startswith("verifiers."):
            continue
        found = lifetime_of(named)
        check, days = f"certificate {named.setting.partition('.')[0]}", found.days(datetime.now(UTC))
        if days is None:
            yield CheckResult(CheckState.FAIL, check, f"{named.file} {found.trouble}")
        elif days < 0:
            text = f"{named.file} ended on {found.ends:%Y-%m-%d}: browsers refuse it; renew it, then reload the server"
            yield CheckResult(CheckState.FAIL, check, text)
        elif days < SOON_DAYS:
            text = f"{named.file} ends in {days} days: renew it, or browsers refuse it"
            yield CheckResult(CheckState.WARN, check, text)
        else:
            yield CheckResult(CheckState.OK, check, f"{named.file} is good for {days} days more")
