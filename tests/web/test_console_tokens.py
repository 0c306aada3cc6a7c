"""What staff does with tokens on the console: found by two codes, made for a customer who is present."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest

from otp_core.model import Role, TokenSpec
from tests.sekisho import STAFF, Customer
from tests.web.console import Console, ConsoleClient, console


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("console"), other="[login]\ntokens_per_customer = 2") as running:
        yield running


@pytest.fixture(scope="module")
def operator(bank: Console) -> ConsoleClient:
    return bank.client(Role.OPERATOR)


def looked_for(client: ConsoleClient, **fields: str) -> str:
    """The page with the answer of a search, once this person may look again."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        client.get("/tokens/find")
        page = client.post("/tokens/find", **{"reason": "found in a drawer", **fields})
        while "is being looked through" in page.text:
            page = client.get("/tokens/find")
        if "Wait some seconds" not in page.text:
            return page.text
        time.sleep(0.5)
    raise AssertionError(page.text)


def test_a_token_in_staffs_hands_is_found_by_two_codes_and_that_is_recorded(
    bank: Console, operator: ConsoleClient
) -> None:
    one = Customer("nobody", "", "VSMT77000001", os.urandom(20))
    bank.sekisho.desk.tokens.import_rows([(one.token_id, one.seed, TokenSpec())], STAFF)
    first, second = one.code(), one.code(1)
    page = looked_for(operator, first=first, second=second)
    assert "VSMT 7700 0001" in page and first not in page and second not in page
    assert "VSMT 7700 0001" not in bank.client(Role.SUPERVISOR).get("/tokens/find").text, "the asker's own answer"
    (row,) = bank.sekisho.audit(event="token.found")
    assert (row.actor, row.token) == ("operator", one.token_id) and row.reason.endswith("found in a drawer")
    assert "No available token shows these two codes" in looked_for(operator, first=second, second=first)
    assert "Enter two codes that follow one another" in looked_for(operator, first="12", second="12")
    assert "Write the reason" in looked_for(operator, first=first, second=second, reason=" ")


def test_one_person_does_not_look_as_fast_as_they_can(bank: Console, operator: ConsoleClient) -> None:
    looked_for(operator, first="123456", second="654321")
    operator.get("/tokens/find")
    page = operator.post("/tokens/find", first="123456", second="654321", reason="again", beginning="VSMT")
    assert "Wait some seconds" in page.text and 'value="again"' in page.text and 'value="VSMT"' in page.text
    assert not re.search(r'value="(123456|654321)"', page.text)
