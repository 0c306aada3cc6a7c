"""Shows the progress of long work on standard error: a bar at a terminal, otherwise a line every few seconds, so that
a log stays short and a quick run prints nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from sekisho.cli.output import hint

_SECONDS_BETWEEN_LINES = 5.0

Advance = Callable[[int], None]
"""Called with how much of the total is done by now."""


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show the progress of ``what`` while the body runs. ``total``: how much there is to do, in any unit."""
    if not sys.stderr.isatty():
        yield _lines(what, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


class Stages:
    """Shows the progress of one stage after another, inside ``shown``."""

    def __init__(self, shown: ExitStack) -> None:
        self._shown, self._stage = shown, ""
        self._advance: Advance = lambda done: None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._shown.close()
            self._stage, self._advance = stage, self._shown.enter_context(progress(stage, total))
        self._advance(done)


def _lines(what: str, total: int) -> Advance:
    next_at = time.monotonic() + _SECONDS_BETWEEN_LINES

    def advance(done: int) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + _SECONDS_BETWEEN_LINES
            hint(f"{what}: {100 * done // max(total, 1)} %")

    return advance
