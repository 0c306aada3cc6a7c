"""PAM as a first factor: the machine's own stack says whether a password is right, and a module that hangs or crashes
harms nobody else. Real libpam and real modules: by pam_wrapper, and as root in a mount namespace with pam_unix.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.first_factor import FirstFinding, Question
from otp_core.first_factor.pam import children as children_module
from otp_core.first_factor.pam.children import ChildGone, Children
from otp_core.first_factor.pam.passwords import FINDINGS, PamPasswords, Stack
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, Mode, Overloaded, Policy
from sekisho import pam_stacks
from sekisho.pam_stacks import absence_of, cycle_of
from tests.core.settings_files import STORE, good
from tests.pam.throwaway import needs_root
from tests.radius.tools import heard, library, login, radclient, received
from tests.sekisho import PASSWORD, Sekisho, client_table
from tests.upstreams.freeradius import block_of_page

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"

_CHECK = """#!/bin/sh
typed=$(tr -d '\\000')
case "$PAM_USER:$typed" in
  "taro:{password}") exit 0 ;;
  "crash"*) kill -9 "$PPID" ;;
esac
exit 1
"""
"""What pam_exec.so runs: it knows the password of one customer."""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of services, for processes that are started from here."""
    folder = tmp_path / "services"
    folder.mkdir()
    check = tmp_path / "check"
    check.write_text(_CHECK.replace("{password}", PASSWORD))
    check.chmod(0o755)
    right = f"auth [success=1 default=ignore] pam_exec.so quiet expose_authtok {check}\nauth requisite pam_deny.so\n"
    right += "auth required pam_permit.so\n"
    stacks = {
        "ib": right + "account required pam_permit.so\n",
        "twice": right + "auth required pam_unix.so\naccount required pam_permit.so\n",
        "hangs": "auth required pam_exec.so quiet /bin/sleep 600\naccount required pam_permit.so\n",
        "nowhere": "auth required pam_of_nobody.so\naccount required pam_permit.so\n",
        "no-account": right + "account required pam_deny.so\n",
        "open": "auth required pam_permit.so\naccount required pam_permit.so\n",
        "says": f"auth optional pam_exec.so stdout /bin/echo hello\n{right}account required pam_permit.so\n",
    }
    for code in ("acct_expired", "new_authtok_reqd", "authtok_expired", "perm_denied", "maxtries", "authinfo_unavail"):
        stacks[code] = f"{right}account required pam_debug.so acct={code}\n"
    for name, text in stacks.items():
        (folder / name).write_text(text)
    for key, value in {
        "LD_PRELOAD": library("libpam_wrapper.so"),
        "PAM_WRAPPER": "1",
        "PAM_WRAPPER_SERVICE_DIR": str(folder),
        "PAM_WRAPPER_DEBUGLEVEL": "0",
    }.items():
        monkeypatch.setenv(key, value)
    return folder


def attempt(user: str, deadline: float = 3600.0) -> Attempt:
    now = asyncio.get_running_loop().time()
    return Attempt(user, "", Policy(Mode.PASSWORD), "gw", calling_station_id="203.0.113.7", deadline=now + deadline)


async def asked(service: str, user: str, password: str, seconds: float = 60) -> FirstFinding:
    factor = PamPasswords(Stack("pam", service, seconds), Children(2, 10))
    try:
        return await factor.check(Question(attempt(user), (password,)))
    finally:
        await factor.close()


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("service", "user", "password", "finding"),
    [
        ("ib", "taro", PASSWORD, None),
        ("says", "taro", PASSWORD, None),
        ("ib", "taro", "wrong", Finding.WRONG_PASSWORD),
        ("ib", "nobody", PASSWORD, Finding.WRONG_PASSWORD),
        ("ib", "taro", PASSWORD + "\0and more", Finding.WRONG_PASSWORD),
        ("ib", "taro\0", PASSWORD, Finding.WRONG_PASSWORD),
        ("ib", "taro", "x" * 512, Finding.WRONG_PASSWORD),
        ("twice", "taro", PASSWORD, Finding.WRONG_PASSWORD),
        ("no-account", "taro", PASSWORD, Finding.NOT_PERMITTED_THERE),
        ("acct_expired", "taro", PASSWORD, Finding.ACCOUNT_EXPIRED),
        ("new_authtok_reqd", "taro", PASSWORD, Finding.PASSWORD_MUST_CHANGE),
        ("authtok_expired", "taro", PASSWORD, Finding.PASSWORD_EXPIRED),
        ("perm_denied", "taro", PASSWORD, Finding.NOT_PERMITTED_THERE),
        ("maxtries", "taro", PASSWORD, Finding.ACCOUNT_LOCKED_THERE),
        ("acct_expired", "taro", "wrong", Finding.WRONG_PASSWORD),
    ],
)
def test_what_the_stack_says(service: str, user: str, password: str, finding: Finding | None) -> None:
    found = asyncio.run(asked(service, user, password))
    assert found == (FirstFinding(right=True) if finding is None else FirstFinding(right=False, reason=finding))


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("nowhere", r"cannot say: .*\(auth: 28\)"),
        ("authinfo_unavail", r"cannot say: .*\(acct: 9\)"),
        ("hangs", "the process was killed"),
        ("open", "lets in without asking for the password"),
    ],
)
def test_what_is_no_answer_is_silence(service: str, said: str) -> None:
    with pytest.raises(BackendSilent, match=said):
        asyncio.run(asked(service, "taro", PASSWORD, 1.0 if service == "hangs" else 60))


@pytest.mark.usefixtures("services")
def test_a_stack_without_an_answer_for_several_customers_counts_as_dead_until_it_has_one() -> None:
    async def run() -> None:
        factor = PamPasswords(Stack("host", "ib", 60.0), Children(1, 10))
        ((service, _),) = factor.servers()

        async def ask(user: str, password: str = PASSWORD) -> bool:
            try:
                return (await factor.check(Question(attempt(user), (password,)))).right
            except BackendSilent:
                return False

        for user in ("crash", "crash", "crash", "crash-2"):
            assert not await ask(user)
        assert factor.reachable, "one name alone may be what a module cannot handle"
        assert not await ask("crash-3")
        assert not factor.reachable and factor.servers() == [(service, True)]
        assert await ask("taro") and not await ask("taro", "wrong") and not await ask("taro", "x" * 512)
        assert factor.reachable
        assert (service.place, service.counts) == ("ib", {"no-answer": 5, "accept": 1, "reject": 1})
        assert (factor.in_flight, sum(factor.seconds.counts), factor.unanswered) == (0, 2, 5)
        await factor.close()

    asyncio.run(run())


@pytest.mark.usefixtures("services")
def test_a_module_that_hangs_is_killed_and_delays_no_other_service() -> None:
    async def run() -> None:
        hangs = PamPasswords(Stack("a", "hangs", 600.0), Children(2, 1))
        other = PamPasswords(Stack("b", "ib", 600.0), Children(2, 10))
        hanging = [asyncio.create_task(hangs.check(Question(attempt("taro"), (PASSWORD,)))) for _ in range(3)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert hangs._children.waiting == 1
        with pytest.raises(Overloaded, match="1 logins wait"):  # two are asked, one waits, and no more may
            await hangs.check(Question(attempt("taro"), (PASSWORD,)))
        assert (hangs.in_flight, hangs.unanswered) == (3, 1)
        for _ in range(3):
            assert (await other.check(Question(attempt("taro"), (PASSWORD,)))).right
        assert not any(one.done() for one in hanging)
        assert (hangs._children.number, other._children.number) == (2, 1), "one is used again and again"
        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert hangs._children.number == 0, "whoever is cancelled leaves no process behind"
        await hangs.close()
        await other.close()

    asyncio.run(run())


@pytest.mark.usefixtures("services")
def test_a_child_that_crashes_is_silence_and_another_takes_its_place() -> None:
    async def run() -> None:
        factor = PamPasswords(Stack("a", "ib", 60.0), Children(1, 10))
        assert (await factor.check(Question(attempt("taro"), (PASSWORD,)))).right
        with pytest.raises(ChildGone, match="ended or said nothing of use"):
            await factor.check(Question(attempt("crash"), (PASSWORD,)))
        assert (await factor.check(Question(attempt("taro"), (PASSWORD,)))).right
        await factor.close()

    asyncio.run(run())


@pytest.mark.usefixtures("services")
def test_a_child_that_ended_while_it_waited_costs_no_login() -> None:
    """Killed for want of memory, say: the next login asks another one."""

    async def run() -> None:
        children = Children(1, 10)
        first_factor = PamPasswords(Stack("b", "ib", 60), children)
        try:
            await first_factor.check(Question(attempt("taro"), (PASSWORD,)))
            (waits,) = children._all
            os.kill(waits._process.pid, signal.SIGKILL)
            await waits.ended()
            found = await first_factor.check(Question(attempt("taro"), (PASSWORD,)))
            assert found == FirstFinding(right=True) and children.number == 1
        finally:
            await first_factor.close()

    asyncio.run(run())


@pytest.mark.usefixtures("services")
def test_a_child_ends_after_many_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children_module, "MOST_LOGINS", 2)

    async def run() -> None:
        pool = Children(1, 10)
        question = {"service": "ib", "user": "taro", "password": PASSWORD, "rhost": ""}
        end = asyncio.get_running_loop().time() + 60
        seen = set()
        for _ in range(4):
            await pool.ask(question, end)
            seen |= {child._process.pid for child in pool._all}
        assert len(seen) == 2
        await pool.close()

    asyncio.run(run())


_WITHOUT_WRITTEN_CODE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, since Linux 6.3; before, the unit's seccomp filter alone
os.execv(sys.executable, [sys.executable, "-I", *sys.argv[1:]])
"""


@pytest.mark.usefixtures("services")
def test_a_child_works_under_memory_deny_write_execute_as_the_unit_sets_it() -> None:
    program = str(Path(children_module.__file__).with_name("child.py"))
    question = {"service": "ib", "user": "taro", "password": PASSWORD, "rhost": ""}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_WRITTEN_CODE, program, str(os.getpid())],
        input=json.dumps(question).encode() + b"\n", capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["code"] == 0, done.stderr


def test_every_finding_of_a_call_is_a_refusal_of_the_table() -> None:
    assert set(FINDINGS) == {"auth", "acct"}
    assert all(0 not in codes and 9 not in codes for codes in FINDINGS.values())


PAM = '[[first_factors]]\nname = "host"\ntype = "pam"\nservice = "{}"\n'


def test_a_service_that_asks_ourselves_or_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pam_stacks, "FOLDERS", (tmp_path,))
    (tmp_path / "common").write_text("# pam_sekisho.so\nauth required pam_unix.so\n")
    (tmp_path / "plain").write_text("@include common\n@include plain\n")
    (tmp_path / "ours").write_text("auth required pam_sekisho.so profile=ib\n")
    (tmp_path / "through").write_text("auth substack plain\nauth include ours\n")
    found = {}
    for name in ("plain", "ours", "through", "missing"):
        (section,) = good(
            tmp_path,
            STORE + PAM.format("plain").replace("plain", name)
            if name in ("plain", "missing")
            else STORE + PAM.format("plain"),
        ).settings.first_factors
        section = section.model_copy(update={"service": name})
        found[name] = (bool(cycle_of(section)), bool(absence_of(section)))
    assert found == {
        "plain": (False, False), "ours": (True, False), "through": (True, False), "missing": (False, True),
    }  # fmt: skip


# A whole login, with pam_unix

_SERVICE = block_of_page("auth     required").replace("pam_sss.so", "pam_unix.so") + "\n"
_HANGS = "auth required pam_exec.so quiet /bin/sleep 600\naccount required pam_permit.so\n"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[tuple[Sekisho, dict[str, str]]]:
    """A server whose /etc is a copy, with customers that are accounts of that machine."""
    etc = tmp_path / "etc"
    shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
    (etc / "pam.d" / "ib").write_text(_SERVICE)
    (etc / "pam.d" / "ib-hangs").write_text(_HANGS)
    factors = "".join(
        f'[[first_factors]]\nname = "{name}"\ntype = "pam"\nservice = "{name}"\ntimeout = 4.0\n'
        for name in ("ib", "ib-hangs")
    )
    clients = "".join(
        client_table(name, "127.0.0.0/8", "challenge", nas_identifier=f'"{name}"', first_factor=f'"{name}"')
        for name in ("ib", "ib-hangs")
    )
    script = 'mount --bind "$0" /etc && exec "$@"'
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(etc))
    one = Sekisho(tmp_path, clients=clients, more=factors, prefix=prefix)
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True)
    names = {what: one.customer(password="").contract_id for what in ("well", "must-change", "expired", "locked")}
    for number, (what, name) in enumerate(names.items()):
        changed, expires = ("0" if what == "must-change" else "20000"), ("1" if what == "expired" else "")
        mark = "!" if what == "locked" else ""
        with (etc / "passwd").open("a") as passwd, (etc / "shadow").open("a") as shadow:
            passwd.write(f"{name}:x:{54400 + number}:65534::/nowhere:/bin/false\n")
            shadow.write(f"{name}:{mark}{hashed.stdout.strip()}:{changed}:0:99999:7::{expires}:\n")
    try:
        yield one.start(), names
    finally:
        one.close()


@needs_root
def test_accounts_of_the_machine(machine: tuple[Sekisho, dict[str, str]]) -> None:
    sekisho, names = machine
    waiting = subprocess.Popen(
        [shutil.which("radclient") or "radclient", "-t", "6", "-r", "1", f"127.0.0.1:{sekisho.port}", "auth",
         "correct-horse-battery-1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert waiting.stdin is not None
    hung = f'{login(names["locked"], "x")},NAS-Identifier="ib-hangs",Message-Authenticator=0x00'
    waiting.stdin.write(hung.encode())
    waiting.stdin.close()
    nas = ',NAS-Identifier="ib"'
    one = next(row for row in [names["well"]])
    first = radclient(sekisho.port, login(one, PASSWORD) + nas)
    assert heard(first) == CHALLENGE
    assert received(first, "State")
    assert heard(radclient(sekisho.port, login(one, "wrong") + nas)) == REJECT
    for what, reason in (
        ("must-change", "password has to be changed"),
        ("expired", "account expired"),
        ("locked", "wrong password"),
    ):
        assert heard(radclient(sekisho.port, login(names[what], PASSWORD) + nas)) == REJECT
        assert reason in sekisho.audit(names[what], "login.")[-1].reason
    assert waiting.wait(30) != 0, "silence"
    assert "the PAM service ib-hangs does not answer" in sekisho.log_text()
    sekisho.close()
    assert not _children_left(), "no child outlives the server"


def _children_left() -> list[str]:
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = one.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "first_factor/pam/child.py" in text and str(os.getcwd()) in text:
                found.append(text)
    return found
