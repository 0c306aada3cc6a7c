"""What the console keeps of its staff: people, passkeys, sessions. Statements only.

The id in a browser's cookie and the secret of a link never get here, only their digests. Times are ms since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from otp_core.audit import ms_of
from otp_core.model import Conflict, OtpUse, Role
from otp_core.store.schema import customer, passkey, sign_on, staff, staff_session


class StaffRecord(NamedTuple):
    """A member of staff. ``account``: the contract ID whose password and code sign them in too. ``link_until``: of the
    one-time link, if ``has_link``."""

    key: int
    name: str
    role: str
    disabled_at: int | None
    account: str | None
    has_link: bool
    link_until: int


class Passkey(NamedTuple):
    """A passkey. ``public_key`` in COSE form; ``challenged_at``: when the last challenge that it answered was made."""

    key: int
    staff_key: int
    credential_id: bytes
    public_key: bytes
    sign_count: int
    used_at: int
    challenged_at: int

    @property
    def created_at(self) -> int:
        """When it was added."""
        return ms_of(self.key)


class StaffSessionRow(NamedTuple):
    """A session of the console with who has it. ``data`` is sealed. ``most_role``: the role that the OpenID provider
    gives them; None: it was not asked."""

    key: int
    staff_key: int
    name: str
    role: str
    disabled_at: int | None
    account: str | None
    source: str
    seen_at: int
    expires_at: int
    confirmed_at: int
    data: bytes
    most_role: str | None

    @property
    def created_at(self) -> int:
        """When it began."""
        return ms_of(self.key)


def _records() -> Select[Any]:
    return select(
        staff.c.key,
        staff.c.name,
        staff.c.role,
        staff.c.disabled_at,
        customer.c.contract_id,
        staff.c.link_digest.is_not(None),
        staff.c.link_until,
    ).select_from(staff.outerjoin(customer, customer.c.key == staff.c.customer_key))


def staff_record(connection: Connection, name: str) -> StaffRecord | None:
    """One member of staff by name; None if there is none."""
    row = connection.execute(_records().where(staff.c.name == name)).one_or_none()
    return StaffRecord(*row) if row else None


def staff_of_link(connection: Connection, digest: bytes, now: int) -> StaffRecord | None:
    """Whose one-time link this is; None: nobody's, or it has expired, or they are disabled."""
    open_link = (staff.c.link_digest == digest, staff.c.link_until > now, staff.c.disabled_at.is_(None))
    row = connection.execute(_records().where(*open_link)).one_or_none()
    return StaffRecord(*row) if row else None


def staff_of_account(connection: Connection, contract_id: str) -> StaffRecord | None:
    """Who signs in with the password and code of this contract ID; None: nobody does."""
    row = connection.execute(_records().where(customer.c.contract_id == contract_id)).one_or_none()
    return StaffRecord(*row) if row else None


def add_staff(connection: Connection, key: int, name: str, role: str, customer_key: int | None) -> None:
    """Add a member of staff. Raises Conflict if the name or the account was taken since it was looked for."""
    try:
        connection.execute(insert(staff).values(key=key, name=name, role=role, customer_key=customer_key))
    except IntegrityError:
        raise Conflict(f"{name} or their account was taken by somebody else just now") from None


def put_link(connection: Connection, staff_key: int, digest: bytes | None, until: int) -> None:
    """Give a member of staff a one-time link in place of any other; None: take theirs away."""
    change = update(staff).where(staff.c.key == staff_key)
    connection.execute(change.values(link_digest=digest, link_until=until if digest else 0))


def set_disabled(connection: Connection, staff_key: int, at: int | None) -> None:
    """Disable a member of staff, or (None) let them in again."""
    connection.execute(update(staff).where(staff.c.key == staff_key).values(disabled_at=at))


def set_role(connection: Connection, staff_key: int, role: str) -> None:
    """Give a member of staff another role."""
    connection.execute(update(staff).where(staff.c.key == staff_key).values(role=role))


def count_administrators(connection: Connection, *, but: int) -> int:
    """How many administrators can sign in, besides the one with the key ``but``: not disabled, with a passkey, or with
    an account that has an active token and is not locked."""
    has_passkey = select(passkey.c.key).where(passkey.c.staff_key == staff.c.key).exists()
    lets_in = (customer.c.otp_use == OtpUse.ACTIVE, customer.c.locked_at.is_(None))
    has_account = select(customer.c.key).where(customer.c.key == staff.c.customer_key, *lets_in).exists()
    can = (staff.c.disabled_at.is_(None), has_account | has_passkey)
    query = select(func.count()).select_from(staff)
    return connection.execute(query.where(staff.c.role == Role.ADMINISTRATOR, staff.c.key != but, *can)).scalar_one()


# Passkeys


def passkeys_of(connection: Connection, staff_key: int) -> list[Passkey]:
    """Somebody's passkeys, the oldest first."""
    query = select(*(passkey.c[name] for name in Passkey._fields)).where(passkey.c.staff_key == staff_key)
    return [Passkey(*row) for row in connection.execute(query.order_by(passkey.c.key))]


def add_passkey(connection: Connection, new: Passkey) -> None:
    """Add a passkey. Raises Conflict if there is one with this credential ID."""
    try:
        connection.execute(insert(passkey).values(**new._asdict()))
    except IntegrityError:
        raise Conflict("this passkey is known already") from None


def use_passkey(connection: Connection, key: int, sign_count: int, challenge_at: int, at: int) -> bool:
    """Note an answer by a passkey to a challenge of ``challenge_at``. False if it has answered this challenge, or a
    later one, before: of two sign-ins with one answer, one gets True."""
    change = (
        update(passkey)
        .where(passkey.c.key == key, passkey.c.challenged_at < challenge_at)
        .values(sign_count=sign_count, challenged_at=challenge_at, used_at=at)
    )
    return connection.execute(change).rowcount == 1


def drop_passkeys(connection: Connection, staff_key: int) -> int:
    """Delete all passkeys of somebody; how many there were."""
    return connection.execute(delete(passkey).where(passkey.c.staff_key == staff_key)).rowcount


# Sessions


def _sessions() -> Select[Any]:
    columns = [
        staff_session.c.key,
        staff.c.key,
        staff.c.name,
        staff.c.role,
        staff.c.disabled_at,
        customer.c.contract_id,
        *(staff_session.c[name] for name in StaffSessionRow._fields[6:]),
    ]
    joined = staff_session.join(staff, staff.c.key == staff_session.c.staff_key)
    return select(*columns).select_from(joined.outerjoin(customer, customer.c.key == staff.c.customer_key))


def staff_session_of(connection: Connection, digest: bytes) -> StaffSessionRow | None:
    """The session with this digest, ended or not."""
    row = connection.execute(_sessions().where(staff_session.c.digest == digest)).one_or_none()
    return StaffSessionRow(*row) if row else None


def staff_sessions(connection: Connection, staff_key: int) -> list[StaffSessionRow]:
    """Somebody's sessions, the oldest first."""
    query = _sessions().where(staff.c.key == staff_key).order_by(staff_session.c.key)
    return [StaffSessionRow(*row) for row in connection.execute(query)]


def add_staff_session(
    connection: Connection,
    key: int,
    digest: bytes,
    staff_key: int,
    *,
    source: str,
    now: int,
    expires_at: int,
    confirmed_at: int,
    data: bytes,
    most_role: str | None,
) -> None:
    """Add a session that begins ``now``. ``data`` is sealed."""
    values = {"staff_key": staff_key, "source": source, "data": data, "most_role": most_role}
    times = {"seen_at": now, "confirmed_at": confirmed_at, "expires_at": expires_at}
    new = insert(staff_session).values(key=key, digest=digest, **values, **times)
    connection.execute(new)


def forget_late_links(connection: Connection, now: int) -> int:
    """Delete what one-time links are known by whose time is over; how many there were."""
    late = (staff.c.link_digest.is_not(None), staff.c.link_until <= now)
    return connection.execute(update(staff).where(*late).values(link_digest=None, link_until=0)).rowcount


def has_late_links(connection: Connection, now: int) -> bool:
    """Whether ``forget_late_links`` would find any. Needs no write lock."""
    late = (staff.c.link_digest.is_not(None), staff.c.link_until <= now)
    return connection.execute(select(staff.c.key).where(*late).limit(1)).first() is not None


def write_staff_session(connection: Connection, key: int, data: bytes, seen_at: int) -> bool:
    """Replace what a session remembers (sealed). False if it has ended."""
    change = update(staff_session).where(staff_session.c.key == key).values(data=data, seen_at=seen_at)
    return connection.execute(change).rowcount == 1


def confirm_staff_session(connection: Connection, key: int, at: int) -> bool:
    """Note that passkey or code was given in this session again. False if it has ended."""
    change = update(staff_session).where(staff_session.c.key == key).values(confirmed_at=at, seen_at=at)
    return connection.execute(change).rowcount == 1


def narrow_staff_session(connection: Connection, key: int, most_role: str) -> None:
    """Let a session do no more than this role may."""
    connection.execute(update(staff_session).where(staff_session.c.key == key).values(most_role=most_role))


def drop_staff_sessions(connection: Connection, keys: Sequence[int]) -> int:
    """End sessions; how many there were."""
    return connection.execute(delete(staff_session).where(staff_session.c.key.in_(keys))).rowcount


def ended_staff_sessions(connection: Connection, now: int, idle_since: int, limit: int) -> list[int]:
    """The keys of some sessions that are past their end at ``now``, or that were not used since ``idle_since``."""
    over = (staff_session.c.expires_at <= now) | (staff_session.c.seen_at <= idle_since)
    return list(connection.execute(select(staff_session.c.key).where(over).limit(limit)).scalars())


def staff_lines(connection: Connection, *, name: str | None = None) -> list[tuple[StaffRecord, int, int, str | None]]:
    """Everybody, or one of them, in the order of names: with how many passkeys they have, when a session of theirs that
    goes on was used last (0: there is none), and which identity at an OpenID provider is theirs, in words."""
    passkeys = select(func.count()).where(passkey.c.staff_key == staff.c.key).scalar_subquery()
    seen = select(func.coalesce(func.max(staff_session.c.seen_at), 0)).where(staff_session.c.staff_key == staff.c.key)
    linked = select(sign_on.c.subject + " at " + sign_on.c.issuer).where(sign_on.c.staff_key == staff.c.key)
    query = _records().add_columns(passkeys, seen.scalar_subquery(), linked.scalar_subquery()).order_by(staff.c.name)
    if name is not None:
        query = query.where(staff.c.name == name)
    return [(StaffRecord(*row[:-3]), *row[-3:]) for row in connection.execute(query)]
