"""The customers' sessions on their pages: begun, found, ended, expired. No cookies here; see
admin_web/http/sessions.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Refusal, Refused
from otp_core.accounts.transactions import SWEPT_AT_ONCE, SYSTEM, Transactions, rerun_on_conflict
from otp_core.accounts.typed_names import customer_to_keep
from otp_core.audit import Event
from otp_core.store.unit_of_work import Work


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the pages see it. Times are ms since the epoch. ``customer``: the contract ID that signed in; None:
    nobody has. ``data``: what the pages put there. ``proof_until``: the old token's code was given here, and a new
    token may be brought until then."""

    key: int
    digest: bytes = field(repr=False)
    customer: str | None
    seen_at: int
    expires_at: int
    data: Mapping[str, Any] = field(repr=False)
    proof_until: int | None


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long sessions last in seconds, without use and at most, and how many there may be."""

    idle: int
    longest: int
    most: int


class SessionService:
    """The acts on sessions."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @rerun_on_conflict
    def begin(
        self, id_: bytes, contract_id: str | None, data: Mapping[str, Any], limits: SessionLimits, principal: Principal
    ) -> Session:
        """Begin a session under an id that only the browser keeps; ``contract_id``: whose password was right, None:
        nobody has signed in.

        Raises Refused (TOO_MANY) when there are as many as there may be, and leaves nothing then. Half of them are kept
        for customers who have signed in, because anybody can begin the others as fast as forms can be sent."""
        store, now = self._transactions.store, self._transactions.now()
        digest, expires_at = store.sealer.session_digest(id_), now + limits.longest * 1000
        with self._transactions.act(Act.BEGIN_SESSION, principal, customer=contract_id, record_refusal=False) as work:
            if work.count_sessions() >= (limits.most // 2 if contract_id is None else limits.most):
                raise Refused(Refusal.TOO_MANY, "sessions")
            record = None if contract_id is None else self._transactions.login_record(work, contract_id)
            owner = record.customer_key if record else None
            key = work.add_session(digest, owner, principal.source, now, expires_at, self._sealed(digest, data))
            if record is not None:
                self._transactions.record(work, Event.PAGES_ENTERED, principal, record.contract_id, record.token_id)
        return Session(key, digest, record.contract_id if record else None, now, expires_at, dict(data), None)

    def find(self, id_: bytes, limits: SessionLimits) -> Session | None:
        """The session of an id; None: there is none, or it has ended. Raises KeyProblem if its data do not open."""
        store, now = self._transactions.store, self._transactions.now()
        digest = store.sealer.session_digest(id_)
        with store.read() as connection:
            row = Work(connection, store.ids).session(digest)
        if row is None or now >= row.expires_at or now >= row.seen_at + limits.idle * 1000:
            return None
        data = json.loads(store.sealer.unseal_data(row.data, digest))
        proof_until = row.proof_until if row.proof_until and row.proof_until > now else None
        return Session(row.key, digest, row.contract_id, row.seen_at, row.expires_at, data, proof_until)

    @rerun_on_conflict
    def update(self, session: Session, data: Mapping[str, Any]) -> bool:
        """Replace what the session remembers, and note that it is in use. False if it has ended. No audit row, and no
        permission: holding the session is the permission."""
        sealed, now = self._sealed(session.digest, data), self._transactions.now()
        with self._transactions.store.work() as work:
            return work.write_session(session.key, sealed, now)

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
            self._transactions.retire_reserved(work, keys, now)
            return work.drop_sessions(keys)

    @rerun_on_conflict
    def audit_failed_sign_in(self, contract_id: str, reason: str, principal: Principal) -> None:
        """Record that a password was not right, or not looked at. Only a known contract ID is named, any other by its
        fingerprint: a password that was typed into the wrong field must not get into the audit trail."""
        with self._transactions.act(Act.RECORD_FAILED_SIGN_IN, principal) as work:
            record = work.login_record(contract_id)
            fields = {**principal.audit_fields, "reason": reason if record else f"{reason}: unknown customer"}
            kept = customer_to_keep(work, self._transactions.store.sealer, contract_id)
            work.audit(Event.PAGES_REFUSED, **fields, customer=kept)

    def _sealed(self, digest: bytes, data: Mapping[str, Any]) -> bytes:
        return self._transactions.store.sealer.seal_data(json.dumps(data).encode(), digest)
