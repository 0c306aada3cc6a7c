"""CSV (RFC 4180): lines in, records and problems out. It knows no tokens and no customers, and repeats no cell."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A problem with a file, and the right form. ``line``: from 1; ``column``: empty for a problem with the whole
    line."""

    line: int
    column: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}" if self.column else f"line {self.line}"
        return f"{where}: {self.message}"


class Record(NamedTuple):
    """One record. ``line``: where it begins, from 1."""

    line: int
    cells: list[str]


class Columns:
    """The position of each column, from a header or in the usual order. ``count``: how many there are."""

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        self.count = len(names)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def cell(self, record: Record, name: str) -> str:
        """The cell; empty if the file has no such column."""
        place = self._places.get(name)
        return record.cells[place] if place is not None and place < len(record.cells) else ""


def header_of(record: Record, known: Sequence[str], required: Sequence[str], form: str) -> Columns | RowProblem:
    """The columns that a header names, in any order. A problem for a name that is not ``known``, is given twice, or is
    missing though ``required``; ``form``: the right header, for the message."""
    names = [cell.strip().lower() for cell in record.cells]
    strange = [str(place) for place, name in enumerate(names, 1) if name not in known]
    if strange:
        return RowProblem(
            record.line, "", f"column {', '.join(strange)}: no name of a column that is known; the header is {form}"
        )
    if len(set(names)) < len(names):
        return RowProblem(record.line, "", f"a column is named twice; the header is {form}")
    if missing := [name for name in required if name not in names]:
        return RowProblem(record.line, "", f"the column {', '.join(missing)} is missing; the header is {form}")
    return Columns(names)


def has_control(text: str) -> bool:
    """Whether the text holds a control character: a tab, a NUL, a line break."""
    return not text.isprintable() and _CONTROL.search(text) is not None


def records(lines: Iterable[str]) -> Iterator[Record | RowProblem]:
    """The records of a file without blank ones, and the problems with its form. What is not UTF-8 has to be given as
    lone surrogates (``errors="surrogateescape"``). The first line may begin with a byte order mark."""
    problems: deque[RowProblem] = deque()
    reader = csv.reader(_readable(lines, problems), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error:
            yield RowProblem(
                line,
                "",
                "the quotes or line ends are not right: a cell with a comma, a quote or a line break stands in quotes, "
                "and a quote inside it is written twice",
            )
            continue
        if any(cells):
            yield Record(line, cells)
        while problems:
            yield problems.popleft()
    yield from problems


def _readable(lines: Iterable[str], problems: deque[RowProblem]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if line.isascii():
            yield line
        elif _is_text(line):
            yield line.removeprefix("\ufeff") if number == 1 else line
        else:
            problems.append(RowProblem(number, "", "is not UTF-8: save the file as UTF-8 (in Excel: CSV UTF-8)"))
            yield "\n"


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
