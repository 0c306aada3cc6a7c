"""Offline codes from their issue to the reconciliation: with the commands, a real agent and a real store."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from otp_core.first_factor.hashes import Cost
from otp_core.otp import step_at
from pam_module.frames import ResultCode
from pam_module.offline.cache import BadCache, Cache, UserCodes, encode_key, open_cache, seal, verifier
from pam_module.offline.journal import BadJournal, Entry, Journal, read_journal
from pam_module.offline.verifier import CACHE, JOURNAL, KEY, OfflineVerifier
from tests.fakes import HandClock
from tests.pam.agent import Agent, agent
from tests.pam.host import login
from tests.sekisho import Customer, Sekisho, client_table, free_port

PROFILE = 'timeout = 0.2\nretries = 0\n[[agent.profiles]]\nname = "default"\nmode = "code"\noffline = "codes"\n'
THROTTLE = "[throttle]\nfree_failures = 50\n"


@pytest.fixture
def sekisho(tmp_path: Path) -> Iterator[Sekisho]:
    """A store whose server does not run yet."""
    (tmp_path / "sekisho").mkdir()
    one = Sekisho(tmp_path / "sekisho", clients=client_table("web1", "127.0.0.0/8", "code"), more=THROTTLE)
    yield one
    one.close()


def command(sekisho: Sekisho, *words: str, code: int = 0) -> bytes:
    command = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), *words]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout


def issue_cache(sekisho: Sekisho, web1: Agent, *users: str, logins: int = 3, hours: float = 0.1) -> None:
    (web1.offline / KEY).write_bytes(command(sekisho, "pam-offline", "key", "--host", "web1"))
    words = [word for user in users for word in ("--user", user)]
    limits = ["--logins", str(logins), "--hours", str(hours)]
    (web1.offline / CACHE).write_bytes(command(sekisho, "pam-offline", "issue", "--host", "web1", *words, *limits))
    for name in (KEY, CACHE):
        (web1.offline / name).chmod(0o600)


def wrong(one: Customer) -> str:
    near = {one.code(away) for away in range(-5, 6)}
    return next(text for number in range(100) if (text := f"{number:06}") not in near)


def test_codes_of_named_users_once_each_and_reconciled_afterwards(sekisho: Sekisho, tmp_path: Path) -> None:
    taro, hanako = sekisho.customer(), sekisho.customer()
    with agent(tmp_path / "a", [free_port()], PROFILE) as web1:
        issue_cache(sekisho, web1, taro.contract_id)
        code = taro.code()
        assert login(web1.path, taro.contract_id, wrong(taro)).code == ResultCode.AUTH_ERR
        assert login(web1.path, taro.contract_id, code).code == ResultCode.SUCCESS
        assert login(web1.path, taro.contract_id, code).code == ResultCode.AUTH_ERR
        assert login(web1.path, hanako.contract_id, hanako.code()).code == ResultCode.AUTH_ERR
        assert login(web1.path, "nobody-here", "123456").code == ResultCode.AUTH_ERR
        # As after a crash, and with another agent.
        web1.stop(signal.SIGKILL)
        web1.start()
        assert login(web1.path, taro.contract_id, code).code == ResultCode.AUTH_ERR
        assert code not in web1.log_text()
        journal = web1.offline / JOURNAL
        assert code.encode() not in journal.read_bytes()
        out = command(sekisho, "pam-offline", "reconcile", str(journal)).decode()
        assert out.count("spent") == 1 and out.count("wrong code") == 3
        assert "\t" in out and command(sekisho, "pam-offline", "reconcile", str(journal)).count(b"spent") == 0
    events = [row.event for row in sekisho.audit(taro.contract_id)]
    assert events.count("offline.spent") == 1 and events.count("offline.issued") == 1
    sekisho.start()
    assert sekisho.login(taro.contract_id, code) == "Access-Reject"


def test_a_code_that_was_used_in_both_places_is_reported(sekisho: Sekisho, tmp_path: Path) -> None:
    taro = sekisho.customer()
    with agent(tmp_path / "a", [free_port()], PROFILE) as web1:
        issue_cache(sekisho, web1, taro.contract_id)
        code = taro.code()
        assert login(web1.path, taro.contract_id, code).code == ResultCode.SUCCESS
        sekisho.start()
        assert sekisho.login(taro.contract_id, code) == "Access-Accept"
        out = command(sekisho, "pam-offline", "reconcile", str(web1.offline / JOURNAL), code=1).decode()
        assert "probably used twice" in out
    assert sekisho.audit(taro.contract_id)[-1].event == "offline.conflict"


@pytest.mark.parametrize("profile", ["default", "other"])
def test_a_code_that_a_server_has_accepted_is_not_good_when_it_falls_silent(
    sekisho: Sekisho, tmp_path: Path, profile: str
) -> None:
    sekisho.start()
    taro = sekisho.customer()
    with agent(tmp_path / "a", [sekisho.port], f'{PROFILE}[[agent.profiles]]\nname = "other"\nmode = "auto"\n') as web1:
        issue_cache(sekisho, web1, taro.contract_id)
        code = taro.code()
        assert login(web1.path, taro.contract_id, code, profile=profile).code == ResultCode.SUCCESS
        sekisho.kill()
        assert login(web1.path, taro.contract_id, code).code == ResultCode.AUTH_ERR
        web1.wait_for_log("a server has accepted already")


def test_one_code_one_login_under_race_and_kill(sekisho: Sekisho, tmp_path: Path) -> None:
    taro = sekisho.customer()
    with agent(tmp_path / "a", [free_port()], PROFILE) as web1:
        issue_cache(sekisho, web1, taro.contract_id, logins=50)
        code = taro.code()
        accepted = 0
        for _ in range(3):
            with ThreadPoolExecutor(6) as pool:
                waiting = [pool.submit(login, web1.path, taro.contract_id, code) for _ in range(6)]
                time.sleep(0.2)
                web1.stop(signal.SIGKILL)
                for one in waiting:
                    try:
                        accepted += one.result().code == ResultCode.SUCCESS
                    except OSError:
                        continue
            web1.start()
        accepted += login(web1.path, taro.contract_id, code).code == ResultCode.SUCCESS
        assert accepted <= 1


def test_without_the_profile_s_leave_an_outage_is_a_refusal(sekisho: Sekisho, tmp_path: Path) -> None:
    taro = sekisho.customer()
    with agent(tmp_path / "a", [free_port()], PROFILE.replace('offline = "codes"', "")) as web1:
        issue_cache(sekisho, web1, taro.contract_id)
        assert login(web1.path, taro.contract_id, taro.code()).code == ResultCode.UNAVAILABLE


def test_no_cache_is_issued_for_a_user_without_an_active_token(sekisho: Sekisho) -> None:
    taro = sekisho.customer(enrolled=False)
    before = len(sekisho.audit(taro.contract_id))
    command(sekisho, "pam-offline", "issue", "--host", "web1", "--user", taro.contract_id, code=1)
    command(sekisho, "pam-offline", "issue", "--host", "web1", "--user", "nobody", code=1)
    assert len(sekisho.audit(taro.contract_id)) == before


# The host's side alone, with a clock moved by hand.

CHEAP = Cost(64, 1, 1)
NOON = 1_800_000_015_000
FIRST = step_at(NOON, 30)
HOST_KEY = bytes(range(32))


def codes_of(step: int) -> str:
    return f"{step % 1_000_000:06}"


def cache(**changes: object) -> Cache:
    verifiers = tuple(verifier("s1", "VSMT1", step, codes_of(step), CHEAP) for step in range(FIRST - 1, FIRST + 100))
    users: dict[str, tuple[UserCodes, ...]] = {"taro": (UserCodes("VSMT1", 6, 30, 0, FIRST - 1, verifiers),)}
    made = Cache("web1", "s1", NOON + 600_000, 3, 1, 4, CHEAP, users)
    return replace(made, **changes)  # type: ignore[arg-type]


class OfflineHost:
    """The offline folder of a host, and a clock that the test moves."""

    def __init__(self, folder: Path, made: Cache | None = None) -> None:
        self.folder, self.clock = folder, HandClock(NOON / 1000)
        for name, octets in ((KEY, encode_key(HOST_KEY)), (CACHE, seal(made or cache(), HOST_KEY))):
            (folder / name).write_bytes(octets)
            (folder / name).chmod(0o600)

    def accepts(self, *codes: str, user: str = "taro") -> list[bool]:
        async def ask() -> list[bool]:
            offline = OfflineVerifier(self.folder, "web1", lambda: int(self.clock.now * 1000))
            try:
                return [await offline.accepts(user, code, "sshd") for code in codes]
            finally:
                offline.close()

        return asyncio.run(ask())


def test_codes_only_go_forward_and_only_near_now(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path)
    assert host.accepts(codes_of(FIRST + 2), codes_of(FIRST + 1), codes_of(FIRST), codes_of(FIRST + 1)) == [
        False,
        True,
        False,
        False,
    ]
    host.clock.now += 60
    assert host.accepts(codes_of(FIRST + 2)) == [True]


@pytest.mark.parametrize("user_password", ["{}", "password{}", "password12 {}", "password-{}"])
def test_a_code_accepted_elsewhere_is_known_again_behind_a_password_too(tmp_path: Path, user_password: str) -> None:
    host = OfflineHost(tmp_path)

    async def scene() -> bool:
        offline = OfflineVerifier(tmp_path, "web1", lambda: int(host.clock.now * 1000))
        offline.accepted_online("taro", user_password.format(codes_of(FIRST)))
        try:
            return await offline.accepts("taro", codes_of(FIRST), "sshd")
        finally:
            offline.close()

    assert asyncio.run(scene()) is False
    assert host.accepts(codes_of(FIRST)) == [True], "by another process, which has not heard of it"


def test_as_many_logins_as_the_cache_allows(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path)
    for at in range(4):
        assert host.accepts(codes_of(FIRST + at)) == [at < 3]
        host.clock.now += 30


def test_wrong_codes_end_it_also_across_restarts(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path)
    for _ in range(4):
        assert host.accepts("555555") == [False]
    assert host.accepts(codes_of(FIRST)) == [False]


def test_an_old_cache_is_no_cache(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path)
    host.clock.now += 600
    assert host.accepts(codes_of(FIRST + 20)) == [False]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３"])
def test_what_is_no_code_counts_for_nothing(tmp_path: Path, code: str) -> None:
    host = OfflineHost(tmp_path)
    assert host.accepts(*[code] * 6, codes_of(FIRST)) == [False] * 6 + [True]


def test_a_new_cache_does_not_bring_spent_codes_back(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path)
    assert host.accepts(codes_of(FIRST)) == [True]
    verifiers = tuple(verifier("s2", "VSMT1", step, codes_of(step), CHEAP) for step in range(FIRST, FIRST + 9))
    again = cache(serial="s2", users={"taro": (UserCodes("VSMT1", 6, 30, 0, FIRST, verifiers),)})
    (tmp_path / CACHE).write_bytes(seal(again, HOST_KEY))
    assert host.accepts(codes_of(FIRST), codes_of(FIRST + 1)) == [False, True]


def test_every_octet_of_the_cache_is_proven(tmp_path: Path) -> None:
    octets = seal(cache(users={}), HOST_KEY)
    assert open_cache(octets, HOST_KEY, "web1").serial == "s1"
    for at in range(len(octets) - 1):
        with pytest.raises(BadCache):
            open_cache(octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :], HOST_KEY, "web1")
    for key, host in ((bytes(32), "web1"), (HOST_KEY, "web2")):
        with pytest.raises(BadCache):
            open_cache(octets, key, host)


def test_no_seed_and_no_code_is_in_the_cache_s_repr() -> None:
    assert "verifiers" not in repr(cache())


def entry(step: int) -> Entry:
    return Entry("s1", "taro", "VSMT1", step, NOON, True, "sshd")


def journal_with(path: Path, *steps: int) -> bytes:
    journal = Journal(path, HOST_KEY, "web1")
    for step in steps:
        journal.add(entry(step))
    journal.close()
    return path.read_bytes()


def test_every_line_of_the_journal_is_proven(tmp_path: Path) -> None:
    octets = journal_with(tmp_path / "j", 1, 2, 3)
    assert [one.step for one in read_journal(octets, HOST_KEY).entries] == [1, 2, 3]
    head, *lines = octets.split(b"\n")[:-1]
    for changed in (
        [head, *lines[1:]],
        [head, lines[0], lines[2]],
        [head, lines[1], lines[0], lines[2]],
        [head, lines[0].replace(b'"step": 1', b'"step": 9'), *lines[1:]],
        [head.replace(b"web1", b"web2"), *lines],
        [head, *lines, lines[-1]],
        [head, b"", *lines],
    ):
        with pytest.raises(BadJournal):
            read_journal(b"\n".join(changed) + b"\n", HOST_KEY)
    with pytest.raises(BadJournal):
        read_journal(octets, bytes(32))
    with pytest.raises(BadJournal):
        read_journal(b"something else\n", HOST_KEY)


def test_a_journal_that_was_changed_lets_nobody_in(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path)
    assert host.accepts(codes_of(FIRST)) == [True]
    text = (tmp_path / JOURNAL).read_text()
    (tmp_path / JOURNAL).write_text(text.replace('"taro"', '"jiro"'))
    assert host.accepts(codes_of(FIRST), codes_of(FIRST + 1)) == [False, False]


def test_a_line_that_was_cut_off_by_a_crash_is_forgotten(tmp_path: Path) -> None:
    octets = journal_with(tmp_path / "j", 1, 2)
    for end in range(octets[:-1].rfind(b"\n") + 2, len(octets)):
        (tmp_path / "j").write_bytes(octets[:end])
        journal = Journal(tmp_path / "j", HOST_KEY, "web1")
        assert [one.step for one in journal.entries] == [1]
        journal.add(entry(7))
        journal.close()
        assert [one.step for one in read_journal((tmp_path / "j").read_bytes(), HOST_KEY).entries] == [1, 7]


@pytest.mark.parametrize("octets", [b"", b"sekisho offl"])
def test_a_journal_that_a_crash_cut_off_at_its_beginning_is_begun_anew(tmp_path: Path, octets: bytes) -> None:
    if octets:
        with pytest.raises(BadJournal):
            read_journal(octets, HOST_KEY)
    host = OfflineHost(tmp_path)
    (tmp_path / JOURNAL).write_bytes(octets)
    assert host.accepts(codes_of(FIRST)) == [True]
    assert host.accepts(codes_of(FIRST)) == [False]


def test_a_journal_that_was_moved_away_takes_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path, HOST_KEY, "web1")
    journal.add(entry(1))
    path.rename(tmp_path / "old")
    for _ in range(2):
        with pytest.raises(BadJournal, match="moved away"):
            journal.add(entry(2))
        path.write_bytes((tmp_path / "old").read_bytes())
    journal.close()


def test_a_journal_is_one_process_s_alone(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j", HOST_KEY, "web1")
    with pytest.raises(BlockingIOError):
        Journal(tmp_path / "j", HOST_KEY, "web1")
    first.close()


def test_files_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    host = OfflineHost(tmp_path)
    (tmp_path / KEY).chmod(0o644)
    assert host.accepts(codes_of(FIRST)) == [False]


def test_a_journal_that_was_reconciled_further_before_is_refused(sekisho: Sekisho, tmp_path: Path) -> None:
    key, path = sekisho.store.sealer.host_key("web1"), tmp_path / "j"
    taro = sekisho.customer()
    journal = Journal(path, key, "web1")
    journal.add(replace(entry(1), user=taro.contract_id, token_id=taro.token_id, spent=False))
    short = path.read_bytes()
    journal.add(replace(entry(2), user=taro.contract_id, token_id=taro.token_id, spent=False))
    journal.close()
    command(sekisho, "pam-offline", "reconcile", str(path))
    path.write_bytes(short)
    command(sekisho, "pam-offline", "reconcile", str(path), code=1)
    # Put back, and continued otherwise.
    journal = Journal(path, key, "web1")
    for step in (3, 4):
        journal.add(replace(entry(step), user=taro.contract_id, token_id=taro.token_id, spent=False))
    journal.close()
    command(sekisho, "pam-offline", "reconcile", str(path), code=1)
    path.write_bytes(json.dumps({}).encode())
    command(sekisho, "pam-offline", "reconcile", str(path), code=1)
