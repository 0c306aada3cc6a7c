"""What staff reads: lists page by page, one customer, one token, the audit trail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from otp_core.accounts import Principal, PrincipalKind
from otp_core.audit import id_at, ms_of
from otp_core.model import (
    OtpUse,
    StoreUnavailable,
    TokenSpec,
    TokenState,
)
from otp_core.store.bindings import HeldToken
from otp_core.store.find import DRIFTING, numbers_of_tokens
from otp_core.store.queries import (
    AuditFilter,
    audit_rows,
    counts,
    customer_line,
    customers,
    known_contracts,
    known_tokens,
    newest_audit_id,
    token_line,
    tokens,
)
from otp_core.store.schema import audit, token
from otp_core.store.unit_of_work import NewCustomer
from tests.core.bank import NOON, STAFF, Bank, rules


def filled(folder: Path) -> Bank:
    """Seven customers, four of them with tokens, and two tokens more."""
    bank = Bank(folder)
    for number in range(7):
        token_id = f"VSMT0000000{number}" if number < 4 else None
        bank.customer(f"taro{number}", token_id)
    bank.token("VSMT00000008")
    bank.token("VSMT00000009")
    return bank


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_customers_come_page_by_page_and_none_is_left_out_or_comes_twice(tmp_path: Path, limit: int) -> None:
    with filled(tmp_path).store.read() as connection:
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = customers(connection, after=after, limit=limit)
            assert 0 < len(page.rows) <= limit
            found += [line.contract_id for line in page.rows]
            after = page.next_after
    assert found == [f"taro{number}" for number in range(7)]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_tokens_come_page_by_page_and_none_is_left_out_or_comes_twice(tmp_path: Path, limit: int) -> None:
    with filled(tmp_path).store.read() as connection:
        found, after = [], ""
        while page := tokens(connection, after=after, limit=limit):
            found += [line.token_id for line in page]
            after = page[-1].token_id
    assert found == [f"VSMT0000000{number}" for number in (0, 1, 2, 3, 8, 9)]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_tokens_whose_clock_is_three_steps_off_come_page_by_page(tmp_path: Path, limit: int) -> None:
    bank = filled(tmp_path)
    with bank.store.work() as work:
        for number, drift in ((0, 2), (1, 3), (2, -2), (3, -3), (8, 1), (9, 10)):
            token_id = f"VSMT0000000{number}"
            work.connection.execute(update(token).where(token.c.token_id == token_id).values(drift=drift))
    with bank.store.read() as connection:
        found, after = [], ""
        while page := tokens(connection, after=after, limit=limit, drifting=True):
            found += [line.token_id for line in page]
            after = page[-1].token_id
        assert numbers_of_tokens(connection)[DRIFTING] == 3
    assert found == ["VSMT00000001", "VSMT00000003", "VSMT00000009"]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_shared_token_is_one_line_of_the_list(tmp_path: Path, limit: int) -> None:
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    for who in ("taro", "jiro", "saburo"):
        bank.customer(who)
    bank.customer("shiro", "VSMT00000002")
    with bank.store.read() as connection:
        found, after = [], ""
        while page := tokens(connection, after=after, limit=limit):
            found += [line.token_id for line in page]
            after = page[-1].token_id
    assert found == ["VSMT00000001", "VSMT00000002"]


@pytest.mark.parametrize("limit", [1, 4, 1000])
@pytest.mark.parametrize("newest_first", [False, True])
def test_the_audit_trail_comes_page_by_page_in_both_directions(tmp_path: Path, limit: int, newest_first: bool) -> None:
    with filled(tmp_path).store.read() as connection:
        found: list[int] = []
        wanted = AuditFilter()
        while page := audit_rows(connection, wanted, limit=limit, newest_first=newest_first):
            found += [row.id for row in page]
            wanted = AuditFilter(before=found[-1]) if newest_first else AuditFilter(after=found[-1])
        everything = [row.id for row in audit_rows(connection, AuditFilter())]
    assert len(everything) == 6 + 7
    assert found == sorted(everything, reverse=newest_first)


def test_customers_are_found_by_the_beginning_of_what_they_are_called(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    bank.desk.customers.add("100%", STAFF, name="山田 花子")

    def search(words: str) -> list[str]:
        with bank.store.read() as connection:
            return [line.contract_id for line in customers(connection, search=words).rows]

    assert search("TARO3") == ["taro3"]
    assert search("aro3") == [], "a part in the middle has no index"
    assert search("花子") == search("花") == search("山田花子") == ["100%"]
    assert search("VSMT00000002") == ["taro2"]
    assert search("100%") == ["100%"]
    assert search("%") == [], "a sign is a sign, and not a pattern"
    assert search("_") == []


def test_customers_are_found_by_their_state(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    bank.desk.enrolment.suspend("taro1", None, STAFF)
    bank.desk.customers.lock("taro5", STAFF)
    with bank.store.read() as connection:
        suspended = customers(connection, use=OtpUse.SUSPENDED).rows
        locked = customers(connection, locked=True).rows
        active = customers(connection, use=OtpUse.ACTIVE).rows
        assert customers(connection, use=OtpUse.NONE, locked=True).rows == locked
    assert [line.contract_id for line in suspended] == ["taro1"]
    assert [line.contract_id for line in locked] == ["taro5"]
    assert [line.contract_id for line in active] == ["taro0", "taro2", "taro3"]


def test_tokens_are_found_by_their_beginning_and_by_their_state(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    bank.desk.tokens.retire("VSMT00000009", STAFF)
    with bank.store.read() as connection:
        assert [line.token_id for line in tokens(connection, search="vsmt 0000-0003")] == ["VSMT00000003"]
        assert tokens(connection, search="0003") == tokens(connection, search="-") == []
        assert [line.token_id for line in tokens(connection, state=TokenState.AVAILABLE)] == ["VSMT00000008"]
        assert [line.token_id for line in tokens(connection, state=TokenState.RETIRED)] == ["VSMT00000009"]


def test_one_customer_and_one_token_are_shown_with_what_belongs_to_them(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer(password_hash="a hash")
    with bank.store.read() as connection:
        line = customer_line(connection, "taro")
        assert line is not None
        assert (line.otp_use, line.password_held) == (OtpUse.ACTIVE, True)
        assert line.tokens == (HeldToken("VSMT00000001", TokenState.BOUND, None, int(NOON * 1000), 0),)
        token = token_line(connection, "VSMT00000001")
        assert token is not None
        assert (token.contract_id, token.state, token.last_step, token.digits) == ("taro", TokenState.BOUND, -1, 6)
        assert customer_line(connection, "nobody") is None
        assert token_line(connection, "VSMT99999999") is None


def test_the_audit_trail_is_asked_for_by_whom_what_who_and_when(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro")
    bank.clock.now += 3600
    bank.customer("jiro", "VSMT00000002")
    bank.desk.enrolment.suspend("jiro", None, Principal("the counter", PrincipalKind.COMMAND))
    later = id_at(int((NOON + 3600) * 1000))

    def asked(**wanted: Any) -> list[tuple[str, str | None]]:
        return [(row.event, row.customer) for row in bank.audit(**wanted)]

    assert asked(customer="jiro") == [("otp.enrolled", "jiro"), ("otp.suspended", "jiro")]
    assert asked(token="VSMT00000001") == [("token.imported", None), ("otp.enrolled", "taro")]
    assert asked(event="otp") == [("otp.enrolled", "taro"), ("otp.enrolled", "jiro"), ("otp.suspended", "jiro")]
    assert asked(event="otp.suspended") == [("otp.suspended", "jiro")]
    assert asked(actor="the counter") == [("otp.suspended", "jiro")]
    assert asked(before=later) == [("token.imported", None), ("otp.enrolled", "taro")]
    assert len(asked(after=later)) == 3
    assert asked(customer="jiro", event="token") == []


ODD = {1: "100%", 2: "a_b"}
"""Audit rows with events that no version has, by their ids."""


@pytest.mark.parametrize("letters", ["%", "_", "login%accepted", "login_accepted", "otp_enrolled", "otp.%"])
def test_an_event_is_asked_for_by_its_letters_and_not_by_a_pattern(tmp_path: Path, letters: str) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro")
    assert bank.audit(event=letters) == []
    rows = [{"id": number, "event": event, "actor": "", "source": "", "reason": ""} for number, event in ODD.items()]
    with bank.store.work() as work:
        work.connection.execute(insert(audit), rows)
    assert [row.event for row in bank.audit(event=letters)] == []
    assert [row.event for row in bank.audit(event="100%")] == ["100%"]
    assert [row.event for row in bank.audit(event="a_")] == ["a_b"]


def test_the_newest_row_tells_the_latest_moment(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with bank.store.read() as connection:
        assert newest_audit_id(connection) == 0
    bank.customer()
    with bank.store.read() as connection:
        assert ms_of(newest_audit_id(connection)) == int(NOON * 1000)


def test_everything_is_counted(tmp_path: Path) -> None:
    with filled(tmp_path).store.read() as connection:
        assert counts(connection) == {"customer": 7, "token": 6, "audit": 13}


def test_what_a_file_brings_is_compared_with_what_is_there(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    with bank.store.read() as connection:
        assert set(known_contracts(connection, ["taro1", "hanako", "taro6"])) == {"taro1", "taro6"}
        assert set(known_tokens(connection, ["VSMT00000003", "VSMT00000007"])) == {"VSMT00000003"}


def test_rows_that_were_added_meanwhile_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    """Two imports of one file at once."""
    bank = filled(tmp_path)
    before, trail = bank.rows(), bank.audit()
    new = [("VSMT00000007", b"seed", TokenSpec()), ("VSMT00000003", b"seed", TokenSpec())]
    with pytest.raises(StoreUnavailable, match="a token of the same ID was added by somebody else"):
        bank.desk.tokens.import_rows(new, STAFF)
    with pytest.raises(StoreUnavailable, match="a customer of the same ID was added by somebody else"):
        bank.desk.customers.import_rows([NewCustomer("hanako", None), NewCustomer("taro1", None)], [None, None], STAFF)
    assert (bank.rows(), bank.audit()) == (before, trail)
