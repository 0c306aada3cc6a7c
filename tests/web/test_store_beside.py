"""No page asks the store in the event loop: that may be as far away as a network, and every other login would wait."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import admin_web

_WITHOUT_STORE = {
    "looks.at_all",
    "looks.through",
    "link_digest",
    "ticket",
    "seconds_to_wait",
    "login_reader.login_record",
}
"""Names at the desk that read and write nothing, or wait in the loop by themselves."""


def called_in_the_loop(function: ast.AsyncFunctionDef) -> Iterator[str]:
    """What a coroutine function calls by itself, and does not hand to others in a lambda."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(one, ast.Call):
            yield ast.unparse(one.func)
        waiting += ast.iter_child_nodes(one)


def test_handlers_hand_what_asks_the_desk_to_a_thread() -> None:
    found, looked = [], 0
    for file in sorted(Path(admin_web.__file__).parent.rglob("*.py")):
        for one in ast.walk(ast.parse(file.read_text())):
            if isinstance(one, ast.AsyncFunctionDef):
                looked += 1
                found += [
                    f"{file.name}, {one.name}: {name}"
                    for name in called_in_the_loop(one)
                    if "desk." in name and not any(name.endswith(harmless) for harmless in _WITHOUT_STORE)
                ]
    assert looked > 100
    assert found == [], "put it into retry.aside or retry_while_busy"
