"""No regular expression of the product takes more than its share of time for a hostile text: every pattern is found,
and the time for a text is compared with that for half of it.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
PACKAGES = ("otp_core", "radius_server", "pam_module", "admin_web", "sekisho")
FUNCTIONS = ("compile", "fullmatch", "match", "search", "sub", "subn", "split", "findall", "finditer")
ANYWHERE = ("search", "sub", "subn", "split", "findall", "finditer")
FLOOR_SECONDS = 0.004
"""What takes less is not compared: it is noise."""


def in_modules() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every compiled pattern that a module of ours holds, also within its tuples, tables and values."""
    for package in PACKAGES:
        for info in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if not info.name.endswith("__main__") and ".migrations." not in info.name:
                for name, value in vars(importlib.import_module(info.name)).items():
                    yield from ((f"{info.name}.{name}", one) for one in held(value, 3))


def held(value: Any, depth: int) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif depth and isinstance(value, tuple | list | set | frozenset):
        for one in value:
            yield from held(one, depth - 1)
    elif depth and isinstance(value, dict):
        yield from held(list(value.values()), depth - 1)
    elif depth and is_dataclass(value) and not isinstance(value, type):
        yield from held([getattr(value, one.name) for one in fields(value)], depth - 1)


def sources() -> list[Path]:
    return [path for package in (*PACKAGES, "examples") for path in (ROOT / package).rglob("*.py")]


def written_inline() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Patterns that stand in a call of re's functions, or are given to pydantic."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            of_re = isinstance(node.func, ast.Attribute) and ast.unparse(node.func) in {
                f"re.{one}" for one in FUNCTIONS
            }
            given_ = [*node.args[:1]] if of_re else [one.value for one in node.keywords if one.arg == "pattern"]
            for one in given_:
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    name = f"{path.relative_to(ROOT)}:{node.lineno}"
                    yield name, re.compile(one.value, re.VERBOSE if "VERBOSE" in ast.unparse(node) else 0)


def all_patterns() -> dict[re.Pattern[str], str]:
    return {pattern: name for name, pattern in [*written_inline(), *in_modules()]}


NOT_FROM_OUTSIDE = {
    "otp_core.settings.toml_lines._TOKEN": "looks through the operator's file after tomllib has found it valid TOML: a "
    "text in which a quote is not closed never gets there",
}
"""Patterns that may take longer, each with the reason."""

PATTERNS = all_patterns()
USED_ANYWHERE = "\n".join(path.read_text() for path in sources())


def is_searched(name: str) -> bool:
    """Whether it is looked for at every position of a text, and not at its beginning alone."""
    if ".py:" in name:  # written inline: the line says so
        path, _, line = name.partition(":")
        return any(f"re.{one}(" in (ROOT / path).read_text().splitlines()[int(line) - 1] for one in ANYWHERE)
    return any(f"{name.rpartition('.')[2]}.{one}(" in USED_ANYWHERE for one in ANYWHERE)


def seconds(look: Callable[[str], object], text: str) -> float:
    """Of this thread alone: another load of the machine does not count. The best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.thread_time()
        look(text)
        best = min(best, time.thread_time() - started)
        if best < FLOOR_SECONDS or best > 1:
            break
    return best


def grows_too_fast(look: Callable[[str], object], pump: Callable[[int], str]) -> bool:
    """Whether a text of this form takes exponential time, or more than three times as long as half of it."""
    for times in range(8, 136, 8):
        if seconds(look, pump(times)) > 5 * FLOOR_SECONDS:
            return True
    times, before = 256, seconds(look, pump(256))
    while times < 8192:
        times *= 2
        now = seconds(look, pump(times))
        if now > FLOOR_SECONDS and now > 3 * before:
            return True
        before = now
    return False


def pumps(text: str) -> Iterator[Callable[[int], str]]:
    """Texts in which a piece of this one is repeated, and whose end is wrong."""
    for start in range(min(len(text), 24)):
        for length in (1, 2):
            head, piece, tail = text[:start], text[start : start + length], text[start + length :]
            for end in ("\0", tail + "\0", "\n!", " "):
                yield lambda times, head=head, piece=piece, end=end: head + piece * times + end  # type: ignore[misc]


def is_slow(pattern: re.Pattern[str], text: str, *, searched: bool) -> bool:
    looks: list[Callable[[str], object]] = [pattern.fullmatch]
    if searched:
        looks.append(lambda hostile: pattern.sub("", hostile))
    return any(always_grows_too_fast(look, pump) for look in looks for pump in pumps(text))


def always_grows_too_fast(look: Callable[[str], object], pump: Callable[[int], str]) -> bool:
    """Measured five times: what another machine on the same processor takes counts as this thread's time."""
    return all(grows_too_fast(look, pump) for _ in range(5))


CALM = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.large_base_example],
)


CHECKED = {pattern: name for pattern, name in PATTERNS.items() if name not in NOT_FROM_OUTSIDE}


@pytest.mark.parametrize("pattern", CHECKED, ids=CHECKED.values())
def test_twice_as_long_a_text_takes_not_much_more_than_twice_as_long(pattern: re.Pattern[str]) -> None:
    name = PATTERNS[pattern]

    @CALM
    @given(st.from_regex(pattern, fullmatch="(?<" not in pattern.pattern.replace("(?P<", "")))
    def pump_it(text: str) -> None:
        assert not is_slow(pattern, text[:60], searched=is_searched(name)), (name, pattern.pattern, text[:60])

    pump_it()


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"/(?:[a-z-]+/?)*", "/enrol"),  # what one GET stopped every door with
        (r"(?:a|a)*b", "aab"),
        (r"(?:[a-z]+)+!", "abc!"),
        (r"(?P<name>[^<>]+?) *<x>", "a  <x>"),
        (r"\s*\w*\s*$", "  "),
    ],
)
def test_what_takes_too_long_is_found(pattern: str, text: str) -> None:
    assert is_slow(re.compile(pattern), text, searched=pattern.endswith("$"))


def test_every_pattern_is_walked() -> None:
    names = " ".join(PATTERNS.values())
    for one in (
        "_OUR_PATH",
        "ANY_SEPARATOR",
        "_SENDER",
        "first_factor.hashes",
        "_WITH_PORT",
        "imports.damage",
        "stacks",
    ):
        assert one in names, one
    assert len(PATTERNS) > 35 and set(NOT_FROM_OUTSIDE) <= set(PATTERNS.values())
