"""The PAM door of a real server with a real store, spoken to as the module does."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from otp_core.model import Kind, TokenSpec
from otp_core.store.sqlite import driver
from pam_module.frames import Op, ResultCode
from tests.pam.host import Host, Login, login, start, wait_for
from tests.sekisho import PASSWORD, STAFF, Customer, Sekisho, client_table

PROFILES = """
[[pam.profiles]]
name = "default"
language = "en"
reject_delay = 1.5
[[pam.profiles]]
name = "challenge"
mode = "challenge"
[[pam.profiles]]
name = "append"
mode = "append"
[[pam.profiles]]
name = "together"
mode = "together"
[[pam.profiles]]
name = "code"
mode = "code"
services = ["sudo"]
exempt_users = ["backup", "taro9001", "taro9002"]
[[pam.profiles]]
name = "inside"
networks = ["192.0.2.0/24", "2001:db8::/32"]
password_networks = ["192.0.2.128/25"]
[[pam.profiles]]
name = "grace"
enrol_until = 2999-12-31
without_token = "reject"
language = "en"
[[pam.profiles]]
name = "late"
enrol_until = 2020-12-31
[[pam.profiles]]
name = "aside"
exempt_users = ["backup"]
exempt = "ignore"
[throttle]
free_failures = 50
password_free_failures = 50
"""


@contextmanager
def door(folder: Path, pam: str = "", more: str = PROFILES, **options: object) -> Iterator[tuple[Sekisho, Path]]:
    path = folder / "pam.sock"
    options = {"clients": client_table("gateway", "127.0.0.0/8", "append"), **options}
    sekisho = Sekisho(folder, more=f'[pam]\nsocket = "{path}"\n{pam}\n{more}', **options)  # type: ignore[arg-type]
    try:
        sekisho.start()
        wait_for(path)
        yield sekisho, path
    finally:
        sekisho.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sekisho, Path]]:
    with door(tmp_path_factory.mktemp("pam")) as both:
        yield both


def code_of(went: Login) -> ResultCode | None:
    return None if went.code is None else ResultCode(went.code)


def test_password_then_code(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    went = login(path, taro.contract_id, PASSWORD, taro.code())
    assert (went.code, went.roles) == (ResultCode.SUCCESS, ["password", "otp"])
    assert went.prompts[0] == "Password: "
    rows = sekisho.audit(taro.contract_id)
    assert [(row.event, row.actor, row.source) for row in rows][-2:] == [
        ("login.challenged", "pam:default", "sshd"),
        ("login.accepted", "pam:default", "sshd"),
    ]


def test_password_and_code_in_one_answer(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    for profile in ("", "append"):
        taro = sekisho.customer()
        went = login(path, taro.contract_id, PASSWORD + taro.code(), profile=profile)
        assert (went.code, went.roles) == (ResultCode.SUCCESS, ["password"])


def test_both_prompts_before_anything_is_checked(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    assert login(path, taro.contract_id, "wrong", taro.code(), profile="together").roles == ["password", "otp"]
    assert login(path, taro.contract_id, PASSWORD, taro.code(), profile="together").code == ResultCode.SUCCESS


@pytest.mark.parametrize("profile", ["", "challenge", "together"])
def test_an_answer_that_is_repeated_is_no_attempt(served: tuple[Sekisho, Path], profile: str) -> None:
    sekisho, path = served
    for password in (PASSWORD, "246802"):
        taro = sekisho.customer(password)
        assert login(path, taro.contract_id, password, profile=profile).code == ResultCode.AUTH_ERR
        with sekisho.store.work() as work:
            record = work.login_record(taro.contract_id)
        assert record is not None and record.failures == 0


def test_the_earlier_module_s_password_is_used_and_its_repetition_is_no_code(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    assert login(path, taro.contract_id, taro.code(), authtok=PASSWORD.encode()).roles == ["otp"]
    hanako = sekisho.customer("135791")
    went = login(path, hanako.contract_id, "135791", authtok=b"135791", profile="code")
    assert went.code == ResultCode.AUTH_ERR
    with sekisho.store.work() as work:
        record = work.login_record(hanako.contract_id)
    assert record is not None and record.failures == 0


@pytest.mark.parametrize("answer", [b"", b"\b\n\r\x7fINCORRECT", b"\b\n\r\x7fINCORRECT\b\n\r\x7fINC", b"\xff\xfe"])
def test_an_answer_that_is_no_password_counts_against_no_account(served: tuple[Sekisho, Path], answer: bytes) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    before = len(sekisho.audit(taro.contract_id))
    for _ in range(3):
        assert login(path, taro.contract_id, answer).code == ResultCode.AUTH_ERR
    assert login(path, taro.contract_id, authtok=answer).code == ResultCode.AUTH_ERR
    assert len(sekisho.audit(taro.contract_id)) == before


def test_giving_up_is_no_attempt(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    before = len(sekisho.audit(taro.contract_id))
    assert login(path, taro.contract_id, None).code is None
    assert len(sekisho.audit(taro.contract_id)) == before
    assert login(path, taro.contract_id, PASSWORD, None).code is None
    assert login(path, taro.contract_id, PASSWORD, taro.code()).code == ResultCode.SUCCESS


def test_unknown_and_known_users_are_asked_the_same(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    for profile in ("", "challenge", "append", "together", "code"):
        known = login(path, taro.contract_id, "wrong-password", "000000", profile=profile)
        unknown = login(path, "nobody-here", "wrong-password", "000000", profile=profile)
        assert (known.code, unknown.code) == (ResultCode.AUTH_ERR, ResultCode.USER_UNKNOWN)
        assert (known.prompts, known.texts) == (unknown.prompts, unknown.texts)


def test_a_refusal_is_delayed_by_the_host(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    assert 0 < login(path, sekisho.customer().contract_id, "wrong").delay_ms <= 1500
    assert login(path, sekisho.customer(enrolled=False).contract_id, PASSWORD).delay_ms == 0


def test_a_code_that_ssh_has_used_is_used_for_radius_and_the_reverse(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro, hanako = sekisho.customer(), sekisho.customer()
    code = taro.code()
    assert login(path, taro.contract_id, PASSWORD + code).code == ResultCode.SUCCESS
    assert sekisho.login(taro.contract_id, PASSWORD + code) != "Access-Accept"
    code = hanako.code()
    assert sekisho.login(hanako.contract_id, PASSWORD + code) == "Access-Accept"
    assert login(path, hanako.contract_id, PASSWORD + code, profile="append").code == ResultCode.AUTH_ERR


def test_one_code_one_login_under_race_between_the_doors(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    with ThreadPoolExecutor(12) as pool:
        for _ in range(4):
            taro = sekisho.customer()
            user_password = PASSWORD + taro.code()
            pam = [pool.submit(login, path, taro.contract_id, user_password, profile="append") for _ in range(6)]
            radius = [pool.submit(sekisho.login, taro.contract_id, user_password) for _ in range(6)]
            accepted = [went.result().code == ResultCode.SUCCESS for went in pam]
            accepted += [went.result() == "Access-Accept" for went in radius]
            assert accepted.count(True) == 1


def test_lockout_is_shared(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer()

    def guess_by_radius(_: int) -> None:
        sekisho.login(taro.contract_id, PASSWORD + wrong(taro))

    for attempt in range(10):
        if attempt % 2:
            guess_by_radius(attempt)
        else:
            assert login(path, taro.contract_id, PASSWORD + wrong(taro), profile="append").code == ResultCode.AUTH_ERR
    with sekisho.store.work() as work:
        record = work.login_record(taro.contract_id)
    assert record is not None and record.locked_at is not None
    assert login(path, taro.contract_id, PASSWORD + taro.code(), profile="append").code == ResultCode.AUTH_ERR
    assert sekisho.login(taro.contract_id, PASSWORD + taro.code()) == "Access-Reject"
    assert login(path, taro.contract_id, op=Op.ACCT).code == ResultCode.PERM_DENIED
    assert sekisho.audit(taro.contract_id)[-1].event == "account.refused"


@pytest.mark.parametrize("profile", ["default", "append", "together"])
def test_a_wrong_code_behind_the_right_password_counts_in_every_mode(
    served: tuple[Sekisho, Path], profile: str
) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    answers = [PASSWORD, wrong(taro)] if profile == "together" else [PASSWORD + wrong(taro)]
    assert login(path, taro.contract_id, *answers, profile=profile).code == ResultCode.AUTH_ERR
    with sekisho.store.work() as work:
        record = work.login_record(taro.contract_id)
    assert record is not None and record.failures == 1


def wrong(one: Customer) -> str:
    """Six digits that are none of the codes that could fit now."""
    near = {one.code(away) for away in range(-15, 16)}
    return next(text for number in range(1000) if (text := f"{number:06}") not in near)


def test_wrong_codes_are_asked_again_and_end(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    went = login(path, taro.contract_id, PASSWORD, wrong(taro))
    assert (went.code, went.roles) == (ResultCode.AUTH_ERR, ["password", "otp", "otp", "otp"])


def test_code_alone_behind_another_module(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro, hanako = sekisho.customer(), sekisho.customer(enrolled=False)
    went = login(path, taro.contract_id, taro.code(), service="sudo")
    assert (went.code, went.roles) == (ResultCode.SUCCESS, ["otp"])
    assert login(path, hanako.contract_id, "123456", service="sudo").code == ResultCode.AUTH_ERR
    went = login(path, "backup", "", profile="code")
    assert (went.code, went.roles) == (ResultCode.SUCCESS, [])
    row = sekisho.audit("backup")[-1]
    assert (row.event, row.customer) == ("login.exempt", "backup"), "who needs no code is named in the settings"
    assert login(path, "backup", "", profile="aside").code == ResultCode.IGNORE


@pytest.mark.sqlite_files
@pytest.mark.parametrize(
    ("profile", "op", "code", "event"),
    [
        ("code", Op.AUTH, ResultCode.SUCCESS, "login.exempt"),
        ("aside", Op.AUTH, ResultCode.IGNORE, "login.exempt"),
        ("default", Op.ACCT, ResultCode.USER_UNKNOWN, "account.refused"),
    ],
)
def test_what_a_profile_decides_waits_for_a_busy_store(
    served: tuple[Sekisho, Path], profile: str, op: Op, code: ResultCode, event: str
) -> None:
    sekisho, path = served
    before = len(sekisho.audit("backup"))
    lock = driver.connect(sekisho.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(login, path, "backup", "", profile=profile, op=op)
        time.sleep(1)
        assert not waiting.done(), "there is no success without its audit row"
        lock.execute("ROLLBACK")
        lock.close()
        assert waiting.result().code == code
    assert [row.event for row in sekisho.audit("backup")[before:]] == [event]


def test_a_counter_token_is_as_good(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer(spec=TokenSpec(Kind.TOTP, digits=8))
    assert login(path, taro.contract_id, PASSWORD, taro.code()).code == ResultCode.SUCCESS


def test_networks_of_the_remote_host(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    for rhost, code in {
        "192.0.2.7": ResultCode.SUCCESS,
        "::ffff:192.0.2.7": ResultCode.SUCCESS,
        "2001:db8::7": ResultCode.SUCCESS,
        "": ResultCode.SUCCESS,
        "198.51.100.7": ResultCode.PERM_DENIED,
        "host.example": ResultCode.PERM_DENIED,
        "fe80::1%eth0": ResultCode.PERM_DENIED,
    }.items():
        taro = sekisho.customer()
        went = login(path, taro.contract_id, PASSWORD, taro.code(), profile="inside", rhost=rhost)
        assert (rhost, went.code) == (rhost, code)
    taro = sekisho.customer()
    went = login(path, taro.contract_id, PASSWORD, profile="inside", rhost="192.0.2.200")
    assert (went.code, went.roles) == (ResultCode.SUCCESS, ["password"])
    assert login(path, taro.contract_id, "wrong", profile="inside", rhost="192.0.2.200").code == ResultCode.AUTH_ERR


def test_grace_ends(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer(enrolled=False)
    went = login(path, taro.contract_id, PASSWORD, profile="grace")
    assert (went.code, went.texts) == (ResultCode.SUCCESS, ["You have no one-time password yet. Enrol by 2999-12-31."])
    assert login(path, taro.contract_id, op=Op.ACCT, profile="grace").code == ResultCode.SUCCESS
    assert login(path, taro.contract_id, PASSWORD, profile="late").code == ResultCode.AUTH_ERR
    assert login(path, taro.contract_id, op=Op.ACCT, profile="late").code == ResultCode.ACCT_EXPIRED
    hanako = sekisho.customer()
    assert login(path, hanako.contract_id, PASSWORD, hanako.code(), profile="grace").texts == []


def test_the_account_phase_knows_the_customer(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer()
    assert login(path, taro.contract_id, op=Op.ACCT).code == ResultCode.SUCCESS
    assert login(path, "nobody-here", op=Op.ACCT).code == ResultCode.USER_UNKNOWN
    assert "nobody-here" not in repr(sekisho.audit())
    assert sekisho.audit("nobody-here")[-1].event == "account.refused"
    assert login(path, "backup", op=Op.ACCT, profile="code").code == ResultCode.SUCCESS


def test_who_has_no_token_gets_no_session_in_mode_code_unless_they_are_exempt(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    never = sekisho.customer(enrolled=False)
    suspended = sekisho.customer()
    sekisho.desk.enrolment.suspend(suspended.contract_id, None, STAFF)
    for one in (never, suspended):
        for answer in ("", "123456", one.code(), PASSWORD):
            assert login(path, one.contract_id, answer, profile="code").code == ResultCode.AUTH_ERR
        assert login(path, one.contract_id, op=Op.ACCT, profile="code").code == ResultCode.PERM_DENIED
        assert login(path, one.contract_id, op=Op.ACCT).code == ResultCode.SUCCESS, (
            "another profile's password is enough"
        )
    sekisho.desk.customers.add("taro9001", STAFF)
    sekisho.desk.customers.add("taro9002", STAFF)
    sekisho.desk.customers.lock("taro9002", STAFF)
    assert login(path, "taro9001", "", profile="code").code == ResultCode.SUCCESS
    assert login(path, "taro9001", op=Op.ACCT, profile="code").code == ResultCode.SUCCESS
    assert login(path, "taro9002", op=Op.ACCT, profile="code").code == ResultCode.PERM_DENIED


def test_a_profile_that_is_not_there_lets_nobody_in(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    assert (
        login(path, sekisho.customer(enrolled=False).contract_id, PASSWORD, profile="ssh").code
        == ResultCode.PERM_DENIED
    )
    sekisho.wait_for_log("there is no such profile")


def test_no_secret_is_logged(served: tuple[Sekisho, Path]) -> None:
    sekisho, path = served
    taro = sekisho.customer("unter-uns-gesagt")
    login(path, taro.contract_id, "unter-uns-gesagt", "424242")
    login(path, taro.contract_id, "unter-uns-falsch", authtok=b"unter-uns-falsch")
    assert "unter-uns" not in sekisho.log_text() and "424242" not in sekisho.log_text()


def test_the_socket_is_its_owner_s_alone(served: tuple[Sekisho, Path]) -> None:
    _, path = served
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_uid == os.geteuid()


# The life of the door.


def test_without_a_section_there_is_no_door(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path)
    try:
        sekisho.start()
        assert "door=pam" not in sekisho.log_text()
    finally:
        sekisho.close()


def test_a_restart_in_mid_prompt_denies_and_leaves_no_socket_behind(tmp_path: Path) -> None:
    with door(tmp_path) as (sekisho, path):
        taro = sekisho.customer()
        with Host(path) as host:
            host.send(start(taro.contract_id))
            assert host.hear() is not None
            assert sekisho.stop() == 0
            assert host.result() is None
        assert not path.exists()
        sekisho.start()
        assert login(path, taro.contract_id, PASSWORD, taro.code()).code == ResultCode.SUCCESS


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    with door(tmp_path) as (sekisho, path):
        sekisho.kill()
        assert path.is_socket()
        sekisho.start()
        taro = sekisho.customer()
        assert login(path, taro.contract_id, PASSWORD, taro.code()).code == ResultCode.SUCCESS
        (tmp_path / "second").mkdir()
        second = Sekisho(tmp_path / "second", more=f'[pam]\nsocket = "{path}"\n')
        try:
            assert second.spawn().wait(60) == 4
            assert f"{path}" in second.log_text() and "another Sekisho serves there" in second.log_text()
        finally:
            second.process = None
            second.close()
        assert login(path, taro.contract_id, "wrong").code == ResultCode.AUTH_ERR


def test_new_profiles_hold_after_a_reload(tmp_path: Path) -> None:
    with door(tmp_path) as (sekisho, path):
        taro = sekisho.customer()
        assert login(path, taro.contract_id, PASSWORD, profile="new").code == ResultCode.PERM_DENIED
        sekisho.more += '[[pam.profiles]]\nname = "new"\nmode = "password"\n'
        sekisho.write_config()
        assert sekisho.process is not None
        sekisho.process.send_signal(signal.SIGHUP)
        sekisho.wait_for_log("reloaded")
        assert login(path, taro.contract_id, PASSWORD, profile="new").code == ResultCode.SUCCESS


def test_of_several_workers_one_serves_and_another_takes_over(tmp_path: Path) -> None:
    with door(tmp_path, workers=2) as (sekisho, path):
        taro = sekisho.customer()
        assert login(path, taro.contract_id, PASSWORD, taro.code()).code == ResultCode.SUCCESS
        for pid in sekisho.workers_pids:
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 60
        hanako = sekisho.customer()
        while time.monotonic() < end:
            try:
                if login(path, hanako.contract_id, PASSWORD + hanako.code()).code == ResultCode.SUCCESS:
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(sekisho.log_text())
