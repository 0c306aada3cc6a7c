"""What every act at the desk shares: one transaction with its audit row, whether it succeeds or is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from otp_core.accounts.lifecycle import NotAllowed, TokenMove, token_after
from otp_core.accounts.results import Principal, Receipt, Refusal, Refused
from otp_core.audit import NOTICED, Event
from otp_core.login.evaluate import Evaluator
from otp_core.model import LoginRecord, StoreUnavailable, TokenState
from otp_core.otp import normalise_contract_id
from otp_core.store.store import Store
from otp_core.store.unit_of_work import TokenRecord, Work

SWEPT_AT_ONCE = 200
"""Rows that one transaction tidies up at most."""

_SWEEPER = Principal("sekisho", reason="never confirmed")


class Acts:
    """The desk's transactions. ``now`` gives milliseconds and may refuse (GuardedClock), ``draw`` a number below n."""

    def __init__(
        self, store: Store, evaluator: Evaluator, now: Callable[[], int], draw: Callable[[int], int] = secrets.randbelow
    ) -> None:
        self._store, self._evaluator, self._rules, self._now, self._draw = store, evaluator, evaluator.rules, now, draw

    @contextmanager
    def _act(self, principal: Principal, *, customer: str | None = None, token: str | None = None) -> Iterator[Work]:
        """One transaction. A refusal keeps what was counted and leaves its own row; any other exception, nothing.

        So nothing but counting may be written before the last check of an act."""
        refused: Refused | None = None
        with self._store.work() as work:
            try:
                yield work
            except NotAllowed as error:
                refused = Refused(Refusal.NOT_NOW, str(error))
            except Refused as error:
                refused = error
            if refused is not None:
                who = {**self._who(principal), "reason": str(refused)}
                contract_id = None if customer is None else normalise_contract_id(customer)
                work.audit(Event.REFUSED, **who, customer=contract_id, token=token)
        if refused is not None:
            raise refused

    @staticmethod
    def _who(principal: Principal) -> dict[str, str]:
        return {"actor": principal.name, "source": principal.source, "reason": principal.reason}

    def _audit(
        self,
        work: Work,
        event: Event,
        principal: Principal,
        customer: str | None,
        token: str | None,
        was: str | None = None,
    ) -> Receipt:
        who = self._who(principal)
        if was:
            who["reason"] = f"{principal.reason}; was {was}" if principal.reason else f"was {was}"
        row = work.audit_row(event, **who, customer=customer, token=token)
        work.audit_all([row])
        if event in NOTICED:
            work.notify(row)
        return Receipt(row.id, customer, token)

    @staticmethod
    def _login_record(work: Work, contract_id: str) -> LoginRecord:
        record = work.login_record(normalise_contract_id(contract_id))
        if record is None:
            raise Refused(Refusal.UNKNOWN_CUSTOMER, contract_id)
        return record

    @staticmethod
    def _move_token(work: Work, token: TokenRecord, move: TokenMove) -> None:
        before = TokenState(token.state)
        if not work.set_token_state(token.key, before, token_after(before, move)):
            raise StoreUnavailable(f"token {token.token_id} was changed by somebody else just now: try again")

    def _end_sessions(self, work: Work, record: LoginRecord, principal: Principal, *, but: int | None = None) -> int:
        """The customer's sessions on their own pages are over at once, ``but`` this one; how many. Tokens that were
        issued in them and not confirmed are retired."""
        keys = [key for key in work.sessions_of(record.customer_key) if key != but]
        self._retire_reserved(work, keys, 0)
        ended = work.drop_sessions(keys)
        if ended:
            self._audit(work, Event.SESSION_ENDED, principal, record.contract_id, None)
        return ended

    def _retire_reserved(self, work: Work, session_keys: list[int], before: int) -> None:
        """One that was enrolled is reserved no more, so only those that were not are found here."""
        for token_id in work.take_reserved(session_keys, before, SWEPT_AT_ONCE):
            token = work.token(token_id)
            if token is not None and token.state == TokenState.AVAILABLE:
                self._move_token(work, token, TokenMove.RETIRE)
                self._audit(work, Event.TOKEN_RETIRED, _SWEEPER, None, token_id)
