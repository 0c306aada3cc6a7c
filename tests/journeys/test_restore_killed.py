"""A restore that is killed at any moment leaves the old store, or the new one, or none and the way to go on."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import pytest

from otp_core.store.sqlite import backup as files
from tests.journeys.command_line import CommandLine
from tests.sekisho import Sekisho, client_table

pytestmark = pytest.mark.sqlite_files


@pytest.mark.parametrize("part", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_kill_9_in_the_middle_of_a_restore(tmp_path: Path, part: float) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    sekisho = Sekisho(folder, clients=client_table("gateway", "127.0.0.0/8", "code"))
    at = CommandLine(sekisho)
    try:
        sekisho.crowd(500)
        path = str(tmp_path / "one.db")
        at.run("backup", path)
        sekisho.store.engine.dispose()
        begun = time.monotonic()
        assert (
            subprocess.run(at.command("restore", path, "--replace"), capture_output=True, check=False).returncode == 0
        )
        whole = time.monotonic() - begun
        running = at.spawn("restore", path, "--replace")
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(whole * part)
        running.kill()
        running.communicate()
        if not sekisho.database.exists():
            at.run("restore", path)
        said = subprocess.run(at.command("doctor", "--deep"), capture_output=True, text=True, check=False).stdout
        failed = [line for line in said.splitlines() if line.startswith("fail")]
        # Between the new store and its mark: the next start, or the next restore, voids what may have been used.
        assert not failed or [line.split(":")[0] for line in failed] == ["fail  put back"], said
        assert files.examine(sekisho.database, live=True).customers == 500
        at.run("restore", path, "--replace")
        assert not [one for one in folder.iterdir() if "restoring" in one.name]
        sekisho.start()
        assert sekisho.stop() == 0
    finally:
        sekisho.close()
