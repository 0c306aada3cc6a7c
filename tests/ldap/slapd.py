"""OpenLDAP's slapd on free ports, with a bank's customers: groups in groups, password policies, TLS."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ldap.certificates import Authority
from tests.radius.tools import program
from tests.sekisho import free_port

BASE = "dc=bank,dc=example"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
SERVICE, SERVICE_PASSWORD = f"cn=sekisho,{BASE}", "service-password-1"
PASSWORD = "himitsu-no-aikotoba"
CUSTOMERS = f"cn=customers,{GROUPS}"
"""taro is in it through two groups; hanako directly; jiro is not."""

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
pidfile {folder}/slapd.pid
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
{more}
database mdb
suffix {base}
rootdn cn=admin,{base}
rootpw {root_password}
directory {folder}/data
maxsize 67108864
index uid,mail,member eq
overlay ppolicy
ppolicy_default cn=usual,{base}
ppolicy_use_lockout
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by * none
"""

_LDIF = """
dn: {base}
objectClass: organization
objectClass: dcObject
o: Bank
dc: bank

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{base}
objectClass: organizationalUnit
ou: groups

dn: cn=sekisho,{base}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: sekisho
userPassword: {service_password}

dn: cn=usual,{base}
objectClass: organizationalRole
objectClass: pwdPolicy
cn: usual
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 1000
pwdMustChange: TRUE

dn: cn=strict,{base}
objectClass: organizationalRole
objectClass: pwdPolicy
cn: strict
pwdAttribute: userPassword
pwdMaxAge: 60
pwdLockout: TRUE
pwdMustChange: TRUE

dn: ou=elsewhere,{base}
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://192.0.2.77/ou=elsewhere,{base}
"""
_STRANGE = "strange,na+me"
"""A uid that is no plain text in a DN or a filter."""
PEOPLE_OF_THE_BANK: dict[str, dict[str, str]] = {
    "taro": {"mail": "taro@bank.example", "employeeNumber": "K-0001"},
    "hanako": {"mail": "hanako@bank.example", "employeeNumber": "K-0002"},
    "jiro": {"mail": "jiro@bank.example", "employeeNumber": "K-0003"},
    "saburo": {"mail": "twins@bank.example"},
    "shiro": {"mail": "twins@bank.example", "employeeNumber": "K-0005"},
    "goro": {"mail": "goro@bank.example"},
    "copied-accept": {"mail": "accept@bank.example"},
    "copied-reject": {"mail": "reject@bank.example"},
    "expired": {"pwdPolicySubentry": f"cn=strict,{BASE}", "pwdChangedTime": "20200101000000Z"},
    "reset": {"pwdReset": "TRUE"},
    "locked": {"pwdAccountLockedTime": "000001010000Z"},
    "(star)*": {"mail": "star@bank.example"},
    _STRANGE: {"mail": "strange@bank.example"},
}


def dn_of(uid: str) -> str:
    """Of one of the people."""
    escaped = re.sub(r"([,+])", r"\\\1", uid)
    return f"uid={escaped},{PEOPLE}"


def _group(name: str, *members: str) -> str:
    lines = "\n".join(f"member: {member}" for member in members)
    return f"\ndn: cn={name},{GROUPS}\nobjectClass: groupOfNames\ncn: {name}\n{lines}\n"


def _people() -> str:
    entries = []
    for uid, more in PEOPLE_OF_THE_BANK.items():
        lines = "".join(f"{name}: {value}\n" for name, value in more.items())
        entries.append(
            f"\ndn: {dn_of(uid)}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n"
            f"userPassword: {PASSWORD}\n{lines}"
        )
    return "".join(entries)


def _groups() -> str:
    """customers > branch > tellers > taro; a circle; and more groups than fit one question."""
    named = f"cn={{}},{GROUPS}"
    return (
        _group("customers", named.format("branch"), dn_of("hanako"))
        + _group("branch", named.format("tellers"))
        + _group("tellers", dn_of("taro"))
        + _group("circle-a", named.format("circle-b"), dn_of("jiro"))
        + _group("circle-b", named.format("circle-a"))
        + "".join(_group(f"many{number}", dn_of("shiro")) for number in range(501))
    )


@dataclass
class Slapd:
    """A running server. ``log``: what it was asked (``-d stats``)."""

    folder: Path
    authority: Authority
    port: int
    tls_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def plain_url(self) -> str:
        return f"ldap://localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def log(self) -> Path:
        return self.folder / "slapd.log"

    def binds(self, dn: str | None = None) -> list[str]:
        """The names of all simple binds so far, or those of ``dn``."""
        self.settle()
        found = re.findall(r'BIND dn="((?:[^"\\]|\\.)*)" method=128', self.log.read_text())
        return [one for one in found if dn is None or one.lower() == dn.lower()]

    def settle(self) -> None:
        """The log is written beside the answer: wait until nothing more comes."""
        size = -1
        while size != (size := self.log.stat().st_size):
            time.sleep(0.02)

    def start(self) -> None:
        urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"
        command = [program("slapd"), "-f", str(self.folder / "slapd.conf"), "-h", urls, "-d", "stats"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tls_port), 1):
                return
            assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@contextlib.contextmanager
def slapd(
    folder: Path, *, certificate: tuple[Path, Path] | None = None, more: str = "", people: str = ""
) -> Iterator[Slapd]:
    """A server with everybody in it. ``certificate``: and key; left out: a right one for localhost and 127.0.0.1.
    ``more``: of its configuration; ``people``: further entries, as LDIF."""
    (folder / "data").mkdir()
    authority = Authority(folder)
    pem, key = certificate or authority.issue("server", "localhost", "127.0.0.1")
    (folder / "slapd.conf").write_text(
        _CONFIG.format(
            folder=folder,
            base=BASE,
            service=SERVICE,
            certificate=pem,
            key=key,
            more=more,
            root_password=SERVICE_PASSWORD,
        )
    )
    ldif = _LDIF.format(base=BASE, service_password=SERVICE_PASSWORD) + _people() + _groups() + people
    command = [program("slapd"), "-T", "add", "-q", "-f", str(folder / "slapd.conf")]
    added = subprocess.run(command, input=ldif.encode(), capture_output=True, timeout=60)
    assert added.returncode == 0, added.stderr.decode()
    server = Slapd(folder, authority, free_port(), free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()
