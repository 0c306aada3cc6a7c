"""Mutants of what mutmut leaves alone: tables, constants and SQL, which stand outside functions.

    python -m tests.mutants.tables build/mutants ['otp_core.otp.*']

A row is dropped or leads elsewhere, a number is one more, a truth is a lie, a word is another, a condition of a
statement is gone. Sentences stay: how a thing is said is no behaviour, and a test of it would only say it again. Each
mutant is written into a copy of the checkout, one of the numbered ones in that folder, and the tests that
pyproject.toml names for its module are run there. Never writes into the checkout.
"""

from __future__ import annotations

import ast
import fnmatch
import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

OPTIONS = ["-x", "--tb=no", "-p", "no:cacheprovider", "-p", "tests.mutants.plugin", "--hypothesis-profile=mutants"]
SECONDS = 120
"""For the tests of one mutant. One that takes longer has been noticed."""

_PROSE = re.compile("[a-z]{2},? [a-z]{2}|[ぁ-ゖァ-ヺ一-鿿]")
"""Two words, or Japanese."""

_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT|DELETE|JOIN)\b")
_SQL_CHANGES = (
    (re.compile(r"\s+(AND|OR)\s+(\([^()]*\)|[^()\n]*?)(?=\s+AND\b|[)\"\n])"), ""),
    (re.compile(r"(?<=WHERE )[^()\n\"]*?\sAND\s"), ""),
    (re.compile(r"<>"), "="),
    (re.compile(r"<(?![>=])"), "<="),
    (re.compile(r"\bDESC\b"), "ASC"),
    (re.compile(r"\bLEFT JOIN\b"), "JOIN"),
    (re.compile(r"(?<![?\w])\d+\b"), "7"),
)


class Change(NamedTuple):
    """``source`` with the bytes from ``start`` to ``end`` replaced."""

    name: str
    start: int
    end: int
    new: bytes


def changes(source: bytes) -> Iterator[Change]:
    """Every mutant of a module's tables, constants and SQL."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def text(node: ast.expr) -> bytes:
        start, end = place(node)
        return source[start:end]

    def of(name: str, node: ast.expr) -> Iterator[Change]:
        match node:
            case ast.Dict(keys, values):
                kinds = list(dict.fromkeys(text(value) for value in values))
                for key, value in zip(keys, values, strict=True):
                    if key is None:
                        continue
                    # A row under a key that nobody asks for is a row that is gone.
                    yield Change(name, *place(key), b"object()")
                    if len(kinds) > 1:
                        other = kinds[(kinds.index(text(value)) + 1) % len(kinds)]
                        yield Change(name, *place(value), other)
                    yield from of(name, value)
            case ast.Set(elements) if len(elements) > 1:
                for element in elements:
                    yield Change(name, *place(element), text(elements[elements[0] is element]))
            case ast.Constant(bool(value)):
                yield Change(name, *place(node), repr(not value).encode())
            case ast.Constant(int(number) | float(number)):
                yield Change(name, *place(node), repr(number + 1).encode())
            case ast.Constant(str(words)) if _SQL.search(words):
                start, _ = place(node)
                for pattern, new in _SQL_CHANGES:
                    for found in pattern.finditer(text(node).decode()):
                        before, inside = (len(part.encode()) for part in (found.string[: found.start()], found.group()))
                        yield Change(name, start + before, start + before + inside, new.encode())
            case ast.Constant(str(words)) if not _PROSE.search(words):
                yield Change(name, *place(node), b'"XX"')
            case ast.Call(ast.Name("TypeVar" | "NewType")) | ast.Subscript():
                pass  # types
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        yield from of(name, child)

    def within(prefix: str, body: list[ast.stmt]) -> Iterator[Change]:
        for statement in body:
            match statement:
                case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, ast.expr() as value):
                    if name != "__slots__":
                        yield from of(prefix + name, value)
                case ast.ClassDef(name, bases) if not any("Enum" in ast.unparse(base) for base in bases):
                    yield from within(f"{prefix}{name}.", statement.body)

    yield from within("", ast.parse(source).body)


def shown(source: bytes, change: Change) -> tuple[str, str]:
    """The lines that a change touches, as they were and as they are."""
    first, last = source.rfind(b"\n", 0, change.start) + 1, source.find(b"\n", change.end)
    new = source[first : change.start] + change.new + source[change.end : last]
    was, now = ("\n".join(line.strip() for line in part.decode().splitlines()) for part in (source[first:last], new))
    return was, now


def _function(path: str, change: Change) -> str:
    """``otp_core/otp.py`` -> ``otp_core.otp.DIGITS``."""
    return f"{path.removesuffix('.py').replace('/', '.')}.{change.name}"


def main(folder: Path, only: str = "*") -> None:
    with Path("pyproject.toml").open("rb") as file:
        subjects: dict[str, list[str]] = tomllib.load(file)["tool"]["sekisho-mutants"]["tables"]
    sources = {path: Path(path).read_bytes() for path in subjects}
    copies: SimpleQueue[Path] = SimpleQueue()
    for copy in folder.glob("[0-9]*"):
        copies.put(copy)

    def noticed(path: str, change: Change | None) -> bool:
        """Whether the tests fail."""
        source, copy = sources[path], copies.get()
        try:
            if change is not None:
                (copy / path).write_bytes(source[: change.start] + change.new + source[change.end :])
            command = [sys.executable, "-B", "-m", "pytest", *OPTIONS, *subjects[path]]
            return subprocess.run(command, cwd=copy, capture_output=True, timeout=SECONDS).returncode != 0
        except subprocess.TimeoutExpired:
            return True
        finally:
            (copy / path).write_bytes(source)
            copies.put(copy)

    every = [
        (path, change)
        for path, source in sources.items()
        for change in dict.fromkeys(changes(source))
        if fnmatch.fnmatchcase(_function(path, change), only)
    ]
    concerned = dict.fromkeys(path for path, _ in every)
    with ThreadPoolExecutor(copies.qsize()) as pool:
        broken = list(itertools.compress(concerned, pool.map(lambda path: noticed(path, None), concerned)))
        if broken:
            sys.exit(f"their tests fail without a mutant: {broken}")
        outcomes = list(pool.map(lambda one: noticed(*one), every))
    found = []
    for (path, change), killed in zip(every, outcomes, strict=True):
        was, now = shown(sources[path], change)
        mutant = {"function": _function(path, change), "was": was, "now": now}
        found.append(("killed" if killed else "survived", mutant))
    (folder / "tables.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
