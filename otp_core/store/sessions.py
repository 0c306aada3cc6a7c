"""What the customers' pages remember: sessions, tokens reserved for one customer, accepted terms. Statements only.

The id in a browser's cookie never gets here, only its digest. Times are ms since the epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from otp_core.audit import Ids, ms_of
from otp_core.model import Conflict
from otp_core.store.schema import acceptance, customer, reservation, session, token


class SessionRow(NamedTuple):
    """One session. ``data`` is sealed. ``proof_token_key``: the old token whose code was given here, so that a new
    token may be brought until ``proof_until``."""

    key: int
    customer_key: int | None
    contract_id: str | None
    source: str
    seen_at: int
    expires_at: int
    data: bytes
    proof_token_key: int | None
    proof_until: int | None


class SessionLine(NamedTuple):
    """A session as staff sees it; ``contract_id`` None: nobody has signed in."""

    key: int
    contract_id: str | None
    source: str
    seen_at: int
    expires_at: int

    @property
    def created_at(self) -> int:
        """When it began."""
        return ms_of(self.key)


def has_overdue_reservation(connection: Connection, now: int) -> bool:
    """Whether a token has waited for its first code until now (ms) in vain."""
    query = select(reservation.c.token_key).where(reservation.c.expires_at <= now)
    return connection.execute(query.limit(1)).first() is not None


class SessionStatements:
    """Part of an open transaction (``Work``)."""

    _connection: Connection
    _ids: Ids

    def session(self, digest: bytes) -> SessionRow | None:
        """The session with this digest, ended or not."""
        columns = (session.c[name] if name in session.c else customer.c[name] for name in SessionRow._fields)
        query = select(*columns).select_from(session.outerjoin(customer)).where(session.c.digest == digest)
        row = self._connection.execute(query).one_or_none()
        return SessionRow(*row) if row else None

    def add_session(
        self, digest: bytes, customer_key: int | None, source: str, now: int, expires_at: int, data: bytes
    ) -> int:
        """Add a session; its key. ``data`` is sealed."""
        key = self._ids.next()
        self._connection.execute(
            insert(session).values(
                key=key,
                digest=digest,
                customer_key=customer_key,
                source=source,
                seen_at=now,
                expires_at=expires_at,
                data=data,
            )
        )
        return key

    def count_sessions(self) -> int:
        """How many sessions there are, ended ones that are not deleted yet included."""
        return self._connection.execute(select(func.count()).select_from(session)).scalar_one()

    def write_session(self, key: int, data: bytes, seen_at: int) -> bool:
        """Replace what a session remembers (sealed). False if it was ended meanwhile."""
        change = update(session).where(session.c.key == key).values(data=data, seen_at=seen_at)
        return self._connection.execute(change).rowcount == 1

    def drop_sessions(self, keys: Sequence[int]) -> int:
        """Delete sessions, whatever they say by now; how many there were."""
        return self._connection.execute(delete(session).where(session.c.key.in_(keys))).rowcount

    def sessions_of(self, customer_key: int) -> list[int]:
        """The keys of a customer's sessions, the oldest first."""
        query = select(session.c.key).where(session.c.customer_key == customer_key).order_by(session.c.key)
        return list(self._connection.execute(query).scalars())

    def ended_sessions(self, now: int, idle_since: int, limit: int) -> list[int]:
        """The keys of some sessions that are past their end at ``now``, or that nobody has used since
        ``idle_since``."""
        ended = or_(session.c.expires_at <= now, session.c.seen_at <= idle_since)
        return list(self._connection.execute(select(session.c.key).where(ended).limit(limit)).scalars())

    # The proof that the old token's code was given here

    def put_proof(self, session_key: int, customer_key: int, token_key: int, until: int) -> bool:
        """Note that the code of this token was given in this session. False if the session has ended."""
        change = (
            update(session)
            .where(session.c.key == session_key, session.c.customer_key == customer_key)
            .values(proof_token_key=token_key, proof_until=until)
        )
        return self._connection.execute(change).rowcount == 1

    def take_proof(self, session_key: int, customer_key: int, token_keys: Collection[int], now: int) -> bool:
        """Use the proof up: True once, only if one of these is the token whose code was given, and only in time."""
        change = (
            update(session)
            .where(
                session.c.key == session_key,
                session.c.customer_key == customer_key,
                session.c.proof_token_key.in_(token_keys),
                session.c.proof_until > now,
            )
            .values(proof_token_key=None, proof_until=None)
        )
        return self._connection.execute(change).rowcount == 1

    # Tokens reserved for one customer

    def reserve(self, token_id: str, customer_key: int, session_key: int, expires_at: int) -> None:
        """Keep a new token for one customer, as long as a session lasts."""
        key = select(token.c.key).where(token.c.token_id == token_id).scalar_subquery()
        self._connection.execute(
            insert(reservation).values(
                token_key=key, customer_key=customer_key, session_key=session_key, expires_at=expires_at
            )
        )

    def reserved_for(self, token_key: int) -> int | None:
        """The key of the customer that a token is reserved for; None: anybody may enrol it."""
        query = select(reservation.c.customer_key).where(reservation.c.token_key == token_key)
        return self._connection.execute(query).scalar()

    def drop_reservation(self, token_key: int) -> None:
        """The token was enrolled: it is reserved no more."""
        self._connection.execute(delete(reservation).where(reservation.c.token_key == token_key))

    def take_reserved(self, session_keys: Sequence[int], before: int, limit: int) -> list[str]:
        """Delete some reservations of these sessions, or that ran out before ``before``; their token IDs."""
        due = (
            select(reservation.c.token_key, token.c.token_id)
            .join(token, token.c.key == reservation.c.token_key)
            .where(or_(reservation.c.session_key.in_(session_keys), reservation.c.expires_at <= before))
        )
        found = self._connection.execute(due.limit(limit)).all()
        self._connection.execute(delete(reservation).where(reservation.c.token_key.in_([key for key, _ in found])))
        return [token_id for _, token_id in found]

    # Terms of use

    def has_accepted(self, customer_key: int, version: str) -> bool:
        """Whether the customer has accepted this version."""
        query = select(acceptance).where(acceptance.c.customer_key == customer_key, acceptance.c.version == version)
        return self._connection.execute(query).first() is not None

    def accept(self, customer_key: int, version: str, at: int) -> None:
        """Note that the customer accepts this version; the first time counts. Raises Conflict if they accepted it in
        another transaction just now."""
        if self.has_accepted(customer_key, version):
            return
        row = {"customer_key": customer_key, "version": version, "accepted_at": at}
        try:
            self._connection.execute(insert(acceptance), row)
        except IntegrityError:
            raise Conflict("these terms were accepted in another transaction just now") from None


def session_lines(
    connection: Connection, *, after: int = 0, limit: int = 100, contract_id: str | None = None
) -> list[SessionLine]:
    """Up to ``limit`` sessions in the order of time, those after the key ``after``; of one customer or of all."""
    columns = (session.c[name] if name in session.c else customer.c[name] for name in SessionLine._fields)
    query = select(*columns).select_from(session.outerjoin(customer)).where(session.c.key > after)
    if contract_id is not None:
        query = query.where(customer.c.contract_id == contract_id)
    return [SessionLine(*row) for row in connection.execute(query.order_by(session.c.key).limit(limit))]
