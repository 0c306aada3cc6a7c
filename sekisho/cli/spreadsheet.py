"""A CSV line (RFC 4180) that a spreadsheet may open: what it would run as a formula is disarmed. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

_RUNS = ("=", "+", "-", "@", "\t", "\r")
"""OWASP, "CSV Injection": beginnings of cells that spreadsheets run. Contract IDs come from whoever tries to log in."""


def csv_line(cells: Iterable[str | None]) -> str:
    """One record with its line end."""
    out = io.StringIO()
    csv.writer(out).writerow(f"'{cell}" if cell and cell.startswith(_RUNS) else cell for cell in cells)
    return out.getvalue()
