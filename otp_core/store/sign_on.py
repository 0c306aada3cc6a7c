"""Whom an OpenID provider knows: at most one identity of each member of staff, and each identity once. Statements only.

Times are ms since the epoch.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from otp_core.model import Conflict
from otp_core.store.schema import sign_on, staff


class SignOn(NamedTuple):
    """An identity at a provider, and whose it is. ``called``: what the provider called them when it was linked.
    ``asked_at``: when the last request that the provider answered was made."""

    staff_key: int
    issuer: str
    subject: str
    called: str
    linked_at: int
    used_at: int
    asked_at: int


def sign_on_of(connection: Connection, staff_key: int) -> SignOn | None:
    """The identity of a member of staff; None if none is linked."""
    row = connection.execute(select(sign_on).where(sign_on.c.staff_key == staff_key)).one_or_none()
    return SignOn(*row) if row else None


def name_of_identity(connection: Connection, issuer: str, subject: str) -> str | None:
    """The name of the member of staff whose identity this is; None if it is nobody's."""
    joined = sign_on.join(staff, staff.c.key == sign_on.c.staff_key)
    query = select(staff.c.name).select_from(joined).where(sign_on.c.issuer == issuer, sign_on.c.subject == subject)
    return connection.execute(query).scalar_one_or_none()


def add_sign_on(connection: Connection, new: SignOn) -> None:
    """Link an identity. Raises Conflict if it is somebody's, or they have another."""
    try:
        connection.execute(insert(sign_on).values(**new._asdict()))
    except IntegrityError:
        raise Conflict("this identity is linked already, or they have another") from None


def use_sign_on(connection: Connection, issuer: str, subject: str, asked_at: int, at: int) -> bool:
    """Note the provider's answer to a request of ``asked_at``. False if this request, or a later one, was answered
    before: of two sign-ins with one answer, one gets True."""
    change = (
        update(sign_on)
        .where(sign_on.c.issuer == issuer, sign_on.c.subject == subject, sign_on.c.asked_at < asked_at)
        .values(asked_at=asked_at, used_at=at)
    )
    return connection.execute(change).rowcount == 1


def drop_sign_on(connection: Connection, staff_key: int) -> bool:
    """Unlink the identity of a member of staff. False if there was none."""
    return connection.execute(delete(sign_on).where(sign_on.c.staff_key == staff_key)).rowcount == 1
