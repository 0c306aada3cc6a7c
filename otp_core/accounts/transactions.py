"""What every act of the desk shares: a permission, one transaction with its audit row, and another run on conflict."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection

from otp_core.accounts.lifecycle import Move, NotAllowed, TokenMove, customer_after, token_after
from otp_core.accounts.permissions import TABLE, Act, Table, is_allowed, least_role
from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.typed_names import refusal_to_keep
from otp_core.audit import NOTICED, Event, ms_of
from otp_core.model import Conflict, LoginRecord, OtpUse, StoreBusy, TokenState
from otp_core.otp import normalise_contract_id
from otp_core.store.staff import staff_record
from otp_core.store.store import Store
from otp_core.store.unit_of_work import TokenRecord, Work

MOST_RUNS = 5
"""How often an act is run before its Conflict reaches the caller."""

SWEPT_AT_ONCE = 200
"""Rows that one transaction of a sweep deletes at most."""

SYSTEM = Principal("sekisho", PrincipalKind.SYSTEM)
"""For what Sekisho does by itself."""

_SWEEPER = Principal("sekisho", PrincipalKind.SYSTEM, reason="never confirmed")

P = ParamSpec("P")
R = TypeVar("R")


def rerun_on_conflict(act: Callable[P, R]) -> Callable[P, R]:
    """Run an act again, as a whole, when somebody else was faster (Conflict, from a statement or from COMMIT); the last
    run's Conflict is raised. The act must be one transaction and change nothing outside it."""

    @functools.wraps(act)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(MOST_RUNS - 1):
            try:
                return act(*args, **kwargs)
            except Conflict:
                continue
        return act(*args, **kwargs)

    return run


def _as_of_now(work: Work, principal: Principal) -> Principal:
    """A member of staff with the least of the role that their session has and the one that they have now. Raises
    Refused for who is disabled, or is not there."""
    if principal.kind is not PrincipalKind.STAFF:
        return principal
    record = staff_record(work.connection, principal.name)
    if record is None or record.disabled_at is not None:
        raise Refused(Refusal.NOT_PERMITTED, f"{principal.name} is {'disabled' if record else 'no member of staff'}")
    return replace(principal, role=least_role(principal.role, record.role))


class Transactions:
    """The transactions of one desk. ``now`` gives milliseconds since the epoch and may raise ClockWrong;
    ``permissions``: who may do what. ``settled``: see ``Desk``. ``joined``: the open transaction that every act joins;
    None: each has its own."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], int],
        permissions: Table = TABLE,
        settled: Callable[[], bool] = lambda: True,
        joined: Work | None = None,
    ) -> None:
        self.store, self.now, self.settled, self._permissions = store, now, settled, permissions
        self._joined = joined

    def joining(self, work: Work) -> Transactions:
        """The same, for acts that all join this open transaction."""
        return Transactions(self.store, self.now, self._permissions, self.settled, work)

    def stamp(self) -> int:
        """The moment (ms) for what must be possible while the clock is not believed: the audit trail's own."""
        return ms_of(self.store.ids.next())

    @contextmanager
    def act(
        self,
        act: Act,
        principal: Principal,
        *,
        customer: str | None = None,
        token: str | None = None,
        record_refusal: bool = True,
    ) -> Iterator[Work]:
        """One transaction for one act. Raises Refused (NOT_PERMITTED) before anything of it is read. Of staff the role
        counts that they have now: whose role was taken away while they waited for the store does nothing with it.

        A refusal keeps what was counted and leaves an ``act.refused`` row that names the act; any other exception
        leaves nothing. So an act writes nothing but counts before its last check. ``record_refusal`` False: a refusal
        leaves nothing either, for acts that strangers can repeat as fast as they like. ``customer`` and ``token``: whom
        and what it concerns."""
        contract_id = None if customer is None else normalise_contract_id(customer)
        refused: Refused | None = None
        with self._work() as work:
            try:
                self.check_may(work, principal, act, contract_id)
            except Refused as error:
                refused = error
            else:
                try:
                    yield work
                except NotAllowed as error:
                    refused = Refused(Refusal.NOT_NOW, str(error))
                except Refused as error:
                    if not record_refusal:
                        raise
                    refused = error
            if refused is not None:
                of, its, why = refusal_to_keep(work, self.store.sealer, refused, contract_id, token)
                fields = {**principal.audit_fields, "reason": f"{act}: {why}"}
                refused.row = work.audit_row(Event.REFUSED, **fields, customer=of, token=its)
                work.audit_all([refused.row])
        if refused is not None:
            raise refused

    def check_may(self, work: Work, principal: Principal, act: Act, customer: str | None = None) -> None:
        """Raises Refused (NOT_PERMITTED) for a principal who may not do this to this customer, inside another act."""
        contract_id = None if customer is None else normalise_contract_id(customer)
        if is_allowed(principal, act, contract_id, self._permissions):
            principal = _as_of_now(work, principal)
        if not is_allowed(principal, act, contract_id, self._permissions):
            raise Refused(Refusal.NOT_PERMITTED, f"{principal.role or principal.kind} may not {act}")

    @contextmanager
    def _work(self) -> Iterator[Work]:
        """A transaction of its own, or the joined one. That cannot be run again by ``rerun_on_conflict``, because there
        is more in it: a Conflict is StoreBusy there, and whoever has opened it begins anew (store/retry.py)."""
        if self._joined is None:
            with self.store.work() as work:
                yield work
            return
        try:
            yield self._joined
        except Conflict as overtaken:
            raise StoreBusy(str(overtaken)) from overtaken

    def record(
        self,
        work: Work,
        event: Event,
        principal: Principal,
        customer: str | None,
        token: str | None,
        was: str | None = None,
    ) -> Receipt:
        """Write the audit row of an act, and the notice to the customer if this event is one that is told. ``was``: the
        token ID, or the contract ID, of before, for the end of the row's reason (``acts.RENAMED``)."""
        fields = principal.audit_fields
        if was:
            fields["reason"] = f"{principal.reason}; was {was}" if principal.reason else f"was {was}"
        row = work.audit_row(event, **fields, customer=customer, token=token)
        work.audit_all([row])
        if event in NOTICED:
            work.notify(row)
        return Receipt(row.id, customer, token)

    @staticmethod
    def record_named(work: Work, event: Event, principal: Principal, name: str, detail: str = "") -> Receipt:
        """Write the audit row of an act on somebody or something that is neither a customer nor a token. Its reason
        begins with the name: store/acts.py reads it there."""
        words = ", ".join(part for part in (detail, principal.reason) if part)
        fields = {**principal.audit_fields, "reason": f"{name}: {words}" if words else name}
        row = work.audit_row(event, **fields)
        work.audit_all([row])
        return Receipt(row.id, None, None)

    @staticmethod
    def login_record(work: Work, contract_id: str) -> LoginRecord:
        """A customer as of now. Raises Refused (UNKNOWN_CUSTOMER)."""
        record = work.login_record(normalise_contract_id(contract_id))
        if record is None:
            raise Refused(Refusal.UNKNOWN_CUSTOMER, contract_id)
        return record

    @classmethod
    def allowed(cls, work: Work, contract_id: str, move: Move) -> LoginRecord:
        """A customer for whom the lifecycle allows this move. Raises Refused or NotAllowed."""
        record = cls.login_record(work, contract_id)
        customer_after(OtpUse(record.otp_use), move)
        return record

    @staticmethod
    def set_use(work: Work, record: LoginRecord, after: OtpUse) -> None:
        """Move a customer to another use of OTP. Raises Conflict."""
        if not work.set_otp_use(record, after):
            raise Conflict(f"{record.contract_id} was changed by somebody else just now: try again")

    @staticmethod
    def set_failures(work: Work, record: LoginRecord, failures: int, at: int, locked_at: int | None) -> None:
        """Set a customer's count of wrong codes and their lock, in the store and in ``record``. Raises Conflict."""
        if not work.set_failures(record, failures, at, locked_at):
            raise Conflict(f"{record.contract_id} was changed by somebody else just now: try again")
        record.failures, record.failed_at, record.locked_at = failures, at, locked_at

    @staticmethod
    def move_token(work: Work, token: TokenRecord, move: TokenMove) -> None:
        """Move a token as lifecycle.py allows. Raises NotAllowed or Conflict."""
        before = TokenState(token.state)
        if not work.set_token_state(token.key, before, token_after(before, move)):
            raise Conflict(f"token {token.token_id} was changed by somebody else just now: try again")

    def end_sessions(self, work: Work, record: LoginRecord, principal: Principal, *, but: int | None = None) -> int:
        """End the customer's sessions, ``but`` the one with this key; how many ended. Tokens that were issued in them
        and not confirmed are retired."""
        keys = [key for key in work.sessions_of(record.customer_key) if key != but]
        self.retire_reserved(work, keys, 0)
        ended = work.drop_sessions(keys)
        if ended:
            self.record(work, Event.SESSION_ENDED, principal, record.contract_id, None)
        return ended

    def forget_late(
        self, has_late: Callable[[Connection, int], bool], forget: Callable[[Connection, int, int], int]
    ) -> bool:
        """Delete some rows that are long over, if there are any, which is looked at first without the write lock;
        whether some were. None before the clock has settled. Raises StoreUnavailable, ClockWrong."""
        if not self.settled():
            return False
        now = self.now()
        with self.store.read() as connection:
            if not has_late(connection, now):
                return False
        with self.store.work_aside() as work:
            return forget(work.connection, now, SWEPT_AT_ONCE) > 0

    def retire_reserved(self, work: Work, session_keys: Sequence[int], before: int) -> None:
        """Retire the tokens that were issued in these sessions, or whose reservation ran out before ``before`` (ms),
        and that were not enrolled. Enrolling ends a reservation, so a token in use is never found here."""
        for token_id in work.take_reserved(session_keys, before, SWEPT_AT_ONCE):
            token = work.token(token_id)
            if token is not None and token.state == TokenState.AVAILABLE:
                self.move_token(work, token, TokenMove.RETIRE)
                self.record(work, Event.TOKEN_RETIRED, _SWEEPER, None, token_id)
