"""Which modules are compiled: those that pyproject.toml lists, and with them everything that a login runs through."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INCLUDED = [
    path.strip("/").removesuffix(".py").replace("/", ".")
    for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]["include"]
]
PACKAGES = {Path(path).name for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
COMPILED = "SEKISHO_COMPILED" in os.environ

LOGIN_PATH = [
    "radius_server.process.access",
    "otp_core.authentication.authenticator",
    "otp_core.authentication.queue",
    "otp_core.first_factor.asked_once",
    "otp_core.login.evaluate",
    "otp_core.sealing",
    "otp_core.store.sqlite.login_batch",
    "otp_core.store.sqlite.reader",
    "otp_core.upstreams.passwords",
]
"""Where a login enters a part of the program. The parts meet in the wiring, not by imports."""

NOT_COMPILED = {
    "otp_core.kernel_clock": "asks the kernel by ctypes, and only for datagrams that may have waited",
    "otp_core.station": "for passwords only; of its text every login takes a slice",
    "otp_core.model": "its records are made from rows, which do not keep to the annotations that mypyc would enforce",
    "otp_core.first_factor": "a Protocol and the values it exchanges",
    "otp_core.radius.dictionary": "runs at start; in a login only for customers with reply attributes of their own",
    "otp_core.radius.ms_chap": "for MS-CHAPv2 only, which few send",
    "otp_core.regular_file": "reads settings and keys, at start",
    "otp_core.settings.values": "reads settings, at start",
    "otp_core.store.engine": "Protocols only",
    "otp_core.store.outbox": "SQL text; its functions send notices, outside of logins",
    "otp_core.store.sqlite.database": "opens the store, at start",
    "otp_core.store.sqlite.repair": "puts a store right, at start or at the end",
    "otp_core.store.sqlite.driver": "names only",
    "otp_core.verifier": "a Protocol only",
    "radius_server.listen.ports": "binds sockets, at start",
    "radius_server.process.ms_chap": "for MS-CHAPv2 only, which goes to a RADIUS server",
    "radius_server.process.realm": "for clients with realms, which have a server elsewhere behind them",
    "radius_server.realms": "reads settings, and names with a realm",
    "radius_server.settings": "reads settings, at start",
}
"""Modules that the login path imports and that need not be compiled, and why. What they import is not looked at."""


def source_of(name: str) -> Path | None:
    """The file of a product module or package; None for any other name."""
    path = ROOT.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((one for one in candidates if one.is_file()), None) if name.split(".")[0] in PACKAGES else None


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from runtime_nodes(node)


def imports_of(name: str) -> Iterator[str]:
    """The product modules that a product module imports."""
    path = source_of(name)
    assert path is not None
    for node in runtime_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if source_of(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and source_of(node.module):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if source_of(inner) else node.module


def login_path() -> set[str]:
    """All product modules on the login path, those that need not be compiled included."""
    found: set[str] = set()
    waiting = list(LOGIN_PATH)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [] if name in NOT_COMPILED else imports_of(name)
    return found


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """Where each of them comes from in another process, as the journeys start the server."""
    program = (
        "import importlib, json, sys\n"
        "print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))"
    )
    done = subprocess.run([sys.executable, "-c", program, *INCLUDED], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", INCLUDED)
def test_what_is_tested_is_what_was_asked_for(files: dict[str, str], name: str) -> None:
    assert files[name].endswith(".so" if COMPILED else ".py")


def test_what_a_login_runs_through_is_compiled_or_has_a_reason_not_to_be() -> None:
    """A new module on the login path goes into pyproject.toml (mypyc, include), or into NOT_COMPILED above."""
    assert login_path() - set(INCLUDED) - set(NOT_COMPILED) == set()


def test_nothing_is_compiled_or_excepted_that_no_login_runs_through() -> None:
    assert set(INCLUDED) - login_path() == set()
    assert set(NOT_COMPILED) - login_path() == set()
    assert set(NOT_COMPILED) & set(INCLUDED) == set()


def test_the_command_says_which_it_is() -> None:
    command = [sys.executable, "-m", "sekisho", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(", compiled") is COMPILED


@pytest.mark.parametrize("name", INCLUDED)
def test_nothing_is_awaited_while_an_exception_is_handled(name: str) -> None:
    """A compiled coroutine that waits inside ``except`` leaves its exception behind as the one that everybody after it
    handles: every later traceback of the process would name it."""
    path = source_of(name)
    assert path is not None
    for handler in ast.walk(ast.parse(path.read_text())):
        if isinstance(handler, ast.ExceptHandler):
            waits = [node.lineno for node in ast.walk(handler) if isinstance(node, ast.Await | ast.Yield)]
            assert not waits, f"{path.name}: lines {waits}"
