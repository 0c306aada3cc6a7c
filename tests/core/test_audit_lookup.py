"""The audit trail through its look-up tables: whatever is asked, the same rows as without, and few are looked at."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, select

from otp_core.audit import Event, id_at
from otp_core.clock import ClockSetBack
from otp_core.model import StoreUnavailable
from otp_core.store import audit_lookup, find, lookup_task
from otp_core.store.audit_lookup import SETTLED_MS, closed_to, look
from otp_core.store.lookup_task import LookupTask
from otp_core.store.queries import AuditFilter, AuditLine, audit_rows, read_meta
from otp_core.store.schema import audit_name, audit_stretch, audit_subject
from otp_core.store.sqlite.login_batch import CHANGED
from tests.core.bank import NOON, STAFF, Bank

_ROWS = 7
"""Of a stretch."""
_EVENTS = (Event.LOGIN_ACCEPTED, Event.LOGIN_REJECTED, Event.SUSPENDED, Event.CUSTOMER_LOCKED)
_ACTORS = ("gateway", "hanako")
_NOW = int(NOON * 1000)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_lookup, "ROWS_OF_A_STRETCH", _ROWS)
    monkeypatch.setattr(audit_lookup, "IDS_AT_ONCE", 3)


def _written(bank: Bank, number: int, seed: int = 7) -> None:
    drawn = random.Random(seed)
    with bank.store.work() as work:
        for _ in range(number):
            work.audit(
                drawn.choice(_EVENTS),
                actor=drawn.choice(_ACTORS),
                customer=drawn.choice(("taro", "jiro", "x1", None)),
                token=drawn.choice(("VSMT1", "VSMT2", None)),
            )


def _taken_in(bank: Bank, later_ms: int = 2 * SETTLED_MS) -> int:
    """How many stretches were closed so much later."""
    task = LookupTask(bank.store, lambda: _NOW)
    return sum(1 for _ in iter(lambda: task.step(_NOW + later_ms), False))


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """With closed stretches and a rest that is in no table."""
    bank = Bank(tmp_path)
    _written(bank, 10 * _ROWS + 4)
    assert _taken_in(bank) == 10
    return bank


def _wanted() -> Iterator[AuditFilter]:
    for customer, token, event_, actor in itertools.product(
        ("taro", "x", None), ("VSMT1", None), ("login.", "LOGIN", "customer.locked", "none", None), ("hanako", None)
    ):
        yield AuditFilter(customer, token, event_, actor)
    yield AuditFilter("taro", former=("jiro",))
    yield AuditFilter("nobody", customer_fingerprint="x1")
    yield AuditFilter(token="VSMT", token_fingerprint="VSMT2")


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize(("limit", "most"), [(3, 1000), (1, 5), (50, 9)])
def test_every_question_gives_the_rows_that_a_scan_gives(bank: Bank, newest_first: bool, limit: int, most: int) -> None:
    with bank.store.read() as connection:
        for wanted in _wanted():
            scanned = audit_rows(connection, wanted, newest_first=newest_first)
            found: list[AuditLine] = []
            part = wanted
            for _ in range(200):
                page = look(connection, part, limit=limit, most=most, newest_first=newest_first)
                found += page.rows
                if page.to is None:
                    break
                part = replace(wanted, before=page.to) if newest_first else replace(wanted, after=page.to)
            assert found == scanned, wanted


@pytest.mark.parametrize("newest_first", [False, True])
def test_both_ends_are_kept_to(bank: Bank, newest_first: bool) -> None:
    with bank.store.read() as connection:
        ids = [row.id for row in audit_rows(connection, AuditFilter())]
        for low, high in itertools.combinations(range(0, len(ids), 5), 2):
            for name in ("taro", None):
                wanted = AuditFilter(name, after=ids[low], before=ids[high])
                scanned = audit_rows(connection, wanted, newest_first=newest_first)
                for most in (999, None):
                    assert look(connection, wanted, limit=999, most=most, newest_first=newest_first).rows == scanned


def test_a_customer_s_old_logins_are_found_however_many_came_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "LOOK_BACK", 10)
    bank = Bank(tmp_path)
    with bank.store.work() as work:
        work.audit(_EVENTS[0], actor="gateway", customer="saburo")
    _written(bank, 40 * _ROWS)
    with bank.store.read() as connection:
        assert find.rows_of_customer(connection, "saburo", 10) == []
    assert _taken_in(bank) == 40
    with bank.store.read() as connection:
        assert [row.event for row in find.rows_of_customer(connection, "saburo", 10)] == ["login.accepted"]
        assert len(find.audit_page(connection, AuditFilter(customer="saburo"), limit=50).rows) == 1


def test_a_row_that_may_still_be_written_late_closes_no_stretch(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    _written(bank, 3 * _ROWS)
    assert _taken_in(bank, SETTLED_MS - 1) == 0
    bank.clock.now += 3600
    _written(bank, 2)
    assert _taken_in(bank, SETTLED_MS + 1000) == 3
    with bank.store.read() as connection:
        assert closed_to(connection) < id_at(_NOW + 1000)


def test_two_tasks_on_one_store_take_each_stretch_in_once(bank: Bank) -> None:
    with bank.store.read() as connection:
        stretch = connection.execute(select(audit_stretch)).first()
    assert stretch is not None
    with bank.store.derive() as connection:
        assert not audit_lookup.take_in(connection, audit_lookup.Stretch(*stretch))


def test_what_was_taken_in_while_the_clock_was_wrong_is_taken_in_anew(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.clock.now += 86_400
    _written(bank, 3 * _ROWS)
    assert _taken_in(bank, 2 * 86_400_000) == 3
    bank.store.ids.follow(lambda: NOON)
    _written(bank, 2 * _ROWS, seed=8)
    with bank.store.read() as connection:
        assert len(look(connection, AuditFilter("taro"), limit=99, most=999, newest_first=True).rows) < len(
            audit_rows(connection, AuditFilter("taro"))
        )
    task = LookupTask(bank.store, lambda: _NOW)
    assert task.step(_NOW + 1000), "the stretches of the future are given up"
    with bank.store.read() as connection:
        assert closed_to(connection) == 0
        assert {len(connection.execute(select(table)).all()) for table in (audit_subject, audit_name)} == {0}
        assert look(connection, AuditFilter("taro"), limit=99, most=999, newest_first=False).rows == audit_rows(
            connection, AuditFilter("taro")
        )


@pytest.mark.sqlite_files
def test_logins_do_not_notice(bank: Bank) -> None:
    """Their batch looks at a mark that every other transaction writes; this one leaves it, and notes no act."""
    with bank.store.read() as connection:
        before = read_meta(connection, CHANGED)
    _written(bank, _ROWS)
    bank.desk.customers.add("hanako", STAFF)
    with bank.store.read() as connection:
        before = read_meta(connection, CHANGED)
    assert _taken_in(bank) >= 1
    with bank.store.read() as connection:
        assert read_meta(connection, CHANGED) == before


@pytest.mark.sqlite_files
def test_few_rows_are_looked_at(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    _written(bank, 200 * _ROWS)
    assert _taken_in(bank) == 200
    statements: list[tuple[str, object]] = []
    event.listen(bank.store.engine, "before_cursor_execute", lambda *call: statements.append(call[2:4]))
    with bank.store.read() as connection:
        look(connection, AuditFilter("nobody"), limit=50, most=99, newest_first=True)
        look(connection, AuditFilter(event="nothing"), limit=50, most=99, newest_first=True)
        assert 2 <= len(statements) < 12
        plans = [
            row[3]
            for statement, parameters in list(statements)
            if "audit_subject" in statement
            for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)  # type: ignore[arg-type]
        ]
    assert len(plans) == 2 and all(plan.startswith("SEARCH") for plan in plans), "and nothing is sorted"


def test_the_task_goes_on_after_trouble(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    _written(bank, 2 * _ROWS)
    monkeypatch.setattr(lookup_task, "LOOK_SECONDS", 0.01)
    troubles: list[Exception] = [ClockSetBack("the clock was set back"), StoreUnavailable("busy"), ValueError("odd")]

    def now() -> int:
        if troubles:
            raise troubles.pop()
        return _NOW + 2 * SETTLED_MS

    async def served() -> None:
        task = asyncio.create_task(LookupTask(bank.store, now).run())
        for _ in range(500):
            await asyncio.sleep(0.01)
            with bank.store.read() as connection:
                if len(connection.execute(select(audit_stretch)).all()) == 12:
                    break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(served())
    assert not troubles
    with bank.store.read() as connection:
        assert len(connection.execute(select(audit_stretch)).all()) == 12
