"""Who may log in at all: customers are added, imported, locked and unlocked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otp_core.accounts.results import Principal, Receipt, Refusal, Refused
from otp_core.accounts.transactions import Acts
from otp_core.audit import Event
from otp_core.login.evaluate import attributes_text
from otp_core.model import Language, LoginRecord, StoreUnavailable
from otp_core.otp import normalise_contract_id
from otp_core.store.unit_of_work import NewCustomer


class Register(Acts):
    """The acts on customers that touch no token's state of its own."""

    def add_customer(
        self,
        contract_id: str,
        principal: Principal,
        *,
        password_hash: str | None = None,
        name: str | None = None,
        email: str | None = None,
        language: Language | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> Receipt:
        """A new customer, who has not enrolled. ``password_hash`` None: no password is checked here."""
        contract_id = normalise_contract_id(contract_id)
        new = NewCustomer(contract_id, password_hash, name, email, language, attributes_text(attributes))
        with self._act(principal, customer=contract_id) as work:
            if work.login_record(contract_id) is not None:
                raise Refused(Refusal.CUSTOMER_EXISTS, contract_id)
            work.add_customers([new])
            return self._audit(work, Event.CUSTOMER_ADDED, principal, contract_id, None)

    def import_customers(
        self, new: Sequence[NewCustomer], token_ids: Sequence[str | None], principal: Principal
    ) -> None:
        """Checked rows of a file, with the tokens they bring along: all or none. Raises StoreUnavailable when a row
        was added or a token bound by somebody else since the file was checked."""
        keys = {one.token_key for one in new if one.token_key is not None}
        with self._store.work() as work:
            if keys and work.bind_tokens(keys, shared=not self._rules.one_customer_per_token) != len(keys):
                raise StoreUnavailable("a token of this file was bound by somebody else just now")
            work.add_customers(new)
            rows = []
            for one, token_id in zip(new, token_ids, strict=True):
                event = Event.CUSTOMER_ADDED if token_id is None else Event.ENROLLED
                rows.append(work.audit_row(event, **self._who(principal), customer=one.contract_id, token=token_id))
            work.audit_all(rows)

    def lock(self, contract_id: str, principal: Principal) -> Receipt:
        """Staff: refuse this customer's logins until they are unlocked, and end the sessions on their own pages."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            if record.locked_at is not None:
                raise Refused(Refusal.NOT_NOW, "the customer is locked already")
            work.set_failures(record.customer_key, record.failures, self._now(), self._now())
            self._end_sessions(work, record, principal)
            return self._audit(work, Event.CUSTOMER_LOCKED, principal, record.contract_id, record.token_id)

    def unlock(self, contract_id: str, principal: Principal) -> Receipt:
        """Staff: end a lock, and forgive the wrong codes that led to it."""
        with self._act(principal, customer=contract_id) as work:
            record = self._login_record(work, contract_id)
            if record.locked_at is None:
                raise Refused(Refusal.NOT_NOW, "the customer is not locked")
            work.set_failures(record.customer_key, 0, 0, None)
            return self._audit(work, Event.CUSTOMER_UNLOCKED, principal, record.contract_id, record.token_id)

    def renew_password_hash(self, record: LoginRecord, before: str, after: str) -> None:
        """The same password, hashed as we hash today. Does nothing if it was changed meanwhile."""
        with self._store.work() as work:
            if work.set_password_hash(record.customer_key, before, after):
                work.audit(Event.PASSWORD_REHASHED, actor="sekisho", customer=record.contract_id)
