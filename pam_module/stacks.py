"""PAM stacks as they stand in /etc/pam.d, and what libpam would make of them for given outcomes of their modules.

Reads files under a root folder; calls no PAM and changes nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_WORDS = {
    "required": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "bad"},
    "requisite": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "die"},
    "sufficient": {"success": "done", "new_authtok_reqd": "done", "default": "ignore"},
    "optional": {"success": "ok", "new_authtok_reqd": "ok", "default": "ignore"},
}
_LINE = re.compile(r"-?(?P<type>\w+)\s+(?P<control>\[[^\]]*\]|\S+)\s+(?P<module>\S+)\s*(?P<options>.*)")
_DEPTH = 16
_CONTINUED = "\0"


class BadStack(Exception):
    """A file that libpam could not read either. The text says where."""


class Outcome(Enum):
    """What a module returns, as far as a stack tells the difference."""

    SUCCESS = "success"
    REFUSED = "auth_err"
    IGNORED = "ignore"


@dataclass(frozen=True, slots=True)
class Line:
    """``inner``: the lines of a substack, which has no module of its own."""

    where: str
    control: str
    module: str
    options: tuple[str, ...]
    actions: Mapping[str, str]
    inner: tuple[Line, ...] = ()

    def value(self, option: str) -> str | None:
        """Of ``option=value``; the last one that is given."""
        found = [one.partition("=")[2] for one in self.options if one.startswith(f"{option}=")]
        return found[-1] if found else None


def read_stack(root: Path, service: str, kind: str) -> list[Line]:
    """The lines of one kind (auth, account), includes followed. Raises BadStack."""
    return list(_lines(root, _file(root, service), kind, 0))


def services(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "etc/pam.d").glob("*") if path.is_file())


def flat(lines: list[Line] | tuple[Line, ...]) -> Iterator[Line]:
    """Those of the substacks, too."""
    for line in lines:
        if line.inner:
            yield from flat(line.inner)
        else:
            yield line


def _file(root: Path, name: str) -> Path:
    return root / name.lstrip("/") if name.startswith("/") else root / "etc/pam.d" / name


def _lines(root: Path, path: Path, kind: str, depth: int) -> Iterator[Line]:
    if depth > _DEPTH:
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
            actions = _WORDS[control] if control[0] != "[" else dict(one.split("=") for one in control[1:-1].split())
            options = tuple(shlex.split(found["options"]))
        except (KeyError, ValueError):
            raise BadStack(f"{where}: {control} is no control of PAM") from None
        yield Line(where, control, Path(module).name, options, actions)


class _State:
    """What libpam has made up its mind about so far (its "impression")."""

    def __init__(self) -> None:
        self.good: bool | None = None

    def take(self, action: str, outcome: Outcome) -> bool:
        """Whether the stack ends here."""
        if action == "reset":
            self.good = None
        elif action in ("ok", "done"):
            if self.good is None or (self.good and outcome is not Outcome.SUCCESS):
                self.good = outcome is Outcome.SUCCESS
            return action == "done" and self.good is not False
        elif action in ("bad", "die"):
            self.good = False
            return action == "die"
        return False


def lets_in(lines: list[Line], outcome_of: Callable[[Line], Outcome]) -> bool:
    """Whether the stack as a whole succeeds, if its modules return what ``outcome_of`` says."""
    state = _State()
    _walk(lines, outcome_of, state)
    return state.good is True


def _walk(lines: list[Line] | tuple[Line, ...], outcome_of: Callable[[Line], Outcome], state: _State) -> None:
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.inner:
            _walk(line.inner, outcome_of, state)  # what ends a substack ends no more than that
            continue
        outcome = outcome_of(line)
        action = line.actions.get(outcome.value, line.actions.get("default", "bad"))
        if action.isdigit():
            at += int(action)
        elif state.take(action, outcome):
            return
