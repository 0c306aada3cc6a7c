"""A page of a search: whom it finds, in which order, and how much it reads for it, however many are found."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, select

from otp_core.folding import folded, folded_words
from otp_core.model import OtpUse, TokenSpec
from otp_core.otp import normalise_contract_id, normalise_token_id
from otp_core.store import customer_search, search_terms
from otp_core.store.find import find_customers
from otp_core.store.queries import customers
from otp_core.store.schema import binding, customer, search_term, token
from otp_core.store.store import fill_search_terms
from otp_core.store.unit_of_work import NewCustomer
from tests.core.bank import STAFF, Bank

NAMES = ("山田 花子", "山口　太郎", "髙田 花", "ヤマダ", "Ken van Berg", "ken", "さとう はな", "佐藤花")
CUSTOMERS = 60


class Known(NamedTuple):
    """What a reading of all tables says of a customer."""

    contract_id: str
    use: str
    locked: bool
    terms: list[str]
    token_ids: list[str]

    def is_found(self, typed: str) -> bool:
        """The definition of a search, customer by customer."""
        forms = {normalise_contract_id(typed), folded(typed)} - {""}
        if any(self.contract_id.startswith(form) for form in forms):
            return True
        token_id = normalise_token_id(typed)
        if token_id and any(one.startswith(token_id) for one in self.token_ids):
            return True
        words = folded_words(typed)
        whole = "".join(words)
        each = all(any(term.startswith(word) for term in self.terms) for word in words)
        return bool(words) and (each or any(term.startswith(whole) for term in self.terms))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """Customers of all kinds: some with a token, suspended, locked, or with two tokens."""
    bank = Bank(tmp_path_factory.mktemp("bank"))
    drawn = random.Random(12)
    new = []
    for number in drawn.sample(range(10_000), CUSTOMERS):
        contract_id = drawn.choice(("{}", "1{}", "K-{}", "Ken{}")).format(number)
        name, reading = (drawn.choice((None, *NAMES)) for _ in range(2))
        email = drawn.choice((None, f"a{number}@example.jp", f"k{number}@example.jp"))
        new.append(NewCustomer(contract_id, None, name, email, reading=reading))
    bank.desk.customers.import_rows(new, [None] * len(new), STAFF)
    fill_search_terms(bank.store)
    some = iter(drawn.sample([one.contract_id for one in new], 40))
    for number in range(10):
        locked = next(some)
        bank.desk.customers.lock(locked, STAFF)
        for at, contract_id in enumerate((locked if number % 2 else next(some), next(some))):
            bank.another_token(f"{'VSMT' if at else 'KENA'}{number:08}", contract_id)
    with bank.store.work() as work:
        suspended = [next(some) for _ in range(8)]
        change = customer.update().where(customer.c.contract_id.in_(suspended))
        work.connection.execute(change.values(otp_use=OtpUse.SUSPENDED))
    return bank


def everybody(connection: Connection) -> list[Known]:
    """In the order of contract IDs."""
    rows = connection.execute(select(customer.c.key, customer.c.contract_id, customer.c.otp_use, customer.c.locked_at))
    known = {key: Known(id_, use, locked is not None, [], []) for key, id_, use, locked in rows}
    for key, term in connection.execute(select(search_term.c.customer_key, search_term.c.term)):
        known[key].terms.append(term)
    held = select(binding.c.customer_key, token.c.token_id).join(token, token.c.key == binding.c.token_key)
    for key, token_id in connection.execute(held):
        known[key].token_ids.append(token_id)
    return sorted(known.values())


def joined(connection: Connection, limit: int, **asked: Any) -> list[str]:
    """All pages of a search."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = customers(connection, after=after, limit=limit, **asked)
        ids = [line.contract_id for line in page.rows]
        assert len(ids) <= limit and all(after < one for one in ids)
        assert page.next_after is None or page.next_after > after, "each page leads on"
        found, after = found + ids, page.next_after
    return found


TYPED = (
    *(
        "k",
        "K",
        "1",
        "ken",
        "Ken-1",
        "a",
        "a1",
        "v",
        "vsmt 0000",
        "kena",
        "山",
        "山田 花",
        "花 山",
        "はな さ",
        "や",
        "k v",
    ),
    *("ken b", "9", "x", "%", " ", "さとうはな", "山 さ", "さ 山"),
)


@pytest.mark.parametrize(
    ("collected", "looked_through", "of_a_word"),
    [
        (10_000, 5_000, 100_000),
        (0, 1_000, 0),
        (0, 2, 0),
        (0, 7, 3),
        (30, 12, 16),
        (5, 3, 10),
        (30, 7, 1_000),
        (1_000, 3, 10),
    ],
)
def test_all_pages_together_are_all_who_are_found_in_order(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, collected: int, looked_through: int, of_a_word: int
) -> None:
    """Whatever way leads to them: few and collected, many and looked through, or some of each."""
    monkeypatch.setattr(customer_search, "MOST_COLLECTED", collected)
    monkeypatch.setattr(customer_search, "MOST_LOOKED_THROUGH", looked_through)
    monkeypatch.setattr(customer_search, "MOST_OF_A_WORD", of_a_word)
    drawn = random.Random(collected + looked_through)
    with bank.store.read() as connection:
        known, hits = everybody(connection), 0
        for typed in TYPED if looked_through > 10 else drawn.sample(TYPED, 8):
            use = drawn.choice((None, None, OtpUse.NONE, OtpUse.SUSPENDED))
            locked = drawn.random() < 0.3
            wanted = [
                one.contract_id
                for one in known
                if one.is_found(typed) and use in (None, one.use) and (one.locked or not locked)
            ]
            limit = drawn.choice((1, 5, 50, 1_000)) if looked_through < 100 else drawn.choice((3, 1_000))
            found = joined(connection, limit, search=typed, use=use, locked=locked)
            assert found == wanted, (typed, use, locked, limit)
            hits += len(found)
    assert hits > CUSTOMERS / 4


def instructions(bank: Bank, query: Callable[[Connection], object]) -> int:
    """How many SQLite executes for a question, by tens."""
    counted = count(1)

    def once_more() -> int:
        next(counted)
        return 0  # go on

    with bank.store.read() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(once_more, 10)
        query(connection)
        driver.set_progress_handler(None, 0)
    return next(counted)


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> list[Bank]:
    """A bank, and one that is eight times as large: nearly all have an address with a; the last ones, one with z, and
    one in four a name; the last ten are locked. Nobody has a token."""
    banks = []
    for size in (500, 4_000):
        bank = Bank(tmp_path_factory.mktemp("bank"))
        new = [
            NewCustomer(
                f"{number:07}",
                None,
                "山田 花子" if number % 4 == 0 else None,
                f"{'z' if number >= size * 0.9 else 'a'}{number}@example.jp",
            )
            for number in range(size)
        ]
        for at in range(0, size, 1_000):
            some = new[at : at + 1_000]
            bank.desk.customers.import_rows(some, [None] * len(some), STAFF)
        fill_search_terms(bank.store)
        tokens = [(f"VSMT{number:08}", bytes(20), TokenSpec()) for number in range(size // 2)]
        bank.desk.tokens.import_rows(tokens, STAFF)
        with bank.store.work() as work:
            locked = customer.update().where(customer.c.contract_id >= f"{size - 10:07}")
            work.connection.execute(locked.values(locked_at=1))
        banks.append(bank)
    return banks


@pytest.mark.sqlite_files
@pytest.mark.parametrize(
    "asked",
    [
        {"search": "a"},
        {"search": "a", "after": "0000300"},
        {"search": "z"},  # all of them at the end of the list
        {"search": "z", "use": OtpUse.NONE},
        {"search": "a", "use": OtpUse.LOST},
        {"search": "z", "locked": True},
        {"search": "z", "locked": True, "use": OtpUse.NONE},
        {"search": "0"},
        {"search": "0000001"},
        {"search": "a1@example.jp"},
        {"search": "nobody"},
        {"search": "vsmt"},  # whose tokens are nobody's
        {"search": "花子 山"},
        {"search": "山 z"},
    ],
    ids=str,
)
def test_what_a_page_reads_does_not_grow_with_the_bank(
    sizes: list[Bank], monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    monkeypatch.setattr(customer_search, "MOST_COLLECTED", 20)
    monkeypatch.setattr(customer_search, "MOST_LOOKED_THROUGH", 40)
    monkeypatch.setattr(customer_search, "MOST_OF_A_WORD", 60)
    few, many = (instructions(bank, lambda connection: customers(connection, limit=10, **asked)) for bank in sizes)
    assert 0 < many <= few * 1.2 + 20


@pytest.mark.sqlite_files
@pytest.mark.parametrize("typed", ["a", "0", "山 花", "vsmt", "nobody"])
def test_nor_does_what_the_console_reads(sizes: list[Bank], monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(search_terms, "MOST_OF_A_WORD", 60)
    few, many = (instructions(bank, lambda connection: find_customers(connection, typed)) for bank in sizes)
    assert 0 < many <= few * 1.2 + 20
