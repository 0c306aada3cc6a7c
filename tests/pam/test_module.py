"""The PAM module against a service that says what a script tells it: what people see, what the host hears."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pam_module.frames import Abort, Answer, Op, Prompt, Result, ResultCode, Role, Start, Style, Text, Wait
from tests.pam.scripted import ScriptedConnection, password_and_code, saying, scripted
from tests.pam.workshop import MODULE, SOURCES, Machine, Pam, Workshop, run
from tests.radius.tools import library, program

SILENT = 0x8000


def test_six_functions_are_exported_and_nothing_but_libpam_and_libc_is_needed(workshop: Workshop) -> None:
    symbols = {line.split()[-1] for line in run(["nm", "-D", "--defined-only", str(workshop.module)]).splitlines()}
    calls = ("authenticate", "setcred", "acct_mgmt", "open_session", "close_session", "chauthtok")
    assert symbols == {f"pam_sm_{call}" for call in calls}
    needed = [line.split()[1] for line in run(["objdump", "-p", str(workshop.module)]).splitlines() if "NEEDED" in line]
    assert needed == ["libpam.so.0", "libc.so.6"]


def test_no_writable_data_so_nothing_is_kept_between_two_calls(workshop: Workshop) -> None:
    lines = [line.split() for line in run(["objdump", "-t", str(workshop.module)]).splitlines()]
    writable = {words[-1] for words in lines if {".data", ".bss"} & set(words)}
    assert writable <= {".data", ".bss", "__dso_handle", "__TMC_END__", "completed.0"}, "more than the compiler's own"


def test_a_password_and_a_code_let_in(machine: Machine) -> None:
    with scripted(machine.socket, password_and_code(b"haru", b"123456")) as service:
        seen = machine.login("haru", "123456")
    assert seen.result == Pam.SUCCESS
    assert seen.prompts == [(False, "Password: "), (False, "Code: ")]
    assert service.heard[1:] == [Answer(b"haru"), Answer(b"123456")]


def test_pamtester_logs_in_without_root(machine: Machine) -> None:
    """Debian's own host for tests, over libpam-wrapper: not one that was written for this module."""
    environment = {
        "LD_PRELOAD": library("libpam_wrapper.so"),
        "PAM_WRAPPER": "1",
        "PAM_WRAPPER_SERVICE_DIR": str(machine.folder / "services"),
    }
    command = [program("pamtester"), "otp", "taro", "authenticate", "acct_mgmt"]

    def script(connection: ScriptedConnection) -> None:
        if connection.start().op is Op.AUTH:
            assert (connection.ask("Password: ", Role.PASSWORD), connection.ask()) == (b"haru", b"123456")
        connection.say(Result(0))

    with scripted(machine.socket, script):
        shown = run(command, "haru\n123456\n", environment)
    assert "successfully authenticated" in shown
    assert "account management done" in shown


def test_a_refusal_is_delayed_as_the_service_says(machine: Machine) -> None:
    with scripted(machine.socket, password_and_code(b"haru", b"123456")):
        seen = machine.login("haru", "654321")
        assert seen.result == Pam.AUTH_ERR
        assert 700_000 < max(seen.delays) < 2_300_000, "1.5 s, give or take what libpam adds by chance"
        machine.stack("nodelay")
        seen = machine.login("haru", "654321")
        assert (seen.result, max(seen.delays, default=0)) == (Pam.AUTH_ERR, 0)


def test_the_service_is_told_what_the_host_knows(machine: Machine) -> None:
    machine.stack("profile=ssh")
    with scripted(machine.socket, saying(Result(0))) as service:
        machine.login(actions=["rhost=192.0.2.7", "ruser=hanako", "tty=ssh", "authenticate"], flags=SILENT)
        machine.login(user="太郎")
    ssh, plain = service.heard
    assert ssh == Start(Op.AUTH, "otp", "taro", "hanako", "192.0.2.7", "ssh", SILENT, "ssh")
    assert isinstance(plain, Start) and plain.user == "太郎"


RESULTS = [
    (ResultCode.SUCCESS, Pam.SUCCESS, Pam.SUCCESS),
    (ResultCode.AUTH_ERR, Pam.AUTH_ERR, Pam.AUTH_ERR),
    (ResultCode.USER_UNKNOWN, Pam.USER_UNKNOWN, Pam.USER_UNKNOWN),
    (ResultCode.MAXTRIES, Pam.MAXTRIES, Pam.MAXTRIES),
    (ResultCode.ACCT_EXPIRED, Pam.ACCT_EXPIRED, Pam.ACCT_EXPIRED),
    (ResultCode.NEW_AUTHTOK_REQD, Pam.AUTH_ERR, Pam.NEW_AUTHTOK_REQD),
    (ResultCode.PERM_DENIED, Pam.PERM_DENIED, Pam.PERM_DENIED),
    (ResultCode.IGNORE, Pam.PERM_DENIED, Pam.PERM_DENIED),
    (8, Pam.AUTHINFO_UNAVAIL, Pam.AUTHINFO_UNAVAIL),
    (25, Pam.AUTHINFO_UNAVAIL, Pam.AUTHINFO_UNAVAIL),
    (ResultCode.UNAVAILABLE, Pam.AUTHINFO_UNAVAIL, Pam.AUTHINFO_UNAVAIL),
]


@pytest.mark.parametrize(("code", "login", "account"), RESULTS, ids=[str(int(row[0])) for row in RESULTS])
def test_each_code_has_its_result_and_only_0_is_success(machine: Machine, code: int, login: Pam, account: Pam) -> None:
    with scripted(machine.socket, saying(Result(code))):
        seen = machine.login(actions=["authenticate", "acct_mgmt"])
    assert seen.results == {"authenticate": login, "acct_mgmt": account}


def test_credentials_and_sessions_succeed_and_no_password_is_changed(machine: Machine) -> None:
    actions = ["setcred", "open_session", "close_session", "chauthtok"]
    seen = machine.login(actions=actions)
    assert list(seen.results.values()) == [Pam.SUCCESS, Pam.SUCCESS, Pam.SUCCESS, Pam.AUTHTOK_ERR]


def test_texts_are_shown_unless_the_host_wants_silence(machine: Machine) -> None:
    script = saying(
        Text(Style.INFO, "Enrol by 31 December."), Text(Style.ERROR, "いまは、ログインできません。"), Result(1)
    )
    with scripted(machine.socket, script):
        seen = machine.login()
        assert (seen.infos, seen.errors) == (["Enrol by 31 December."], ["いまは、ログインできません。"])
        quiet = machine.login(flags=SILENT)
        assert (quiet.infos, quiet.errors, quiet.result) == ([], [], Pam.AUTH_ERR)


def test_a_prompt_may_echo_and_may_hold_percent_signs(machine: Machine) -> None:
    with scripted(machine.socket, saying(Prompt("ワンタイムパスワード %s%n: ", True, Role.OTP), Result(0))):
        assert machine.login("1").prompts == [(True, "ワンタイムパスワード %s%n: ")]


def test_giving_up_is_refused_and_sends_abort(machine: Machine) -> None:
    with scripted(machine.socket, saying(Prompt("Code: ", False, Role.OTP), Wait(60))) as service:

        def until_abort(connection: ScriptedConnection) -> None:
            connection.start()
            connection.say(Prompt("Code: ", False, Role.OTP))
            assert connection.hear() == Abort()

        service._script = until_abort
        assert machine.login("^C").result == Pam.AUTH_ERR
    assert service.heard[-1] == Abort()


def test_a_password_of_an_earlier_module_is_sent_only_where_an_option_says_so(machine: Machine) -> None:
    earlier = f"auth required {machine.workshop.neighbour} authtok=haru\n"
    with scripted(machine.socket, saying(Result(0))) as service:
        for options in ("", "try_first_pass", "use_first_pass"):
            machine.stack(options, before=earlier)
            assert machine.login().result == Pam.SUCCESS
    assert [frame.authtok for frame in service.heard if isinstance(frame, Start)] == [None, b"haru", b"haru"]


def test_use_first_pass_never_asks_for_a_password_but_for_a_code(machine: Machine) -> None:
    machine.stack("use_first_pass")
    with scripted(machine.socket, password_and_code(b"haru", b"1")) as service:
        assert machine.login("haru", "1").result == Pam.AUTH_ERR
        assert service.heard == []
    earlier = f"auth required {machine.workshop.neighbour} authtok=haru\n"
    machine.socket.unlink()
    machine.stack("use_first_pass", before=earlier)
    with scripted(machine.socket, saying(Prompt("Password: ", False, Role.PASSWORD), Result(0))):
        seen = machine.login("haru")
        assert (seen.result, seen.prompts) == (Pam.AUTH_ERR, [])
    machine.socket.unlink()
    with scripted(machine.socket, saying(Prompt("Code: ", False, Role.OTP), Result(0))):
        assert machine.login("1").prompts == [(False, "Code: ")]


@pytest.mark.parametrize(
    ("options", "code", "found"),
    [("forward_pass", b"1", "haru"), ("", b"1", "(none)"), ("forward_pass", b"2", "(none)")],
)
def test_a_password_is_handed_on_after_success_and_with_forward_pass_only(
    machine: Machine, options: str, code: bytes, found: str
) -> None:
    machine.stack(options, after=f"auth required {machine.workshop.neighbour} show\n")
    with scripted(machine.socket, password_and_code(b"haru", code)):
        assert machine.login("haru", "1").infos == [f"authtok {found}"]


def test_nothing_is_asked_in_the_account_phase(machine: Machine) -> None:
    with scripted(machine.socket, saying(Prompt("Code: ", False, Role.OTP), Result(0))):
        seen = machine.login("1", actions=["acct_mgmt"])
    assert (seen.results, seen.prompts) == ({"acct_mgmt": Pam.AUTH_ERR}, [])


OPTIONS_WRONG = [
    "nullok",
    "profile",
    "profile=",
    "profile=" + "x" * 65,
    "socket=pam.sock",
    "socket=/" + "x" * 107,
    "timeout=0",
    "timeout=121",
    "timeout=5s",
    "timeout=-1",
    "timeout= 5",
    "server_uid=root",
    "server_uid=4294967295",
    "server_uid=99999999999999999999",
    "on_unavail=",
    "on_unavail=allow",
    "use_first_pass=1",
    "DEBUG",
]


@pytest.mark.parametrize("option", OPTIONS_WRONG)
def test_an_unknown_option_is_a_service_error_and_nobody_is_asked(machine: Machine, option: str) -> None:
    machine.stack(option)
    with scripted(machine.socket, saying(Result(0))) as service:
        seen = machine.login(actions=["authenticate", "acct_mgmt"])
    assert set(seen.results.values()) == {Pam.SERVICE_ERR}
    assert service.heard == []


@pytest.mark.parametrize("option", ["debug", "timeout=120", "on_unavail=deny", "nodelay", "ignore_unknown_user"])
def test_the_other_options_change_nothing_for_who_is_let_in(machine: Machine, option: str) -> None:
    machine.stack(option)
    with scripted(machine.socket, password_and_code(b"haru", b"1")):
        assert machine.login("haru", "1").result == Pam.SUCCESS


PERMIT = "auth required pam_permit.so\n"


@pytest.mark.parametrize("code", [ResultCode.USER_UNKNOWN, ResultCode.IGNORE])
def test_the_module_steps_aside_only_with_ignore_unknown_user(machine: Machine, code: ResultCode) -> None:
    with scripted(machine.socket, saying(Result(code))):
        machine.stack(after=PERMIT)
        assert machine.login().result != Pam.SUCCESS
        machine.stack("ignore_unknown_user", after=PERMIT)
        assert machine.login().result == Pam.SUCCESS, "the trap that the manual page names"
        machine.stack("ignore_unknown_user")
        assert machine.login().result == Pam.PERM_DENIED, "a stack in which nobody answers lets nobody in"


def test_an_outage_is_ignored_only_with_on_unavail_ignore(machine: Machine) -> None:
    machine.stack(after=PERMIT)
    assert machine.login().result == Pam.AUTHINFO_UNAVAIL
    machine.stack("on_unavail=ignore", after=PERMIT)
    assert machine.login().result == Pam.SUCCESS, "the trap that the manual page names"
    machine.stack("on_unavail=ignore")
    assert machine.login().result == Pam.PERM_DENIED
    with scripted(machine.socket, saying(Prompt("Code: ", False, Role.OTP), Result(ResultCode.UNAVAILABLE))):
        machine.stack("on_unavail=ignore", after=PERMIT)
        assert machine.login("1").result == Pam.SUCCESS, "the service itself says that it cannot tell"


def test_the_manual_page_is_clean_and_names_every_option() -> None:
    page = SOURCES / "pam_sekisho.8"
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
    shown = re.sub(".\b", "", run(["mandoc", "-T", "utf8", str(page)]))
    options = set(re.findall(r'(?:value_of\(word, |\{)"(\w+)"', (SOURCES / "pam_sekisho.c").read_text()))
    assert len(options) == 11
    assert [option for option in sorted(options) if f"     {option}" not in shown] == []


def test_it_installs_into_a_staging_folder(tmp_path: Path, workshop: Workshop) -> None:
    copy = tmp_path / "pam_module"
    shutil.copytree(MODULE, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    run(["make", "-s", "-C", str(copy), "install", f"DESTDIR={tmp_path / 'root'}"])
    files = {path.name: path for path in (tmp_path / "root").rglob("*") if path.is_file()}
    assert set(files) == {"pam_sekisho.so", "sekisho", "pam_sekisho.8"}
    assert os.stat(files["pam_sekisho.so"]).st_mode & 0o777 == 0o644
    machine = run(["cc", "-print-multiarch"]).strip()
    assert files["pam_sekisho.so"].parent == tmp_path / "root/usr/lib" / machine / "security"


@pytest.mark.parametrize("server_uid", ["", "sekisho", "-1", "12 34", "99999999999"])
def test_a_user_id_that_is_none_installs_nothing(tmp_path: Path, server_uid: str) -> None:
    """`SERVER_UID=$(id -u sekisho)` before that user exists: the module would trust root alone, and nobody be told."""
    command = ["make", "-s", "-C", str(MODULE), f"BUILD={tmp_path}", "install", f"DESTDIR={tmp_path / 'root'}"]
    done = subprocess.run([*command, f"SERVER_UID={server_uid}"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f'SERVER_UID="{server_uid}" is no user ID: make the user first' in done.stderr
    assert not (tmp_path / "root").exists()


def test_the_servers_user_id_gets_into_both_lines_of_the_profile(tmp_path: Path) -> None:
    command = ["make", "-s", "-C", str(MODULE), f"BUILD={tmp_path}", "install"]
    run([*command, f"DESTDIR={tmp_path / 'root'}", "SERVER_UID=991"])
    profile = (tmp_path / "root/usr/share/pam-configs/sekisho").read_text()
    assert profile.count("pam_sekisho.so server_uid=991 use_first_pass") == 2
