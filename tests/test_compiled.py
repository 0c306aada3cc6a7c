"""Which rooms run as machine code: those that pyproject.toml names where `make compiled` made them, and none here."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
HOT = [
    path.strip("/").removesuffix(".py").replace("/", ".")
    for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]["include"]
]
COMPILED = "SEKISHO_COMPILED" in os.environ


@pytest.mark.parametrize("name", HOT)
def test_what_is_tested_is_what_was_asked_for(name: str) -> None:
    """Also in another process, as the journeys start the server."""
    program = f"import {name} as room; print(room.__file__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(".so" if COMPILED else ".py")


def test_the_command_says_which_it_is() -> None:
    command = [sys.executable, "-m", "sekisho", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(", compiled") is COMPILED
