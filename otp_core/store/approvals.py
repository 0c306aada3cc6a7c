"""Requests that a second person has to approve. Statements only; times are ms since the epoch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, insert, select, update

from otp_core.audit import ms_of
from otp_core.store.schema import approval, customer, staff


class ApprovalState(StrEnum):
    """Where a request has got to. One that is past its time counts as expired, whatever it says."""

    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    DONE = "done"


OPEN = (ApprovalState.ASKED, ApprovalState.APPROVED)


class Approval(NamedTuple):
    """A request. ``asked_by``: the actor, a member of staff or a program; ``decided_by``: a member of staff; ``seen``:
    the customer as they were when it was asked."""

    key: int
    act: str
    customer: str
    asked_by: str
    reason: str
    seen: str
    state: str
    decided_by: str | None
    expires_at: int

    @property
    def asked_at(self) -> int:
        """When it was asked."""
        return ms_of(self.key)


def _approvals() -> Select[Any]:
    decider = staff.alias()
    joined = (
        approval.join(customer, customer.c.key == approval.c.customer_key)
        .outerjoin(staff, staff.c.key == approval.c.asked_by)
        .outerjoin(decider, decider.c.key == approval.c.decided_by)
    )
    return select(
        approval.c.key,
        approval.c.act,
        customer.c.contract_id,
        func.coalesce(staff.c.name, approval.c.asked_by_program),
        approval.c.reason,
        approval.c.seen,
        approval.c.state,
        decider.c.name,
        approval.c.expires_at,
    ).select_from(joined)


def approval_lines(connection: Connection, *, before: int | None = None, limit: int = 50) -> list[Approval]:
    """A page of requests, the newest first, of those before the key ``before``."""
    query = _approvals().order_by(approval.c.key.desc()).limit(limit)
    if before is not None:
        query = query.where(approval.c.key < before)
    return [Approval(*row) for row in connection.execute(query)]


def approval_of(connection: Connection, key: int) -> Approval | None:
    """One request; None if there is none."""
    row = connection.execute(_approvals().where(approval.c.key == key)).one_or_none()
    return Approval(*row) if row else None


def open_for(connection: Connection, act: str, customer_key: int, now: int) -> int | None:
    """The key of a request for this act on this customer that is not over; None: there is none."""
    query = select(approval.c.key).where(
        approval.c.state.in_(OPEN),
        approval.c.act == act,
        approval.c.customer_key == customer_key,
        approval.c.expires_at > now,
    )
    return connection.execute(query.limit(1)).scalar()


def count_waiting(connection: Connection, now: int) -> int:
    """How many requests wait for a second person."""
    waiting = (approval.c.state == ApprovalState.ASKED, approval.c.expires_at > now)
    return connection.execute(select(func.count()).select_from(approval).where(*waiting)).scalar_one()


def add_approval(
    connection: Connection,
    key: int,
    act: str,
    customer_key: int,
    *,
    asked_by: int | None = None,
    program: str | None = None,
    reason: str,
    seen: str,
    expires_at: int,
) -> None:
    """Add a request, by a member of staff (``asked_by``: their key) or a program (its actor)."""
    by = {"asked_by": asked_by, "asked_by_program": program}
    new = {"key": key, "act": act, "customer_key": customer_key, **by}
    connection.execute(insert(approval).values(**new, reason=reason, seen=seen, expires_at=expires_at))


def move_approval(connection: Connection, key: int, before: str, after: str, decided_by: int | None) -> bool:
    """Move a request on. False if it is not in the state ``before`` any more. ``decided_by`` None: stays as it is."""
    values: dict[str, object] = {"state": after}
    if decided_by is not None:
        values["decided_by"] = decided_by
    change = update(approval).where(approval.c.key == key, approval.c.state == before).values(values)
    return connection.execute(change).rowcount == 1


def withdraw_of_program(connection: Connection, program: str) -> int:
    """Withdraw what a program has asked for and not carried out; how many there were."""
    theirs = (approval.c.state.in_(OPEN), approval.c.asked_by_program == program)
    return connection.execute(update(approval).where(*theirs).values(state=ApprovalState.WITHDRAWN)).rowcount


def withdraw_of_staff(connection: Connection, key: int) -> int:
    """Withdraw what a member of staff has asked for or approved and what is not carried out; how many there were."""
    theirs = (approval.c.state.in_(OPEN), (approval.c.asked_by == key) | (approval.c.decided_by == key))
    return connection.execute(update(approval).where(*theirs).values(state=ApprovalState.WITHDRAWN)).rowcount
