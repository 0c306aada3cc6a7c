"""What staff looked at is in the audit trail, where each finds their own; what a filter finds can be taken away."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from io import StringIO

import pytest

from otp_core.audit import Event
from otp_core.model import Role
from otp_core.store.find import keys_of, keys_of_tokens
from otp_core.store.queries import AuditLine
from tests.web.console import Console, ConsoleClient, console

FORMULA = '=HYPERLINK("http://evil.example")'


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def operator(bank: Console) -> ConsoleClient:
    return bank.client(Role.OPERATOR)


def look(bank: Console, begin: str, customer: str | None = None) -> AuditLine:
    """The first look of the operator whose reason begins so, as soon as it is written."""
    end = time.monotonic() + 10
    while True:
        rows = [row for row in bank.sekisho.audit(customer, "looked.") if row.actor == "operator"]
        found = [row for row in rows if row.reason.startswith(begin)]
        if found:
            return found[0]
        assert time.monotonic() < end, rows
        time.sleep(0.05)


def test_who_looked_at_whom_is_one_row_a_minute_and_their_own_page_leads_there(
    bank: Console, operator: ConsoleClient
) -> None:
    one = bank.sekisho.customer()
    with bank.sekisho.store.read() as connection:
        key = keys_of(connection, [one.contract_id])[one.contract_id]
    for _ in range(3):
        assert one.contract_id in operator.get(f"/customers/{key}").text
    operator.get(f"/customers/{key}/unlock")
    row = look(bank, "page", one.contract_id)
    assert (row.event, row.source, row.reason) == ("looked.at-customer", "127.0.0.1", "page")
    assert len(bank.sekisho.audit(one.contract_id, "looked.")) == 1
    assert '<a href="/audit?actor=operator">' in operator.get("/me").text
    assert "Back ends" not in operator.get("/dashboard").text, "the settings name none"
    own = operator.get("/audit?actor=operator").text
    assert "looked at" in own and one.contract_id in own
    page = operator.get(f"/customers/{key}").text
    assert "looked at" not in page


def test_a_list_names_whom_it_showed(bank: Console, operator: ConsoleClient) -> None:
    bank.sekisho.customer()
    operator.get("/customers")
    row = look(bank, "list: ")
    assert row.event == "looked.through-customers" and "taro1" in row.reason


def test_a_customers_token_and_its_trail_are_looks_too(bank: Console, operator: ConsoleClient) -> None:
    one, other, third = (bank.sekisho.customer() for _ in range(3))
    with bank.sekisho.store.read() as connection:
        key = keys_of_tokens(connection, [one.token_id])[one.token_id]
    assert one.contract_id in operator.get(f"/tokens/{key}").text
    assert look(bank, "token", one.contract_id).event == "looked.at-customer"
    assert other.contract_id in operator.get(f"/audit?token={other.token_id}").text
    assert look(bank, "audit of a token", other.contract_id).event == "looked.at-customer"
    assert third.contract_id in operator.get(f"/tokens?from={third.token_id}&to={third.token_id}").text
    assert third.contract_id in look(bank, "tokens: ").reason


def test_what_a_filter_finds_is_taken_away_as_excel_and_as_json_lines(bank: Console, operator: ConsoleClient) -> None:
    with bank.sekisho.store.work() as work:
        for who, why in (("0012345", FORMULA), ("０７", '改行\n"引用"')):
            work.audit(Event.LOGIN_REJECTED, actor="strange", customer=who, reason=why)
    told = operator.ask("GET", "/audit/file?form=excel&actor=strange", None)
    assert told.status == 200 and told.headers["Content-Type"] == "text/csv; charset=utf-8"
    name = told.headers["Content-Disposition"]
    assert name.startswith('attachment; filename="audit-') and name.endswith('Z.csv"')
    assert told.text.startswith("\ufeffid,time,event")
    rows = list(csv.DictReader(StringIO(told.text.lstrip("\ufeff"), newline="")))
    assert [row["customer"] for row in rows] == ['="0012345"', '="０７"']
    assert [row["reason"] for row in rows] == ["'" + FORMULA, '改行\n"引用"']
    assert rows[0]["node"] == bank.sekisho.audit(event="login.rejected")[-2].node
    assert rows[0]["id"] == f'="{bank.sekisho.audit(event="login.rejected")[-2].id}"'
    told = operator.ask("GET", "/audit/file?form=jsonl&actor=strange", None)
    assert [json.loads(line)["reason"] for line in told.text.splitlines()] == [FORMULA, '改行\n"引用"']
    assert look(bank, "2 rows of the audit trail taken away of strange")


def test_what_was_typed_into_a_filter_is_not_written_down_unless_the_trail_has_it(
    bank: Console, operator: ConsoleClient
) -> None:
    operator.ask("GET", "/audit/file?form=excel&customer=my-pass-word", None)
    assert look(bank, "0 rows of the audit trail taken away").reason.endswith("away")
    assert not [row for row in bank.sekisho.audit() if "my-pass-word" in str(row)]


def test_every_role_may_take_away_what_it_may_see_and_nobody_else(bank: Console) -> None:
    auditor, stranger = bank.client(Role.AUDITOR), bank.client()
    assert auditor.ask("GET", "/audit/file", None).status == 200
    assert stranger.ask("GET", "/audit/file", None).status == 303
