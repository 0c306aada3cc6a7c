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
    left = limit or None
    while True:
        count = _PAGE if left is None else min(_PAGE, left)
        with store.read() as connection:
            lines = page(connection, after, count + 1)
        yield from lines[:count]
        if len(lines) <= count:
            return
        after = str(lines[count - 1][0])
        if left is not None:
            left -= count
            if not left:
                more(after)
                return
