"""Customers: added, imported, edited, locked, unlocked; and what the pages ask about one. No token's state changes
here, but for the tokens that an import brings along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from otp_core.accounts.codes import Codes
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.transactions import SYSTEM, Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import Language, LoginRecord, StoreUnavailable, attributes_text
from otp_core.otp import normalise_contract_id
from otp_core.store.queries import customer_line
from otp_core.store.unit_of_work import Details, NewCustomer, Work


class CustomerService:
    """The acts on customers. ``one_customer_per_token``: no import may bind a token that is bound."""

    def __init__(self, transactions: Transactions, codes: Codes, *, one_customer_per_token: bool) -> None:
        self._transactions, self._codes = transactions, codes
        self._one_customer_per_token = one_customer_per_token

    def login_record(self, contract_id: str) -> LoginRecord:
        """A customer as of now. Raises Refused (UNKNOWN_CUSTOMER)."""
        store = self._transactions.store
        with store.read() as connection:
            return self._transactions.login_record(Work(connection, store.ids), contract_id)

    def seconds_to_wait(self, record: LoginRecord) -> float:
        """What is left of the delay after this customer's wrong codes. Raises ClockWrong."""
        return self._codes.seconds_to_wait(record)

    @rerun_on_conflict
    def add(
        self,
        contract_id: str,
        principal: Principal,
        *,
        password_hash: str | None = None,
        name: str | None = None,
        email: str | None = None,
        language: Language | None = None,
        attributes: Mapping[str, object] | None = None,
        reading: str | None = None,
    ) -> Receipt:
        """Add a customer, who has not enrolled. ``password_hash`` None: no password is checked here. ``attributes``:
        reply attributes; ``reading``: of the name. Raises Refused (CUSTOMER_EXISTS)."""
        contract_id = normalise_contract_id(contract_id)
        new = NewCustomer(
            contract_id, password_hash, name, email, language, attributes_text(attributes), reading=reading
        )
        with self._transactions.act(Act.ADD_CUSTOMER, principal, customer=contract_id) as work:
            if work.login_record(contract_id) is not None:
                raise Refused(Refusal.CUSTOMER_EXISTS, contract_id)
            work.add_customers([new])
            return self._transactions.record(work, Event.CUSTOMER_ADDED, principal, contract_id, None)

    @rerun_on_conflict
    def import_rows(self, new: Sequence[NewCustomer], token_ids: Sequence[str | None], principal: Principal) -> None:
        """Add the customers of checked rows of a file, with the tokens they bring along (``token_ids``: the first of
        each, in the same order): all or none. Raises StoreUnavailable when a row was added or a token bound by somebody
        else since the file was checked. What they are found by is written later: ``store.fill_search_terms``."""
        keys = {key for one in new for key in one.token_keys}
        with self._transactions.act(Act.IMPORT_CUSTOMERS, principal) as work:
            if keys and work.bind_tokens(keys, shared=not self._one_customer_per_token) != len(keys):
                raise StoreUnavailable("a token of this file was bound by somebody else just now")
            work.add_customers(new, terms_later=True)
            rows = []
            for one, token_id in zip(new, token_ids, strict=True):
                event = Event.CUSTOMER_ADDED if token_id is None else Event.ENROLLED
                fields = {**principal.audit_fields, "customer": one.contract_id}
                rows.append(work.audit_row(event, **fields, token=token_id))
                rows += [work.audit_row(Event.ENROLLED, **fields, token=more) for _, more in one.more_tokens]
            work.audit_all(rows)

    def details(self, contract_id: str) -> Details:
        """What ``edit`` can change, as of now. Raises Refused (UNKNOWN_CUSTOMER)."""
        store = self._transactions.store
        with store.read() as connection:
            work = Work(connection, store.ids)
            return work.details(self._transactions.login_record(work, contract_id).customer_key)

    @rerun_on_conflict
    def edit(self, contract_id: str, before: Details, after: Details, principal: Principal) -> Receipt:
        """Change what is known of a customer from ``before``, which somebody has looked at, to ``after``. The audit row
        names the fields that changed, and not what is in them. Raises Refused (NOT_NOW) where it is not ``before`` any
        more, or nothing would change."""
        with self._transactions.act(Act.EDIT_CUSTOMER, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            if work.details(record.customer_key) != before:
                raise Refused(Refusal.NOT_NOW, "it was changed by somebody else just now: look again")
            changed = [name for name, old, new in zip(Details._fields, before, after, strict=True) if old != new]
            if not changed:
                raise Refused(Refusal.NOT_NOW, "nothing would be changed")
            work.set_details(record, before, after)
            why = "; ".join(filter(None, (", ".join(changed), principal.reason)))
            return self._transactions.record(
                work, Event.CUSTOMER_EDITED, replace(principal, reason=why), record.contract_id, None
            )

    @rerun_on_conflict
    def lock(self, contract_id: str, principal: Principal) -> Receipt:
        """Refuse this customer's logins until they are unlocked, and end their sessions."""
        with self._transactions.act(Act.LOCK, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            if record.locked_at is not None:
                raise Refused(Refusal.NOT_NOW, "the customer is locked already")
            now = self._transactions.stamp()
            self._transactions.set_failures(work, record, record.failures, now, now)
            self._transactions.end_sessions(work, record, principal)
            return self._transactions.record(
                work, Event.CUSTOMER_LOCKED, principal, record.contract_id, record.token_id
            )

    @rerun_on_conflict
    def unlock(self, contract_id: str, principal: Principal) -> Receipt:
        """End a lock, and forgive the wrong codes that led to it; also those that only delay the next code. A last step
        in the future is taken back. Raises Refused (NOT_NOW) where there is nothing of this."""
        with self._transactions.act(Act.UNLOCK, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            repaired = self._codes.forget_future(work, record, principal)
            if record.locked_at is None and not record.failures and not repaired:
                raise Refused(Refusal.NOT_NOW, "the customer is not locked")
            self._transactions.set_failures(work, record, 0, 0, None)
            return self._transactions.record(
                work, Event.CUSTOMER_UNLOCKED, principal, record.contract_id, record.token_id
            )

    @rerun_on_conflict
    def renew_password_hash(self, contract_id: str, before: str, after: str) -> None:
        """Keep the same password under a hash with today's parameters. Does nothing if the hash is not ``before`` any
        more."""
        with self._transactions.act(Act.RENEW_PASSWORD_HASH, SYSTEM, customer=contract_id) as work:
            record = work.login_record(contract_id)
            if record is not None and work.set_password_hash(record.customer_key, before, after):
                work.audit(Event.PASSWORD_REHASHED, **SYSTEM.audit_fields, customer=contract_id)

    @rerun_on_conflict
    def accept_terms(self, contract_id: str, version: str, principal: Principal) -> None:
        """The customer has read this version of the terms of use and accepts it."""
        with self._transactions.act(Act.ACCEPT_TERMS, principal, customer=contract_id) as work:
            record = self._transactions.login_record(work, contract_id)
            work.accept(record.customer_key, version, self._transactions.now())
            fields = {**principal.audit_fields, "reason": f"version {version}"}
            work.audit(Event.TERMS_ACCEPTED, **fields, customer=record.contract_id)

    def name_of(self, contract_id: str) -> str | None:
        """The customer's name, where one is known. Raises StoreUnavailable."""
        with self._transactions.store.read() as connection:
            line = customer_line(connection, contract_id)
        return None if line is None else line.name

    def has_accepted_terms(self, record: LoginRecord, version: str) -> bool:
        """Whether the customer has accepted this version of the terms of use."""
        store = self._transactions.store
        with store.read() as connection:
            return Work(connection, store.ids).has_accepted(record.customer_key, version)
