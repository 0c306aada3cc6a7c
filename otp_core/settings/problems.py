"""A problem with the settings: where it is, which key, what is wrong, the right form. It finds none itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from otp_core.settings.toml_lines import Location


@dataclass(frozen=True, slots=True)
class Problem:
    """``where``: "FILE:LINE", a file, or "environment SEKISHO_…"; ``key``: its path, empty for a problem without
    one."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


class ConfigProblems(Exception):
    """All problems of the settings, files first, in the order of their lines. ``str()``: the report, one problem a
    line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_reading_order))
        super().__init__("\n".join(map(str, self.problems)))


def _reading_order(problem: Problem) -> tuple[bool, str, int]:
    """Sorts files by their lines, then the environment."""
    if match := re.fullmatch(r"(.*):([0-9]+)", problem.where, re.DOTALL):
        return False, match[1], int(match[2])
    return problem.where.startswith("environment "), problem.where, 0


def key_path(location: Location) -> str:
    """``("radius", "clients", 0, "network")`` as ``radius.clients[0].network``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
