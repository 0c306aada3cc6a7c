"""What the console looks for, by index: the plan of each question is a search and never a scan of a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event

from otp_core.audit import Event
from otp_core.model import OtpUse
from otp_core.store import find
from otp_core.store.queries import AuditFilter, audit_rows, tokens
from tests.core.bank import STAFF, Bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    found = Bank(tmp_path)
    for number in range(5):
        found.customer(f"taro-{number}", f"VSMT0000000{number}")
        found.desk.customers.add(f"name-{number}", STAFF, name=f"信金 {number}", email=f"{number}@example.jp")
    return found


def asked(bank: Bank, question: str) -> list[str]:
    """The plans of the statements of ``question``, a call of find.py on ``connection``."""
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(bank.store.engine, "before_cursor_execute", note)
    with bank.store.read() as connection:
        eval(question, {"find": find, "tokens": tokens, "connection": connection, "AuditFilter": AuditFilter})  # noqa: S307
        event.remove(bank.store.engine, "before_cursor_execute", note)
        plans = []
        for statement, parameters in statements:
            if statement.lstrip().upper().startswith("SELECT"):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
                plans += [row[3] for row in rows]
    return plans


@pytest.mark.parametrize(
    "question",
    [
        "find.find_customers(connection, 'taro-1')",
        "find.find_customers(connection, 'VSMT00000001')",
        "find.find_customers(connection, 'nobody')",
        "find.find_customers(connection, '信金')",
        "find.locked_customers(connection, 1)",
        "find.contract_id_of(connection, 1)",
        "find.keys_of(connection, ['taro-1', 'taro-2'])",
        "find.customer_page(connection, after='taro-1')",
        "find.permit_until(connection, 'taro-1')",
        "find.undelivered(connection)",
        "find.waiting_permits(connection)",
        "find.customer_page(connection, after='taro-1', use='suspended')",
        "find.customer_page(connection, after='taro-1', use='locked')",
        "tokens(connection, drifting=True, limit=50)",
        "find.rows_of_customer(connection, 'taro-1', 10)",
        "find.last_rows(connection, ['login.rejected'], 10)",
        "find.audit_page(connection, AuditFilter(customer='taro-1'), limit=50)",
        "find.audit_stretch(connection, AuditFilter(customer='taro-1'), limit=50)",
    ],
)
@pytest.mark.sqlite_files
def test_nothing_that_staff_asks_for_reads_a_table_from_end_to_end(bank: Bank, question: str) -> None:
    plans = asked(bank, question)
    assert plans
    scans = [plan for plan in plans if plan.startswith("SCAN") and "LIMIT" not in plan]
    allowed = (
        "SCAN audit",
        "SCAN customer USING INDEX",
        "SCAN customer USING COVERING INDEX",
        "SCAN CONSTANT ROW",
        "SCAN (subquery",
        "SCAN anon_",
    )
    assert [plan for plan in scans if not plan.startswith(allowed)] == []


@pytest.mark.sqlite_files
@pytest.mark.parametrize("use", ["suspended", "locked"])
def test_the_list_of_a_state_reads_that_state_alone(bank: Bank, use: str) -> None:
    plans = asked(bank, f"find.customer_page(connection, after='taro-1', use='{use}')")
    index = {"suspended": "ix_customer_otp_use_contract_id", "locked": "ix_customer_contract_id_locked"}[use]
    assert any(index in plan for plan in plans) and not any("TEMP B-TREE" in plan for plan in plans), plans


def test_what_waits_is_counted_up_to_a_bound(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        bank.in_state(OtpUse.REISSUE_PERMITTED, f"jiro-{number}", f"VSMT0000001{number}")
    with bank.store.read() as connection:
        assert [one.contract_id for one in find.waiting_permits(connection, 2).rows] == ["jiro-0", "jiro-1"]
        assert find.waiting_permits(connection).number == 4 and find.undelivered(connection) == ([], 0)
        assert find.numbers_of_customers(connection)["reissue permitted"] == 4
        numbers = {"available": 0, "bound": 5, "retired": 0, "lost": 4, "drifting": 0}
        assert find.numbers_of_tokens(connection) == numbers
        monkeypatch.setattr(find, "COUNTED", 2)
        assert find.waiting_permits(connection).number == 3


@pytest.mark.sqlite_files
def test_an_old_act_is_found_by_its_index_and_logins_write_nothing_into_it(bank: Bank) -> None:
    plans = asked(bank, "find.rows_of_customer(connection, 'taro-1', 10)")
    assert any("ix_audit_customer" in plan for plan in plans)
    with bank.store.work() as work:
        work.audit(Event.LOGIN_ACCEPTED, actor="gateway", customer="taro-1")
        work.audit(Event.SUSPENDED, actor="hanako", customer="taro-1")
    with bank.store.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT count(*) FROM audit INDEXED BY ix_audit_customer "
            "WHERE substr(event, 1, 6) NOT IN ('login.', 'looked')"
        ).scalar()
        everything = connection.exec_driver_sql("SELECT count(*) FROM audit").scalar()
        rows = find.rows_of_customer(connection, "taro-1", 10)
    assert found == (everything or 0) - 1
    assert [row.event for row in rows][:2] == ["otp.suspended", "login.accepted"]


def test_a_page_of_the_trail_goes_on_where_the_last_one_has_looked_to(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "LOOK_BACK", 4)
    with bank.store.read() as connection:
        everything = audit_rows(connection, AuditFilter(), limit=1000, newest_first=True)
        seen, before = [], None
        for _ in range(100):
            page = find.audit_page(connection, AuditFilter(event="customer.added", before=before), limit=50)
            seen += page.rows
            before = page.next_before
            if before is None:
                break
    assert [row.id for row in seen] == [row.id for row in everything if row.event == "customer.added"]


def test_a_stretch_of_the_trail_goes_on_where_the_last_one_has_looked_to(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "LOOK_BACK", 4)
    with bank.store.read() as connection:
        everything = audit_rows(connection, AuditFilter(), limit=1000)
        wanted = [row.id for row in everything if row.event == "customer.added"]
        for limit in (1, 3, 50):
            seen, after, looks = [], 0, 0
            while looks < 1000:
                stretch = find.audit_stretch(connection, AuditFilter(event="customer.added", after=after), limit=limit)
                seen += stretch.rows
                looks += 1
                if stretch.next_after is None:
                    break
                after = stretch.next_after
            assert [row.id for row in seen] == wanted
            assert looks > 2


@pytest.mark.sqlite_files
def test_a_former_contract_id_is_found_by_the_index(bank: Bank) -> None:
    plans = asked(bank, "find.audit_stretch(connection, AuditFilter(customer='taro-1'), limit=50)")
    assert any("ix_audit_customer" in plan for plan in plans)
