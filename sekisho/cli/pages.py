"""Reading a list of any length page by page, so that no command holds it whole."""

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
    """``limit`` lines at most (0: all) behind ``after``. ``page(connection, after, count)`` reads some; a line's first
    field is its key. ``more`` is called with the last key if there are further lines."""
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
