"""Self-service issuance: a quota of tokens an hour, and those that are not enrolled in time are retired."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from otp_core.accounts import Desk, Principal, PrincipalKind, Quota, Refusal, Refused
from otp_core.accounts.networks import networks_of
from otp_core.audit import Ids
from otp_core.model import TokenState
from tests.core.bank import STAFF, Bank

PLENTY = Quota(1000, 1000)
APP = Principal("soft token", PrincipalKind.ANONYMOUS, "192.0.2.7")
SWEEP = Principal("soft token", PrincipalKind.SYSTEM)
DAY = 24 * 3600


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """A bank whose audit ids go by the clock that is moved by hand: a token's key tells when it was issued."""
    one = Bank(tmp_path)
    one.store.ids = Ids(one.clock)
    one.desk = Desk(one.store, one.evaluator, one.guarded.now)
    return one


def state(bank: Bank, token_id: str) -> str:
    return bank.token_line(token_id).state


def test_one_origin_gets_its_share_of_an_hour(bank: Bank) -> None:
    quota = Quota(2, 1000)
    for _ in range(2):
        bank.desk.issuance.issue_unclaimed(APP, quota)
    with pytest.raises(Refused) as caught:
        bank.desk.issuance.issue_unclaimed(APP, quota)
    assert caught.value.refusal is Refusal.TOO_MANY
    bank.desk.issuance.issue_unclaimed(Principal("soft token", PrincipalKind.ANONYMOUS, "192.0.2.8"), quota)
    bank.clock.now += 3601
    bank.desk.issuance.issue_unclaimed(APP, quota)


def test_everybody_together_gets_no_more_than_the_hour_has(bank: Bank) -> None:
    for host in range(3):
        bank.desk.issuance.issue_unclaimed(
            Principal("soft token", PrincipalKind.ANONYMOUS, f"192.0.2.{host}"), Quota(10, 3)
        )
    with pytest.raises(Refused, match="everybody"):
        bank.desk.issuance.issue_unclaimed(APP, Quota(10, 3))


def test_a_token_that_nobody_enrolled_in_time_is_retired_with_its_row(bank: Bank) -> None:
    unclaimed = bank.desk.issuance.issue_unclaimed(APP, PLENTY).token_id
    bank.clock.now += 14 * DAY - 1
    assert bank.desk.issuance.retire_unclaimed(14, SWEEP) == 0
    bank.clock.now += 2
    assert bank.desk.issuance.retire_unclaimed(14, SWEEP) == 1
    assert state(bank, unclaimed) == TokenState.RETIRED
    assert [row.event for row in bank.audit() if row.token == unclaimed] == ["token.issued", "token.retired"]
    assert bank.desk.issuance.retire_unclaimed(14, SWEEP) == 0


def test_an_enrolled_token_and_one_that_staff_issued_stay(bank: Bank) -> None:

    from otp_core.model import TokenSpec
    from otp_core.otp import code_at, step_at

    bank.desk.customers.add("saburo", STAFF)
    issued = bank.desk.issuance.issue_unclaimed(APP, PLENTY)
    by_staff = bank.desk.tokens.issue(STAFF).token_id
    seed = issued.seed
    code = code_at(seed, step_at(int(bank.clock.now * 1000), 30), TokenSpec())
    bank.desk.enrolment.enrol("saburo", issued.token_id, code, STAFF)
    bank.clock.now += 400 * DAY
    assert bank.desk.issuance.retire_unclaimed(14, SWEEP) == 0
    assert (state(bank, issued.token_id), state(bank, by_staff)) == (TokenState.BOUND, TokenState.AVAILABLE)


def issued(bank: Bank, sources: Iterable[str], quota: Quota) -> int:
    """How many of them get a token."""
    got = 0
    for source in sources:
        try:
            bank.desk.issuance.issue_unclaimed(Principal("soft token", PrincipalKind.ANONYMOUS, source), quota)
            got += 1
        except Refused:
            pass
    return got


@pytest.mark.parametrize(
    ("sources", "got"),
    [
        ([f"2001:db8::{host:x}" for host in range(30)], 2),
        ([f"2001:db8:0:{subnet:x}::1" for subnet in range(30)], 4),
        ([f"2001:db8:0:{subnet:x}00::1" for subnet in range(30)], 8),
        ([f"2001:db8:{site:x}::1" for site in range(30)], 30),
        (["192.0.2.1"] * 30, 2),
        ([f"192.0.2.{host}" for host in range(30)], 8),
        ([f"::ffff:192.0.2.{host}" for host in range(30)], 8),
        ([f"192.0.{net}.1" for net in range(30)], 30),
        (["192.0.2.1", "192.0.2.10", "192.0.2.100", "192.0.2.11"], 4),
    ],
)
def test_a_wider_network_has_a_few_shares_and_not_one_for_each_address(
    bank: Bank, sources: list[str], got: int
) -> None:
    assert issued(bank, sources, Quota(2, 1000)) == got


def test_some_networks_do_not_use_up_the_hour_of_those_that_had_none(bank: Bank) -> None:
    """26 networks of 64 bits with 20 each were the 500 of an hour."""
    quota = Quota(20, 100)
    flood = [f"2001:db8:0:{subnet:x}00::1" for subnet in range(26) for _ in range(20)]
    assert issued(bank, flood, quota) == 75
    assert issued(bank, [f"192.0.{net}.1" for net in range(20)], quota) == 20
    assert issued(bank, [f"192.0.{net}.1" for net in range(20)], quota) == 0, "they had theirs"
    assert issued(bank, flood, quota) == 0
    assert issued(bank, [f"2001:db8:{site:x}::1" for site in range(16, 40)], quota) == 5, "the hour has no more"
    bank.clock.now += 3601
    assert issued(bank, flood[:20], quota) == 20


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:0db8:0000:0000"),
        ("2001:db8:0:0:ffff::2", "2001:0db8:0000:0000"),
        ("::1", "0000:0000:0000:0000"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_an_ipv6_network_counts_as_one(source: str, origin: str) -> None:
    assert networks_of(source)[0].prefix == origin


def test_tokens_of_a_time_in_the_future_use_up_nobodys_hour(bank: Bank) -> None:
    quota = Quota(2, 1000)
    bank.clock.now += 15 * DAY
    for _ in range(2):
        bank.desk.issuance.issue_unclaimed(APP, quota)
    bank.clock.now -= 15 * DAY
    bank.store.ids.follow(bank.clock)
    desk = Desk(bank.store, bank.evaluator, lambda: int(bank.clock.now * 1000))
    for _ in range(2):
        desk.issuance.issue_unclaimed(APP, quota)
    with pytest.raises(Refused):
        desk.issuance.issue_unclaimed(APP, quota)
