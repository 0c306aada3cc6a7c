"""The customers' sessions on their pages: begun, found, ended, expired. No cookies here; see
admin_web/http/sessions.py. Only who has signed in has a session, so strangers cannot use them up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.transactions import SWEPT_AT_ONCE, SYSTEM, Transactions, rerun_on_conflict
from otp_core.accounts.typed_names import customer_to_keep
from otp_core.audit import Event
from otp_core.model import AuditRow, LoginRecord
from otp_core.store.unit_of_work import Work

MOST_OF_ONE_CUSTOMER = 5
"""Sessions at once of one customer. With one more, the oldest ends."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the pages see it. Times are ms since the epoch. ``customer``: the contract ID that signed in.
    ``data``: what the pages put there. ``proof_until``: the old token's code was given here, and a new token may be
    brought until then. ``entered``: of its beginning, if it has just begun."""

    key: int
    digest: bytes = field(repr=False)
    customer: str
    seen_at: int
    expires_at: int
    data: Mapping[str, Any] = field(repr=False)
    proof_until: int | None
    entered: Receipt | None = field(default=None, compare=False)


Change = Callable[[dict[str, Any]], Mapping[str, Any] | None]
"""What a session remembers, made from what it remembers at that moment, whichever process has written that; None:
nothing is changed. It may be called again."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long sessions last in seconds, without use and at most, and how many there may be of all customers."""

    idle: int
    longest: int
    most: int


class SessionService:
    """The acts on sessions."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @rerun_on_conflict
    def begin(
        self, id_: bytes, contract_id: str, data: Mapping[str, Any], limits: SessionLimits, principal: Principal
    ) -> Session:
        """Begin a session under an id that only the browser keeps; ``contract_id``: whose password was right. A
        customer with MOST_OF_ONE_CUSTOMER sessions loses the oldest.

        Raises Refused (TOO_MANY) when there are as many as there may be, and leaves nothing then. Those that have ended
        do not count, whether they have been swept or not."""
        store, now = self._transactions.store, self._transactions.now()
        digest, expires_at = store.sealer.session_digest(id_), now + limits.longest * 1000
        with self._transactions.act(Act.BEGIN_SESSION, principal, customer=contract_id, record_refusal=False) as work:
            record = self._transactions.login_record(work, contract_id)
            self._end_oldest(work, record, principal)
            if work.count_sessions() >= limits.most and not self._drop_ended(work, limits, now):
                raise Refused(Refusal.TOO_MANY, "sessions")
            sealed = self._sealed(digest, data)
            key = work.add_session(digest, record.customer_key, principal.source, now, expires_at, sealed)
            entered = (principal, record.contract_id, record.token_id)
            receipt = self._transactions.record(work, Event.PAGES_ENTERED, *entered)
        return Session(key, digest, record.contract_id, now, expires_at, dict(data), None, receipt)

    def _end_oldest(self, work: Work, record: LoginRecord, principal: Principal) -> None:
        """Leave room for one more session of this customer."""
        keys = work.sessions_of(record.customer_key)[: 1 - MOST_OF_ONE_CUSTOMER]
        if not keys:
            return
        self._transactions.retire_reserved(work, keys, 0)
        work.drop_sessions(keys)
        why = replace(principal, reason=f"more than {MOST_OF_ONE_CUSTOMER} sessions: the oldest ends")
        self._transactions.record(work, Event.SESSION_ENDED, why, record.contract_id, None)

    def _drop_ended(self, work: Work, limits: SessionLimits, now: int) -> int:
        """Delete some sessions that are over, and retire the tokens that were not confirmed in them; how many
        sessions."""
        keys = work.ended_sessions(now, now - limits.idle * 1000, SWEPT_AT_ONCE)
        self._transactions.retire_reserved(work, keys, now)
        return work.drop_sessions(keys)

    def find(self, id_: bytes, limits: SessionLimits) -> Session | None:
        """The session of an id; None: there is none, or it has ended. Raises KeyProblem if its data do not open."""
        store, now = self._transactions.store, self._transactions.now()
        digest = store.sealer.session_digest(id_)
        with store.read() as connection:
            row = Work(connection, store.ids).session(digest)
        if row is None or row.contract_id is None or now >= row.expires_at or now >= row.seen_at + limits.idle * 1000:
            return None
        data = json.loads(store.sealer.unseal_data(row.data, digest))
        proof_until = row.proof_until if row.proof_until and row.proof_until > now else None
        return Session(row.key, digest, row.contract_id, row.seen_at, row.expires_at, data, proof_until)

    @rerun_on_conflict
    def update(self, session: Session, change: Change) -> bool:
        """Change what the session remembers, and note that it is in use. False if it has ended, or ``change`` finds
        nothing to be done. No audit row, and no permission: holding the session is the permission."""
        store, now = self._transactions.store, self._transactions.now()
        with store.work_aside() as work:
            row = work.session(session.digest)
            data = None if row is None else change(json.loads(store.sealer.unseal_data(row.data, session.digest)))
            return data is not None and work.write_session(session.key, self._sealed(session.digest, data), now)

    @rerun_on_conflict
    def end(self, session: Session, principal: Principal) -> int:
        """End a session; the tokens that were issued in it and not confirmed are retired. 0: it had ended before."""
        with self._transactions.act(Act.END_SESSION, principal, customer=session.customer) as work:
            self._transactions.retire_reserved(work, [session.key], 0)
            ended = work.drop_sessions([session.key])
            if ended:
                self._transactions.record(work, Event.SESSION_ENDED, principal, None, None)
            return ended

    @rerun_on_conflict
    def end_of(self, contract_id: str, principal: Principal) -> int:
        """End every session of a customer; how many."""
        with self._transactions.act(Act.END_SESSIONS_OF, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            return self._transactions.end_sessions(work, record, principal)

    @rerun_on_conflict
    def expire(self, limits: SessionLimits) -> int:
        """Delete some sessions that are over, and retire the tokens that were not confirmed in them; how many
        sessions. None before the clock has settled: a retired token never comes back."""
        if not self._transactions.settled():
            return 0
        store, now = self._transactions.store, self._transactions.now()
        idle_since = now - limits.idle * 1000
        with store.read() as connection:  # before the write lock is taken: mostly there is nothing to do
            keys = Work(connection, store.ids).ended_sessions(now, idle_since, SWEPT_AT_ONCE)
        if not keys:
            return 0
        with self._transactions.act(Act.EXPIRE_SESSIONS, SYSTEM) as work:
            return self._drop_ended(work, limits, now)

    @rerun_on_conflict
    def audit_failed_sign_in(self, contract_id: str, reason: str, principal: Principal) -> AuditRow:
        """Record that a password was not right, or not looked at. Only a known contract ID is named, any other by its
        fingerprint: a password that was typed into the wrong field must not get into the audit trail."""
        with self._transactions.act(Act.RECORD_FAILED_SIGN_IN, principal) as work:
            record = work.login_record(contract_id)
            fields = {**principal.audit_fields, "reason": reason if record else f"{reason}: unknown customer"}
            kept = customer_to_keep(work, self._transactions.store.sealer, contract_id)
            row = work.audit_row(Event.PAGES_REFUSED, **fields, customer=kept)
            work.audit_all([row])
        return row

    def _sealed(self, digest: bytes, data: Mapping[str, Any]) -> bytes:
        return self._transactions.store.sealer.seal_data(json.dumps(data).encode(), digest)
