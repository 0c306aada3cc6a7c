"""Answers that are given again: for a day, to the same request alone, sealed, and deleted in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.accounts.kept_answers import AskedDifferently, RequestKey
from tests.core.bank import Bank

ANSWER = b'{"permit": "K7MX-4PQR-TTTT"}'
DAY = 24 * 3600


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def key(
    bank: Bank, asked: bytes = b"asked", *, api_key: int = 1, path: str = "/enrol", text: str = "key-1"
) -> RequestKey:
    return bank.desk.kept_answers.key_of(api_key, path, text, asked)


def keep(bank: Bank, of: RequestKey) -> None:
    with bank.desk.together() as (desk, work):
        desk.kept_answers.keep(work, of, ANSWER)


def find(bank: Bank, of: RequestKey) -> bytes | None:
    with bank.desk.together() as (desk, work):
        return desk.kept_answers.find(work, of)


def test_the_same_request_gets_the_answer_and_no_other_does(bank: Bank) -> None:
    assert find(bank, key(bank)) is None
    keep(bank, key(bank))
    assert find(bank, key(bank)) == ANSWER
    others = (key(bank, api_key=2), key(bank, path="/resume"), key(bank, text="key-2"))
    assert [find(bank, other) for other in others] == [None] * 3
    with pytest.raises(AskedDifferently):
        find(bank, key(bank, b"asked otherwise"))


def test_it_is_given_for_a_day_and_then_deleted(bank: Bank) -> None:
    keep(bank, key(bank))
    bank.clock.now += DAY - 1
    assert find(bank, key(bank)) == ANSWER and bank.desk.kept_answers.expire() == 0
    bank.clock.now += 1
    assert find(bank, key(bank)) is None
    assert find(bank, key(bank, b"asked otherwise")) is None
    keep(bank, key(bank, b"asked otherwise"))
    assert find(bank, key(bank, b"asked otherwise")) == ANSWER
    bank.clock.now += DAY
    assert bank.desk.kept_answers.expire() == 1
    assert bank.rows()["kept_answer"] == []


def test_the_store_alone_tells_neither_answer_nor_request(bank: Bank) -> None:
    keep(bank, key(bank, b"the code is 492039", text="a-key-of-a-program"))
    octets = b"".join(one.read_bytes() for one in bank.folder.glob("bank.db*")) + repr(bank.rows()).encode()
    for secret in (b"K7MX", b"492039", b"a-key-of-a-program"):
        assert secret not in octets


def test_no_two_requests_are_taken_for_one(bank: Bank) -> None:
    """However their parts are put together."""
    keys = [key(bank, api_key=1, path="1/a", text="b"), key(bank, api_key=11, path="/a", text="b")]
    keys += [key(bank, path="/a\0b", text="c"), key(bank, path="/a", text="b!c"), key(bank, path="/ab", text="c")]
    assert len({one.digest for one in keys}) == len(keys)
