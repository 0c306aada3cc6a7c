"""A QR code (ISO/IEC 18004) on a terminal, two modules in one character. Never in a pipe or a file."""

from __future__ import annotations

import io
import shutil
import sys

import typer

from sekisho.cli.output import hint


def show_qr(text: str) -> None:
    """Print the text's QR code if standard output is a terminal that has room for it; where it has none, say so."""
    if not sys.stdout.isatty():
        return
    import segno

    code = segno.make(text, error="m")
    width = code.symbol_size()[0]
    if shutil.get_terminal_size().columns < width:
        hint(f"For the QR code, make the terminal {width} columns wide.")
    elif not sys.stdout.encoding.lower().replace("-", "").startswith("utf8"):
        hint("For the QR code, the terminal's locale has to be UTF-8.")
    else:
        drawn = io.StringIO()
        code.terminal(drawn, compact=True)
        typer.echo(drawn.getvalue(), nl=False)
