"""PAM stacks as the files in /etc/pam.d define them, and what libpam makes of them for given outcomes of their modules.

Reads files under a root folder. It calls no PAM, and changes nothing. Source: pam.conf(5), and _pam_dispatch_aux in
Linux-PAM's libpam/pam_dispatch.c.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_CONTROLS = {
    "required": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "bad"},
    "requisite": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "die"},
    "sufficient": {"success": "done", "new_authtok_reqd": "done", "default": "ignore"},
    "optional": {"success": "ok", "new_authtok_reqd": "ok", "default": "ignore"},
}
_LINE = re.compile(r"-?(?P<type>\w+)\s+(?P<control>\[[^\]]*\]|\S+)\s+(?P<module>\S+)\s*(?P<options>.*)")
_MAX_DEPTH = 16
_CONTINUED = "\0"


class BadStack(Exception):
    """A file that libpam cannot read either. The text says which line."""


class Outcome(Enum):
    """What a module returns, as far as a stack distinguishes it here."""

    SUCCESS = "success"
    REFUSED = "auth_err"
    IGNORED = "ignore"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a stack. ``where``: file:line. ``control``: as it is written. ``module``: the file's name without its
    folder. ``actions``: the control's action by return value. ``inner``: the lines of a substack, which has no module
    of its own."""

    where: str
    control: str
    module: str
    options: tuple[str, ...]
    actions: Mapping[str, str]
    inner: tuple[Line, ...] = ()

    def value(self, option: str) -> str | None:
        """The value of ``option=value``, the last one if it is given more than once. None: it is not given."""
        found = [one.partition("=")[2] for one in self.options if one.startswith(f"{option}=")]
        return found[-1] if found else None


# Reading.


def read_stack(root: Path, service: str, kind: str) -> list[Line]:
    """The lines of one kind (auth, account) with its includes resolved. Raises BadStack."""
    return list(_lines(root, _file(root, service), kind, 0))


def services(root: Path) -> list[str]:
    """The names of the files in /etc/pam.d."""
    return sorted(path.name for path in (root / "etc/pam.d").glob("*") if path.is_file())


def module_lines(lines: Sequence[Line]) -> Iterator[Line]:
    """The lines that call a module, those of substacks included, in order."""
    for line in lines:
        if line.inner:
            yield from module_lines(line.inner)
        else:
            yield line


def _file(root: Path, name: str) -> Path:
    return root / name.lstrip("/") if name.startswith("/") else root / "etc/pam.d" / name


def _lines(root: Path, path: Path, kind: str, depth: int) -> Iterator[Line]:
    if depth > _MAX_DEPTH:
        raise BadStack(f"{path}: includes itself")
    try:
        text = path.read_text(errors="replace").replace("\\\n", _CONTINUED)
    except OSError as error:
        raise BadStack(f"{path}: cannot be read: {error.strerror}") from None
    number = 1
    for continued in text.split("\n"):
        line, where = continued.replace(_CONTINUED, " ").partition("#")[0].strip(), f"{path}:{number}"
        number += 1 + continued.count(_CONTINUED)
        if line.startswith("@include"):
            yield from _lines(root, _file(root, line.split()[1]), kind, depth + 1)
        elif line and (found := _LINE.fullmatch(line)) is None:
            raise BadStack(f"{where}: is no line of a stack")
        elif line and found and found["type"] == kind:
            yield from _line(root, where, found, kind, depth)


def _line(root: Path, where: str, found: re.Match[str], kind: str, depth: int) -> Iterator[Line]:
    control, module = found["control"], found["module"]
    if control == "include":
        yield from _lines(root, _file(root, module), kind, depth + 1)
    elif control == "substack":
        inner = tuple(_lines(root, _file(root, module), kind, depth + 1))
        if inner:
            yield Line(where, control, module, (), {}, inner)
    else:
        try:
            actions = _CONTROLS[control] if control[0] != "[" else dict(one.split("=") for one in control[1:-1].split())
            options = tuple(shlex.split(found["options"]))
        except (KeyError, ValueError):
            raise BadStack(f"{where}: {control} is no control of PAM") from None
        yield Line(where, control, Path(module).name, options, actions)


# Evaluating.


class _Impression:
    """The result of the stack so far; libpam calls it the impression. ``success`` is None while it is undefined."""

    def __init__(self) -> None:
        self.success: bool | None = None

    def update(self, action: str, outcome: Outcome) -> bool:
        """Apply one module's action. Returns whether the stack ends with it."""
        if action == "reset":
            self.success = None
        elif action in ("ok", "done"):
            if self.success is None or (self.success and outcome is not Outcome.SUCCESS):
                self.success = outcome is Outcome.SUCCESS
            return action == "done" and self.success is not False
        elif action in ("bad", "die"):
            self.success = False
            return action == "die"
        return False


def stack_succeeds(lines: Sequence[Line], outcome_of: Callable[[Line], Outcome]) -> bool:
    """Whether the stack as a whole succeeds if its modules return what ``outcome_of`` says."""
    impression = _Impression()
    _evaluate(lines, outcome_of, impression)
    return impression.success is True


def _evaluate(lines: Sequence[Line], outcome_of: Callable[[Line], Outcome], impression: _Impression) -> None:
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.inner:
            _evaluate(line.inner, outcome_of, impression)  # "done" and "die" in a substack end the substack alone
            continue
        outcome = outcome_of(line)
        action = line.actions.get(outcome.value, line.actions.get("default", "bad"))
        if action.isdigit():
            at += int(action)
        elif impression.update(action, outcome):
            return
