"""What the commands write for a spreadsheet: opened there, it says what the store says, and runs nothing."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.spreadsheet import csv_line
from tests.journeys.command_line import CommandLine
from tests.sekisho import STAFF, Sekisho

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    " =1+1",
    "\u3000＝1",
    "\t=1",
    "\r=1",
    "\n=1",
]
IDS = ("id", "customer", "token", "contract ID", "token ID")
LISTS = ["audit", "customer list", "token list"]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    sekisho = Sekisho(tmp_path)
    yield CommandLine(sekisho)
    sekisho.close()


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def excel_shows(cell: str) -> str:
    """What Excel makes of a cell: a formula that is one text is that text; 15 digits of a number stay."""
    if formula := re.fullmatch(r'="((?:[^"]|"")*)"', cell, re.DOTALL):
        return formula[1].replace('""', '"')
    assert not cell.startswith("="), "runs as a formula"
    return f"{float(cell):.15g}" if re.fullmatch("[0-9]+", cell) else cell


@pytest.mark.parametrize("words", LISTS)
def test_every_list_is_csv_with_a_header_and_keeps_its_ids_in_excel(at: CommandLine, words: str) -> None:
    one = at.customer()
    for contract_id in ("00000012353", "123456789012345678901", "12-3", "1E5", 'a"b'):
        at.run("customer", "add", contract_id)
    plain = rows(at.run(*words.split(), "--csv").out)
    text = at.run(*words.split(), "--excel").out
    assert text.startswith("\ufeff") and not at.said[-2].out.startswith("\ufeff")
    shown = rows(text.removeprefix("\ufeff"))
    assert [len(row) for row in shown] == [len(row) for row in plain] == [len(plain[0])] * len(plain)
    assert len(plain) > 1 and plain[0] == shown[0]
    ids = [
        at for at, heading in enumerate(plain[0]) if heading in ("id", "customer", "token", "contract ID", "token ID")
    ]
    assert len(ids) > 1
    assert [[excel_shows(row[at]) for at in ids] for row in shown] == [[row[at] for at in ids] for row in plain]
    assert one.token_id in at.said[-1].out


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_runs_as_a_formula(at: CommandLine, name: str) -> None:
    at.sekisho.desk.customers.add("c1", STAFF, name=name)
    for form in ("--csv", "--excel"):
        (_, row) = rows(at.run("customer", "list", form).out)
        assert row[4] == f"'{name}"


@given(st.text(max_size=40), st.booleans())
def test_any_cell_is_one_cell_that_runs_nothing(cell: str, is_text: bool) -> None:
    (read,) = rows(csv_line(["x", cell, 1], [False, is_text, False]).replace("\0", ""))
    assert len(read) == 3
    if is_text and cell:
        assert excel_shows(read[1]) == cell.replace("\0", "")
    else:
        assert read[1].removeprefix("'") == cell.replace("\0", "").removeprefix("'")
        assert not read[1].strip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


def test_csv_is_utf8_whatever_the_locale(at: CommandLine) -> None:
    at.run("customer", "add", "c1", "--name", "信用金庫")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        at.command("customer", "list", "--csv"), capture_output=True, env=environment, check=True, timeout=60
    )
    assert "信用金庫" in done.stdout.decode()


def test_one_form_at_a_time(at: CommandLine) -> None:
    for words in LISTS:
        assert "choose one" in at.run(*words.split(), "--csv", "--json", code=2).err


def test_a_customer_is_searched_for_as_the_id_is_typed(at: CommandLine) -> None:
    at.run("customer", "add", "123-4567")
    assert "123-4567" in at.run("customer", "list", "--search", "１２３−４５", "--csv").out
