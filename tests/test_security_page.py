"""docs/security.md names tests as proofs: each of them exists, and those of proofs.py fail on a broken product."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proofs import BREAKS, Break

ROOT = Path(__file__).parent.parent
ROOMS = ("admin_web", "config", "examples", "otp_core", "pam_module", "radius_server", "sekisho", "tests", "docs")


def named() -> set[str]:
    """The tests that the page names."""
    return set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text()))


def test_every_proof_that_the_security_page_names_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    known = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        known.update(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    assert len(named()) > 30
    assert named() - known == set()
    for name in re.findall(r"`(test_\w+\.py)`", page):
        assert list((ROOT / "tests").rglob(name)), name


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.test.partition("::")[2])
def test_every_break_is_of_a_proof_of_the_page_and_of_the_source_as_it_is(one: Break) -> None:
    path, _, name = one.test.partition("::")
    assert name in named()
    assert f"def {name}(" in (ROOT / path).read_text()
    assert (ROOT / one.source).read_text().count(one.right) == 1


@pytest.mark.soak
@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.test.partition("::")[2])
def test_a_proof_fails_on_a_product_that_is_broken(one: Break, tmp_path: Path) -> None:
    for name in ROOMS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    source = tmp_path / one.source
    source.write_text(source.read_text().replace(one.right, one.broken))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n0", one.test]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1, done.stdout[-2000:]
    assert re.search(r"^E +(assert|AssertionError|\w*Error)", done.stdout, re.MULTILINE), done.stdout[-2000:]
