"""Who looked at whom: one row a minute for each pair, written beside the logins, and nothing is shown unrecorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otp_core.accounts import Looks, Principal, PrincipalKind
from otp_core.accounts.looks import MOST_WAITING, SAMPLE_SECONDS
from otp_core.model import Accept, StoreUnavailable
from otp_core.store.find import rows_of_customer
from otp_core.store.queries import counts
from otp_core.store.store import Store
from tests.core.bank import Bank
from tests.core.batches import code_request, login_batch_of, run_batch
from tests.core.written_twice import write_twice
from tests.fakes import HandClock

HANAKO = Principal("hanako", PrincipalKind.STAFF, "192.0.2.7", role="operator")
PROGRAM = Principal("api:crm", PrincipalKind.API_KEY, "192.0.2.8", role="customers:read")


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def rows(bank: Bank) -> list[tuple[str, str, str | None, str, str]]:
    return [(row.event, row.actor, row.customer, row.source, row.reason) for row in bank.audit(event="looked.")]


def test_a_look_is_one_row_a_minute_for_each_person_and_customer(bank: Bank) -> None:
    clock = HandClock(0.0)
    looks = Looks(bank.store, clock)
    for who in (HANAKO, PROGRAM):
        for customer in ("taro", "jiro", "taro"):
            looks.at(who, customer, "page")
    assert rows(bank) == []  # until they are written
    looks.write()
    assert rows(bank)[0] == ("looked.at-customer", "hanako", "taro", "192.0.2.7", "page")
    assert [(actor, customer) for _, actor, customer, *_ in rows(bank)] == [
        (who, customer) for who in ("hanako", "api:crm") for customer in ("taro", "jiro")
    ]
    clock.now = SAMPLE_SECONDS
    looks.at(HANAKO, "taro", "page")
    looks.write()
    assert len(rows(bank)) == 5


def test_a_list_leaves_a_row_for_those_whom_none_of_the_last_minute_has_named(bank: Bank) -> None:
    clock = HandClock(0.0)
    looks = Looks(bank.store, clock)
    many = [f"{number:03d}" for number in range(50)]
    looks.through(HANAKO, [], "search")
    looks.through(HANAKO, ["taro", "jiro"], "search")
    looks.exported(HANAKO, "3 rows taken away")
    looks.through(HANAKO, ["taro", "saburo"], "search")  # a harmless search first hides no other
    looks.at(HANAKO, "saburo", "page")  # nor does a list hide a page
    looks.through(HANAKO, ["saburo", "taro"], "list")
    looks.through(PROGRAM, many, "list")
    looks.through(PROGRAM, many, "list")
    looks.through(PROGRAM, ["023"], "search")
    clock.now = SAMPLE_SECONDS
    looks.through(HANAKO, ["taro"], "search")
    looks.write()
    assert [reason for *_, reason in rows(bank)] == [
        "search: 2 customers: taro, jiro",
        "3 rows taken away",
        "search: 1 customers: saburo",
        "page",
        "list: 50 customers: 000 to 049",
        "search: 1 customers: 023",
        "search: 1 customers: taro",
    ]


def test_looks_that_cannot_be_written_wait_and_with_too_many_nobody_is_shown_anything(bank: Bank) -> None:
    looks = Looks(bank.store, HandClock(0.0))
    for number in range(MOST_WAITING):
        looks.at(HANAKO, f"taro{number}")
    with pytest.raises(StoreUnavailable, match="cannot be recorded"):
        looks.at(HANAKO, "one more")
    with bank.store_away(), pytest.raises(StoreUnavailable):
        looks.write()
    looks.write()
    with bank.store.read() as connection:
        assert counts(connection)["audit"] == MOST_WAITING
    looks.at(HANAKO, "one more")


def test_a_batch_of_logins_under_way_is_not_decided_anew_because_somebody_looked(bank: Bank) -> None:
    taro, looks, known = bank.customer(), Looks(bank.open_store(), HandClock(0.0)), list[object]()

    def meanwhile() -> None:
        looks.at(HANAKO, "taro")
        looks.write()

    with login_batch_of(bank) as batch:
        assert run_batch(bank, batch, [code_request(taro, taro.code())], known, meanwhile) == [Accept()]  # type: ignore[arg-type]
    assert len(known) == 1 and len(rows(bank)) == 1


def test_looks_are_no_acts_on_the_customers_page(bank: Bank) -> None:
    bank.customer()
    looks = Looks(bank.store, HandClock(0.0))
    looks.at(HANAKO, "taro")
    looks.write()
    with bank.store.read() as connection:
        assert "looked.at-customer" not in [row.event for row in rows_of_customer(connection, "taro", 10)]
    assert len(rows(bank)) == 1


def test_each_look_is_written_once_though_the_last_write_comes_while_another_waits(bank: Bank) -> None:
    def writer(store: Store) -> Callable[[], None]:
        looks = Looks(store)
        for customer in ("taro", "jiro"):
            looks.at(HANAKO, customer)
        return looks.write

    write_twice(bank.store, writer)
    assert sorted(str(customer) for _, _, customer, *_ in rows(bank)) == ["jiro", "taro"]
