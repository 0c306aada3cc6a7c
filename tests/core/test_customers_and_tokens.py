"""Customers added and imported; tokens issued and retired."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

import pyotp
import pytest

from otp_core.accounts import Desk, Refusal
from otp_core.audit import Event
from otp_core.model import (
    Accept,
    Algorithm,
    Kind,
    Language,
    OtpUse,
    StoreUnavailable,
    TokenSpec,
    TokenState,
)
from otp_core.store.queries import customer_line
from otp_core.store.unit_of_work import NewCustomer
from tests.core.at_the_desk import ME, login, refused
from tests.core.bank import STAFF, Bank

# Customers.


def test_a_customer_is_added_with_what_is_known_of_them_and_without_a_token(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.desk.customers.add(
        " taro ",
        STAFF,
        password_hash="a hash",
        name="山田 太郎",
        email="taro@example.jp",
        language=Language.EN,
        attributes={"Filter-Id": "gold"},
    )
    with bank.store.read() as connection:
        line = customer_line(connection, "taro")
    assert line is not None
    assert tuple(line) == (
        "taro",
        OtpUse.NONE,
        None,
        0,
        "山田 太郎",
        "taro@example.jp",
        "en",
        '{"Filter-Id": "gold"}',
        True,
        None,
        (),
    )


def test_a_contract_id_is_given_once(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.desk.customers.add("taro", STAFF)
    before = bank.rows()
    assert refused(lambda: bank.desk.customers.add("ｔａｒｏ", STAFF)).refusal is Refusal.CUSTOMER_EXISTS
    assert bank.rows() == before
    bank.desk.customers.add("Taro", STAFF)


def test_imported_customers_come_with_their_tokens_active_all_or_none(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    token = bank.token()
    with bank.store.work() as work:
        record = work.token(token.token_id)
    assert record is not None
    new = [NewCustomer("taro", "a hash", token_key=record.key), NewCustomer("jiro", None)]
    bank.desk.customers.import_rows(new, [token.token_id, None], STAFF)
    token.contract_id = "taro"
    assert login(bank, token) == Accept()
    assert [(row.event, row.customer, row.token) for row in bank.audit()[1:-1]] == [
        (Event.ENROLLED, "taro", "VSMT00000001"),
        (Event.CUSTOMER_ADDED, "jiro", None),
    ]
    before, trail = bank.rows(), bank.audit()
    again = [NewCustomer("saburo", None), NewCustomer("shiro", None, token_key=record.key)]
    with pytest.raises(StoreUnavailable, match="was bound by somebody else"):
        bank.desk.customers.import_rows(again, [None, token.token_id], STAFF)
    assert (bank.rows(), bank.audit()) == (before, trail)


# The inventory.


@pytest.mark.parametrize(
    ("algorithm", "octets"), [(Algorithm.SHA1, 20), (Algorithm.SHA256, 32), (Algorithm.SHA512, 64)]
)
def test_an_issued_token_shows_its_seed_once_and_an_app_can_use_it(
    tmp_path: Path, algorithm: Algorithm, octets: int
) -> None:
    bank = Bank(tmp_path)
    issued = bank.desk.tokens.issue(STAFF, spec=TokenSpec(algorithm=algorithm, digits=8), issuer="当金庫")
    app = pyotp.parse_uri(issued.uri)
    assert isinstance(app, pyotp.TOTP)
    assert len(app.byte_secret()) == octets
    assert (app.name, app.issuer, app.secret) == (issued.token_id, "当金庫", issued.secret)
    bank.customer("taro", None)
    bank.desk.enrolment.enrol("taro", issued.token_id, app.at(int(bank.clock.now)), ME)
    (row,) = bank.audit(event="token.issued")
    assert (row.token, row.actor) == (issued.token_id, "staff")


def test_a_counter_token_is_issued_with_its_counter(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    issued = bank.desk.tokens.issue(STAFF, spec=TokenSpec(Kind.HOTP))
    app = pyotp.parse_uri(issued.uri)
    assert isinstance(app, pyotp.HOTP)
    assert urllib.parse.urlsplit(issued.uri).netloc == "hotp"
    bank.customer("taro", None)
    bank.desk.enrolment.enrol("taro", issued.token_id, app.at(0), ME)


def test_issued_tokens_have_ids_of_their_own(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    ids = {bank.desk.tokens.issue(STAFF).token_id for _ in range(20)}
    assert len(ids) == 20
    assert all(token_id.startswith("SKSO") and len(token_id) == 12 for token_id in ids)


def test_an_id_that_is_taken_is_not_issued_again(tmp_path: Path) -> None:
    """The one ID that is drawn first is in the inventory already."""
    bank = Bank(tmp_path)
    bank.token("SKSO00000007")
    draws = iter([7, 7, 8])
    desk = Desk(bank.store, bank.evaluator, bank.guarded.now, lambda _: next(draws))
    assert desk.tokens.issue(STAFF).token_id == "SKSO00000008"


def test_a_token_in_the_inventory_can_be_retired_and_is_never_bound_again(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    token = bank.token()
    bank.customer("taro", None)
    bank.desk.tokens.retire("ｖｓｍｔ 0000-0001", STAFF)
    assert bank.token_line().state == TokenState.RETIRED
    assert refused(lambda: bank.desk.tokens.retire(token.token_id, STAFF)).refusal is Refusal.NOT_NOW
    assert (
        refused(lambda: bank.desk.enrolment.enrol("taro", token.token_id, token.code(), ME)).refusal
        is Refusal.TOKEN_OR_CODE
    )


def test_a_token_that_a_customer_holds_is_not_retired(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    refusal = refused(lambda: bank.desk.tokens.retire("VSMT00000001", STAFF))
    assert refusal.refusal is Refusal.NOT_NOW
    assert "bound to taro" in refusal.detail
    assert refused(lambda: bank.desk.tokens.retire("VSMT77777777", STAFF)).refusal is Refusal.UNKNOWN_TOKEN
