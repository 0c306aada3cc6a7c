"""Real su, sudo and sshd with the module, against a real server with a real store, in a machine to throw away."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otp_core.first_factor.hashes import hash_password
from sekisho.wiring import cost_of
from tests.pam.host import wait_for
from tests.pam.throwaway import PATIENCE, Terminal, Throwaway, needs_root, throwaway
from tests.pam.workshop import SOURCES, Workshop, run
from tests.sekisho import PASSWORD, STAFF, Customer, Sekisho, client_table, free_port

pytestmark = needs_root

CODE, CODE_AGAIN, DENIED = "One-time password: ", "password shown: ", "ermission denied"
MACHINE_PASSWORD = "kono-kikai-no"
PROFILES = """
[[pam.profiles]]
name = "default"
language = "en"
reject_delay = 0.1
[[pam.profiles]]
name = "code"
mode = "code"
language = "en"
reject_delay = 0.1
services = ["sudo"]
[throttle]
free_failures = 50
password_free_failures = 50
[login]
lock_after = 4
"""
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/hostkey
PidFile none
UsePAM yes
KbdInteractiveAuthentication yes
PasswordAuthentication yes
PubkeyAuthentication no
PermitRootLogin no
DenyUsers denied
LogLevel VERBOSE
LoginGraceTime 60
"""


@dataclass
class Site:
    """One host with its users, the server, and sshd's port."""

    sekisho: Sekisho
    host: Throwaway
    module: str
    port: int
    sshd_log: Path

    def user(self) -> tuple[Customer, int]:
        """A customer who is a user of the host, too."""
        customer = self.sekisho.customer()
        return customer, self.host.add_user(customer.contract_id, self._hash)

    @property
    def _hash(self) -> str:
        return run(["openssl", "passwd", "-6", "-salt", "sekisho", MACHINE_PASSWORD]).strip()

    def ssh(self, user: str, method: str = "keyboard-interactive") -> Terminal:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        options += ["-o", f"PreferredAuthentications={method}", "-o", "NumberOfPasswordPrompts=1", "-F", "none"]
        command = ["ssh", *options, "-p", str(self.port), f"{user}@127.0.0.1", "echo in as $(id -un)"]
        return self.host.at_a_terminal(*command)

    def logged_in(self, customer: Customer) -> list[str]:
        """The doors through which they came in."""
        return [row.actor for row in self.sekisho.audit(customer.contract_id, "login.accepted")]


@pytest.fixture(scope="module")
def site(workshop: Workshop) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="sk") as name, throwaway(Path(name)) as host:
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "pam.sock"
        more = f'[pam]\nsocket = "{path}"\n{PROFILES}'
        sekisho = Sekisho(folder, more=more, clients=client_table("gateway", "127.0.0.0/8", "append"))
        try:
            sekisho.start()
            wait_for(path)
            one = Site(
                sekisho,
                host,
                f"{workshop.module} socket={path} timeout=30",
                free_port(),
                folder / "sshd.log",
            )
            _set_up(one, folder)
            yield one
        finally:
            sekisho.close()


def _set_up(site: Site, folder: Path) -> None:
    ours = f"auth required {site.module}\naccount required {site.module}\nsession required pam_permit.so\n"
    for service in ("sshd", "su"):
        site.host.service(service, ours)
    site.host.service(
        "sudo",
        f"auth requisite pam_unix.so\nauth required {site.module} use_first_pass\n"
        f"account required {site.module}\nsession required pam_permit.so\n",
    )
    (site.host.etc / "sudoers").write_text("Defaults lecture=never\nALL ALL=(ALL) ALL\n")
    site.host.add_user("denied")
    for name in ("denied", "root"):
        site.sekisho.desk.customers.add(
            name, STAFF, password_hash=hash_password(PASSWORD.encode(), cost_of(site.sekisho.settings))
        )
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "hostkey")])
    (folder / "sshd_config").write_text(SSHD.format(port=site.port, folder=folder))
    site.host.spawn("/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config"), log=site.sshd_log)
    _wait_for_port(site)


def _wait_for_port(site: Site) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", site.port)).close()
            return
        except OSError:
            assert time.monotonic() < end, site.sshd_log.read_text()
            time.sleep(0.1)


def test_ssh_asks_for_password_and_code(site: Site) -> None:
    taro, _ = site.user()
    with_code = site.ssh(taro.contract_id)
    with_code.wait_for("Password: ")
    with_code.type(PASSWORD)
    with_code.wait_for(CODE)
    with_code.type(taro.code())
    with_code.wait_for(f"in as {taro.contract_id}")
    assert with_code.ends() == 0
    assert site.logged_in(taro) == ["pam:default"]


@pytest.mark.parametrize("answers", [["wrong"], [PASSWORD, "000000", "000000", "000000"]])
def test_ssh_refuses_a_wrong_password_and_wrong_codes(site: Site, answers: list[str]) -> None:
    taro, _ = site.user()
    terminal = site.ssh(taro.contract_id)
    for answer, question in zip(answers, ("Password: ", CODE, CODE_AGAIN, CODE_AGAIN), strict=False):
        if terminal.wait_for(question, DENIED) == DENIED:
            break
        terminal.type(answer)
    assert terminal.ends() == 255
    assert "in as" not in terminal.shown
    assert site.logged_in(taro) == []


def test_ssh_s_password_method_takes_both_in_one_answer(site: Site) -> None:
    taro, _ = site.user()
    terminal = site.ssh(taro.contract_id, "password")
    terminal.wait_for("assword: ")
    terminal.type(PASSWORD + taro.code())
    terminal.wait_for(f"in as {taro.contract_id}")
    assert terminal.ends() == 0


def test_ssh_s_password_method_with_the_password_alone_is_refused_and_no_attempt(site: Site) -> None:
    """sshd gives the same answer to every question: the password is no wrong code."""
    taro, _ = site.user()
    terminal = site.ssh(taro.contract_id, "password")
    terminal.wait_for("assword: ")
    terminal.type(PASSWORD)
    assert terminal.ends() == 255
    assert site.logged_in(taro) == []
    taken = site.ssh(taro.contract_id, "password")
    taken.wait_for("assword: ")
    taken.type(PASSWORD + taro.code())
    taken.wait_for("in as")


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
@pytest.mark.parametrize("user", ["denied", "nobody-of-that-name", "root"])
def test_ssh_lets_in_nobody_whom_it_denies_and_charges_nobody(site: Site, user: str, method: str) -> None:
    """sshd makes up a password for them: whoever has that name here must not pay for it."""
    terminal = site.ssh(user, method)
    while terminal.wait_for("assword: ", DENIED) != DENIED:
        terminal.type(PASSWORD)
    assert terminal.ends() == 255
    assert "in as" not in terminal.shown
    assert [row.event for row in site.sekisho.audit(user) if row.event.startswith("login")] == []


def test_one_code_through_ssh_is_spent_for_radius(site: Site) -> None:
    taro, _ = site.user()
    code = taro.code()
    terminal = site.ssh(taro.contract_id, "password")
    terminal.wait_for("assword: ")
    terminal.type(PASSWORD + code)
    terminal.wait_for("in as")
    assert terminal.ends() == 0
    assert site.sekisho.login(taro.contract_id, PASSWORD + code) == "Access-Reject"
    assert site.logged_in(taro) == ["pam:default"]


def test_one_code_through_radius_is_spent_for_ssh(site: Site) -> None:
    taro, _ = site.user()
    code = taro.code()
    assert site.sekisho.login(taro.contract_id, PASSWORD + code) == "Access-Accept"
    terminal = site.ssh(taro.contract_id, "password")
    terminal.wait_for("assword: ")
    terminal.type(PASSWORD + code)
    assert terminal.ends() == 255
    assert site.logged_in(taro) == ["gateway"]


def test_who_is_locked_at_one_door_is_locked_at_all(site: Site) -> None:
    taro, _ = site.user()
    for _ in range(2):
        assert site.sekisho.login(taro.contract_id, PASSWORD + "000000") == "Access-Reject"
    terminal = site.ssh(taro.contract_id)
    terminal.wait_for("Password: ")
    terminal.type(PASSWORD)
    for question in (CODE, CODE_AGAIN):
        terminal.wait_for(question)
        terminal.type("000000")
    assert terminal.ends() == 255
    assert len(site.sekisho.audit(taro.contract_id, "customer.locked")) == 1
    assert site.sekisho.login(taro.contract_id, PASSWORD + taro.code()) == "Access-Reject"
    terminal = site.ssh(taro.contract_id, "password")
    terminal.wait_for("assword: ")
    terminal.type(PASSWORD + taro.code())
    assert terminal.ends() == 255
    assert site.logged_in(taro) == []


def test_su_asks_for_password_and_code_of_whom_one_wants_to_be(site: Site) -> None:
    (taro, _), (_, uid) = site.user(), site.user()
    terminal = site.host.at_a_terminal("su", taro.contract_id, "-c", "echo in as $(id -un)", uid=uid)
    terminal.wait_for("Password: ")
    terminal.type(PASSWORD)
    terminal.wait_for(CODE)
    terminal.type(taro.code())
    terminal.wait_for(f"in as {taro.contract_id}")
    assert terminal.ends() == 0


def test_su_refuses_who_gives_up_and_who_is_wrong(site: Site) -> None:
    (taro, _), (_, uid) = site.user(), site.user()
    terminal = site.host.at_a_terminal("su", taro.contract_id, "-c", "echo in as $(id -un)", uid=uid)
    terminal.wait_for("Password: ")
    terminal.type("wrong")
    assert terminal.ends() != 0
    given_up = site.host.at_a_terminal("su", taro.contract_id, "-c", "echo in as $(id -un)", uid=uid)
    given_up.wait_for("Password: ")
    assert given_up.interrupted() != 0
    assert site.logged_in(taro) == []
    assert "in as" not in terminal.shown + given_up.shown


def test_sudo_asks_for_the_machine_s_password_and_then_for_a_code(site: Site) -> None:
    taro, uid = site.user()
    terminal = site.host.at_a_terminal("sudo", "-k", "sh", "-c", "echo in as $(id -un)", uid=uid)
    terminal.wait_for("assword")
    terminal.type(MACHINE_PASSWORD)
    terminal.wait_for(CODE)
    terminal.type(taro.code())
    terminal.wait_for("in as root")
    assert terminal.ends() == 0
    assert site.logged_in(taro) == ["pam:code"]


def test_sudo_refuses_a_spent_code(site: Site) -> None:
    taro, uid = site.user()
    code = taro.code()
    assert site.sekisho.login(taro.contract_id, PASSWORD + code) == "Access-Accept"
    terminal = site.host.at_a_terminal("sudo", "-k", "sh", "-c", "echo in as $(id -un)", uid=uid)
    terminal.wait_for("assword")
    terminal.type(MACHINE_PASSWORD)
    terminal.wait_for(CODE)
    terminal.type(code)
    terminal.wait_for("try again")
    terminal.wait_for("assword for")
    assert terminal.interrupted() != 0
    assert "in as" not in terminal.shown


def test_su_refuses_everybody_while_nobody_serves(site: Site) -> None:
    (taro, _), (_, uid) = site.user(), site.user()
    stack = (site.host.etc / "pam.d/su").read_text()
    site.host.service("su", stack.replace("pam.sock", "nobody.sock"))
    terminal = site.host.at_a_terminal("su", taro.contract_id, "-c", "echo in as $(id -un)", uid=uid)
    assert terminal.ends() != 0
    assert "in as" not in terminal.shown
    site.host.service("su", stack)


def test_pam_auth_update_turns_it_on_and_off_and_leaves_the_files_as_they_were(site: Site) -> None:
    configs = site.host.etc.parent / "usr/share/pam-configs"
    (configs / "sekisho").write_bytes((SOURCES / "pam-configs" / "sekisho").read_bytes())

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (site.host.etc / "pam.d").glob("common-*")}

    before = files()
    site.host.run("pam-auth-update", "--package")
    assert files() == before, "off until somebody turns it on"
    done = site.host.run("pam-auth-update", "--enable", "sekisho")
    assert done.returncode == 0, done.stderr
    lines = files()["common-auth"].decode().splitlines()
    ours = [line.split() for line in lines if "pam_sekisho" in line]
    assert ours == [["auth", "required", "pam_sekisho.so", "use_first_pass"]]
    order = [word for line in lines for word in line.split() if word in ("pam_unix.so", "pam_sekisho.so")]
    assert order == ["pam_unix.so", "pam_sekisho.so"], "the machine's password comes first"
    assert {name for name, text in files().items() if text != before[name]} == {"common-auth"}
    done = site.host.run("pam-auth-update", "--package", "--disable", "sekisho")
    assert done.returncode == 0, done.stderr
    assert files() == before


def test_this_machine_is_as_it_was(site: Site) -> None:
    assert "denied" not in Path("/etc/passwd").read_text()
    assert "pam_sekisho" not in Path("/etc/pam.d/sudo").read_text()
    mounts = subprocess.run(["mount"], capture_output=True, check=True).stdout.decode()
    assert "copies/etc" not in mounts
