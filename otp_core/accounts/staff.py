"""The console's staff: added, given a role, disabled, reset; their one-time links and passkeys. What they may do:
permissions.py.

A member of staff signs in with a passkey, or with password and code of an account of the same store, whose rules then
are those of every login. Nobody has a default password: the first passkey comes by a one-time link.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.sign_on import refuse_if_narrowed
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import Conflict, Role
from otp_core.store import sign_on as sign_on_statements
from otp_core.store import staff as statements
from otp_core.store.approvals import withdraw_of_staff
from otp_core.store.staff import Passkey, StaffRecord
from otp_core.store.unit_of_work import Work

LINK_SECONDS = 3600
"""How long a one-time link is good."""

MOST_PASSKEYS = 10
"""Passkeys of one member of staff."""

_LINK_BYTES = 32
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_RESERVED = frozenset({"root", "sekisho", "web", "console", "radius", "pam"})
"""Actors of the audit trail that are no staff."""


@dataclass(frozen=True, slots=True)
class StaffLink:
    """A one-time link, in clear for the one time that it is shown. ``secret``: its last part, in URL-safe base64.
    ``expires_at``: ms since the epoch."""

    name: str
    secret: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """What an authenticator has registered: credential ID, COSE public key, and its count of signatures."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


def staff_principal(record: StaffRecord, source: str, reason: str = "") -> Principal:
    """A member of staff as the one who acts. ``source``: the browser's address."""
    return Principal(record.name, PrincipalKind.STAFF, source, reason, role=record.role)


class StaffService:
    """The acts on staff. Every act may raise Refused."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @rerun_on_conflict
    def add(self, name: str, role: Role, principal: Principal, *, account: str | None = None) -> StaffLink:
        """Add a member of staff; the link that lets them add their first passkey. ``account``: the contract ID whose
        password and code sign them in too."""
        with self._transactions.act(Act.MANAGE_STAFF, principal) as work:
            customer_key = check_new(work, name, account)
            key = self._transactions.store.ids.next()
            statements.add_staff(work.connection, key, name, role, customer_key)
            signs_in = f", signs in as {account} too" if account else ""
            self._transactions.record_named(work, Event.STAFF_ADDED, principal, name, f"{role}{signs_in}")
            return self._new_link(work, key, name)

    @rerun_on_conflict
    def set_role(self, name: str, role: Role, principal: Principal) -> Receipt:
        """Give a member of staff another role, from their next click on. What they have asked a second person for, or
        approved, and what is not carried out yet is withdrawn: it was another role that did so."""
        with self._transactions.act(Act.MANAGE_STAFF, principal) as work:
            record = known(work, name)
            _check_of(principal, work, record, becomes=role)
            if record.role == role:
                raise Refused(Refusal.NOT_NOW, f"{name} is {role} already")
            statements.set_role(work.connection, record.key, role)
            gone = withdraw_of_staff(work.connection, record.key)
            detail = f"{record.role} to {role}" + (f", {gone} requests withdrawn" if gone else "")
            return self._transactions.record_named(work, Event.STAFF_ROLE_CHANGED, principal, name, detail)

    @rerun_on_conflict
    def disable(self, name: str, principal: Principal) -> Receipt:
        """Let this member of staff in no more, end their sessions, and withdraw what they have asked a second person
        for or approved and nobody has carried out yet."""
        with self._transactions.act(Act.MANAGE_STAFF, principal) as work:
            record = known(work, name)
            _check_of(principal, work, record)
            if record.disabled_at is not None:
                raise Refused(Refusal.NOT_NOW, f"{name} is disabled already")
            statements.set_disabled(work.connection, record.key, self._transactions.stamp())
            statements.put_link(work.connection, record.key, None, 0)
            ended = self._end_sessions(work, record)
            gone = withdraw_of_staff(work.connection, record.key)
            detail = f"{ended} sessions ended" + (f", {gone} requests withdrawn" if gone else "")
            return self._transactions.record_named(work, Event.STAFF_DISABLED, principal, name, detail)

    @rerun_on_conflict
    def reset(self, name: str, principal: Principal) -> StaffLink:
        """Begin anew with this member of staff, disabled or not: their passkeys, single sign-on and sessions are gone,
        what they have asked for or approved is withdrawn, a new link lets them in."""
        with self._transactions.act(Act.MANAGE_STAFF, principal) as work:
            record = known(work, name)
            _check_of(principal, work, record)
            dropped = statements.drop_passkeys(work.connection, record.key)
            unlinked = sign_on_statements.drop_sign_on(work.connection, record.key)
            ended = self._end_sessions(work, record)
            statements.set_disabled(work.connection, record.key, None)
            gone = withdraw_of_staff(work.connection, record.key)
            began_anew = f"{dropped} passkeys gone, {ended} sessions ended"
            began_anew += ", single sign-on unlinked" if unlinked else ""
            began_anew += f", {gone} requests withdrawn" if gone else ""
            self._transactions.record_named(work, Event.STAFF_RESET, principal, name, began_anew)
            return self._new_link(work, record.key, name)

    def named(self, name: str) -> StaffRecord | None:
        """A member of staff; None if there is none of this name."""
        with self._transactions.store.read() as connection:
            return statements.staff_record(connection, name)

    def of_link(self, secret: str) -> StaffRecord | None:
        """Whose link this is; None if it is nobody's, used or expired. It stays good."""
        digest = self._link_digest(secret)
        with self._transactions.store.read() as connection:
            return statements.staff_of_link(connection, digest, self._transactions.now())

    def passkeys(self, record: StaffRecord) -> Sequence[Passkey]:
        """Their passkeys, the oldest first."""
        with self._transactions.store.read() as connection:
            return statements.passkeys_of(connection, record.key)

    @rerun_on_conflict
    def use_link(self, secret: str, new: NewPasskey, source: str) -> StaffRecord:
        """Spend a one-time link for the first passkey. Raises Refused if it is nobody's, used or expired."""
        digest, now = self._link_digest(secret), self._transactions.now()
        with self._transactions.store.read() as connection:
            record = statements.staff_of_link(connection, digest, now)
        if record is None:
            raise Refused(Refusal.NOT_NOW, "the link is used or has expired")
        principal = staff_principal(record, source, "by the one-time link")
        with self._transactions.act(Act.USE_CONSOLE, principal) as work:
            if statements.staff_of_link(work.connection, digest, now) is None:
                raise Refused(Refusal.NOT_NOW, "the link is used or has expired")
            statements.put_link(work.connection, record.key, None, 0)
            self._add_passkey(work, record, new, now)
            self._transactions.record_named(work, Event.STAFF_PASSKEY_ADDED, principal, record.name)
        return record

    @rerun_on_conflict
    def add_passkey(self, record: StaffRecord, new: NewPasskey, source: str) -> Receipt:
        """One more passkey for somebody who has signed in. ``record``: as the session has it."""
        principal, now = staff_principal(record, source), self._transactions.now()
        with self._transactions.act(Act.USE_CONSOLE, principal) as work:
            refuse_if_narrowed(work, record)
            if len(statements.passkeys_of(work.connection, record.key)) >= MOST_PASSKEYS:
                raise Refused(Refusal.TOO_MANY, "passkeys")
            self._add_passkey(work, record, new, now)
            return self._transactions.record_named(work, Event.STAFF_PASSKEY_ADDED, principal, record.name)

    def link_digest(self, secret: str) -> bytes:
        """What binds a passkey's first challenge to the link."""
        return self._link_digest(secret)

    def _add_passkey(self, work: Work, record: StaffRecord, new: NewPasskey, now: int) -> None:
        key = self._transactions.store.ids.next()
        row = Passkey(key, record.key, new.credential_id, new.public_key, new.sign_count, 0, now)
        try:
            statements.add_passkey(work.connection, row)
        except Conflict:
            raise Refused(Refusal.NOT_NOW, "this passkey is known already") from None

    def _new_link(self, work: Work, key: int, name: str) -> StaffLink:
        secret = secrets.token_urlsafe(_LINK_BYTES)
        until = self._transactions.now() + LINK_SECONDS * 1000
        statements.put_link(work.connection, key, self._link_digest(secret), until)
        return StaffLink(name, secret, until)

    def _link_digest(self, secret: str) -> bytes:
        return self._transactions.store.sealer.session_digest(b"staff link " + secret.encode())

    @staticmethod
    def _end_sessions(work: Work, record: StaffRecord) -> int:
        keys = [one.key for one in statements.staff_sessions(work.connection, record.key)]
        return statements.drop_staff_sessions(work.connection, keys)


def known(work: Work, name: str) -> StaffRecord:
    """A member of staff. Raises Refused."""
    record = statements.staff_record(work.connection, name)
    if record is None:
        raise Refused(Refusal.NOT_NOW, f"there is no member of staff {name}")
    return record


def is_name(name: str) -> bool:
    """Whether somebody of staff can be called so."""
    return bool(_NAME.fullmatch(name)) and name not in _RESERVED


def check_new(work: Work, name: str, account: str | None) -> int | None:
    """The key of the account of somebody who can be added. Raises Refused for a name or an account that cannot be
    theirs."""
    if not is_name(name):
        raise Refused(
            Refusal.NOT_NOW,
            "a name of staff is one word of up to 32 small letters, digits, dots and hyphens, such as sato.yoko, "
            f"and none of {', '.join(sorted(_RESERVED))}",
        )
    if statements.staff_record(work.connection, name) is not None:
        raise Refused(Refusal.NOT_NOW, f"{name} is there already: `sekisho staff reset {name}` gives a new link")
    if account is None:
        return None
    record = Transactions.login_record(work, account)
    other = statements.staff_of_account(work.connection, record.contract_id)
    if other is not None:
        raise Refused(Refusal.NOT_NOW, f"{other.name} signs in as {record.contract_id}")
    return record.customer_key


def check_others(work: Work, record: StaffRecord, actor: str, *, becomes: Role | None = None) -> None:
    """Nobody of staff acts on themselves, and an administrator who can sign in is left. ``becomes``: the role
    afterwards, None for none. Raises Refused."""
    if record.name == actor:
        raise Refused(Refusal.NOT_PERMITTED, "nobody does this to themselves: another administrator has to")
    if record.role != Role.ADMINISTRATOR or record.disabled_at is not None or becomes is Role.ADMINISTRATOR:
        return
    if not statements.count_administrators(work.connection, but=record.key):
        raise Refused(Refusal.NOT_NOW, f"{record.name} is the last administrator who can sign in: add another first")


def _check_of(principal: Principal, work: Work, record: StaffRecord, *, becomes: Role | None = None) -> None:
    """Commands are exempt: whoever may run them lets anybody in again."""
    if principal.kind is PrincipalKind.STAFF:
        check_others(work, record, principal.name, becomes=becomes)
