"""Runs an import on the command line: a file or a pipe, progress, the outcome. How a file is checked and written:
otp_core/imports/run.py.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TypeVar

import typer

from otp_core.imports import foreign_form
from otp_core.imports.importers import Importer
from otp_core.imports.run import ImportReport, Source, check_file, chunks_to_write
from otp_core.model import Encoding, StoreUnavailable
from otp_core.store.store import Store, fill_search_terms
from sekisho.cli.context import CliContext, ExitCode, Stopped
from sekisho.cli.output import complain, hint, say, say_json
from sekisho.cli.progress import progress

Row = TypeVar("Row")

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
    context: CliContext,
    importer: Importer[Row],
    name: str,
    *,
    dry_run: bool,
    as_json: bool,
    encoding: Encoding | None = None,
) -> None:
    """Import a file and print the outcome. ``encoding`` None: it is found out. Raises typer.Exit for a file with
    problems, Stopped if the import did not come to its end."""
    begun = time.monotonic()
    with opened(name, encoding) as source:
        _tell_encoding(source, name)
        report = _check(importer, source)
        if report.problem_count:
            _refuse(report, name, as_json)
        written = 0 if dry_run else _write(context, importer, source, report.rows)
    if written:
        _make_findable(context.store)
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
    try:
        with progress(f"checking {importer.noun}s", source.size) as advance:
            return check_file(importer, source, advance)
    except KeyboardInterrupt:
        raise Stopped("interrupted: nothing was imported", ExitCode.INTERRUPTED) from None


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


def _write(context: CliContext, importer: Importer[Row], source: Source, total: int) -> int:
    written = done = begun = 0
    try:
        with progress(f"importing {importer.noun}s", total) as advance:
            for rows in chunks_to_write(importer, source, importer.per_transaction()):
                begun = done + len(rows)
                written += importer.prepare(rows)(context.desk)
                done = begun
                advance(done)
    except KeyboardInterrupt:
        raise Stopped(f"interrupted{_how_to_go_on(done, total, begun)}", ExitCode.INTERRUPTED) from None
    except StoreUnavailable as error:
        raise Stopped(f"{error}{_how_to_go_on(done, total)}", ExitCode.UNUSABLE) from error
    return written


def _make_findable(store: Store) -> None:
    """Whoever is not found by name when this is interrupted, is so soon: a server goes on with it, and `sekisho init`
    does."""
    with suppress(KeyboardInterrupt, StoreUnavailable):
        fill_search_terms(store, progress)


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
