"""What a verifier elsewhere has to be told about a token: written in the transaction of the act that it follows from,
claimed by one process at a time, deleted when it has been told. Statements only. Times are ms since the epoch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from otp_core.model import Conflict
from otp_core.store.schema import verifier_task


class Tell(StrEnum):
    """Whether the token is the customer's again, or not any more."""

    ADD = "add"
    REMOVE = "remove"


class VerifierTask(NamedTuple):
    """``attempts``: that failed."""

    key: int
    verifier: str
    act: str
    contract_id: str
    token_id: str
    attempts: int


class OpenTasks(NamedTuple):
    """``waiting``: tasks; ``failed``: those that failed before; ``error``: why one of them did."""

    waiting: int
    failed: int
    error: str | None


_COLUMNS = tuple(verifier_task.c[name] for name in VerifierTask._fields)


def put_task(connection: Connection, key: int, verifier: str, act: Tell, contract_id: str, token_id: str) -> None:
    """Add a task in the place of those about the same token of the same customer: the last act counts."""
    drop_tasks_about(connection, contract_id, token_id)
    values = {"verifier": verifier, "act": act, "contract_id": contract_id, "token_id": token_id}
    connection.execute(insert(verifier_task).values(key=key, **values))


def drop_tasks_about(connection: Connection, contract_id: str, token_id: str) -> None:
    """The verifier was told otherwise just now."""
    about = (verifier_task.c.contract_id == contract_id, verifier_task.c.token_id == token_id)
    connection.execute(delete(verifier_task).where(*about))


def has_due_task(connection: Connection, now: int) -> bool:
    """Whether something is to be told now."""
    return (
        connection.execute(select(verifier_task.c.key).where(verifier_task.c.next_at <= now).limit(1)).first()
        is not None
    )


def claim_tasks(connection: Connection, now: int, until: int, most: int) -> list[VerifierTask]:
    """Some tasks that are due, the oldest first, which nobody else is given before ``until``. Raises Conflict."""
    due = verifier_task.c.next_at <= now
    found = [
        VerifierTask._make(row)
        for row in connection.execute(select(*_COLUMNS).where(due).order_by(verifier_task.c.key).limit(most))
    ]
    keys = [one.key for one in found]
    if keys:
        claimed = connection.execute(
            update(verifier_task).where(verifier_task.c.key.in_(keys), due).values(next_at=until)
        )
        if claimed.rowcount != len(keys):
            raise Conflict("another process claimed some of these tasks just now")
    return found


def drop_task(connection: Connection, key: int) -> None:
    """It has been told."""
    connection.execute(delete(verifier_task).where(verifier_task.c.key == key))


def postpone_task(connection: Connection, key: int, next_at: int, error: str) -> None:
    """It could not be told now."""
    change = update(verifier_task).where(verifier_task.c.key == key)
    connection.execute(change.values(next_at=next_at, attempts=verifier_task.c.attempts + 1, error=error[:300]))


def open_tasks(connection: Connection) -> OpenTasks:
    """What has not been told yet."""
    waiting = connection.execute(select(func.count()).select_from(verifier_task)).scalar_one()
    failed = verifier_task.c.attempts > 0
    number, error = connection.execute(select(func.count(), func.max(verifier_task.c.error)).where(failed)).one()
    return OpenTasks(waiting, number, error)
