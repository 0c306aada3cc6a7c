"""What `sekisho doctor` says about the files of the store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otp_core.checks import CheckState
from sekisho.cli.doctor_files import examine_files

BESIDE = ("s.db-turn", "s.db.state", "s.db.acts", "s.db-wal", "s.db.replaced-20260101-000000")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name in ("s.db", "other", *BESIDE):
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / "other").chmod(0o666)
    return tmp_path / "s.db"


def found(store: Path) -> list[tuple[CheckState, str]]:
    return [(one.state, one.text.replace(f"{store.parent}/", "")) for one in examine_files(store)]


def test_files_of_one_user_that_nobody_else_opens_are_well(store: Path) -> None:
    assert found(store) == [(CheckState.OK, "s.db opens")]


def test_a_store_that_others_may_open_is_told(store: Path) -> None:
    store.chmod(0o640)
    assert found(store) == [(CheckState.WARN, "s.db is open to others (mode 0640): chmod 600 s.db")]


@pytest.mark.parametrize("name", BESIDE)
def test_a_file_beside_it_that_others_may_open_is_told(store: Path, name: str) -> None:
    """Who may open the writers' turn for reading can lock it, and so stop every login."""
    (store.parent / name).chmod(0o604)
    assert found(store)[1:] == [(CheckState.WARN, f"{name} is open to others (mode 0604): chmod 600 {name}")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_told(store: Path) -> None:
    os.chown(store.parent / "s.db-turn", 65534, 65534)
    told = "s.db-turn belongs to another user than the store: chown --reference=s.db s.db-turn"
    assert found(store)[1:] == [(CheckState.WARN, told)]


def test_many_are_counted(store: Path) -> None:
    for number in range(20):
        (store.parent / f"s.db.failed-{number}").touch()
        (store.parent / f"s.db.failed-{number}").chmod(0o644)
    told = found(store)
    assert len(told) == 7 and told[-1] == (CheckState.WARN, "and 15 more files beside it")
