"""Parses a file of tokens whose codes are verified elsewhere: one token ID a line, with or without the header
``token_id``. It never repeats a cell: a seed may be in the file by mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from otp_core.imports.damage import Cell, damage
from otp_core.imports.table import Record, RowProblem, column_name, records
from otp_core.imports.tokens import wrong_token_id
from otp_core.imports.worded import worded
from otp_core.otp import normalise_token_id

_COLUMN = "token_id"
_FORM = worded("one token ID a line and nothing else, because the seeds are with the verifier")


@dataclass(frozen=True, slots=True)
class TokenIdRow:
    """A token to import. ``line``: where the row begins, from 1."""

    line: int
    token_id: str


def read_token_ids(
    lines: Iterable[str], *, as_typed: bool = False, encoding: str = "utf-8"
) -> Iterator[TokenIdRow | RowProblem]:
    """Every row, or its problems. A token ID that is given twice is a problem. ``as_typed``: cells that look damaged
    are right."""
    first_lines: dict[str, int] = {}
    begun = False
    for record in records(lines, encoding):
        if isinstance(record, RowProblem):
            yield record
            continue
        if not begun and any(column_name(cell) == _COLUMN for cell in record.cells):
            begun = True
            if len(record.cells) > 1:
                yield RowProblem(
                    record.line, "", worded("the header has further columns; the file has %(form)s", form=_FORM)
                )
            continue
        begun = True
        yield _row(record, as_typed, first_lines)


def _row(record: Record, as_typed: bool, first_lines: dict[str, int]) -> TokenIdRow | RowProblem:
    if any(cell.strip() for cell in record.cells[1:]):
        return RowProblem(record.line, "", worded("has further columns; the file has %(form)s", form=_FORM))
    cell = record.cells[0]
    if not as_typed and (hurt := damage(cell, Cell.ID)):
        return RowProblem(record.line, _COLUMN, hurt)
    token_id = normalise_token_id(cell)
    if wrong := wrong_token_id(token_id):
        return RowProblem(record.line, _COLUMN, wrong)
    first = first_lines.setdefault(token_id, record.line)
    if first != record.line:
        what = worded(
            "is on line %(first)s already (case, width, spaces and hyphens do not count): write each once", first=first
        )
        return RowProblem(record.line, _COLUMN, what)
    return TokenIdRow(record.line, token_id)
