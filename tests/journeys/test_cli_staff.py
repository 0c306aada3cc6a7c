"""``sekisho staff``: the first person of the console, who there is, and who no longer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.accounts import SignOnAnswer, staff_principal
from tests.journeys.command_line import CommandLine
from tests.sekisho import Sekisho, client_table

ORIGIN = "http://localhost:8399"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    more = f'[console]\nlisten = "127.0.0.1:0"\npublic_origin = "{ORIGIN}"\n'
    sekisho = Sekisho(tmp_path, clients=client_table("gateway", "127.0.0.0/8", "code"), more=more)
    yield CommandLine(sekisho)
    sekisho.close()


def test_a_link_is_printed_once_and_kept_nowhere(line: CommandLine) -> None:
    said = line.run("staff", "add", "sato", "--role", "administrator", "--reason", "ticket 4711")
    added, link = said.out.splitlines()
    assert added == "added sato as administrator" and link.startswith(f"{ORIGIN}/welcome/")
    assert "opens this link once, until" in said.err
    secret = link.rpartition("/")[2]
    record = line.sekisho.desk.staff.of_link(secret)
    assert record is not None and record.name == "sato"
    shown = line.run("staff", "show", "sato", "--json").out + line.run("audit", "--json").out
    assert secret not in shown
    assert json.loads(line.run("staff", "list", "--json").out)["role"] == "administrator"


def test_a_reset_gives_another_link_and_the_first_is_void(line: CommandLine) -> None:
    first = json.loads(line.run("staff", "add", "sato", "--role", "operator", "--json").out)["link"]
    second = json.loads(line.run("staff", "reset", "sato", "--json").out)["link"]
    found = [line.sekisho.desk.staff.of_link(one.rpartition("/")[2]) for one in (first, second)]
    assert found[0] is None and found[1] is not None


def test_who_is_disabled_is_listed_as_that(line: CommandLine) -> None:
    line.run("staff", "add", "sato", "--role", "auditor")
    assert "disabled sato" in line.run("staff", "disable", "sato").out
    assert "disabled since:" in line.run("staff", "show", "sato").out
    assert "disabled already" in line.run("staff", "disable", "sato", code=1).err
    assert "no member of staff ito" in line.run("staff", "show", "ito", code=1).err


def test_whose_identity_is_linked_is_shown(line: CommandLine) -> None:
    for name in ("ito", "sato"):
        line.run("staff", "add", name, "--role", "auditor")
    record = line.sekisho.desk.staff.named("sato")
    assert record is not None
    answer = SignOnAnswer("https://login.example", "f3a1", 1, fresh=True, called="sato@bank.example")
    line.sekisho.desk.sign_on.link(record, answer, staff_principal(record, "192.0.2.7"))
    assert "single sign on: f3a1 at https://login.example\n" in line.run("staff", "show", "sato").out
    heading, ito, sato = (one.split("\t") for one in line.run("staff", "list").out.splitlines())
    at = heading.index("single sign-on")
    assert (ito[at], sato[at]) == ("", "f3a1 at https://login.example")
    assert json.loads(line.run("staff", "show", "ito", "--json").out)["single_sign_on"] is None


def test_another_role_is_given_by_command_to_the_last_administrator_too(line: CommandLine) -> None:
    line.run("staff", "add", "sato", "--role", "administrator")
    assert "sato is auditor now (reference " in line.run("staff", "role", "sato", "--role", "auditor").out
    assert "auditor already" in line.run("staff", "role", "sato", "--role", "auditor", code=1).err
    said = json.loads(line.run("staff", "role", "sato", "--role", "operator", "--reason", "ticket 7", "--json").out)
    assert (said["done"], said["name"], said["role"]) == ("staff.role-changed", "sato", "operator")
    (*_, row) = line.sekisho.audit(event="staff.role-changed")
    assert row.id == said["reference"] and row.reason == "sato: auditor to operator, ticket 7"


def test_without_a_console_there_is_no_link(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, clients=client_table("gateway", "127.0.0.0/8", "code"))
    line = CommandLine(sekisho)
    assert "no [console]" in line.run("staff", "add", "sato", "--role", "operator", code=3).err
    assert line.run("staff", "list").out.startswith("name\t")
    sekisho.close()
