"""Requests that a second person has to approve. Statements only; times are ms since the epoch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from otp_core.audit import id_at, ms_of
from otp_core.store.schema import approval, customer, staff


class ApprovalState(StrEnum):
    """Where a request has got to. One that is past its time counts as expired, whatever it says."""

    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    DONE = "done"


OPEN = (ApprovalState.ASKED, ApprovalState.APPROVED)

KEPT_MS = 90 * 24 * 3_600_000
"""How long requests, files of imports and lists of retirements are shown after they were made: a quarter, for whoever
asks staff about one. The audit trail, which is kept, has each step of them; what else they hold (what was found wrong
in a file, a payload) may name customers, and is not kept for ever."""


class Approval(NamedTuple):
    """A request. ``act``: its kind (accounts/approval_kinds.py); ``customer``: the contract ID, if it is about one;
    ``subject``: else the name of what it is about, which may be empty; ``asked_by``: the actor, a member of staff or a
    program; ``decided_by``: a member of staff; ``payload``: sealed; ``seen``: what has to be as it was when it was
    asked; ``outcome``: the audit row of what was done."""

    key: int
    act: str
    customer: str | None
    subject: str
    asked_by: str
    reason: str
    payload: bytes | None
    seen: str
    state: str
    decided_by: str | None
    expires_at: int
    outcome: int | None

    @property
    def asked_at(self) -> int:
        """When it was asked."""
        return ms_of(self.key)

    @property
    def about(self) -> str:
        """The name of whom or what it is about."""
        return self.customer or self.subject


class NewApproval(NamedTuple):
    """A request to be added, by a member of staff (``asked_by``: their key) or a program (its actor). ``payload`` is
    sealed."""

    key: int
    act: str
    customer_key: int | None
    subject: str
    asked_by: int | None
    asked_by_program: str | None
    reason: str
    payload: bytes | None
    seen: str
    expires_at: int


def _approvals() -> Select[Any]:
    decider = staff.alias()
    joined = (
        approval.outerjoin(customer, customer.c.key == approval.c.customer_key)
        .outerjoin(staff, staff.c.key == approval.c.asked_by)
        .outerjoin(decider, decider.c.key == approval.c.decided_by)
    )
    return select(
        approval.c.key,
        approval.c.act,
        customer.c.contract_id,
        approval.c.subject,
        func.coalesce(staff.c.name, approval.c.asked_by_program),
        approval.c.reason,
        approval.c.payload,
        approval.c.seen,
        approval.c.state,
        decider.c.name,
        approval.c.expires_at,
        approval.c.outcome,
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


def open_for(connection: Connection, act: str, customer_key: int | None, subject: str, now: int) -> int | None:
    """The key of a request for this act on this customer, or on what has this name, that is not over; None: there is
    none."""
    about = approval.c.customer_key == customer_key if customer_key is not None else approval.c.subject == subject
    query = select(approval.c.key).where(
        approval.c.state.in_(OPEN), approval.c.act == act, about, approval.c.expires_at > now
    )
    return connection.execute(query.limit(1)).scalar()


def count_open_of(connection: Connection, asked_by: int | None, program: str | None, now: int) -> int:
    """How many requests of a member of staff (their key) or a program (its actor) are not over."""
    by = approval.c.asked_by == asked_by if program is None else approval.c.asked_by_program == program
    theirs = (approval.c.state.in_(OPEN), by, approval.c.expires_at > now)
    return connection.execute(select(func.count()).select_from(approval).where(*theirs)).scalar_one()


def count_waiting(connection: Connection, now: int) -> int:
    """How many requests wait for a second person."""
    waiting = (approval.c.state == ApprovalState.ASKED, approval.c.expires_at > now)
    return connection.execute(select(func.count()).select_from(approval).where(*waiting)).scalar_one()


def add_approval(connection: Connection, new: NewApproval) -> None:
    """Add a request."""
    connection.execute(insert(approval).values(**new._asdict()))


def move_approval(
    connection: Connection,
    key: int,
    before: str,
    after: str,
    *,
    decided_by: int | None = None,
    outcome: int | None = None,
) -> bool:
    """Move a request on. False if it is not in the state ``before`` any more. ``decided_by`` and ``outcome``: None
    leaves what is there."""
    values: dict[str, object] = {"state": after}
    if decided_by is not None:
        values["decided_by"] = decided_by
    if outcome is not None:
        values["outcome"] = outcome
    change = update(approval).where(approval.c.key == key, approval.c.state == before).values(values)
    return connection.execute(change).rowcount == 1


def forget_approvals(connection: Connection, now: int, limit: int) -> int:
    """Delete some requests that were made more than KEPT_MS ago, all of which are over; how many there were. What was
    asked, decided and done is in the audit trail."""
    late = select(approval.c.key).where(approval.c.key < id_at(now - KEPT_MS)).order_by(approval.c.key).limit(limit)
    keys = list(connection.execute(late).scalars())
    return connection.execute(delete(approval).where(approval.c.key.in_(keys))).rowcount if keys else 0


def has_late_approvals(connection: Connection, now: int) -> bool:
    """Whether ``forget_approvals`` would find any. Needs no write lock."""
    late = select(approval.c.key).where(approval.c.key < id_at(now - KEPT_MS))
    return connection.execute(late.limit(1)).first() is not None


def withdraw_of_program(connection: Connection, program: str) -> int:
    """Withdraw what a program has asked for and not carried out; how many there were."""
    theirs = (approval.c.state.in_(OPEN), approval.c.asked_by_program == program)
    return connection.execute(update(approval).where(*theirs).values(state=ApprovalState.WITHDRAWN)).rowcount


def withdraw_of_staff(connection: Connection, key: int) -> int:
    """Withdraw what a member of staff has asked for or approved and what is not carried out; how many there were."""
    theirs = (approval.c.state.in_(OPEN), (approval.c.asked_by == key) | (approval.c.decided_by == key))
    return connection.execute(update(approval).where(*theirs).values(state=ApprovalState.WITHDRAWN)).rowcount


def withdraw_open(connection: Connection, key: int) -> None:
    """Withdraw this request, if it is not over."""
    mine = (approval.c.state.in_(OPEN), approval.c.key == key)
    connection.execute(update(approval).where(*mine).values(state=ApprovalState.WITHDRAWN))


def withdraw_all(connection: Connection) -> None:
    """Withdraw everything that is not carried out."""
    connection.execute(update(approval).where(approval.c.state.in_(OPEN)).values(state=ApprovalState.WITHDRAWN))
