"""Reads a list of any length page by page, so that no command holds all of it in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from otp_core.store.store import Store

_PAGE = 1000
Line = TypeVar("Line", bound="tuple[object, ...]")


def pages(
    store: Store,
    page: Callable[[Connection, str, int], Sequence[Line]],
    after: str,
    limit: int,
    more: Callable[[object], None],
) -> Iterator[Line]:
    """At most ``limit`` lines (0: all) after the key ``after``. ``page(connection, after, count)`` reads at most
    ``count`` of them; a line's first field is its key. ``more(key)`` is called with the last line's key if there are
    further lines. Raises StoreUnavailable."""

    def stretch(connection: Connection, after: str, count: int) -> tuple[Sequence[Line], str | None]:
        lines = page(connection, after, count + 1)
        return lines[:count], str(lines[count - 1][0]) if len(lines) > count else None

    return stretches(store, stretch, after, limit, more)


def stretches(
    store: Store,
    stretch: Callable[[Connection, str, int], tuple[Sequence[Line], str | None]],
    after: str,
    limit: int,
    more: Callable[[object], None],
) -> Iterator[Line]:
    """The same of a list that says itself where to go on: ``stretch(connection, after, count)`` reads at most ``count``
    lines, fewer also before the end, and says behind which key there may be further ones; None: there are none. Each
    is a transaction of its own."""
    left = limit or None
    going_on: str | None = after
    while going_on is not None:
        with store.read() as connection:
            lines, going_on = stretch(connection, going_on, _PAGE if left is None else min(_PAGE, left))
        yield from lines
        if left is None:
            continue
        left -= len(lines)
        if not left:
            if going_on is not None:
                more(going_on)
            return
