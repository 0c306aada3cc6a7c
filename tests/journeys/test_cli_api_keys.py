"""``sekisho api-key``: printed once, listed without what a program sends, revoked; and what is said of mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.command_line import CommandLine
from tests.sekisho import Sekisho


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    sekisho = Sekisho(tmp_path)
    yield CommandLine(sekisho)
    sekisho.close()


def test_a_key_is_the_last_word_and_shown_once(line: CommandLine) -> None:
    words = ("--scope", "customers:write", "--scope", "customers:read", "--network", "10.1.2.0/24", "--network", "::1")
    said = line.run("api-key", "create", "crm", *words, "--reason", "ticket 4711")
    secret = said.out.split()[-1]
    assert re.fullmatch(r"[A-Za-z0-9_-]{40,}", secret)
    assert said.out.startswith("made the API key crm for customers:read customers:write: ")
    record = line.sekisho.desk.api_keys.of_secret(secret)
    assert record is not None and record.networks == ("10.1.2.0/24", "::1/128")
    shown = line.run("api-key", "list", "--json").out + line.run("api-key", "list").out + line.run("audit").out
    assert secret not in shown
    listed = json.loads(line.run("api-key", "list", "--json").out)
    assert (listed["name"], listed["scopes"]) == ("crm", ["customers:read", "customers:write"])
    assert listed["networks"] == ["10.1.2.0/24", "::1/128"]


def test_a_script_gets_it_as_json(line: CommandLine) -> None:
    made = json.loads(line.run("api-key", "create", "vpn", "--scope", "check:code", "--json").out)
    assert (made["done"], made["name"], made["scopes"], made["networks"]) == (
        "api-key.created",
        "vpn",
        ["check:code"],
        [],
    )
    assert line.sekisho.desk.api_keys.of_secret(made["key"]) is not None
    revoked = json.loads(line.run("api-key", "revoke", "vpn", "--json").out)
    assert (revoked["done"], revoked["name"]) == ("api-key.revoked", "vpn")
    assert line.sekisho.audit()[-1].id == revoked["reference"]
    assert line.run("api-key", "list").out.split() == ["name", "scopes", "networks", "created"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("create", "crm"), 2, "--scope"),
        (
            ("create", "crm", "--scope", "customers"),
            2,
            "'--scope': 'customers' is not one of 'customers:read', 'customers:write'",
        ),
        (("create", "crm", "--scope", "audit:read", "--network", "10.1.2.3/24"), 2, "host bits set; write 10.1.2.0/24"),
        (("create", "crm", "--scope", "audit:read", "--network", "here"), 2, "not a network"),
        (("create", "call centre", "--scope", "audit:read"), 1, "one word of up to 32 letters"),
        (("create", "taken", "--scope", "audit:read"), 1, "there is an API key taken already"),
        (("revoke", "crm"), 1, "there is no API key crm"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_made(line: CommandLine, words: tuple[str, ...], code: int, told: str) -> None:
    line.run("api-key", "create", "taken", "--scope", "audit:read")
    said = line.run("api-key", *words, code=code)
    assert told in " ".join(said.err.replace("│", " ").split()) and said.out == ""
    assert len(line.run("api-key", "list").out.splitlines()) == 2
