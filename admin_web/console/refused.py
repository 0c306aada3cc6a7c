"""A customer's logins that were refused last: why, and what to do now. Values in, values out; the desk decides what is
possible.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from admin_web.console.customer_acts import BY_NAME, CustomerAct
from otp_core.audit import Event
from otp_core.login.next_step import FINDING_OF_TEXT, NextStep, next_steps
from otp_core.login.table import Finding
from otp_core.model import OtpUse
from otp_core.store.queries import AuditLine, CustomerLine

MOST = 3
"""Refused logins that are shown: the customer on the telephone speaks of the last one."""

_NOT_REFUSED = frozenset({Finding.CODE_DUE, Finding.FIRST_FACTOR_ASKS})
"""Of a challenge: nothing was wrong so far."""


class Advice(NamedTuple):
    """One thing to do. ``act``: the act of staff that it is, where this person may do it now; None: it is told."""

    step: NextStep
    act: CustomerAct | None


class RefusedLogin(NamedTuple):
    """``over``: the customer has logged in since. ``advice``: what to do, the likeliest first."""

    row: AuditLine
    over: bool
    advice: tuple[Advice, ...]


def refused_logins(
    rows: Sequence[AuditLine], line: CustomerLine, possible: Collection[CustomerAct], permitted: Collection[CustomerAct]
) -> list[RefusedLogin]:
    """``rows``: the customer's last ones, the newest first. ``possible``: the acts that lifecycle allows now;
    ``permitted``: those of them that this person may do."""
    found: list[RefusedLogin] = []
    over = False
    for row in rows:
        over = over or row.event in (Event.LOGIN_ACCEPTED, Event.LOGIN_REPEATED)
        finding = _refused_for(row)
        if finding is not None and len(found) < MOST:
            found.append(RefusedLogin(row, over, () if over else _advice(finding, line, possible, permitted)))
    return found


def _refused_for(row: AuditLine) -> Finding | None:
    """The finding of a login that was refused, or of a code that was asked for again; None for any other row."""
    if row.event not in (Event.LOGIN_REJECTED, Event.LOGIN_CHALLENGED):
        return None
    finding = FINDING_OF_TEXT.get(row.reason)
    return None if row.event == Event.LOGIN_CHALLENGED and finding in _NOT_REFUSED else finding


def _advice(
    finding: Finding, line: CustomerLine, possible: Collection[CustomerAct], permitted: Collection[CustomerAct]
) -> tuple[Advice, ...]:
    """Without the acts that are not possible any more: somebody has done them."""
    steps = next_steps(finding, OtpUse(line.otp_use), locked=line.locked_at is not None)
    acts = [(step, BY_NAME.get(step.value)) for step in steps]
    return tuple(
        Advice(step, act if act in permitted else None) for step, act in acts if act is None or act in possible
    )
