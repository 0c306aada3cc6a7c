"""What a command says: words and tables for people, JSON for scripts. Answers on standard output, the rest on standard
error. Text that came from the network is made visible, so that it cannot steer a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import typer


def say(text: str) -> None:
    """Lines on standard output. What came from the network goes through ``visible`` before it is put into a line."""
    typer.echo("\n".join(map(visible, text.split("\n"))))


def complain(text: str) -> None:
    """Lines on standard error."""
    for line in text.split("\n"):
        typer.echo(f"sekisho: {visible(line)}", err=True)


def hint(text: str) -> None:
    """A remark beside the answer, on standard error, for people only."""
    typer.echo(visible(text), err=True)


def say_json(value: object) -> None:
    """One JSON value on one line, ASCII only, so that no locale and no terminal can spoil it."""
    typer.echo(json.dumps(value))


def visible(text: str) -> str:
    """Control characters and the like as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def local_time(at_ms: int | None) -> str | None:
    """ISO 8601 in this machine's zone; None for never."""
    if not at_ms:
        return None
    return datetime.fromtimestamp(at_ms / 1000).astimezone().isoformat(timespec="milliseconds")


def say_facts(facts: Mapping[str, object]) -> None:
    """One thing, a fact a line. What is not known is left out."""
    known = {name: value for name, value in facts.items() if value not in (None, "")}
    width = max(map(len, known), default=0)
    for name, value in known.items():
        say(f"{name + ':':<{width + 1}} {value}")


def say_rows(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on a terminal; otherwise one row a line, its cells separated by tabs."""
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
