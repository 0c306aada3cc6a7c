"""A host's clock was ahead while it let people in offline: at the store nobody is refused for it, and no code is good
again."""

from __future__ import annotations

from pathlib import Path

from otp_core.accounts import Principal, PrincipalKind
from otp_core.first_factor.hashes import Cost
from otp_core.login.table import Finding
from otp_core.model import Accept
from pam_module.offline.cache import open_cache
from pam_module.offline.journal import Entry, Journal
from pam_module.offline.reconcile import Outcome, issue, reconcile
from tests.core.at_the_desk import login, reason
from tests.core.bank import Bank

STAFF = Principal("staff", PrincipalKind.COMMAND)
HOUR = 120


def test_a_code_of_a_time_that_is_still_to_come_is_spent_for_that_time(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    key = bank.store.sealer.host_key("web1")
    journal = Journal(tmp_path / "journal", key, "web1")
    now = int(bank.clock.now * 1000)
    there = taro.step(HOUR)
    for at in (now, now + 3_600_000):
        journal.add(Entry("serial", "taro", taro.token_id, there, at, True, ""))
    journal.close()
    done = reconcile(bank.store, (tmp_path / "journal").read_bytes(), bank.rules, STAFF, now)
    assert [one.outcome for one in done] == [Outcome.SPENT, Outcome.CONFLICT]
    assert login(bank, taro) == Accept(), "nobody waits for that hour"
    cost = Cost(8, 1, 1)
    issued = issue(
        bank.store, bank.rules, cost, host="web1", users=["taro"], logins=3, hours=2, now=now, principal=STAFF
    )
    cache = open_cache(issued, key, "web1")
    (codes,) = cache.users["taro"]
    assert cache.fits(codes, taro.code(HOUR - 1), there - 1)
    assert not cache.fits(codes, taro.code(HOUR), there), "nor is it given to a host again"
    bank.clock.now += 3600
    assert reason(login(bank, taro)) == Finding.REUSED
    bank.clock.now += 30
    assert login(bank, taro) == Accept()
