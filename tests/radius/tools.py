"""Runs the Debian programs that the journeys use. A missing one fails the test with the name of its package."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.sekisho import SECRET, Customer, Sekisho

_PACKAGES = {
    "radclient": "freeradius-utils",
    "freeradius": "freeradius",
    "oathtool": "oathtool",
    "slapd": "slapd",
    "rsyslogd": "rsyslog",
    "pamtester": "pamtester",
    "eapol_test": "eapoltest",
    "libpam_wrapper.so": "libpam-wrapper",
    "libnss_wrapper.so": "libnss-wrapper",
    "pam_radius_auth.so": "libpam-radius-auth",
}


def missing(name: str) -> None:
    """Fail the test, and name the package to install."""
    pytest.fail(f"{name} is not installed: apt install {_PACKAGES[name]}")


def program(name: str) -> str:
    """The path of a program, /sbin included. Fails the test if it is missing."""
    path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        missing(name)
    return str(path)


def library(name: str) -> str:
    """The path of a shared library on any architecture. Fails the test if it is missing."""
    found = [path for root in ("/usr/lib", "/lib") for path in Path(root).glob(f"*-linux-gnu*/**/{name}")]
    if not found:
        missing(name)
    return str(found[0])


def oath(customer: Customer, steps_away: int = 0) -> str:
    """The code of the customer's token according to oathtool, now or some time steps away."""
    at = f"@{int(time.time()) + 30 * steps_away}"
    command = [program("oathtool"), "--totp", f"--digits={customer.digits}", f"--now={at}", customer.seed.hex()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def radclient(
    port: int,
    attributes: str,
    *,
    host: str = "127.0.0.1",
    secret: str = SECRET,
    kind: str = "auth",
    tries: int = 1,
    wait: float = 3,
    signed: bool = True,
) -> str:
    """Debian's radclient, at any address; what it printed. ``kind``: auth or status. ``wait``: seconds for each try,
    whole ones where there are several (radclient resends by the second)."""
    if signed:
        attributes += ",Message-Authenticator=0x00"
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    version = ["-6"] if ":" in host else []
    command = [program("radclient"), "-x", "-t", str(wait), "-r", str(tries), *version, where, kind, secret]
    done = subprocess.run(command, input=attributes.encode(), capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode()


def login(user: str, user_password: str, state: str = "") -> str:
    """The attributes of a login in radclient's syntax."""
    return f'User-Name="{user}",User-Password="{user_password}"' + (f",State={state}" if state else "")


def heard(printed: str) -> str:
    """The name of the reply in radclient's output, or ``silence``."""
    found = re.findall(r"^Received (\S+)", printed, re.MULTILINE)
    return found[-1] if found else "silence"


def received(printed: str, name: str) -> list[str]:
    """The values of an attribute in what radclient received, as it prints them."""
    reply = printed.rpartition("\nReceived ")[2] if "\nReceived " in printed else ""
    return re.findall(rf'^\t{re.escape(name)} = "?(.*?)"?$', reply, re.MULTILINE)


def counted(sekisho: Sekisho) -> dict[str, int]:
    """The counts that a stopped server logged. Fails the test if it left requests unanswered."""
    line = next(line for line in reversed(sekisho.log_text().splitlines()) if " closed " in line)
    assert "unanswered=0" in line, line
    return {name: int(count) for name, count in re.findall(r"""['"]([^'"]+)['"]: (\d+)""", line)}
