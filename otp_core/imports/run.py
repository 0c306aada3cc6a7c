"""An import from a file that lies open to its rows: the check of the whole file, and its rows in chunks to be written.

The file is read twice, and nothing of it is written before all of it was found right. It knows no columns and no
customers (importers.py); how far it has got is told to whoever runs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

from otp_core.imports.encodings import encoding_of, lines_of
from otp_core.imports.importers import PER_TRANSACTION, Importer
from otp_core.imports.table import RowProblem
from otp_core.model import Encoding, StoreUnavailable

SHOWN_PROBLEMS = 50
"""Problems of a file that are kept and shown; further ones are only counted."""

SHOWN_NAMES = 10
"""Rows whose IDs are kept and shown before they are written."""

Item = TypeVar("Item")
Row = TypeVar("Row")


@dataclass
class ImportReport:
    """What the check of a file found. ``rows``: those without a problem in the file itself; ``to_skip``: those of them
    that are in the store already; ``problems``: the first SHOWN_PROBLEMS of ``problem_count``; ``names``: of the first
    rows."""

    rows: int = 0
    to_skip: int = 0
    problem_count: int = 0
    problems: list[RowProblem] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, problems: list[RowProblem]) -> None:
        """Count these problems of one chunk, and keep them as long as there is room."""
        self.problem_count += len(problems)
        room = SHOWN_PROBLEMS - len(self.problems)
        self.problems += sorted(problems, key=lambda problem: problem.line)[:room]


class Source:
    """A file that can be read twice. ``size``: in octets; ``encoding``: the one given, or the one it is found to have;
    ``was_found``: the latter."""

    def __init__(self, file: BinaryIO, encoding: Encoding | None = None) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        self.was_found = encoding is None
        self.encoding = encoding or encoding_of(file)

    def lines(self) -> Iterator[str]:
        """The lines from the beginning. What is none in the encoding comes as lone surrogates."""
        return lines_of(self._file, self.encoding)

    @property
    def position(self) -> int:
        """How many octets have been read."""
        return self._file.tell()


def check_file(
    importer: Importer[Row], source: Source, advance: Callable[[int], None], *, most_problems: int | None = None
) -> ImportReport:
    """Check the whole file, against the store too. ``advance`` is called with the octets that have been read; what it
    raises ends the check. ``most_problems``: with so many it ends, and the rest is not looked at. Raises
    StoreUnavailable."""
    report = ImportReport()
    for chunk in _chunks(importer.read(source.lines(), source.encoding), PER_TRANSACTION):
        problems, rows = _separated(chunk)
        against, to_skip = importer.check(rows)
        report.add(problems + against)
        report.rows += len(rows)
        report.to_skip += to_skip
        report.names += [importer.name_of(row) for row in rows[: SHOWN_NAMES - len(report.names)]]
        advance(source.position)
        if most_problems is not None and report.problem_count >= most_problems:
            break
    return report


def chunks_to_write(importer: Importer[Row], source: Source, size: int, *, done: int = 0) -> Iterator[list[Row]]:
    """The rows of a file that was found right, ``size`` at a time, without the first ``done``. Raises StoreUnavailable
    if it is not the file that was checked."""
    for number, chunk in enumerate(_chunks(importer.read(source.lines(), source.encoding), size)):
        problems, rows = _separated(chunk)
        if problems:
            raise StoreUnavailable("the file was changed while it was read")
        left = rows[max(0, done - number * size) :]
        if left:
            yield left


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _separated(chunk: list[Row | RowProblem]) -> tuple[list[RowProblem], list[Row]]:
    problems = [item for item in chunk if isinstance(item, RowProblem)]
    return problems, [item for item in chunk if not isinstance(item, RowProblem)]
