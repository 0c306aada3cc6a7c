"""What customers are found by: every word of a name, its reading, the e-mail address, IDs in any grouping; by an index,
and also after the migration of a store that had no terms."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from otp_core.store.find import MOST_FOUND, find_customers
from otp_core.store.lookup_task import LookupTask
from otp_core.store.queries import customers, read_meta
from otp_core.store.schema import customer, meta, search_term
from otp_core.store.search_terms import UNFILLED, by_ids_and_terms, count_unfilled, fill
from otp_core.store.sqlite import driver
from otp_core.store.unit_of_work import NewCustomer
from tests.core.bank import STAFF, Bank
from tests.core.test_migration import _migrate, _old_store


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    add = bank.desk.customers.add
    add("1000001", STAFF, name="髙﨑 花子", reading="タカサキ ハナコ", email="Hanako@example.jp")
    add("1000002", STAFF, name="高崎　太郎", reading="ﾀｶｻｷ ﾀﾛｳ")
    add("10-00003", STAFF, name="渡邊花代", reading="わたなべ はなよ")
    add("Ken-1", STAFF, name="Ken van der Berg", email="ken_b@example.jp")
    bank.customer("1000005", "VSMT12345678")
    return bank


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("高崎", ["1000001", "1000002"]),
        ("髙﨑花", ["1000001"]),
        ("高﨑 花子", ["1000001"]),
        ("花子 高崎", ["1000001"]),
        ("たか はな", ["1000001"]),
        ("はな", ["1000001", "10-00003"]),
        ("ハナ", ["1000001", "10-00003"]),
        ("ﾊﾅｺ", ["1000001"]),
        ("渡辺 花代", ["10-00003"]),
        ("渡辺", ["10-00003"]),
        ("花代", []),  # written in one word, whose middle nothing begins with
        ("ＨＡＮＡＫＯ＠", ["1000001"]),
        ("example.jp", []),
        ("berg", ["Ken-1"]),
        ("berg ken", ["Ken-1"]),
        ("berg hanako", []),
        ("ken", ["Ken-1"]),
        ("KEN1", ["Ken-1"]),
        ("ken_b@", ["Ken-1"]),
        ("100 0002", ["1000002"]),
        ("１０００００３", ["10-00003"]),
        ("vsmt 1234-5678", ["1000005"]),
        ("vsmt1", ["1000005"]),
        ("%", []),
        ("_", []),
        (" ー ", []),
        ("x" * 128, []),
    ],
)
def test_a_customer_is_found_by_the_beginning_of_anything(bank: Bank, typed: str, wanted: list[str]) -> None:
    with bank.store.read() as connection:
        assert [one.contract_id for one in customers(connection, search=typed).rows] == sorted(wanted)
        assert sorted(one.contract_id for one in find_customers(connection, typed)) == sorted(wanted)


def test_the_whole_contract_id_comes_first(bank: Bank) -> None:
    with bank.store.read() as connection:
        assert [one.contract_id for one in find_customers(connection, "10000")][:1] == ["1000001"]
        assert [one.contract_id for one in find_customers(connection, "1000002")] == ["1000002"]


def test_a_new_contract_id_is_found_and_the_old_one_is_not(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.desk.customers.add("Old-1", STAFF, name="山田 太郎", email="old-1")
    bank.desk.contract_ids.rename("Old-1", "New-1", STAFF)
    with bank.store.read() as connection:
        found = {typed: bool(find_customers(connection, typed)) for typed in ("NEW1", "OLD1", "太郎")}
        assert found == {"NEW1": True, "OLD1": True, "太郎": True}, "the e-mail address is still the old one"
    assert _terms(bank) == {"new1", "old1", "山田太郎", "太郎山田"}


def test_a_search_shows_so_many_and_no_more(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    for number in range(MOST_FOUND + 5):
        bank.desk.customers.add(f"{number:07}", STAFF, name=f"山田 {number}")
    with bank.store.read() as connection:
        assert len(find_customers(connection, "山田")) == MOST_FOUND
        assert len(customers(connection, search="山田").rows) == MOST_FOUND + 5
        page = customers(connection, search="山田", after="0000020").rows
    assert [one.contract_id for one in page] == [f"{number:07}" for number in range(21, MOST_FOUND + 5)]


@pytest.mark.sqlite_files
@pytest.mark.parametrize("typed", ["高崎", "vsmt", "10", "berg ken"])
def test_every_question_uses_an_index(bank: Bank, typed: str) -> None:
    with bank.store.read() as connection:
        for query in by_ids_and_terms(typed):
            text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
            reads = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
            tables = [step for step in reads if not step.startswith("SCAN anon")]
            assert tables and all(step.startswith("SEARCH") for step in tables), plan


@pytest.mark.sqlite_files
def test_customers_of_before_are_found_after_the_migration(tmp_path: Path) -> None:
    with closing(driver.connect(_old_store(tmp_path))) as connection, connection:
        connection.execute("UPDATE profile SET name = '髙田 ' || customer_key, email = 'a@example.jp'")
    _migrate(tmp_path)
    with Bank(tmp_path).store.read() as opened:
        assert read_meta(opened, UNFILLED) is None and count_unfilled(opened) is None
        everybody = customers(opened).rows
        assert len(everybody) == 4
        for line in everybody:
            assert [one.contract_id for one in find_customers(opened, line.name or "")] == [line.contract_id]
        assert customers(opened, search="高田").rows == customers(opened, search="Ａ@").rows == everybody


def test_filling_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """One customer at a time; meanwhile another one is added, and one who waits is renamed."""
    bank = Bank(tmp_path)
    for number in range(4):
        bank.desk.customers.add(f"ID-{number}", STAFF, name=f"山田 {number}号")
    whole = _terms(bank)
    with bank.store.work() as work:
        _forget(work.connection)
    steps: list[int | None] = []
    while (not steps or steps[-1] is not None) and len(steps) < 10:
        with bank.store.work() as work:
            steps.append(fill(work.connection, 1))
        if len(steps) == 1:
            bank.desk.customers.add("ID-9", STAFF)
            bank.desk.contract_ids.rename("ID-3", "ID-8", STAFF)
    assert steps == [1, 1, 1, 1, None]
    assert _terms(bank) == whole - {"id3"} | {"id8", "id9"}


def test_customers_of_an_import_are_found_once_their_terms_are_filled_in(tmp_path: Path) -> None:
    """Two imports, and between them somebody whose terms are written at once; a server's task fills in the rest."""
    bank = Bank(tmp_path)
    imported = [NewCustomer(f"ID-{number}", None, f"山田 {number}号") for number in range(4)]
    bank.desk.customers.import_rows(imported[:2], [None] * 2, STAFF)
    bank.desk.customers.add("ID-9", STAFF, name="山田 九号")
    bank.desk.customers.import_rows(imported[2:], [None] * 2, STAFF)
    with bank.store.read() as connection:
        assert [one.contract_id for one in find_customers(connection, "山田")] == ["ID-9"]
        assert [one.contract_id for one in find_customers(connection, "ID-2")] == ["ID-2"]
        assert count_unfilled(connection) == 5
    now = int(time.time() * 1000)
    task = LookupTask(bank.store, lambda: now)
    assert [task.step(now), task.step(now), task.step(now)] == [True, True, False]
    with bank.store.read() as connection:
        assert len(find_customers(connection, "山田")) == 5
        assert count_unfilled(connection) is None


def _forget(connection: Connection) -> None:
    last = connection.execute(select(func.max(customer.c.key))).scalar_one()
    connection.execute(search_term.delete())
    connection.execute(meta.insert().values(name=UNFILLED, value=bytes(8) + last.to_bytes(8, "big")))


def _terms(bank: Bank) -> set[str]:
    with bank.store.read() as connection:
        return set(connection.execute(select(search_term.c.term)).scalars())
