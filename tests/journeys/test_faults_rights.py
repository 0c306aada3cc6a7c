"""A store that the server may not write: silence while it runs, a refusal to start at the start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.faults import CODE, as_root, ask, refuses_to_start, running_sekisho
from tests.radius_peer import ACCEPT, Peers, names
from tests.sekisho import mounted

pytestmark = pytest.mark.sqlite_files

NOBODY = 65534
READ = "+dac_read_search"
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(f"--inh-caps={READ}", f"--ambient-caps={READ}"),
)
"""May read everything, as a checkout in root's home needs, and write nothing but its own."""


@as_root
def test_a_store_that_belongs_to_somebody_else(folder_for_all: Path) -> None:
    """`sekisho init` as root, `sekisho serve` as a user who may only read the store."""
    with running_sekisho(folder_for_all, prefix=AS_NOBODY) as sekisho:
        customers = sekisho.crowd(8)
        give_to_nobody(folder_for_all)
        os.chown(sekisho.database, 0, 0)
        sekisho.database.chmod(0o644)
        refuses_to_start(sekisho, "the file or its folder cannot be written: check owner, rights and mount options")
        checked = [*AS_NOBODY, sys.executable, "-m", "sekisho", "--config", str(sekisho.config), "config", "check"]
        done = subprocess.run(checked, capture_output=True, text=True, timeout=60, check=False)
        said = f"{sekisho.database} cannot be written by this user: check owner, rights and mount options"
        assert done.returncode == 4 and said in done.stderr, done
        os.chown(sekisho.database, NOBODY, NOBODY)
        assert subprocess.run(checked, capture_output=True, timeout=60, check=False).returncode == 0
        with Peers(sekisho.start().where, 4, CODE) as peers:
            assert names(peers.ask_all([ask(one, one.code()) for one in customers])) == [ACCEPT] * len(customers)
        assert sekisho.stop() == 0


@as_root
def test_a_read_only_folder_at_the_start(folder_for_all: Path) -> None:
    with running_sekisho(folder_for_all, prefix=AS_NOBODY) as sekisho:
        give_to_nobody(folder_for_all)
        sekisho.database.chmod(0o444)
        os.chown(folder_for_all, 0, 0)
        refuses_to_start(sekisho, "the file or its folder cannot be written: check owner, rights and mount options")


@as_root
def test_a_read_only_file_system_at_the_start(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "none") as disk,
        running_sekisho(tmp_path, disk=disk) as sekisho,
    ):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refuses_to_start(
            sekisho, "the file cannot be opened: check the path, its folder, their rights and mount options"
        )


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """One that an unprivileged user may enter: pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def give_to_nobody(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
