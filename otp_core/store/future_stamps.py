"""Stamps of the future, from a time at which the clock was wrong: found and taken back. Statements only, in one open
transaction; what a token's steps become decides login/spent_ahead.py.

A last step in the future refuses its customer until that time comes; the last answer of a passkey or of single sign-on,
its member of staff. Permits, links, requests for approval, sessions and challenges would be good for too long; notices,
files to be imported and a verifier's tasks would wait. Audit rows stay as they are: nothing reads their time but
people.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, delete, or_, select, update

from otp_core.audit import Event, id_at, ms_of
from otp_core.login.policy import Rules
from otp_core.login.spent_ahead import GRACE_MS, TokenSteps, Use, recent_ms, taken_back
from otp_core.model import Conflict, Kind, TokenState
from otp_core.store import outbox as notices
from otp_core.store.schema import (
    approval,
    audit,
    binding,
    challenge,
    customer,
    file_import,
    outbox,
    passkey,
    permit,
    reservation,
    session,
    sign_on,
    staff,
    staff_session,
    token,
    verifier_task,
)
from otp_core.store.unit_of_work import TokenRecord, Work
from otp_core.verifier import LOCAL_VERIFIER

_LONGEST_PERIOD = 300
"""Seconds: of a token's step (otp.spec_of)."""
_LONGEST_RETRY_MS = 86_400_000
"""No notice waits longer for its next attempt."""
_LONGEST_CLAIM_MS = 8 * 3_600_000
"""No sender has a notice for longer."""
LONGEST_LINK_MS = 3_600_000
"""No one-time link of staff is good for longer."""
LONGEST_APPROVAL_MS = 24 * 3_600_000
"""No request for a second person waits for longer."""
LONGEST_FILE_CLAIM_MS = 30_000
"""No task has a file to be imported for longer."""
_SPENDING = (
    Event.LOGIN_ACCEPTED,
    Event.LOGIN_REPEATED,
    Event.ENROLLED,
    Event.SUSPENDED,
    Event.DEVICE_CHANGED,
    Event.TOKEN_ADDED,
    Event.TOKEN_REMOVED,
    Event.OLD_CODE_GIVEN,
    Event.TOKEN_RESYNCHRONISED,
    Event.CODE_SPENT,
    Event.OFFLINE_SPENT,
    Event.OFFLINE_CONFLICT,
)
"""Events that may have spent a code of the token that their row names."""


class Repaired(NamedTuple):
    """What was taken back for a customer, or for a token that nobody has. ``what``: in words, for the audit trail."""

    contract_id: str | None
    token_id: str | None
    what: str


class _Holder(NamedTuple):
    key: int
    contract_id: str
    token_key: int


class _Ahead(NamedTuple):
    key: int
    token_id: str
    steps: TokenSteps


def refused_by_stamps(connection: Connection, now: int, rules: Rules) -> list[str]:
    """The contract IDs of the customers who have a token with a last step so far ahead of ``now`` (ms) that no code of
    its is accepted."""
    query = (
        select(customer.c.contract_id)
        .join(binding, binding.c.customer_key == customer.c.key)
        .join(token, token.c.key == binding.c.token_key)
        .where(_last_step_ahead(now, rules))
    )
    return list(connection.execute(query.distinct().order_by(customer.c.contract_id)).scalars())


def repair_all(work: Work, now: int, rules: Rules, by: Mapping[str, str]) -> list[Repaired]:
    """Take back every stamp that lies ahead of ``now`` (ms), and record whom it concerned. ``by``: who, as for
    ``Work.audit_row``."""
    connection = work.connection
    ahead = _tokens_ahead(connection, _last_step_ahead(now, rules))
    repaired = _repair_tokens(work, ahead, now, rules)
    repaired += _forget_failures(connection, now)
    _forget_requests(connection, now)
    _shorten(connection, now, rules)
    _end_sessions(connection, now)
    _let_staff_in(connection, now)
    _wake(connection, now)
    _record(work, repaired, by)
    return repaired


def repair_token(work: Work, record: TokenRecord, now: int, rules: Rules, by: Mapping[str, str]) -> bool:
    """The same for one token's last step, and its row. False: it does not lie ahead. Raises Conflict."""
    ahead = _tokens_ahead(work.connection, and_(token.c.key == record.key, _last_step_ahead(now, rules)))
    repaired = _repair_tokens(work, ahead, now, rules)
    _record(work, repaired, by)
    return bool(repaired)


def _record(work: Work, repaired: Sequence[Repaired], by: Mapping[str, str]) -> None:
    rows = [
        work.audit_row(
            Event.CLOCK_REPAIRED,
            actor=by["actor"],
            source=by.get("source", ""),
            reason=one.what,
            customer=one.contract_id,
            token=one.token_id,
        )
        for one in repaired
    ]
    if rows:
        work.audit_all(rows)


def _last_step_ahead(now: int, rules: Rules) -> ColumnElement[bool]:
    """``spent_ahead.is_ahead``, in SQL."""
    return and_(
        token.c.kind == Kind.TOTP,
        token.c.verifier == LOCAL_VERIFIER,
        token.c.state.in_((TokenState.AVAILABLE, TokenState.BOUND)),
        (token.c.last_step - token.c.drift - rules.window) * token.c.period * 1000 > now + GRACE_MS,
    )


def _tokens_ahead(connection: Connection, which: ColumnElement[bool]) -> list[_Ahead]:
    columns = (token.c.period, token.c.last_step, token.c.drift, token.c.spent_ahead)
    rows = connection.execute(select(token.c.key, token.c.token_id, *columns).where(which))
    return [_Ahead(key, token_id, TokenSteps(*steps)) for key, token_id, *steps in rows]


def _repair_tokens(work: Work, ahead: Sequence[_Ahead], now: int, rules: Rules) -> list[Repaired]:
    """Raises Conflict if a code of one of them is accepted just now."""
    if not ahead:
        return []
    connection, repaired, changes = work.connection, [], []
    holders = _holders(connection, ahead)
    uses = _uses(connection, ahead, holders, now, rules)
    names: dict[int, list[str | None]] = defaultdict(list)
    for holder in holders:
        names[holder.token_key].append(holder.contract_id)
    for one in ahead:
        last_step, spent = taken_back(one.steps, uses[one.token_id], now, rules)
        changes.append({"at": one.key, "was": one.steps.last_step, "last": last_step, "spent": spent})
        hours = (one.steps.last_step * one.steps.period * 1000 - now) / 3_600_000
        what = f"the token's last step stood {hours:.1f} h ahead of the clock"
        repaired += [Repaired(whose, one.token_id, what) for whose in names[one.key] or [None]]
    change = (
        update(token)
        .where(token.c.key == bindparam("at"), token.c.last_step == bindparam("was"))
        .values(last_step=bindparam("last"), spent_ahead=bindparam("spent"), last_fingerprint=0, last_at=now)
    )
    if connection.execute(change, changes).rowcount not in (len(changes), -1):
        raise Conflict("a code was accepted by somebody else just now")
    return repaired


def _uses(
    connection: Connection, ahead: Sequence[_Ahead], holders: Sequence[_Holder], now: int, rules: Rules
) -> Mapping[str, list[Use]]:
    """When codes of these tokens were accepted, as far back as it matters, by token ID."""
    names = {one.token_id for one in ahead}
    since = id_at(now - recent_ms(_LONGEST_PERIOD, rules, 2 * rules.max_drift))
    new = {one.contract_id for one in holders if one.key > since}
    events = [event.value for event in (*_SPENDING, Event.CUSTOMER_ADDED, Event.LOST_TIME_VOIDED)]
    columns = (audit.c.id, audit.c.event, audit.c.token, audit.c.customer)
    query = select(*columns).where(audit.c.id > since, audit.c.event.in_(events)).order_by(audit.c.id)
    found: dict[str, list[Use]] = defaultdict(list)
    for id_, event, token_id, contract_id in connection.execute(query):
        if event == Event.LOST_TIME_VOIDED:
            for one in names:  # whatever fits now may have been accepted in the lost time
                found[one].append(Use(min(ms_of(id_), now)))
            continue
        imported = event == Event.ENROLLED and contract_id in new
        # Of somebody who is new, the first row tells how they came: an import that brings a token took no code.
        new.discard(contract_id)
        if token_id in names and event != Event.CUSTOMER_ADDED and not imported:
            found[token_id].append(Use(ms_of(id_), event == Event.TOKEN_RESYNCHRONISED))
    return found


def _holders(connection: Connection, ahead: Sequence[_Ahead]) -> list[_Holder]:
    """Those who have these tokens."""
    keys = {one.key for one in ahead}
    # A list of one is looked for; for many, all bindings are read.
    query = select(customer.c.key, customer.c.contract_id, binding.c.token_key).join(
        binding, binding.c.customer_key == customer.c.key
    )
    if len(keys) == 1:
        query = query.where(binding.c.token_key == next(iter(keys)))
    return [_Holder(*row) for row in connection.execute(query) if row.token_key in keys]


def _forget_failures(connection: Connection, now: int) -> list[Repaired]:
    """Wrong codes of the future still count, but delay nobody; a lock stays one."""
    latest = now + GRACE_MS
    late = or_(customer.c.failed_at > latest, customer.c.locked_at > latest)
    rows = connection.execute(select(customer.c.contract_id).where(late)).scalars().all()
    connection.execute(
        update(customer)
        .where(late)
        .values(
            failed_at=0,
            failed_fingerprint=0,
            locked_at=case((customer.c.locked_at > latest, now), else_=customer.c.locked_at),
        )
    )
    return [Repaired(one, None, "a wrong code or a lock had a time ahead of the clock") for one in rows]


def _forget_requests(connection: Connection, now: int) -> None:
    """No request of the future is recognised again."""
    change = update(token).where(token.c.last_at > now + GRACE_MS)
    connection.execute(change.values(last_at=now, last_fingerprint=0))


def _shorten(connection: Connection, now: int, rules: Rules) -> None:
    """What is good for some time is good for as long as it would be if it were made now."""
    asked_until = now + rules.challenge_seconds * 1000 + GRACE_MS
    connection.execute(delete(challenge).where(challenge.c.expires_at > asked_until))
    good_until = now + rules.permit_hours * 3_600_000
    connection.execute(update(permit).where(permit.c.expires_at > good_until).values(expires_at=good_until))
    link_until, asked = now + LONGEST_LINK_MS, now + LONGEST_APPROVAL_MS
    connection.execute(update(staff).where(staff.c.link_until > link_until).values(link_until=link_until))
    connection.execute(update(approval).where(approval.c.expires_at > asked).values(expires_at=asked))


def _end_sessions(connection: Connection, now: int) -> None:
    """Their customers sign in again; tokens that were issued in them run out at the next sweep."""
    late = or_(session.c.seen_at > now + GRACE_MS, session.c.key > id_at(now + GRACE_MS))
    keys = select(session.c.key).where(late)
    connection.execute(update(reservation).where(reservation.c.session_key.in_(keys)).values(expires_at=now))
    connection.execute(delete(session).where(late))
    late_staff = or_(staff_session.c.seen_at > now + GRACE_MS, staff_session.c.key > id_at(now + GRACE_MS))
    connection.execute(delete(staff_session).where(late_staff))


def _let_staff_in(connection: Connection, now: int) -> None:
    """An answer of a passkey, or of single sign-on, to a request of the future is taken for one of now: later ones
    count again. What was answered then cannot come again: its cookie and the provider's code are over by that time."""
    late = passkey.c.challenged_at > now + GRACE_MS
    connection.execute(update(passkey).where(late).values(challenged_at=now))
    connection.execute(update(sign_on).where(sign_on.c.asked_at > now + GRACE_MS).values(asked_at=now))


def _wake(connection: Connection, now: int) -> None:
    """Notices, files to be imported and tasks of a verifier go on."""
    pending = outbox.c.state == notices.PENDING
    late, held = outbox.c.next_at > now + _LONGEST_RETRY_MS, outbox.c.claimed_until > now + _LONGEST_CLAIM_MS
    connection.execute(update(outbox).where(pending, late).values(next_at=now))
    connection.execute(update(outbox).where(pending, held).values(claimed_until=0))
    claimed = file_import.c.claimed_until > now + LONGEST_FILE_CLAIM_MS + GRACE_MS
    connection.execute(update(file_import).where(claimed).values(claimed_until=0))
    late_file = file_import.c.changed_at > now + GRACE_MS
    connection.execute(update(file_import).where(late_file).values(changed_at=now))
    late_task = verifier_task.c.next_at > now + _LONGEST_RETRY_MS
    connection.execute(update(verifier_task).where(late_task).values(next_at=now))
