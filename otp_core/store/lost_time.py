"""After a restore: nothing that was used in the lost time is good again. Statements only, in one open transaction.

The lost time lies between what the store remembers and now. What was accepted then is unknown, so everything that could
have been accepted is taken as used: time steps, counters, challenges, sessions, reissue permits, unconfirmed tokens. It
puts nothing back: acts of staff that were lost have to be entered again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    cast,
    delete,
    func,
    literal,
    select,
    union,
    update,
)

from otp_core.audit import Event
from otp_core.model import Kind, OtpUse, TokenState
from otp_core.otp import RESYNC_NEEDED
from otp_core.store.approvals import withdraw_all
from otp_core.store.schema import (
    challenge,
    customer,
    permit,
    reservation,
    session,
    staff,
    staff_session,
    token,
    unclaimed_token,
)
from otp_core.store.unit_of_work import Work
from otp_core.verifier import LOCAL_VERIFIER

COUNTER_RESERVE = 20
"""Counters that a counter token is taken to have used in the lost time, where the operator says nothing else."""

_TOKENS_AT_ONCE = 20_000
"""Tokens of one statement; between two, the progress is told."""

Advance = Callable[[int], None]
"""Told how many tokens are done."""


class Voided(NamedTuple):
    """How many of each were made void. ``timed``: TOTP tokens whose steps up to now count as used; ``counters``: HOTP
    tokens that must be resynchronised."""

    timed: int
    counters: int
    challenges: int
    sessions: int
    permits: int
    unclaimed: int

    @property
    def text(self) -> str:
        """For the audit trail and the log."""
        return (
            f"{self.timed} tokens by the clock, {self.counters} by a counter (to be resynchronised), "
            f"{self.challenges} challenges, {self.sessions} sessions, {self.permits} reissue permits, "
            f"{self.unclaimed} unconfirmed tokens"
        )


def void_codes_of_lost_time(
    work: Work,
    now_ms: int,
    *,
    window: int,
    counter_reserve: int = COUNTER_RESERVE,
    actor: str,
    reason: str,
    advance: Advance = lambda done: None,
) -> Voided:
    """Void everything that may have been used between the store's newest row and ``now_ms`` (ms), and record it.

    TOTP: the last step becomes that of ``now_ms`` plus the token's drift plus ``window`` steps, unless it is later
    already; the code behind it is good. HOTP: the last counter moves on by ``counter_reserve``, and until two
    consecutive codes beyond it were given, single codes are refused (RFC 4226 section 7.4). Retired tokens and those
    that another server verifies are left alone.

    ``window``: steps, as for a login. ``reason``: what happened, for the audit trail.

    To be called before anything is served, and again is harmless. ``advance``: told how many tokens are done, of
    ``count_tokens``."""
    connection, by = work.connection, {"actor": actor, "reason": reason}
    timed = counters = done = 0
    after = 0
    while (keys := _next_keys(connection, after)) is not None:
        last, number = keys
        timed += _use_steps(connection, after, last, now_ms, window)
        counters += _use_counters(connection, after, last, counter_reserve)
        after, done = last, done + number
        advance(done)
    challenges = connection.execute(delete(challenge)).rowcount
    unclaimed = _retire_unconfirmed(work, by)
    sessions = connection.execute(delete(session)).rowcount + connection.execute(delete(staff_session)).rowcount
    connection.execute(update(staff).values(link_digest=None))
    withdraw_all(connection)  # what was approved may have been carried out
    voided = Voided(timed, counters, challenges, sessions, _void_permits(work, by), unclaimed)
    work.audit(Event.LOST_TIME_VOIDED, actor=actor, reason=f"{reason}: {voided.text}")
    return voided


def count_tokens(connection: Connection) -> int:
    """How many tokens there are, for the progress."""
    return connection.execute(select(func.count()).select_from(token)).scalar_one()


def _next_keys(connection: Connection, after: int) -> tuple[int, int] | None:
    """The last key of the next tokens behind ``after``, and how many these are; None: there are no more."""
    keys = select(token.c.key).where(token.c.key > after).order_by(token.c.key).limit(_TOKENS_AT_ONCE).subquery()
    last, number = connection.execute(select(func.max(keys.c.key), func.count()).select_from(keys)).one()
    return (last, number) if number else None


def _these(after: int, last: int, kind: Kind) -> ColumnElement[bool]:
    return and_(
        token.c.key > after,
        token.c.key <= last,
        token.c.kind == kind,
        token.c.verifier == LOCAL_VERIFIER,
        token.c.state != TokenState.RETIRED,
    )


def _use_steps(connection: Connection, after: int, last: int, now_ms: int, window: int) -> int:
    """Take every step that could have been accepted until now as used (RFC 6238 section 5.2)."""
    latest = literal(now_ms) // (cast(token.c.period, BigInteger) * 1000) + token.c.drift + window
    change = (
        update(token)
        .where(_these(after, last, Kind.TOTP))
        .values(last_step=case((token.c.last_step < latest, latest), else_=token.c.last_step), last_fingerprint=0)
    )
    return connection.execute(change).rowcount


def _use_counters(connection: Connection, after: int, last: int, reserve: int) -> int:
    change = (
        update(token)
        .where(_these(after, last, Kind.HOTP))
        .values(last_step=token.c.last_step + reserve, drift=RESYNC_NEEDED, last_fingerprint=0)
    )
    return connection.execute(change).rowcount


def _void_permits(work: Work, by: dict[str, str]) -> int:
    """Staff permits the reissue again: a permit that was used must not let a second token in."""
    connection = work.connection
    holding = select(customer.c.key, customer.c.contract_id).where(customer.c.otp_use == OtpUse.REISSUE_PERMITTED)
    holders = connection.execute(holding).all()
    connection.execute(delete(permit))
    connection.execute(
        update(customer).where(customer.c.otp_use == OtpUse.REISSUE_PERMITTED).values(otp_use=OtpUse.LOST)
    )
    if holders:
        work.audit_all([work.audit_row(Event.PERMIT_VOIDED, **by, customer=one.contract_id) for one in holders])
    return len(holders)


def _retire_unconfirmed(work: Work, by: dict[str, str]) -> int:
    """Tokens that were issued on the pages or to an app, and that nobody had enrolled: they may have been enrolled, and
    reported lost, since."""
    connection = work.connection
    handed_out = union(select(unclaimed_token.c.token_key), select(reservation.c.token_key)).subquery()
    ones = and_(token.c.key.in_(select(handed_out.c.token_key)), token.c.state == TokenState.AVAILABLE)
    ids = connection.execute(select(token.c.token_id).where(ones)).scalars().all()
    connection.execute(update(token).where(ones).values(state=TokenState.RETIRED))
    connection.execute(delete(unclaimed_token))
    connection.execute(delete(reservation))
    if ids:
        work.audit_all([work.audit_row(Event.TOKEN_RETIRED, **by, token=one) for one in ids])
    return len(ids)
