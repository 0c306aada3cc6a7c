"""Wrong codes: the delay after each, and the lock after too many. The same at every door and at the desk. Pure.

NIST SP 800-63B-4 section 3.2.2; PCI DSS 4 8.3.4. The numbers are in ``Rules``.
"""

from __future__ import annotations

from otp_core.login.policy import Rules
from otp_core.login.spent_ahead import GRACE_MS
from otp_core.model import LoginRecord


def too_soon(record: LoginRecord, now: int, rules: Rules) -> bool:
    """Whether the delay after this customer's wrong codes is still running at ``now`` (ms)."""
    return seconds_to_wait(record, now, rules) > 0


def seconds_to_wait(record: LoginRecord, now: int, rules: Rules) -> float:
    """What is left at ``now`` (ms) of the delay after this customer's wrong codes. A wrong code of the future was typed
    while the clock was wrong: it counts, and delays nobody."""
    if record.failed_at > now + GRACE_MS:
        return 0.0
    return max(0.0, record.failed_at / 1000 + rules.code_delays.after(record.failures) - now / 1000)


def failures_after(record: LoginRecord, now: int, rules: Rules) -> tuple[int, int | None]:
    """The count after one more wrong code at ``now`` (ms), and the moment of the lock, None for no lock."""
    failures = record.failures + 1
    return failures, (now if failures >= rules.lock_after else None)


def lock_reason(failures: int) -> str:
    """The audit trail's reason for a lock."""
    return f"{failures} wrong codes in a row"
