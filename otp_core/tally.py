"""What one process counts of its logins, in plain numbers, for the metrics: verdicts, seconds, sizes.

Nothing is written here: sekisho/metrics/ reads the numbers once a second.

Only bounded words are kept: the door, a client of the settings, the verdict, the code of a reason. Never a customer, a
token or an address.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import Accept, Challenge, Reject, Silence, Verdict

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

NOT_AN_ATTEMPT, BUSY, NO_ANSWER, OTHER = "not-an-attempt", "busy", "no-answer", "other"
OTHER_CLIENTS = "other clients"
MOST = 1000
"""Different verdicts that are told apart; what comes beyond counts for OTHER_CLIENTS."""

_CODES: Final = {
    **{text: finding.value for finding, text in FINDING_TEXT.items()},
    # The customers' pages have words of their own.
    "right password": "right-password",
    "wrong password, or too soon after one": Finding.WRONG_PASSWORD.value,
    "too many wrong passwords from this address": Finding.TOO_SOON.value,
}
"""Of a reason in the audit trail."""

_FINDINGS: Final = frozenset(finding.value for finding in Finding)

VerdictKey = tuple[str, str, str, str]
"""Door, client, verdict, code of the reason."""


class Histogram:
    """How often values fell between ``bounds`` (ascending). ``counts``: up to and with each bound, and one more for
    what is larger; not cumulative. ``total``: the sum of all values."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally:
    """The verdicts of all doors of a process."""

    def __init__(self) -> None:
        self.verdicts: dict[VerdictKey, int] = {}
        self.seconds: dict[str, Histogram] = {}
        """By door."""

    def verdict(self, door: str, client: str, verdict: Verdict, seconds: float) -> None:
        """Count a verdict. ``seconds``: since the request came; not counted where nobody is told anything."""
        # Once for each login: the usual way makes no call that can be spared.
        if isinstance(verdict, Accept):
            row = verdict.row
            key = (door, client, "accepted", OTHER if row is None else _CODES.get(row.reason, OTHER))
        else:
            key = (door, client, *_words(verdict))
        number = self.verdicts.get(key)
        if number is None:
            self._count(key)
        else:
            self.verdicts[key] = number + 1
        if key[2] != "silent":
            self._observe(door, seconds)

    def words(self, door: str, client: str, verdict: str, reason: str, seconds: float) -> None:
        """Count what the customers' pages have decided. ``reason``: as in the audit trail."""
        self._count((door, client, verdict, _CODES.get(reason, OTHER)))
        self._observe(door, seconds)

    def _observe(self, door: str, seconds: float) -> None:
        histogram = self.seconds.get(door)
        if histogram is None:
            histogram = self.seconds[door] = Histogram(SECONDS)
        histogram.observe(seconds)

    def _count(self, key: VerdictKey) -> None:
        number = self.verdicts.get(key, 0)
        if number == 0 and len(self.verdicts) >= MOST:
            door, _, verdict, reason = key
            key = (door, OTHER_CLIENTS, verdict, reason)
            number = self.verdicts.get(key, 0)
        self.verdicts[key] = number + 1


def _words(verdict: Verdict) -> tuple[str, str]:
    """The verdict, and the code of its reason, of any but an acceptance."""
    if isinstance(verdict, Reject):
        return "rejected", verdict.reason if verdict.reason in _FINDINGS else NOT_AN_ATTEMPT
    if isinstance(verdict, Challenge):
        row = verdict.row
        return "challenged", OTHER if row is None else _CODES.get(row.reason, OTHER)
    assert isinstance(verdict, Silence)
    return "silent", BUSY if verdict.busy else NO_ANSWER
