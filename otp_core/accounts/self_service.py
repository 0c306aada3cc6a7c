"""What only the customers' own pages do: sessions, a device change in two steps, a token for one customer, terms.

The old token's code is spent in one step and proves in another that it was given. Until the other one is done, the old
token is the customer's token; the step that lets the new one in is one transaction, and uses the proof up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otp_core.audit import Event
from otp_core.desk.acts import SWEPT_AT_ONCE
from otp_core.desk.inventory import Inventory
from otp_core.desk.journeys import Journeys
from otp_core.desk.words import Actor, Issued, Receipt, Refusal, Refused
from otp_core.lifecycle import Move
from otp_core.model import Standing, TokenSpec
from otp_core.otp import normalise_token_id
from otp_core.store.work import Work


@dataclass(frozen=True, slots=True)
class Visit:
    """A session as the pages see it. ``data`` is what they put there; nobody else reads it."""

    key: int
    mark: bytes = field(repr=False)
    customer: str | None
    seen_at: int
    expires_at: int
    data: Mapping[str, Any] = field(repr=False)
    proof_until: int | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long sessions last, in seconds, and how many there may be."""

    idle: int
    longest: int
    most: int


class OwnPages(Journeys, Inventory):
    """The acts behind the customers' pages."""

    # Sessions

    def begin_visit(
        self, id_: bytes, contract_id: str | None, data: Mapping[str, Any], bounds: Bounds, actor: Actor
    ) -> Visit:
        """A new session under an id that only the browser keeps; ``contract_id``: whose password was right. Raises
        Refused (TOO_MANY) when there are as many as there may be; half of them are kept for such customers, because
        anybody can begin the others as fast as forms can be sent."""
        mark, now = self._store.sealer.session_mark(id_), self._now()
        expires_at = now + bounds.longest * 1000
        with self._store.work() as work:
            if work.count_sessions() >= (bounds.most // 2 if contract_id is None else bounds.most):
                raise Refused(Refusal.TOO_MANY, "sessions")
            standing = None if contract_id is None else self._standing(work, contract_id)
            owner = standing.customer_key if standing else None
            key = work.add_session(mark, owner, actor.source, now, expires_at, self._sealed(mark, data))
            if standing is not None:
                self._record(work, Event.PAGES_ENTERED, actor, standing.contract_id, standing.token_id)
        return Visit(key, mark, standing.contract_id if standing else None, now, expires_at, dict(data), None)

    def visit(self, id_: bytes, bounds: Bounds) -> Visit | None:
        """The session of an id, unless it has ended."""
        mark, now = self._store.sealer.session_mark(id_), self._now()
        with self._store.read() as connection:
            row = Work(connection, self._store.ids).session(mark)
        if row is None or now >= row.expires_at or now >= row.seen_at + bounds.idle * 1000:
            return None
        data = json.loads(self._store.sealer.unseal_data(row.data, mark))
        proof_until = row.proof_until if row.proof_until and row.proof_until > now else None
        return Visit(row.key, mark, row.contract_id, row.seen_at, row.expires_at, data, proof_until)

    def keep_visit(self, visit: Visit, data: Mapping[str, Any]) -> bool:
        """Remember something else, and that the customer is still there. False if the session was ended."""
        with self._store.work() as work:
            return work.write_session(visit.key, self._sealed(visit.mark, data), self._now())

    def end_visits(self, keys: list[int], actor: Actor) -> int:
        """End sessions; the tokens that were issued in them and not confirmed go with them. How many ended."""
        with self._store.work() as work:
            self._retire_reserved(work, keys, 0)
            ended = work.drop_sessions(keys)
            if ended:
                self._record(work, Event.SESSION_ENDED, actor, None, None)
        return ended

    def end_visits_of(self, contract_id: str, actor: Actor) -> int:
        """Staff: end every session of a customer."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            return self._end_sessions(work, standing, actor)

    def sweep_visits(self, bounds: Bounds) -> int:
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

    def refuse_visit(self, contract_id: str, reason: str, actor: Actor) -> None:
        """A password was not right, or not looked at. Only a known contract ID is named: who typed the password into
        the wrong field does not find it in the audit trail."""
        with self._store.work() as work:
            standing = work.standing(contract_id)
            who = {**self._who(actor), "reason": reason if standing else f"{reason}: unknown customer"}
            work.record(Event.PAGES_REFUSED, **who, customer=standing.contract_id if standing else None)

    # The steps

    def standing_of(self, contract_id: str) -> Standing:
        """A customer as of now. Raises Refused."""
        with self._store.read() as connection:
            return self._standing(Work(connection, self._store.ids), contract_id)

    def give_old_code(self, contract_id: str, code: str, visit: Visit, seconds: int, actor: Actor) -> Receipt:
        """Journey 4, first step: the old token's code is spent, and for so many seconds this session may bring a new
        token. Nothing else changes."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            self._may(standing, Move.CHANGE_DEVICE)
            self._spend_code(work, standing, code)
            assert standing.token_key is not None
            until = self._now() + seconds * 1000
            if not work.put_proof(visit.key, standing.customer_key, standing.token_key, until):
                raise Refused(Refusal.NOT_NOW, "the session has ended")
            return self._record(work, Event.OLD_CODE_GIVEN, actor, standing.contract_id, standing.token_id)

    def change_by_proof(self, contract_id: str, visit: Visit, token_id: str, code: str, actor: Actor) -> Receipt:
        """Journey 4, last step: the old token dies in the moment in which the new one lives."""
        token_id = normalise_token_id(token_id)
        with self._act(actor, customer=contract_id, token=token_id) as work:
            standing = self._standing(work, contract_id)
            self._may(standing, Move.CHANGE_DEVICE)
            if standing.token_key is None:
                raise Refused(Refusal.NOT_NOW, "the token is not bound any more")
            token, step, now = self._new_token(work, standing, token_id, code)
            if not work.take_proof(visit.key, standing.customer_key, standing.token_key, now):
                raise Refused(Refusal.NOT_NOW, "the old token's code was given too long ago, or not here")
            self._retire_old(work, standing)
            self._bind(work, standing, Move.CHANGE_DEVICE, token, step, now)
            self._end_sessions(work, standing, actor, but=visit.key)
            return self._record(
                work, Event.DEVICE_CHANGED, actor, standing.contract_id, token_id, was=standing.token_id
            )

    def check_permit(self, contract_id: str, permit: str, actor: Actor) -> None:
        """Journey 5, first step: whether this is the customer's permit. It is used up by ``change_by_permit`` alone; a
        wrong one counts like a wrong code. Raises Refused."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            self._may(standing, Move.CHANGE_BY_PERMIT)
            self._not_locked(standing)
            if not work.has_permit(standing.customer_key, self._permit_mark(standing, permit), self._now()):
                self._count(work, standing)
                raise Refused(Refusal.WRONG_PERMIT)

    def issue_for(self, contract_id: str, visit: Visit, issuer: str, actor: Actor) -> Issued:
        """A new token that nobody else can enrol, until this session ends. An earlier one of it is retired."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            self._retire_reserved(work, [visit.key], 0)
            issued = self._issue(work, actor, TokenSpec(), issuer)
            work.reserve(issued.token_id, standing.customer_key, visit.key, visit.expires_at)
            return issued

    def accept_terms(self, contract_id: str, version: str, actor: Actor) -> None:
        """The customer has read this version of the terms of use and accepts it."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            work.accept(standing.customer_key, version, self._now())
            who = {**self._who(actor), "reason": f"version {version}"}
            work.record(Event.TERMS_ACCEPTED, **who, customer=standing.contract_id)

    def has_accepted(self, standing: Standing, version: str) -> bool:
        with self._store.read() as connection:
            return Work(connection, self._store.ids).has_accepted(standing.customer_key, version)

    # What these share

    def _sealed(self, mark: bytes, data: Mapping[str, Any]) -> bytes:
        return self._store.sealer.seal_data(json.dumps(data).encode(), mark)
