"""``sekisho doctor pam``: the examination of a host that uses the PAM module. Changes nothing.

The module's file, every stack that uses it (stack_checks.py), the socket, and sshd (sshd.py).
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from otp_core.checks import CheckResult, CheckState
from pam_module.sshd import sshd_findings
from pam_module.stack_checks import MODULE, check_stack, uses_module
from pam_module.stacks import BadStack, Line, module_lines, read_stack, services

_MODULE_FOLDERS = ("usr/lib/*/security", "lib/*/security", "usr/lib/security", "lib/security", "usr/lib64/security")


def examine(root: Path, wanted: Sequence[str]) -> Iterator[CheckResult]:
    """Examine the files under ``root`` and, if that is /, the running machine. ``wanted``: PAM services; none: all that
    use the module."""
    yield from _module(root)
    stacks: dict[str, list[Line]] = {}
    for service in wanted or services(root):
        try:
            stacks[service] = read_stack(root, service, "auth")
        except BadStack as error:
            if wanted:
                yield CheckResult(CheckState.FAIL, f"stack {service}", str(error))
    # A common-* file is no service: it is evaluated in the stacks that include it.
    ours = {name: lines for name, lines in stacks.items() if uses_module(lines) and not name.startswith("common-")}
    for name in wanted:
        if name in stacks and name not in ours:
            yield CheckResult(CheckState.FAIL, f"stack {name}", f"does not use {MODULE}: no code is asked for")
    if not ours and not wanted:
        yield CheckResult(CheckState.FAIL, "stacks", f"none uses {MODULE}: see docs/pam.md for where its line goes")
    for name, lines in ours.items():
        yield from check_stack(root, name, lines)
    calls = [line for lines in ours.values() for line in module_lines(lines) if line.module == MODULE]
    yield from (_socket(root, name, uid) for name, uid in sorted(set(map(_socket_of, calls))))
    if "sshd" in ours:
        yield from sshd_findings(root)


def _module(root: Path) -> Iterator[CheckResult]:
    files = sorted({path.resolve() for folder in _MODULE_FOLDERS for path in root.glob(f"{folder}/{MODULE}")})
    if not files:
        yield CheckResult(CheckState.FAIL, "module", f"{MODULE} is not installed: make -C pam_module install")
    for path in files:
        status = path.stat()
        if status.st_mode & 0o022 or (status.st_uid and os.geteuid() == 0 and root == Path("/")):
            text = f"{path} can be changed by others: chown root:root, chmod 0644"
            yield CheckResult(CheckState.FAIL, "module", text)
        else:
            yield CheckResult(CheckState.OK, "module", f"{path} is there")


def _socket_of(line: Line) -> tuple[str, str]:
    """The socket that a line names, and the uid that it expects there. The defaults are the module's."""
    return line.value("socket") or "/run/sekisho/pam.sock", line.value("server_uid") or "0"


def _socket(root: Path, name: str, uid: str) -> CheckResult:
    path = root / name.lstrip("/")
    try:
        status = path.stat()
        folder = path.parent.stat()
    except OSError:
        text = f"{name} is not there: does the server or the agent run, with [pam]?"
        return CheckResult(CheckState.FAIL, "socket", text)
    state, text = CheckState.FAIL, ""
    if not stat.S_ISSOCK(status.st_mode):
        text = f"{name} is no socket"
    elif folder.st_mode & stat.S_IWOTH:
        text = f"{path.parent} can be written by everybody: chmod o-w, or another program can replace the socket"
    elif str(status.st_uid) != uid:
        text = f"{name} is of uid {status.st_uid}: write server_uid={status.st_uid}"
    elif root == Path("/") and not _answers(path):
        text = f"nobody answers at {name}: start the server or the agent"
    elif stat.S_IMODE(status.st_mode) == 0o666:
        state = CheckState.WARN
        text = f"{name} is open to every user, each for themselves: right for screen lockers only"
    else:
        state, text = CheckState.OK, f"{name} is uid {uid}'s"
    return CheckResult(state, "socket", text)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except PermissionError:
            return True  # a socket of mode 0600: right for anybody but root and its owner
        except OSError:
            return False
    return True
