"""The tokens of an active customer: added, changed, removed, named. A code of one that they have lets a new one in.

On the pages this has two steps: the first spends the code and leaves a proof in the session, the last brings the new
token and uses the proof up. Until then nothing has changed.
"""

from __future__ import annotations

from otp_core.accounts.bindings import Bindings, own_token
from otp_core.accounts.codes import BroughtToken, Codes
from otp_core.accounts.lifecycle import Move
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.sessions import Session
from otp_core.accounts.token_names import token_name
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.accounts.verification import Code
from otp_core.audit import Event
from otp_core.model import Conflict, LoginRecord, TokenState
from otp_core.otp import normalise_token_id
from otp_core.store.bindings import HeldToken, held_tokens
from otp_core.store.unit_of_work import Work


class DeviceService:
    """The acts on the tokens that a customer has. Each may raise Refused (a wrong code is counted then), and with a
    code of a token that is verified elsewhere VerificationNeeded (see verification.py).

    ``name``: what the customer calls the new token, as it was typed; Refused (BAD_NAME) for one that is none."""

    def __init__(self, transactions: Transactions, codes: Codes, bindings: Bindings) -> None:
        self._transactions, self._codes, self._bindings = transactions, codes, bindings

    @property
    def most(self) -> int:
        """How many tokens a customer may have (login.tokens_per_customer)."""
        return self._bindings.most

    def of(self, contract_id: str) -> list[HeldToken]:
        """The customer's tokens that are neither lost nor retired, the one that was bound first before the others.
        Raises StoreUnavailable."""
        with self._transactions.store.read() as connection:
            held = held_tokens(connection, [contract_id]).get(contract_id, [])
        return [one for one in held if one.state == TokenState.BOUND]

    # One more

    @rerun_on_conflict
    def add(
        self,
        contract_id: str,
        own_code: Code,
        token_id: str,
        code: Code,
        principal: Principal,
        *,
        name: str | None = None,
    ) -> Receipt:
        """Bind one more token while there is room, by a code of one that the customer has and by its own."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.ADD_TOKEN, principal, customer=contract_id, token=token_id) as work:
            kept, record = token_name(name), self._with_room(work, contract_id, token_id)
            right = self._codes.check(work, record, own_code)
            brought = self._codes.check_new_token(work, record, token_id, code)
            self._codes.spend_checked(work, record, right)
            self._bindings.audit_spent(work, record, right.tokens, principal)
            return self._added(work, record, brought, principal, kept, session=None)

    @rerun_on_conflict
    def add_by_proof(
        self,
        contract_id: str,
        session: Session,
        token_id: str,
        code: Code,
        principal: Principal,
        *,
        name: str | None = None,
    ) -> Receipt:
        """The last step on the pages: as ``add``, with the proof that ``give_old_code`` left. It is used up only by
        success."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.ADD_BY_PROOF, principal, customer=contract_id, token=token_id) as work:
            kept, record = token_name(name), self._with_room(work, contract_id, token_id)
            brought = self._codes.check_new_token(work, record, token_id, code)
            self._take_proof(work, record, session, brought.now)
            return self._added(work, record, brought, principal, kept, session=session.key)

    def _with_room(self, work: Work, contract_id: str, token_id: str) -> LoginRecord:
        record = self._transactions.allowed(work, contract_id, Move.ADD_TOKEN)
        if any(own.token_id == token_id for own in record.tokens):
            raise Refused(Refusal.HELD_ALREADY, token_id)
        self._bindings.check_room(record)
        return record

    def _added(
        self,
        work: Work,
        record: LoginRecord,
        brought: BroughtToken,
        principal: Principal,
        name: str | None,
        *,
        session: int | None,
    ) -> Receipt:
        self._bindings.bind(work, record, Move.ADD_TOKEN, brought, principal, name=name)
        self._transactions.end_sessions(work, record, principal, but=session)
        return self._transactions.record(work, Event.TOKEN_ADDED, principal, record.contract_id, brought.token.token_id)

    # One in the place of another

    @rerun_on_conflict
    def change(
        self,
        contract_id: str,
        old_code: Code,
        token_id: str,
        code: Code,
        principal: Principal,
        *,
        goes: str | None = None,
        name: str | None = None,
    ) -> Receipt:
        """A code of any of the customer's tokens lets the new token in, by its own code. In one transaction the token
        that goes is retired and the new one bound; if anything is wrong, it goes on working. ``goes``: which one, None:
        the only one."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.CHANGE_DEVICE, principal, customer=contract_id, token=token_id) as work:
            kept, record = token_name(name), self._transactions.allowed(work, contract_id, Move.CHANGE_DEVICE)
            gone = own_token(record, goes).token_id
            right = self._codes.check(work, record, old_code)
            brought = self._codes.check_new_token(work, record, token_id, code)
            self._codes.spend_checked(work, record, right)
            retired = self._bindings.retire(work, record, [gone], principal)
            # A token that goes on for somebody else has a row of its own for the code that it lost.
            spent = [token for token in right.tokens if token.token_id not in retired]
            self._bindings.audit_spent(work, record, spent, principal)
            return self._bindings.changed(work, record, Move.CHANGE_DEVICE, brought, principal, gone=[gone], name=kept)

    @rerun_on_conflict
    def give_old_code(
        self, contract_id: str, code: Code, session: Session, seconds: int, principal: Principal
    ) -> Receipt:
        """The first step on the pages: spend a code of a token that the customer has, and let this session bring a new
        token for so many seconds. Nothing else changes."""
        with self._transactions.act(Act.GIVE_OLD_CODE, principal, customer=contract_id) as work:
            record = self._transactions.allowed(work, contract_id, Move.CHANGE_DEVICE)
            right = self._codes.spend(work, record, code)
            by, until = right.token, self._transactions.now() + seconds * 1000
            if not work.put_proof(session.key, record.customer_key, by.key, until):
                raise Refused(Refusal.NOT_NOW, "the session has ended")
            self._bindings.audit_spent(work, record, right.tokens, principal, but=by.token_id)
            return self._transactions.record(work, Event.OLD_CODE_GIVEN, principal, record.contract_id, by.token_id)

    @rerun_on_conflict
    def change_by_proof(
        self,
        contract_id: str,
        session: Session,
        token_id: str,
        code: Code,
        principal: Principal,
        *,
        goes: str | None = None,
        name: str | None = None,
    ) -> Receipt:
        """The last step on the pages: as ``change``, with the proof that ``give_old_code`` left. It is used up only by
        success."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.CHANGE_BY_PROOF, principal, customer=contract_id, token=token_id) as work:
            kept, record = token_name(name), self._transactions.allowed(work, contract_id, Move.CHANGE_DEVICE)
            gone = own_token(record, goes).token_id
            brought = self._codes.check_new_token(work, record, token_id, code)
            self._take_proof(work, record, session, brought.now)
            self._bindings.retire(work, record, [gone], principal)
            return self._bindings.changed(
                work,
                record,
                Move.CHANGE_DEVICE,
                brought,
                principal,
                gone=[gone],
                name=kept,
                session=session.key,
            )

    @staticmethod
    def _take_proof(work: Work, record: LoginRecord, session: Session, now: int) -> None:
        if not work.take_proof(session.key, record.customer_key, [own.key for own in record.tokens], now):
            raise Refused(Refusal.NOT_NOW, "the old token's code was given too long ago, or not here")

    # One less, and names

    @rerun_on_conflict
    def remove(
        self,
        contract_id: str,
        code: Code | None,
        token_id: str,
        principal: Principal,
        *,
        session: int | None = None,
    ) -> Receipt:
        """Retire one of several tokens, against a code of any of them. ``code`` None: without one, for staff.
        ``session``: the key of the session in which this is done, if any; the customer's others end."""
        token_id = normalise_token_id(token_id)
        act = Act.REMOVE_TOKEN_WITHOUT_CODE if code is None else Act.REMOVE_TOKEN
        with self._transactions.act(act, principal, customer=contract_id, token=token_id) as work:
            record = self._transactions.allowed(work, contract_id, Move.REMOVE_TOKEN)
            gone = own_token(record, token_id).token_id
            if len(record.tokens) == 1:
                raise Refused(Refusal.NOT_NOW, "it is the only token: change the device, suspend, or report it lost")
            if code is not None:
                right = self._codes.spend(work, record, code)
                self._bindings.audit_spent(work, record, right.tokens, principal, but=gone)
            self._bindings.retire(work, record, [gone], principal)
            self._bindings.unbind(work, record, [gone])
            self._transactions.end_sessions(work, record, principal, but=session)
            return self._transactions.record(work, Event.TOKEN_REMOVED, principal, record.contract_id, gone)

    @rerun_on_conflict
    def rename(self, contract_id: str, token_id: str, name: str | None, principal: Principal) -> Receipt:
        """What the customer calls one of their tokens from now on; None or empty: nothing. Raises Refused (BAD_NAME)
        also."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.NAME_TOKEN, principal, customer=contract_id, token=token_id) as work:
            record = self._transactions.login_record(work, contract_id)
            own, kept = own_token(record, token_id), token_name(name)
            if not work.name_token(record.customer_key, own.key, kept):
                raise Conflict(f"{record.contract_id} was changed by somebody else just now: try again")
            return self._transactions.record(work, Event.TOKEN_NAMED, principal, record.contract_id, own.token_id)
