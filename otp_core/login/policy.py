"""What the core asks of every login (Rules), and how the settings become a client's wishes. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from otp_core.model import OtpUse


def password_only(without_token: str, suspended: str | None, lost: str | None) -> frozenset[OtpUse]:
    """The uses of OTP that the settings answer with "password"; ``suspended`` left out is as ``without_token``."""
    answers = {
        OtpUse.NONE: without_token,
        OtpUse.SUSPENDED: suspended or without_token,
        OtpUse.LOST: lost,
        OtpUse.REISSUE_PERMITTED: lost,
    }
    return frozenset(use for use, answer in answers.items() if answer == "password")


@dataclass(frozen=True, slots=True)
class Delays:
    """Growing delays that end by themselves: ``free`` failures cost nothing, then ``first`` seconds, doubling
    up to ``longest``."""

    free: int = 3
    first: float = 1.0
    longest: float = 30.0

    def after(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row."""
        if failures <= self.free:
            return 0.0
        return min(self.longest, self.first * 2.0 ** min(failures - self.free - 1, 60))


@dataclass(frozen=True, slots=True)
class Rules:
    """The core's own rules, the same at every door. Steps, seconds and counts.

    ``lock_after``: NIST SP 800-63B-4 section 3.2.2 allows at most 100, PCI DSS 4 8.3.4 at most 10.
    ``window``: steps accepted either side of the expected one (RFC 6238 section 5.2).
    ``tokens_per_customer``: how many a customer may bring; of those that are bound, every one counts.
    ``remember_seconds``: how long a retransmission of an accepted request is known again.
    """

    lock_after: int = 10
    window: int = 1
    max_drift: int = 10
    look_ahead: int = 10
    resync_window: int = 200
    resync_look_ahead: int = 1000
    challenge_seconds: int = 120
    challenge_tries: int = 3
    permit_hours: int = 72
    one_customer_per_token: bool = True
    tokens_per_customer: int = 1
    remember_seconds: int = 60
    code_delays: Delays = Delays()
