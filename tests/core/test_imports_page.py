"""docs/imports.md keeps its word: its files are read, its damaged cells are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otp_core.imports import CustomerRow, TokenRow, read_customers, read_tokens
from otp_core.imports.damage import Cell, damage

PAGE = (Path(__file__).parents[2] / "docs" / "imports.md").read_text()
FILES = re.findall(r"^```(?:csv|uris) (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("kind", "text"), FILES)
def test_each_file_of_the_page_is_read_without_a_problem(kind: str, text: str) -> None:
    lines = text.splitlines(keepends=True)
    found = list(read_customers(lines) if kind == "customers" else read_tokens(lines))
    assert found
    assert [type(one) for one in found] == [CustomerRow if kind == "customers" else TokenRow] * len(found)


def test_the_page_shows_every_kind_of_file() -> None:
    assert [kind for kind, _ in FILES] == ["customers", "tokens", "tokens"]


def test_each_damaged_cell_of_the_page_is_refused_where_it_says() -> None:
    rows = re.findall(r"^\| (`.*?) \| .*? \| (IDs|passwords|IDs, passwords|every column) \|$", PAGE, re.MULTILINE)
    kinds = {"IDs": {Cell.ID}, "passwords": {Cell.SECRET}, "IDs, passwords": {Cell.ID, Cell.SECRET}}
    assert len(rows) == 13
    for cells, where in rows:
        for cell in re.findall("`(.*?)`", cells):
            refused = {kind for kind in Cell if damage(cell, kind)}
            assert refused == kinds.get(where, set(Cell)), cell
