"""How a command prints: text and tables for people, JSON for scripts. Answers go to standard output, everything else
to standard error. Control characters are printed as escapes, so that text from the network cannot control a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

import typer


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
    """Print one JSON value on one line, ASCII only, so that it does not depend on the locale."""
    typer.echo(json.dumps(value))


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
    """Print a table on a terminal; otherwise one row on each line, its cells separated by tabs."""
    texts = ([visible("" if cell is None else str(cell)) for cell in row] for row in rows)
    if not sys.stdout.isatty():
        for cells in texts:
            typer.echo("\t".join(cells))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for cells in texts:
        table.add_row(*map(Text, cells))
    Console().print(table)
