"""What an import asks of the store and gives to the desk, for tokens and for customers: checked rows of a file, a chunk
at a time. Reads no file and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from otp_core.accounts import Desk, Principal
from otp_core.doors import AttributeCheck
from otp_core.first_factor.hash_pool import hash_many
from otp_core.imports import CustomerRow, RowProblem, TokenRow, read_customers, read_tokens
from otp_core.login.evaluate import attributes_text
from otp_core.model import TokenState
from otp_core.store.queries import known_contracts, known_tokens
from otp_core.store.store import Store
from otp_core.store.unit_of_work import NewCustomer
from sekisho.doors import attribute_check
from sekisho.settings import Settings
from sekisho.wiring import cost_of

_IN_THE_STORE = "is in the store already: take the row out, or leave such rows untouched with --skip-existing"

PER_TRANSACTION = 1000
"""Rows that are written at once: a server that runs meanwhile waits for no more than these."""

PER_TRANSACTION_HASHED = 100
"""The same where each row's password has to be hashed first: what an interruption costs is about a second."""

Row = TypeVar("Row")


class Importer(Protocol, Generic[Row]):
    """One kind of row."""

    noun: str

    def read(self, lines: Iterable[str]) -> Iterator[Row | RowProblem]:
        """The rows of the file."""

    def check(self, rows: Sequence[Row]) -> tuple[list[RowProblem], int]:
        """What the store has against some of them, and how many of them are to be skipped."""

    def write(self, rows: Sequence[Row]) -> int:
        """One transaction; how many were written, those to be skipped left out."""

    def per_transaction(self) -> int:
        """How many rows to hand to ``write``, after all have been through ``check``."""


class TokenImporter:
    noun = "token"

    def __init__(self, store: Store, desk: Desk, principal: Principal, skip_existing: bool) -> None:
        self._store, self._desk, self._actor, self._skip_existing = store, desk, principal, skip_existing

    def read(self, lines: Iterable[str]) -> Iterator[TokenRow | RowProblem]:
        return read_tokens(lines)

    def check(self, rows: Sequence[TokenRow]) -> tuple[list[RowProblem], int]:
        known = self._known(rows)
        existing = [row for row in rows if row.token_id in known]
        if self._skip_existing:
            return [], len(existing)
        return [RowProblem(row.line, "token_id", _IN_THE_STORE) for row in existing], 0

    def write(self, rows: Sequence[TokenRow]) -> int:
        if self._skip_existing:
            known = self._known(rows)
            rows = [row for row in rows if row.token_id not in known]
        if rows:
            self._desk.import_tokens([(row.token_id, row.seed, row.spec) for row in rows], self._actor)
        return len(rows)

    def per_transaction(self) -> int:
        return PER_TRANSACTION

    def _known(self, rows: Sequence[TokenRow]) -> Mapping[str, object]:
        with self._store.read() as connection:
            return known_tokens(connection, [row.token_id for row in rows])


class CustomerImporter:
    noun = "customer"

    def __init__(self, store: Store, desk: Desk, settings: Settings, principal: Principal, skip_existing: bool) -> None:
        self._store, self._desk, self._settings, self._actor = store, desk, settings, principal
        self._skip_existing = skip_existing
        self._shared_tokens = not settings.login.one_customer_per_token
        self._clear_passwords = 0
        self._attribute_check: AttributeCheck | None = None

    def read(self, lines: Iterable[str]) -> Iterator[CustomerRow | RowProblem]:
        return read_customers(lines, shared_tokens=self._shared_tokens)

    def check(self, rows: Sequence[CustomerRow]) -> tuple[list[RowProblem], int]:
        known = self._known(rows)
        existing = [row for row in rows if row.contract_id in known]
        new = [row for row in rows if row.contract_id not in known]
        self._clear_passwords += sum(row.password is not None for row in new)
        faults = self._token_faults(new) + self._attribute_faults(new)
        if self._skip_existing:
            return faults, len(existing)
        return faults + [RowProblem(row.line, "contract_id", _IN_THE_STORE) for row in existing], 0

    def write(self, rows: Sequence[CustomerRow]) -> int:
        if self._skip_existing:
            known = self._known(rows)
            rows = [row for row in rows if row.contract_id not in known]
        if rows:
            keys = {token_id: key for token_id, (key, _) in self._tokens(rows).items()}
            new = list(self._new(rows, keys))
            self._desk.import_customers(new, [row.token_id for row in rows], self._actor)
        return len(rows)

    def per_transaction(self) -> int:
        return PER_TRANSACTION_HASHED if self._clear_passwords else PER_TRANSACTION

    def _token_faults(self, rows: Sequence[CustomerRow]) -> list[RowProblem]:
        tokens = self._tokens(rows)
        free = {TokenState.AVAILABLE, TokenState.BOUND} if self._shared_tokens else {TokenState.AVAILABLE}
        faults = []
        for row in rows:
            if row.token_id is None:
                continue
            if row.token_id not in tokens:
                faults.append(
                    RowProblem(
                        row.line, "token_id", "is not in the inventory: import the tokens first, with token import"
                    )
                )
            elif (state := tokens[row.token_id][1]) not in free:
                faults.append(
                    RowProblem(row.line, "token_id", f"cannot be bound: that token is {state}, not available")
                )
        return faults

    def _attribute_faults(self, rows: Sequence[CustomerRow]) -> list[RowProblem]:
        faults = []
        for row in rows:
            if row.attributes:
                # Not before somebody has any: it takes all doors and their dictionaries.
                self._attribute_check = self._attribute_check or attribute_check(self._settings)
                faults += [RowProblem(row.line, "attributes", text) for text in self._attribute_check(row.attributes)]
        return faults

    def _new(self, rows: Sequence[CustomerRow], keys: Mapping[str, int]) -> Iterator[NewCustomer]:
        clear = [row.password.encode() for row in rows if row.password is not None]
        cost, threads = cost_of(self._settings), self._settings.password.hash_threads
        hashes = iter(list(hash_many(clear, cost, threads)) if clear else [])
        for row in rows:
            yield NewCustomer(
                row.contract_id,
                row.password_hash if row.password is None else next(hashes),
                row.name,
                row.email,
                row.language,
                attributes_text(row.attributes),
                keys[row.token_id] if row.token_id is not None else None,
            )

    def _tokens(self, rows: Sequence[CustomerRow]) -> dict[str, tuple[int, str]]:
        wanted = [row.token_id for row in rows if row.token_id is not None]
        if not wanted:
            return {}
        with self._store.read() as connection:
            return known_tokens(connection, wanted)

    def _known(self, rows: Sequence[CustomerRow]) -> set[str]:
        with self._store.read() as connection:
            return known_contracts(connection, [row.contract_id for row in rows])
