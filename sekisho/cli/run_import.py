"""An import from its first line to its last: check the whole file, then write it in chunks, saying how far it is.

Nothing is written unless the whole file is right. It knows no columns and no customers: see intake.py.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from typing import BinaryIO, TypeVar

import typer

from otp_core.imports import RowProblem
from otp_core.model import StoreUnavailable
from sekisho.cli.context import ExitCode, Stopped
from sekisho.cli.importers import PER_TRANSACTION, Importer
from sekisho.cli.output import complain, hint, say, say_json
from sekisho.cli.progress import progress

SHOWN_FAULTS = 50

Item = TypeVar("Item")
Row = TypeVar("Row")


@dataclass
class ImportReport:
    """What the first pass found. ``faults`` holds the first ones only, however many there are."""

    rows: int = 0
    to_skip: int = 0
    fault_count: int = 0
    faults: list[RowProblem] = field(default_factory=list)

    def add(self, faults: list[RowProblem]) -> None:
        self.fault_count += len(faults)
        room = SHOWN_FAULTS - len(self.faults)
        self.faults += sorted(faults, key=lambda fault: fault.line)[:room]


class Source:
    """A file that can be read twice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)

    def lines(self) -> Iterator[str]:
        """From the beginning. What is not UTF-8 comes as lone surrogates."""
        self._file.seek(0)
        text = TextIOWrapper(self._file, "utf-8", "surrogateescape", newline="")
        try:
            for line in text:  # noqa: UP028  `yield from` would close the file with this generator
                yield line
        finally:
            text.detach()

    @property
    def position(self) -> int:
        return self._file.tell()


@contextmanager
def opened(name: str) -> Iterator[Source]:
    """A file, or standard input for ``-``. What cannot be read twice (a pipe) is kept in memory, because seeds and
    passwords that come through a pipe are not meant for a disk."""
    try:
        file = open(sys.stdin.fileno() if name == "-" else name, "rb", closefd=name != "-")  # noqa: SIM115
    except OSError as error:
        raise typer.BadParameter(f"cannot be read: {error.strerror}", param_hint=name) from None
    with file:
        if file.seekable():
            yield Source(file)
            return
        with os.fdopen(os.memfd_create("sekisho-import"), "w+b") as kept:
            shutil.copyfileobj(file, kept)
            yield Source(kept)


def run_import(importer: Importer[Row], name: str, *, dry_run: bool, as_json: bool) -> None:
    """Import the file, and say how it went. Raises typer.Exit for a file with faults, Stopped if it did not come to
    its end."""
    begun = time.monotonic()
    with opened(name) as source:
        findings = _check(importer, source)
        if findings.fault_count:
            _refuse(findings, name, as_json)
        written = 0 if dry_run else _write(importer, source, findings.rows)
    skipped = findings.to_skip if dry_run else findings.rows - written
    if as_json:
        say_json({"rows": findings.rows, "imported": written, "skipped": skipped, "dry_run": dry_run, "problems": []})
        return
    left = f"; {skipped:,} left as they are" if skipped else ""
    if dry_run:
        say(f"{name}: nothing is wrong; {_counted(findings.rows - skipped, importer.noun)} would be imported{left}")
    else:
        say(f"imported {_counted(written, importer.noun)} in {time.monotonic() - begun:.1f} s{left}")


def _check(importer: Importer[Row], source: Source) -> ImportReport:
    findings = ImportReport()
    try:
        with progress(f"checking {importer.noun}s", source.size) as advance:
            for chunk in _chunks(importer.read(source.lines()), PER_TRANSACTION):
                faults, rows = _parted(chunk)
                against, to_skip = importer.check(rows)
                findings.add(faults + against)
                findings.rows += len(rows)
                findings.to_skip += to_skip
                advance(source.position)
    except KeyboardInterrupt:
        raise Stopped("interrupted: nothing was imported", ExitCode.INTERRUPTED) from None
    return findings


def _refuse(findings: ImportReport, name: str, as_json: bool) -> None:
    if as_json:
        problems = [{"line": one.line, "column": one.column, "message": one.message} for one in findings.faults]
        say_json({"rows": findings.rows, "imported": 0, "problems": problems, "problem_count": findings.fault_count})
    for fault in findings.faults:
        hint(f"{name}: {fault}")
    if findings.fault_count > len(findings.faults):
        hint(f"… and {findings.fault_count - len(findings.faults):,} more")
    complain(f"{_counted(findings.fault_count, 'problem')}: nothing was imported")
    raise typer.Exit(ExitCode.REFUSED)


def _write(importer: Importer[Row], source: Source, total: int) -> int:
    written = done = 0
    try:
        with progress(f"importing {importer.noun}s", total) as advance:
            for chunk in _chunks(importer.read(source.lines()), importer.per_transaction()):
                faults, rows = _parted(chunk)
                if faults:
                    raise StoreUnavailable("the file was changed while it was read")
                written += importer.write(rows)
                done += len(rows)
                advance(done)
    except KeyboardInterrupt:
        raise Stopped(f"interrupted{_how_to_go_on(done, total)}", ExitCode.INTERRUPTED) from None
    except StoreUnavailable as error:
        raise Stopped(f"{error}{_how_to_go_on(done, total)}", ExitCode.UNUSABLE) from error
    return written


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _how_to_go_on(done: int, total: int) -> str:
    if not done:
        return "\nnothing was imported"
    return (
        f"\n{done:,} of {total:,} rows are done; to go on, give the same command again with --skip-existing "
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


def _parted(chunk: list[Row | RowProblem]) -> tuple[list[RowProblem], list[Row]]:
    faults = [item for item in chunk if isinstance(item, RowProblem)]
    return faults, [item for item in chunk if not isinstance(item, RowProblem)]
