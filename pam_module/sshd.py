"""Whether sshd lets PAM ask for a code. Asks sshd itself if that is allowed, otherwise reads its files.

Changes nothing. Source: sshd_config(5).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from otp_core.checks import CheckResult, CheckState

_FORMER_NAMES = {"challengeresponseauthentication": "kbdinteractiveauthentication"}
_DEFAULTS = {
    "usepam": "no",
    "kbdinteractiveauthentication": "yes",
    "passwordauthentication": "yes",
    "permitemptypasswords": "no",
    "authenticationmethods": "any",
}
_MAX_DEPTH = 8


def sshd_findings(root: Path) -> Iterator[CheckResult]:
    """What is right and wrong in sshd's settings, for users in general."""
    effective = _effective_settings() if root == Path("/") else None
    file = root / "etc/ssh/sshd_config"
    settings = _DEFAULTS | (dict(_read(root, file)) if effective is None else effective)
    yield _pam(settings)
    yield from _passwords(settings)
    yield from _methods(settings["authenticationmethods"])
    if effective is None and any(name == "match" for name, _ in _lines(root, file, 0, match_blocks=True)):
        yield _warn("there are Match blocks, which were not looked at: ask sshd -T -C user=…,host=…,addr=…")


def _ok(text: str) -> CheckResult:
    return CheckResult(CheckState.OK, "sshd", text)


def _warn(text: str) -> CheckResult:
    return CheckResult(CheckState.WARN, "sshd", text)


def _fail(text: str) -> CheckResult:
    return CheckResult(CheckState.FAIL, "sshd", text)


def _pam(settings: Mapping[str, str]) -> CheckResult:
    if settings["usepam"] != "yes":
        return _fail("UsePAM is no: no stack is asked at all. Write UsePAM yes")
    if settings["kbdinteractiveauthentication"] != "yes":
        return _fail(
            "KbdInteractiveAuthentication is no: nobody can be asked for a code, only password+code in one answer "
            "works. Write KbdInteractiveAuthentication yes"
        )
    return _ok("UsePAM and KbdInteractiveAuthentication are yes")


def _passwords(settings: Mapping[str, str]) -> Iterator[CheckResult]:
    if settings["passwordauthentication"] == "yes":
        yield _warn(
            "PasswordAuthentication is yes: such a client is not asked for a code, and has to give password+code in "
            "one answer. Write PasswordAuthentication no unless that is meant"
        )
    if settings["permitemptypasswords"] == "yes":
        yield _fail("PermitEmptyPasswords is yes: write no")


def _methods(methods: str) -> Iterator[CheckResult]:
    if methods == "any":
        yield _warn(
            "a key alone gets in, and no code is asked for. If keys need one too: AuthenticationMethods "
            "publickey,keyboard-interactive:pam keyboard-interactive:pam"
        )
    elif any("keyboard-interactive" not in one and "password" not in one for one in methods.split()):
        yield _warn(f"AuthenticationMethods {methods}: one of these ways asks for no code")


def _effective_settings() -> dict[str, str] | None:
    """The settings as sshd itself prints them (sshd -T). None: there is no sshd, or this is not root."""
    program = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin")
    if program is None or os.geteuid() != 0:
        return None
    done = subprocess.run([program, "-T"], capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        return None
    return {name.lower(): value for name, _, value in (line.partition(" ") for line in done.stdout.splitlines())}


def _read(root: Path, path: Path) -> Iterator[tuple[str, str]]:
    """The settings before the first Match, last one first: sshd uses the first value of a keyword, a dict the last."""
    yield from reversed(list(_lines(root, path, 0, match_blocks=False)))


def _lines(root: Path, path: Path, depth: int, *, match_blocks: bool) -> Iterator[tuple[str, str]]:
    """(keyword, value) of each line, includes resolved. ``match_blocks``: do not stop at the first Match."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        name, _, value = line.strip().replace("=", " ", 1).partition(" ")
        name, value = name.lower(), value.strip()
        if name == "match" and not match_blocks:
            return
        if name == "include" and depth < _MAX_DEPTH:
            for pattern in shlex.split(value):
                relative = pattern.lstrip("/") if pattern.startswith("/") else f"etc/ssh/{pattern}"
                for found in sorted(root.glob(relative)):
                    yield from _lines(root, found, depth + 1, match_blocks=match_blocks)
        elif name and name[0] != "#":
            yield _FORMER_NAMES.get(name, name), value if name == "authenticationmethods" else value.lower()
