"""CSV (RFC 4180) that is safe to open in a spreadsheet: no cell is run as a formula. For Excel every letter and digit
can stay as it is: a byte order mark, and IDs that are text. Pure.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from otp_core.otp import compatibility_form

BYTE_ORDER_MARK = "\ufeff"
"""Before the first line, by which Excel takes the file for UTF-8."""

_RUNS = "=+-@"
_RUNS_AT_ONCE = ("\t", "\r", "\n")
"""Beginnings of cells that spreadsheets run as formulas (OWASP, "CSV Injection"): full-width ones too, and with blanks
before them. A contract ID in the audit trail can be anything that was typed at a login."""

_LONGEST_STRING = 255
"""Characters that Excel allows for a text in a formula."""


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
