"""Which tokens a customer has: bound, unbound, retired, named by an act. What the services of enrolment and of devices
share, inside a transaction that one of them has opened.
"""

from __future__ import annotations

from collections.abc import Sequence

from otp_core.accounts.codes import BroughtToken, Codes
from otp_core.accounts.lifecycle import Move, TokenMove, customer_after
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.transactions import Transactions
from otp_core.accounts.verification import Code
from otp_core.audit import Event
from otp_core.model import Conflict, LoginRecord, LoginToken, OtpUse, TokenState
from otp_core.otp import normalise_token_id
from otp_core.store.unit_of_work import TokenRecord, Work
from otp_core.store.verifier_tasks import Tell, drop_tasks_about, put_task
from otp_core.verifier import LOCAL_VERIFIER


class Bindings:
    """``most``: tokens that a customer may have."""

    def __init__(self, transactions: Transactions, codes: Codes, most: int) -> None:
        self._transactions, self._codes, self.most = transactions, codes, most

    def check_room(self, record: LoginRecord) -> None:
        """Raises Refused (NO_ROOM) for a customer who has as many tokens as they may."""
        if len(record.tokens) >= self.most:
            raise Refused(Refusal.NO_ROOM, f"{len(record.tokens)} of {self.most} (login.tokens_per_customer)")

    def bind(
        self,
        work: Work,
        record: LoginRecord,
        move: Move,
        brought: BroughtToken,
        principal: Principal,
        *,
        gone: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        """Make the token the customer's in the place of those that are gone, with its first code spent on every token
        that they have now. ``name``: what they call it, as it is kept. Raises Conflict."""
        token = brought.token
        if token.state == TokenState.AVAILABLE:
            self._transactions.move_token(work, token, TokenMove.BIND)
            work.drop_reservation(token.key)
        if token.verifier != LOCAL_VERIFIER:
            drop_tasks_about(work.connection, record.contract_id, token.token_id)  # it was told with the code
        beside = self._codes.spend_first_code(work, record, brought, gone)
        self.audit_spent(work, record, beside, principal)
        self.unbind(work, record, gone)
        if not any(own.key == token.key for own in record.tokens):
            work.bind(record.customer_key, token.key, brought.now, name)
        self._transactions.set_use(work, record, customer_after(OtpUse(record.otp_use), move))

    def changed(
        self,
        work: Work,
        record: LoginRecord,
        move: Move,
        brought: BroughtToken,
        principal: Principal,
        *,
        gone: Sequence[str],
        name: str | None = None,
        session: int | None = None,
    ) -> Receipt:
        """Bind the new token in the place of those that are gone, end the customer's sessions but this one, and record
        it. Raises as ``bind``."""
        self.bind(work, record, move, brought, principal, gone=gone, name=name)
        self._transactions.end_sessions(work, record, principal, but=session)
        return self._transactions.record(
            work, Event.DEVICE_CHANGED, principal, record.contract_id, brought.token.token_id, was=", ".join(gone)
        )

    def unbind(self, work: Work, record: LoginRecord, gone: Sequence[str]) -> None:
        """The customer has these tokens no more. Raises Conflict."""
        keys = [own.key for own in record.tokens if own.token_id in gone]
        if keys and not work.unbind(record.customer_key, keys):
            raise Conflict(f"{record.contract_id} was changed by somebody else just now: try again")

    def retire(self, work: Work, record: LoginRecord, gone: Sequence[str], principal: Principal) -> list[str]:
        """Retire tokens that the customer had, but those that another customer has too; which ones were. Raises
        Conflict."""
        retired = []
        for token_id in gone:
            old = work.token(token_id)
            if old is not None:
                self.tell(work, record, [old], Tell.REMOVE)
            if old is not None and old.state == TokenState.BOUND and work.holders(old.key) == 1:
                self._transactions.move_token(work, old, TokenMove.RETIRE)
                self._transactions.record(work, Event.TOKEN_RETIRED, principal, record.contract_id, old.token_id)
                retired.append(token_id)
        return retired

    def tell(self, work: Work, record: LoginRecord, tokens: Sequence[LoginToken | TokenRecord], what: Tell) -> None:
        """Have the verifiers of these tokens told, those that are elsewhere; behind this transaction, and again until
        they have answered."""
        for token in tokens:
            if token.verifier != LOCAL_VERIFIER:
                key = self._transactions.store.ids.next()
                put_task(work.connection, key, token.verifier, what, record.contract_id, token.token_id)

    def spend(self, work: Work, record: LoginRecord, code: Code, principal: Principal) -> str:
        """Check and spend a code of one of the customer's own tokens; the token that the act's row is to name. Raises
        Refused, VerificationNeeded or Conflict."""
        right = self._codes.spend(work, record, code)
        self.audit_spent(work, record, right.tokens, principal, but=right.token.token_id)
        return right.token.token_id

    def audit_spent(
        self,
        work: Work,
        record: LoginRecord,
        tokens: Sequence[LoginToken],
        principal: Principal,
        *,
        but: str | None = None,
    ) -> None:
        """A row for each token that lost a step, ``but`` the one that another row names."""
        for token in tokens:
            if token.token_id != but:
                self._transactions.record(work, Event.CODE_SPENT, principal, record.contract_id, token.token_id)


def own_token(record: LoginRecord, token_id: str | None) -> LoginToken:
    """The one of the customer's tokens that an act names; None: the only one that there is. Raises Refused."""
    if token_id is not None:
        token_id = normalise_token_id(token_id)
        for own in record.tokens:
            if own.token_id == token_id:
                return own
        raise Refused(Refusal.UNKNOWN_TOKEN, f"{token_id} is none of the customer's")
    if not record.tokens:
        raise Refused(Refusal.NOT_NOW, "the token is not bound any more")
    if len(record.tokens) > 1:
        raise Refused(Refusal.WHICH_TOKEN, ", ".join(sorted(own.token_id for own in record.tokens)))
    return record.tokens[0]


def is_bound(work: Work, token_id: str) -> bool:
    """Whether a token is bound to somebody, and neither lost nor retired."""
    token = work.token(token_id)
    return token is not None and token.state == TokenState.BOUND
