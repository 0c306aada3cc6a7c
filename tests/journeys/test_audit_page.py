"""docs/audit.md keeps its word: its settings are read and every command of it is run, in its order."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sekisho.settings import load
from tests.journeys.command_line import CommandLine
from tests.journeys.old_logins import sealed_logins
from tests.sekisho import Sekisho, client_table

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
LOST = "--public-key audit.pub --public-key audit-new.pub"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    settings = next(one for one in blocks() if one.startswith("[audit]")).replace("/var/log/sekisho", str(tmp_path))
    sekisho = Sekisho(tmp_path, clients=client_table("gateway", "127.0.0.0/8", "code"), more=settings)
    try:
        yield CommandLine(sekisho)
    finally:
        sekisho.close()


def blocks() -> list[str]:
    found = re.findall(r"(?:^ {4}.*\n)+", PAGE, re.MULTILINE)
    return [re.sub(r"^ {4}", "", one, flags=re.MULTILINE) for one in found]


def test_the_settings_of_the_page_hold_and_every_command_of_it_is_run(
    at: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(at.sekisho.config, environment={}).settings.audit is not None
    at.sekisho.crowd(2)
    run = []
    for line in (line for block in blocks() for line in block.splitlines() if line.startswith("sekisho")):
        words, _, target = (
            line.replace("/var/log/sekisho", str(tmp_path)).replace("/archive", str(tmp_path)).partition(" > ")
        )
        if LOST in line:
            at.sekisho.stop()
            (tmp_path / "audit.key").unlink()
            at.run("init")
            (tmp_path / "audit.pub").replace(tmp_path / "first.pub")
            (tmp_path / "audit-new.pub").replace(tmp_path / "audit.pub")
            (tmp_path / "audit-new.pub").write_text(at.run("audit", "public-key").out)
            at.sekisho.start()
            at.customer(enrolled=False)
            until_sealed(at)
        if line.startswith("sekisho audit verify"):
            until_sealed(at)
        said = at.run(*shlex.split(words)[1:]).out
        if target:
            (tmp_path / target).write_text(said)
        if line == "sekisho init":
            sealed_logins(at.sekisho, datetime(2026, 3, 15, tzinfo=UTC).timestamp(), 3)
            at.sekisho.start()
        if line.startswith("sekisho audit verify"):
            assert said.endswith("the audit trail is what was sealed\n")
            run.append(line)
    assert len(run) == 6


def until_sealed(at: CommandLine) -> None:
    """Until no row waits for a seal."""
    end = time.monotonic() + 20
    trail = at.sekisho.store.trail()
    while any(piece.seal is None for piece in trail.pieces(trail.newest())):
        assert time.monotonic() < end, at.sekisho.log_text()
        time.sleep(0.1)
