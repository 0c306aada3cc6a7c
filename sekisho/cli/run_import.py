"""Runs an import: checks the whole file, then writes it in chunks and shows the progress.

Nothing is written unless the whole file is right. It knows no columns and no customers: see importers.py.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

import typer

from otp_core.imports import RowProblem, encoding_of, foreign_form, lines_of
from otp_core.model import Encoding, StoreUnavailable
from sekisho.cli.context import ExitCode, Stopped
from sekisho.cli.importers import PER_TRANSACTION, Importer
from sekisho.cli.output import complain, hint, say, say_json
from sekisho.cli.progress import progress

SHOWN_PROBLEMS = 50
"""Problems of a file that are kept and shown; further ones are only counted."""

Item = TypeVar("Item")
Row = TypeVar("Row")


@dataclass
class ImportReport:
    """What the check of a file found. ``rows``: those without a problem in the file itself; ``to_skip``: those of them
    that are in the store already; ``problems``: the first SHOWN_PROBLEMS of ``problem_count``."""

    rows: int = 0
    to_skip: int = 0
    problem_count: int = 0
    problems: list[RowProblem] = field(default_factory=list)

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


MAX_PIPED = 1 << 30
"""Octets of a pipe, which is kept in memory."""


@contextmanager
def opened(name: str, encoding: Encoding | None = None) -> Iterator[Source]:
    """Open a file in this encoding (None: it is found out), or standard input for ``-``. A pipe, which cannot be read
    twice, is copied into memory and not to disk, because it holds seeds or passwords. Raises typer.BadParameter for a
    file that cannot be read."""
    try:
        file = open(sys.stdin.fileno() if name == "-" else name, "rb", closefd=name != "-")  # noqa: SIM115
    except OSError as error:
        raise typer.BadParameter(f"cannot be read: {error.strerror}", param_hint=name) from None
    with file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode):
            _refuse_foreign(file, name)
            yield Source(file, encoding)
            return
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty()):
            raise typer.BadParameter("is no file and no pipe", param_hint=name)
        with os.fdopen(os.memfd_create("sekisho-import"), "w+b") as kept:
            _copy(file, kept, name)
            _refuse_foreign(kept, name)
            yield Source(kept, encoding)


def _copy(pipe: BinaryIO, kept: BinaryIO, name: str) -> None:
    while chunk := pipe.read(1 << 20):
        if kept.tell() + len(chunk) > MAX_PIPED:
            raise typer.BadParameter(f"is longer than {MAX_PIPED >> 20} MiB: write it to a file", param_hint=name)
        kept.write(chunk)


def _refuse_foreign(file: BinaryIO, name: str) -> None:
    if not file.seek(0, os.SEEK_END):
        complain(f"{name}: the file is empty; nothing was imported")
        raise typer.Exit(ExitCode.REFUSED)
    if (form := foreign_form(file)) is not None:
        raise typer.BadParameter(f"is no CSV but {form}", param_hint=name)


def run_import(
    importer: Importer[Row], name: str, *, dry_run: bool, as_json: bool, encoding: Encoding | None = None
) -> None:
    """Import a file and print the outcome. ``encoding`` None: it is found out. Raises typer.Exit for a file with
    problems, Stopped if the import did not come to its end."""
    begun = time.monotonic()
    with opened(name, encoding) as source:
        _tell_encoding(source, name)
        report = _check(importer, source)
        if report.problem_count:
            _refuse(report, name, as_json)
        written = 0 if dry_run else _write(importer, source, report.rows)
    skipped = report.to_skip if dry_run else report.rows - written
    if as_json:
        say_json(
            {
                "encoding": source.encoding,
                "rows": report.rows,
                "imported": written,
                "skipped": skipped,
                "dry_run": dry_run,
                "problems": [],
            }
        )
        return
    left = f"; {skipped:,} left as they are" if skipped else ""
    if dry_run:
        say(f"{name}: nothing is wrong; {_counted(report.rows - skipped, importer.noun)} would be imported{left}")
    else:
        say(f"imported {_counted(written, importer.noun)} in {time.monotonic() - begun:.1f} s{left}")


def _tell_encoding(source: Source, name: str) -> None:
    """On standard error, where a script's JSON does not mind. UTF-8 goes without saying."""
    if source.was_found and source.encoding is not Encoding.UTF_8:
        also = " (Shift_JIS)" if source.encoding is Encoding.CP932 else ""
        hint(f"{name}: read as {source.encoding.upper()}{also}: if that is wrong, name its encoding with --encoding")


def _check(importer: Importer[Row], source: Source) -> ImportReport:
    report = ImportReport()
    try:
        with progress(f"checking {importer.noun}s", source.size) as advance:
            for chunk in _chunks(importer.read(source.lines(), source.encoding), PER_TRANSACTION):
                problems, rows = _separated(chunk)
                against, to_skip = importer.check(rows)
                report.add(problems + against)
                report.rows += len(rows)
                report.to_skip += to_skip
                advance(source.position)
    except KeyboardInterrupt:
        raise Stopped("interrupted: nothing was imported", ExitCode.INTERRUPTED) from None
    return report


def _refuse(report: ImportReport, name: str, as_json: bool) -> None:
    if as_json:
        problems = [{"line": one.line, "column": one.column, "message": one.message} for one in report.problems]
        say_json({"rows": report.rows, "imported": 0, "problems": problems, "problem_count": report.problem_count})
    for problem in report.problems:
        hint(f"{name}: {problem}")
    if report.problem_count > len(report.problems):
        hint(f"… and {report.problem_count - len(report.problems):,} more")
    complain(f"{_counted(report.problem_count, 'problem')}: nothing was imported")
    raise typer.Exit(ExitCode.REFUSED)


def _write(importer: Importer[Row], source: Source, total: int) -> int:
    written = done = begun = 0
    try:
        with progress(f"importing {importer.noun}s", total) as advance:
            for chunk in _chunks(importer.read(source.lines(), source.encoding), importer.per_transaction()):
                problems, rows = _separated(chunk)
                if problems:
                    raise StoreUnavailable("the file was changed while it was read")
                begun = done + len(rows)
                written += importer.write(rows)
                done = begun
                advance(done)
    except KeyboardInterrupt:
        raise Stopped(f"interrupted{_how_to_go_on(done, total, begun)}", ExitCode.INTERRUPTED) from None
    except StoreUnavailable as error:
        raise Stopped(f"{error}{_how_to_go_on(done, total)}", ExitCode.UNUSABLE) from error
    return written


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _how_to_go_on(done: int, total: int, begun: int = 0) -> str:
    """``begun``: the rows after those of the transaction under way, which may have come to its end."""
    if not done and not begun:
        return "\nnothing was imported"
    number = f"between {done:,} and {begun:,}" if begun > done else f"{done:,}"
    return (
        f"\n{number} of {total:,} rows are done; to go on, give the same command again with --skip-existing "
        "(what is in the store is left as it is)"
    )


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
