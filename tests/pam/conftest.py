"""The module, compiled once for all tests of a process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pam.workshop import Machine, Workshop, build, build_reader


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return build(tmp_path_factory.mktemp("module"))


@pytest.fixture(scope="session")
def sanitized_workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return build(tmp_path_factory.mktemp("sanitized"), sanitize=True)


@pytest.fixture(scope="session")
def frame_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_reader(tmp_path_factory.mktemp("reader"))


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room in a socket's 107 octets."""
    with tempfile.TemporaryDirectory(prefix="sk") as folder:
        yield Path(folder)


@pytest.fixture
def machine(workshop: Workshop, short: Path) -> Machine:
    one = Machine(workshop, short, short / "pam.sock")
    one.stack()
    return one
