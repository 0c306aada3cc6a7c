"""CSV (RFC 4180): lines in, records and faults out. It knows nothing of tokens or customers, and repeats no cell."""

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
    """What is wrong with a file, and the right form. ``column`` is empty where it is about the whole line."""

    line: int
    column: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}" if self.column else f"line {self.line}"
        return f"{where}: {self.message}"


class Record(NamedTuple):
    """``line`` is the one it begins on."""

    line: int
    cells: list[str]


class Columns:
    """Which column stands where: as a header says it, or in the usual order."""

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
    """The columns that a header names, in any order."""
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
    """Whether nobody could type this: a tab, a NUL, a line break."""
    return not text.isprintable() and _CONTROL.search(text) is not None


def records(lines: Iterable[str]) -> Iterator[Record | RowProblem]:
    """The records of a file, blank ones left out. A line that is not UTF-8 arrives with lone surrogates
    (``errors="surrogateescape"``). The first line may begin with a byte order mark."""
    faults: deque[RowProblem] = deque()
    reader = csv.reader(_readable(lines, faults), strict=True)
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
        while faults:
            yield faults.popleft()
    yield from faults


def _readable(lines: Iterable[str], faults: deque[RowProblem]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if line.isascii():
            yield line
        elif _is_text(line):
            yield line.removeprefix("\ufeff") if number == 1 else line
        else:
            faults.append(RowProblem(number, "", "is not UTF-8: save the file as UTF-8 (in Excel: CSV UTF-8)"))
            yield "\n"


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
