"""A file of customers whose cells name several tokens."""

from __future__ import annotations

import pytest

from otp_core.imports import CustomerRow, RowProblem, read_customers
from tests.core.test_imports import parted


def several(cell: str, most: int) -> tuple[list[CustomerRow], list[RowProblem]]:
    return parted(read_customers(["contract_id,token_id\n", f'c1,"{cell}"\n'], most_tokens=most))


def test_a_cell_names_as_many_tokens_as_a_customer_may_have() -> None:
    rows, faults = several("vsmt-1234-5678; VSMT12345679；Ａ１", 3)
    assert (rows[0].token_ids, faults) == (["VSMT12345678", "VSMT12345679", "A1"], [])
    assert several("A1", 1)[0][0].token_ids == ["A1"] and several("", 1)[0][0].token_ids == []


@pytest.mark.parametrize(
    ("cell", "most", "message"),
    [
        ("A1;A2", 1, "more tokens than a customer may have: 1 (login.tokens_per_customer)"),
        (";".join(f"A{number}" for number in range(100_000 // 8)), 5, "more tokens than a customer may have: 5"),
        ("A1;a 1", 2, "names the same token twice"),
        ("A1;", 2, "VSMT12345678"),
        (";", 2, "VSMT12345678"),
    ],
)
def test_tokens_that_are_too_many_twice_or_none_are_told(cell: str, most: int, message: str) -> None:
    rows, faults = several(cell, most)
    assert rows == [] and faults[0].column == "token_id" and message in faults[0].message


def test_a_token_of_several_that_another_row_has_is_told_with_the_first_line() -> None:
    lines = ["contract_id,token_id\n", "c1,A1;A2\n", "c2,A3;A2\n"]
    (fault,) = parted(read_customers(lines, most_tokens=2))[1]
    assert (fault.line, "line 2" in fault.message) == (3, True)
