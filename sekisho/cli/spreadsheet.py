"""CSV (RFC 4180) that is safe to open in a spreadsheet: no cell is run as a formula. With ``--excel`` every letter and
digit stays as it is there: a byte order mark, and IDs that are text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated

import typer

from otp_core.otp import compatibility_form
from sekisho.cli.output import say_rows

AsCsv = Annotated[
    bool, typer.Option("--csv", help="For a program; a cell that a spreadsheet might run as a formula begins with '.")
]
AsExcel = Annotated[
    bool, typer.Option("--excel", help="CSV that Excel opens as it is: with a byte order mark, IDs as text.")
]
_RUNS = "=+-@"
_RUNS_AT_ONCE = ("\t", "\r", "\n")
"""Beginnings of cells that spreadsheets run as formulas (OWASP, "CSV Injection"): full-width ones too, and with blanks
before them. A contract ID in the audit trail can be anything that was typed at a login."""

_LONGEST_STRING = 255
"""Characters that Excel allows for a text in a formula."""


def one_form(as_json: bool, as_csv: bool, as_excel: bool) -> None:
    """Raises typer.BadParameter for more than one of the three."""
    if as_json + as_csv + as_excel > 1:
        raise typer.BadParameter("choose one of them", param_hint="--json, --csv and --excel")


class CsvPrinter:
    """Prints a table on standard output, the headings first, always in UTF-8. ``ids``: the headings of columns whose
    digits are no number; with ``excel`` they stay as they are there."""

    def __init__(self, headings: Sequence[str], ids: Collection[str], *, excel: bool) -> None:
        self._texts = [excel and heading in ids for heading in headings]
        head = csv_line(headings, [False] * len(headings))
        typer.echo((f"\ufeff{head}" if excel else head).encode(), nl=False)

    def row(self, cells: Sequence[object]) -> None:
        """Print one row. Numbers are printed as they are; None is an empty cell."""
        typer.echo(csv_line(cells, self._texts).encode(errors="backslashreplace"), nl=False)


def say_list(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, ids: Collection[str], as_csv: bool, as_excel: bool
) -> None:
    """Print a list in the form that was chosen, for people unless it is one of these two."""
    if not as_csv and not as_excel:
        say_rows(headings, rows)
        return
    table = CsvPrinter(headings, ids, excel=as_excel)
    for row in rows:
        table.row(row)


def csv_line(cells: Sequence[object], texts: Sequence[bool]) -> str:
    """One record with its line end. A quote is put before a cell that would be run; where ``texts`` says so, a cell is
    written as a formula whose result is that very text."""
    out = io.StringIO()
    csv.writer(out).writerow([_cell(cell, text) for cell, text in zip(cells, texts, strict=True)])
    return out.getvalue()


def _cell(cell: object, is_text: bool) -> object:
    if not isinstance(cell, str) or not cell:
        return f'="{cell}"' if is_text and isinstance(cell, int) else cell
    if is_text and len(cell) <= _LONGEST_STRING:
        return '="{}"'.format(cell.replace('"', '""'))
    first = compatibility_form(cell.strip()[:1])
    return f"'{cell}" if cell.startswith(_RUNS_AT_ONCE) or (first and first in _RUNS) else cell
