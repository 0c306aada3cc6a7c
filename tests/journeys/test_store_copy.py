"""A bank that moves from a file into PostgreSQL: the commands, and the server before and after."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgresql
from tests.journeys.command_line import CommandLine
from tests.sekisho import Sekisho, client_table

pytestmark = pytest.mark.sqlite_files
ACCEPT, REJECT = "Access-Accept", "Access-Reject"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    (tmp_path / "one").mkdir()
    sekisho = Sekisho(tmp_path / "one", clients=client_table("gateway", "127.0.0.0/8", "code"))
    try:
        yield CommandLine(sekisho)
    finally:
        sekisho.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "made").mkdir()
    return postgresql.store_in(tmp_path / "made")


def configure(at: CommandLine, url: str) -> None:
    """The store is that one from now on, with the same key."""
    at.sekisho.database_url = url
    at.sekisho.write_config()


def test_a_bank_moves_and_a_used_code_stays_used(at: CommandLine, url: str) -> None:
    sekisho, source = at.sekisho, at.sekisho.url
    (taro,) = sekisho.crowd(1)
    sekisho.start()
    code = taro.code()
    assert ACCEPT in sekisho.login(taro.contract_id, code)
    with_file = sekisho.config.read_text()
    configure(at, url)
    said = at.run("store", "copy", "--from", source, code=4)
    assert "stop the server first" in said.err
    assert sekisho.stop() == 0
    said = at.run("store", "copy", "--from", source, "--reason", "ticket 9")
    assert "copied and compared 1 customers, 1 tokens" in said.out and "is marked as moved" in said.err
    sekisho.start()
    assert REJECT in sekisho.login(taro.contract_id, code)
    assert ACCEPT in sekisho.login(taro.contract_id, taro.next_code(code))
    assert at.run("audit", "--event", "store.copied").out.count("ticket 9; ") == 1
    said = at.run("store", "copy", "--from", source, code=4)
    assert "connections of Sekisho: stop all that use it first" in said.err
    assert sekisho.stop() == 0
    assert "was copied before: nothing was left to do" in at.run("store", "copy", "--from", source).out
    sekisho.config.write_text(with_file)
    for words in (["serve"], ["customer", "list"], ["doctor"]):
        command = [sys.executable, "-m", "sekisho", "-c", str(sekisho.config), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode, words
        assert "was moved to" in done.stdout + done.stderr, (words, done)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("sqlite:////there/is/none.db", "there is no store /there/is/none.db"),
        ("postgresql://sekisho@db1/sekisho", "write sqlite:////absolute/path/file.db: a store in a file"),
        ("mysql://db1/sekisho", "write sqlite:////absolute/path/file.db"),
        ("sekisho.db", "write sqlite:////absolute/path/file.db"),
    ],
)
def test_a_source_that_is_none_is_said(at: CommandLine, url: str, source: str, expected: str) -> None:
    configure(at, url)
    said = at.run("store", "copy", "--from", source, code=4 if "none.db" in source else 2)
    assert expected in " ".join(said.err.replace("│", " ").split())


def test_a_key_that_init_has_made_for_the_new_store_is_not_taken(at: CommandLine, url: str, tmp_path: Path) -> None:
    source = at.sekisho.url
    at.sekisho.store.engine.dispose()
    configure(at, url)
    (tmp_path / "made" / "master.key").replace(at.sekisho.settings.store.master_key_file)
    said = at.run("store", "copy", "--from", source, code=4)
    assert "is not the master key of the store" in said.err and "put a copy of that store's key there" in said.err
