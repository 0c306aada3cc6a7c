"""docs/api.md keeps its word: its commands and calls are run in their order, and what they answer is what it shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from admin_web.api.problems import MEANINGS, ProblemType
from otp_core.model import Scope, TokenSpec
from sekisho.settings import load
from tests.journeys.command_line import CommandLine
from tests.sekisho import STAFF, Customer
from tests.web.api import Api, api

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
ADDRESS = "http://localhost:8480"
BLOCKS = [re.sub(r"^ {4}", "", one, flags=re.MULTILINE) for one in re.findall(r"(?:^ {4}.*\n)+", PAGE, re.MULTILINE)]


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path) as running:
        yield running


def shown(value: Any) -> Any:
    """What an answer says, but for what differs from one time to the next: moments, numbers of audit rows, and which
    node wrote them (these tests act beside the server)."""
    if isinstance(value, dict):
        return {name: name if name == "node" else shown(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shown(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d", "TIME", value)
    return "NUMBER" if type(value) is int and value > 2**53 else value


def customer(bank: Api, contract_id: str = "1234567", token_id: str = "VSMT12345678") -> Customer:
    """One that the page is about."""
    one = Customer(contract_id, "", token_id, os.urandom(20))
    bank.sekisho.desk.tokens.import_rows([(one.token_id, one.seed, TokenSpec())], STAFF)
    bank.sekisho.desk.customers.add(one.contract_id, STAFF)
    bank.sekisho.desk.enrolment.enrol(one.contract_id, one.token_id, one.previous_code(), STAFF)
    return one


def call(bank: Api, command: str, key: str) -> Any:
    """A line of the page, by a shell; what curl printed."""
    line = command.replace(ADDRESS, f"http://127.0.0.1:{bank.port}")
    environment = {**os.environ, "KEY": key}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_every_command_about_keys_is_run_in_its_order(bank: Api) -> None:
    line = CommandLine(bank.sekisho)
    commands = re.findall(r"^    sekisho (api-key .*)$", PAGE, re.MULTILINE)
    for command in commands:
        line.run(*shlex.split(command))
    assert [command.split()[1] for command in commands] == ["create", "list", "revoke"]


def test_every_call_answers_what_the_page_shows(bank: Api) -> None:
    one = customer(bank)
    key = bank.key("page")
    calls = [block for block in BLOCKS if block.startswith("$ curl")]
    for block in calls:
        command, _, answer = block.removeprefix("$ ").partition("\n{")
        if "492040" in command:
            command = command.replace("492040", customer(bank, "1234568", "VSMT87654321").code())
        command = command.replace("492039", one.code())
        assert shown(call(bank, command, key)) == shown(json.loads("{" + answer)), command
    assert len(calls) >= 7


def test_every_block_is_fed_to_somebody(tmp_path: Path) -> None:
    others = [one for one in BLOCKS if not one.startswith(("$ curl", "sekisho api-key"))]
    (settings,) = others
    file = tmp_path / "sekisho.toml"
    file.write_text(f'[store]\nurl = "sqlite:////var/lib/s.db"\nmaster_key_file = "{tmp_path}/master.key"\n{settings}')
    file.chmod(0o600)
    loaded = load(file, environment={})
    assert loaded.settings.api is not None and loaded.settings.api.public_origin == ADDRESS


def test_the_page_names_every_scope_and_every_type_of_problem() -> None:
    scopes = PAGE.partition("| Scope | May |")[2].partition("\n\n")[0]
    assert re.findall(r"`([a-z:]+)`", scopes) == list(Scope)
    problems = PAGE.partition("| Status | `type` | |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([\d, ]+) \| (.*?) \|", problems, re.MULTILINE)
    types = {one for _, found in rows for one in re.findall(r"`([a-z-]+)`", found)}
    assert types == set(ProblemType)
    for statuses, found in rows:
        for one in re.findall(r"`([a-z-]+)`", found):
            assert str(MEANINGS[ProblemType(one)].status) in statuses


def test_the_page_names_every_path(bank: Api) -> None:
    documented = bank.get("/api/v1/openapi.json").json["paths"]
    named = set(re.findall(r"`(GET|POST) (/api/v1/[^`?]+)`", PAGE))
    assert named == {(method.upper(), path) for path, methods in documented.items() for method in methods}
