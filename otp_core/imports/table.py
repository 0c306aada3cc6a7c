"""CSV (RFC 4180): lines in, records and problems out. It knows no tokens and no customers, and repeats no cell."""

from __future__ import annotations

import csv
import difflib
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from otp_core.imports.worded import Worded, worded
from otp_core.otp import normalise_contract_id

# Lone surrogates, and what Python reads from octets that are none in CP932 (A0, FD, FE, FF).
_UNREADABLE = re.compile("[\ud800-\udfff\uf8f0-\uf8f3]")
_EXCELS_SEPARATOR = re.compile("sep=([,;\t])", re.IGNORECASE)
_FIRST_COLUMNS = frozenset({"contract_id", "token_id"})
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A problem with a file, and the right form. ``line``: from 1; ``column``: its name, or its number in a header;
    empty for a problem with the whole line."""

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
    """The position of each column, from a header or in the usual order. A name that is empty stands for a column that
    has to be empty."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._places = {name: place for place, name in reversed(list(enumerate(names))) if name}

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def cell(self, record: Record, name: str) -> str:
        """The cell; empty if the file has no such column, or the row is too short."""
        place = self._places.get(name)
        return record.cells[place] if place is not None and place < len(record.cells) else ""

    def problem(self, record: Record) -> RowProblem | None:
        """The problem with the number of a row's cells. Missing ones are empty, and empty ones too many do no harm, but
        for those behind a password, which may end in commas itself."""
        named = len(self._names)
        extra = next((place for place, cell in enumerate(record.cells) if cell and not self._name(place)), None)
        if extra is None and len(record.cells) > named and self._names[-1] == "password":
            extra = named
        if extra is None:
            return None
        wrong = worded(
            "%(number)s columns, but the header names %(named)s: put a cell that holds a comma into quotes (cell "
            "%(cell)s stands under no name)",
            number=len(record.cells),
            named=sum(map(bool, self._names)),
            cell=extra + 1,
        )
        return RowProblem(record.line, "", wrong)

    def _name(self, place: int) -> str:
        return self._names[place] if place < len(self._names) else ""


def header_of(
    record: Record, known: Sequence[str], required: Sequence[str], form: str
) -> tuple[Columns, list[RowProblem]]:
    """The columns that a header names, in any order, and every problem with it: a name that is not ``known``, is given
    twice, or is missing though ``required``. ``form``: the right header, for the messages."""
    names = [column_name(cell) for cell in record.cells]
    if not set(names) & set(known):
        text = worded("names no column that is known; the header is %(form)s, separated by commas", form=form)
        return Columns([]), [RowProblem(record.line, "", text)]
    problems = []
    for place, name in enumerate(names, 1):
        if name in names[: place - 1] and name in known:
            text = worded("names %(name)s again: the header names each column once", name=name)
            problems.append(RowProblem(record.line, str(place), text))
        elif name and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.75)
            text = worded("is no name of a column that is known; the header is %(form)s", form=form)
            if near:
                text = worded(
                    "is no name of a column that is known; did you mean %(near)s? the header is %(form)s",
                    near=near[0],
                    form=form,
                )
            problems.append(RowProblem(record.line, str(place), text))
    problems += [
        RowProblem(record.line, name, worded("is missing from the header; the header is %(form)s", form=form))
        for name in required
        if name not in names
    ]
    return Columns([name if name in known or not name else f"?{place}" for place, name in enumerate(names)]), problems


def column_name(cell: str) -> str:
    """The name that a header's cell stands for: ``Contract ID``, ``contract-id`` -> ``contract_id``."""
    return normalise_contract_id(cell).lower().replace(" ", "_").replace("-", "_")


def has_control(text: str) -> bool:
    """Whether the text holds a control character: a tab, a NUL, a line break."""
    return not text.isprintable() and _CONTROL.search(text) is not None


def records(lines: Iterable[str], encoding: str) -> Iterator[Record | RowProblem]:
    """The records of a file without blank ones, and the problems with its form. Cells are separated as the first line
    says: see ``_delimiter``. What is none in the file's ``encoding`` has to be given as lone surrogates. The first line
    may begin with a byte order mark."""
    problems: deque[RowProblem] = deque()
    readable = _readable(lines, encoding, problems)
    first = next(readable, "")
    delimiter, is_row = _delimiter(first)
    reader = csv.reader(chain([first if is_row else "\n"], readable), strict=True, delimiter=delimiter)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error:
            wrong = worded(
                "the quotes or line ends are not right: a cell with a comma, a quote or a line break stands in quotes, "
                "and a quote inside it is written twice"
            )
            yield RowProblem(line, "", wrong)
            continue
        if any(cells):
            yield Record(line, cells)
        while problems:
            yield problems.popleft()
    yield from problems


def _delimiter(first: str) -> tuple[str, bool]:
    """What separates the cells, by the first line, and whether that is a row itself: what Excel's ``sep=;`` says; tabs
    (Excel's Unicode text) or semicolons (Excel in much of Europe) in a header without a comma; commas."""
    if match := _EXCELS_SEPARATOR.fullmatch(first.strip(" \r\n")):
        return match[1], False
    if "," in first:
        return ",", True
    if "\t" in first:
        return "\t", True
    names = {column_name(cell) for cell in first.split(";")}
    return ";" if ";" in first and names & _FIRST_COLUMNS else ",", True


def problems_of(found: Iterable[object], columns: Columns) -> Iterator[RowProblem]:
    """The problems with a row under a header that is wrong: those with columns that it names."""
    for one in found:
        if isinstance(one, RowProblem) and one.column in columns:
            yield one


def first_text(lines: Iterable[str]) -> tuple[str, Iterator[str]]:
    """The first line that is not blank, without what surrounds it, and all lines once more."""
    rest = iter(lines)
    begun: list[str] = []
    for line in rest:
        begun.append(line)
        if text := line.removeprefix("\ufeff").strip():
            return text, chain(begun, rest)
    return "", iter(begun)


def _readable(lines: Iterable[str], encoding: str, problems: deque[RowProblem]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if is_text(line):
            yield line.removeprefix("\ufeff") if number == 1 else line
        else:
            problems.append(RowProblem(number, "", not_in(encoding)))
            yield "\n"


def is_text(line: str) -> bool:
    """Whether all of a line could be read in its file's encoding."""
    return line.isascii() or not _UNREADABLE.search(line)


def not_in(encoding: str) -> Worded:
    """The problem with a line that is not."""
    return worded(
        "is not %(encoding)s: save the file as UTF-8 (in Excel: CSV UTF-8), or name its encoding with --encoding",
        encoding=encoding.upper(),
    )
