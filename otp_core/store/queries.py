"""Queries for staff and commands: pages of customers, tokens and audit rows, single ones, counts.

Every list pages by key. They change nothing, and no login needs them. On an event loop, run them by async_queries.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, false, func, select

from otp_core.audit import Event, ms_of
from otp_core.model import Kind, OtpUse, TokenState
from otp_core.otp import RESYNC_NEEDED, normalise_token_id
from otp_core.store import customer_search
from otp_core.store.bindings import HeldToken, held_tokens
from otp_core.store.customer_search import Wanted
from otp_core.store.schema import (
    DRIFTS,
    NOT_A_LOGIN,
    audit,
    binding,
    customer,
    meta,
    profile,
    seal,
    token,
    unclaimed_token,
)
from otp_core.store.search_terms import begins, within


class CustomerLine(NamedTuple):
    """A customer as staff sees them. Times are ms since the epoch. ``attributes``: reply attributes as JSON.
    ``tokens``: those that they have, also a lost one."""

    contract_id: str
    otp_use: str
    locked_at: int | None
    failures: int
    name: str | None
    email: str | None
    language: str | None
    attributes: str | None
    password_held: bool
    reading: str | None = None
    tokens: tuple[HeldToken, ...] = ()


class TokenLine(NamedTuple):
    """A token as staff sees it, without its seed. ``period``: seconds; ``last_at``: ms since the epoch, 0 for never;
    ``verifier``: who knows its codes."""

    token_id: str
    kind: str
    algorithm: str
    digits: int
    period: int
    state: str
    contract_id: str | None
    last_step: int
    drift: int
    last_at: int
    verifier: str


class TokenSpan(NamedTuple):
    """Some of the inventory, as staff asks for it: token IDs (normalised) from ``first`` to ``last``, with all that
    begin as ``last``; ``verifier``: who knows their codes. Empty: any."""

    first: str = ""
    last: str = ""
    verifier: str = ""


ALL_TOKENS = TokenSpan()


class TokenElsewhere(NamedTuple):
    """A token whose codes are verified elsewhere, and whose it is."""

    token_id: str
    contract_id: str


class AuditLine(NamedTuple):
    """A row of the audit trail. ``id`` tells the time (audit.ms_of); ``node``: which one wrote it, None for an earlier
    version."""

    id: int
    event: str
    actor: str
    customer: str | None
    token: str | None
    source: str
    reason: str
    node: str | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which audit rows: every condition that is given has to hold. ``event``: an event or the beginning of some;
    ``after`` and ``before``: ids (audit.id_at), both exclusive. ``customer_fingerprint``, ``token_fingerprint``: what
    stands in the place of these names where they were nobody's (``Sealer.name_fingerprint``). ``former``: the
    customer's former contract IDs (``former_contract_ids``)."""

    customer: str | None = None
    token: str | None = None
    event: str | None = None
    actor: str | None = None
    after: int = 0
    before: int | None = None
    customer_fingerprint: str | None = None
    token_fingerprint: str | None = None
    former: tuple[str, ...] = ()


class CustomerPage(NamedTuple):
    """A page of customers. ``next_after``: where the next one begins; None: this is the last."""

    rows: list[CustomerLine]
    next_after: str | None


def customers(
    connection: Connection,
    *,
    after: str = "",
    limit: int = 100,
    search: str = "",
    use: str | None = None,
    locked: bool = False,
) -> CustomerPage:
    """A page in the order of contract IDs, of those after ``after``. ``search``: how a contract ID, a token ID, a name,
    its reading or an e-mail address begins, as it is typed; then a page may be short or empty before the last
    (customer_search.py). ``use``: an OtpUse; ``locked``: only these."""
    wanted = Wanted(use, locked)
    if search:
        found = customer_search.search(connection, search, wanted, after=after, limit=limit)
        chosen = _customer_lines().where(customer.c.contract_id.in_(found.contract_ids))
        return CustomerPage(_with_tokens(connection, chosen.order_by(customer.c.contract_id)), found.next_after)
    query = _customer_lines().where(customer.c.contract_id > after, *wanted.conditions())
    rows = _with_tokens(connection, query.order_by(customer.c.contract_id).limit(limit + 1))
    return CustomerPage(rows[:limit], rows[limit - 1].contract_id if len(rows) > limit else None)


def customer_line(connection: Connection, contract_id: str) -> CustomerLine | None:
    """One customer; None if there is none."""
    found = _with_tokens(connection, _customer_lines().where(customer.c.contract_id == contract_id))
    return found[0] if found else None


def _with_tokens(connection: Connection, query: Select[Any]) -> list[CustomerLine]:
    rows = connection.execute(query).all()
    tokens = held_tokens(connection, [row.contract_id for row in rows])
    return [CustomerLine(*row)._replace(tokens=tuple(tokens.get(row.contract_id, ()))) for row in rows]


def _customer_lines() -> Select[Any]:
    return select(
        customer.c.contract_id,
        customer.c.otp_use,
        customer.c.locked_at,
        customer.c.failures,
        profile.c.name,
        profile.c.email,
        customer.c.language,
        customer.c.attributes,
        profile.c.password_hash.is_not(None),
        profile.c.reading,
    ).select_from(customer.join(profile, profile.c.customer_key == customer.c.key))


def tokens(
    connection: Connection,
    *,
    after: str = "",
    limit: int = 100,
    search: str = "",
    state: str | None = None,
    drifting: bool = False,
    span: TokenSpan = ALL_TOKENS,
) -> list[TokenLine]:
    """A page in the order of token IDs, of those after ``after``. ``search``: how a token ID begins, as it is typed;
    ``state``: a TokenState; ``drifting``: those whose clock is three steps off or more; ``span``:
    those in it."""
    query = _token_lines().where(token.c.token_id > after, *_in_span(span))
    if search:
        beginning = normalise_token_id(search)
        query = query.where(begins(token.c.token_id, beginning) if beginning else false())
    if state:
        query = query.where(token.c.state == state)
    if drifting:
        query = query.where(DRIFTS)
    return [TokenLine(*row) for row in connection.execute(query.order_by(token.c.token_id).limit(limit))]


def available_in(connection: Connection, span: TokenSpan, limit: int) -> list[str]:
    """The first token IDs of those in a span that nobody holds and that may be enrolled."""
    query = select(token.c.token_id).where(token.c.state == TokenState.AVAILABLE, *_in_span(span))
    return list(connection.scalars(query.order_by(token.c.token_id).limit(limit)))


def _in_span(span: TokenSpan) -> list[ColumnElement[bool]]:
    found = [within(token.c.token_id, span.first, span.last)] if span.first or span.last else []
    return found + ([token.c.verifier == span.verifier] if span.verifier else [])


def token_line(connection: Connection, token_id: str) -> TokenLine | None:
    """One token; None if there is none."""
    row = connection.execute(_token_lines().where(token.c.token_id == token_id)).one_or_none()
    return TokenLine(*row) if row else None


def unclaimed_seed(connection: Connection, token_id: str) -> bytes | None:
    """The sealed seed of a token that was issued to whoever asked and that nobody has enrolled yet; None for any
    other."""
    query = (
        select(token.c.seed)
        .join(unclaimed_token, unclaimed_token.c.token_key == token.c.key)
        .where(token.c.token_id == token_id, token.c.state == TokenState.AVAILABLE)
    )
    return connection.scalar(query)


def tokens_by_verifier(connection: Connection) -> dict[str, int]:
    """How many tokens name each verifier. Reads every token."""
    rows = connection.execute(select(token.c.verifier, func.count()).group_by(token.c.verifier))
    return {str(verifier): int(number) for verifier, number in rows}


def tokens_elsewhere(connection: Connection, verifier: str, *, after: str, limit: int) -> list[TokenElsewhere]:
    """A page of the tokens of this verifier that are bound to an active customer, in the order of their IDs, of those
    after ``after``; of several customers who share one, the first."""
    query = (
        select(token.c.token_id, func.min(customer.c.contract_id))
        .join(binding, binding.c.token_key == token.c.key)
        .join(customer, customer.c.key == binding.c.customer_key)
        .where(token.c.verifier == verifier, token.c.state == TokenState.BOUND, token.c.token_id > after)
        .where(customer.c.otp_use == OtpUse.ACTIVE)
        .group_by(token.c.token_id)
    )
    return [TokenElsewhere(*row) for row in connection.execute(query.order_by(token.c.token_id).limit(limit))]


def _token_lines() -> Select[Any]:
    """One line for each token; of several customers who share it, the first."""
    holder = (
        select(func.min(customer.c.contract_id))
        .join(binding, binding.c.customer_key == customer.c.key)
        .where(binding.c.token_key == token.c.key)
        .scalar_subquery()
    )
    return select(
        token.c.token_id,
        token.c.kind,
        token.c.algorithm,
        token.c.digits,
        token.c.period,
        token.c.state,
        holder,
        token.c.last_step,
        token.c.drift,
        token.c.last_at,
        token.c.verifier,
    )


def audit_rows(
    connection: Connection, wanted: AuditFilter, *, limit: int = 1000, newest_first: bool = False
) -> list[AuditLine]:
    """A page in the order of time. The last row's id is the next page's ``after``, or with ``newest_first`` its
    ``before``."""
    return audit_rows_where(connection, conditions(wanted), limit=limit, newest_first=newest_first)


def conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    """What has to hold for the rows that are wanted."""
    found: list[ColumnElement[bool]] = [audit.c.id > wanted.after]
    if wanted.before is not None:
        found.append(audit.c.id < wanted.before)
    if wanted.event is not None:
        found.append(audit.c.event.startswith(wanted.event.lower(), autoescape=True))
    for name in ("customer", "token", "actor"):
        value, fingerprint = getattr(wanted, name), getattr(wanted, f"{name}_fingerprint", None)
        if value is not None:
            names = [value, *(wanted.former if name == "customer" else ())]
            found.append(audit.c[name].in_(names if fingerprint is None else [*names, fingerprint]))
    return found


def audit_rows_where(
    connection: Connection, where: Sequence[ColumnElement[bool]], *, limit: int, newest_first: bool
) -> list[AuditLine]:
    """Up to ``limit`` rows for which all conditions hold, in the order of time or the other way round."""
    query = select(*(audit.c[name] for name in AuditLine._fields)).where(*where)
    order = audit.c.id.desc() if newest_first else audit.c.id.asc()
    return [AuditLine(*row) for row in connection.execute(query.order_by(order).limit(limit))]


def former_contract_ids(connection: Connection, contract_id: str) -> tuple[str, ...]:
    """The contract IDs that this customer had before, which their older rows have, as far as the audit trail tells; the
    newest first."""
    found: list[str] = []
    wanted = contract_id
    while wanted not in found[:-1]:
        query = (
            select(audit.c.reason)
            .where(NOT_A_LOGIN, audit.c.event == Event.CUSTOMER_RENAMED, audit.c.customer == wanted)
            .order_by(audit.c.id.desc())
            .limit(1)
        )
        reason: str | None = connection.execute(query).scalar()
        if reason is None:
            break
        found.append(wanted := reason.rpartition("was ")[2])
    return tuple(found)


def reply_attributes(connection: Connection) -> list[tuple[str, str, int]]:
    """The reply attributes that customers have, each text once: (text, one of its customers, how many they are)."""
    query = (
        select(customer.c.attributes, func.min(customer.c.contract_id), func.count())
        .where(customer.c.attributes.is_not(None))
        .group_by(customer.c.attributes)
    )
    return [(text, contract_id, number) for text, contract_id, number in connection.execute(query)]


class Unsynchronised(NamedTuple):
    """Counter tokens that must be resynchronised before a single code of theirs is good: how many, and one of them.
    ``contract_id``: of a customer who has it; None: nobody has any of them."""

    number: int
    token_id: str
    contract_id: str | None


def unsynchronised(connection: Connection) -> Unsynchronised | None:
    """The counter tokens that wait, one of a customer's before one that nobody has; None: none does."""
    waiting = (
        token.c.kind == Kind.HOTP,
        token.c.drift == RESYNC_NEEDED,
        token.c.state.in_((TokenState.AVAILABLE, TokenState.BOUND)),
    )
    held = binding.join(customer, customer.c.key == binding.c.customer_key)
    joined = token.outerjoin(held, binding.c.token_key == token.c.key)
    first = select(token.c.token_id, customer.c.contract_id).select_from(joined).where(*waiting)
    row = connection.execute(
        first.order_by(customer.c.contract_id.is_(None), customer.c.contract_id, token.c.token_id).limit(1)
    ).first()
    if row is None:
        return None
    number = connection.execute(select(func.count()).select_from(token).where(*waiting)).scalar_one()
    return Unsynchronised(number, *row)


def newest_audit_id(connection: Connection) -> int:
    """The id of the newest audit row, 0 for none. It tells the latest moment that is recorded (audit.ms_of)."""
    return connection.execute(select(func.max(audit.c.id))).scalar() or 0


def newest_seal(connection: Connection) -> str | None:
    """The text of the seal with the highest number; None: there is none."""
    return connection.execute(select(seal.c.body).order_by(seal.c.number.desc()).limit(1)).scalar()


def newest_seal_within(connection: Connection, id_: int) -> tuple[int, int, str, bytes] | None:
    """Of the newest seal that covers no row above this id: number, the last row's id, body, signature; None: none."""
    query = select(seal.c.number, seal.c.until_id, seal.c.body, seal.c.signature).where(seal.c.until_id <= id_)
    row = connection.execute(query.order_by(seal.c.until_id.desc()).limit(1)).one_or_none()
    return None if row is None else (row[0], row[1], row[2], row[3])


def sealed_until(connection: Connection) -> int:
    """The id up to which the audit trail is sealed: no row comes at or below it any more. 0: nothing is."""
    return connection.execute(select(func.max(seal.c.until_id))).scalar() or 0


def unsealed_seconds(connection: Connection, now: float) -> float:
    """The age of the oldest audit row that no seal covers, in seconds at ``now`` (since the epoch); 0 for none."""
    sealed = select(func.coalesce(func.max(seal.c.until_id), 0)).scalar_subquery()
    oldest = connection.execute(select(func.min(audit.c.id)).where(audit.c.id > sealed)).scalar()
    return 0.0 if oldest is None else max(0.0, now - ms_of(oldest) / 1000)


def counts(connection: Connection) -> dict[str, int]:
    """How many customers, tokens and audit rows there are, by table. Slow on a large store: for `doctor` only."""
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in (customer, token, audit)
    }


def read_meta(connection: Connection, name: str) -> bytes | None:
    """A named value of the store itself."""
    return connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar()


def contract_ids(connection: Connection) -> Iterator[str]:
    """Every contract ID as it is stored. Reads them all: for `init` and `doctor` only."""
    yield from connection.execute(select(customer.c.contract_id)).scalars()


def known_contracts(connection: Connection, contract_ids: Sequence[str]) -> set[str]:
    """Those of these contract IDs that are in the store."""
    query = select(customer.c.contract_id).where(customer.c.contract_id.in_(contract_ids))
    return set(connection.execute(query).scalars())


def known_tokens(connection: Connection, token_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Those of these tokens that are in the store: token ID -> (key, state)."""
    query = select(token.c.token_id, token.c.key, token.c.state).where(token.c.token_id.in_(token_ids))
    return {token_id: (key, state) for token_id, key, state in connection.execute(query)}
