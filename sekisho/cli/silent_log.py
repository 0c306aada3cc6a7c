"""Keeps the server's log lines out of a command whose answer says it all: they do not belong on standard output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def without_log() -> Iterator[None]:
    """Drop what is logged meanwhile."""
    import structlog

    def drop(*_: object) -> NoReturn:
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[drop])
    try:
        yield
    finally:
        structlog.configure(**before)
