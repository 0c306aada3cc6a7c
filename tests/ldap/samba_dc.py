"""Samba's Active Directory domain controller on a loopback address of its own, with accounts in every state.

It has AD's fixed ports, so it needs root and an address that no other test uses. Where it is not installed, or nobody
is root, the tests that need it are skipped.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ldap.certificates import Authority

REALM, DOMAIN, BASE = "BANK.EXAMPLE", "BANK", "DC=bank,DC=example"
ADMINISTRATOR, ADMIN_PASSWORD = f"CN=Administrator,CN=Users,{BASE}", "Passw0rd-of-administrators"
SERVICE, SERVICE_PASSWORD = f"CN=sekisho,CN=Users,{BASE}", "Passw0rd-of-the-service"
PASSWORD = "Himitsu-no-aikotoba-1"
GROUP = f"CN=IB-Users,CN=Users,{BASE}"

_MAKE = """
import sys
from samba.samdb import SamDB
from samba.auth import system_session
from samba.param import LoadParm
from samba.dsdb import UF_ACCOUNTDISABLE, UF_NORMAL_ACCOUNT
import ldb

lp = LoadParm()
lp.load(sys.argv[1])
sam = SamDB(lp=lp, session_info=system_session())
base = sam.domain_dn()
password, service_password = sys.argv[2], sys.argv[3]


def change(dn, **values):
    message = ldb.Message(ldb.Dn(sam, dn))
    for name, value in values.items():
        message[name] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, name)
    sam.modify(message)


sam.newuser("sekisho", service_password)
for name in ("taro", "jiro", "disabled", "gone", "reset", "locked", "asleep"):
    sam.newuser(name, password, mailaddress=name + "@mail.example")
users = "CN={},CN=Users," + base
change(users.format("taro"), employeeID="K-0001", userPrincipalName="yamada.taro@bank.example")
change(users.format("disabled"), userAccountControl=str(UF_NORMAL_ACCOUNT | UF_ACCOUNTDISABLE))
change(users.format("gone"), accountExpires="116444736000000000")
change(users.format("reset"), pwdLastSet="0")
change(users.format("asleep"), logonHours=b"\\0" * 21)
for name in ("IB-Users", "Branch", "Tellers"):
    sam.newgroup(name)
for name, member in (("IB-Users", "Branch"), ("Branch", "Tellers"), ("Tellers", "taro")):
    sam.add_remove_group_members(name, [member])
change(base, lockoutThreshold="3", lockoutDuration="-18000000000", lockOutObservationWindow="-18000000000")
"""


@dataclass
class DomainController:
    """A running one. Its certificate names ``localhost`` and its address."""

    address: str
    authority: Authority


def why_not() -> str:
    """Why it cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root, for the ports of Active Directory"
    if not shutil.which("samba-tool") or not Path("/usr/share/samba/setup/provision.ldif").is_file():
        return "needs Debian's samba-ad-dc and samba-ad-provision"
    return ""


@contextlib.contextmanager
def domain_controller(folder: Path) -> Iterator[DomainController]:
    """A new domain; it takes about ten seconds."""
    address = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
    authority = Authority(folder)
    certificate, key = authority.issue("dc1", "localhost", address, "dc1.bank.example")
    key.chmod(0o600)
    options = {
        "interfaces": f"{address}/8",
        "bind interfaces only": "yes",
        "server services": "ldap",
        "tls certfile": certificate,
        "tls keyfile": key,
        "tls cafile": authority.file,
        "pid directory": folder / "run",
        "ncalrpc dir": folder / "ncalrpc",
        "winbindd socket directory": folder / "winbind",
        "ntp signd socket directory": folder / "ntp",
        "log file": folder / "samba.log",
    }
    provision = ["samba-tool", "domain", "provision", f"--realm={REALM}", f"--domain={DOMAIN}", "--server-role=dc"]
    provision += [f"--adminpass={ADMIN_PASSWORD}", f"--targetdir={folder}", "--dns-backend=NONE", "--host-name=dc1"]
    provision += [f"--option={name}={value}" for name, value in options.items()]
    _run([*provision, "--quiet"])
    config = str(folder / "etc" / "smb.conf")
    _run(["/usr/bin/python3", "-c", _MAKE, config, PASSWORD, SERVICE_PASSWORD])
    (folder / "run").mkdir(exist_ok=True)
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            ["samba", "-s", config, "-i", "--no-process-group", "-M", "single"], stdout=output, stderr=output
        )
    try:
        _wait_for(address, process, folder / "output")
        yield DomainController(address, authority)
    finally:
        process.terminate()
        process.wait(10)


def _run(command: list[str]) -> None:
    ran = subprocess.run(command, capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()


def _wait_for(address: str, process: subprocess.Popen[bytes], output: Path) -> None:
    end = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection((address, 636), 1):
            return
        assert time.monotonic() < end and process.poll() is None, output.read_text()
        time.sleep(0.05)
