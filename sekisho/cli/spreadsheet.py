"""How a command prints CSV, for programs (``--csv``) and for Excel as it is (``--excel``); see otp_core/spreadsheet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated

import typer

from otp_core.spreadsheet import BYTE_ORDER_MARK, csv_line
from sekisho.cli.output import say_rows

AsCsv = Annotated[
    bool, typer.Option("--csv", help="For a program; a cell that a spreadsheet might run as a formula begins with '.")
]
AsExcel = Annotated[
    bool, typer.Option("--excel", help="CSV that Excel opens as it is: with a byte order mark, IDs as text.")
]


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
        typer.echo((f"{BYTE_ORDER_MARK}{head}" if excel else head).encode(), nl=False)

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
