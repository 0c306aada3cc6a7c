"""How far long work has come, on standard error: a bar at a terminal; otherwise a line now and then, so that a log
stays short and a quick run stays silent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sekisho.cli.output import hint

_SECONDS_BETWEEN_LINES = 5.0

Advance = Callable[[int], None]
"""Called with how much is done by now, of the total."""


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show ``what`` while the body runs."""
    if not sys.stderr.isatty():
        yield _lines(what, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _lines(what: str, total: int) -> Advance:
    next_at = time.monotonic() + _SECONDS_BETWEEN_LINES

    def advance(done: int) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + _SECONDS_BETWEEN_LINES
            hint(f"{what}: {100 * done // max(total, 1)} %")

    return advance
