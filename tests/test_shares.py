"""The order of the tests, where several testers share them, and what a run begins with."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.conftest import LONGEST, ROOT, in_shares

NAMES = [*LONGEST[:7], *(f"core/test_{number}" for number in range(40))]


def items_of(*names: str) -> list[pytest.Item]:
    items: list[Any] = [SimpleNamespace(path=ROOT / f"tests/{name}.py", number=n) for name in names for n in range(10)]
    return cast(list[pytest.Item], items)


@pytest.mark.parametrize("testers", [2, 3, 4, 6])
def test_each_share_begins_with_long_files_ends_with_short_ones_and_none_is_lost(testers: int) -> None:
    items = items_of(*sorted(NAMES))
    ordered = in_shares(items, testers)
    assert sorted(map(id, ordered)) == sorted(map(id, items))
    for number in range(testers):
        share = ordered[len(items) * number // testers : len(items) * (number + 1) // testers]
        assert share[0].path == ROOT / f"tests/{LONGEST[number]}.py"
        assert share[-1].path.parent.name == "core"


def test_the_longest_files_are_there_and_of_few_tests_none_is_lost() -> None:
    assert [name for name in LONGEST if not Path(ROOT, f"tests/{name}.py").exists()] == []
    few = items_of("core/test_1", LONGEST[0])
    assert sorted(map(id, in_shares(few, 4))) == sorted(map(id, few))


def test_what_a_test_starts_hears_control_c_also_where_the_run_is_a_scripts_background_job() -> None:
    child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    run = f"import subprocess, sys, tests.conftest; subprocess.run([sys.executable, '-c', {child!r}])"
    script = f"trap '' INT; exec {shlex.quote(sys.executable)} -c {shlex.quote(run)}"
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
