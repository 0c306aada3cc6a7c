"""CSV lines (RFC 4180) that are safe to open in a spreadsheet: no cell is run as a formula. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

_RUNS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of cells that spreadsheets run as formulas (OWASP, "CSV Injection"). A contract ID in the audit trail can
be anything that was typed at a login."""


def csv_line(cells: Iterable[str | None]) -> str:
    """One record with its line end. A quote is put before a cell that would be run."""
    out = io.StringIO()
    csv.writer(out).writerow(f"'{cell}" if cell and cell.startswith(_RUNS) else cell for cell in cells)
    return out.getvalue()
