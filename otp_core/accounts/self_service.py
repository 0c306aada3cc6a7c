"""What only the customers' own pages do: sessions, a device change in two steps, a token for one customer, terms.

The old token's code is spent in one step and proves in another that it was given. Until the other one is done, the old
token is the customer's token; the step that lets the new one in is one transaction, and uses the proof up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otp_core.accounts.enrolment import Journeys
from otp_core.accounts.lifecycle import Move
from otp_core.accounts.results import IssuedToken, Principal, Receipt, Refusal, Refused
from otp_core.accounts.tokens import Inventory
from otp_core.accounts.transactions import SWEPT_AT_ONCE
from otp_core.audit import Event
from otp_core.model import LoginRecord, TokenSpec
from otp_core.otp import normalise_token_id
from otp_core.store.unit_of_work import Work


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the pages see it. ``data`` is what they put there; nobody else reads it."""

    key: int
    digest: bytes = field(repr=False)
    customer: str | None
    seen_at: int
    expires_at: int
    data: Mapping[str, Any] = field(repr=False)
    proof_until: int | None


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long sessions last, in seconds, and how many there may be."""

    idle: int
    longest: int
    most: int


class SelfService(Journeys, Inventory):
    """The acts behind the customers' pages."""

    # Sessions

    def begin_session(
        self, id_: bytes, contract_id: str | None, data: Mapping[str, Any], bounds: SessionLimits, principal: Principal
    ) -> Session:
        """A new session under an id that only the browser keeps; ``contract_id``: whose password was right. Raises
        Refused (TOO_MANY) when there are as many as there may be; half of them are kept for such customers, because
        anybody can begin the others as fast as forms can be sent."""
        digest, now = self._store.sealer.session_digest(id_), self._now()
        expires_at = now + bounds.longest * 1000
        with self._store.work() as work:
            if work.count_sessions() >= (bounds.most // 2 if contract_id is None else bounds.most):
                raise Refused(Refusal.TOO_MANY, "sessions")
            record = None if contract_id is None else self._login_record(work, contract_id)
            owner = record.customer_key if record else None
            key = work.add_session(digest, owner, principal.source, now, expires_at, self._sealed(digest, data))
            if record is not None:
                self._audit(work, Event.PAGES_ENTERED, principal, record.contract_id, record.token_id)
        return Session(key, digest, record.contract_id if record else None, now, expires_at, dict(data), None)

    def session(self, id_: bytes, bounds: SessionLimits) -> Session | None:
        """The session of an id, unless it has ended."""
        digest, now = self._store.sealer.session_digest(id_), self._now()
        with self._store.read() as connection:
            row = Work(connection, self._store.ids).session(digest)
        if row is None or now >= row.expires_at or now >= row.seen_at + bounds.idle * 1000:
            return None
        data = json.loads(self._store.sealer.unseal_data(row.data, digest))
        proof_until = row.proof_until if row.proof_until and row.proof_until > now else None
        return Session(row.key, digest, row.contract_id, row.seen_at, row.expires_at, data, proof_until)

    def update_session(self, session: Session, data: Mapping[str, Any]) -> bool:
        """Remember something else, and that the customer is still there. False if the session was ended."""
        with self._store.work() as work:
            return work.write_session(session.key, self._sealed(session.digest, data), self._now())

    def end_sessions(self, keys: list[int], principal: Principal) -> int:
        """End sessions; the tokens that were issued in them and not confirmed go with them. How many ended."""
        with self._store.work() as work:
            self._retire_reserved(work, keys, 0)
            ended = work.drop_sessions(keys)
            if ended:
                self._audit(work, Event.SESSION_ENDED, principal, None, None)
        return ended

    def end_sessions_of(self, contract_id: str, principal: Principal) -> int:
        """Staff: end every session of a customer."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            return self._end_sessions(work, record, principal)

    def expire_sessions(self, bounds: SessionLimits) -> int:
        """Forget some sessions that are over, and retire the tokens that nobody confirmed in them; how many."""
        now = self._now()
        idle_since = now - bounds.idle * 1000
        with self._store.read() as connection:  # before the write lock is taken: mostly there is nothing to do
            keys = Work(connection, self._store.ids).ended_sessions(now, idle_since, SWEPT_AT_ONCE)
        if not keys:
            return 0
        with self._store.work() as work:
            self._retire_reserved(work, keys, now)
            return work.drop_sessions(keys)

    def audit_failed_sign_in(self, contract_id: str, reason: str, principal: Principal) -> None:
        """A password was not right, or not looked at. Only a known contract ID is named: who typed the password into
        the wrong field does not find it in the audit trail."""
        with self._store.work() as work:
            record = work.login_record(contract_id)
            who = {**self._who(principal), "reason": reason if record else f"{reason}: unknown customer"}
            work.audit(Event.PAGES_REFUSED, **who, customer=record.contract_id if record else None)

    # The steps

    def login_record(self, contract_id: str) -> LoginRecord:
        """A customer as of now. Raises Refused."""
        with self._store.read() as connection:
            return self._login_record(Work(connection, self._store.ids), contract_id)

    def give_old_code(
        self, contract_id: str, code: str, session: Session, seconds: int, principal: Principal
    ) -> Receipt:
        """Journey 4, first step: the old token's code is spent, and for so many seconds this session may bring a new
        token. Nothing else changes."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            self._may(record, Move.CHANGE_DEVICE)
            self._spend_code(work, record, code)
            assert record.token_key is not None
            until = self._now() + seconds * 1000
            if not work.put_proof(session.key, record.customer_key, record.token_key, until):
                raise Refused(Refusal.NOT_NOW, "the session has ended")
            return self._audit(work, Event.OLD_CODE_GIVEN, principal, record.contract_id, record.token_id)

    def change_by_proof(
        self, contract_id: str, session: Session, token_id: str, code: str, principal: Principal
    ) -> Receipt:
        """Journey 4, last step: the old token dies in the moment in which the new one lives."""
        token_id = normalise_token_id(token_id)
        with self._act(principal, customer=contract_id, token=token_id) as work:
            record = self._login_record(work, contract_id)
            self._may(record, Move.CHANGE_DEVICE)
            if record.token_key is None:
                raise Refused(Refusal.NOT_NOW, "the token is not bound any more")
            token, step, now = self._new_token(work, record, token_id, code)
            if not work.take_proof(session.key, record.customer_key, record.token_key, now):
                raise Refused(Refusal.NOT_NOW, "the old token's code was given too long ago, or not here")
            self._retire_old(work, record)
            self._bind(work, record, Move.CHANGE_DEVICE, token, step, now)
            self._end_sessions(work, record, principal, but=session.key)
            return self._audit(work, Event.DEVICE_CHANGED, principal, record.contract_id, token_id, was=record.token_id)

    def check_permit(self, contract_id: str, permit: str, principal: Principal) -> None:
        """Journey 5, first step: whether this is the customer's permit. It is used up by ``change_by_permit`` alone; a
        wrong one counts like a wrong code. Raises Refused."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            self._may(record, Move.CHANGE_BY_PERMIT)
            self._not_locked(record)
            if not work.has_permit(record.customer_key, self._permit_digest(record, permit), self._now()):
                self._count(work, record)
                raise Refused(Refusal.WRONG_PERMIT)

    def issue_for(self, contract_id: str, session: Session, issuer: str, principal: Principal) -> IssuedToken:
        """A new token that nobody else can enrol, until this session ends. An earlier one of it is retired."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            self._retire_reserved(work, [session.key], 0)
            issued = self._issue(work, principal, TokenSpec(), issuer)
            work.reserve(issued.token_id, record.customer_key, session.key, session.expires_at)
            return issued

    def accept_terms(self, contract_id: str, version: str, principal: Principal) -> None:
        """The customer has read this version of the terms of use and accepts it."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            work.accept(record.customer_key, version, self._now())
            who = {**self._who(principal), "reason": f"version {version}"}
            work.audit(Event.TERMS_ACCEPTED, **who, customer=record.contract_id)

    def has_accepted(self, record: LoginRecord, version: str) -> bool:
        with self._store.read() as connection:
            return Work(connection, self._store.ids).has_accepted(record.customer_key, version)

    # What these share

    def _sealed(self, digest: bytes, data: Mapping[str, Any]) -> bytes:
        return self._store.sealer.seal_data(json.dumps(data).encode(), digest)
