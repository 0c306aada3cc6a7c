"""What sshd has to be told so that PAM can ask for a code. Asks sshd itself where it may, else reads its files."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_OLD = {"challengeresponseauthentication": "kbdinteractiveauthentication"}
_DEFAULTS = {
    "usepam": "no",
    "kbdinteractiveauthentication": "yes",
    "passwordauthentication": "yes",
    "permitemptypasswords": "no",
    "authenticationmethods": "any",
}
Finding = tuple[str, str, str]


def sshd_findings(root: Path) -> Iterator[Finding]:
    """(state, check, text) as doctor.py has them."""
    said = _asked() if root == Path("/") else None
    known = _DEFAULTS | (said if said is not None else dict(_read(root, root / "etc/ssh/sshd_config", 0)))
    if known["usepam"] != "yes":
        yield "fail", "sshd", "UsePAM is no: no stack is asked at all. Write UsePAM yes"
    elif known["kbdinteractiveauthentication"] != "yes":
        yield (
            "fail",
            "sshd",
            "KbdInteractiveAuthentication is no: nobody can be asked for a code, only password+code in one answer "
            "works. Write KbdInteractiveAuthentication yes",
        )
    else:
        yield "ok", "sshd", "UsePAM and KbdInteractiveAuthentication are yes"
    if known["passwordauthentication"] == "yes":
        yield (
            "warn",
            "sshd",
            "PasswordAuthentication is yes: such a client is not asked for a code, and has to give password+code in "
            "one answer. Write PasswordAuthentication no unless that is meant",
        )
    if known["permitemptypasswords"] == "yes":
        yield "fail", "sshd", "PermitEmptyPasswords is yes: write no"
    methods = known["authenticationmethods"]
    if methods == "any":
        yield (
            "warn",
            "sshd",
            "a key alone gets in, and no code is asked for. If keys need one too: AuthenticationMethods "
            "publickey,keyboard-interactive:pam keyboard-interactive:pam",
        )
    elif any("keyboard-interactive" not in one and "password" not in one for one in methods.split()):
        yield "warn", "sshd", f"AuthenticationMethods {methods}: one of these ways asks for no code"
    if said is None and any(name == "match" for name, _ in _read(root, root / "etc/ssh/sshd_config", 0, whole=True)):
        yield "warn", "sshd", "there are Match blocks, which were not looked at: ask sshd -T -C user=…,host=…,addr=…"


def _asked() -> dict[str, str] | None:
    """What sshd says of itself; only root may ask."""
    program = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin")
    if program is None or os.geteuid() != 0:
        return None
    done = subprocess.run([program, "-T"], capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        return None
    return {name.lower(): value for name, _, value in (line.partition(" ") for line in done.stdout.splitlines())}


def _read(root: Path, path: Path, depth: int, *, whole: bool = False) -> Iterator[tuple[str, str]]:
    """The lines that hold for everybody, the first of each last, so that it wins in a dict."""
    yield from reversed(list(_lines(root, path, depth, whole)))


def _lines(root: Path, path: Path, depth: int, whole: bool) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        name, _, value = line.strip().replace("=", " ", 1).partition(" ")
        name, value = name.lower(), value.strip()
        if name == "match" and not whole:
            return
        if name == "include" and depth < 8:
            for pattern in shlex.split(value):
                relative = pattern.lstrip("/") if pattern.startswith("/") else f"etc/ssh/{pattern}"
                for found in sorted(root.glob(relative)):
                    yield from _lines(root, found, depth + 1, whole)
        elif name and name[0] != "#":
            yield _OLD.get(name, name), value if name == "authenticationmethods" else value.lower()
