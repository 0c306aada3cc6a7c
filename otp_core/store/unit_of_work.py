"""The unit of work: what an act at the desk reads and writes, in one transaction with its audit row.

It changes and records together, and decides nothing. Conditions stand in the SQL, so that two nodes cannot both win.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, and_, delete, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from otp_core.audit import AuditRow, Event, Ids, id_at
from otp_core.model import NEVER, LoginRecord, OtpUse, StoreUnavailable, TokenSpec, TokenState
from otp_core.store import outbox, schema
from otp_core.store.schema import audit, customer, permit, profile, token, unclaimed_token
from otp_core.store.sessions import SessionStatements

_LOGIN_RECORD = select(
    customer.c.contract_id,
    customer.c.key,
    customer.c.otp_use,
    customer.c.locked_at,
    customer.c.failures,
    customer.c.failed_at,
    customer.c.failed_fingerprint,
    customer.c.language,
    customer.c.attributes,
    token.c.key.label("token_key"),
    token.c.token_id,
    token.c.seed,
    token.c.kind,
    token.c.algorithm,
    token.c.digits,
    token.c.period,
    func.coalesce(token.c.last_step, NEVER),
    func.coalesce(token.c.drift, 0),
    func.coalesce(token.c.last_fingerprint, 0),
    func.coalesce(token.c.last_at, 0),
).select_from(
    customer.outerjoin(
        token,
        and_(
            token.c.key == customer.c.token_key,
            or_(token.c.state == TokenState.BOUND, customer.c.otp_use != OtpUse.ACTIVE),
        ),
    )
)
"""An active customer has a token only while it is bound: a shared one may have been reported lost by somebody else."""


class TokenRecord(NamedTuple):
    """A token in the inventory. ``seed`` is sealed."""

    key: int
    token_id: str
    seed: bytes
    kind: str
    algorithm: str
    digits: int
    period: int
    state: str
    last_step: int
    drift: int

    @property
    def spec(self) -> TokenSpec:
        return TokenSpec(self.kind, self.algorithm, self.digits, self.period)  # type: ignore[arg-type]


_TOKEN = select(*(token.c[name] for name in TokenRecord._fields))


class Profile(NamedTuple):
    """What a login with a code never reads."""

    customer_key: int
    password_hash: str | None
    name: str | None
    email: str | None


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """A customer to be written; ``token_key`` given: the token is bound and active at once (migration)."""

    contract_id: str
    password_hash: str | None
    name: str | None = None
    email: str | None = None
    language: str | None = None
    attributes: str | None = None
    token_key: int | None = None


@dataclass(frozen=True, slots=True)
class NewToken:
    token_id: str
    seed: bytes
    spec: TokenSpec


class Work(SessionStatements):
    """An open transaction. Made by ``Store.work``."""

    def __init__(self, connection: Connection, ids: Ids, *, notices: bool = False) -> None:
        self._connection = connection
        self._ids = ids
        self._notices = notices

    @property
    def connection(self) -> Connection:
        """For the statements of outbox.py."""
        return self._connection

    # Reading

    def login_record(self, contract_id: str) -> LoginRecord | None:
        row = self._connection.execute(_LOGIN_RECORD.where(customer.c.contract_id == contract_id)).one_or_none()
        return LoginRecord(*tuple(row)) if row else None

    def token(self, token_id: str) -> TokenRecord | None:
        row = self._connection.execute(_TOKEN.where(token.c.token_id == token_id)).one_or_none()
        return TokenRecord(*row) if row else None

    def profile(self, customer_key: int) -> Profile:
        row = self._connection.execute(select(profile).where(profile.c.customer_key == customer_key)).one()
        return Profile(*row)

    def holder(self, token_key: int) -> str | None:
        """The contract ID of a customer that a token is bound to."""
        query = select(customer.c.contract_id).where(customer.c.token_key == token_key).limit(1)
        return self._connection.execute(query).scalar()

    def holders(self, token_key: int) -> int:
        """How many customers a token is bound to."""
        query = select(func.count()).where(customer.c.token_key == token_key)
        return self._connection.execute(query).scalar_one()

    # Writing

    def add_customers(self, new: Sequence[NewCustomer]) -> None:
        """Raises StoreUnavailable if a contract ID was taken since it was looked for."""
        keys = [self._ids.next() for _ in new]
        self._insert_new(
            customer,
            [
                {
                    "key": key,
                    "contract_id": one.contract_id,
                    "otp_use": OtpUse.NONE if one.token_key is None else OtpUse.ACTIVE,
                    "token_key": one.token_key,
                    "language": one.language,
                    "attributes": one.attributes,
                }
                for key, one in zip(keys, new, strict=True)
            ],
        )
        self._connection.execute(
            insert(profile),
            [
                {
                    "customer_key": key,
                    "password_hash": one.password_hash,
                    "name": one.name,
                    "email": one.email,
                }
                for key, one in zip(keys, new, strict=True)
            ],
        )

    def add_tokens(self, new: Sequence[NewToken]) -> None:
        """Raises StoreUnavailable if a token ID was taken since it was looked for."""
        self._insert_new(
            token,
            [
                {
                    "key": self._ids.next(),
                    "token_id": one.token_id,
                    "seed": one.seed,
                    "kind": one.spec.kind,
                    "algorithm": one.spec.algorithm,
                    "digits": one.spec.digits,
                    "period": one.spec.period,
                    "state": TokenState.AVAILABLE,
                }
                for one in new
            ],
        )

    def add_unclaimed(self, token_id: str, origin: str) -> None:
        """A token was handed out to whoever asked from ``origin``."""
        key = select(token.c.key, literal(origin)).where(token.c.token_id == token_id)
        self._connection.execute(insert(unclaimed_token).from_select(["token_key", "origin"], key))

    def count_unclaimed(self, at: int, origin: str | None = None) -> int:
        """How many tokens were handed out since a moment, to an origin or to everybody."""
        query = select(func.count()).select_from(unclaimed_token).where(unclaimed_token.c.token_key >= id_at(at))
        if origin is not None:
            query = query.where(unclaimed_token.c.origin == origin)
        return self._connection.execute(query).scalar_one()

    def take_overdue_unclaimed(self, before: int, limit: int) -> list[TokenRecord]:
        """Forget some that were handed out before a moment; of these, the tokens that nobody has claimed."""
        oldest = (
            select(unclaimed_token.c.token_key)
            .where(unclaimed_token.c.token_key < id_at(before))
            .order_by(unclaimed_token.c.token_key)
        )
        keys = self._connection.execute(oldest.limit(limit)).scalars().all()
        self._connection.execute(delete(unclaimed_token).where(unclaimed_token.c.token_key.in_(keys)))
        left = _TOKEN.where(token.c.key.in_(keys), token.c.state == TokenState.AVAILABLE)
        return [TokenRecord(*row) for row in self._connection.execute(left)]

    def _insert_new(self, table: Table, rows: list[dict[str, Any]]) -> None:
        try:
            self._connection.execute(insert(table), rows)
        except IntegrityError:
            raise StoreUnavailable(f"a {table.name} of the same ID was added by somebody else just now") from None

    def set_otp_use(self, customer_key: int, before: OtpUse, after: OtpUse, token_key: int | None) -> bool:
        """Compare and set: False if somebody else moved the customer first."""
        change = (
            update(customer)
            .where(customer.c.key == customer_key, customer.c.otp_use == before)
            .values(otp_use=after, token_key=token_key)
        )
        return self._connection.execute(change).rowcount == 1

    def set_token_state(self, token_key: int, before: TokenState, after: TokenState) -> bool:
        change = update(token).where(token.c.key == token_key, token.c.state == before).values(state=after)
        return self._connection.execute(change).rowcount == 1

    def bind_tokens(self, token_keys: Collection[int], *, shared: bool) -> int:
        """Move available tokens to bound, or leave them bound where they are ``shared``; how many could be."""
        free = (TokenState.AVAILABLE, TokenState.BOUND) if shared else (TokenState.AVAILABLE,)
        change = (
            update(token).where(token.c.key.in_(token_keys), token.c.state.in_(free)).values(state=TokenState.BOUND)
        )
        return self._connection.execute(change).rowcount

    def spend_step(self, token_key: int, step: int, drift: int, at: int) -> bool:
        """Compare and set: of two acts with one code, one gets True. No request may claim it again as its own."""
        change = (
            update(token)
            .where(token.c.key == token_key, token.c.state == TokenState.BOUND, token.c.last_step < step)
            .values(last_step=step, drift=drift, last_fingerprint=0, last_at=at)
        )
        return self._connection.execute(change).rowcount == 1

    def set_failures(self, customer_key: int, failures: int, at: int, locked_at: int | None) -> None:
        change = (
            update(customer)
            .where(customer.c.key == customer_key)
            .values(failures=failures, failed_at=at, failed_fingerprint=0, locked_at=locked_at)
        )
        self._connection.execute(change)

    def set_password_hash(self, customer_key: int, before: str, after: str) -> bool:
        change = (
            update(profile)
            .where(profile.c.customer_key == customer_key, profile.c.password_hash == before)
            .values(password_hash=after)
        )
        return self._connection.execute(change).rowcount == 1

    def put_permit(self, customer_key: int, digest: int, expires_at: int) -> None:
        self.drop_permit(customer_key)
        self._connection.execute(insert(permit).values(customer_key=customer_key, digest=digest, expires_at=expires_at))

    def drop_permit(self, customer_key: int) -> None:
        self._connection.execute(delete(permit).where(permit.c.customer_key == customer_key))

    def take_permit(self, customer_key: int, digest: int, at: int) -> bool:
        """Use up the customer's permit: True once, and only before it expires."""
        used = delete(permit).where(
            permit.c.customer_key == customer_key, permit.c.digest == digest, permit.c.expires_at > at
        )
        return self._connection.execute(used).rowcount == 1

    def meta(self, name: str) -> bytes | None:
        return self._connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == name)).scalar()

    def has_permit(self, customer_key: int, digest: int, at: int) -> bool:
        """Whether this is the customer's permit, and not expired. It stays."""
        query = select(permit.c.digest).where(
            permit.c.customer_key == customer_key, permit.c.digest == digest, permit.c.expires_at > at
        )
        return self._connection.execute(query).first() is not None

    def put_meta(self, name: str, value: bytes) -> None:
        self._connection.execute(delete(schema.meta).where(schema.meta.c.name == name))
        self._connection.execute(insert(schema.meta).values(name=name, value=value))

    def newest_id(self) -> int:
        """The id of the newest audit row, 0 for none."""
        return self._connection.execute(select(func.max(audit.c.id))).scalar() or 0

    def audit(self, event: Event, **fields: Any) -> None:
        """One audit row: ``actor``, ``source``, ``reason``, and whom and which token it was about."""
        self.audit_all([self.audit_row(event, **fields)])

    def audit_row(
        self,
        event: Event,
        *,
        actor: str,
        source: str = "",
        reason: str = "",
        customer: str | None = None,
        token: str | None = None,
    ) -> AuditRow:
        return AuditRow(self._ids.next(), event.value, actor, customer, token, source, reason)

    def notify(self, row: AuditRow) -> None:
        """A notice of what this row records, to its customer; none where notices are off."""
        if self._notices:
            outbox.put(self._connection, row)

    def audit_all(self, rows: Sequence[AuditRow]) -> None:
        self._connection.execute(insert(audit), [row._asdict() for row in rows])
