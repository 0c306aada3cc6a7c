"""Lists of tokens to be retired, below the pages: in steps, and never one that a customer holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from otp_core.accounts import Principal, Refused, staff_principal
from otp_core.accounts.retirements import keep_list, token_list
from otp_core.imports.importers import ImportRules
from otp_core.imports.task import ImportTask
from otp_core.model import Role, TokenSpec
from otp_core.store.file_imports import FileImport, file_import_of
from otp_core.store.queries import TokenSpan
from otp_core.store.schema import token
from tests.core.bank import STAFF, Bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.fixture
def supervisor(bank: Bank) -> Principal:
    bank.desk.staff.add("hanako", Role.SUPERVISOR, STAFF)
    record = bank.desk.staff.named("hanako")
    assert record is not None
    return staff_principal(record, "192.0.2.7", "recall")


def stock(bank: Bank, *token_ids: str) -> None:
    bank.desk.tokens.import_rows([(one, b"seed" * 5, TokenSpec()) for one in token_ids], STAFF)


def kept(bank: Bank, by: Principal, span: TokenSpan) -> int:
    with bank.store.read() as connection:
        tokens = token_list(connection, span)
    return keep_list(bank.desk, tokens, by)


def found(bank: Bank, key: int) -> FileImport:
    with bank.store.read() as connection:
        one = file_import_of(connection, key)
    assert one is not None
    return one


def state_of(bank: Bank, token_id: str) -> str:
    with bank.store.read() as connection:
        return str(connection.execute(select(token.c.state).where(token.c.token_id == token_id)).scalar_one())


def test_a_token_that_was_bound_after_the_list_was_decided_is_left_to_its_customer(
    bank: Bank, supervisor: Principal
) -> None:
    stock(bank, "VSMT90000001", "VSMT90000002", "VSMT90000003")
    key = kept(bank, supervisor, TokenSpan("VSMT9", "VSMT9"))
    bank.desk.file_imports.begin(key, supervisor)
    with bank.store.work() as work:
        record = work.token("VSMT90000002")
        assert record is not None and work.bind_tokens([record.key], shared=False) == 1
    assert ImportTask(bank.store, bank.desk, ImportRules()).step()
    assert [state_of(bank, f"VSMT9000000{one}") for one in (1, 2, 3)] == ["retired", "bound", "retired"]
    assert (found(bank, key).state, found(bank, key).done, found(bank, key).written) == ("done", 3, 2)


def test_a_span_is_bounds_and_a_beginning_and_a_verifier(bank: Bank) -> None:
    stock(bank, "VSMT91", "VSMT9199", "VSMT92", "VSMT93")
    bank.desk.tokens.import_elsewhere(["VSMT94"], "vip", STAFF)

    def ids(span: TokenSpan) -> list[str]:
        with bank.store.read() as connection:
            return list(token_list(connection, span).token_ids)

    assert ids(TokenSpan("VSMT91", "VSMT91")) == ["VSMT91", "VSMT9199"]
    assert ids(TokenSpan("VSMT9199", "VSMT92")) == ["VSMT9199", "VSMT92"]
    assert ids(TokenSpan("VSMT93")) == ["VSMT93", "VSMT94"]
    assert ids(TokenSpan("VSMT93", "", "local")) == ["VSMT93"]
    assert ids(TokenSpan(verifier="vip")) == ["VSMT94"]


def test_whoever_lost_their_role_retires_nothing(bank: Bank, supervisor: Principal) -> None:
    stock(bank, "VSMT90000001")
    key = kept(bank, supervisor, TokenSpan("VSMT9", "VSMT9"))
    bank.desk.file_imports.begin(key, supervisor)
    bank.desk.staff.disable("hanako", STAFF)
    assert ImportTask(bank.store, bank.desk, ImportRules()).step()
    assert (found(bank, key).state, found(bank, key).why) == ("stopped", "not-permitted")
    assert state_of(bank, "VSMT90000001") == "available"


def test_no_list_of_no_tokens(bank: Bank, supervisor: Principal) -> None:
    with pytest.raises(Refused):
        kept(bank, supervisor, TokenSpan("NONE", "NONE"))
