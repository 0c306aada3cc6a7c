"""One PAM stack under examination: can anybody get in without a code, and can anybody get in at all?

The stack is not compared with a pattern. It is evaluated as libpam does, for a wrong code, a wrong password, an outage
and an unknown user. Reads the stack's files, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from otp_core.checks import CheckResult, CheckState
from pam_module.stacks import BadStack, Line, Outcome, module_lines, read_stack, stack_succeeds

MODULE = "pam_sekisho.so"
_PASSWORD_MODULES = {
    *("pam_unix.so", "pam_sss.so", "pam_ldap.so", "pam_krb5.so", "pam_winbind.so", "pam_radius_auth.so"),
    *("pam_pwdfile.so", "pam_userdb.so", "pam_systemd_home.so"),
}
_CONDITIONS = {"pam_rootok.so", "pam_succeed_if.so", "pam_wheel.so", "pam_listfile.so", "pam_localuser.so"}
_ROOT = "pam_rootok.so"
_REFUSING_MODULES = {*_CONDITIONS, "pam_deny.so"}
"""Modules that succeed for some users alone. They are evaluated for an ordinary user, whom they refuse."""

_OPTIONS = {
    *("socket", "profile", "timeout", "server_uid", "use_first_pass", "try_first_pass", "forward_pass"),
    *("ignore_unknown_user", "on_unavail", "nodelay", "debug"),
}
_SUCCESS, _REFUSED, _IGNORED = Outcome.SUCCESS, Outcome.REFUSED, Outcome.IGNORED


_RUN_WITHOUT_AUTH = {"sshd": "a key", "sudo": "NOPASSWD"}
"""Services that let somebody in without their auth stack, and how; the account stack is all that is asked then."""


def uses_module(lines: Sequence[Line]) -> bool:
    """Whether the stack calls our module."""
    return any(one.module == MODULE for one in module_lines(lines))


def check_stack(root: Path, service: str, lines: list[Line]) -> Iterator[CheckResult]:
    """Everything about one service's auth stack, which must call our module, and about its account stack."""
    check = f"stack {service}"
    line = next(one for one in module_lines(lines) if one.module == MODULE)
    results = [
        *_options(check, line),
        *_codes(check, line, lines),
        *_outage(check, line, lines),
        *_wrong_password(check, line, lines),
    ]
    yield from results
    yield from _empty_passwords(check, lines)
    if not any(one.state is CheckState.FAIL for one in results):
        exempt = list(_exempt(check, line, lines))
        yield from exempt
        who = "from everybody else" if exempt else "from everybody"
        if any(one.module == _ROOT and _favours(one, lines) for one in module_lines(lines)):
            who += " but root, who is asked for nothing"
        yield CheckResult(CheckState.OK, check, f"{line.where}: a wrong code is refused {who}")
    yield from _account(root, service, check)


def _exempt(check: str, line: Line, lines: list[Line]) -> Iterator[CheckResult]:
    """Those for whom a condition in the stack holds, and who therefore are asked for no code."""
    for one in module_lines(lines):
        if one.module not in _CONDITIONS or one.module == _ROOT or not _favours(one, lines):
            continue
        without_password = _succeeds(lines, ours=_REFUSED, password=_REFUSED, favoured=one)
        asked = "neither password nor code" if without_password else "no code"
        condition = " ".join((one.module, *(option for option in one.options if option != "quiet")))
        text = f"{one.where}: whoever fulfils {condition!r} is asked for {asked}: right only if that is meant"
        yield CheckResult(CheckState.WARN, check, text)


def _favours(one: Line, lines: list[Line]) -> bool:
    """Whether somebody who fulfils this line's condition gets in with a password alone, or with nothing."""
    return _succeeds(lines, ours=_REFUSED, password=_SUCCESS, favoured=one)


def _succeeds(lines: Sequence[Line], *, ours: Outcome, password: Outcome, favoured: Line | None = None) -> bool:
    """Whether the stack succeeds if our module and every module that checks a password return these. ``favoured``: a
    line whose condition the user fulfils."""
    outcome_of = _outcomes(ours, password)
    return stack_succeeds(lines, lambda line: Outcome.SUCCESS if line is favoured else outcome_of(line))


def _outcomes(ours: Outcome, password: Outcome) -> Callable[[Line], Outcome]:
    def outcome_of(line: Line) -> Outcome:
        if line.module == MODULE:
            return ours
        if line.module in _PASSWORD_MODULES:
            return password
        if line.module == "pam_permit.so":
            return Outcome.SUCCESS
        return Outcome.REFUSED if line.module in _REFUSING_MODULES else Outcome.IGNORED

    return outcome_of


def _options(check: str, line: Line) -> Iterator[CheckResult]:
    for option in line.options:
        if option.partition("=")[0] not in _OPTIONS:
            text = f"{line.where}: {option} is no option: the module refuses every login"
            yield CheckResult(CheckState.FAIL, check, text)
    if line.value("on_unavail") not in (None, "deny", "ignore"):
        yield CheckResult(CheckState.FAIL, check, f"{line.where}: on_unavail is deny or ignore")


def _codes(check: str, line: Line, lines: list[Line]) -> Iterator[CheckResult]:
    """Right and wrong codes, and users whom Sekisho does not know."""
    conditions = [one for one in module_lines(lines) if one.module in _CONDITIONS]
    if not any(_succeeds(lines, ours=_SUCCESS, password=_SUCCESS, favoured=one) for one in (None, *conditions)):
        yield CheckResult(CheckState.FAIL, check, f"{line.where}: nobody gets in, not even with password and code")
    if _succeeds(lines, ours=_REFUSED, password=_SUCCESS):
        yield CheckResult(
            CheckState.FAIL, check, f"{line.where}: a wrong code gets in ({line.control}): {_remedy(lines, line)}"
        )
    if "ignore_unknown_user" in line.options and _succeeds(lines, ours=_IGNORED, password=_REFUSED):
        yield CheckResult(
            CheckState.FAIL,
            check,
            f"{line.where}: whom Sekisho does not know gets in with a wrong password: ignore_unknown_user needs a "
            "required module behind it that checks passwords",
        )


def _remedy(lines: list[Line], line: Line) -> str:
    """What to change so that the stack cannot succeed without our module."""
    if line.control in ("sufficient", "optional"):
        return "write required"
    before = list(module_lines(lines))[: list(module_lines(lines)).index(line)]
    for one in before:
        on_success = one.actions.get("success", "")
        if on_success == "done":
            return f"{one.where} ends the stack before it: write required there, or move this line up"
        if on_success.isdigit():
            return f"{one.where} jumps over it: count again, or move this line behind the @include"
    return "write required"


def _outage(check: str, line: Line, lines: list[Line]) -> Iterator[CheckResult]:
    """What on_unavail=ignore leads to."""
    if line.value("on_unavail") != "ignore":
        return
    if _succeeds(lines, ours=_IGNORED, password=_REFUSED):
        permit = next((one.where for one in module_lines(lines) if one.module == "pam_permit.so"), "")
        because = f", because of pam_permit at {permit}" if permit else ""
        text = f"{line.where}: in an outage anybody gets in{because}: write on_unavail=deny"
        yield CheckResult(CheckState.FAIL, check, text)
    elif _succeeds(lines, ours=_IGNORED, password=_SUCCESS):
        yield CheckResult(
            CheckState.WARN,
            check,
            f"{line.where}: in an outage the password alone is enough, and some can bring one about: write "
            "on_unavail=deny unless that is meant",
        )
    else:
        yield CheckResult(CheckState.OK, check, f"{line.where}: on_unavail=ignore lets nobody in")


def _wrong_password(check: str, line: Line, lines: list[Line]) -> Iterator[CheckResult]:
    """A right code after a wrong password of this machine."""
    has_password = any(one.module in _PASSWORD_MODULES for one in module_lines(lines))
    if has_password and _succeeds(lines, ours=_SUCCESS, password=_REFUSED):
        yield CheckResult(
            CheckState.WARN,
            check,
            f"{line.where}: a right code gets in with a wrong password of this machine: right only if the profile asks "
            'for a password itself (any mode but "code")',
        )


def _empty_passwords(check: str, lines: list[Line]) -> Iterator[CheckResult]:
    for one in module_lines(lines):
        if one.module == "pam_unix.so" and {"nullok", "nullok_secure"} & {*one.options}:
            text = f"{one.where}: nullok lets accounts without a password in: take it away"
            yield CheckResult(CheckState.WARN, check, text)


def _account(root: Path, service: str, check: str) -> Iterator[CheckResult]:
    try:
        account = read_stack(root, service, "account")
    except BadStack as error:
        yield CheckResult(CheckState.FAIL, check, str(error))
        return
    if service in _RUN_WITHOUT_AUTH and not uses_module(account):
        how = _RUN_WITHOUT_AUTH[service]
        text = f"no account line: a locked user still gets in by {how}. Add: account required {MODULE}"
        yield CheckResult(CheckState.WARN, check, text)
