"""``sekisho doctor pam``: can somebody get in here without a code, and can anybody get in at all? Changes nothing.

Stacks are not matched against a pattern: they are worked through as libpam does, with a wrong code, in an outage, and
for somebody whom nobody knows.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pam_module.sshd import sshd_findings
from pam_module.stacks import BadStack, Line, Outcome, flat, lets_in, read_stack, services

MODULE = "pam_sekisho.so"
_PASSWORDS = {
    *("pam_unix.so", "pam_sss.so", "pam_ldap.so", "pam_krb5.so", "pam_winbind.so", "pam_radius_auth.so"),
    *("pam_pwdfile.so", "pam_userdb.so", "pam_systemd_home.so"),
}
_FOR_SOME = {"pam_rootok.so", "pam_succeed_if.so", "pam_wheel.so", "pam_listfile.so", "pam_localuser.so", "pam_deny.so"}
"""What an ordinary user does not pass."""

_OPTIONS = {
    *("socket", "profile", "timeout", "server_uid", "use_first_pass", "try_first_pass", "forward_pass"),
    *("ignore_unknown_user", "on_unavail", "nodelay", "debug"),
}
_FOLDERS = ("usr/lib/*/security", "lib/*/security", "usr/lib/security", "lib/security", "usr/lib64/security")


class CheckResult(NamedTuple):
    """``state``: ok, warn or fail. ``text``: what was found and, unless it is well, what to change."""

    state: str
    check: str
    text: str


def examine(root: Path, wanted: Sequence[str]) -> Iterator[CheckResult]:
    """Everything that the files under ``root`` tell; and what the running machine knows, where that is /."""
    yield from _module(root)
    stacks: dict[str, list[Line]] = {}
    for service in wanted or services(root):
        try:
            stacks[service] = read_stack(root, service, "auth")
        except BadStack as error:
            if wanted:
                yield CheckResult("fail", f"stack {service}", str(error))
    ours = {name: lines for name, lines in stacks.items() if any(one.module == MODULE for one in flat(lines))}
    for name in [name for name in ours if name.startswith("common-")]:
        del ours[name]  # evaluated where it is included
    for name in wanted:
        if name in stacks and name not in ours:
            yield CheckResult("fail", f"stack {name}", f"does not use {MODULE}: no code is asked for")
    if not ours and not wanted:
        yield CheckResult("fail", "stacks", f"none uses {MODULE}: see docs/pam.md for where its line goes")
    for name, lines in ours.items():
        yield from _stack(root, name, lines)
    yield from _sockets(root, [line for lines in ours.values() for line in flat(lines) if line.module == MODULE])
    if "sshd" in ours:
        yield from (CheckResult(*one) for one in sshd_findings(root))


def _module(root: Path) -> Iterator[CheckResult]:
    files = sorted({path.resolve() for folder in _FOLDERS for path in root.glob(f"{folder}/{MODULE}")})
    if not files:
        yield CheckResult("fail", "module", f"{MODULE} is not installed: make -C pam_module install")
    for path in files:
        status = path.stat()
        if status.st_mode & 0o022 or (status.st_uid and os.geteuid() == 0 and root == Path("/")):
            yield CheckResult("fail", "module", f"{path} can be changed by others: chown root:root, chmod 0644")
        else:
            yield CheckResult("ok", "module", f"{path} is there")


# The stack


def _outcomes(ours: Outcome, password: Outcome) -> Callable[[Line], Outcome]:
    def outcome_of(line: Line) -> Outcome:
        if line.module == MODULE:
            return ours
        if line.module in _PASSWORDS:
            return password
        if line.module == "pam_permit.so":
            return Outcome.SUCCESS
        return Outcome.REFUSED if line.module in _FOR_SOME else Outcome.IGNORED

    return outcome_of


def _stack(root: Path, service: str, lines: list[Line]) -> Iterator[CheckResult]:
    check = f"stack {service}"
    line = next(one for one in flat(lines) if one.module == MODULE)
    right, wrong, ignored = Outcome.SUCCESS, Outcome.REFUSED, Outcome.IGNORED

    def opens(ours: Outcome, password: Outcome) -> bool:
        return lets_in(lines, _outcomes(ours, password))

    problems = list(_options(check, line))
    if not opens(right, right):
        problems.append(CheckResult("fail", check, f"{line.where}: nobody gets in, not even with password and code"))
    if opens(wrong, right):
        problems.append(
            CheckResult("fail", check, f"{line.where}: a wrong code gets in ({line.control}): {_remedy(lines, line)}")
        )
    if "ignore_unknown_user" in line.options and opens(ignored, wrong):
        problems.append(
            CheckResult("fail", check, f"{line.where}: whom Sekisho does not know gets in with a wrong password: "
                  "ignore_unknown_user needs a module behind it that checks passwords, and is required"),
        )  # fmt: skip
    if line.value("on_unavail") == "ignore":
        problems.append(_outage(check, line, lines, with_wrong=opens(ignored, wrong), with_right=opens(ignored, right)))
    if opens(right, wrong) and any(one.module in _PASSWORDS for one in flat(lines)):
        problems.append(
            CheckResult("warn", check, f"{line.where}: a right code gets in with a wrong password of this machine: "
                  'well only if the profile asks for a password itself (any mode but "code")'),
        )  # fmt: skip
    yield from problems
    yield from _nullok(check, lines)
    if not any(one.state == "fail" for one in problems):
        yield CheckResult("ok", check, f"{line.where}: a wrong code is refused")
    try:
        account = read_stack(root, service, "account")
    except BadStack as error:
        yield CheckResult("fail", check, str(error))
        return
    if not any(one.module == MODULE for one in flat(account)):
        yield CheckResult(
            "warn", check, f"no account line: who is locked still gets in by a key. Add: account required {MODULE}"
        )


def _remedy(lines: list[Line], line: Line) -> str:
    if line.control in ("sufficient", "optional"):
        return "write required"
    before = list(flat(lines))[: list(flat(lines)).index(line)]
    for one in before:
        if one.control == "sufficient" or one.actions.get("success", "") in ("done",):
            return f"{one.where} ends the stack before it: write required there, or move this line up"
        if one.actions.get("success", "").isdigit():
            return f"{one.where} jumps over it: count again, or move this line behind the @include"
    return "write required"


def _outage(check: str, line: Line, lines: list[Line], *, with_wrong: bool, with_right: bool) -> CheckResult:
    permit = next((one.where for one in flat(lines) if one.module == "pam_permit.so"), "")
    if with_wrong:
        because = f", because of pam_permit at {permit}" if permit else ""
        return CheckResult("fail", check, f"{line.where}: in an outage anybody gets in{because}: write on_unavail=deny")
    if with_right:
        weak = "in an outage the password alone is enough, and some can bring one about"
        return CheckResult("warn", check, f"{line.where}: {weak}: write on_unavail=deny unless that is meant")
    return CheckResult("ok", check, f"{line.where}: on_unavail=ignore lets nobody in")


def _options(check: str, line: Line) -> Iterator[CheckResult]:
    for option in line.options:
        if option.partition("=")[0] not in _OPTIONS:
            yield CheckResult("fail", check, f"{line.where}: {option} is no option: the module refuses every login")
    if line.value("on_unavail") not in (None, "deny", "ignore"):
        yield CheckResult("fail", check, f"{line.where}: on_unavail is deny or ignore")


def _nullok(check: str, lines: list[Line]) -> Iterator[CheckResult]:
    for one in flat(lines):
        if one.module == "pam_unix.so" and {"nullok", "nullok_secure"} & {*one.options}:
            yield CheckResult("warn", check, f"{one.where}: nullok lets accounts without a password in: take it away")


# The socket


def _sockets(root: Path, lines: Sequence[Line]) -> Iterator[CheckResult]:
    asked = {(one.value("socket") or "/run/sekisho/pam.sock", one.value("server_uid") or "0") for one in lines}
    for name, uid in sorted(asked):
        path = root / name.lstrip("/")
        try:
            status = path.stat()
            folder = path.parent.stat()
        except OSError:
            yield CheckResult("fail", "socket", f"{name} is not there: does the server or the agent run, with [pam]?")
            continue
        if not stat.S_ISSOCK(status.st_mode):
            yield CheckResult("fail", "socket", f"{name} is no socket")
        elif folder.st_mode & stat.S_IWOTH:
            yield CheckResult(
                "fail", "socket", f"{path.parent} can be written by everybody: chmod o-w, or somebody takes its place"
            )
        elif str(status.st_uid) != uid:
            yield CheckResult("fail", "socket", f"{name} is of uid {status.st_uid}: write server_uid={status.st_uid}")
        elif root == Path("/") and not _answers(path):
            yield CheckResult("fail", "socket", f"nobody answers at {name}: start the server or the agent")
        elif stat.S_IMODE(status.st_mode) == 0o666:
            yield CheckResult(
                "warn", "socket", f"{name} is open to every user, each for themselves: well for screen lockers only"
            )
        else:
            yield CheckResult("ok", "socket", f"{name} is uid {uid}'s")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except PermissionError:
            return True  # which is as it should be
        except OSError:
            return False
    return True
