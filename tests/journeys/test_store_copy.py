"""A bank that moves from a file into PostgreSQL: the commands, and the server before and after."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.outwards.position import FilePosition, encode
from otp_core.store.queries import read_meta
from sekisho.settings import load
from sekisho.wiring import open_store
from tests import postgresql
from tests.journeys.command_line import CommandLine, Said
from tests.journeys.test_operations_page import commands_under, systemctl
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


def apart(at: CommandLine, *words: str, code: int = 0) -> Said:
    """The command in a process of its own, which leaves no connection behind."""
    process = at.spawn(*words)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (words, out, err)
    return Said(process.returncode, out, err)


def test_a_bank_moves_and_a_used_code_stays_used(at: CommandLine, url: str) -> None:
    sekisho, source = at.sekisho, at.sekisho.url
    (taro,) = sekisho.crowd(1)
    sekisho.start()
    code = taro.code()
    assert ACCEPT in sekisho.login(taro.contract_id, code)
    with_file = sekisho.config.read_text()
    configure(at, url)
    said = apart(at, "store", "copy", "--from", source, code=4)
    assert "stop the server first" in said.err
    assert sekisho.stop() == 0
    FilePosition(sekisho.database, "syslog").write(77)
    said = apart(at, "store", "copy", "--from", source, "--reason", "ticket 9")
    assert "copied and compared 1 customers, 1 tokens" in said.out and "is marked as moved" in said.err
    store = open_store(load(sekisho.config, environment={}).settings)
    with store.read() as connection:
        assert read_meta(connection, "syslog") == encode(77)
    store.engine.dispose()
    sekisho.start()
    assert REJECT in sekisho.login(taro.contract_id, code)
    assert ACCEPT in sekisho.login(taro.contract_id, taro.next_code(code))
    assert apart(at, "audit", "--event", "store.copied").out.count("ticket 9; ") == 1
    said = apart(at, "store", "copy", "--from", source, code=4)
    assert "connections of Sekisho" in said.err and "stop all that use it first" in said.err
    assert sekisho.stop() == 0
    assert "was copied before: nothing was left to do" in apart(at, "store", "copy", "--from", source).out
    sekisho.config.write_text(with_file)
    for words in (["serve"], ["customer", "list"], ["doctor"]):
        command = [sys.executable, "-m", "sekisho", "-c", str(sekisho.config), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode, words
        assert "was moved to" in done.stdout + done.stderr, (words, done)
        assert "Traceback" not in done.stderr


def test_every_command_about_moving_is_run_in_its_order(at: CommandLine) -> None:
    sekisho, source = at.sekisho, at.sekisho.url
    server, name = postgresql.server(), f"moving_{os.getpid()}"
    server.create_database(name)
    (taro,) = sekisho.crowd(1)
    sekisho.start()
    configure(at, server.url(name))
    run = []
    for line in commands_under("Moving a store into PostgreSQL"):
        words = shlex.split(line.replace("sqlite:////var/lib/sekisho/sekisho.db", source))
        if words[0] == "systemctl":
            systemctl(sekisho, words[1:])
        else:
            apart(at, *words[1:])
        run.append(" ".join(words[:2]))
    assert run == ["systemctl stop", "sekisho init", "sekisho store", "systemctl start"]
    assert ACCEPT in sekisho.login(taro.contract_id, taro.code())


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
    said = apart(at, "store", "copy", "--from", source, code=4 if "none.db" in source else 2)
    assert expected in " ".join(said.err.replace("│", " ").split())


def test_a_key_that_init_has_made_for_the_new_store_is_not_taken(at: CommandLine, url: str, tmp_path: Path) -> None:
    source = at.sekisho.url
    at.sekisho.store.engine.dispose()
    configure(at, url)
    (tmp_path / "made" / "master.key").replace(at.sekisho.settings.store.master_key_file)
    said = apart(at, "store", "copy", "--from", source, code=4)
    assert "is not the master key of the store" in said.err and "put a copy of that store's key there" in said.err
