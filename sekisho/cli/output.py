"""How a command prints: text and tables for people, JSON and tab-separated lines for scripts. Answers go to standard
output, everything else to standard error. Control characters are printed as escapes, so that text from the network
cannot control a terminal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

import typer

_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})\.[0-9]{3}[+-][0-9]{2}:[0-9]{2}")
"""A time as json_shapes.local_time writes it."""

_WIDEST = 10_000
"""Columns of a table at most."""


def say(text: str) -> None:
    """Print lines on standard output. Text from the network that may hold line ends has to go through ``visible``
    before it is put into a line."""
    typer.echo("\n".join(map(visible, text.split("\n"))))


def complain(text: str) -> None:
    """Print an error's lines on standard error."""
    for line in text.split("\n"):
        typer.echo(f"sekisho: {visible(line)}", err=True)


def hint(text: str) -> None:
    """Print a remark for people on standard error."""
    typer.echo(visible(text), err=True)


def say_json(value: object) -> None:
    """Print one JSON value on one line, in UTF-8 whatever the locale is (RFC 8259, section 8.1). Letters stay as they
    are; what is not printable is a JSON escape."""
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(one if one.isprintable() else _json_escape(one) for one in text)
    typer.echo(text.encode())


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def visible(text: str) -> str:
    """The text with everything that is not printable as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def say_facts(facts: Mapping[str, object]) -> None:
    """Print one thing, a fact on each line. None and empty texts are left out."""
    known = {name: value for name, value in facts.items() if value not in (None, "")}
    width = max(map(len, known), default=0)
    for name, value in known.items():
        say(f"{name + ':':<{width + 1}} {value}")


def say_rows(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on a terminal. Otherwise one row on each line, the headings first, the cells separated by tabs."""
    texts = ([visible("" if cell is None else str(cell)) for cell in row] for row in rows)
    if sys.stdout.isatty():
        _say_table(headings, texts)
        return
    typer.echo("\t".join(headings))
    for cells in texts:
        typer.echo("\t".join(cells))


def _say_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Times are to the second. A table that is wider than the terminal keeps its width, and the terminal breaks its
    lines: rich would cut cells short."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for cells in rows:
        table.add_row(*(Text(_TIME.sub(r"\1 \2", cell)) for cell in cells))
    console = Console()
    wanted = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    Console(width=max(console.width, wanted)).print(table)
