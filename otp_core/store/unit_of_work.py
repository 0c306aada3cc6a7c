"""The unit of work: the statements of the desk's acts, all of them in one transaction with their audit row.

It reads, writes and records; it decides nothing. The contract is "serialisable": what a transaction read still holds
when it is committed, or the engine raises Conflict. Writes whose loss would matter repeat in their WHERE what was read
before, and return False if the row says something else by now: then the caller raises Conflict. Statements of sessions
are in sessions.py, those of who has which token in bindings.py, of issuance keys in issuance_keys.py, of notices in
outbox.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, case, delete, func, insert, literal, select, text, update
from sqlalchemy.exc import IntegrityError

from otp_core.audit import Event, Ids, NodeName, id_at, ms_of
from otp_core.model import NEVER, AuditRow, Conflict, LoginRecord, OtpUse, TokenSpec, TokenState
from otp_core.store import outbox
from otp_core.store.bindings import BindingStatements
from otp_core.store.issuance_keys import IssuanceKeyStatements
from otp_core.store.login_record import COLUMNS, JOIN_TOKENS, records_of
from otp_core.store.queries import newest_audit_id, read_meta, sealed_until
from otp_core.store.schema import audit, binding, customer, meta, permit, profile, token, unclaimed_token
from otp_core.store.search_terms import Named, add_terms, change_terms, leave_unfilled, named
from otp_core.store.sessions import SessionStatements
from otp_core.verifier import LOCAL_VERIFIER

CUSTOMER_ORIGIN = "customer "
"""How the origin of a token begins that was issued to a customer who had signed in; any other is a network."""

_LOGIN_RECORD = text(f"SELECT {COLUMNS} FROM customer AS c {JOIN_TOKENS} WHERE c.contract_id = :contract_id")  # noqa: S608


class TokenRecord(NamedTuple):
    """A token in the inventory. ``seed`` is sealed; None for a token whose codes are verified elsewhere
    (``verifier``). ``period`` in seconds; ``last_step`` -1: no code was accepted yet; ``drift`` in steps;
    ``spent_ahead``: see ``otp.fit``."""

    key: int
    token_id: str
    seed: bytes | None
    verifier: str
    kind: str
    algorithm: str
    digits: int
    period: int
    state: str
    last_step: int
    drift: int
    spent_ahead: str | None = None

    @property
    def spec(self) -> TokenSpec:
        """How the token makes its codes."""
        return TokenSpec(self.kind, self.algorithm, self.digits, self.period)  # type: ignore[arg-type]


_TOKEN = select(*(token.c[name] for name in TokenRecord._fields))


class Profile(NamedTuple):
    """What a login with a code never reads. ``password_hash`` None: no password is checked here."""

    customer_key: int
    password_hash: str | None
    name: str | None
    email: str | None
    reading: str | None


class Details(NamedTuple):
    """What staff can change of a customer, beside the contract ID. ``attributes``: reply attributes as JSON."""

    name: str | None
    reading: str | None
    email: str | None
    language: str | None
    attributes: str | None


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """A customer to be added. ``token_key``: this token is bound to them and active at once (migration);
    ``more_tokens``: and these (key, token ID). ``attributes``: reply attributes as JSON. ``reading``: of the name."""

    contract_id: str
    password_hash: str | None
    name: str | None = None
    email: str | None = None
    language: str | None = None
    attributes: str | None = None
    token_key: int | None = None
    more_tokens: Sequence[tuple[int, str]] = ()
    reading: str | None = None

    @property
    def token_keys(self) -> list[int]:
        """The keys of all tokens that are bound."""
        return [] if self.token_key is None else [self.token_key, *(key for key, _ in self.more_tokens)]


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be added, available. ``seed`` is sealed; None with a ``verifier`` other than LOCAL_VERIFIER.
    ``last_step``: as if a code of this step or counter had been accepted last."""

    token_id: str
    seed: bytes | None
    spec: TokenSpec
    verifier: str = LOCAL_VERIFIER
    last_step: int = NEVER


class Work(SessionStatements, BindingStatements, IssuanceKeyStatements):
    """An open transaction. Made by ``Store.work``. ``notices``: changes are told to customers by e-mail.
    ``sealed_until``: see ``store.engine.Database``; ``node``: for its audit rows."""

    def __init__(
        self,
        connection: Connection,
        ids: Ids,
        *,
        notices: bool = False,
        recorded: list[AuditRow] | None = None,
        sealed_until: Callable[[Connection], int] = sealed_until,
        node: NodeName | None = None,
    ) -> None:
        self._connection = connection
        self._ids = ids
        self._notices = notices
        self._sealed_until, self._node = sealed_until, node or NodeName()
        self.recorded: list[AuditRow] = [] if recorded is None else recorded
        """The audit rows of this transaction."""
        self._above_seals = False

    @property
    def connection(self) -> Connection:
        """For the statements of outbox.py."""
        return self._connection

    # Reading

    def login_record(self, contract_id: str) -> LoginRecord | None:
        """A customer with the tokens bound to them; None for an unknown contract ID."""
        rows = self._connection.execute(_LOGIN_RECORD, {"contract_id": contract_id})
        return records_of(rows).get(contract_id)

    def token(self, token_id: str) -> TokenRecord | None:
        """A token of the inventory; None for an unknown token ID."""
        row = self._connection.execute(_TOKEN.where(token.c.token_id == token_id)).one_or_none()
        return TokenRecord(*row) if row else None

    def profile(self, customer_key: int) -> Profile:
        """The profile of an existing customer."""
        row = self._connection.execute(select(profile).where(profile.c.customer_key == customer_key)).one()
        return Profile(*row)

    def details(self, customer_key: int) -> Details:
        """The details of an existing customer."""
        joined = customer.join(profile, profile.c.customer_key == customer.c.key)
        columns = profile.c.name, profile.c.reading, profile.c.email, customer.c.language, customer.c.attributes
        query = select(*columns).select_from(joined).where(customer.c.key == customer_key)
        return Details(*self._connection.execute(query).one())

    def newest_id(self) -> int:
        """The id of the newest audit row, 0 for none."""
        return newest_audit_id(self._connection)

    # Customers

    def add_customers(self, new: Sequence[NewCustomer], *, terms_later: bool = False) -> None:
        """Add customers with their profiles. ``terms_later``: what they are found by is left to
        ``search_terms.fill``, which does it for many at once. Raises Conflict if a contract ID was taken since it was
        looked for."""
        keys = [self._ids.next() for _ in new]
        self._insert_new(
            customer,
            [
                {
                    "key": key,
                    "contract_id": one.contract_id,
                    "otp_use": OtpUse.NONE if one.token_key is None else OtpUse.ACTIVE,
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
                    "reading": one.reading,
                }
                for key, one in zip(keys, new, strict=True)
            ],
        )
        if terms_later:
            leave_unfilled(self._connection, min(keys), max(keys))
        else:
            names = (Named(one.contract_id, one.name, one.reading, one.email) for one in new)
            add_terms(self._connection, zip(keys, names, strict=True))
        bound = [
            {"customer_key": key, "token_key": token_key, "bound_at": ms_of(key)}
            for key, one in zip(keys, new, strict=True)
            for token_key in one.token_keys
        ]
        if bound:
            self._connection.execute(insert(binding), bound)

    def set_contract_id(self, record: LoginRecord, after: str) -> None:
        """Give a customer another contract ID. Raises Conflict if it was taken, or the customer renamed, since they
        were looked for."""
        before = record.contract_id
        change = update(customer).where(customer.c.contract_id == before).values(contract_id=after)
        try:
            changed = self._connection.execute(change).rowcount
        except IntegrityError:
            changed = 0
        if changed != 1:
            raise Conflict(f"{before} or {after} was changed by somebody else just now")
        names = named(self._connection, record.customer_key)
        change_terms(self._connection, record.customer_key, names._replace(contract_id=before), names)

    def set_details(self, record: LoginRecord, before: Details, after: Details) -> None:
        """Change a customer's details, and what they are found by."""
        key = record.customer_key
        of_customer, of_profile = {"language": after.language, "attributes": after.attributes}, after._asdict()
        for name in of_customer:
            del of_profile[name]
        self._connection.execute(update(customer).where(customer.c.key == key).values(of_customer))
        self._connection.execute(update(profile).where(profile.c.customer_key == key).values(of_profile))
        old, new = (Named(record.contract_id, one.name, one.reading, one.email) for one in (before, after))
        change_terms(self._connection, key, old, new)

    def set_otp_use(self, record: LoginRecord, after: OtpUse) -> bool:
        """Move a customer to another use of OTP. False if the use is not the one in ``record`` any more."""
        change = (
            update(customer)
            .where(customer.c.key == record.customer_key, customer.c.otp_use == record.otp_use)
            .values(otp_use=after)
        )
        return self._connection.execute(change).rowcount == 1

    def set_failures(self, record: LoginRecord, failures: int, at: int, locked_at: int | None) -> bool:
        """Set the count of wrong codes, the moment (ms) of the last one and that of the lock. False if they are not
        those in ``record`` any more: no count is lost."""
        change = (
            update(customer)
            .where(
                customer.c.key == record.customer_key,
                customer.c.failures == record.failures,
                customer.c.failed_at == record.failed_at,
                customer.c.locked_at.is_not_distinct_from(record.locked_at),
            )
            .values(failures=failures, failed_at=at, failed_fingerprint=0, locked_at=locked_at)
        )
        return self._connection.execute(change).rowcount == 1

    def set_password_hash(self, customer_key: int, before: str, after: str) -> bool:
        """Replace a password hash. False if it is not ``before`` any more."""
        change = (
            update(profile)
            .where(profile.c.customer_key == customer_key, profile.c.password_hash == before)
            .values(password_hash=after)
        )
        return self._connection.execute(change).rowcount == 1

    # Tokens

    def add_tokens(self, new: Sequence[NewToken]) -> None:
        """Add available tokens. Raises Conflict if a token ID was taken since it was looked for."""
        self._insert_new(
            token,
            [
                {
                    "key": self._ids.next(),
                    "token_id": one.token_id,
                    "seed": one.seed,
                    "verifier": one.verifier,
                    "kind": one.spec.kind,
                    "algorithm": one.spec.algorithm,
                    "digits": one.spec.digits,
                    "period": one.spec.period,
                    "state": TokenState.AVAILABLE,
                    "last_step": one.last_step,
                }
                for one in new
            ],
        )

    def set_token_state(self, token_key: int, before: TokenState, after: TokenState) -> bool:
        """Move a token. False if it is not in the state ``before`` any more."""
        change = update(token).where(token.c.key == token_key, token.c.state == before).values(state=after)
        return self._connection.execute(change).rowcount == 1

    def bind_tokens(self, token_keys: Collection[int], *, shared: bool) -> int:
        """Move available tokens to bound, or leave them bound where they are ``shared``; how many could be."""
        free = (TokenState.AVAILABLE, TokenState.BOUND) if shared else (TokenState.AVAILABLE,)
        change = (
            update(token).where(token.c.key.in_(token_keys), token.c.state.in_(free)).values(state=TokenState.BOUND)
        )
        return self._connection.execute(change).rowcount

    def spend_step(
        self, token_key: int, step: int, drift: int, at: int, *, state: TokenState = TokenState.BOUND
    ) -> bool:
        """Spend a step (RFC 6238 section 5.2) of a token in this state at ``at`` (ms): of two acts with one code, one
        gets True. The fingerprint of a login is cleared, so that no retransmission can claim the code."""
        change = (
            update(token)
            .where(token.c.key == token_key, token.c.state == state, token.c.last_step < step)
            .values(last_step=step, drift=drift, last_fingerprint=0, last_at=at)
        )
        return self._connection.execute(change).rowcount == 1

    def put_spent_ahead(self, token_key: int, spans: str) -> None:
        """Keep the spans of steps that were accepted for a time that is still to come (login/spent_ahead.py)."""
        self._connection.execute(update(token).where(token.c.key == token_key).values(spent_ahead=spans))

    # Unclaimed tokens (self-service issuance)

    def add_unclaimed(self, token_id: str, origin: str) -> None:
        """Note that a token was issued to an app at ``origin``, and that it is not enrolled yet."""
        key = select(token.c.key, literal(origin)).where(token.c.token_id == token_id)
        self._connection.execute(insert(unclaimed_token).from_select(["token_key", "origin"], key))

    def count_unclaimed(
        self, at: int, origin: str, prefixes: Sequence[str] = (), *, until: int, customers: bool
    ) -> list[int]:
        """How many tokens were issued by self-service since ``at`` and before ``until`` (ms): in all, to this origin,
        and for each prefix to those that begin with it. ``customers``: of the origins that are customers, else of those
        that are networks."""
        column = unclaimed_token.c.origin
        which = (column == origin, *(column.startswith(prefix, autoescape=True) for prefix in prefixes))
        counts = [func.count(case((one, 1))) for one in which]
        query = select(func.count(), *counts).select_from(unclaimed_token)
        key, of_customer = unclaimed_token.c.token_key, column.startswith(CUSTOMER_ORIGIN)
        query = query.where(key >= id_at(at), key < id_at(until), of_customer if customers else ~of_customer)
        return list(self._connection.execute(query).one())

    def take_overdue_unclaimed(self, before: int, limit: int) -> list[TokenRecord]:
        """Delete the notes on some tokens that were issued before a moment (ms); of these, the tokens that are still
        available."""
        oldest = (
            select(unclaimed_token.c.token_key)
            .where(unclaimed_token.c.token_key < id_at(before))
            .order_by(unclaimed_token.c.token_key)
        )
        keys = self._connection.execute(oldest.limit(limit)).scalars().all()
        self._connection.execute(delete(unclaimed_token).where(unclaimed_token.c.token_key.in_(keys)))
        left = _TOKEN.where(token.c.key.in_(keys), token.c.state == TokenState.AVAILABLE)
        return [TokenRecord(*row) for row in self._connection.execute(left)]

    # Reissue permits

    def permit_digest(self, customer_key: int) -> int | None:
        """The digest of the customer's permit, expired or not; None: there is none."""
        return self._connection.execute(select(permit.c.digest).where(permit.c.customer_key == customer_key)).scalar()

    def put_permit(self, customer_key: int, before: int | None, digest: int, expires_at: int) -> bool:
        """Give the customer a permit in place of the one with the digest ``before`` (None: of none). False if that one
        was replaced or used meanwhile; raises Conflict if there is one by now."""
        if before is None:
            row = {"customer_key": customer_key, "digest": digest, "expires_at": expires_at}
            self._insert_new(permit, [row])
            return True
        change = (
            update(permit)
            .where(permit.c.customer_key == customer_key, permit.c.digest == before)
            .values(digest=digest, expires_at=expires_at)
        )
        return self._connection.execute(change).rowcount == 1

    def drop_permit(self, customer_key: int) -> None:
        """Delete the customer's permit, whichever it is: none is good from now on."""
        self._connection.execute(delete(permit).where(permit.c.customer_key == customer_key))

    def has_permit(self, customer_key: int, digest: int, at: int) -> bool:
        """Whether this is the customer's permit, and not expired at ``at`` (ms). It stays good."""
        query = select(permit.c.digest).where(
            permit.c.customer_key == customer_key, permit.c.digest == digest, permit.c.expires_at > at
        )
        return self._connection.execute(query).first() is not None

    def take_permit(self, customer_key: int, digest: int, at: int) -> bool:
        """Use up the customer's permit: True once, and only before it expires."""
        used = delete(permit).where(
            permit.c.customer_key == customer_key, permit.c.digest == digest, permit.c.expires_at > at
        )
        return self._connection.execute(used).rowcount == 1

    # Named values of the store itself

    def meta(self, name: str) -> bytes | None:
        """A named value; None: there is none."""
        return read_meta(self._connection, name)

    def put_meta(self, name: str, value: bytes) -> None:
        """Set a named value. Raises Conflict if it was set for the first time by somebody else just now."""
        changed = self._connection.execute(update(meta).where(meta.c.name == name).values(value=value))
        if changed.rowcount == 0:
            self._insert_new(meta, [{"name": name, "value": value}])

    # The audit trail

    def audit(self, event: Event, **fields: Any) -> None:
        """Write one audit row; ``fields`` as in ``audit_row``."""
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
        """A row with the next number, not written yet. ``actor``: who acted; ``source``: where from (an address, a host
        or a program); ``customer``: a contract ID; ``token``: a token ID. The number lies above all that is sealed: no
        seal comes before this transaction ends."""
        if not self._above_seals:
            self._ids.pass_(self._sealed_until(self._connection))
            self._above_seals = True
        return AuditRow(self._ids.next(), event.value, actor, customer, token, source, reason)

    def audit_all(self, rows: Sequence[AuditRow]) -> None:
        """Write audit rows."""
        self.recorded += rows
        self._connection.execute(insert(audit), [{**row._asdict(), "node": self._node.value} for row in rows])

    def notify(self, row: AuditRow) -> None:
        """Put a notice of what this row records into the outbox; nothing where notices are off."""
        if self._notices:
            outbox.put(self._connection, row)

    def _insert_new(self, table: Table, rows: list[dict[str, Any]]) -> None:
        try:
            self._connection.execute(insert(table), rows)
        except IntegrityError:
            raise Conflict(f"a {table.name} of the same ID was added by somebody else just now") from None
