"""The Debian programs that the journeys speak to, and how to run them. A missing one fails with its package's name."""

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
    "pamtester": "pamtester",
    "libpam_wrapper.so": "libpam-wrapper",
    "pam_radius_auth.so": "libpam-radius-auth",
}


def missing(name: str) -> None:
    pytest.fail(f"{name} is not installed: apt install {_PACKAGES[name]}")


def program(name: str) -> str:
    """Its path, also where only root looks for programs."""
    path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        missing(name)
    return str(path)


def library(name: str) -> str:
    """A shared library's path, wherever Debian's architecture puts it."""
    found = [path for root in ("/usr/lib", "/lib") for path in Path(root).glob(f"*-linux-gnu*/**/{name}")]
    if not found:
        missing(name)
    return str(found[0])


def oath(customer: Customer, steps_away: int = 0) -> str:
    """What Debian's oathtool says the customer's token shows, now or some steps from now."""
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
    """A login as radclient wants it written."""
    return f'User-Name="{user}",User-Password="{user_password}"' + (f",State={state}" if state else "")


def heard(printed: str) -> str:
    """What radclient heard: the name of the packet, or ``silence``."""
    found = re.findall(r"^Received (\S+)", printed, re.MULTILINE)
    return found[-1] if found else "silence"


def received(printed: str, name: str) -> list[str]:
    """The values of an attribute in what radclient received, as it prints them."""
    reply = printed.rpartition("\nReceived ")[2] if "\nReceived " in printed else ""
    return re.findall(rf'^\t{re.escape(name)} = "?(.*?)"?$', reply, re.MULTILINE)


def counted(sekisho: Sekisho) -> dict[str, int]:
    """What a server that has been stopped said it had counted; nothing of it may be left unanswered."""
    line = next(line for line in reversed(sekisho.log_text().splitlines()) if " closed " in line)
    assert "unanswered=0" in line, line
    return {name: int(count) for name, count in re.findall(r"""['"]([^'"]+)['"]: (\d+)""", line)}
