"""Hosts that are set up well and badly, as folders, and what the doctor says about each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pam_module.doctor import examine
from pam_module.stacks import BadStack, Outcome, read_stack, stack_succeeds

DEBIAN_AUTH = """
auth [success=1 default=ignore] pam_unix.so nullok
auth requisite pam_deny.so
auth required pam_permit.so
auth optional pam_cap.so
"""
OURS = "auth required pam_sekisho.so server_uid={uid} {more}\n"
ACCOUNT = "account required pam_sekisho.so\naccount include common-account\n"
SSHD = (
    "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n"
    "AuthenticationMethods publickey,keyboard-interactive\n"
)


class Root:
    """A host's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("etc/pam.d/common-auth", DEBIAN_AUTH.replace(" nullok", ""))
        self.write("etc/pam.d/common-account", "account required pam_unix.so\n")
        self.write("usr/lib/x86_64-linux-gnu/security/pam_sekisho.so", "")
        self.write("etc/ssh/sshd_config", SSHD)
        (folder / "run/sekisho").mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(folder / "run/sekisho/pam.sock"))
        (folder / "run/sekisho/pam.sock").chmod(0o600)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def stack(self, auth: str, account: str = ACCOUNT, service: str = "sshd") -> None:
        text = auth.format(uid=os.geteuid()) if "{uid}" in auth else auth
        self.write(f"etc/pam.d/{service}", text + account)

    def said(self, *services: str) -> list[tuple[str, str, str]]:
        return [
            (one.state, one.check, one.text.replace(f"{self.folder}/", "")) for one in examine(self.folder, services)
        ]

    def complaints(self, *services: str) -> list[str]:
        return [f"{state} {check}: {text}" for state, check, text in self.said(*services) if state != "ok"]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def ours(more: str = "") -> str:
    return OURS.format(uid=os.geteuid(), more=more)


GOOD = {
    "alone": "{ours}",
    "the password of this machine first": "auth requisite pam_unix.so\n{ours}",
    "behind common-auth": "@include common-auth\n{ours}",
    "behind an include": "auth include common-auth\n{ours}",
    "behind a substack": "auth substack common-auth\n{ours}",
    "before common-auth": "{ours}@include common-auth\n",
    "with continued lines": "auth required \\\n pam_unix.so\n{ours}",
}


@pytest.mark.parametrize("auth", GOOD.values(), ids=GOOD)
def test_a_good_host_is_well(root: Root, auth: str) -> None:
    root.stack(auth.replace("{ours}", ours()))
    assert root.complaints() == []
    assert ("ok", "sshd", "UsePAM and KbdInteractiveAuthentication are yes") in root.said()


BAD = {
    "sufficient": (
        "auth sufficient pam_sekisho.so\nauth required pam_unix.so\n",
        "a wrong code gets in (sufficient): write required",
    ),
    "optional": ("auth required pam_unix.so\nauth optional pam_sekisho.so\n", "a wrong code gets in (optional)"),
    "behind a sufficient one": (
        "auth sufficient pam_unix.so\nauth required pam_sekisho.so\n",
        "etc/pam.d/sshd:1 ends the stack before it",
    ),
    "jumped over": (
        "auth [success=1 default=ignore] pam_unix.so\nauth required pam_sekisho.so\nauth required pam_permit.so\n",
        "etc/pam.d/sshd:1 jumps over it",
    ),
    "an outage with pam_permit": (
        "auth required pam_sekisho.so on_unavail=ignore\nauth required pam_permit.so\n",
        "in an outage anybody gets in, because of pam_permit at etc/pam.d/sshd:2: write on_unavail=deny",
    ),
    "an outage behind Debian's password": (
        "auth [success=ok default=ignore] pam_unix.so\nauth required pam_sekisho.so on_unavail=ignore\n"
        "auth required pam_permit.so\n",
        "in an outage anybody gets in",
    ),
    "an outage behind a password": (
        "auth requisite pam_unix.so\nauth required pam_sekisho.so on_unavail=ignore\n",
        "in an outage the password alone is enough",
    ),
    "unknown users": (
        "auth required pam_sekisho.so ignore_unknown_user\nauth required pam_permit.so\n",
        "whom Sekisho does not know gets in with a wrong password",
    ),
    "unknown option": ("auth required pam_sekisho.so nullok\n", "nullok is no option: the module refuses every login"),
    "nobody": ("auth required pam_sekisho.so\nauth required pam_deny.so\n", "nobody gets in"),
    "nullok": (
        "auth required pam_unix.so nullok\nauth required pam_sekisho.so\n",
        "nullok lets accounts without a password in",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("auth", "said"), BAD.values(), ids=BAD)
def test_each_trap_is_told(root: Root, auth: str, said: str) -> None:
    root.stack(auth.replace("pam_sekisho.so", f"pam_sekisho.so server_uid={os.geteuid()}"))
    complaints = root.complaints()
    assert len(complaints) >= 1 and any(said in one for one in complaints), complaints


def test_debian_s_own_profile_is_evaluated_where_it_is_included(root: Root) -> None:
    root.write("etc/pam.d/common-auth", DEBIAN_AUTH.replace(" nullok", "") + ours("use_first_pass"))
    root.stack("@include common-auth\n")
    assert root.complaints() == []


def test_a_host_without_anything_is_told_so(tmp_path: Path) -> None:
    said = "\n".join(one.text for one in examine(tmp_path, ()))
    assert "is not installed" in said and "none uses pam_sekisho.so" in said
    (found,) = [one for one in examine(tmp_path, ("sshd",)) if one.check == "stack sshd"]
    assert found.state == "fail" and "cannot be read" in found.text


def test_a_service_that_is_asked_for_and_has_no_code_is_told(root: Root) -> None:
    root.stack(ours())
    root.stack("@include common-auth\n", service="su")
    assert root.complaints("sshd") == []
    assert root.complaints("su") == ["fail stack su: does not use pam_sekisho.so: no code is asked for"]


def test_an_account_line_is_missed(root: Root) -> None:
    root.stack(ours(), account="")
    assert any("no account line: a locked user still gets in by a key" in one for one in root.complaints())


def test_an_account_line_is_not_missed_where_the_auth_stack_always_runs(root: Root) -> None:
    root.stack(ours(), account="account include common-account\n", service="login")
    assert root.complaints("login") == []
    root.stack(ours(), account="account include common-account\n", service="sudo")
    assert any("still gets in by NOPASSWD" in one for one in root.complaints("sudo"))


def test_the_socket_is_looked_at(root: Root) -> None:
    root.stack("auth required pam_sekisho.so server_uid=4711\n")
    assert any(f"is of uid {os.geteuid()}: write server_uid={os.geteuid()}" in one for one in root.complaints())
    root.stack(ours("socket=/run/nowhere"))
    assert any("/run/nowhere is not there" in one for one in root.complaints())
    root.stack(ours())
    (root.folder / "run/sekisho/pam.sock").chmod(0o666)
    assert any("is open to every user" in one for one in root.complaints())
    (root.folder / "run/sekisho").chmod(0o777)
    assert any("can be written by everybody" in one for one in root.complaints())


def test_the_module_is_looked_at(root: Root) -> None:
    root.stack(ours())
    (root.folder / "usr/lib/x86_64-linux-gnu/security/pam_sekisho.so").chmod(0o666)
    assert any("can be changed by others" in one for one in root.complaints())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SSHD.replace("UsePAM yes", "UsePAM no"), "UsePAM is no"),
        (SSHD.replace("KbdInteractiveAuthentication yes", "ChallengeResponseAuthentication no"), "is no: nobody can"),
        ("KbdInteractiveAuthentication no\n" + SSHD, "is no: nobody can be asked"),
        (SSHD.replace("PasswordAuthentication no", ""), "PasswordAuthentication is yes"),
        (SSHD + "PermitEmptyPasswords yes\n", "PermitEmptyPasswords is yes"),
        (SSHD.replace("publickey,keyboard", "publickey keyboard"), "one of these ways asks for no code"),
        (SSHD.partition("AuthenticationMethods")[0], "a key alone gets in"),
        ("Include /etc/ssh/sshd_config.d/*.conf\n" + SSHD, "UsePAM is no"),
        (SSHD + "Match User backup\nUsePAM no\n", "there are Match blocks"),
    ],
)  # fmt: skip
def test_what_sshd_needs_is_told(root: Root, config: str, said: str) -> None:
    root.stack(ours())
    root.write("etc/ssh/sshd_config.d/10-pam.conf", "UsePAM no\n")
    root.write("etc/ssh/sshd_config", config)
    complaints = root.complaints()
    assert any(said in one for one in complaints), complaints


def test_the_examples_that_are_delivered_are_well(root: Root) -> None:
    examples = Path(__file__).parents[2] / "config" / "pam.d"
    for name in ("common-session", "common-session-noninteractive", "common-password"):
        root.write(f"etc/pam.d/{name}", "")
    for example in sorted(examples.iterdir()):
        root.write(f"etc/pam.d/{example.name}", example.read_text().replace("998", str(os.geteuid())))
    (complaint,) = [one for one in root.complaints() if "stack" in one]
    assert complaint == (
        "warn stack login: etc/pam.d/login:10: whoever fulfils 'pam_succeed_if.so user notingroup otp' is asked for no "
        "code: right only if that is meant"
    )
    assert [one for one in root.complaints() if one.startswith("fail")] == []
    said = {check: text for state, check, text in root.said() if state == "ok"}
    assert said["stack login"].endswith("a wrong code is refused from everybody else")
    assert said["stack su"].endswith("a wrong code is refused from everybody but root, who is asked for nothing")
    assert said["stack sudo"].endswith("a wrong code is refused from everybody")


def test_whoever_needs_neither_password_nor_code_is_told(root: Root) -> None:
    root.stack("auth sufficient pam_succeed_if.so quiet user ingroup staff\n" + ours())
    (complaint,) = root.complaints()
    assert "etc/pam.d/sshd:1: whoever fulfils 'pam_succeed_if.so user ingroup staff'" in complaint
    assert "is asked for neither password nor code" in complaint


def test_a_condition_that_spares_nobody_the_code_is_not_complained_of(root: Root) -> None:
    root.stack("auth requisite pam_succeed_if.so user ingroup staff\n" + ours())
    assert root.complaints() == []


# Stacks by themselves.


@pytest.mark.parametrize(
    ("text", "unix", "opens"),
    [
        ("auth required pam_unix.so\n", Outcome.SUCCESS, True),
        ("auth required pam_unix.so\n", Outcome.REFUSED, False),
        ("auth required pam_unix.so\n", Outcome.IGNORED, False),
        ("auth sufficient pam_unix.so\nauth required pam_deny.so\n", Outcome.SUCCESS, True),
        ("auth required pam_deny.so\nauth sufficient pam_unix.so\n", Outcome.SUCCESS, False),
        (DEBIAN_AUTH, Outcome.SUCCESS, True),
        (DEBIAN_AUTH, Outcome.REFUSED, False),
        ("auth [success=1 default=ignore] pam_unix.so\nauth required pam_permit.so\n", Outcome.SUCCESS, False),
        ("auth [success=ok default=die] pam_unix.so\n-auth optional pam_cap.so\n", Outcome.SUCCESS, True),
    ],
)  # fmt: skip
def test_a_stack_comes_to_what_libpam_comes_to(root: Root, text: str, unix: Outcome, opens: bool) -> None:
    root.stack(text, account="", service="x")
    outcomes = {"pam_unix.so": unix, "pam_deny.so": Outcome.REFUSED, "pam_permit.so": Outcome.SUCCESS}
    lines = read_stack(root.folder, "x", "auth")
    assert stack_succeeds(lines, lambda line: outcomes.get(line.module, Outcome.IGNORED)) is opens


@pytest.mark.parametrize("text", ["@include x\n", "auth\n", "auth maybe pam_unix.so\n", "auth [success] pam_unix.so\n"])
def test_a_file_that_libpam_could_not_read_is_told(root: Root, text: str) -> None:
    root.stack(text, account="", service="x")
    with pytest.raises(BadStack, match=r"etc/pam.d/x"):
        read_stack(root.folder, "x", "auth")


def test_the_command(root: Root) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sekisho", "doctor", "pam", "--root", str(root.folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    root.stack(ours())
    done = run()
    assert (done.returncode, "a wrong code is refused" in done.stdout) == (0, True)
    root.stack(ours("on_unavail=ignore") + "auth required pam_permit.so\n")
    done = run("--json", "--service", "sshd")
    assert done.returncode == 1
    assert "fail" in {json.loads(line)["state"] for line in done.stdout.splitlines()}
