"""Offline codes of a user with several tokens: each is good once, whichever token it is, and is spent in the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from otp_core.accounts import Principal, PrincipalKind
from otp_core.first_factor.hashes import Cost
from otp_core.login.table import Finding
from otp_core.model import Kind, TokenSpec
from pam_module.offline.cache import UserCodes, encode_key, open_cache, seal, verifier
from pam_module.offline.reconcile import Outcome, issue, reconcile
from pam_module.offline.verifier import CACHE, JOURNAL, KEY, OfflineVerifier
from tests.core.at_the_desk import login, reason
from tests.core.bank import Bank, Holder
from tests.pam.test_offline import CHEAP, FIRST, HOST_KEY, OfflineHost, cache, codes_of

STAFF = Principal("staff", PrincipalKind.COMMAND)
PC = "VSMT00000002"


def accepts(bank: Bank, folder: Path, *codes: str) -> list[bool]:
    async def ask() -> list[bool]:
        offline = OfflineVerifier(folder, "web1", lambda: int(bank.clock.now * 1000))
        try:
            return [await offline.accepts("taro", code, "sshd") for code in codes]
        finally:
            offline.close()

    return asyncio.run(ask())


def issued(bank: Bank, folder: Path) -> bytes:
    """A cache for taro on host web1, put into the folder with the host's key; its octets."""
    octets = issue(
        bank.store,
        bank.rules,
        Cost(8, 1, 1),
        host="web1",
        users=["taro"],
        logins=5,
        hours=0.1,
        now=int(bank.clock.now * 1000),
        principal=STAFF,
    )
    for name, content in ((KEY, encode_key(bank.store.sealer.host_key("web1"))), (CACHE, octets)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return octets


def test_a_code_of_each_token_is_good_once_and_is_spent_in_the_store(tmp_path: Path) -> None:
    bank, folder = Bank(tmp_path), tmp_path / "offline"
    folder.mkdir()
    taro, pc = bank.customer(), bank.another_token(PC, spec=TokenSpec(digits=8))
    assert issued(bank, folder).startswith(b"sekisho-offline-cache 2 web1\n"), "an older agent says that it is none"
    tokens = [row.token for row in bank.audit(event="offline.issued")]
    assert sorted(filter(None, tokens)) == [taro.token_id, pc.token_id]
    assert accepts(bank, folder, pc.code(), taro.code(), pc.code(), taro.code(), "00000000") == [
        *(True, True),
        *(False, False, False),
    ]
    done = reconcile(bank.store, (folder / JOURNAL).read_bytes(), bank.rules, STAFF)
    assert [(one.entry.token_id, one.outcome) for one in done] == [
        (pc.token_id, Outcome.SPENT),
        (taro.token_id, Outcome.SPENT),
        (pc.token_id, Outcome.WRONG),
        (taro.token_id, Outcome.WRONG),
        (pc.token_id, Outcome.WRONG),
    ]
    assert {reason(login(bank, one)) for one in (taro, pc)} == {Finding.REUSED}


def test_a_user_with_one_token_has_a_cache_that_an_older_agent_reads(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    assert issued(bank, tmp_path).startswith(b"sekisho-offline-cache 1 web1\n")


def test_a_counter_token_beside_one_by_the_clock_is_left_out(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro: Holder = bank.customer()
    bank.another_token(PC, spec=TokenSpec(Kind.HOTP))
    opened = open_cache(issued(bank, tmp_path), bank.store.sealer.host_key("web1"), "web1")
    assert [codes.token_id for codes in opened.users["taro"]] == [taro.token_id]


def same_codes(token_id: str) -> UserCodes:
    """Of a token that shows what every other one shows."""
    steps = range(FIRST - 1, FIRST + 9)
    made = (verifier("s1", token_id, step, codes_of(step), CHEAP) for step in steps)
    return UserCodes(token_id, 6, 30, 0, FIRST - 1, tuple(made))


def test_digits_that_fit_two_tokens_are_spent_on_both(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path, cache(users={"taro": (same_codes("VSMT1"), same_codes("VSMT2"))}))
    assert host.accepts(codes_of(FIRST), codes_of(FIRST)) == [True, False]
    octets = seal(cache(users={"taro": (same_codes("VSMT2"),)}), HOST_KEY)
    (tmp_path / CACHE).write_bytes(octets)
    assert host.accepts(codes_of(FIRST), codes_of(FIRST + 1)) == [False, True], "also alone it is spent"


def test_digits_that_fit_two_tokens_are_one_login_of_those_that_the_cache_allows(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path, cache(users={"taro": (same_codes("VSMT1"), same_codes("VSMT2"))}, logins=2))
    assert host.accepts(codes_of(FIRST - 1), codes_of(FIRST), codes_of(FIRST + 1)) == [True, True, False]
    assert host.accepts(codes_of(FIRST + 1)) == [False], "also by another process, which reads the journal"
    lines = (tmp_path / JOURNAL).read_bytes().splitlines()[1:]
    assert [b'"also": true' in line for line in lines] == [False, True] * 2
    assert not any(b'"also": false' in line for line in lines), "an older release reads what is as it was"
