"""Single sign-on of staff: an identity at an OpenID provider, (issuer, subject), linked to one member of staff.

A link is made by the person alone, in a session that a passkey or a code has begun, never by what a provider says:
nobody becomes staff, and no name or e-mail address of a provider finds anybody. What was answered is used once.
"""

from __future__ import annotations

from dataclasses import dataclass

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import Conflict, Role
from otp_core.store import sign_on as statements
from otp_core.store import staff as staff_statements
from otp_core.store.sign_on import SignOn
from otp_core.store.staff import StaffRecord
from otp_core.store.unit_of_work import Work

NOT_FRESH = "the person has not signed in at the provider for this request"


@dataclass(frozen=True, slots=True)
class SignOnAnswer:
    """A verified answer of an OpenID provider. ``asked_at``: when it was asked (ms); ``called``: for people to read;
    ``role``: the most that it lets them do, None if the settings do not ask it for roles; ``fresh``: they have signed
    in there for this request."""

    issuer: str
    subject: str
    asked_at: int
    fresh: bool
    called: str = ""
    role: Role | None = None


def refuse_if_narrowed(work: Work, record: StaffRecord) -> None:
    """A session that may do less than its owner adds no further way to sign in: by that they could do more again.
    ``record``: as the session has it. Raises Refused."""
    today = staff_statements.staff_record(work.connection, record.name)
    if today is not None and today.role != record.role:
        raise Refused(Refusal.NOT_PERMITTED, f"the provider lets this session act as {record.role} only")


class SignOnService:
    """The acts on links. Every act may raise Refused."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def of(self, record: StaffRecord) -> SignOn | None:
        """The identity that is linked to a member of staff; None if none is."""
        with self._transactions.store.read() as connection:
            return statements.sign_on_of(connection, record.key)

    def staff_of(self, answer: SignOnAnswer) -> StaffRecord | None:
        """Whose identity this is; None: nobody's, or they are disabled."""
        with self._transactions.store.read() as connection:
            name = statements.name_of_identity(connection, answer.issuer, answer.subject)
            record = None if name is None else staff_statements.staff_record(connection, name)
        return None if record is None or record.disabled_at is not None else record

    @rerun_on_conflict
    def link(self, record: StaffRecord, answer: SignOnAnswer, principal: Principal) -> Receipt:
        """Link an identity to the member of staff who acts. It takes the place of the one that they had."""
        now = self._transactions.now()
        with self._transactions.act(Act.USE_CONSOLE, principal) as work:
            if principal.name != record.name:
                raise Refused(Refusal.NOT_PERMITTED, "everybody links their own single sign-on")
            if not answer.fresh:
                raise Refused(Refusal.NOT_NOW, NOT_FRESH)
            refuse_if_narrowed(work, record)
            owner = statements.name_of_identity(work.connection, answer.issuer, answer.subject)
            if owner is not None:
                raise Refused(Refusal.NOT_NOW, f"this identity of {answer.issuer} is linked to {owner}")
            statements.drop_sign_on(work.connection, record.key)
            new = SignOn(record.key, answer.issuer, answer.subject, answer.called, now, now, answer.asked_at)
            try:
                statements.add_sign_on(work.connection, new)
            except Conflict:
                raise Refused(Refusal.NOT_NOW, f"this identity of {answer.issuer} is linked already") from None
            detail = f"{answer.subject} at {answer.issuer}"
            return self._transactions.record_named(work, Event.STAFF_SIGN_ON_LINKED, principal, record.name, detail)

    @rerun_on_conflict
    def unlink(self, name: str, principal: Principal) -> Receipt:
        """Unlink somebody's identity: one's own, or as somebody who manages staff another's, whose sessions then end
        too."""
        own = principal.name == name
        with self._transactions.act(Act.USE_CONSOLE if own else Act.MANAGE_STAFF, principal) as work:
            record = staff_statements.staff_record(work.connection, name)
            if record is None or not statements.drop_sign_on(work.connection, record.key):
                raise Refused(Refusal.NOT_NOW, f"{name} has no single sign-on that is linked")
            if not own:
                keys = [one.key for one in staff_statements.staff_sessions(work.connection, record.key)]
                staff_statements.drop_staff_sessions(work.connection, keys)
            return self._transactions.record_named(work, Event.STAFF_SIGN_ON_UNLINKED, principal, name)
