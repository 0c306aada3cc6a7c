"""The kinds of import: how each checks its rows against the store and writes them, at the command line and the console.

Rows come in and go out in chunks. It opens no file and prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from otp_core.accounts import Desk, Principal
from otp_core.first_factor.hash_pool import hash_many
from otp_core.first_factor.hashes import Cost
from otp_core.first_factor.password_forms import canonical
from otp_core.imports import (
    CustomerRow,
    RowProblem,
    TokenIdRow,
    TokenRow,
    read_customers,
    read_token_ids,
    read_tokens,
)
from otp_core.imports.worded import Worded, worded
from otp_core.model import AttributeCheck, SeedForm, TokenState, attributes_text
from otp_core.store.queries import known_contracts, known_tokens
from otp_core.store.store import Store
from otp_core.store.unit_of_work import NewCustomer, Work

_IN_THE_STORE = worded("is in the store already: take the row out, or leave such rows untouched with --skip-existing")

_IN_ANOTHER_FORM = worded("is in the store already, in another form: run `sekisho init`, which says more")

_NOT_FREE = {
    TokenState.BOUND: worded("cannot be bound: that token is bound, not available"),
    TokenState.RETIRED: worded("cannot be bound: that token is retired, not available"),
    TokenState.LOST: worded("cannot be bound: that token is lost, not available"),
}

PER_TRANSACTION = 1000
"""Rows in one transaction: how long a server that runs at the same time may have to wait for the write lock."""

PER_TRANSACTION_HASHED = 100
"""The same where each row's password has to be hashed first: an interruption then costs about a second of work."""

Row = TypeVar("Row")
Known = TypeVar("Known", "TokenRow", "TokenIdRow")

Write = Callable[[Desk], int]
"""Writes rows that were prepared, in one transaction of this desk; returns how many. Raises StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What of the settings an import has to know. ``shared_tokens``: several customers may have one token.
    ``tokens_per_customer``: at most. ``cost``, ``hash_threads``: of passwords in clear. ``attribute_check``: makes the
    check of reply attributes, which is slow. ``verifiers``: the names of those elsewhere that know the codes of
    tokens."""

    shared_tokens: bool = False
    tokens_per_customer: int = 1
    cost: Cost = field(default_factory=Cost)
    hash_threads: int = 1
    attribute_check: Callable[[], AttributeCheck] = lambda: lambda _: ()
    verifiers: Sequence[str] = ()


class Importer(Protocol, Generic[Row]):
    """One kind of import. ``noun``: what a row is called."""

    noun: str

    def read(self, lines: Iterable[str], encoding: str) -> Iterator[Row | RowProblem]:
        """The rows of a file in this encoding, and the problems that can be found without the store."""

    def check(self, rows: Sequence[Row]) -> tuple[list[RowProblem], int]:
        """The problems that only the store can tell, and how many rows are to be skipped. Raises StoreUnavailable."""

    def prepare(self, rows: Sequence[Row]) -> Write:
        """What writes those of the rows that are not to be skipped. All that is slow is done here and now, before a
        transaction is open. Raises StoreUnavailable."""

    def per_transaction(self) -> int:
        """How many rows to hand to ``prepare`` at once. Known after ``check`` has seen every row."""

    def name_of(self, row: Row) -> str:
        """What staff knows the row by: an ID, never a secret."""


class TokenImporter:
    """Imports tokens (see ``Importer``)."""

    noun = "token"

    def __init__(
        self,
        store: Store,
        principal: Principal,
        skip_existing: bool,
        *,
        seeds: SeedForm = SeedForm.HEX,
        as_typed: bool = False,
    ) -> None:
        self._store, self._principal, self._skip_existing = store, principal, skip_existing
        self._seeds, self._as_typed = seeds, as_typed

    def read(self, lines: Iterable[str], encoding: str) -> Iterator[TokenRow | RowProblem]:
        """See ``Importer.read``."""
        return read_tokens(lines, seeds=self._seeds, as_typed=self._as_typed, encoding=encoding)

    def check(self, rows: Sequence[TokenRow]) -> tuple[list[RowProblem], int]:
        """See ``Importer.check``."""
        return _check_tokens(self._store, rows, self._skip_existing)

    def prepare(self, rows: Sequence[TokenRow]) -> Write:
        """See ``Importer.prepare``."""
        if self._skip_existing:
            rows = _unknown(self._store, rows)
        new = [(row.token_id, row.seed, row.spec) for row in rows]
        last_steps = {row.token_id: row.last_step for row in rows}

        def write(desk: Desk) -> int:
            if new:
                desk.tokens.import_rows(new, self._principal, last_steps=last_steps)
            return len(new)

        return write

    def per_transaction(self) -> int:
        """See ``Importer.per_transaction``."""
        return PER_TRANSACTION

    def name_of(self, row: TokenRow) -> str:
        """See ``Importer.name_of``."""
        return row.token_id


class ElsewhereImporter:
    """Imports tokens whose codes a verifier elsewhere knows (see ``Importer``)."""

    noun = "token"

    def __init__(
        self, store: Store, principal: Principal, skip_existing: bool, verifier: str, *, as_typed: bool
    ) -> None:
        self._store, self._principal, self._skip_existing = store, principal, skip_existing
        self._verifier, self._as_typed = verifier, as_typed

    def read(self, lines: Iterable[str], encoding: str) -> Iterator[TokenIdRow | RowProblem]:
        """See ``Importer.read``."""
        return read_token_ids(lines, as_typed=self._as_typed, encoding=encoding)

    def check(self, rows: Sequence[TokenIdRow]) -> tuple[list[RowProblem], int]:
        """See ``Importer.check``."""
        return _check_tokens(self._store, rows, self._skip_existing)

    def prepare(self, rows: Sequence[TokenIdRow]) -> Write:
        """See ``Importer.prepare``."""
        if self._skip_existing:
            rows = _unknown(self._store, rows)
        new = [row.token_id for row in rows]

        def write(desk: Desk) -> int:
            if new:
                desk.tokens.import_elsewhere(new, self._verifier, self._principal)
            return len(new)

        return write

    def per_transaction(self) -> int:
        """See ``Importer.per_transaction``."""
        return PER_TRANSACTION

    def name_of(self, row: TokenIdRow) -> str:
        """See ``Importer.name_of``."""
        return row.token_id


def _check_tokens(store: Store, rows: Sequence[Known], skip_existing: bool) -> tuple[list[RowProblem], int]:
    known = _known(store, rows)
    existing = [row for row in rows if row.token_id in known]
    if skip_existing:
        return [], len(existing)
    return [RowProblem(row.line, "token_id", _IN_THE_STORE) for row in existing], 0


def _unknown(store: Store, rows: Sequence[Known]) -> list[Known]:
    known = _known(store, rows)
    return [row for row in rows if row.token_id not in known]


def _known(store: Store, rows: Sequence[Known]) -> Mapping[str, object]:
    with store.read() as connection:
        return known_tokens(connection, [row.token_id for row in rows])


class CustomerImporter:
    """Imports customers (see ``Importer``). Passwords in clear are hashed when their rows are written."""

    noun = "customer"

    def __init__(
        self,
        store: Store,
        desk: Desk,
        rules: ImportRules,
        principal: Principal,
        skip_existing: bool,
        *,
        as_typed: bool = False,
    ) -> None:
        self._store, self._desk, self._rules, self._principal = store, desk, rules, principal
        self._skip_existing, self._as_typed = skip_existing, as_typed
        self._clear_passwords = 0
        self._attribute_check: AttributeCheck | None = None
        self._stored_otherwise: Mapping[str, str] | None = None

    def read(self, lines: Iterable[str], encoding: str) -> Iterator[CustomerRow | RowProblem]:
        """See ``Importer.read``."""
        return read_customers(
            lines,
            shared_tokens=self._rules.shared_tokens,
            most_tokens=self._rules.tokens_per_customer,
            as_typed=self._as_typed,
            encoding=encoding,
        )

    def check(self, rows: Sequence[CustomerRow]) -> tuple[list[RowProblem], int]:
        """See ``Importer.check``."""
        known = self._known(rows)
        existing = [row for row in rows if row.contract_id in known]
        new = [row for row in rows if row.contract_id not in known]
        self._clear_passwords += sum(row.password is not None for row in new)
        problems = self._token_problems(new) + self._attribute_problems(new) + self._spelling_problems(new)
        if self._skip_existing:
            return problems, len(existing)
        return problems + [RowProblem(row.line, "contract_id", _IN_THE_STORE) for row in existing], 0

    def prepare(self, rows: Sequence[CustomerRow]) -> Write:
        """See ``Importer.prepare``."""
        if self._skip_existing:
            known = self._known(rows)
            rows = [row for row in rows if row.contract_id not in known]
        keys = {token_id: key for token_id, (key, _) in self._tokens(rows).items()}
        new = list(self._new(rows, keys))
        token_ids = [row.token_id for row in rows]

        def write(desk: Desk) -> int:
            if new:
                desk.customers.import_rows(new, token_ids, self._principal)
            return len(new)

        return write

    def per_transaction(self) -> int:
        """See ``Importer.per_transaction``."""
        return PER_TRANSACTION_HASHED if self._clear_passwords else PER_TRANSACTION

    def name_of(self, row: CustomerRow) -> str:
        """See ``Importer.name_of``."""
        return row.contract_id

    def _token_problems(self, rows: Sequence[CustomerRow]) -> list[RowProblem]:
        tokens = self._tokens(rows)
        free = {TokenState.AVAILABLE, TokenState.BOUND} if self._rules.shared_tokens else {TokenState.AVAILABLE}
        problems = []
        for row in rows:
            wrong = [_token_problem(tokens.get(token_id), free) for token_id in row.token_ids]
            if not any(wrong) and self._have_one_seed(row.token_ids):
                wrong = [worded("names tokens with the same seed, which are one token under several IDs")]
            for number, text in enumerate(wrong, 1):
                if text is not None and len(wrong) > 1:
                    text = worded("%(wrong)s (token %(number)s of the cell)", wrong=text, number=number)
                problems += [RowProblem(row.line, "token_id", text)] if text else []
        return problems

    def _have_one_seed(self, token_ids: Sequence[str]) -> bool:
        """Whether two of these tokens have the same seed: each code would be good once for each of them."""
        if len(token_ids) < 2:
            return False
        with self._store.read() as connection:
            work = Work(connection, self._store.ids, node=self._store.node)
            found = [work.token(token_id) for token_id in token_ids]
        unseal = self._store.sealer.unseal
        seeds = [unseal(one.seed, one.token_id) for one in found if one is not None and one.seed is not None]
        return len(set(seeds)) < len(seeds)

    def _spelling_problems(self, rows: Sequence[CustomerRow]) -> list[RowProblem]:
        """Contract IDs that are in the store in a form that is read as the same one."""
        if self._stored_otherwise is None:
            self._stored_otherwise = self._desk.contract_ids.stored_otherwise().spellings
        return [
            RowProblem(row.line, "contract_id", _IN_ANOTHER_FORM)
            for row in rows
            if row.contract_id in self._stored_otherwise
        ]

    def _attribute_problems(self, rows: Sequence[CustomerRow]) -> list[RowProblem]:
        problems = []
        for row in rows:
            if row.attributes:
                self._attribute_check = self._attribute_check or self._rules.attribute_check()
                causes = self._attribute_check(row.attributes)
                problems += [
                    RowProblem(row.line, "attributes", worded("cannot be sent: %(cause)s", cause=one)) for one in causes
                ]
        return problems

    def _new(self, rows: Sequence[CustomerRow], keys: Mapping[str, int]) -> Iterator[NewCustomer]:
        clear = [canonical(row.password) for row in rows if row.password is not None]
        rules = self._rules
        hashes = iter(list(hash_many(clear, rules.cost, rules.hash_threads)) if clear else [])
        for row in rows:
            yield NewCustomer(
                row.contract_id,
                row.password_hash if row.password is None else next(hashes),
                row.name,
                row.email,
                row.language,
                attributes_text(row.attributes),
                keys[row.token_id] if row.token_id is not None else None,
                [(keys[token_id], token_id) for token_id in row.more_token_ids],
                row.reading,
            )

    def _tokens(self, rows: Sequence[CustomerRow]) -> dict[str, tuple[int, str]]:
        wanted = [token_id for row in rows for token_id in row.token_ids]
        if not wanted:
            return {}
        with self._store.read() as connection:
            return known_tokens(connection, wanted)

    def _known(self, rows: Sequence[CustomerRow]) -> set[str]:
        with self._store.read() as connection:
            return known_contracts(connection, [row.contract_id for row in rows])


def _token_problem(known: tuple[int, str] | None, free: Container[str]) -> Worded | None:
    """The problem with a token that a row names; ``known``: its key and state, None for one that is not there."""
    if known is None:
        return worded("is not in the inventory: import the tokens first, with token import")
    if known[1] in free:
        return None
    return _NOT_FREE[TokenState(known[1])]
