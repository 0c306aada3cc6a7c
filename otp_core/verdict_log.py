"""One log line for each verdict, in the same words at every door. It decides nothing and keeps nothing.

The fields: ``door``; ``client``: the gateway, or the PAM profile, or the pages; ``nas``: what the gateway calls itself;
``source``: the customer's address where it is known, otherwise the gateway's; ``customer``, ``token``: as in the audit
trail, so a name that is no customer's is a fingerprint; ``verdict``; ``reason``; ``round``: 1, or 2 for the answer to a
challenge; ``ms``: milliseconds from the request to the verdict; ``id``: of the audit row, or a number of its own where
there is no row. Fields without a value are left out. Passwords and codes are in none of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import structlog

from otp_core.model import Accept, Attempt, AuditRow, Challenge, Reject, Verdict

Wanted = Literal["all", "refused", "none"]
"""Which verdicts are logged (``log.verdicts``)."""

MAX_REMARKS = 10_000
"""That wait to be written down; beyond it the oldest are left out."""

_log = structlog.get_logger("verdicts")


class VerdictLog:
    """``wanted``: which verdicts. ``name_fingerprint(name)``: what is written of a name that may be no customer's;
    ``new_id()``: a number for a line without an audit row."""

    def __init__(self, wanted: Wanted, name_fingerprint: Callable[[str], str], new_id: Callable[[], int]) -> None:
        self._all, self._any = wanted == "all", wanted != "none"
        self._name_fingerprint, self._new_id = name_fingerprint, new_id
        self.remarks: deque[tuple[int, str]] = deque(maxlen=MAX_REMARKS)
        """The ID of an audit row, and how its code missed; whoever writes them down takes them out."""

    @property
    def keeps_misses(self) -> bool:
        """Whether it is remarked how wrong codes miss."""
        return self._any

    def wants(self, verdict: Verdict) -> bool:
        """Whether there is to be a line for this verdict. Silence has none: nothing was decided, and the door says
        why."""
        if isinstance(verdict, Accept):
            return self._all
        if isinstance(verdict, Challenge):
            return self._all or (self._any and verdict.again)
        return self._any and isinstance(verdict, Reject)

    def write(
        self, door: str, attempt: Attempt, verdict: Verdict, seconds: float, *, nas: str = "", remark: str = ""
    ) -> None:
        """A line for a verdict, if there is to be one. ``seconds``: since the request. ``remark``: what else speaks for
        this reason. Call it when the customer has their answer: how a wrong code misses is worked out here."""
        if not self.wants(verdict):
            return
        row: AuditRow | None = getattr(verdict, "row", None)
        reason = getattr(verdict, "reason", "") if row is None else row.reason
        near_miss: Callable[[], str] | None = getattr(verdict, "near_miss", None)
        missed = near_miss() if near_miss else ""
        if missed and row is not None:
            self.remarks.append((row.id, missed))
        self.line(
            door,
            _WORDS[type(verdict)] + (" again" if isinstance(verdict, Challenge) and verdict.again else ""),
            seconds,
            client=attempt.client,
            nas=nas,
            source=attempt.calling_station_id or attempt.source,
            customer=self._customer(attempt, verdict) if row is None else row.customer,
            token=None if row is None else row.token,
            reason=": ".join(filter(None, (reason, missed, remark))),
            round=1 if attempt.challenge is None else 2,
            id=None if row is None else row.id,
        )

    def _customer(self, attempt: Attempt, verdict: Verdict) -> str:
        """Where there is no row: only whoever was accepted is known to be a customer."""
        return self.name(attempt.customer, is_known=isinstance(verdict, Accept))

    def name(self, name: str, *, is_known: bool) -> str:
        """What a line has of this name: its fingerprint, unless it is known not to be a mistyped password."""
        return name if is_known else self._name_fingerprint(name)

    def write_row(self, door: str, verdict: str, row: AuditRow, seconds: float) -> None:
        """A line for what the customer's pages have decided, as the audit trail has it. ``verdict``: "accepted" or
        "rejected"."""
        if self._all or (self._any and verdict != _WORDS[Accept]):
            client, source, customer, token, reason = row.actor, row.source, row.customer, row.token, row.reason
            self.line(
                door,
                verdict,
                seconds,
                client=client,
                source=source,
                customer=customer,
                token=token,
                reason=reason,
                id=row.id,
            )

    def refused(
        self,
        door: str,
        reason: str,
        seconds: float,
        *,
        client: str,
        nas: str,
        source: str,
        name: str | None,
        left_out: int = 0,
    ) -> None:
        """A line for a request that is refused without an attempt, and so without an audit row. ``name``: whom it
        named. ``left_out``: how many such lines were not written."""
        if self._any:
            customer = None if name is None else self._name_fingerprint(name)
            self.line(
                door,
                _WORDS[Reject],
                seconds,
                client=client,
                nas=nas,
                source=source,
                customer=customer,
                reason=reason,
                round=1,
                left_out=left_out or None,
            )

    def line(self, door: str, verdict: str, seconds: float, *, id: int | None = None, **fields: object) -> None:
        """One line, whatever is wanted; ``fields`` as above."""
        present = {name: value for name, value in fields.items() if value not in (None, "")}
        id_ = self._new_id() if id is None else id
        _log.info("verdict", door=door, verdict=verdict, **present, ms=round(seconds * 1000, 1), id=id_)


_WORDS: dict[type, str] = {Accept: "accepted", Challenge: "challenged", Reject: "rejected"}
"""As the audit trail's events have them (login.accepted)."""
