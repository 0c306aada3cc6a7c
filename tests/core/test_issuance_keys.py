"""The same key gets the same token, a ticket gets one beside the quotas of the networks, and both have their end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from otp_core.accounts import Desk, IssuanceRequest, Principal, PrincipalKind, Quota, Refusal, Refused
from otp_core.accounts.issuance import KEY_MS, MOST_REPEATS
from otp_core.accounts.results import UnclaimedToken
from otp_core.accounts.tickets import TICKET_MS, make_ticket, owner_of
from otp_core.audit import Ids
from otp_core.model import TokenSpec
from otp_core.otp import code_at, step_at
from otp_core.sealing import Sealer
from tests.core.bank import STAFF, Bank

PLENTY = Quota(1000, 1000)
APP = Principal("soft token", PrincipalKind.ANONYMOUS, "192.0.2.7")
SWEEP = Principal("soft token", PrincipalKind.SYSTEM)
KEY = bytes(range(16))
NOW = 1_800_000_000_000


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """Its audit ids go by the clock that is moved by hand: a token's key tells when it was issued."""
    one = Bank(tmp_path)
    one.store.ids = Ids(one.clock)
    one.desk = Desk(one.store, one.evaluator, one.guarded.now)
    return one


def ask(bank: Bank, key: bytes | None = KEY, ticket: str = "", quota: Quota = PLENTY) -> UnclaimedToken:
    return bank.desk.issuance.issue_unclaimed(APP, quota, IssuanceRequest(key, ticket))


def refusal_of(act: Callable[[], object]) -> Refusal:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.refusal


# Keys


def test_the_same_key_gets_the_same_token_and_another_key_another(bank: Bank) -> None:
    first = ask(bank)
    again = ask(bank)
    assert (again.token_id, again.seed) == (first.token_id, first.seed)
    assert abs(again.issued_at - first.issued_at) <= 1
    assert ask(bank, bytes(16)).token_id != first.token_id
    assert ask(bank, None).token_id != ask(bank, None).token_id
    events = [row.event for row in bank.audit() if row.token == first.token_id]
    assert events == ["token.issued", "token.sent-again"]


def test_a_token_that_is_sent_again_uses_up_no_quota(bank: Bank) -> None:
    quota = Quota(1, 1)
    assert ask(bank, quota=quota).token_id == ask(bank, quota=quota).token_id
    assert refusal_of(lambda: ask(bank, bytes(16), quota=quota)) is Refusal.TOO_MANY


def test_an_enrolled_token_is_not_sent_again(bank: Bank) -> None:
    bank.desk.customers.add("saburo", STAFF)
    issued = ask(bank)
    code = code_at(issued.seed, step_at(int(bank.clock.now * 1000), 30), TokenSpec())
    bank.desk.enrolment.enrol("saburo", issued.token_id, code, STAFF)
    rows = len(bank.audit())
    assert refusal_of(lambda: ask(bank)) is Refusal.REQUEST_USED_UP
    assert len(bank.audit()) == rows


def test_a_token_is_sent_again_for_a_day_and_so_often(bank: Bank) -> None:
    first = ask(bank)
    bank.clock.now += KEY_MS / 1000 - 1
    for _ in range(MOST_REPEATS):
        assert ask(bank).token_id == first.token_id
    assert refusal_of(lambda: ask(bank)) is Refusal.REQUEST_USED_UP
    late = ask(bank, bytes(16))
    bank.clock.now += KEY_MS / 1000 + 1
    assert refusal_of(lambda: ask(bank, bytes(16))) is Refusal.REQUEST_USED_UP
    bank.desk.issuance.retire_unclaimed(14, SWEEP)
    assert ask(bank, bytes(16)).token_id != late.token_id, "the sweep forgets the key, and no token is lost by that"


def test_the_store_has_neither_a_key_nor_a_ticket(bank: Bank, tmp_path: Path) -> None:
    bank.desk.customers.add("taro", STAFF)
    ticket = bank.desk.issuance.ticket("taro")
    ask(bank, KEY, ticket)
    with bank.store.read() as connection:
        rows = connection.exec_driver_sql("SELECT digest FROM issuance_key").fetchall()
        origin = connection.exec_driver_sql("SELECT origin FROM unclaimed_token").scalar_one()
    assert len(rows) == 2 and all(KEY not in row[0] and len(row[0]) == 32 for row in rows)
    assert origin.startswith("customer ") and "taro" not in origin


def test_one_key_sent_at_once_by_many_gets_one_token(bank: Bank) -> None:
    got: list[str] = []

    def run() -> None:
        got.append(ask(bank).token_id)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4 and len(set(got)) == 1


# Tickets


def test_a_ticket_gets_one_token_where_the_network_has_had_its_share(bank: Bank) -> None:
    quota = Quota(1, 1)
    ask(bank, bytes(16), quota=quota)
    ticket = bank.desk.issuance.ticket("taro")
    first = ask(bank, KEY, ticket, quota)
    assert ask(bank, KEY, ticket, quota).token_id == first.token_id
    assert refusal_of(lambda: ask(bank, bytes(17), ticket, quota)) is Refusal.TOO_MANY, "it was used"


def test_a_customer_has_a_share_of_the_hour_and_uses_up_no_networks(bank: Bank) -> None:
    quota = Quota(1, 3, one_customer=2)
    for number in range(2):
        ask(bank, bytes([number]) * 16, bank.desk.issuance.ticket("taro"), quota)
    assert ask(bank, bytes([2]) * 16, bank.desk.issuance.ticket("taro"), quota), "as without a ticket"
    assert refusal_of(lambda: ask(bank, bytes([3]) * 16, bank.desk.issuance.ticket("taro"), quota)) is Refusal.TOO_MANY
    ask(bank, bytes([4]) * 16, bank.desk.issuance.ticket("jiro"), quota)
    hana = bank.desk.issuance.ticket("hana")
    assert refusal_of(lambda: ask(bank, bytes([5]) * 16, hana, quota)) is Refusal.TOO_MANY, "all customers together"
    bank.clock.now += 3601
    assert ask(bank, bytes([6]) * 16, bank.desk.issuance.ticket("taro"), quota)


def test_a_ticket_tells_whose_it_is_to_this_store_alone_and_for_an_hour() -> None:
    digest, other = Sealer(bytes(32)).issuance_digest, Sealer(bytes(31) + b"x").issuance_digest
    ticket = make_ticket(digest, "taro", NOW)
    assert len(ticket) == 64
    owner = owner_of(digest, ticket, NOW)
    assert owner and owner == owner_of(digest, make_ticket(digest, "taro", NOW), NOW + TICKET_MS - 1)
    assert owner != owner_of(digest, make_ticket(digest, "jiro", NOW), NOW)
    assert owner_of(digest, ticket, NOW + TICKET_MS) is None
    assert owner_of(digest, ticket, NOW - 1) is None, "made by a clock that was ahead"
    assert owner_of(other, ticket, NOW) is None


@pytest.mark.parametrize("ticket", ["", "x", "é", "=", "A" * 63, "A" * 64, "A" * 1000])
def test_what_is_no_ticket_is_none(ticket: str) -> None:
    assert owner_of(Sealer(bytes(32)).issuance_digest, ticket, NOW) is None


def test_a_ticket_with_any_letter_changed_is_none() -> None:
    digest = Sealer(bytes(32)).issuance_digest
    ticket = make_ticket(digest, "taro", NOW)
    for at, letter in enumerate(ticket):
        changed = ticket[:at] + ("A" if letter != "A" else "B") + ticket[at + 1 :]
        assert owner_of(digest, changed, NOW) is None
