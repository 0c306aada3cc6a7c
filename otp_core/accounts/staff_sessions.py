"""The sessions of the console: begun, found, confirmed, ended, expired. No cookies here.

Role and disablement are read with every look at a session, so they take effect at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otp_core.accounts.permissions import Act, least_role
from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.accounts.results import Refusal, Refused
from otp_core.accounts.sessions import Change
from otp_core.accounts.sign_on import NOT_FRESH, SignOnAnswer
from otp_core.accounts.staff import staff_principal
from otp_core.accounts.transactions import SWEPT_AT_ONCE, SYSTEM, Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.store import staff as statements
from otp_core.store.sessions import has_overdue_reservation
from otp_core.store.sign_on import sign_on_of, use_sign_on
from otp_core.store.staff import Passkey, StaffRecord, StaffSessionRow

MOST_OF_ONE = 5
"""Sessions at once of one member of staff. With one more, the oldest ends."""


@dataclass(frozen=True, slots=True)
class PasskeyAnswer:
    """A passkey's right answer: its count of signatures, and when the challenge was made (ms)."""

    passkey: Passkey
    sign_count: int
    challenge_at: int


Proof = PasskeyAnswer | SignOnAnswer | str
"""By what somebody signs in or confirms: an answer that is good once, or in words how else."""


def _words(by: Proof) -> str:
    """A proof, for the audit trail."""
    match by:
        case PasskeyAnswer():
            return "passkey"
        case SignOnAnswer():
            return f"single sign-on at {by.issuer}" + (f" as {by.role}" if by.role else "")
        case _:
            return by


@dataclass(frozen=True, slots=True)
class StaffSession:
    """A session of somebody who may sign in. Times are ms since the epoch. ``confirmed_at``: when passkey or code was
    given last. ``data``: what the pages put there. ``staff.role`` is the least of their own and of the one that the
    OpenID provider gives them."""

    key: int
    digest: bytes = field(repr=False)
    staff: StaffRecord
    source: str
    seen_at: int
    expires_at: int
    confirmed_at: int
    data: Mapping[str, Any] = field(repr=False)

    def principal(self, source: str, reason: str = "") -> Principal:
        """Who acts in this session."""
        return staff_principal(self.staff, source, reason)


@dataclass(frozen=True, slots=True)
class StaffSessionLimits:
    """How long sessions last in seconds: without use, and at most."""

    idle: int
    longest: int


class StaffSessionService:
    """The acts on the console's sessions."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @rerun_on_conflict
    def begin(
        self,
        id_: bytes,
        record: StaffRecord,
        source: str,
        limits: StaffSessionLimits,
        by: Proof,
    ) -> None:
        """Begin a session under an id that only the browser keeps. An answer is used up. Who has signed in at
        a provider earlier has confirmed nothing yet. Raises Refused if the answer was used before, or they were
        disabled or unlinked meanwhile."""
        store, now = self._transactions.store, self._transactions.now()
        principal = staff_principal(record, source, _words(by))
        digest = store.sealer.session_digest(id_)
        with self._transactions.act(Act.USE_CONSOLE, principal) as work:
            today = statements.staff_record(work.connection, record.name)
            if today is None or today.disabled_at is not None:
                raise Refused(Refusal.NOT_NOW, f"{record.name} is disabled")
            self._use_up(work.connection, record, by, now)
            keys = [one.key for one in statements.staff_sessions(work.connection, record.key)]
            statements.drop_staff_sessions(work.connection, keys[: 1 - MOST_OF_ONE])
            statements.add_staff_session(
                work.connection,
                store.ids.next(),
                digest,
                record.key,
                source=source,
                now=now,
                expires_at=now + limits.longest * 1000,
                data=self._sealed(digest, {}),
                confirmed_at=now if not isinstance(by, SignOnAnswer) or by.fresh else 0,
                most_role=by.role if isinstance(by, SignOnAnswer) else None,
            )
            work.audit(Event.STAFF_ENTERED, **principal.audit_fields)

    @rerun_on_conflict
    def confirm(self, session: StaffSession, source: str, by: Proof) -> None:
        """Passkey or code was given again in this session, or the OpenID provider has asked anew, whose role then only
        narrows what the session may do. Raises Refused as ``begin``."""
        now = self._transactions.now()
        principal = session.principal(source, _words(by))
        with self._transactions.act(Act.USE_CONSOLE, principal) as work:
            if isinstance(by, SignOnAnswer) and not by.fresh:
                raise Refused(Refusal.NOT_NOW, NOT_FRESH)
            self._use_up(work.connection, session.staff, by, now)
            if isinstance(by, SignOnAnswer) and by.role is not None:
                least = least_role(session.staff.role, by.role)
                statements.narrow_staff_session(work.connection, session.key, least)
            if not statements.confirm_staff_session(work.connection, session.key, now):
                raise Refused(Refusal.NOT_NOW, "the session has ended")
            work.audit(Event.STAFF_CONFIRMED, **principal.audit_fields)

    @staticmethod
    def _use_up(connection: Any, record: StaffRecord, by: Proof, now: int) -> None:
        """Raises Refused for an answer that was used before, or that is somebody else's."""
        match by:
            case PasskeyAnswer():
                if not statements.use_passkey(connection, by.passkey.key, by.sign_count, by.challenge_at, now):
                    raise Refused(Refusal.NOT_NOW, "this answer of the passkey was used before")
            case SignOnAnswer():
                linked = sign_on_of(connection, record.key)
                if linked is None or (linked.issuer, linked.subject) != (by.issuer, by.subject):
                    raise Refused(Refusal.NOT_NOW, "this identity is not linked to them")
                if not use_sign_on(connection, by.issuer, by.subject, by.asked_at, now):
                    raise Refused(Refusal.NOT_NOW, "this answer of the provider, or a later one, was used before")

    def find(self, id_: bytes, limits: StaffSessionLimits) -> StaffSession | None:
        """The session of an id; None: there is none, it has ended, or its owner is disabled."""
        store, now = self._transactions.store, self._transactions.now()
        digest = store.sealer.session_digest(id_)
        with store.read() as connection:
            row = statements.staff_session_of(connection, digest)
        if row is None or row.disabled_at is not None or now >= min(row.expires_at, row.seen_at + limits.idle * 1000):
            return None
        role = least_role(row.role, row.most_role)
        record = StaffRecord(row.staff_key, row.name, role, None, row.account, False, 0)
        data = json.loads(store.sealer.unseal_data(row.data, digest))
        return StaffSession(row.key, digest, record, row.source, row.seen_at, row.expires_at, row.confirmed_at, data)

    @rerun_on_conflict
    def update(self, session: StaffSession, change: Change) -> bool:
        """Change what the session remembers, and note that it is in use. False if it has ended, or ``change`` finds
        nothing to be done. No audit row, and no permission: holding the session is the permission."""
        store, now = self._transactions.store, self._transactions.now()
        with store.work_aside() as work:
            row = statements.staff_session_of(work.connection, session.digest)
            data = None if row is None else change(json.loads(store.sealer.unseal_data(row.data, session.digest)))
            if data is None:
                return False
            return statements.write_staff_session(work.connection, session.key, self._sealed(session.digest, data), now)

    def of(self, record: StaffRecord) -> Sequence[StaffSessionRow]:
        """Somebody's sessions, the oldest first."""
        with self._transactions.store.read() as connection:
            return statements.staff_sessions(connection, record.key)

    @rerun_on_conflict
    def end(self, record: StaffRecord, key: int, principal: Principal) -> bool:
        """End a session of ``record``: one's own, or as somebody who manages staff another's. False: there is no such
        one."""
        act = Act.USE_CONSOLE if principal.name == record.name else Act.MANAGE_STAFF
        with self._transactions.act(act, principal) as work:
            keys = [one.key for one in statements.staff_sessions(work.connection, record.key) if one.key == key]
            ended = statements.drop_staff_sessions(work.connection, keys)
            if ended:
                fields = {**principal.audit_fields, "reason": f"{record.name}'s"}
                work.audit(Event.STAFF_SESSION_ENDED, **fields)
            return bool(ended)

    @rerun_on_conflict
    def audit_failed_sign_in(self, name: str | None, reason: str, source: str) -> None:
        """Record that somebody was not let in. A name that is nobody's is kept as its fingerprint: a password may have
        been typed there. None: nobody said who they are."""
        principal = Principal("console", PrincipalKind.ANONYMOUS, source)
        with self._transactions.act(Act.RECORD_FAILED_SIGN_IN, principal) as work:
            kept = "" if name is None else f"{self._kept(work.connection, name)}: "
            work.audit(Event.STAFF_REFUSED, **{**principal.audit_fields, "reason": f"{kept}{reason}"})

    def _kept(self, connection: Any, name: str) -> str:
        known = statements.staff_record(connection, name) is not None
        return name if known else self._transactions.store.sealer.name_fingerprint(name)

    @rerun_on_conflict
    def expire(self, limits: StaffSessionLimits) -> int:
        """Delete some sessions that are over, and what late one-time links are known by; retire tokens that staff has
        made for customers and nobody enrolled in time; how many sessions. None before the clock has settled."""
        if not self._transactions.settled():
            return 0
        now = self._transactions.now()
        over = (now, now - limits.idle * 1000, SWEPT_AT_ONCE)
        with self._transactions.store.read() as connection:  # before the write lock is taken: mostly there is none
            keys = statements.ended_staff_sessions(connection, *over)
            overdue = has_overdue_reservation(connection, now)
            late_links = statements.has_late_links(connection, now)
        if not keys and not overdue and not late_links:
            return 0
        with self._transactions.act(Act.EXPIRE_SESSIONS, SYSTEM) as work:
            self._transactions.retire_reserved(work, [], now)
            statements.forget_late_links(work.connection, now)
            return statements.drop_staff_sessions(
                work.connection, statements.ended_staff_sessions(work.connection, *over)
            )

    def _sealed(self, digest: bytes, data: Mapping[str, Any]) -> bytes:
        return self._transactions.store.sealer.seal_data(json.dumps(data).encode(), digest)
